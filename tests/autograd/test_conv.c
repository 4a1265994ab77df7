#include <criterion/criterion.h>
#include <string.h>

#include "autograd/conv.h"
#include "autograd/elementwise.h"
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
#define OPTS(...) ((ts_conv_opts){__VA_ARGS__})

/* A builder per set of options: operands are x, weight and, where given, bias. */
#define BUILD(name, builder, ...)                                                                                      \
    static ts_value name(const ts_value *in)                                                                           \
    {                                                                                                                  \
        return builder(in[0], in[1], in[2], OPTS(__VA_ARGS__));                                                        \
    }
#define BUILD_NO_BIAS(name, builder, ...)                                                                              \
    static ts_value name(const ts_value *in)                                                                           \
    {                                                                                                                  \
        return builder(in[0], in[1], TS_ABSENT, OPTS(__VA_ARGS__));                                                    \
    }

BUILD(plain, ts_conv2d, 0)
BUILD_NO_BIAS(no_bias, ts_conv2d, 0)
BUILD(same3, ts_conv2d, .pad = {1, 1})
BUILD(half4, ts_conv2d, .stride = {2, 2}, .pad = {1, 1})
BUILD(uneven, ts_conv2d, .stride = {2, 1}, .pad = {0, 2}, .dilation = {1, 2})
BUILD(two_groups, ts_conv2d, .pad = {1, 1}, .groups = 2)
BUILD(depthwise, ts_conv2d, .pad = {1, 1}, .stride = {2, 2}, .groups = 3)
BUILD(one_sided, ts_conv2d, .pad = {2, 0}, .pad_after = {0, 1}, .asymmetric = true)
BUILD(stride3, ts_conv2d, .stride = {3, 3})
BUILD(time3, ts_conv1d, .pad = {1})
BUILD(time_half4, ts_conv1d, .stride = {2}, .pad = {1})
BUILD(time_dilated, ts_conv1d, .pad = {3}, .dilation = {3})
BUILD(time_causal, ts_conv1d, .pad = {4}, .dilation = {2}, .asymmetric = true)
BUILD(up_plain, ts_conv2d_transpose, 0)
BUILD_NO_BIAS(up_no_bias, ts_conv2d_transpose, .stride = {2, 2})
BUILD(up_double4, ts_conv2d_transpose, .stride = {2, 2}, .pad = {1, 1})
BUILD(up_output_pad, ts_conv2d_transpose, .stride = {2, 3}, .pad = {1, 1}, .output_pad = {1, 2})
BUILD(up_dilated, ts_conv2d_transpose, .dilation = {2, 1}, .output_pad = {1, 0})
BUILD(up_groups, ts_conv2d_transpose, .stride = {2, 2}, .pad = {1, 1}, .groups = 2)
BUILD(up_time, ts_conv1d_transpose, .stride = {2}, .pad = {1})

/* What autograd/epilogue.c makes one op of. */
#define THEN_RELU(name)                                                                                                \
    static ts_value name##_then_relu(const ts_value *in)                                                               \
    {                                                                                                                  \
        return ts_relu(name(in));                                                                                      \
    }
THEN_RELU(same3)
THEN_RELU(no_bias)
THEN_RELU(time3)
THEN_RELU(up_double4)
THEN_RELU(up_time)

TS_CASES(conv) = {
    CASE("1x1", plain, NORMAL(2, 3, 2, 4), NORMAL(5, 1, 1, 4), NORMAL(5)),
    CASE("one pixel, one channel", plain, NORMAL(1, 1, 1, 1), NORMAL(1, 1, 1, 1), NORMAL(1)),
    CASE("no images", same3, NORMAL(0, 3, 3, 2), NORMAL(3, 3, 3, 2), NORMAL(3)),
    CASE("3x3 valid", plain, NORMAL(2, 5, 4, 3), NORMAL(2, 3, 3, 3), NORMAL(2)),
    CASE("3x3 same", same3, NORMAL(2, 5, 4, 3), NORMAL(4, 3, 3, 3), NORMAL(4)),
    CASE("no bias", no_bias, NORMAL(1, 4, 4, 2), NORMAL(3, 2, 3, 2)),
    CASE("1 to 16", same3, NORMAL(2, 7, 6, 1), NORMAL(16, 3, 3, 1), NORMAL(16)),
    CASE("16 to 1", same3, NORMAL(2, 6, 7, 16), NORMAL(1, 3, 3, 16), NORMAL(1)),
    CASE("32 to 3, 1x1", plain, NORMAL(1, 3, 2, 32), NORMAL(3, 1, 1, 32), NORMAL(3)),
    CASE("3 to 32", same3, NORMAL(1, 3, 3, 3), NORMAL(32, 3, 3, 3), NORMAL(32)),
    CASE("17 to 19", same3, NORMAL(1, 4, 3, 17), NORMAL(19, 3, 3, 17), NORMAL(19)),
    CASE("16 to 16", same3, NORMAL(2, 5, 5, 16), NORMAL(16, 3, 3, 16), NORMAL(16)),
    CASE("4x4 stride 2", half4, NORMAL(2, 6, 8, 3), NORMAL(4, 4, 4, 3), NORMAL(4)),
    CASE("4x4 stride 2, odd size", half4, NORMAL(1, 7, 5, 2), NORMAL(3, 4, 4, 2), NORMAL(3)),
    CASE("stride 3, rows unused", stride3, NORMAL(1, 7, 8, 2), NORMAL(2, 2, 2, 2), NORMAL(2)),
    CASE("all axes differ", uneven, NORMAL(1, 5, 6, 2), NORMAL(3, 2, 3, 2), NORMAL(3)),
    CASE("2 groups", two_groups, NORMAL(1, 4, 3, 4), NORMAL(6, 3, 3, 2), NORMAL(6)),
    CASE("depthwise", depthwise, NORMAL(2, 5, 4, 3), NORMAL(6, 3, 3, 1), NORMAL(6)),
    CASE("one-sided padding", one_sided, NORMAL(1, 4, 5, 2), NORMAL(3, 3, 2, 2), NORMAL(3)),
    CASE("1-D same", time3, NORMAL(2, 7, 3), NORMAL(5, 3, 3), NORMAL(5)),
    CASE("1-D 4 stride 2", time_half4, NORMAL(2, 8, 3), NORMAL(4, 4, 3), NORMAL(4)),
    CASE("1-D dilation beyond the ends", time_dilated, NORMAL(1, 5, 4), NORMAL(4, 3, 4), NORMAL(4)),
    CASE("1-D causal", time_causal, NORMAL(2, 6, 2), NORMAL(3, 3, 2), NORMAL(3)),
    CASE("then relu", same3_then_relu, NORMAL(2, 6, 5, 16), NORMAL(16, 3, 3, 16), NORMAL(16)),
    CASE("16 to 1, then relu", same3_then_relu, NORMAL(2, 6, 7, 16), NORMAL(1, 3, 3, 16), NORMAL(1)),
    CASE("no bias, then relu", no_bias_then_relu, NORMAL(1, 4, 4, 2), NORMAL(3, 2, 3, 2)),
    CASE("1-D, then relu", time3_then_relu, NORMAL(2, 7, 3), NORMAL(5, 3, 3), NORMAL(5)),
    {0},
};

TS_CASES(conv_transpose) = {
    CASE("1x1", up_plain, NORMAL(2, 3, 2, 4), NORMAL(4, 1, 1, 5), NORMAL(5)),
    CASE("3x3", up_plain, NORMAL(1, 3, 4, 3), NORMAL(3, 3, 3, 2), NORMAL(2)),
    CASE("no images", up_plain, NORMAL(0, 3, 4, 3), NORMAL(3, 3, 3, 2), NORMAL(2)),
    CASE("no bias", up_no_bias, NORMAL(1, 3, 2, 2), NORMAL(2, 3, 3, 3)),
    CASE("4x4 stride 2", up_double4, NORMAL(2, 3, 4, 4), NORMAL(4, 4, 4, 2), NORMAL(2)),
    CASE("16 to 3", up_double4, NORMAL(1, 4, 4, 16), NORMAL(16, 4, 4, 3), NORMAL(3)),
    CASE("32 to 16", up_double4, NORMAL(1, 3, 3, 32), NORMAL(32, 4, 4, 16), NORMAL(16)),
    CASE("output padding", up_output_pad, NORMAL(1, 3, 3, 2), NORMAL(2, 3, 4, 3), NORMAL(3)),
    CASE("output padding beyond the stride", up_dilated, NORMAL(1, 3, 3, 2), NORMAL(2, 3, 2, 3), NORMAL(3)),
    CASE("2 groups", up_groups, NORMAL(1, 3, 2, 4), NORMAL(4, 3, 3, 3), NORMAL(6)),
    CASE("1-D 4 stride 2", up_time, NORMAL(2, 4, 3), NORMAL(3, 4, 5), NORMAL(5)),
    CASE("then relu", up_double4_then_relu, NORMAL(2, 3, 4, 16), NORMAL(16, 4, 4, 16), NORMAL(16)),
    CASE("16 to 3, then relu", up_double4_then_relu, NORMAL(1, 4, 4, 16), NORMAL(16, 4, 4, 3), NORMAL(3)),
    CASE("1-D, then relu", up_time_then_relu, NORMAL(2, 4, 3), NORMAL(3, 4, 5), NORMAL(5)),
    {0},
};

TS_COVERED_BY(conv_dw, conv);

static ts_shape built_shape(ts_value (*build)(const ts_value *), ts_shape x, ts_shape w, ts_shape bias, ts_error *err)
{
    ts_graph *g = ts_graph_new(TS_F32);
    ts_value in[3] = {ts_input(g, "x", TS_F32, x), ts_input(g, "w", TS_F32, w), ts_input(g, "b", TS_F32, bias)};
    ts_shape shape = ts_value_shape(build(in));
    ts_graph_check(g, err);
    ts_graph_free(g);
    return shape;
}

static void expect_shape(ts_value (*build)(const ts_value *), ts_shape x, ts_shape w, ts_shape bias, ts_shape expected)
{
    ts_error err = {0};
    ts_shape shape = built_shape(build, x, w, bias, &err);
    cr_assert_eq(err.code, TS_OK, "%s", err.text);
    cr_assert(ts_shape_equal(shape, expected), "%s instead of %s", ts_shape_print(shape).text,
              ts_shape_print(expected).text);
}

static void expect_error(ts_value (*build)(const ts_value *), ts_shape x, ts_shape w, ts_shape bias, const char *text)
{
    ts_error err = {0};
    built_shape(build, x, w, bias, &err);
    cr_assert_eq(err.code, TS_ERR_USAGE);
    cr_assert(strncmp(err.text, text, strlen(text)) == 0, "expected \"%s\", got: %s", text, err.text);
}

/* Sizes as torch computes them. */
Test(autograd_conv, output_sizes)
{
    expect_shape(half4, ts_shape_of(2, 32, 30, 3), ts_shape_of(64, 4, 4, 3), ts_shape_of(64),
                 ts_shape_of(2, 16, 15, 64));
    expect_shape(half4, ts_shape_of(1, 7, 5, 2), ts_shape_of(3, 4, 4, 2), ts_shape_of(3), ts_shape_of(1, 3, 2, 3));
    expect_shape(time_causal, ts_shape_of(1, 9, 2), ts_shape_of(3, 3, 2), ts_shape_of(3), ts_shape_of(1, 9, 3));
    expect_shape(up_double4, ts_shape_of(2, 8, 9, 64), ts_shape_of(64, 4, 4, 3), ts_shape_of(3),
                 ts_shape_of(2, 16, 18, 3));
    expect_shape(up_output_pad, ts_shape_of(1, 3, 3, 2), ts_shape_of(2, 3, 4, 3), ts_shape_of(3),
                 ts_shape_of(1, 6, 10, 3));
}

Test(autograd_conv, wrong_shapes_are_named)
{
    expect_error(time3, ts_shape_of(2, 8, 263), ts_shape_of(512, 3, 272), ts_shape_of(512),
                 "conv1d: input [2, 8, 263] has 263 channels, weight [512, 3, 272] with 1 groups expects 272");
    expect_error(plain, ts_shape_of(8, 8, 3), ts_shape_of(4, 3, 3, 3), ts_shape_of(4),
                 "conv2d: input is [8, 8, 3] and");
    expect_error(plain, ts_shape_of(1, 8, 8, 3), ts_shape_of(4, 3, 3, 3), ts_shape_of(3), "conv2d: bias is [3]");
    expect_error(two_groups, ts_shape_of(1, 8, 8, 4), ts_shape_of(5, 3, 3, 2), ts_shape_of(5),
                 "conv2d: weight [5, 3, 3, 2]: 2 groups");
    expect_error(plain, ts_shape_of(1, 2, 8, 3), ts_shape_of(4, 3, 3, 3), ts_shape_of(4), "conv2d: nothing comes out");
    expect_error(up_plain, ts_shape_of(1, 2, 8, 3), ts_shape_of(4, 3, 3, 3), ts_shape_of(3),
                 "conv2d_transpose: input [1, 2, 8, 3] has 3 channels");
    expect_error(up_time, ts_shape_of(1, 1, 3), ts_shape_of(3, 1, 3), ts_shape_of(3),
                 "conv1d_transpose: nothing comes out");
}

BUILD(negative_stride, ts_conv2d, .stride = {-1, 1})
BUILD(huge_dilation, ts_conv2d, .dilation = {1, INT64_MAX})
BUILD(two_in_1d, ts_conv1d, .stride = {1, 2})
BUILD(pad_of_conv, ts_conv2d, .output_pad = {1, 0})
BUILD(too_much_output_pad, ts_conv2d_transpose, .stride = {2, 2}, .output_pad = {2, 0})

Test(autograd_conv, impossible_options_are_named)
{
    const ts_shape x = ts_shape_of(1, 8, 8, 3), w = ts_shape_of(3, 3, 3, 3), b = ts_shape_of(3);
    expect_error(negative_stride, x, w, b, "conv2d: stride -1");
    expect_error(huge_dilation, x, w, b, "conv2d: stride 1, dilation 9223372036854775807");
    expect_error(two_in_1d, ts_shape_of(1, 8, 3), ts_shape_of(3, 3, 3), b, "conv1d: an option has a second element");
    expect_error(pad_of_conv, x, w, b, "conv2d: output_pad is 1, expected 0 to 0");
    expect_error(too_much_output_pad, x, w, b, "conv2d_transpose: output_pad is 2, expected 0 to 1");
}
