/* Reductions, broadcasting and running sums. Axes are a bit mask: 1u << 0 is the outermost. */
#ifndef TS_AUTOGRAD_REDUCE_H
#define TS_AUTOGRAD_REDUCE_H

#include "autograd/graph.h"

/* Sum, mean, maximum over the axes in the mask. keep: reduced axes stay with size 1, else they are gone.
 * The gradient of ts_amax is shared equally among the places where the maximum is taken (torch.amax). */
ts_value ts_sum(ts_value x, uint32_t axes, bool keep);
ts_value ts_mean(ts_value x, uint32_t axes, bool keep);
ts_value ts_amax(ts_value x, uint32_t axes, bool keep);

/* Over everything, to []. */
ts_value ts_sum_all(ts_value x);
ts_value ts_mean_all(ts_value x);

/* x repeated to `shape`, as NumPy broadcasts. Errors: x does not broadcast to it. */
ts_value ts_broadcast(ts_value x, ts_shape shape);

/* Running sum along an axis (negative counts from the end); reverse: from the end. torch.cumsum */
ts_value ts_cumsum(ts_value x, int axis, bool reverse);

/* [] 1 where every element of every operand (at most TS_MAX_IN) is finite, else 0. Of the real dtype. */
ts_value ts_all_finite(const ts_value *x, int count);

#endif
