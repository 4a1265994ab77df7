/* A folder of BVH recordings becomes a tree of motion that trains as HumanML3D does: each recording brought to the
 * skeleton of 22 joints and to one rate (train/retarget.h), its rows of 263 columns (models/motion_features.h) cut into
 * clips, all of it written as train/motion_tree_writer.h says. */
#ifndef TS_TRAIN_IMPORT_BVH_H
#define TS_TRAIN_IMPORT_BVH_H

#include "core/memory.h"
#include "core/status.h"
#include "train/motion_tree_writer.h"

typedef struct {
    const char *from, *to; /* folders */
    double fps;
    int64_t cut;        /* most frames of a clip; a longer one is cut into equal ones; 0: none is */
    const char *split;  /* "80,10,10", or a folder with lists (train/import_split.h) */
    uint64_t seed;      /* of the split */
    const char *map;    /* file (train/joint_map.h); NULL: known skeletons */
    const char *rename; /* "cmu-131=cmu,reactidle=idle": what folders are called in ids; "": as they are */
    bool skip_broken;   /* a recording that cannot be read or brought over: skip and count, or stop */
} ts_import_bvh_options;

typedef struct {
    int64_t recordings, skipped, reference_poses; /* first frames that were dropped: train/retarget.h */
    int64_t clips, frames, part_clips[TS_PARTS];
    ts_error first_skip;
} ts_import_bvh_result;

/* A clip's id is its recording's path below the folder with '_' for '/', without .bvh, and "_00", "_01" ... where the
 * recording was cut.
 * Errors: TS_ERR_USAGE: split, rename, map. TS_ERR_DATA: recordings (file and line), two of one id, `to`. */
ts_status ts_import_bvh(ts_import_bvh_result *result, const ts_import_bvh_options *options, ts_error *err);

#endif
