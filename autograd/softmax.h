/* Softmax and unit length. x is f32 or f64, y has its shape and dtype; an axis without elements is an error. */
#ifndef TS_AUTOGRAD_SOFTMAX_H
#define TS_AUTOGRAD_SOFTMAX_H

#include "autograd/graph.h"

/* y = softmax(x) over the last axis; each row sums to 1.
 *   x       [..., C]
 *   grad    dx = y * (dy - sum(dy * y))
 *   torch   torch.softmax(x, -1) */
ts_value ts_softmax(ts_value x);

/* Over any axis; a negative one counts from the end. Other axes than the last cost two permutes. */
ts_value ts_softmax_axis(ts_value x, int axis);

/* y = log(softmax(x)) over the last axis.
 *   x       [..., C]
 *   grad    dx = dy - exp(y) * sum(dy)
 *   torch   torch.log_softmax(x, -1) */
ts_value ts_log_softmax(ts_value x);

/* y = x / max(|x|, eps) over the last axis, |x| the Euclidean length.
 *   x       [..., C]
 *   grad    dx = (dy - y * sum(dy * y)) / |x|;  dy / eps where |x| < eps
 *   errors  eps is not positive
 *   torch   F.normalize(x, dim=-1, eps=eps) (there 1e-12 unless told) */
ts_value ts_l2_normalize(ts_value x, double eps);

#endif
