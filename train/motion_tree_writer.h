/* Writes a tree of motion as HumanML3D's: new_joint_vecs/ID.npy, train.txt, val.txt, test.txt, all.txt with the ids,
 * Mean.npy and Std.npy over the frames of train (Std shared in groups of columns: train/column_sums.h), and
 * layout.yaml, which says what the columns are.
 *
 * Clips are written as they come, the rest at the end: a tree that was not finished has no train.txt, and is no data
 * set. */
#ifndef TS_TRAIN_MOTION_TREE_WRITER_H
#define TS_TRAIN_MOTION_TREE_WRITER_H

#include "models/motion_layout.h"
#include "train/column_sums.h"

typedef enum { TS_PART_TRAIN, TS_PART_VAL, TS_PART_TEST, TS_PART_NONE } ts_tree_part;
enum { TS_PARTS = 3 };

/* Ids, one a line. */
typedef struct {
    char *text;
    size_t used, room;
} ts_id_lines;

typedef struct {
    char *path;
    ts_motion_layout layout;
    ts_column_sums sums;
    ts_id_lines all, part[TS_PARTS];
    int64_t clips, frames, part_clips[TS_PARTS];
} ts_tree_writer;

/* The folder is made; where it exists it must be empty.
 * Owner: ts_tree_writer_clear, also after a failure. Errors: TS_ERR_DATA naming the path. */
ts_status ts_tree_writer_begin(ts_tree_writer *w, const char *path, const ts_motion_layout *layout, ts_error *err);
void ts_tree_writer_clear(ts_tree_writer *w);

/* Errors: TS_ERR_DATA naming the file. */
ts_status ts_tree_writer_add(ts_tree_writer *w, const char *id, ts_tree_part part, const float *rows, int64_t frames,
                             ts_error *err);

/* Errors: TS_ERR_DATA: nothing for train; a column that nothing in its group of columns ever changes gets std 1. */
ts_status ts_tree_writer_finish(ts_tree_writer *w, ts_error *err);

#endif
