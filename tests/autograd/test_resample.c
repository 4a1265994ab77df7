#include <criterion/criterion.h>
#include <string.h>

#include "autograd/node.h"
#include "autograd/resample.h"
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
#define APART(...)                                                                                                     \
    {                                                                                                                  \
        .dtype = TS_F32, .shape = {sizeof((int[]){__VA_ARGS__}) / sizeof(int), {__VA_ARGS__}}, .fill = TS_FILL_APART   \
    }
#define PAIR(a, b) ((const int64_t[]){a, b})

#define BUILD(name, expression)                                                                                        \
    static ts_value name(const ts_value *in)                                                                           \
    {                                                                                                                  \
        return expression;                                                                                             \
    }

BUILD(up2, ts_upsample_nearest2d(in[0], 2, 2))
BUILD(up_uneven, ts_upsample_nearest2d(in[0], 1, 3))
BUILD(up_time, ts_upsample_nearest1d(in[0], 2))
BUILD(avg2, ts_avg_pool2d(in[0], PAIR(2, 2), PAIR(2, 2), PAIR(0, 0)))
BUILD(avg_overlap, ts_avg_pool2d(in[0], PAIR(3, 2), PAIR(2, 1), PAIR(1, 1)))
BUILD(avg_time, ts_avg_pool1d(in[0], 4, 2, 1))
BUILD(max2, ts_max_pool2d(in[0], PAIR(2, 2), PAIR(2, 2), PAIR(0, 0)))
BUILD(max_overlap, ts_max_pool2d(in[0], PAIR(3, 2), PAIR(2, 1), PAIR(1, 1)))
BUILD(max_time, ts_max_pool1d(in[0], 2, 2, 0))

TS_CASES(upsample_nearest) = {
    CASE("by 2", up2, NORMAL(2, 3, 2, 5)),
    CASE("by 2, 16 channels", up2, NORMAL(2, 3, 4, 16)),
    CASE("one pixel", up2, NORMAL(1, 1, 1, 1)),
    CASE("no images", up2, NORMAL(0, 3, 2, 5)),
    CASE("by 1 and 3", up_uneven, NORMAL(1, 2, 3, 17)),
    CASE("1-D", up_time, NORMAL(2, 5, 3)),
    {0},
};
TS_COVERED_BY(upsample_nearest_dx, upsample_nearest);

TS_CASES(avg_pool) = {
    CASE("2x2", avg2, NORMAL(2, 4, 6, 3)),
    CASE("2x2, a row unused", avg2, NORMAL(1, 5, 4, 2)),
    CASE("overlap and padding", avg_overlap, NORMAL(1, 5, 4, 3)),
    CASE("1-D", avg_time, NORMAL(2, 7, 3)),
    {0},
};
TS_COVERED_BY(avg_pool_dx, avg_pool);

TS_CASES(max_pool) = {
    CASE("2x2", max2, APART(2, 4, 6, 3)),
    CASE("2x2, 16 channels", max2, APART(2, 6, 4, 16)),
    CASE("2x2, a column unused", max2, APART(1, 4, 5, 17)),
    CASE("one window", max2, APART(1, 2, 2, 1)),
    CASE("no images", max2, APART(0, 2, 2, 1)),
    CASE("overlap and padding", max_overlap, APART(2, 5, 4, 3)),
    CASE("1-D", max_time, APART(2, 7, 3)),
    {0},
};
TS_COVERED_BY(max_pool_dx, max_pool);

static ts_shape built_shape(ts_value (*build)(const ts_value *), ts_shape x, ts_error *err)
{
    ts_graph *g = ts_graph_new(TS_F32);
    ts_value in = ts_input(g, "x", TS_F32, x);
    ts_shape shape = ts_value_shape(build(&in));
    ts_graph_check(g, err);
    ts_graph_free(g);
    return shape;
}

static void expect_shape(ts_value (*build)(const ts_value *), ts_shape x, ts_shape expected)
{
    ts_error err = {0};
    ts_shape shape = built_shape(build, x, &err);
    cr_assert_eq(err.code, TS_OK, "%s", err.text);
    cr_assert(ts_shape_equal(shape, expected), "%s instead of %s", ts_shape_print(shape).text,
              ts_shape_print(expected).text);
}

static void expect_error(ts_value (*build)(const ts_value *), ts_shape x, const char *text)
{
    ts_error err = {0};
    built_shape(build, x, &err);
    cr_assert_eq(err.code, TS_ERR_USAGE);
    cr_assert(strncmp(err.text, text, strlen(text)) == 0, "expected \"%s\", got: %s", text, err.text);
}

Test(autograd_resample, output_sizes)
{
    expect_shape(up_uneven, ts_shape_of(2, 3, 4, 5), ts_shape_of(2, 3, 12, 5));
    expect_shape(up_time, ts_shape_of(2, 3, 4), ts_shape_of(2, 6, 4));
    expect_shape(max2, ts_shape_of(2, 5, 7, 3), ts_shape_of(2, 2, 3, 3));
    expect_shape(avg_overlap, ts_shape_of(1, 6, 4, 3), ts_shape_of(1, 3, 5, 3));
    expect_shape(avg_time, ts_shape_of(2, 8, 3), ts_shape_of(2, 4, 3));
}

BUILD(up_by_0, ts_upsample_nearest2d(in[0], 0, 1))
BUILD(up_by_too_much, ts_upsample_nearest2d(in[0], 1, INT64_MAX))
BUILD(too_much_pad, ts_max_pool2d(in[0], PAIR(2, 2), PAIR(2, 2), PAIR(2, 0)))
BUILD(no_stride, ts_avg_pool2d(in[0], PAIR(2, 2), PAIR(0, 2), PAIR(0, 0)))

Test(autograd_resample, wrong_shapes_and_options_are_named)
{
    expect_error(up2, ts_shape_of(2, 3, 4),
                 "upsample_nearest2d: input is f32 [2, 3, 4], expected real numbers of rank 4");
    expect_error(up_time, ts_shape_of(2, 3, 4, 5), "upsample_nearest1d: input is f32 [2, 3, 4, 5]");
    expect_error(up_by_0, ts_shape_of(1, 2, 2, 1), "upsample_nearest2d: factors are 0 and 1");
    expect_error(up_by_too_much, ts_shape_of(1, 2, 2, 1), "upsample_nearest2d: factors 1 and 9223372036854775807");
    expect_error(max2, ts_shape_of(1, 1, 4, 3), "max_pool2d: nothing comes out");
    expect_error(max_time, ts_shape_of(1, 1, 3), "max_pool1d: nothing comes out");
    expect_error(too_much_pad, ts_shape_of(1, 4, 4, 3), "max_pool2d: kernel 2, stride 2, padding 2");
    expect_error(no_stride, ts_shape_of(1, 4, 4, 3), "avg_pool2d: kernel 2, stride 0, padding 0");
}
