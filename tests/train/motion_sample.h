/* Small motion of 251 columns, KIT-ML's: waves, so that no two clips or frames are alike. */
#ifndef TS_TESTS_MOTION_SAMPLE_H
#define TS_TESTS_MOTION_SAMPLE_H

#include <stdint.h>

#include "tests/train/temp_folder.h"

enum { SAMPLE_COLUMNS = 251 };

/* Value of a column in a frame of clip number `clip`. */
float motion_sample_value(int clip, int64_t frame, int64_t column);

/* Writes folder/name, [frames, columns]. */
void motion_sample_clip(const temp_folder *folder, const char *name, int clip, int64_t frames, int64_t columns);

/* The same with a NaN in frame 1, column 2. */
void motion_sample_broken(const temp_folder *folder, const char *name, int clip, int64_t frames);

/* folder/SPLIT.txt with the ids, and folder/new_joint_vecs/ID.npy for each; clips are numbered from `first` on. */
typedef struct {
    const char *id;
    int64_t frames; /* 0: no file; below 0: so many frames, one of them broken */
} sample_clip;
void motion_sample_split(const temp_folder *folder, const char *split, int first, const sample_clip *clips, int count);

/* A config of this tree: a small motion_conv with tokens of 4 frames, windows of 16 frames; `quantizer` as in YAML. */
const char *motion_sample_yaml(const temp_folder *folder, const char *quantizer);

#endif
