#include "autograd/index.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>

#include "tests/support/build_error.h"
#include "tests/support/op_check.h"
#include "tests/support/thread_check.h"

static ts_value gather(const ts_value *in)
{
    return ts_gather(in[0], in[1]);
}

TS_CASES(gather) = {
    TS_CASE("plain", gather, TS_NORMAL(5, 3), TS_BELOW(5, 7)),
    TS_CASE("ids of two axes", gather, TS_NORMAL(3, 4), TS_BELOW(3, 2, 5)),
    TS_CASE("one row, width 1", gather, TS_NORMAL(1, 1), TS_BELOW(1, 11)),
    TS_CASE("no ids", gather, TS_NORMAL(3, 2), TS_BELOW(3, 0)),
    TS_CASE("wide", gather, TS_NORMAL(4, 67), TS_BELOW(4, 9)),
    {0},
};

static ts_value scatter_5(const ts_value *in)
{
    return ts_scatter_add(in[0], in[1], 5);
}

TS_CASES(scatter_add) = {
    TS_CASE("every id hit", scatter_5, TS_NORMAL(31, 3), TS_BELOW(5, 31)),
    TS_CASE("ids outside are left out", scatter_5, TS_NORMAL(17, 2), TS_BELOW(9, 17)),
    TS_CASE("ids of two axes", scatter_5, TS_NORMAL(2, 3, 4), TS_BELOW(5, 2, 3)),
    TS_CASE("one row, width 1", scatter_5, TS_NORMAL(1, 1), TS_BELOW(5, 1)),
    TS_CASE("no rows", scatter_5, TS_NORMAL(0, 3), TS_BELOW(5, 0)),
    {0},
};

static ts_value count_5(const ts_value *in)
{
    return ts_count(in[0], 5);
}

TS_CASES(count) = {
    TS_CASE("some outside", count_5, TS_BELOW(7, 3, 20)),
    TS_CASE("none", count_5, TS_BELOW(5, 0)),
    {0},
};

static ts_value tile_7(const ts_value *in)
{
    return ts_tile_rows(in[0], TS_ABSENT, 7);
}

static ts_value tile_7_masked(const ts_value *in)
{
    return ts_tile_rows(in[0], in[1], 7);
}

#define MASK(n)                                                                                                        \
    {                                                                                                                  \
        .dtype = TS_F32, .shape = TS_SHAPE(n), .fill = TS_FILL_BELOW, .below = 2, .constant = true                     \
    }

TS_CASES(tile_rows) = {
    TS_CASE("repeated", tile_7, TS_NORMAL(3, 2)),
    TS_CASE("the first rows", tile_7, TS_NORMAL(9, 2)),
    TS_CASE("those that count", tile_7_masked, TS_NORMAL(5, 2), MASK(5)),
    TS_CASE("the first that count", tile_7_masked, TS_NORMAL(31, 3), MASK(31)),
    {0},
};

static ts_value slice_first(const ts_value *in)
{
    return ts_slice(in[0], 0, 1, 2);
}

static ts_value slice_middle(const ts_value *in)
{
    return ts_slice(in[0], 1, 2, 3);
}

static ts_value slice_last(const ts_value *in)
{
    return ts_slice(in[0], -1, 0, 1);
}

static ts_value slice_none(const ts_value *in)
{
    return ts_slice(in[0], -1, 1, 0);
}

TS_CASES(slice) = {
    TS_CASE("first axis", slice_first, TS_NORMAL(4, 5)),   TS_CASE("middle axis", slice_middle, TS_NORMAL(2, 7, 3)),
    TS_CASE("last axis", slice_last, TS_NORMAL(3, 2, 4)),  TS_CASE("nothing", slice_none, TS_NORMAL(3, 2)),
    TS_CASE("integers", slice_first, TS_BELOW(100, 5, 3)), {0},
};

static ts_value pad_first(const ts_value *in)
{
    return ts_pad(in[0], 0, 2, 0, -1.5);
}

static ts_value pad_middle(const ts_value *in)
{
    return ts_pad(in[0], 1, 1, 3, 0);
}

static ts_value pad_last(const ts_value *in)
{
    return ts_pad(in[0], -1, 0, 2, 7);
}

TS_CASES(pad) = {
    TS_CASE("first axis", pad_first, TS_NORMAL(3, 2)), TS_CASE("middle axis", pad_middle, TS_NORMAL(2, 3, 5)),
    TS_CASE("last axis", pad_last, TS_NORMAL(2, 3)),   TS_CASE("an empty tensor", pad_first, TS_NORMAL(0, 3)),
    TS_CASE("integers", pad_last, TS_BELOW(100, 5)),   {0},
};

static ts_value concat_first(const ts_value *in)
{
    return ts_concat(in, 3, 0);
}

static ts_value concat_last(const ts_value *in)
{
    return ts_concat(in, 2, -1);
}

TS_CASES(concat) = {
    TS_CASE("first axis", concat_first, TS_NORMAL(2, 3), TS_NORMAL(1, 3), TS_NORMAL(4, 3)),
    TS_CASE("last axis", concat_last, TS_NORMAL(2, 3, 2), TS_NORMAL(2, 3, 5)),
    TS_CASE("one is empty", concat_last, TS_NORMAL(3, 0), TS_NORMAL(3, 2)),
    TS_CASE("integers", concat_last, TS_BELOW(9, 2, 2), TS_BELOW(9, 2, 1)),
    {0},
};

static ts_value swap(const ts_value *in)
{
    return ts_permute(in[0], (int[]){1, 0});
}

static ts_value heads_first(const ts_value *in)
{
    return ts_permute(in[0], (int[]){0, 2, 1, 3});
}

static ts_value rotate(const ts_value *in)
{
    return ts_permute(in[0], (int[]){2, 0, 1});
}

TS_CASES(permute) = {
    TS_CASE("transpose", swap, TS_NORMAL(3, 5)),    TS_CASE("transpose beyond a tile", swap, TS_NORMAL(37, 67)),
    TS_CASE("one column", swap, TS_NORMAL(9, 1)),   TS_CASE("heads", heads_first, TS_NORMAL(2, 3, 4, 5)),
    TS_CASE("rotated", rotate, TS_NORMAL(3, 4, 5)), TS_CASE("empty", rotate, TS_NORMAL(3, 0, 5)),
    TS_CASE("integers", swap, TS_BELOW(50, 4, 3)),  {0},
};

static ts_value scatter_minus(const ts_value *in)
{
    return ts_scatter_add(in[0], in[1], -1);
}

static ts_value slice_beyond(const ts_value *in)
{
    return ts_slice(in[0], 1, 2, 3);
}

static ts_value slice_no_axis(const ts_value *in)
{
    return ts_slice(in[0], 2, 0, 1);
}

static ts_value pad_minus(const ts_value *in)
{
    return ts_pad(in[0], 0, -1, 0, 0);
}

static ts_value permute_twice(const ts_value *in)
{
    return ts_permute(in[0], (int[]){0, 0});
}

Test(autograd_index, wrong_operands_are_named)
{
    EXPECT_BUILD_ERROR(gather, "gather", "f32 [2, 3, 4] and ids i32 [5]", F32(2, 3, 4), I32(5));
    EXPECT_BUILD_ERROR(gather, "gather", "f32 [2, 3] and ids f32 [5]", F32(2, 3), F32(5));
    EXPECT_BUILD_ERROR(scatter_5, "scatter_add", "f32 [6, 3] and ids i32 [5]", F32(6, 3), I32(5));
    EXPECT_BUILD_ERROR(scatter_minus, "scatter_add", "0 or more", F32(6, 3), I32(6));
    EXPECT_BUILD_ERROR(count_5, "count", "f32 [5]", F32(5));
    EXPECT_BUILD_ERROR(tile_7, "tile_rows", "f32 [0, 3]", F32(0, 3));
    EXPECT_BUILD_ERROR(tile_7_masked, "tile_rows", "the mask is f32 [4], expected real [5]", F32(5, 3), F32(4));
    EXPECT_BUILD_ERROR(tile_7_masked, "tile_rows", "the mask is i32 [5]", F32(5, 3), I32(5));
    EXPECT_BUILD_ERROR(slice_beyond, "slice", "beyond axis 1 of [2, 4]", F32(2, 4));
    EXPECT_BUILD_ERROR(slice_no_axis, "slice", "axis 2 of [2, 4]; expected -2 to 1", F32(2, 4));
    EXPECT_BUILD_ERROR(pad_minus, "pad", "-1 before and 0 after axis 0 of [2, 4]", F32(2, 4));
    EXPECT_BUILD_ERROR(concat_last, "concat", "f32 [3, 2], the first f32 [2, 2]", F32(2, 2), F32(3, 2));
    EXPECT_BUILD_ERROR(permute_twice, "permute", "[2, 4]", F32(2, 4));
}

/* Rows of x that the result has, -1 for one of zeros. */
static void expect_tiled(const double mask[5], const int row[7], const char *device)
{
    ts_op_case c = TS_CASE("tiled", tile_7_masked, TS_NORMAL(5, 2), MASK(5));
    ts_built_case b;
    int64_t n;
    built_case_open(&b, &c, device, TS_F32, false);
    for (int i = 0; i < 5; i++)
        b.host[1][i] = mask[i];
    built_case_run(&b);
    double *y = built_case_read(&b, b.y, &n);
    for (int i = 0; i < 14; i++)
        cr_expect_eq((float)y[i], row[i / 2] < 0 ? 0 : (float)b.host[0][2 * row[i / 2] + i % 2], "row %d on %s", i / 2,
                     device);
    free(y);
    built_case_close(&b);
}

Test(autograd_index, tile_rows_takes_those_that_count)
{
    static const struct {
        double mask[5];
        int row[7];
    } cases[] = {{{1, 1, 1, 1, 1}, {0, 1, 2, 3, 4, 0, 1}},
                 {{0, 1, 0, 1, 1}, {1, 3, 4, 1, 3, 4, 1}},
                 {{0, 0, 0, 0, 1}, {4, 4, 4, 4, 4, 4, 4}},
                 {{1, 0, 0, 0, 0}, {0, 0, 0, 0, 0, 0, 0}},
                 {{0, 0, 0, 0, 0}, {-1, -1, -1, -1, -1, -1, -1}}};
    for (int i = 0; i < 5; i++) {
        expect_tiled(cases[i].mask, cases[i].row, "ref");
        expect_tiled(cases[i].mask, cases[i].row, "cpu");
    }
}

static void broken_ids(const char *device)
{
    ts_op_case c = TS_CASE("broken ids", gather, TS_NORMAL(5, 3), TS_BELOW(5, 4));
    ts_built_case b;
    built_case_open(&b, &c, device, TS_F32, true);
    double ids[] = {4, -1, 5, INT32_MIN};
    for (int i = 0; i < 4; i++)
        b.host[1][i] = ids[i];
    built_case_run(&b);
    int64_t n;
    double *y = built_case_read(&b, b.y, &n), *dtable = built_case_read(&b, b.gradient[0], &n);
    for (int i = 0; i < 12; i++)
        cr_assert_eq((bool)isnan(y[i]), i >= 3, "row %d on %s", i / 3, device);
    for (int i = 0; i < 15; i++)
        cr_assert_eq(dtable[i] != 0, i >= 12, "row %d of the gradient on %s", i / 3, device);
    free(y);
    free(dtable);
    built_case_close(&b);
}

Test(autograd_index, a_broken_id_is_not_code_0)
{
    setenv("TESSERA_CUDA_MODULE", TESSERA_CUDA_EMULATED, 0);
    broken_ids("ref");
    broken_ids("cpu");
    broken_ids("cuda");
}

/* Large enough for several threads; f32 against double within the bound of one sum's rounding, and twice the same. */
Test(autograd_index, large_tables)
{
    ts_op_case scatter = TS_CASE("large scatter", scatter_5, TS_NORMAL(40000, 3), TS_BELOW(6, 40000));
    ts_op_case pick = TS_CASE("large gather", gather, TS_NORMAL(1000, 33), TS_BELOW(1000, 3001));
    ts_op_case turn = TS_CASE("large permute", heads_first, TS_NORMAL(3, 65, 5, 70));
    ts_op_case transpose = TS_CASE("large transpose", swap, TS_NORMAL(301, 407));
    ts_op_case wide = TS_CASE("wide scatter", scatter_5, TS_NORMAL(2000, 67), TS_BELOW(6, 2000));
    ts_op_case count = TS_CASE("large count", count_5, TS_BELOW(6, 3, 30000));
    const ts_op_case *all[] = {&scatter, &wide, &pick, &turn, &transpose, &count};
    for (int i = 0; i < 6; i++)
        expect_thread_independent(all[i]);
    cr_assert_eq(compare_with_double(&count, "cpu"), 0);
    cr_assert_leq(compare_with_double(&wide, "cpu"), 1e-5);
    cr_assert_leq(compare_with_double(&scatter, "cpu"), 1e-4);
    cr_assert_leq(compare_with_double(&pick, "cpu"), 1e-6);
    cr_assert_eq(compare_with_double(&turn, "cpu"), 0);
    cr_assert_eq(compare_with_double(&transpose, "cpu"), 0);
}
