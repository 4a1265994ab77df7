/* The trainings of an ablation, each in a process of its own: what one of them does, no other one feels.
 *
 *     DIR/spec.yaml              the spec as it was last run
 *     DIR/cells/NAME/            run directory of a cell
 *     DIR/cells/NAME.log         what its process said */
#ifndef TS_TRAIN_ABLATION_RUN_H
#define TS_TRAIN_ABLATION_RUN_H

#include "train/ablation.h"

typedef struct {
    const char *directory;
    const char *device; /* of every training */
    int jobs;           /* trainings at a time, at least 1 */
    int threads;        /* of each; 0: those of the machine, shared out */
    bool quiet;
} ts_ablation_options;

/* What became of the cells. */
typedef struct {
    int done, failed; /* of all cells; the others were not reached */
    int signal;       /* SIGINT or SIGTERM: it was stopped */
} ts_ablation_outcome;

/* Trains the cells that are not finished; one that was begun goes on from its last checkpoint, and one that fails does
 * not stop the others. A line on standard error for each that ends, unless quiet.
 * Errors: TS_ERR_USAGE where a finished cell was made with another config (named), TS_ERR_RUNTIME where the folder
 * cannot be written or no process started. */
ts_status ts_ablation_train(const ts_ablation *ablation, const ts_ablation_options *options,
                            ts_ablation_outcome *outcome, ts_error *err);

/* DIR/cells/NAME, in memory that the caller frees with ts_free; NULL when out of memory. */
char *ts_ablation_cell_path(const char *directory, const ts_ablation_cell *cell, const char *file);

/* The last step in the cell's metrics, -1 where there are none. */
int64_t ts_ablation_cell_step(const char *directory, const ts_ablation_cell *cell);

/* Has the cell been trained to its last step, and evaluated there? */
bool ts_ablation_cell_finished(const char *directory, const ts_ablation_cell *cell);

#endif
