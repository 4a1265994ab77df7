/* Codes of signs: each of d numbers is taken to +m or -m, and the d signs are the bits of the id. What lookup_free and
 * spherical share. No table of 2^d codes per token exists.
 *
 *   bit i   1 where z_i > 0 (a 0 is -m); the first number is the most significant bit, as upstream's
 *   p       the probability of code c under softmax_c(2 T z.c) is the product over i of sigmoid(+-odds_i), odds = 4 T m
 * z
 */
#ifndef TS_QUANT_SIGN_CODE_H
#define TS_QUANT_SIGN_CODE_H

#include "autograd/graph.h"

/* Ids are summed in f32 and counts are exact up to here, 2^24 codes. */
enum { TS_MAX_BITS = 24 };

/* z [.., d] -> +-magnitude [.., d], without a gradient; NaN stays NaN. */
ts_value ts_sign_codes(ts_value z, double magnitude);

/* z [.., d] -> ids [..] i32, 0 ... 2^d - 1; -1 where one of the d is NaN.  Errors: d above TS_MAX_BITS. */
ts_value ts_sign_ids(ts_value z);

/* ids [..] -> what ts_sign_codes gave for them, [.., bits], bit for bit; a row of NaN where the id is outside. */
ts_value ts_sign_decode(ts_value ids, int bits, double magnitude);

/* Entropies in nats, both [], of odds [N, c, d]: c codes of d bits for each token. mask [N], or absent: all tokens
 * count. 0, and without a gradient, where none does.
 *
 *   sample  mean over tokens of the sum over c of H(p).  The bits are independent, so H(p) is the sum of the bits' own
 *           entropies: exact, and O(d)
 *   batch   sum over c of H(mean over tokens of p), with log(max(p, floor)).  p is the outer product of the codes of
 *           its first and of its last bits, so that the mean is one matrix product of [N, 2^(d/2)] with [N, 2^(d/2)]:
 *           exact, with N * 2 * 2^(d/2) + 2^d numbers instead of N * 2^d */
ts_value ts_sign_sample_entropy(ts_value odds, ts_value mask);
ts_value ts_sign_batch_entropy(ts_value odds, ts_value mask, double floor);

#endif
