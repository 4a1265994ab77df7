/* Scaled dot-product attention. */
#ifndef TS_AUTOGRAD_ATTENTION_H
#define TS_AUTOGRAD_ATTENTION_H

#include "autograd/graph.h"

/* y = softmax(scale * q k^T + mask) v, head by head; the [Tq, Tk] matrix is never stored.
 *   q       [B, h, Tq, d]
 *   k       [B, h, Tk, d]
 *   v       [B, h, Tk, dv]
 *   y       [B, h, Tq, dv]
 *   causal  the last query sees all keys, the one before it all but the last, and so on: query i sees keys up to
 *           i + Tk - Tq, so that a chunk of queries can look back at a cache of keys
 *   grad    p = softmax(...):  ds = p * (dy v^T - sum(dy * y)),  dq = scale * ds k,  dk = scale * ds^T q,  dv = p^T dy
 *   errors  not f32 or f64; sizes differ; no keys; causal with more queries than keys
 *   torch   F.scaled_dot_product_attention(q, k, v, is_causal=, scale=) where Tq == Tk */
ts_value ts_attention(ts_value q, ts_value k, ts_value v, double scale, bool causal);

#endif
