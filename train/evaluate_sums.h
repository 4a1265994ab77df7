/* Inside the evaluation: errors of reconstructions, summed in double. */
#ifndef TS_TRAIN_EVALUATE_SUMS_H
#define TS_TRAIN_EVALUATE_SUMS_H

#include "train/evaluate.h"

/* Over values. */
typedef struct {
    double squares, absolutes, recon;
    int64_t values;
} ts_error_sums;

void ts_error_sums_add(ts_error_sums *sums, const ts_experiment *e, const float *x, const float *y, int64_t values);
void ts_error_sums_merge(ts_error_sums *sums, const ts_error_sums *other);

/* Metrics of y against x, both [frames, columns] as the model sees them; values: room for both. Nothing where nobody
 * knows what the columns mean. */
void ts_motion_sums_add_restored(ts_motion_sums *sums, const ts_motion *motion, const float *y, const float *x,
                                 int64_t frames, float *values);

/* Room for the counts of the ids, all together and group by group. Errors: out of memory. */
ts_status ts_evaluation_make_counts(ts_evaluation *result, const ts_quantizer_info *info, ts_error *err);

/* Adds ids [count / groups, groups]. Ids of -1 (where z has a NaN) are no codes. */
void ts_evaluation_count(ts_evaluation *result, const ts_quantizer_info *info, const int32_t *ids, int64_t count);

/* mse, l1, recon, loss (by result->parts, which are means already, and their weights), and usage. */
void ts_evaluation_finish(ts_evaluation *result, const ts_experiment *e, const ts_error_sums *sums,
                          const double weights[TS_MAX_TERMS]);

/* Whole clips of a split. Errors: as ts_evaluate. */
ts_status ts_evaluate_clips(ts_experiment *e, ts_split split, bool ema, ts_evaluation *result, ts_error *err);

#endif
