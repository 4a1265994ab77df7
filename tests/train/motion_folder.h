/* A small tree of motion clips, and a config that trains on it. */
#ifndef TS_TESTS_MOTION_FOLDER_H
#define TS_TESTS_MOTION_FOLDER_H

#include <stdint.h>

#include "core/tensor.h"
#include "tests/train/temp_folder.h"

/* folder/NAME as .npy. */
void write_npy(const temp_folder *folder, const char *name, ts_dtype dtype, ts_shape shape, const void *values);

/* A tree as HumanML3D has it: clips 0 ... of smooth curves, each of them in train and in val; no Mean.npy, no Std.npy.
 * At most 512 x 272 values a clip. */
void write_motion_tree(const temp_folder *folder, int clips, int64_t frames, int64_t columns);

/* folder/Mean.npy and Std.npy: `columns` times 0 and 1, but for the first. */
void write_motion_statistics(const temp_folder *folder, int64_t columns, float mean, float std);

/* folder/motion.yaml: four steps of a tiny tokenizer on the tree in `folder`, windows of 16 frames, 8 codes. */
const char *motion_config(const temp_folder *folder);

#endif
