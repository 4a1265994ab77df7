/* Losses: scalars [], means. x (the prediction) and y (the target) are f32, or f64, and of one shape: nothing is
 * broadcast, because a forgotten axis would silently compare everything with everything. No elements is an error. */
#ifndef TS_AUTOGRAD_LOSS_H
#define TS_AUTOGRAD_LOSS_H

#include "autograd/graph.h"

/* mean((x - y)^2).
 *   grad    dx = dloss * 2/n * (x - y), dy = -dx
 *   torch   F.mse_loss(x, y) */
ts_value ts_mse(ts_value x, ts_value y);

/* mean(|x - y|).     torch   F.l1_loss(x, y) */
ts_value ts_l1(ts_value x, ts_value y);

/* mean(e < beta ? e^2 / (2 beta) : e - beta/2), e = |x - y|, beta > 0.     torch   F.smooth_l1_loss(x, y, beta=beta) */
ts_value ts_smooth_l1(ts_value x, ts_value y, double beta);

/* The same three, over the rows that count: sum(mask * e) / (sum(mask) * C).
 *   x, y    [..., C]
 *   mask    [...] of x's dtype: 1 where a row counts, 0 where it is padding (which must be finite). All 0: the
 *           loss is 0. Absent: every row counts, and the op is the one without a mask
 *   grad    also: exactly 0 in rows that do not count
 *   errors  also: mask has another shape or dtype */
ts_value ts_mse_masked(ts_value x, ts_value y, ts_value mask);
ts_value ts_l1_masked(ts_value x, ts_value y, ts_value mask);
ts_value ts_smooth_l1_masked(ts_value x, ts_value y, double beta, ts_value mask);

typedef struct {
    bool ignore; /* targets equal to ignore_index count for nothing */
    int64_t ignore_index;
    double smoothing; /* in [0, 1): that part of the target is spread evenly over all classes */
} ts_cross_entropy_opts;

/* Mean over the targets that count of  (1-s) * -log p[target] + s * mean(-log p),  p = softmax(logits), s = smoothing.
 *   logits  [N, C] f32 or f64
 *   target  [N] i32, in [0, C) or ignored. Any other value gives NaN, as does a batch in which no target counts
 *   grad    dlogits = dloss / count * (p - (1-s) * onehot(target) - s/C), 0 in ignored rows
 *   torch   F.cross_entropy(logits, target, ignore_index=, label_smoothing=) */
ts_value ts_cross_entropy(ts_value logits, ts_value target, ts_cross_entropy_opts opts);

#endif
