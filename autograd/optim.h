/* What changes variables: optimizers, moving averages, assignment. They run after everything else of a program, in the
 * order in which they were built; whatever reads a variable before them sees the old values.
 *
 * Written operands are places in a store (ts_param, ts_state, a slice of a block). `ok` is a real [] : where it is 0
 * (or NaN) nothing is written. Scalars that change from step to step are operands. `ok` and `grad_scale` may be
 * TS_ABSENT: then they are 1. Errors of all: a written operand that is no variable; shapes or dtypes that differ. */
#ifndef TS_AUTOGRAD_OPTIM_H
#define TS_AUTOGRAD_OPTIM_H

#include "autograd/graph.h"

/* sqrt(sum of squares) -> [], summed in double. torch.nn.utils.clip_grad_norm_'s return value */
ts_value ts_global_norm(ts_value g);

typedef struct {
    double beta1, beta2, eps, weight_decay;
    bool coupled; /* Adam: the decay goes into the gradient; else AdamW: into the value */
} ts_adamw_opts;

/* g = grad * grad_scale;  value *= 1 - lr * weight_decay  (coupled: g += weight_decay * value)
 * m = beta1 m + (1 - beta1) g;  v = beta2 v + (1 - beta2) g^2
 * value -= lr * (m / corrections[0]) / (sqrt(v / corrections[1]) + eps)
 *   value, m, v, grad   the same shape, of the real dtype
 *   lr, grad_scale      []
 *   corrections         [2]: 1 - beta1^t, 1 - beta2^t, t = 1 in the first step
 *   torch               torch.optim.AdamW, Adam */
typedef struct {
    ts_value value, m, v, grad, lr, corrections, grad_scale, ok;
} ts_adamw_operands;
void ts_adamw(const ts_adamw_operands *operands, ts_adamw_opts opts);

typedef struct {
    double momentum, weight_decay;
    bool nesterov;
} ts_sgd_opts;

/* g = grad * grad_scale + weight_decay * value;  buffer = momentum * buffer + g
 * value -= lr * (nesterov ? g + momentum * buffer : buffer)
 *   buffer   starts at 0; TS_ABSENT where momentum is 0
 *   torch    torch.optim.SGD, dampening 0 */
void ts_sgd(ts_value value, ts_value buffer, ts_value grad, ts_value lr, ts_value grad_scale, ts_value ok,
            ts_sgd_opts opts);

/* e = decay * e + (1 - decay) * x */
void ts_ema(ts_value e, ts_value x, ts_value ok, double decay);

/* variable = x, of any dtype; variable += x, of the real dtype, i32 or i64. */
void ts_assign(ts_value variable, ts_value x, ts_value ok);
void ts_assign_add(ts_value variable, ts_value x, ts_value ok);

#endif
