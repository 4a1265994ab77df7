#include "models/motion_layout.h"

#include <stddef.h>
#include <string.h>

/* Loper et al. 2015, without the hands: the skeleton of HumanML3D and of MotionMillion. */
#define SMPL_PARENTS                                                                                                   \
    {                                                                                                                  \
        -1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19                                       \
    }
#define SMPL_JOINTS                                                                                                    \
    {                                                                                                                  \
        "pelvis", "left_hip", "right_hip", "spine1", "left_knee", "right_knee", "spine2", "left_ankle", "right_ankle", \
            "spine3", "left_foot", "right_foot", "neck", "left_collar", "right_collar", "head", "left_shoulder",       \
            "right_shoulder", "left_elbow", "right_elbow", "left_wrist", "right_wrist"                                 \
    }
#define SMPL_FEET                                                                                                      \
    {                                                                                                                  \
        7, 10, 8, 11                                                                                                   \
    }

static const ts_motion_layout humanml3d = {
    .name = "humanml3d",
    .columns = 263,
    .joints = 22,
    .fps = 20,
    .unit_mm = 1000,
    .root_kind = TS_ROOT_YAW,
    .root = {0, 4},
    .positions = {4, 63},
    .rotations = {67, 126},
    .velocities = {193, 66},
    .contacts = {259, 4},
    .height = 3,
    .foot_count = 4,
    .foot = SMPL_FEET,
    .parent = SMPL_PARENTS,
    .joint = SMPL_JOINTS,
};

/* The skeleton of the Master Motor Map (Terlemez et al. 2014) as KIT-ML's 21 joints; millimetres, 12.5 frames a second.
 */
static const ts_motion_layout kit = {
    .name = "kit",
    .columns = 251,
    .joints = 21,
    .fps = 12.5,
    .unit_mm = 1,
    .root_kind = TS_ROOT_YAW,
    .root = {0, 4},
    .positions = {4, 60},
    .rotations = {64, 120},
    .velocities = {184, 63},
    .contacts = {247, 4},
    .height = 3,
    .foot_count = 4,
    .foot = {19, 20, 14, 15},
    .parent = {-1, 0, 1, 2, 3, 3, 5, 6, 3, 8, 9, 0, 11, 12, 13, 14, 0, 16, 17, 18, 19},
    .joint = {"root",        "torso",         "neck",       "upper_neck", "head",       "right_shoulder", "right_elbow",
              "right_wrist", "left_shoulder", "left_elbow", "left_wrist", "right_hip",  "right_knee",     "right_ankle",
              "right_heel",  "right_toe",     "left_hip",   "left_knee",  "left_ankle", "left_heel",      "left_toe"},
};

static const ts_motion_layout motionmillion = {
    .name = "motionmillion",
    .columns = 272,
    .joints = 22,
    .fps = 30,
    .unit_mm = 1000,
    .root_kind = TS_ROOT_HEADING,
    .root = {0, 8},
    .positions = {8, 66},
    .velocities = {74, 66},
    .rotations = {140, 132},
    .root_position = true,
    .foot_count = 4,
    .foot = SMPL_FEET,
    .parent = SMPL_PARENTS,
    .joint = SMPL_JOINTS,
};

const ts_motion_layout *const ts_motion_layouts[] = {&humanml3d, &kit, &motionmillion, NULL};

const ts_motion_layout *ts_motion_layout_find(const char *name)
{
    for (int i = 0; ts_motion_layouts[i]; i++)
        if (strcmp(ts_motion_layouts[i]->name, name) == 0)
            return ts_motion_layouts[i];
    return NULL;
}

const ts_motion_layout *ts_motion_layout_of(int64_t columns)
{
    for (int i = 0; ts_motion_layouts[i]; i++)
        if (ts_motion_layouts[i]->columns == columns)
            return ts_motion_layouts[i];
    return NULL;
}

static bool same_columns(ts_columns a, ts_columns b)
{
    return a.count == b.count && (a.count == 0 || a.first == b.first);
}

static bool same_skeleton(const ts_motion_layout *a, const ts_motion_layout *b)
{
    bool same = a->joints == b->joints;
    for (int64_t i = 0; same && i < a->joints; i++)
        same = a->parent[i] == b->parent[i] && strcmp(a->joint[i], b->joint[i]) == 0;
    return same;
}

static bool same_feet(const ts_motion_layout *a, const ts_motion_layout *b)
{
    bool same = a->foot_count == b->foot_count;
    for (int i = 0; same && i < a->foot_count; i++)
        same = a->foot[i] == b->foot[i];
    return same;
}

const char *ts_motion_layout_difference(const ts_motion_layout *a, const ts_motion_layout *b)
{
    const struct {
        const char *name;
        bool same;
    } parts[] = {{"columns", a->columns == b->columns},
                 {"fps", a->fps == b->fps},
                 {"unit_mm", a->unit_mm == b->unit_mm},
                 {"root_kind", a->root_kind == b->root_kind},
                 {"root", same_columns(a->root, b->root)},
                 {"positions", a->root_position == b->root_position && same_columns(a->positions, b->positions)},
                 {"rotations", same_columns(a->rotations, b->rotations)},
                 {"velocities", same_columns(a->velocities, b->velocities)},
                 {"contacts", same_columns(a->contacts, b->contacts)},
                 {"height", a->root_position || a->height == b->height},
                 {"skeleton", same_skeleton(a, b)},
                 {"feet", same_feet(a, b)}};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        if (!parts[i].same)
            return parts[i].name;
    return NULL;
}
