/* Frames folded into channels and back, without parameters: fewer, wider frames for the same numbers. */
#ifndef TS_LAYERS_PATCH_H
#define TS_LAYERS_PATCH_H

#include "autograd/graph.h"

typedef enum { TS_PATCH_HAAR, TS_PATCH_REARRANGE } ts_patch_method;

extern const char *const ts_patch_names[]; /* "haar", "rearrange" */

/* x [B, T, C] -> [B, T/size, C*size]; size 1 gives x itself.
 *   HAAR       log2(size) times over all channels: a = (x[2t] + x[2t+1]) / sqrt(8), d = (x[2t] - x[2t+1]) / sqrt(8),
 *              the a's before the d's (MotionMillion's Patcher1D, whose own model only works for size 1)
 *   REARRANGE  channel c*size + i of frame t is channel c of frame t*size + i
 *   errors     size does not divide T; HAAR: size is no power of two */
ts_value ts_patch(ts_value x, ts_patch_method method, int64_t size);

/* The inverse: x [B, T, C*size] -> [B, T*size, C]. */
ts_value ts_unpatch(ts_value x, ts_patch_method method, int64_t size);

#endif
