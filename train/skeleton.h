/* A moving body, ready to be drawn: where its joints are, which of its feet stand, and how large it is. */
#ifndef TS_TRAIN_SKELETON_H
#define TS_TRAIN_SKELETON_H

#include "core/status.h"
#include "models/motion_pose.h"

typedef struct {
    const ts_motion_layout *layout;
    int64_t frames;
    float *positions;  /* [frames, joints, 3], in the layout's unit, y up, floor at 0 */
    bool *stands;      /* [frames, layout->foot_count]; NULL where the representation does not say */
    double height;     /* of the body, about, in the layout's unit: 1.5 of its longest limb; above 0 */
    ts_motion_yaw yaw; /* how the columns count turns */
} ts_skeleton;

/* From x [frames, columns], values as they are, or, with mean and std [columns] (both or none), (value - mean) / std.
 * yaw: of another motion with the same writer, an original; NULL: x itself tells. `name` is for messages.
 * Owner: ts_skeleton_clear, also after an error.
 * Errors: TS_ERR_DATA a value that is not finite (frame and column are named). TS_ERR_RUNTIME out of memory. */
ts_status ts_skeleton_of(ts_skeleton *s, const ts_motion_layout *layout, const float *x, int64_t frames,
                         const float *mean, const float *std, const ts_motion_yaw *yaw, const char *name,
                         ts_error *err);
void ts_skeleton_clear(ts_skeleton *s);

/* Keeps `count` frames from `first` on, where they are in the world. */
void ts_skeleton_crop(ts_skeleton *s, int64_t first, int64_t count);

/* Joint j of frame t: [3]. */
const float *ts_skeleton_joint(const ts_skeleton *s, int64_t t, int64_t j);

/* Which side a joint is on, by its name: left_hip, l_hip. */
typedef enum { TS_MIDDLE, TS_LEFT, TS_RIGHT } ts_side;
ts_side ts_joint_side(const ts_motion_layout *layout, int64_t j);

/* The head as a ball beyond the joint that is called so; false where no joint is. */
bool ts_skeleton_head(const ts_skeleton *s, int64_t t, double centre[3], double *radius);

/* How many bones lead from joint j to the farthest end of its limb; 0: it is the end. */
int ts_joint_bones_below(const ts_motion_layout *layout, int64_t j);

#endif
