/* Tables and ids of many sizes, ids that crowd on one code, and parts of tensors in units from one byte to sixteen. */
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "tests/cuda/direct.h"

/* Ids from -1 to K: the ends are outside. */
static direct_case with_ids(direct_case c, int operand, int64_t K)
{
    c.from = -1;
    c.below[operand] = K + 1;
    return c;
}

Test(cuda_index, gather)
{
    direct_case cases[] = {
        with_ids((direct_case)DIRECT("width of a multiple of 4", gather, 0, F(3001, 32), F(1000, 32), I32(3001)), 1,
                 1000),
        with_ids((direct_case)DIRECT("odd width", gather, 0, F(911, 33), F(77, 33), I32(911)), 1, 77),
        with_ids((direct_case)DIRECT("width 1", gather, 0, F(40001, 1), F(9, 1), I32(40001)), 1, 9),
        with_ids((direct_case)DIRECT("ids of two axes", gather, 0, F(7, 11, 8), F(5, 8), I32(7, 11)), 1, 5),
    };
    cases[0].desc.attr.axis.value = NAN;
    DIRECT_CHECK(cases);
}

static void crowd(int k, void *ids)
{
    if (k == 1)
        for (int i = 0; i < 9001; i++)
            ((int32_t *)ids)[i] = i % 100 == 99 ? i % 7 : 3;
}

static void leave_out(int k, void *ids)
{
    if (k == 1)
        memset(ids, 0xff, 100 * sizeof(int32_t));
}

/* Sums of up to 9000 normal numbers: the reference adds them in float. */
Test(cuda_index, scatter_add)
{
    direct_case cases[] = {
        with_ids((direct_case)DIRECT("one pass", scatter_add, 1e-5, F(100, 8), F(3001, 8), I32(3001)), 1, 100),
        with_ids((direct_case)DIRECT("two passes", scatter_add, 1e-5, F(5000, 6), F(9001, 6), I32(9001)), 1, 5000),
        with_ids((direct_case)DIRECT("three passes", scatter_add, 1e-5, F(70000, 1), F(5000, 1), I32(5000)), 1, 70000),
        with_ids((direct_case)DIRECT("K is 256", scatter_add, 1e-5, F(256, 4), F(2000, 4), I32(2000)), 1, 256),
        with_ids((direct_case)DIRECT("wide rows", scatter_add, 1e-5, F(3, 300), F(200, 300), I32(200)), 1, 3),
        with_ids((direct_case)DIRECT("odd wide rows", scatter_add, 1e-5, F(3, 301), F(200, 301), I32(200)), 1, 3),
        with_ids((direct_case)DIRECT("one code", scatter_add, 1e-5, F(1, 5), F(7000, 5), I32(7000)), 1, 1),
        with_ids((direct_case)DIRECT("one row", scatter_add, 0, F(9, 4), F(1, 4), I32(1)), 1, 9),
        DIRECT("most on one code", scatter_add, 1e-5, F(40, 12), F(9001, 12), I32(9001)),
        DIRECT("none inside", scatter_add, 0, F(40, 12), F(100, 12), I32(100)),
        DIRECT("no rows", scatter_add, 0, F(40, 12), F(0, 12), I32(0)),
    };
    cases[8].spoil = crowd;
    cases[9].spoil = leave_out;
    DIRECT_CHECK(cases);
}

static void one_popular(int k, void *ids)
{
    (void)k;
    for (int i = 0; i < 30001; i += 2)
        ((int32_t *)ids)[i] = 9000;
}

Test(cuda_index, count)
{
    direct_case cases[] = {
        {.label = "few codes",
         .desc = {.op = TS_OP_count, .in_count = 1, .out_count = 1, .in = {I32(30001)}, .out = {I64(77)}}},
        {.label = "as many as fit",
         .desc = {.op = TS_OP_count, .in_count = 1, .out_count = 1, .in = {I32(3001)}, .out = {I64(8192)}}},
        {.label = "many codes",
         .desc = {.op = TS_OP_count, .in_count = 1, .out_count = 1, .in = {I32(30001)}, .out = {I64(100000)}}},
        {.label = "many codes, one popular",
         .desc = {.op = TS_OP_count, .in_count = 1, .out_count = 1, .in = {I32(30001)}, .out = {I64(9001)}}},
    };
    for (int i = 0; i < 4; i++)
        cases[i] = with_ids(cases[i], 0, cases[i].desc.out[0].shape.dim[0]);
    cases[3].spoil = one_popular;
    DIRECT_CHECK(cases);
}

static int masked; /* one row in so many has a mask of 1; 0: none has */

static void put_mask(int k, void *x)
{
    if (k == 1)
        for (int i = 0; i < 3001; i++)
            ((float *)x)[i] = masked && i % masked == masked - 1;
}

Test(cuda_index, tile_rows)
{
    direct_case some[] = {DIRECT("masked", tile_rows, 0, F(700, 12), F(3001, 12), F(3001)),
                          DIRECT("masked, odd", tile_rows, 0, F(700, 3), F(3001, 3), F(3001))};
    some[0].spoil = some[1].spoil = put_mask;
    for (masked = 0; masked <= 4000; masked = masked * 3 + 1)
        DIRECT_CHECK(some);
    const direct_case cases[] = {
        DIRECT("repeated", tile_rows, 0, F(1000, 12), F(37, 12)),
        DIRECT("the first", tile_rows, 0, F(20, 12), F(37, 12)),
        DIRECT("odd", tile_rows, 0, F(1000, 3), F(37, 3)),
    };
    DIRECT_CHECK(cases);
}

/* The axis, where the part begins, and what is put around it. */
static direct_case along(direct_case c, int axis, int64_t start, double value)
{
    c.desc.attr.axis.axis = axis;
    c.desc.attr.axis.start = start;
    c.desc.attr.axis.value = value;
    return c;
}

static const ts_dtype dtypes[] = {TS_F32, TS_I32, TS_I64, TS_U8, TS_BF16};

Test(cuda_index, parts)
{
    for (int i = 0; i < 5; i++) {
        ts_dtype d = dtypes[i];
        const direct_case cases[] = {
            along((direct_case)DIRECT("slice, wide", slice, 0, OF(d, 7, 20, 64), OF(d, 7, 33, 64)), 1, 4, 0),
            along((direct_case)DIRECT("slice of the last axis", slice, 0, OF(d, 700, 3), OF(d, 700, 11)), 1, 5, 0),
            along((direct_case)DIRECT("slice of nothing", slice, 0, OF(d, 7, 0), OF(d, 7, 5)), 1, 5, 0),
            along((direct_case)DIRECT("concat, wide", concat, 0, OF(d, 3, 48, 32), OF(d, 3, 40, 32), OF(d, 3, 8, 32)),
                  1, 0, 0),
            along((direct_case)DIRECT("concat of four", concat, 0, OF(d, 300, 12), OF(d, 300, 3), OF(d, 300, 0),
                                      OF(d, 300, 8), OF(d, 300, 1)),
                  1, 0, 0),
        };
        DIRECT_CHECK(cases);
    }
}

Test(cuda_index, pad)
{
    for (int i = 0; i < 5; i++) {
        ts_dtype d = dtypes[i];
        const direct_case cases[] = {
            along((direct_case)DIRECT("wide", pad, 0, OF(d, 7, 44, 64), OF(d, 7, 33, 64)), 1, 4, 3),
            along((direct_case)DIRECT("last axis", pad, 0, OF(d, 700, 9), OF(d, 700, 4)), 1, 5, 2),
            along((direct_case)DIRECT("nothing", pad, 0, OF(d, 3, 16), OF(d, 0, 16)), 0, 1, 7),
        };
        DIRECT_CHECK(cases);
    }
}

static direct_case ordered(direct_case c, int a, int b, int e, int f)
{
    const int order[] = {a, b, e, f};
    for (int i = 0; i < 4; i++) {
        c.desc.attr.permute.order[i] = order[i];
        c.desc.out[0].shape.dim[i] = c.desc.in[0].shape.dim[order[i]];
    }
    return c;
}

Test(cuda_index, permute)
{
    for (int i = 0; i < 5; i++) {
        ts_dtype d = dtypes[i];
        const direct_case cases[] = {
            ordered((direct_case)DIRECT("heads", permute, 0, OF(d, 0, 0, 0, 0), OF(d, 3, 40, 5, 16)), 0, 2, 1, 3),
            ordered((direct_case)DIRECT("odd heads", permute, 0, OF(d, 0, 0, 0, 0), OF(d, 3, 40, 5, 7)), 0, 2, 1, 3),
            ordered((direct_case)DIRECT("transpose", permute, 0, OF(d, 0, 0, 0, 0), OF(d, 1, 1, 133, 70)), 0, 1, 3, 2),
            ordered((direct_case)DIRECT("transposes", permute, 0, OF(d, 0, 0, 0, 0), OF(d, 3, 5, 37, 41)), 1, 0, 3, 2),
            ordered((direct_case)DIRECT("channels last", permute, 0, OF(d, 0, 0, 0, 0), OF(d, 2, 3, 32, 32)), 0, 2, 3,
                    1),
            ordered((direct_case)DIRECT("a wide middle", permute, 0, OF(d, 0, 0, 0, 0), OF(d, 33, 3, 4, 65)), 3, 1, 2,
                    0),
            ordered((direct_case)DIRECT("one element", permute, 0, OF(d, 0, 0, 0, 0), OF(d, 1, 1, 1, 1)), 3, 1, 2, 0),
        };
        DIRECT_CHECK(cases);
    }
}
