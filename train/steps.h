/* Optimizer steps on their way: given to the device, and received when it has made them. Between the two the host is
 * free, and may give one more step; so the device does not wait for the host to look at the numbers of the last.
 * Thread: that of the device. */
#ifndef TS_TRAIN_STEPS_H
#define TS_TRAIN_STEPS_H

#include "train/loader.h"
#include "train/programs.h"

/* What is read of a step. The losses are means over its micro-batches. */
typedef struct {
    double loss, parts[TS_MAX_PARTS]; /* as ts_training.parts */
    double norm;
    bool ok; /* it was finite, and so were all before it, and it has changed the weights */
} ts_step_numbers;

typedef struct ts_steps ts_steps;

/* check_nan: run node by node (ts_program_run_checked). `e` and `programs` must live as long.
 * Owner: ts_steps_close, before the programs. */
ts_status ts_steps_open(ts_steps **steps, const ts_experiment *e, const ts_training *programs, bool check_nan,
                        ts_error *err);
void ts_steps_close(ts_steps *steps); /* NULL is fine */

/* Gives step `step` (from 0): its micro-batches, then, with accumulation, the update. `applied`: how many steps before
 * it have changed the weights, if all that are on their way do. At most two steps are on their way, neighbours. */
ts_status ts_steps_give(ts_steps *steps, const ts_batch *batch, int64_t step, int64_t applied, ts_error *err);

/* Waits for a step that was given, and for nothing behind it. */
ts_status ts_steps_receive(ts_steps *steps, int64_t step, ts_step_numbers *numbers, ts_error *err);

/* After a step that was not finite, steps leave no trace (ts_training.live): from here on they do again. */
void ts_steps_revive(ts_steps *steps);

#endif
