#include "train/experiment.h"

#include <pthread.h>
#include <string.h>

#include "core/memory.h"
#include "models/sections.h"
#include "train/data_kinds.h"

enum { MAX_KINDS = 32 };

static const ts_option_table *data_tables[MAX_KINDS + 1];
static const ts_option_table *const train_tables[] = {&ts_train_table, NULL};

static ts_config_section sections[5]; /* the last one is empty: the end */

static const ts_config_schema schema = {.top = &ts_top_table, .sections = sections, .lister = "tessera config --list"};

static void collect_sections(void)
{
    for (int i = 0; i < MAX_KINDS && ts_dataset_kinds[i]; i++)
        data_tables[i] = ts_dataset_kinds[i]->table;
    sections[0] = (ts_config_section){
        .name = "data", .kinds = data_tables, .default_kind = "shapes", .help = "where images come from"};
    sections[1] = *ts_model_section();
    sections[2] = *ts_quantizer_section();
    sections[3] = (ts_config_section){.name = "train", .kinds = train_tables, .help = "how it is trained"};
}

const ts_config_schema *ts_experiment_schema(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, collect_sections);
    return &schema;
}

static const ts_dataset_kind *data_kind(const ts_experiment *e)
{
    return ts_dataset_kinds[ts_config_kind(e->config, "data")];
}

static ts_status check_train(const ts_train_options *o, ts_error *err)
{
    if (o->batch % o->accumulate)
        return ts_fail(err, TS_ERR_USAGE, "train: batch %lld is not a multiple of accumulate %lld", (long long)o->batch,
                       (long long)o->accumulate);
    if (o->optimizer == TS_OPTIMIZER_SGD && o->nesterov && o->momentum == 0)
        return ts_fail(err, TS_ERR_USAGE, "train: nesterov needs a momentum above 0");
    return TS_OK;
}

ts_status ts_experiment_open(ts_experiment *e, ts_config *config, const char *device, int threads, ts_error *err)
{
    *e = (ts_experiment){.config = config};
    e->top = ts_config_options(config, "");
    e->train = ts_config_options(config, "train");
    TS_TRY(check_train(e->train, err));
    TS_TRY(ts_tokenizer_of_config(&e->tokenizer, config, err));
    TS_TRY(ts_device_open(device, threads, &e->device, err));
    e->workspace = ts_workspace_new(e->device);
    e->store = ts_store_new(TS_F32);
    return e->workspace && e->store ? TS_OK : ts_out_of_memory(err, sizeof *e);
}

void ts_experiment_close(ts_experiment *e)
{
    ts_dataset_close(e->train_data);
    ts_dataset_close(e->val_data);
    ts_store_free(e->store);
    ts_workspace_free(e->workspace);
    ts_device_close(e->device);
    ts_config_free(e->config);
    ts_arena_clear(&e->arena);
    *e = (ts_experiment){0};
}

const ts_motion_layout *ts_experiment_motion_layout(const ts_experiment *e)
{
    return ts_motion_layout_known(&e->motion);
}

ts_status ts_experiment_set_item(ts_experiment *e, ts_shape item, ts_range range, ts_error *err)
{
    if (e->tokenizer.item.rank && !ts_shape_equal(e->tokenizer.item, item))
        return ts_fail(err, TS_ERR_USAGE, "the data's items are %s, the model was made for %s",
                       ts_shape_print(item).text, ts_shape_print(e->tokenizer.item).text);
    e->tokenizer.item = item;
    e->range = range;
    if (!e->motion.known)
        e->motion = ts_motion_guess(item);
    if (item.rank == 2 && (e->train->best == TS_BEST_PSNR || e->train->best == TS_BEST_SSIM))
        return ts_fail(err, TS_ERR_USAGE, "train.best=%s: motion has none; choose mse, loss or perplexity",
                       e->train->best == TS_BEST_PSNR ? "psnr" : "ssim");
    if (ts_motion_weights_any(&e->train->motion) && !ts_experiment_motion_layout(e))
        return ts_fail(err, TS_ERR_USAGE,
                       "train.position_loss, velocity_loss, acceleration_loss and root_loss: items are %s, expected "
                       "frames whose columns are known: 263, 251 or 272 of them, or a data.layout",
                       ts_shape_print(item).text);
    return ts_tokenizer_check(&e->tokenizer, err);
}

bool ts_experiment_pads(const ts_experiment *e)
{
    if (e->train_data)
        return e->train_data->lengths != NULL;
    const ts_data_motion_options *o = ts_config_options(e->config, "data");
    return ts_dataset_kinds[ts_config_kind(e->config, "data")] == &ts_dataset_motion && o->short_clips == TS_SHORT_PAD;
}

ts_status ts_experiment_open_data(ts_experiment *e, ts_split split, ts_error *err)
{
    ts_dataset **data = split == TS_SPLIT_TRAIN ? &e->train_data : &e->val_data;
    if (*data)
        return TS_OK;
    TS_TRY(ts_dataset_open_for(data, data_kind(e), ts_config_options(e->config, "data"), split, (uint64_t)e->top->seed,
                               e->motion.known ? &e->motion : NULL, err));
    if ((*data)->motion && !e->motion.known)
        TS_TRY(ts_motion_copy(&e->motion, (*data)->motion, &e->arena, err));
    return ts_experiment_set_item(e, (*data)->item, (*data)->range, err);
}

ts_status ts_experiment_need_motion(ts_experiment *e, ts_error *err)
{
    return e->motion.known ? TS_OK : ts_experiment_open_data(e, TS_SPLIT_TRAIN, err);
}

bool ts_experiment_has_clips(const ts_experiment *e)
{
    return data_kind(e)->clips != NULL;
}

ts_status ts_experiment_clips(ts_experiment *e, const char *split, ts_clip_list *clips, ts_error *err)
{
    *clips = (ts_clip_list){0};
    TS_TRY(ts_experiment_need_motion(e, err));
    return data_kind(e)->clips(clips, ts_config_options(e->config, "data"), split, &e->motion, err);
}
