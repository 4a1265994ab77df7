#include "train/item_shape.h"

#include <inttypes.h>
#include <stdlib.h>

#include "models/exported.h"
#include "train/data_kinds.h"

/* Where the options of the data tell it. */
static bool item_of_options(const ts_config *config, ts_shape *item, ts_range *range)
{
    const ts_dataset_kind *kind = ts_dataset_kinds[ts_config_kind(config, "data")];
    const void *options = ts_config_options(config, "data");
    if (kind == &ts_dataset_shapes) {
        const ts_data_shapes_options *o = options;
        *item = ts_shape_of(o->size, o->size, o->channels);
        *range = (ts_range)o->range;
    } else if (kind == &ts_dataset_cifar) {
        const ts_data_cifar_options *o = options;
        *item = ts_shape_of(32, 32, 3);
        *range = (ts_range)o->range;
    } else if (kind == &ts_dataset_folder) {
        const ts_data_folder_options *o = options;
        *item = ts_shape_of(o->size, o->size, o->gray ? 1 : 3);
        *range = (ts_range)o->range;
    } else if (kind == &ts_dataset_motion) {
        const ts_data_motion_options *o = options;
        *item = ts_shape_of(o->window, o->columns);
    } else if (kind == &ts_dataset_chains) {
        const ts_data_chains_options *o = options;
        *item = ts_shape_of(o->window, TS_CHAINS_COLUMNS);
    } else {
        return false;
    }
    return item->dim[item->rank - 1] > 0; /* columns: 0 leaves them to the data */
}

/* Motion's options tell it where they name a layout or the number of columns. */
static ts_status motion_of_options(ts_experiment *e, ts_shape *item, ts_error *err)
{
    const ts_data_motion_options *o = ts_config_options(e->config, "data");
    ts_motion motion = {0};
    if (ts_dataset_kinds[ts_config_kind(e->config, "data")] == &ts_dataset_motion)
        TS_TRY(ts_data_motion_describe(&motion, o, err));
    if (motion.columns) {
        *item = ts_shape_of(o->window, motion.columns);
        e->motion = motion;
    }
    return TS_OK;
}

ts_status ts_item_find(ts_experiment *e, const char *typed, const char **source, ts_error *err)
{
    ts_shape item = {0};
    ts_range range = TS_RANGE_SIGNED;
    *source = typed ? "--item" : "the config";
    if (!typed)
        TS_TRY(motion_of_options(e, &item, err));
    if (typed)
        TS_TRY(ts_item_parse("option --item", typed, TS_ERR_USAGE, &item, err));
    else if (!item.rank && !item_of_options(e->config, &item, &range)) {
        *source = "the data";
        ts_status status = ts_experiment_open_data(e, TS_SPLIT_TRAIN, err);
        if (status == TS_OK)
            return TS_OK;
        if (status != TS_ERR_DATA || ts_dataset_kinds[ts_config_kind(e->config, "data")] != &ts_dataset_idx)
            return ts_error_prefix(err, "the shape of an item is in the data (or give it: --item 28x28x1)");
        *source = "assumed, as MNIST has it: the data cannot be read (else give --item)";
        item = ts_shape_of(28, 28, 1);
    }
    return ts_experiment_set_item(e, item, range, err);
}
