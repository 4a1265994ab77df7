/* Elementwise ops. Operands of two-operand ops broadcast as in NumPy; gradients of broadcast operands are summed back.
 * All take and return the graph's real dtype unless said otherwise. Errors: shapes that do not broadcast. */
#ifndef TS_AUTOGRAD_ELEMENTWISE_H
#define TS_AUTOGRAD_ELEMENTWISE_H

#include "autograd/graph.h"

ts_value ts_add(ts_value a, ts_value b);      /* a + b */
ts_value ts_subtract(ts_value a, ts_value b); /* a - b */
ts_value ts_mul(ts_value a, ts_value b);      /* a * b */
ts_value ts_div(ts_value a, ts_value b);      /* a / b */
ts_value ts_maximum(ts_value a, ts_value b);  /* at a tie the gradient goes to a */
ts_value ts_minimum(ts_value a, ts_value b);
ts_value ts_greater(ts_value a, ts_value b); /* 1 where a > b, else 0; no gradient */

/* condition != 0 ? a : b. The condition is real and has no gradient; a and b are both real, or both i32. All three
 * broadcast. */
ts_value ts_where(ts_value condition, ts_value a, ts_value b);

ts_value ts_affine(ts_value x, double a, double b); /* a*x + b */
ts_value ts_scale(ts_value x, double a);            /* a*x */
ts_value ts_neg(ts_value x);

ts_value ts_square(ts_value x);
ts_value ts_sqrt(ts_value x);
ts_value ts_exp(ts_value x);
ts_value ts_log(ts_value x);
ts_value ts_abs(ts_value x); /* gradient 0 at 0, as torch.abs */

ts_value ts_clamp(ts_value x, double lo, double hi); /* gradient 1 inside, bounds included, else 0; torch.clamp */

/* Huber's: x^2 / (2 beta) where |x| < beta, else |x| - beta/2. mean(ts_smooth_abs(x - y)) is torch's smooth_l1_loss. */
ts_value ts_smooth_abs(ts_value x, double beta);

ts_value ts_relu(ts_value x);                     /* gradient 0 at 0 */
ts_value ts_leaky_relu(ts_value x, double slope); /* x > 0 ? x : slope*x */
ts_value ts_elu(ts_value x, double alpha);        /* x > 0 ? x : alpha*(exp(x) - 1) */
ts_value ts_silu(ts_value x);                     /* x * sigmoid(x) */
ts_value ts_gelu(ts_value x);                     /* x * Phi(x), by erf */
ts_value ts_gelu_tanh(ts_value x);                /* x/2 * (1 + tanh(sqrt(2/pi) * (x + 0.044715 x^3))) */
ts_value ts_tanh(ts_value x);
ts_value ts_sigmoid(ts_value x);
ts_value ts_softplus(ts_value x); /* log(1 + exp(x)), by max(x, 0) + log1p(exp(-|x|)) */

/* To another dtype. Reals to integers round toward zero; the gradient passes between reals only. */
ts_value ts_cast(ts_value x, ts_dtype dtype);

#endif
