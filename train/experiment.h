/* An experiment: a checked config with all that it names opened: device, data, tokenizer, and the store of its weights.
 * Training, evaluation, encode, decode, plan and inspect all start from one. */
#ifndef TS_TRAIN_EXPERIMENT_H
#define TS_TRAIN_EXPERIMENT_H

#include "autograd/program.h"
#include "autograd/store.h"
#include "config/config.h"
#include "config/top.h"
#include "models/tokenizer.h"
#include "train/data.h"
#include "train/motion.h"
#include "train/train_options.h"

/* The schema of every config: top level, data, model, quantizer, train. Made from the registries. */
const ts_config_schema *ts_experiment_schema(void);

typedef struct {
    ts_config *config; /* owned */
    const ts_top_options *top;
    const ts_train_options *train;
    ts_device *device;
    ts_workspace *workspace;
    ts_store *store;
    ts_tokenizer tokenizer; /* options point into the config */
    ts_dataset *train_data; /* NULL until ts_experiment_open_data */
    ts_dataset *val_data;
    ts_range range;   /* of the data's values */
    ts_motion motion; /* what an item is, where it is motion; a checkpoint sets it before the item and the data are, and
                         the data are then normalised by it, whatever belongs to them; memory in `arena` */
    ts_arena arena;
    bool op_by_op; /* programs whose every op can be looked at: nothing is fused, whatever train.fuse says */
} ts_experiment;

/* Opens device, workspace and an empty store for a config; takes the config over, also on failure. `device`, `threads`
 * as ts_device_open. Errors: usage, device. Owner: ts_experiment_close, also after a failure. */
ts_status ts_experiment_open(ts_experiment *e, ts_config *config, const char *device, int threads, ts_error *err);
void ts_experiment_close(ts_experiment *e);

/* The shape of an item and the range of its values, when they are known without the data (from a checkpoint): checks
 * that model, quantizer and losses fit it. Errors: usage. */
ts_status ts_experiment_set_item(ts_experiment *e, ts_shape item, ts_range range, ts_error *err);

/* What the columns of an item mean; NULL where items are no motion, or nobody knows. */
const ts_motion_layout *ts_experiment_motion_layout(const ts_experiment *e);

/* Can an item of training be shorter than its shape, so that programs need lengths? As the data say; before they are
 * open, as the options allow. */
bool ts_experiment_pads(const ts_experiment *e);

/* Opens one split (idempotent); the first one sets the item and, where that is not known, the motion. Errors: data;
 * usage where its items do not fit the model or the item that was set. */
ts_status ts_experiment_open_data(ts_experiment *e, ts_split split, ts_error *err);

/* Makes sure that the motion is known. A checkpoint from before motion was saved does not know how its frames are
 * normalised: its data do, and are opened. Errors: as ts_experiment_open_data. */
ts_status ts_experiment_need_motion(ts_experiment *e, ts_error *err);

/* Are there whole clips behind the items of the data? Then the clips of a split, into an empty list.
 * Owner: ts_file_list_clear(&clips->files), also after a failure. Errors: data, usage. */
bool ts_experiment_has_clips(const ts_experiment *e);
ts_status ts_experiment_clips(ts_experiment *e, const char *split, ts_clip_list *clips, ts_error *err);

#endif
