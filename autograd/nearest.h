/* Nearest-neighbour search in a codebook. */
#ifndef TS_AUTOGRAD_NEAREST_H
#define TS_AUTOGRAD_NEAREST_H

#include "autograd/graph.h"

/* ids = argmin over k of |x - e_k|^2, as |e_k|^2 - 2 x.e_k; the lowest k on ties. No gradient.
 *   x         [.., D] of the real dtype
 *   codebook  [K, D]  dtype of x
 *   ids       [..] i32; -1 where no distance is a number (a NaN in the row)
 *   memory    no N x K matrix exists
 *   errors    dtypes or widths differ; K is 0 or above 2^31 - 1
 *   torch     torch.cdist(x, codebook).argmin(-1) */
ts_value ts_nearest(ts_value x, ts_value codebook);

#endif
