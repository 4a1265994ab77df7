/* Normalisation over channels, groups and batches. x is channels last; weight and bias are [C] and may be TS_ABSENT
 * (1 and 0). All of f32, or of f64. Gradients with respect to x, weight and bias come from one node; the statistics are
 * constants to it only where a function says so. The derivation: docs/numerics.md#norm.
 *
 * Errors of all: x has no axis or no channels, weight or bias is not [C], dtypes differ, eps is negative. */
#ifndef TS_AUTOGRAD_NORM_H
#define TS_AUTOGRAD_NORM_H

#include "autograd/graph.h"

/* y = (x - mean) / sqrt(var + eps) * weight + bias, mean and (biased) var of each row of C.
 *   x, y    [..., C]
 *   grad    g = dy * weight, xhat = (x - mean) * rstd:  dx = rstd * (g - mean(g) - xhat * mean(g * xhat)),
 *           dweight = sum(dy * xhat), dbias = sum(dy)
 *   torch   F.layer_norm(x, (C,), weight, bias, eps) */
ts_value ts_layer_norm(ts_value x, ts_value weight, ts_value bias, double eps);

/* y = x / sqrt(mean(x^2) + eps) * weight over each row of C.
 *   x, y    [..., C]
 *   grad    xhat = x * rstd:  dx = rstd * (g - xhat * mean(g * xhat)), dweight = sum(dy * xhat)
 *   torch   F.rms_norm(x, (C,), weight, eps) (2.4) */
ts_value ts_rms_norm(ts_value x, ts_value weight, double eps);

/* As layer_norm, with the statistics of a sample's C/groups neighbouring channels at all positions.
 *   x, y    [B, ..., C]
 *   errors  groups does not divide C; no positions
 *   torch   F.group_norm on channels first: (B, C, ...) */
ts_value ts_group_norm(ts_value x, ts_value weight, ts_value bias, int64_t groups, double eps);

typedef struct {
    ts_value y;    /* [..., C] */
    ts_value mean; /* [C] of the batch */
    ts_value var;  /* [C], biased: divided by the number of rows n. For a running variance take n/(n-1) of it */
} ts_batch_stats;

/* As layer_norm, with the statistics of each channel over all other axes: the training form. The caller keeps running
 * statistics, from mean and var.
 *   x, y    [..., C]
 *   grad    through y; asking for one through mean or var is an error
 *   errors  fewer than two rows
 *   torch   F.batch_norm(x, ..., training=True) on channels first */
ts_batch_stats ts_batch_norm(ts_value x, ts_value weight, ts_value bias, double eps);

/* The same with given statistics, mean and var [C]: the form for evaluation.
 *   grad    to all operands
 *   torch   F.batch_norm(x, mean, var, weight, bias, training=False, eps=eps) */
ts_value ts_batch_norm_eval(ts_value x, ts_value mean, ts_value var, ts_value weight, ts_value bias, double eps);

#endif
