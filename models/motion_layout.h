/* What the columns of a motion frame mean, and the skeleton that they move. Positions are those of the joints in the
 * frame of the root's heading, x, y, z; x and z relative to the root, y up and absolute.
 *
 * A layout is plain data: copy it. There are presets for the three representations that people use, and a file can
 * describe another (train/motion_layout_file.h). */
#ifndef TS_MODELS_MOTION_LAYOUT_H
#define TS_MODELS_MOTION_LAYOUT_H

#include <stdbool.h>
#include <stdint.h>

enum { TS_MAX_JOINTS = 64, TS_MAX_CONTACTS = 8, TS_JOINT_NAME = 32 };

typedef struct {
    int64_t first, count; /* count 0: the representation has none */
} ts_columns;

/* How the root's columns tell where the root goes, from frame to frame (models/motion_pose.h does the sums):
 *   TS_ROOT_YAW      [turn about y, x, z, height]: radians and way per frame, x and z in the heading of this frame, all
 *                    from this frame to the next (HumanML3D, KIT-ML, whose own files hold half the turn: ts_motion_yaw)
 *   TS_ROOT_HEADING  [x, z, 6D]: way from the frame before in that one's heading, and the turn since the frame before
 *                    as the first two rows of its matrix; in the first frame both are from the origin and from +z. The
 *                    height is a position (MotionMillion)
 * Velocities of TS_ROOT_YAW are ways in the world, seen in this frame's heading, to the next frame; of TS_ROOT_HEADING
 * what the positions' columns change by since the frame before. */
typedef enum { TS_ROOT_YAW, TS_ROOT_HEADING } ts_motion_root;

typedef struct {
    char name[TS_JOINT_NAME]; /* "humanml3d" */
    int64_t columns;          /* in all */
    int64_t joints;           /* the root, joint 0, included */
    double fps;               /* frames a second that the representation is made for */
    double unit_mm;           /* millimetres of one unit of positions */
    ts_motion_root root_kind;
    ts_columns root;
    ts_columns positions;  /* 3 each, of joints 1 ... or of all */
    ts_columns rotations;  /* 6D, of the same joints as positions or of all */
    ts_columns velocities; /* 3 each, of all joints, per frame */
    ts_columns contacts;   /* with the floor, 0 or 1, of the joints in `foot` */
    bool root_position;    /* positions begin with the root's own; else its height is column `height` */
    int64_t height;
    int foot_count;            /* joints that touch the floor, in the order of `contacts` where those are columns */
    int foot[TS_MAX_CONTACTS]; /* left ones first */
    int parent[TS_MAX_JOINTS]; /* of each joint, an earlier one; -1 of the root */
    char joint[TS_MAX_JOINTS][TS_JOINT_NAME]; /* "left_hip": left_ and right_ tell the sides apart */
} ts_motion_layout;

/* A preset by name (humanml3d, kit, motionmillion), or by its number of columns (263, 251, 272). NULL for others. */
const ts_motion_layout *ts_motion_layout_find(const char *name);
const ts_motion_layout *ts_motion_layout_of(int64_t columns);

/* NULL where a and b mean the same, whatever their names are; else what differs: "fps", "positions", "skeleton" ... */
const char *ts_motion_layout_difference(const ts_motion_layout *a, const ts_motion_layout *b);

/* Every preset, ended by NULL. */
extern const ts_motion_layout *const ts_motion_layouts[];

#endif
