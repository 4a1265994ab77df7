/* A checkpoint opened for use: what eval, encode and decode start from. */
#ifndef TS_TRAIN_TRAINED_H
#define TS_TRAIN_TRAINED_H

#include "core/files/container.h"
#include "train/arguments.h"
#include "train/checkpoint.h"

typedef struct {
    ts_experiment experiment;
    ts_train_state state;
    ts_hash weights; /* ts_weights_hash */
    bool ema;        /* read the moving averages of the weights: there are some, and --no-ema was not given */
} ts_trained;

/* Opens the checkpoint that is the command's first word, with its key=value (data.* and train.eval_*; the rest is
 * refused, because the weights were trained with it), --device, --threads and --no-ema.
 * Owner: ts_trained_close, also after a failure. Errors: usage, checkpoint, device. */
ts_status ts_trained_open(ts_trained *trained, const ts_arguments *arguments, ts_error *err);
void ts_trained_close(ts_trained *trained);

/* Items of one batch of an evaluation: train.eval_batch, or train.batch where that is 0; at most `items`. */
int64_t ts_trained_batch(const ts_trained *trained, int64_t items);

#endif
