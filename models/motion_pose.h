/* From the columns of a motion back to where its joints are in the world. */
#ifndef TS_MODELS_MOTION_POSE_H
#define TS_MODELS_MOTION_POSE_H

#include "models/motion_layout.h"

/* How a file whose root is TS_ROOT_YAW counts its turns. The layouts are the same, the numbers are not:
 *   TS_YAW_WHOLE  column 0 is the turn; the way is in the heading of its own frame
 *   TS_YAW_HALF   column 0 is half the turn, the angle of its quaternion; the way is in the heading of the next frame.
 *                 So writes the script of HumanML3D, with which HumanML3D and KIT-ML are made (Guo et al. 2022) */
typedef enum { TS_YAW_WHOLE, TS_YAW_HALF } ts_motion_yaw;

/* Which of them x [frames, columns] is: that by which the joints move as the velocities' columns say. WHOLE where
 * nothing tells: no turn, no such columns, another kind of root. Thread: pure. */
ts_motion_yaw ts_motion_yaw_of(const ts_motion_layout *layout, const float *x, int64_t frames);

/* positions [frames, joints, 3] of x [frames, columns], values and not normalised ones; in the layout's unit, y up, the
 * floor at 0. yaw: of TS_ROOT_YAW alone; a reconstruction's is that of its original.
 *   TS_ROOT_YAW      the first frame's root is at x = z = 0 and heads for +z
 *   TS_ROOT_HEADING  the first frame is where its own columns put it (MotionMillion: at x = z = 0, in the heading +z).
 *                    Turns are whole matrices, made orthogonal by Gram and Schmidt: a reconstruction's may tilt, as
 *                    they do in MotionMillion's own recover_from_local_position
 * What errors add up to over the frames is kept. Thread: pure. */
void ts_motion_pose(const ts_motion_layout *layout, const float *x, int64_t frames, ts_motion_yaw yaw,
                    float *positions);

#endif
