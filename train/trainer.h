/* The training loop: from a config to a trained, checkpointed run directory. */
#ifndef TS_TRAIN_TRAINER_H
#define TS_TRAIN_TRAINER_H

#include "config/config.h"

typedef struct {
    const char *run;       /* the run directory */
    bool resume;           /* go on from run/checkpoints/last.h5 */
    const char *init_from; /* weights of this checkpoint to start with; NULL: none */
    const char *device;    /* "auto" */
    int threads;           /* 0: all */
    bool quiet, json;
    bool check_nan;         /* node by node, names the first value that is not finite */
    const char *dump_start; /* an HDF5 file for comparisons: initial weights and the first dump_batches batches */
    int64_t dump_batches;
} ts_trainer_options;

/* Trains as the config says. Takes the config over. *signal is the signal that ended the run early, with a checkpoint
 * saved, or 0. Errors: of every kind; what was saved before stays. */
ts_status ts_train(ts_config *config, const ts_trainer_options *options, int *signal, ts_error *err);

#endif
