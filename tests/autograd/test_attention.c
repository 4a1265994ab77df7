#include <criterion/criterion.h>

#include "autograd/attention.h"
#include "tests/support/build_error.h"
#include "tests/support/op_case.h"
#include "tests/support/op_check.h"
#include "tests/support/thread_check.h"

static ts_value attention(const ts_value *in)
{
    return ts_attention(in[0], in[1], in[2], 0.5, false);
}

static ts_value causal(const ts_value *in)
{
    return ts_attention(in[0], in[1], in[2], 0.7, true);
}

TS_CASES(attention) = {
    TS_CASE("2 heads", attention, TS_NORMAL(2, 2, 5, 3), TS_NORMAL(2, 2, 5, 3), TS_NORMAL(2, 2, 5, 3)),
    TS_CASE("fewer keys", attention, TS_NORMAL(1, 1, 5, 2), TS_NORMAL(1, 1, 3, 2), TS_NORMAL(1, 1, 3, 2)),
    TS_CASE("other width of v", attention, TS_NORMAL(1, 2, 3, 4), TS_NORMAL(1, 2, 4, 4), TS_NORMAL(1, 2, 4, 7)),
    TS_CASE("two keys, width 1", attention, TS_NORMAL(1, 1, 3, 1), TS_NORMAL(1, 1, 2, 1), TS_NORMAL(1, 1, 2, 1)),
    TS_CASE("no queries", attention, TS_NORMAL(1, 2, 0, 3), TS_NORMAL(1, 2, 2, 3), TS_NORMAL(1, 2, 2, 3)),
    TS_CASE("causal", causal, TS_NORMAL(2, 1, 6, 3), TS_NORMAL(2, 1, 6, 3), TS_NORMAL(2, 1, 6, 3)),
    TS_CASE("causal over a cache", causal, TS_NORMAL(1, 2, 2, 3), TS_NORMAL(1, 2, 7, 3), TS_NORMAL(1, 2, 7, 3)),
    {0},
};
TS_COVERED_BY(attention_dx, attention);

Test(autograd_attention, wrong_operands_are_named)
{
    EXPECT_BUILD_ERROR(attention, "attention", "k f32 [1, 2, 3, 5], v f32 [1, 2, 3, 4]: q and k must have one width",
                       F32(1, 2, 3, 4), F32(1, 2, 3, 5), F32(1, 2, 3, 4));
    EXPECT_BUILD_ERROR(attention, "attention", "batch and heads must agree", F32(1, 2, 3, 4), F32(1, 3, 3, 4),
                       F32(1, 2, 3, 4));
    EXPECT_BUILD_ERROR(attention, "attention", "k and v must have one length", F32(1, 2, 3, 4), F32(1, 2, 3, 4),
                       F32(1, 2, 5, 4));
    EXPECT_BUILD_ERROR(attention, "attention", "of at least 1", F32(1, 2, 3, 4), F32(1, 2, 0, 4), F32(1, 2, 0, 4));
    EXPECT_BUILD_ERROR(attention, "attention", "expected [B, heads, T, d]", F32(2, 3, 4), F32(2, 3, 4), F32(2, 3, 4));
    EXPECT_BUILD_ERROR(attention, "attention", "all must be f32", F32(1, 2, 3, 4), F32(1, 2, 3, 4), I32(1, 2, 3, 4));
    EXPECT_BUILD_ERROR(causal, "attention", "as many keys as queries", F32(1, 2, 3, 4), F32(1, 2, 2, 4),
                       F32(1, 2, 2, 4));
}

Test(autograd_attention, large_ones_are_right_on_any_number_of_threads)
{
    const ts_op_case cases[] = {
        TS_CASE("full", attention, TS_NORMAL(3, 1, 37, 33), TS_NORMAL(3, 1, 41, 33), TS_NORMAL(3, 1, 41, 35)),
        TS_CASE("causal", causal, TS_NORMAL(1, 5, 37, 16), TS_NORMAL(1, 5, 37, 16), TS_NORMAL(1, 5, 37, 16)),
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        expect_thread_independent(&cases[i]);
        cr_expect_leq(compare_with_double(&cases[i], "cpu"), 1e-5, "%s", cases[i].label);
    }
}
