/* What the columns of a motion frame mean, in the three representations that people use. Positions are those of the
 * joints in the frame of the root's heading, x, y, z; x and z relative to the root, y absolute. */
#ifndef TS_MODELS_MOTION_COLUMNS_H
#define TS_MODELS_MOTION_COLUMNS_H

#include <stdbool.h>
#include <stdint.h>

typedef struct {
    int64_t first, count; /* count 0: the representation has none */
} ts_columns;

typedef struct {
    const char *name; /* "humanml3d" */
    int64_t columns;  /* in all */
    int64_t joints;   /* the root included */
    ts_columns root;  /* heading, horizontal velocity; height where it is a column */
    ts_columns positions;
    ts_columns rotations;  /* 6D, of the same joints as positions or of all */
    ts_columns velocities; /* of all joints */
    ts_columns contacts;   /* of the feet, 0 or 1 */
    bool root_position;    /* positions begin with the root's own; else its height is column `height` */
    int64_t height;
    double unit_mm; /* millimetres of one unit of positions */
} ts_motion_layout;

/* The representation with so many columns: 263 (HumanML3D), 251 (KIT-ML), 272 (MotionMillion); NULL for others. */
const ts_motion_layout *ts_motion_layout_of(int64_t columns);

/* Mean distance of joints over the frames of y and x [frames, columns], in millimetres, with the roots moved onto each
 * other, in the frame of each one's own heading: an error of the path or of the heading does not count.
 * mean, std [columns]: x and y are (value - mean) / std; NULL: they are values. Thread: pure. */
double ts_motion_mpjpe(const ts_motion_layout *layout, const float *y, const float *x, int64_t frames,
                       const float *mean, const float *std);

#endif
