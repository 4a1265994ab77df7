/* Mean and deviation of the columns of motion, from frames that come clip by clip: sums in double of the difference
 * from the first frame and of its square, so that squares do not cancel. */
#ifndef TS_TRAIN_COLUMN_SUMS_H
#define TS_TRAIN_COLUMN_SUMS_H

#include "core/memory.h"
#include "models/motion_layout.h"

typedef struct {
    int64_t columns, frames;
    double *shift, *sum, *square; /* [columns] */
} ts_column_sums;

/* Owner: ts_column_sums_clear, also after a failure. Errors: out of memory. */
ts_status ts_column_sums_init(ts_column_sums *sums, int64_t columns, ts_error *err);
void ts_column_sums_clear(ts_column_sums *sums);

void ts_column_sums_add(ts_column_sums *sums, const float *x, int64_t frames); /* x [frames, columns] */

/* mean, std [columns]; a column that never changes has std 0. At least one frame has been added. */
void ts_column_sums_result(const ts_column_sums *sums, float *mean, float *std);

/* Makes the std of each of these groups of columns their mean: turn | way | height | positions | rotations | velocities
 * | contacts. So no column has std 0 unless its whole group has, and a group keeps its shape. Layouts of TS_ROOT_YAW.
 */
void ts_std_share_in_groups(const ts_motion_layout *layout, float *std);

#endif
