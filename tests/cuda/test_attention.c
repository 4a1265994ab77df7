/* Attention on shapes that reach each way through core/cuda/attention.cu: slabs of several heads, of one, and of some
 * queries of one; tiles of which a causal one skips a part; parts of long sums. */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "autograd/attention.h"
#include "autograd/differentiate.h"
#include "autograd/elementwise.h"
#include "autograd/loss.h"
#include "tests/cuda/direct.h"
#include "tests/support/op_check.h"

static int wrt; /* -1: the value */
static bool causal;

/* The value, or the gradient in operand `wrt` of n * mse(value, the last operand). */
static ts_value value_or_gradient(const ts_value *in)
{
    ts_value y = ts_attention(in[0], in[1], in[2], 0.3, causal), gradient;
    if (wrt < 0)
        return y;
    ts_value loss = ts_mul(ts_mse(y, in[3]), ts_scalar(y.graph, (double)ts_shape_count(ts_value_shape(y))));
    ts_differentiate(loss, 1, &in[wrt], &gradient);
    return gradient;
}

static void check(int64_t heads, int64_t Tq, int64_t Tk, int64_t d, int64_t dv, int first, int end)
{
    setenv("TESSERA_CUDA_MODULE", TESSERA_CUDA_EMULATED, 0);
    for (wrt = first; wrt < end; wrt++) {
        ts_op_case c = {.label = "attention",
                        .in_count = 4,
                        .in = {{.dtype = TS_F32, .shape = {4, {1, heads, Tq, d}}},
                               {.dtype = TS_F32, .shape = {4, {1, heads, Tk, d}}},
                               {.dtype = TS_F32, .shape = {4, {1, heads, Tk, dv}}},
                               {.dtype = TS_F32, .shape = {4, {1, heads, Tq, dv}}}},
                        .build = value_or_gradient};
        double worst = compare_value_with_double(&c, "cuda");
        cr_expect_leq(worst, 1e-5, "%ld heads, %ld queries, %ld keys, widths %ld and %ld, %s, gradient %d: off by %g",
                      (long)heads, (long)Tq, (long)Tk, (long)d, (long)dv, causal ? "causal" : "full", wrt, worst);
    }
}

Test(cuda_attention, agrees_on_every_path)
{
    for (int i = 0; i < 2; i++) {
        causal = i == 1;
        check(3, 7, 7, 4, 4, -1, 3);
        check(2, 37, 41, 33, 35, -1, 3);
        check(1, 130, 197, 8, 6, -1, 3);
        check(2, 20, 530, 3, 5, -1, 3); /* sums over keys in parts */
        check(1, 1, 1100, 5, 4, -1, 3);
    }
}

/* More weights than a slab has: 2^22, in the emulation 2^16. */
Test(cuda_attention, slabs_together_are_the_whole)
{
    causal = true;
    if (direct_emulated()) {
        check(5, 130, 130, 1, 1, -1, 0); /* 3 heads, then 2 */
        check(1, 290, 300, 1, 1, -1, 3); /* 128 queries, again, then 34 */
        return;
    }
    check(5, 1040, 1040, 1, 1, -1, 0); /* 3 heads, then 2 */
    check(1, 2060, 2100, 1, 1, -1, 3); /* 1920 queries, then 140 */
}
