#include "train/trained.h"

#include <string.h>

#include "core/text.h"

static bool starts(const char *text, const char *with)
{
    return strncmp(text, with, strlen(with)) == 0;
}

/* Only what does not change the model may be changed now. */
static ts_status check_overrides(const ts_arguments *a, ts_error *err)
{
    for (const char *const *o = (const char *const *)a->overrides; *o; o++)
        if (!starts(*o, "data.") && !starts(*o, "train.eval_") && !starts(*o, "train.precision=") &&
            !starts(*o, "train.fold=") && !starts(*o, "train.fuse="))
            return ts_fail(err, TS_ERR_USAGE,
                           "%s: the weights were trained with the checkpoint's config; only data.*, train.eval_*, "
                           "train.precision, train.fold and train.fuse can be changed",
                           TS_SHOWN(*o));
    return TS_OK;
}

static ts_status hash_of_file(const char *path, ts_hash *hash, ts_error *err)
{
    ts_container *container;
    TS_TRY(ts_container_open(&container, path, err));
    ts_status status = ts_weights_hash(container, hash, err);
    ts_container_close(container);
    return status;
}

ts_status ts_trained_open(ts_trained *trained, const ts_arguments *a, ts_error *err)
{
    *trained = (ts_trained){0};
    const char *path = ts_arguments_positional(a, 0);
    TS_TRY(check_overrides(a, err));
    TS_TRY(ts_checkpoint_experiment(&trained->experiment, path, (const char *const *)a->overrides,
                                    ts_arguments_text(a, "device"), (int)ts_arguments_int(a, "threads"),
                                    &trained->state, err));
    trained->ema = ts_store_has(trained->experiment.store, TS_BLOCK_EMA) && !ts_arguments_flag(a, "no-ema");
    return hash_of_file(path, &trained->weights, err);
}

void ts_trained_close(ts_trained *trained)
{
    ts_experiment_close(&trained->experiment);
}

int64_t ts_trained_batch(const ts_trained *trained, int64_t items)
{
    const ts_train_options *o = trained->experiment.train;
    int64_t batch = o->eval_batch ? o->eval_batch : o->batch;
    return batch < items ? batch : items;
}
