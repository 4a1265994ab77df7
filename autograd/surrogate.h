/* Functions whose derivative is zero or missing, and the two that say where a gradient goes instead. A quantizer is
 * written as in its paper:  y = straight_through(round(x), x). */
#ifndef TS_AUTOGRAD_SURROGATE_H
#define TS_AUTOGRAD_SURROGATE_H

#include "autograd/graph.h"

/* Of reals, any shape. The gradient is zero, as the true derivative is almost everywhere (torch does the same). */
ts_value ts_round(ts_value x); /* to the nearest integer, half to even; torch.round */
ts_value ts_floor(ts_value x);
ts_value ts_sign(ts_value x); /* -1, 0, 1; NaN stays NaN */

/* The value of `hard`, the gradient to `soft`; neither is copied.  Errors: dtypes or shapes differ.
 * torch: soft + (hard - soft).detach(), but the value is hard to the last bit. */
ts_value ts_straight_through(ts_value hard, ts_value soft);

/* The value of x; no gradient flows to it. torch: x.detach() */
ts_value ts_stop_gradient(ts_value x);

#endif
