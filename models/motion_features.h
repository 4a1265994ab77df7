/* From positions of joints to the columns of a motion: the way a data set of motion is made. Layouts whose root is
 * TS_ROOT_YAW: HumanML3D's columns, with a definition that can be written down in full.
 *
 * Row t comes from frames t and t + 1, so that n frames make n - 1 rows:
 *   facing      unit((left - right hip) + (left - right shoulder)) x up, level; its unit vectors smoothed over frames
 *               with 1 4 6 4 1 / 16, the ends repeated. Heading: the rotation about y that turns it to +z
 *   root        change of the heading from t to t + 1, in [-pi, pi); velocity x, z in the heading of t; height
 *   positions   of the joints but the root in the heading of t: x, z relative to the root, y absolute
 *   velocities  of all joints in the heading of t, from t to t + 1, per frame
 *   rotations   the first two columns of each joint's local matrix. Swing alone: the smallest rotation that turns the
 *               bone at rest to the bone as the parent's frame sees it; the root's frame is the heading
 *   contacts    1 where a foot is slower than contact_speed and lower than its contact_height */
#ifndef TS_MODELS_MOTION_FEATURES_H
#define TS_MODELS_MOTION_FEATURES_H

#include "models/motion_layout.h"
#include "models/vector3.h"

/* What a layout does not say of a skeleton: how it stands at rest, and how large it is. */
typedef struct {
    double direction[TS_MAX_JOINTS][3]; /* of the bone from a joint's parent to the joint, at rest; any length but 0 */
    double length[TS_MAX_JOINTS];       /* of that bone, metres */
    int hip[2], shoulder[2];            /* joints, left and right: the heading */
    int leg[2][3];                      /* hip, knee, ankle, left and right: the size of a person */
    double contact_height[TS_MAX_CONTACTS]; /* metres, of the layout's feet */
    double contact_speed;                   /* metres a second */
} ts_motion_skeleton;

/* The 22 joints of the preset humanml3d (Loper et al. 2015, without the hands), standing as a T with legs of 0.83 m.
 * Directions and lengths are this project's own, in round numbers. */
extern const ts_motion_skeleton ts_skeleton_22;

/* rows [frames - 1, columns] from positions [frames, joints], metres, y up, the floor at 0. `layout` says which
 * columns, whose joints, and how many frames a second. Where a frame has no facing (shoulders above each other, say)
 * its neighbours say it, and +z where those have none either. Thread: pure.
 * The layout's root is TS_ROOT_YAW, and its positions leave out the root. */
void ts_motion_features(float *rows, const ts_motion_layout *layout, const ts_motion_skeleton *skeleton,
                        const ts_v3 *positions, int64_t frames);

#endif
