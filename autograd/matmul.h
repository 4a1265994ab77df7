/* Matrix products. One node each: the bias is added inside of it. */
#ifndef TS_AUTOGRAD_MATMUL_H
#define TS_AUTOGRAD_MATMUL_H

#include "autograd/graph.h"

/* c = op(a) op(b), op swapping the last two axes where trans says so.
 *   a       [.., M, K]  ([.., K, M] with trans_a)
 *   b       [.., K, N]  ([.., N, K] with trans_b), with a's leading dims, or of rank 2 and then the same for all of
 * them c       [.., M, N] grad    da = dc op(b)^T, db = op(a)^T dc, summed over the leading dims where b has none
 *   errors  K differs; leading dims differ; rank below 2; dtypes differ
 *   torch   torch.matmul */
ts_value ts_matmul(ts_value a, ts_value b, bool trans_a, bool trans_b);

/* y = x weight^T + bias over the last axis.
 *   x       [.., in]    weight [out, in]    bias [out] or TS_ABSENT
 *   y       [.., out]
 *   grad    dx = dy weight, dweight = dy^T x and dbias = the sum of dy, over all rows
 *   errors  x's last dim is not in; bias is not [out]
 *   torch   torch.nn.functional.linear */
ts_value ts_linear(ts_value x, ts_value weight, ts_value bias);

#endif
