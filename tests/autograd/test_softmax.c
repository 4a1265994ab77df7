#include <criterion/criterion.h>

#include "autograd/elementwise.h"
#include "autograd/softmax.h"
#include "tests/support/build_error.h"
#include "tests/support/op_case.h"
#include "tests/support/op_check.h"
#include "tests/support/thread_check.h"

static ts_value softmax(const ts_value *in)
{
    return ts_softmax(in[0]);
}

static ts_value softmax_far_from_zero(const ts_value *in)
{
    return ts_softmax(ts_affine(in[0], 4, 3000));
}

static ts_value over_first(const ts_value *in)
{
    return ts_softmax_axis(in[0], 0);
}

static ts_value over_second_to_last(const ts_value *in)
{
    return ts_softmax_axis(in[0], -2);
}

TS_CASES(softmax) = {
    TS_CASE("rows of 5", softmax, TS_NORMAL(2, 3, 5)),
    TS_CASE("one row", softmax, TS_NORMAL(9)),
    TS_CASE("one class", softmax, TS_NORMAL(4, 1)),
    TS_CASE("no rows", softmax, TS_NORMAL(0, 4)),
    TS_CASE("wide", softmax, TS_NORMAL(2, 67)),
    TS_CASE("over the first axis", over_first, TS_NORMAL(5, 2, 3)),
    TS_CASE("over the last but one", over_second_to_last, TS_NORMAL(2, 5, 3)),
    {.label = "shifted by its maximum",
     .in_count = 1,
     .in = {TS_NORMAL(2, 6)},
     .build = softmax_far_from_zero,
     .tolerance = 1e-3}, /* 3000 + x has 11 bits after the point left in f32 */
    {0},
};
TS_COVERED_BY(softmax_dx, softmax);

static ts_value log_softmax(const ts_value *in)
{
    return ts_log_softmax(in[0]);
}

TS_CASES(log_softmax) = {
    TS_CASE("rows of 5", log_softmax, TS_NORMAL(2, 3, 5)), TS_CASE("one row", log_softmax, TS_NORMAL(9)),
    TS_CASE("two classes", log_softmax, TS_NORMAL(4, 2)),  TS_CASE("no rows", log_softmax, TS_NORMAL(0, 4)),
    TS_CASE("wide", log_softmax, TS_NORMAL(2, 67)),        {0},
};
TS_COVERED_BY(log_softmax_dx, log_softmax);

static ts_value normalize(const ts_value *in)
{
    return ts_l2_normalize(in[0], 1e-12);
}

static ts_value shorter_than_eps(const ts_value *in)
{
    return ts_l2_normalize(in[0], 100);
}

TS_CASES(l2_normalize) = {
    TS_CASE("rows of 5", normalize, TS_NORMAL(2, 3, 5)),
    TS_CASE("one row", normalize, TS_NORMAL(7)),
    TS_CASE("no rows", normalize, TS_NORMAL(0, 4)),
    TS_CASE("wide", normalize, TS_NORMAL(2, 67)),
    TS_CASE("shorter than eps", shorter_than_eps, TS_NORMAL(3, 4)),
    {0},
};
TS_COVERED_BY(l2_normalize_dx, l2_normalize);

static ts_value eps_of_zero(const ts_value *in)
{
    return ts_l2_normalize(in[0], 0);
}

static ts_value axis_2(const ts_value *in)
{
    return ts_softmax_axis(in[0], 2);
}

Test(autograd_softmax, wrong_operands_are_named)
{
    EXPECT_BUILD_ERROR(softmax, "softmax", "x is f32 []", F32());
    EXPECT_BUILD_ERROR(softmax, "softmax", "x is f32 [3, 0]", F32(3, 0));
    EXPECT_BUILD_ERROR(log_softmax, "log_softmax", "x is i32 [3, 4]", I32(3, 4));
    EXPECT_BUILD_ERROR(normalize, "l2_normalize", "x is f32 [3, 0]", F32(3, 0));
    EXPECT_BUILD_ERROR(axis_2, "softmax", "axis 2 is not one of x [3, 4]", F32(3, 4));
    EXPECT_BUILD_ERROR(eps_of_zero, "l2_normalize", "eps is 0", F32(3, 4));
}

Test(autograd_softmax, large_ones_are_right_on_any_number_of_threads)
{
    const ts_op_case cases[] = {
        TS_CASE("softmax", softmax, TS_NORMAL(331, 203)),
        TS_CASE("log softmax", log_softmax, TS_NORMAL(331, 203)),
        TS_CASE("l2 normalize", normalize, TS_NORMAL(331, 203)),
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        expect_thread_independent(&cases[i]);
        cr_expect_leq(compare_with_double(&cases[i], "cpu"), 1e-5, "%s", cases[i].label);
    }
}
