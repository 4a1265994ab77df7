/* Codes drawn in place of the nearest, by how near they are (lucidrains' stochastic_sample_codes). */
#ifndef TS_QUANT_CODE_SAMPLE_H
#define TS_QUANT_CODE_SAMPLE_H

#include "autograd/scope.h"

/* rows [n, W], codebook [K, W] -> [n, K]: -|x - e_k|, its square at least 1e-8; with cosine x.e_k, of rows of length 1.
 * Differentiable in both. `moved` [K, W] or absent: the gradient of x.e_k to x is taken at this codebook, as
 * lucidrains' is, which has been updated in place by then. */
ts_value ts_code_logits(ts_value rows, ts_value codebook, ts_value moved, bool cosine);

/* The same of row n of x [n, W] and row n of code (and moved): [n, 1]. */
ts_value ts_row_logits(ts_value rows, ts_value code, ts_value moved, bool cosine);

/* ids [n] i32, k with the probability softmax(logits / temperature): the largest of logits / temperature + g, g of
 * Gumbel's distribution (Gumbel-max). -1 where a row has a NaN. No gradient.
 *   memory  some [m, K] at a time, m K about 2^20, or at most 64 parts
 *   errors  the scope has no random numbers */
ts_value ts_drawn_codes(ts_scope s, ts_value rows, ts_value codebook, bool cosine, double temperature);

/* sum_k p_k e_k [n, W], p as above; differentiable in both.
 *   memory  [n, K], some times */
ts_value ts_mean_code(ts_value rows, ts_value codebook, bool cosine, double temperature);

/* How many of n units, each of `numbers` numbers, are done at a time where tables are too large to be had at once. */
int64_t ts_units_of_tile(int64_t n, int64_t numbers);

#endif
