/* The one permutation between memory and files: the weight of a convolution is [out, k.., in] here (channels last) and
 * [out, in, k..] in PyTorch; of a transposed one [in, k.., out/groups] and [in, out/groups, k..]. Files hold PyTorch's.
 */
#ifndef TS_CORE_FILES_LAYOUT_H
#define TS_CORE_FILES_LAYOUT_H

#include "core/tensor.h"

/* [a, k.., c] -> [a, c, k..] */
ts_shape ts_layout_torch_shape(ts_shape ours);

/* Copies a whole tensor; `ours` is its dtype and its shape in memory. `from` and `to` do not overlap. */
void ts_layout_to_torch(ts_dtype dtype, ts_shape ours, const void *from, void *to);
void ts_layout_from_torch(ts_dtype dtype, ts_shape ours, const void *from, void *to);

#endif
