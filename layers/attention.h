/* Attention over time. */
#ifndef TS_LAYERS_ATTENTION_H
#define TS_LAYERS_ATTENTION_H

#include "layers/norm.h"

/* y = x + out(softmax(q k^T / sqrt(C)) v), with q, k and v 1x1 convolutions of norm(x): one head.
 *   x, y    [B, T, C]
 *   causal  frame t sees frames 0 ... t
 *   parameters   norm.*, and q, k, v, out with weight [C, 1, C] and bias [C] (MotionMillion's CausalAttention1D) */
ts_value ts_attention_layer(ts_scope s, ts_value x, ts_norm_layer_opts norm, bool causal);

#endif
