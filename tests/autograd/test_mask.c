/* Masks: which parts a length holds, and that rows that do not count are 0, have the id -1 and get no gradient. */
#include "autograd/mask.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>

#include "autograd/node.h"
#include "tests/support/build_error.h"
#include "tests/support/op_check.h"

static ts_value parts_of_3(const ts_value *in)
{
    return ts_length_mask(in[0], 4, 3);
}

static ts_value rows(const ts_value *in)
{
    return ts_mask_rows(in[0], in[1]);
}

static ts_value ids(const ts_value *in)
{
    return ts_mask_ids(in[0], in[1]);
}

#define LENGTHS(n)                                                                                                     \
    {                                                                                                                  \
        .dtype = TS_I32, .shape = TS_SHAPE(n), .fill = TS_FILL_BELOW, .below = 1                                       \
    }
#define MASK(...)                                                                                                      \
    {                                                                                                                  \
        .dtype = TS_F32, .shape = TS_SHAPE(__VA_ARGS__), .fill = TS_FILL_BELOW, .below = 2, .constant = true           \
    }

static const char *const devices[] = {"ref", "cpu"};

/* Sets operand k of a case to these numbers. */
static void give(ts_built_case *b, int k, const double *values, int count)
{
    for (int i = 0; i < count; i++)
        b->host[k][i] = values[i];
}

Test(autograd_mask, a_length_holds_its_whole_parts)
{
    static const double lengths[] = {0, 2, 3, 5, 6, 11, 12, 13, -4};
    static const int whole[] = {0, 0, 1, 1, 2, 3, 4, 4, 0};
    for (int d = 0; d < 2; d++) {
        ts_op_case c = TS_CASE("lengths", parts_of_3, LENGTHS(9));
        ts_built_case b;
        int64_t n;
        built_case_open(&b, &c, devices[d], TS_F32, false);
        give(&b, 0, lengths, 9);
        built_case_run(&b);
        double *y = built_case_read(&b, b.y, &n);
        cr_assert_eq(n, 36);
        for (int i = 0; i < 36; i++)
            cr_expect_eq((int)y[i], i % 4 < whole[i / 4], "part %d of length %g on %s", i % 4, lengths[i / 4],
                         devices[d]);
        free(y);
        built_case_close(&b);
    }
}

/* The gradient of sum(y * r) is r where a row counts, and 0 to the last bit where it does not. */
Test(autograd_mask, rows_that_do_not_count_are_zero_and_get_no_gradient)
{
    static const double mask[] = {1, 0, 0, 1, 1, 0};
    for (int d = 0; d < 2; d++) {
        ts_op_case c = TS_CASE("rows", rows, TS_NORMAL(2, 3, 5), MASK(2, 3));
        ts_built_case b;
        int64_t n;
        built_case_open(&b, &c, devices[d], TS_F32, true);
        give(&b, 1, mask, 6);
        built_case_run(&b);
        double *y = built_case_read(&b, b.y, &n), *dx = built_case_read(&b, b.gradient[0], &n);
        for (int i = 0; i < 30; i++) {
            cr_expect_eq((float)y[i], mask[i / 5] != 0 ? (float)b.host[0][i] : 0);
            cr_expect_eq(dx[i] != 0, mask[i / 5] != 0, "element %d: %g", i, dx[i]);
        }
        free(y);
        free(dx);
        built_case_close(&b);
    }
}

Test(autograd_mask, ids_that_do_not_count_are_none)
{
    static const double mask[] = {1, 0, 1};
    for (int d = 0; d < 2; d++) {
        ts_op_case c = TS_CASE("ids", ids, TS_BELOW(INT32_MAX, 3, 2), MASK(3));
        ts_built_case b;
        int64_t n;
        built_case_open(&b, &c, devices[d], TS_F32, false);
        give(&b, 1, mask, 3);
        b.host[0][5] = INT32_MAX; /* no float holds it */
        built_case_run(&b);
        double *y = built_case_read(&b, b.y, &n);
        for (int i = 0; i < 6; i++)
            cr_expect_eq((int64_t)y[i], mask[i / 2] != 0 ? (int64_t)b.host[0][i] : -1);
        free(y);
        built_case_close(&b);
    }
}

Test(autograd_mask, an_absent_mask_adds_nothing)
{
    ts_graph *g = ts_graph_new(TS_F32);
    ts_value x = ts_input(g, "x", TS_F32, ts_shape_of(2, 3)), i = ts_input(g, "ids", TS_I32, ts_shape_of(2, 1));
    cr_assert_eq(ts_mask_rows(x, TS_ABSENT).id, x.id);
    cr_assert_eq(ts_mask_ids(i, TS_ABSENT).id, i.id);
    cr_assert_null(ts_mask_ids(TS_ABSENT, ts_input(g, "mask", TS_F32, ts_shape_of(2))).graph, "no ids, no ids");
    cr_assert_eq(g->node_count, 0);
    ts_graph_free(g);
}

Test(autograd_mask, wrong_operands_are_named)
{
    EXPECT_BUILD_ERROR(parts_of_3, "length_mask", "lengths are f32 [2]", F32(2));
    EXPECT_BUILD_ERROR(parts_of_3, "length_mask", "lengths are i32 [2, 1]", I32(2, 1));
    EXPECT_BUILD_ERROR(rows, "mask", "is f32 [3, 2] for f32 [2, 3, 5]", F32(2, 3, 5), F32(3, 2));
    EXPECT_BUILD_ERROR(rows, "mask", "is i32 [2] for f32 [2, 3]", F32(2, 3), I32(2));
    EXPECT_BUILD_ERROR(ids, "mask", "is f32 [] for i32 []", I32(), F32());
    EXPECT_BUILD_ERROR(ids, "mask", "is f32 [2, 1] for i32 [2, 1]", I32(2, 1), F32(2, 1));
}
