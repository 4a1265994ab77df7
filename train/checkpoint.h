/* What goes into a checkpoint (core/files/container.h is the vessel): the resolved config, the trainer's state, every
 * variable of the store (models/saved.h), and what is known of motion (train/checkpoint_motion.h). */
#ifndef TS_TRAIN_CHECKPOINT_H
#define TS_TRAIN_CHECKPOINT_H

#include "models/saved.h"
#include "train/experiment.h"

/* What a run needs beside its tensors to go on bit for bit. */
typedef struct {
    int64_t step;    /* steps taken, skipped ones included; also the number of batches consumed */
    int64_t applied; /* steps that changed the weights: Adam's t */
    int64_t skipped, rolled_back;
    double best; /* best value of train.best so far; NAN before the first evaluation */
    int64_t best_step;
    int64_t evaluations_since_best;
    int64_t evaluated_step; /* the last step that was evaluated */
    double seconds;         /* of training so far, over all resumed parts */
    bool initialised;       /* data-dependent initialisation has run */
} ts_train_state;

/* Saves atomically: temporary file, verified, fsync, rename; the file that was there is kept as <name>.prev.h5 if
 * `keep_previous`. Errors: checkpoint (disk full, no permission): the old file is untouched. */
ts_status ts_checkpoint_save(const ts_experiment *e, const ts_train_state *state, const char *path, bool keep_previous,
                             ts_error *err);

/* The config of a checkpoint, with overrides applied. Verifies the whole file. */
ts_status ts_checkpoint_config(const char *path, const char *const *overrides, ts_config **config, ts_error *err);

/* An experiment from a checkpoint alone, ready for eval, encode, decode: config (with overrides), item, store, weights.
 * state may be NULL. Owner: ts_experiment_close, also after a failure. */
ts_status ts_checkpoint_experiment(ts_experiment *e, const char *path, const char *const *overrides, const char *device,
                                   int threads, ts_train_state *state, ts_error *err);

/* Fills the sealed store from a checkpoint. Nothing is changed unless the whole file is sound and fits: a checkpoint of
 * another model is an error that names the first tensor that differs. */
ts_status ts_checkpoint_restore(ts_experiment *e, const char *path, ts_restore_kind kind, ts_train_state *state,
                                ts_error *err);

#endif
