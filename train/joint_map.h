/* Which joints of a recording are those of the skeleton that motion is brought to: the 22 of the preset humanml3d. */
#ifndef TS_TRAIN_JOINT_MAP_H
#define TS_TRAIN_JOINT_MAP_H

#include "models/motion_layout.h"
#include "train/bvh.h"

/* For each joint of the skeleton the name of one in the recording, which for an End Site is "JOINT/end". The spine's
 * three joints and the collars may be left out (NULL or ""): they lie evenly between their neighbours. */
typedef struct {
    const char *name; /* "CC_Base", or the path of a file */
    const char *source[TS_MAX_JOINTS];
} ts_joint_map;

/* Skeletons that are known by the names of their joints, ended by name NULL. */
extern const ts_joint_map ts_joint_maps[];

/* Reads `joint: source name` lines of YAML, with the layout's names: "left_hip: LeftUpLeg". Texts are the arena's.
 * Errors: as a config's (TS_ERR_USAGE), naming file and line. */
ts_status ts_joint_map_load(ts_joint_map *map, const ts_motion_layout *layout, const char *path, ts_arena *arena,
                            ts_error *err);

/* The recording's joint for each of the layout's, -1 where the map leaves one out. map NULL: the known one that fits.
 * Errors: TS_ERR_DATA that names `path`, the joints that are missing, and what the file has. */
ts_status ts_joint_map_find(int source[TS_MAX_JOINTS], const ts_joint_map *map, const ts_motion_layout *layout,
                            const ts_bvh *bvh, const char *path, ts_error *err);

/* The next joint towards the head or the hand from one that may be left out; 0 for all others. */
int ts_joint_beyond(int64_t joint);

#endif
