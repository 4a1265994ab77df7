#include "autograd/reduce.h"

#include <criterion/criterion.h>

#include "autograd/program.h"
#include "autograd/shape.h"
#include "tests/support/op_check.h"

static ts_value sum_all(const ts_value *in)
{
    return ts_sum_all(in[0]);
}

static ts_value sum_rows(const ts_value *in)
{
    return ts_sum(in[0], 3u, false);
}

static ts_value sum_last(const ts_value *in)
{
    return ts_sum(in[0], 1u << 2, true);
}

static ts_value sum_outer_and_last(const ts_value *in)
{
    return ts_sum(in[0], 5u, false);
}

static ts_value mean_middle(const ts_value *in)
{
    return ts_mean(in[0], 2u, false);
}

#define X3(a, b, c)                                                                                                    \
    {                                                                                                                  \
        {                                                                                                              \
            TS_F32, {3, {a, b, c}}, TS_FILL_NORMAL, 0, false                                                           \
        }                                                                                                              \
    }

TS_CASES(sum) = {{"all", 1, X3(3, 5, 7), sum_all, 0, NULL},
                 {"rows", 1, X3(3, 5, 7), sum_rows, 0, NULL},
                 {"last axis", 1, X3(3, 5, 7), sum_last, 0, NULL},
                 {"first and last axis", 1, X3(3, 5, 7), sum_outer_and_last, 0, NULL},
                 {"mean over the middle", 1, X3(2, 4, 3), mean_middle, 0, NULL},
                 {0}};

static ts_value amax_all(const ts_value *in)
{
    return ts_amax(in[0], 7u, false);
}

static ts_value amax_middle(const ts_value *in)
{
    return ts_amax(in[0], 2u, true);
}

#define APART(a, b, c)                                                                                                 \
    {                                                                                                                  \
        {                                                                                                              \
            TS_F32, {3, {a, b, c}}, TS_FILL_APART, 0, false                                                            \
        }                                                                                                              \
    }

TS_CASES(amax) = {
    {"all", 1, APART(2, 3, 5), amax_all, 0, NULL}, {"middle", 1, APART(2, 3, 5), amax_middle, 0, NULL}, {0}};

static ts_value broadcast_scalar(const ts_value *in)
{
    return ts_broadcast(in[0], ts_shape_of(3, 4));
}

static ts_value broadcast_row(const ts_value *in)
{
    return ts_broadcast(in[0], ts_shape_of(2, 3, 5));
}

TS_CASES(broadcast) = {
    {"scalar", 1, {{TS_F32, {0, {0}}, TS_FILL_NORMAL, 0, false}}, broadcast_scalar, 0, NULL},
    {"row", 1, {{TS_F32, {1, {5}}, TS_FILL_NORMAL, 0, false}}, broadcast_row, 0, NULL},
    {"column", 1, {{TS_F32, {2, {3, 1}}, TS_FILL_NORMAL, 0, false}}, broadcast_row, 0, NULL},
    {0},
};

static ts_value cumsum_middle(const ts_value *in)
{
    return ts_cumsum(in[0], 1, false);
}

static ts_value cumsum_back(const ts_value *in)
{
    return ts_cumsum(in[0], -1, true);
}

TS_CASES(cumsum) = {
    {"middle", 1, X3(2, 6, 3), cumsum_middle, 0, NULL}, {"last, reverse", 1, X3(2, 2, 7), cumsum_back, 0, NULL}, {0}};

static ts_value both_finite(const ts_value *in)
{
    return ts_all_finite(in, 2);
}

TS_CASES(all_finite) = {
    {"finite",
     2,
     {{TS_F32, {2, {40, 70}}, TS_FILL_NORMAL, 0, false}, {TS_F32, {0, {0}}, TS_FILL_NORMAL, 0, false}},
     both_finite,
     0,
     NULL},
    {0}};

static ts_value reshaped(const ts_value *in)
{
    return ts_reshape(in[0], ts_shape_of(-1, 5));
}

TS_CASES(reshape) = {{"rows of 5", 1, X3(2, 5, 3), reshaped, 0, NULL}, {0}};

/* One bad element anywhere is found, by both kernels. */
Test(autograd_reduce, all_finite_sees_one_bad_element)
{
    const char *devices[] = {"ref", "cpu"};
    double bad[] = {__builtin_inf(), -__builtin_inf(), __builtin_nan("")};
    for (int d = 0; d < 2; d++)
        for (int i = 0; i < 3; i++) {
            ts_built_case b;
            built_case_open(&b, ts_cases_all_finite, devices[d], TS_F32, false);
            b.host[0][2799 - 1000 * i] = bad[i];
            built_case_run(&b);
            float flag = -1;
            ts_program_get(b.program, b.y, &flag);
            cr_assert_eq(flag, 0);
            built_case_close(&b);
        }
}

/* A sum over many elements loses no more than its rounding, and does not depend on the number of threads. */
Test(autograd_reduce, long_sums)
{
    ts_op_case c = {"long", 1, {{TS_F32, {2, {70001, 3}}, TS_FILL_POSITIVE, 0, false}}, sum_all, 0, NULL};
    cr_assert_leq(compare_with_double(&c, "cpu"), 1e-6);
}

Test(autograd_reduce, errors_name_shapes)
{
    ts_graph *g = ts_graph_new(TS_F32);
    ts_error err;
    ts_graph_set_path(g, "encoder");
    ts_broadcast(ts_input(g, "x", TS_F32, ts_shape_of(2, 3)), ts_shape_of(3, 4));
    cr_assert_eq(ts_graph_check(g, &err), TS_ERR_USAGE);
    cr_assert_str_eq(err.text, "encoder: broadcast: [2, 3] does not broadcast to [3, 4]");
    ts_graph_free(g);
}
