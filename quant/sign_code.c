#include "quant/sign_code.h"

#include <math.h>

#include "autograd/elementwise.h"
#include "autograd/index.h"
#include "autograd/matmul.h"
#include "autograd/node.h"
#include "autograd/reduce.h"
#include "autograd/shape.h"
#include "autograd/softmax.h"
#include "autograd/surrogate.h"

/* sign(sign(z) - 1/2): -1 for 0, and NaN for NaN */
ts_value ts_sign_codes(ts_value z, double magnitude)
{
    ts_value unit = ts_sign(ts_affine(ts_sign(ts_stop_gradient(z)), 1, -0.5));
    return ts_scale(unit, magnitude);
}

/* What each bit is worth: [bits] 2^(bits-1) ... 2, 1, of the real dtype. */
static ts_value place_values(ts_graph *g, int bits)
{
    int32_t value[TS_MAX_BITS];
    for (int i = 0; i < bits; i++)
        value[i] = 1 << (bits - 1 - i);
    return ts_cast(ts_constant(g, TS_I32, ts_shape_of(bits), value), ts_graph_real(g));
}

ts_value ts_sign_ids(ts_value z)
{
    ts_graph *g;
    if (ts_poisoned(&g, 1, &z))
        return ts_poison(g);
    ts_shape shape = ts_value_shape(z);
    if (shape.rank < 1 || ts_dim(z, -1) < 1 || ts_dim(z, -1) > TS_MAX_BITS)
        return ts_build_fail(g, "sign_ids", "z is %s, expected a last axis of 1 to %d bits", ts_shape_print(shape).text,
                             TS_MAX_BITS);
    ts_value bits = ts_affine(ts_sign_codes(z, 1), 0.5, 0.5);
    ts_value id = ts_sum(ts_mul(bits, place_values(g, (int)ts_dim(z, -1))), 1u << (shape.rank - 1), false);
    ts_value known = ts_greater(id, ts_scalar(g, -0.5)); /* not so for NaN */
    return ts_cast(ts_where(known, id, ts_scalar(g, -1)), TS_I32);
}

ts_value ts_sign_decode(ts_value ids, int bits, double magnitude)
{
    ts_graph *g;
    if (ts_poisoned(&g, 1, &ids))
        return ts_poison(g);
    ts_shape shape = ts_value_shape(ids);
    if (bits < 1 || bits > TS_MAX_BITS || shape.rank >= TS_MAX_RANK)
        return ts_build_fail(g, "sign_decode", "ids are %s of %d bits, expected 1 to %d bits and at most %d axes",
                             ts_shape_print(shape).text, bits, TS_MAX_BITS, TS_MAX_RANK - 1);
    shape.dim[shape.rank++] = 1;
    ts_value id = ts_cast(ts_reshape(ids, shape), ts_graph_real(g));
    ts_value shifted = ts_floor(ts_div(id, place_values(g, bits)));
    ts_value bit = ts_subtract(shifted, ts_scale(ts_floor(ts_scale(shifted, 0.5)), 2));
    ts_value below = ts_greater(ts_scalar(g, ldexp(1, bits) - 0.5), id), known = ts_greater(id, ts_scalar(g, -0.5));
    return ts_where(ts_mul(known, below), ts_affine(bit, 2 * magnitude, -magnitude), ts_scalar(g, NAN));
}

/* What each of N tokens counts in a mean: [N], 1/N or mask / sum(mask). */
static ts_value shares(ts_value odds, ts_value mask)
{
    ts_graph *g = odds.graph;
    int64_t N = ts_dim(odds, 0);
    if (!mask.graph)
        return ts_broadcast(ts_scalar(g, 1 / (double)N), ts_shape_of(N));
    return ts_div(mask, ts_maximum(ts_sum_all(mask), ts_scalar(g, 1e-30)));
}

static bool check_odds(ts_graph **g, ts_value odds, ts_value mask)
{
    ts_shape s = ts_value_shape(odds);
    if (ts_poisoned(g, 2, (ts_value[]){odds, mask}))
        return false;
    if (s.rank == 3 && ts_shape_count(s) > 0 && s.dim[2] <= TS_MAX_BITS &&
        (!mask.graph || ts_shape_equal(ts_value_shape(mask), ts_shape_of(s.dim[0]))))
        return true;
    ts_build_fail(*g, "entropy", "the odds are %s, expected [tokens, codebooks, bits] with at most %d bits",
                  ts_shape_print(s).text, TS_MAX_BITS);
    return false;
}

/* H = log(1 + exp(-|a|)) + |a| sigmoid(-|a|): both terms small where the bit is certain, nothing cancels */
ts_value ts_sign_sample_entropy(ts_value odds, ts_value mask)
{
    ts_graph *g;
    if (!check_odds(&g, odds, mask))
        return ts_poison(g);
    ts_value a = ts_neg(ts_abs(odds));
    ts_value bit = ts_subtract(ts_softplus(a), ts_mul(a, ts_sigmoid(a)));
    return ts_sum_all(ts_mul(ts_sum(bit, 6u, false), shares(odds, mask)));
}

/* The probabilities of all codes of `bits` of the bits from `first` on: odds [c, N, d] -> [c, N, 2^bits]. */
static ts_value part_codes(ts_value odds, int64_t first, int64_t bits)
{
    int32_t ids[1 << (TS_MAX_BITS / 2)];
    for (int32_t i = 0; i < 1 << bits; i++)
        ids[i] = i;
    ts_value codes =
        ts_sign_decode(ts_constant(odds.graph, TS_I32, ts_shape_of(1 << bits), ids), (int)bits, 0.5); /* odds / 2 */
    return ts_softmax(ts_matmul(ts_slice(odds, 2, first, bits), codes, false, true));
}

ts_value ts_sign_batch_entropy(ts_value odds, ts_value mask, double floor)
{
    ts_graph *g;
    if (!check_odds(&g, odds, mask))
        return ts_poison(g);
    int64_t N = ts_dim(odds, 0), c = ts_dim(odds, 1), d = ts_dim(odds, 2), half = d / 2;
    ts_value groups = ts_permute(odds, (int[]){1, 0, 2});
    ts_value left = ts_broadcast(ts_reshape(shares(odds, mask), ts_shape_of(1, N, 1)), ts_shape_of(c, N, 1));
    if (half > 0)
        left = ts_mul(part_codes(groups, 0, half), left);
    ts_value mean = ts_matmul(left, part_codes(groups, half, d - half), true, false);
    return ts_neg(ts_sum_all(ts_mul(mean, ts_log(ts_clamp(mean, floor, 2)))));
}
