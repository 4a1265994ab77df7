#include "autograd/elementwise.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>

#include "autograd/differentiate.h"
#include "autograd/program.h"
#include "autograd/reduce.h"
#include "tests/support/build_error.h"
#include "tests/support/op_check.h"

#define NORMAL(rank, ...)                                                                                              \
    {                                                                                                                  \
        TS_F32, {rank, {__VA_ARGS__}}, TS_FILL_NORMAL, 0, false                                                        \
    }
#define POSITIVE(rank, ...)                                                                                            \
    {                                                                                                                  \
        TS_F32, {rank, {__VA_ARGS__}}, TS_FILL_POSITIVE, 0, false                                                      \
    }
#define DISTINCT(rank, ...)                                                                                            \
    {                                                                                                                  \
        TS_F32, {rank, {__VA_ARGS__}}, TS_FILL_APART, 0, false                                                         \
    }

/* A two-operand op on equal shapes, with a row, a scalar, a column, and on both sides at once. */
#define TWO(op, KIND)                                                                                                  \
    static ts_value op##_case(const ts_value *in)                                                                      \
    {                                                                                                                  \
        return ts_##op(in[0], in[1]);                                                                                  \
    }                                                                                                                  \
    TS_CASES(op) = {{"equal shapes", 2, {KIND(3, 2, 3, 5), KIND(3, 2, 3, 5)}, op##_case, 0, NULL},                     \
                    {"row", 2, {KIND(3, 2, 3, 5), KIND(1, 5)}, op##_case, 0, NULL},                                    \
                    {"row first", 2, {KIND(1, 5), KIND(2, 3, 5)}, op##_case, 0, NULL},                                 \
                    {"scalar", 2, {KIND(2, 4, 5), KIND(0, 0)}, op##_case, 0, NULL},                                    \
                    {"column", 2, {KIND(3, 2, 3, 5), KIND(3, 2, 1, 1)}, op##_case, 0, NULL},                           \
                    {"a number for each row", 2, {KIND(3, 2, 3, 5), KIND(3, 2, 3, 1)}, op##_case, 0, NULL},            \
                    {"each row first", 2, {KIND(2, 7, 1), KIND(2, 7, 9)}, op##_case, 0, NULL},                         \
                    {"both", 2, {KIND(3, 2, 1, 5), KIND(3, 1, 3, 1)}, op##_case, 0, NULL},                             \
                    {"odd length", 2, {KIND(1, 1037), KIND(1, 1037)}, op##_case, 0, NULL},                             \
                    {0}}

TWO(add, NORMAL);
TWO(subtract, NORMAL);
TWO(mul, NORMAL);
TWO(div, POSITIVE);

/* Ties are a matter of their own (below): here operand 1 is shifted off operand 0's grid. */
#define PICK(op)                                                                                                       \
    static ts_value op##_case(const ts_value *in)                                                                      \
    {                                                                                                                  \
        return ts_##op(in[0], ts_affine(in[1], 1.3, 0.017));                                                           \
    }                                                                                                                  \
    TS_CASES(op) = {{"equal shapes", 2, {DISTINCT(2, 4, 5), DISTINCT(2, 4, 5)}, op##_case, 0, NULL},                   \
                    {"row", 2, {DISTINCT(2, 4, 5), DISTINCT(1, 5)}, op##_case, 0, NULL},                               \
                    {0}}

PICK(maximum);
PICK(minimum);
PICK(greater);

static ts_value where_case(const ts_value *in)
{
    return ts_where(in[0], in[1], in[2]);
}

#define MASK(rank, ...)                                                                                                \
    {                                                                                                                  \
        TS_F32, {rank, {__VA_ARGS__}}, TS_FILL_BELOW, 2, true                                                          \
    }
#define IDS(rank, ...)                                                                                                 \
    {                                                                                                                  \
        TS_I32, {rank, {__VA_ARGS__}}, TS_FILL_BELOW, INT32_MAX, false                                                 \
    }
TS_CASES(where) = {{"equal shapes", 3, {MASK(2, 3, 5), NORMAL(2, 3, 5), NORMAL(2, 3, 5)}, where_case, 0, NULL},
                   {"mask per row", 3, {MASK(2, 6, 1), NORMAL(2, 6, 5), NORMAL(0, 0)}, where_case, 0, NULL},
                   {"integers", 3, {MASK(2, 6, 1), IDS(2, 6, 5), IDS(0, 0)}, where_case, 0, NULL},
                   {0}};

/* A one-operand op on a small shape and on an odd, longer one that has a vector tail. */
#define ONE(op, KIND, call)                                                                                            \
    static ts_value op##_case(const ts_value *in)                                                                      \
    {                                                                                                                  \
        ts_value x = in[0];                                                                                            \
        return call;                                                                                                   \
    }                                                                                                                  \
    TS_CASES(op) = {                                                                                                   \
        {"small", 1, {KIND(2, 3, 5)}, op##_case, 0, NULL}, {"odd length", 1, {KIND(1, 331)}, op##_case, 0, NULL}, {0}}

ONE(affine, NORMAL, ts_affine(x, -1.7, 0.3));
ONE(square, NORMAL, ts_square(x));
ONE(sqrt, POSITIVE, ts_sqrt(x));
ONE(exp, NORMAL, ts_exp(x));
ONE(log, POSITIVE, ts_log(x));
ONE(abs, DISTINCT, ts_abs(x));
ONE(clamp, DISTINCT, ts_clamp(x, -0.5, 0.4));
ONE(smooth_abs, DISTINCT, ts_smooth_abs(x, 0.75));
ONE(relu, DISTINCT, ts_relu(x));
ONE(leaky_relu, DISTINCT, ts_leaky_relu(x, 0.2));
ONE(elu, DISTINCT, ts_elu(x, 1.3));
ONE(silu, NORMAL, ts_silu(ts_scale(x, 3)));
ONE(gelu, NORMAL, ts_gelu(ts_scale(x, 3)));
ONE(gelu_tanh, NORMAL, ts_gelu_tanh(ts_scale(x, 3)));
ONE(tanh, NORMAL, ts_tanh(ts_scale(x, 2)));
ONE(sigmoid, NORMAL, ts_sigmoid(ts_scale(x, 3)));
ONE(softplus, NORMAL, ts_softplus(ts_scale(x, 3)));
TS_COVERED_BY(clamp_dx, clamp);
TS_COVERED_BY(relu_dx, relu);
TS_COVERED_BY(leaky_relu_dx, leaky_relu);
TS_COVERED_BY(elu_dx, elu);
TS_COVERED_BY(silu_dx, silu);
TS_COVERED_BY(gelu_dx, gelu);
TS_COVERED_BY(gelu_tanh_dx, gelu_tanh);
TS_COVERED_BY(tanh_dx, tanh);
TS_COVERED_BY(sigmoid_dx, sigmoid);

/* To f64 and back is the identity in a double graph and exact in a float one; to i32 it truncates. */
static ts_value cast_there_and_back(const ts_value *in)
{
    return ts_cast(ts_cast(in[0], TS_F64), ts_graph_real(in[0].graph));
}

static ts_value cast_to_i32(const ts_value *in)
{
    return ts_cast(ts_scale(in[0], 10), TS_I32);
}

TS_CASES(cast) = {{"to f64", 1, {NORMAL(2, 3, 5)}, cast_there_and_back, 0, NULL},
                  {"to i32", 1, {NORMAL(2, 3, 5)}, cast_to_i32, 0, NULL},
                  {0}};

TS_TESTED_IN(chain, "autograd_fuse/random_graphs_keep_their_bits");

/* At a tie the whole gradient goes to the first operand. */
Test(autograd_elementwise, ties_go_to_the_first)
{
    static const struct {
        ts_value (*build)(ts_value, ts_value);
    } ops[] = {{ts_maximum}, {ts_minimum}};
    for (int k = 0; k < 2; k++) {
        ts_graph *g = ts_graph_new(TS_F32);
        float same[3] = {1, -2, 0};
        ts_value a = ts_constant(g, TS_F32, ts_shape_of(3), same), b = ts_constant(g, TS_F32, ts_shape_of(3), same);
        ts_value gradient[2];
        ts_differentiate(ts_sum_all(ops[k].build(a, b)), 2, (ts_value[]){a, b}, gradient);
        ts_output(gradient[0], "a");
        ts_output(gradient[1], "b");
        ts_device *device;
        ts_program *program;
        ts_error err;
        cr_assert_eq(ts_device_open("cpu", 1, &device, &err), TS_OK);
        ts_workspace *workspace = ts_workspace_new(device);
        cr_assert_eq(ts_program_new(g, workspace, &program, &err), TS_OK, "%s", err.text);
        cr_assert_eq(ts_program_run(program, &err), TS_OK);
        float da[3], db[3];
        ts_program_get(program, gradient[0], da);
        ts_program_get(program, gradient[1], db);
        for (int i = 0; i < 3; i++)
            cr_assert(da[i] == 1 && db[i] == 0);
        ts_program_free(program);
        ts_workspace_free(workspace);
        ts_graph_free(g);
        ts_device_close(device);
    }
}

#define OF_RESULT(op)                                                                                                  \
    static ts_value op##_of_result(const ts_value *in)                                                                 \
    {                                                                                                                  \
        return ts_##op(ts_affine(in[0], 2, -0.3), in[1]);                                                              \
    }
OF_RESULT(add)
OF_RESULT(subtract)
OF_RESULT(mul)
OF_RESULT(div)
OF_RESULT(greater)

/* The first operand dies here, and takes one line of memory as the result does: [2, 1] was once overwritten by [2, 8]
 * while it was still being read. */
Test(autograd_elementwise, a_smaller_operand_is_not_worked_on_in_place)
{
    static const ts_op ops[] = {TS_OP_add, TS_OP_subtract, TS_OP_mul, TS_OP_div, TS_OP_greater};
    static ts_value (*const builders[])(const ts_value *) = {add_of_result, subtract_of_result, mul_of_result,
                                                             div_of_result, greater_of_result};
    for (int k = 0; k < 5; k++) {
        ts_op_case c = {"dying", 2, {POSITIVE(2, 2, 1), POSITIVE(2, 2, 8)}, builders[k], 0, NULL};
        cr_expect_leq(compare_with_double(&c, "cpu"), 1e-5, "%s", ts_ops[ops[k]].name);
        cr_expect_leq(compare_with_double(&c, "ref"), 1e-5, "%s", ts_ops[ops[k]].name);
    }
}

Test(autograd_elementwise, where_takes_two_of_one_type)
{
    EXPECT_BUILD_ERROR(where_case, "where", "operands are i32, f32 and f32", I32(2), F32(2), F32(2));
    EXPECT_BUILD_ERROR(where_case, "where", "operands are f32, f32 and i32", F32(2), F32(2), I32(2));
    EXPECT_BUILD_ERROR(where_case, "where", "[3], [2] and [2] do not broadcast", F32(3), F32(2), F32(2));
}

Test(autograd_elementwise, shapes_that_do_not_broadcast)
{
    ts_graph *g = ts_graph_new(TS_F32);
    ts_error err;
    ts_graph_set_path(g, "decoder.blocks.1");
    ts_value bad = ts_add(ts_input(g, "x", TS_F32, ts_shape_of(2, 3)), ts_input(g, "y", TS_F32, ts_shape_of(2)));
    cr_assert_not(ts_present(ts_relu(bad)), "poison is passed on");
    cr_assert_eq(ts_graph_check(g, &err), TS_ERR_USAGE);
    cr_assert_str_eq(err.text, "decoder.blocks.1: add: [2, 3] and [2] do not broadcast");
    ts_graph_free(g);
}

/* Extreme and non-finite operands: the kernels of a device give what the definition gives. */
static void check_extremes(const char *device)
{
    const double extremes[] = {0, -0.0, 1e-30, -1e-30, 20, -20, 90, -90, 1e4, -1e4, INFINITY, -INFINITY, NAN};
    const ts_op_case *cases[] = {ts_cases_relu, ts_cases_silu, ts_cases_gelu, ts_cases_tanh, ts_cases_affine};
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        ts_built_case a, b;
        built_case_open(&a, &cases[k][1], "ref", TS_F32, false);
        built_case_open(&b, &cases[k][1], device, TS_F32, false);
        for (size_t i = 0; i < sizeof extremes / sizeof *extremes; i++)
            a.host[0][i] = b.host[0][i] = extremes[i];
        built_case_run(&a);
        built_case_run(&b);
        int64_t n;
        double *x = built_case_read(&a, a.y, &n), *y = built_case_read(&b, b.y, &n);
        for (int64_t i = 0; i < n; i++)
            cr_expect(x[i] == y[i] || (isnan(x[i]) && isnan(y[i])) || fabs(x[i] - y[i]) <= 3e-7 * fmax(1, fabs(x[i])),
                      "case %zu on %s, x = %g: %g, expected %g", k, device, a.host[0][i], y[i], x[i]);
        free(x);
        free(y);
        built_case_close(&a);
        built_case_close(&b);
    }
}

Test(autograd_elementwise, extremes_match_the_reference)
{
    check_extremes("cpu");
    setenv("TESSERA_CUDA_MODULE", TESSERA_CUDA_EMULATED, 0);
    check_extremes("cuda");
}
