/* Which part of a data set a clip belongs to: as lists that there are already say, or drawn from parts such as
 * "80,10,10" (train, val, test). Whole recordings are drawn, so that the clips of one stay together. */
#ifndef TS_TRAIN_IMPORT_SPLIT_H
#define TS_TRAIN_IMPORT_SPLIT_H

#include "core/memory.h"
#include "train/motion_tree_writer.h"

typedef struct {
    const char *id;
    ts_tree_part part;
} ts_listed_clip;

typedef struct {
    unsigned char *drawn; /* [recordings] ts_tree_part, or NULL: */
    int64_t listed_count; /* clips in lists, sorted by id */
    ts_listed_clip *listed;
    ts_arena arena;
} ts_import_split;

/* text: three whole numbers, or a folder with train.txt, val.txt and test.txt. Every part that is not 0 gets at least
 * one recording where there are enough; the seed says which.
 * Owner: ts_import_split_close, also after a failure. Errors: TS_ERR_USAGE for numbers that are no three or all 0;
 * TS_ERR_DATA for lists that cannot be read, or that have a clip twice. */
ts_status ts_import_split_open(ts_import_split *split, const char *text, int64_t recordings, uint64_t seed,
                               ts_error *err);
void ts_import_split_close(ts_import_split *split);

/* Of a clip of this recording. */
ts_tree_part ts_import_split_of(const ts_import_split *split, int64_t recording, const char *id);

#endif
