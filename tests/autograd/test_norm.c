#include <criterion/criterion.h>

#include "autograd/differentiate.h"
#include "autograd/norm.h"
#include "autograd/reduce.h"
#include "tests/support/build_error.h"
#include "tests/support/op_case.h"
#include "tests/support/op_check.h"
#include "tests/support/thread_check.h"

static ts_value layer(const ts_value *in)
{
    return ts_layer_norm(in[0], in[1], in[2], 1e-5);
}

static ts_value layer_plain(const ts_value *in)
{
    return ts_layer_norm(in[0], TS_ABSENT, TS_ABSENT, 1e-5);
}

static ts_value layer_weight(const ts_value *in)
{
    return ts_layer_norm(in[0], in[1], TS_ABSENT, 1e-5);
}

static ts_value layer_bias(const ts_value *in)
{
    return ts_layer_norm(in[0], TS_ABSENT, in[1], 1e-5);
}

TS_CASES(layer_norm) = {
    TS_CASE("rows of 5", layer, TS_NORMAL(2, 3, 5), TS_NORMAL(5), TS_NORMAL(5)),
    TS_CASE("one row", layer, TS_NORMAL(7), TS_NORMAL(7), TS_NORMAL(7)),
    TS_CASE("one channel", layer, TS_NORMAL(3, 1), TS_NORMAL(1), TS_NORMAL(1)),
    TS_CASE("no rows", layer, TS_NORMAL(0, 4), TS_NORMAL(4), TS_NORMAL(4)),
    TS_CASE("rows in three chunks", layer, TS_NORMAL(71, 3), TS_NORMAL(3), TS_NORMAL(3)),
    TS_CASE("wide", layer, TS_NORMAL(2, 131), TS_NORMAL(131), TS_NORMAL(131)),
    TS_CASE("plain", layer_plain, TS_NORMAL(4, 6)),
    TS_CASE("weight alone", layer_weight, TS_NORMAL(4, 6), TS_NORMAL(6)),
    TS_CASE("bias alone", layer_bias, TS_NORMAL(4, 6), TS_NORMAL(6)),
    {0},
};
TS_COVERED_BY(layer_norm_dx, layer_norm);

static ts_value rms(const ts_value *in)
{
    return ts_rms_norm(in[0], in[1], 1e-5);
}

static ts_value rms_plain(const ts_value *in)
{
    return ts_rms_norm(in[0], TS_ABSENT, 1e-5);
}

TS_CASES(rms_norm) = {
    TS_CASE("rows of 5", rms, TS_NORMAL(2, 3, 5), TS_NORMAL(5)),
    TS_CASE("one channel", rms, TS_POSITIVE(3, 1), TS_NORMAL(1)),
    TS_CASE("no rows", rms, TS_NORMAL(0, 4), TS_NORMAL(4)),
    TS_CASE("plain", rms_plain, TS_NORMAL(3, 17)),
    {0},
};
TS_COVERED_BY(rms_norm_dx, rms_norm);

static ts_value groups_of_2(const ts_value *in)
{
    return ts_group_norm(in[0], in[1], in[2], ts_dim(in[0], -1) / 2, 1e-5);
}

static ts_value one_group(const ts_value *in)
{
    return ts_group_norm(in[0], in[1], in[2], 1, 1e-6);
}

static ts_value group_a_channel(const ts_value *in)
{
    return ts_group_norm(in[0], in[1], in[2], ts_dim(in[0], -1), 1e-5);
}

static ts_value group_plain(const ts_value *in)
{
    return ts_group_norm(in[0], TS_ABSENT, TS_ABSENT, 2, 1e-5);
}

TS_CASES(group_norm) = {
    TS_CASE("motion", groups_of_2, TS_NORMAL(2, 5, 6), TS_NORMAL(6), TS_NORMAL(6)),
    TS_CASE("image", groups_of_2, TS_NORMAL(2, 3, 2, 4), TS_NORMAL(4), TS_NORMAL(4)),
    TS_CASE("one group", one_group, TS_NORMAL(3, 2, 5), TS_NORMAL(5), TS_NORMAL(5)),
    TS_CASE("a group per channel", group_a_channel, TS_NORMAL(2, 7, 3), TS_NORMAL(3), TS_NORMAL(3)),
    TS_CASE("no positions axis", one_group, TS_NORMAL(3, 8), TS_NORMAL(8), TS_NORMAL(8)),
    TS_CASE("plain", group_plain, TS_NORMAL(2, 3, 6)),
    {0},
};
TS_COVERED_BY(group_norm_dx, group_norm);

static ts_value batch(const ts_value *in)
{
    return ts_batch_norm(in[0], in[1], in[2], 1e-5).y;
}

static ts_value batch_plain(const ts_value *in)
{
    return ts_batch_norm(in[0], TS_ABSENT, TS_ABSENT, 1e-5).y;
}

static ts_value batch_eval(const ts_value *in)
{
    return ts_batch_norm_eval(in[0], in[1], in[2], in[3], in[4], 1e-5);
}

static ts_value batch_eval_plain(const ts_value *in)
{
    return ts_batch_norm_eval(in[0], in[1], in[2], TS_ABSENT, TS_ABSENT, 1e-5);
}

TS_CASES(batch_norm) = {
    TS_CASE("rows", batch, TS_NORMAL(5, 3), TS_NORMAL(3), TS_NORMAL(3)),
    TS_CASE("motion", batch, TS_NORMAL(2, 3, 4), TS_NORMAL(4), TS_NORMAL(4)),
    TS_CASE("image", batch, TS_NORMAL(2, 2, 3, 5), TS_NORMAL(5), TS_NORMAL(5)),
    TS_CASE("one channel", batch, TS_NORMAL(7, 1), TS_NORMAL(1), TS_NORMAL(1)),
    TS_CASE("plain", batch_plain, TS_NORMAL(6, 2)),
    TS_CASE("eval", batch_eval, TS_NORMAL(4, 3), TS_NORMAL(3), TS_POSITIVE(3), TS_NORMAL(3), TS_NORMAL(3)),
    TS_CASE("eval, plain", batch_eval_plain, TS_NORMAL(4, 3), TS_NORMAL(3), TS_POSITIVE(3)),
    {0},
};
TS_COVERED_BY(batch_norm_dx, batch_norm);

static ts_value negative_eps(const ts_value *in)
{
    return ts_layer_norm(in[0], TS_ABSENT, TS_ABSENT, -1e-5);
}

static ts_value groups_of_zero(const ts_value *in)
{
    return ts_group_norm(in[0], TS_ABSENT, TS_ABSENT, 0, 1e-5);
}

Test(autograd_norm, wrong_operands_are_named)
{
    EXPECT_BUILD_ERROR(layer, "layer_norm", "weight is f32 [4], expected f32 [5] for x [2, 5]", F32(2, 5), F32(4),
                       F32(5));
    EXPECT_BUILD_ERROR(layer, "layer_norm", "bias is f32 [1, 5], expected f32 [5]", F32(2, 5), F32(5), F32(1, 5));
    EXPECT_BUILD_ERROR(layer_plain, "layer_norm", "x is f32 []", F32());
    EXPECT_BUILD_ERROR(layer_plain, "layer_norm", "x is f32 [3, 0]", F32(3, 0));
    EXPECT_BUILD_ERROR(layer_plain, "layer_norm", "x is i32 [3, 2]", I32(3, 2));
    EXPECT_BUILD_ERROR(negative_eps, "layer_norm", "eps is -1e-05", F32(3, 2));
    EXPECT_BUILD_ERROR(rms, "rms_norm", "weight is i32 [2]", F32(3, 2), I32(2));
    EXPECT_BUILD_ERROR(group_plain, "group_norm", "2 groups do not divide the 5 channels of x [2, 3, 5]", F32(2, 3, 5));
    EXPECT_BUILD_ERROR(groups_of_zero, "group_norm", "0 groups", F32(2, 3, 5));
    EXPECT_BUILD_ERROR(group_plain, "group_norm", "x is [4]", F32(4));
    EXPECT_BUILD_ERROR(group_plain, "group_norm", "x is [2, 0, 4]", F32(2, 0, 4));
    EXPECT_BUILD_ERROR(batch_plain, "batch_norm", "x is [1, 4], expected at least two values per channel", F32(1, 4));
    EXPECT_BUILD_ERROR(batch_eval_plain, "batch_norm_eval", "var is f32 [3], expected f32 [4]", F32(2, 4), F32(4),
                       F32(3));
}

Test(autograd_norm, batch_statistics_carry_no_gradient)
{
    ts_graph *g = ts_graph_new(TS_F32);
    ts_value x = ts_input(g, "x", TS_F32, ts_shape_of(4, 3)), dx;
    ts_differentiate(ts_sum_all(ts_batch_norm(x, TS_ABSENT, TS_ABSENT, 1e-5).var), 1, &x, &dx);
    ts_error err = {0};
    cr_assert_eq(ts_graph_check(g, &err), TS_ERR_USAGE);
    cr_assert_str_eq(err.text, "batch_norm: a gradient is asked for through mean or var: only y has one; put a "
                               "stop_gradient after them");
    ts_graph_free(g);
}

/* Large enough for several threads, and several chunks of rows. */
Test(autograd_norm, large_ones_are_right_on_any_number_of_threads)
{
    const ts_op_case cases[] = {
        TS_CASE("layer norm", layer, TS_NORMAL(1031, 67), TS_NORMAL(67), TS_NORMAL(67)),
        TS_CASE("layer norm, few rows", layer, TS_NORMAL(9, 8191), TS_NORMAL(8191), TS_NORMAL(8191)),
        TS_CASE("rms norm", rms, TS_NORMAL(1031, 67), TS_NORMAL(67)),
        TS_CASE("group norm, many samples", groups_of_2, TS_NORMAL(97, 7, 66), TS_NORMAL(66), TS_NORMAL(66)),
        TS_CASE("group norm, few samples", groups_of_2, TS_NORMAL(2, 31, 41, 14), TS_NORMAL(14), TS_NORMAL(14)),
        TS_CASE("batch norm", batch, TS_NORMAL(3, 1009, 17), TS_NORMAL(17), TS_NORMAL(17)),
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        expect_thread_independent(&cases[i]);
        cr_expect_leq(compare_with_double(&cases[i], "cpu"), 1e-5, "%s", cases[i].label);
    }
}
