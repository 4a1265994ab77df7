#include <criterion/criterion.h>
#include <string.h>

#include "autograd/elementwise.h"
#include "autograd/matmul.h"
#include "autograd/node.h"
#include "tests/support/op_case.h"

/* An operand of standard normal numbers, and a case of as many operands as are listed. */
#define NORMAL(...)                                                                                                    \
    {                                                                                                                  \
        .dtype = TS_F32, .shape = {sizeof((int[]){__VA_ARGS__}) / sizeof(int), {__VA_ARGS__}}, .fill = TS_FILL_NORMAL  \
    }
#define CASE(label_, build_, ...)                                                                                      \
    {                                                                                                                  \
        .label = label_, .in_count = sizeof((ts_case_input[]){__VA_ARGS__}) / sizeof(ts_case_input),                   \
        .in = {__VA_ARGS__}, .build = build_                                                                           \
    }

static ts_value plain(const ts_value *in)
{
    return ts_matmul(in[0], in[1], false, false);
}

static ts_value first_transposed(const ts_value *in)
{
    return ts_matmul(in[0], in[1], true, false);
}

static ts_value second_transposed(const ts_value *in)
{
    return ts_matmul(in[0], in[1], false, true);
}

static ts_value both_transposed(const ts_value *in)
{
    return ts_matmul(in[0], in[1], true, true);
}

static ts_value linear(const ts_value *in)
{
    return ts_linear(in[0], in[1], in[2]);
}

static ts_value linear_without_bias(const ts_value *in)
{
    return ts_linear(in[0], in[1], TS_ABSENT);
}

/* What autograd/epilogue.c makes one op of. */
static ts_value linear_then_relu(const ts_value *in)
{
    return ts_relu(linear(in));
}

TS_CASES(matmul) = {
    CASE("2-D", plain, NORMAL(3, 4), NORMAL(4, 5)),
    CASE("a^T", first_transposed, NORMAL(4, 3), NORMAL(4, 5)),
    CASE("b^T", second_transposed, NORMAL(3, 4), NORMAL(5, 4)),
    CASE("a^T b^T", both_transposed, NORMAL(4, 3), NORMAL(5, 4)),
    CASE("1 by 1", plain, NORMAL(1, 1), NORMAL(1, 1)),
    CASE("inner dim 1", plain, NORMAL(3, 1), NORMAL(1, 5)),
    CASE("no rows", plain, NORMAL(0, 4), NORMAL(4, 5)),
    CASE("nothing to sum", plain, NORMAL(2, 0), NORMAL(0, 3)),
    CASE("primes", plain, NORMAL(17, 13), NORMAL(13, 19)),
    CASE("batch", plain, NORMAL(2, 3, 4), NORMAL(2, 4, 5)),
    CASE("batch a^T", first_transposed, NORMAL(2, 4, 3), NORMAL(2, 4, 5)),
    CASE("batch b^T", second_transposed, NORMAL(2, 1, 3, 4), NORMAL(2, 1, 5, 4)),
    CASE("batch a^T b^T", both_transposed, NORMAL(2, 4, 3), NORMAL(2, 5, 4)),
    CASE("one b", plain, NORMAL(2, 3, 4), NORMAL(4, 5)),
    CASE("one b, a^T", first_transposed, NORMAL(2, 4, 3), NORMAL(4, 5)),
    CASE("one b^T", second_transposed, NORMAL(2, 3, 4), NORMAL(5, 4)),
    CASE("one b^T, a^T", both_transposed, NORMAL(2, 4, 3), NORMAL(5, 4)),
    CASE("linear", linear, NORMAL(7, 3), NORMAL(5, 3), NORMAL(5)),
    CASE("linear over [B, T, C]", linear, NORMAL(2, 3, 4), NORMAL(6, 4), NORMAL(6)),
    CASE("linear, no bias", linear_without_bias, NORMAL(7, 3), NORMAL(5, 3)),
    CASE("linear to 1", linear, NORMAL(5, 3), NORMAL(1, 3), NORMAL(1)),
    CASE("linear, then relu", linear_then_relu, NORMAL(7, 3), NORMAL(5, 3), NORMAL(5)),
    CASE("linear of many, then relu", linear_then_relu, NORMAL(3, 600), NORMAL(5, 600), NORMAL(5)),
    {0},
};

/* What a builder says about operands of these shapes. */
static void expect_error(ts_value (*build)(const ts_value *), int count, const ts_shape *shapes, const char *op,
                         const char *text)
{
    ts_graph *g = ts_graph_new(TS_F32);
    ts_value in[3] = {TS_ABSENT, TS_ABSENT, TS_ABSENT};
    for (int i = 0; i < count; i++)
        in[i] = ts_input(g, "x", TS_F32, shapes[i]);
    cr_assert(!ts_present(build(in)));
    ts_error err = {0};
    cr_assert_eq(ts_graph_check(g, &err), TS_ERR_USAGE);
    cr_assert(strncmp(err.text, op, strlen(op)) == 0, "%s", err.text);
    cr_assert(strstr(err.text, text), "expected \"%s\" in: %s", text, err.text);
    ts_graph_free(g);
}

Test(autograd_matmul, wrong_shapes_are_named)
{
    expect_error(plain, 2, (ts_shape[]){ts_shape_of(3, 4), ts_shape_of(5, 6)}, "matmul: ", "[3, 4] and [5, 6]");
    expect_error(second_transposed, 2, (ts_shape[]){ts_shape_of(3, 4), ts_shape_of(4, 5)},
                 "matmul: ", "[4, 5] transposed: the inner dims 4 and 5");
    expect_error(plain, 2, (ts_shape[]){ts_shape_of(2, 3, 4), ts_shape_of(3, 4, 5)}, "matmul: ", "leading dims");
    expect_error(plain, 2, (ts_shape[]){ts_shape_of(3, 4), ts_shape_of(2, 4, 5)}, "matmul: ", "leading dims");
    expect_error(plain, 2, (ts_shape[]){ts_shape_of(4), ts_shape_of(4, 5)}, "matmul: ", "rank of at least 2");
    expect_error(linear, 3, (ts_shape[]){ts_shape_of(7, 263), ts_shape_of(512, 272), ts_shape_of(512)},
                 "linear: ", "has 263 features, weight [512, 272] expects 272");
    expect_error(linear, 3, (ts_shape[]){ts_shape_of(7, 3), ts_shape_of(5, 3), ts_shape_of(3)}, "linear: ", "[5]");
    expect_error(linear, 3, (ts_shape[]){ts_shape_of(7, 3), ts_shape_of(5), ts_shape_of(5)},
                 "linear: ", "weight is [5]");
}

Test(autograd_matmul, dtypes_are_checked)
{
    ts_graph *g = ts_graph_new(TS_F32);
    ts_value a = ts_input(g, "a", TS_F32, ts_shape_of(2, 2)), b = ts_input(g, "b", TS_I32, ts_shape_of(2, 2));
    cr_assert(!ts_present(ts_matmul(a, b, false, false)));
    ts_error err = {0};
    cr_assert_eq(ts_graph_check(g, &err), TS_ERR_USAGE);
    cr_assert(strstr(err.text, "f32 and i32"), "%s", err.text);
    ts_graph_free(g);
}

Test(autograd_matmul, linear_is_one_node)
{
    ts_graph *g = ts_graph_new(TS_F32);
    ts_value x = ts_input(g, "x", TS_F32, ts_shape_of(2, 3, 4)), w = ts_input(g, "w", TS_F32, ts_shape_of(5, 4)),
             b = ts_input(g, "b", TS_F32, ts_shape_of(5));
    ts_value y = ts_linear(x, w, b);
    cr_assert(ts_shape_equal(ts_value_shape(y), ts_shape_of(2, 3, 5)));
    cr_assert_eq(g->node_count, 1);
    ts_graph_free(g);
}
