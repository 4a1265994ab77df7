/* A tree of motion clips as motion people have it: one .npy of [frames, columns] per clip, mean and deviation per
 * column, and text files with the ids of each split. HumanML3D, KIT-ML   new_joint_vecs/ID.npy       Mean.npy, Std.npy
 * train.txt, val.txt, test.txt MotionMillion       motion_data/TYPE/ID.npy     mean_std/TYPE/mean.npy, std.npy
 * split/VERSION/train.txt ... An id may name folders ("walk/a_01"). Strings and arrays belong to the arena that a
 * function is given. */
#ifndef TS_TRAIN_MOTION_TREE_H
#define TS_TRAIN_MOTION_TREE_H

#include "core/files/npy.h"

typedef struct {
    const char *clips;      /* folder with ID.npy */
    const char *mean, *std; /* files, which may be missing */
    const char *splits;     /* folder with train.txt ... */
} ts_motion_tree;

/* Finds out which of the two it is. `type` and `version` are MotionMillion's ("vector_272", "version1").
 * Errors: TS_ERR_DATA naming what was looked for. */
ts_status ts_motion_tree_find(ts_motion_tree *tree, const char *path, const char *type, const char *version,
                              ts_arena *arena, ts_error *err);

typedef struct {
    int64_t count;
    const char **id; /* [count], in the order of the file */
} ts_motion_ids;

/* The ids in splits/SPLIT.txt, one a line; blank lines do not count. "all" is all.txt or, where that is missing, those
 * of train, val and test that are there.
 * Errors: TS_ERR_DATA: no such file, no id in it, an id that leads out of the tree. */
ts_status ts_motion_ids_read(ts_motion_ids *ids, const ts_motion_tree *tree, const char *split, ts_arena *arena,
                             ts_error *err);

/* Where the clip is. Owner: the arena; NULL when out of memory. */
const char *ts_motion_clip_path(const ts_motion_tree *tree, const char *id, ts_arena *arena);

/* One clip, [frames, columns] f32; `columns` 0: whatever it has. ts_npy_close when done.
 * Errors: TS_ERR_DATA with the path: as ts_npy_open; another rank, type or number of columns; no frames; a value that
 * is not finite (its frame and column are named). */
ts_status ts_motion_clip_open(ts_npy *clip, const ts_motion_tree *tree, const char *id, int64_t columns, ts_error *err);
ts_status ts_motion_file_open(ts_npy *clip, const char *path, int64_t columns, ts_error *err);

/* Shape alone, from the header: nothing is said about values. */
ts_status ts_motion_clip_shape(ts_shape *shape, const ts_motion_tree *tree, const char *id, int64_t columns,
                               ts_error *err);
ts_status ts_motion_file_shape(ts_shape *shape, const char *path, int64_t columns, ts_error *err);

/* Normalised is (x - mean) / std. */
typedef struct {
    int64_t columns;
    const float *mean, *std; /* [columns]; std > 0 */
} ts_motion_statistics;

/* Reads tree->mean and tree->std; where both are missing, computes them from `ids`: clips that cannot be read, or hold
 * a NaN, are left out, and a column that never changes gets std 1. Errors: TS_ERR_DATA: one of the two alone is
 * missing; another number of columns; a std that is 0, negative or not finite; no clip to compute from. */
ts_status ts_motion_statistics_get(ts_motion_statistics *statistics, const ts_motion_tree *tree,
                                   const ts_motion_ids *ids, int64_t columns, ts_arena *arena, ts_error *err);

/* Reads the two files or fails: nothing is computed. */
ts_status ts_motion_statistics_read(ts_motion_statistics *statistics, const ts_motion_tree *tree, int64_t columns,
                                    ts_arena *arena, ts_error *err);

#endif
