/* Sums over any axes, in every way to share the work out; running sums; a bad element far inside. */
#include <criterion/criterion.h>
#include <math.h>

#include "tests/cuda/direct.h"

#define OVER(label_, op_, axes_, tolerance_, to_, from_)                                                               \
    {                                                                                                                  \
        .label = label_,                                                                                               \
        .desc = {.op = TS_OP_##op_,                                                                                    \
                 .attr = {.axis = {.axes = axes_}},                                                                    \
                 .in_count = 1,                                                                                        \
                 .out_count = 1,                                                                                       \
                 .in = {from_},                                                                                        \
                 .out = {to_}},                                                                                        \
        .tolerance = tolerance_                                                                                        \
    }

Test(cuda_reduce, sums)
{
    const direct_case cases[] = {
        OVER("all, one block", sum, 3, 1e-6, F(1, 1), F(3, 1001)),
        OVER("all, several blocks", sum, 1, 1e-6, F(1), F(100003)),
        OVER("short rows", sum, 2, 1e-6, F(1000, 1), F(1000, 3)),
        OVER("rows of a multiple of 4", sum, 2, 1e-6, F(300, 1), F(300, 64)),
        OVER("odd rows", sum, 2, 1e-6, F(70, 1), F(70, 257)),
        OVER("long rows", sum, 2, 1e-6, F(3, 1), F(3, 40000)),
        OVER("long odd rows", sum, 2, 1e-6, F(3, 1), F(3, 20001)),
        OVER("columns", sum, 1, 1e-6, F(1, 64), F(500, 64)),
        OVER("a few columns", sum, 1, 1e-6, F(1, 3), F(30001, 3)),
        OVER("four columns", sum, 1, 1e-6, F(1, 4), F(40001, 4)),
        OVER("many columns", sum, 1, 1e-6, F(1, 1100), F(5, 1100)),
        OVER("columns of pages", sum, 2, 1e-6, F(200, 1, 4), F(200, 3, 4)),
        OVER("all but the middle", sum, 5, 1e-6, F(1, 6, 1), F(37, 6, 40)),
        OVER("every other axis, rows", sum, 10, 1e-6, F(3, 1, 4, 1), F(3, 17, 4, 20)),
        OVER("every other axis, columns", sum, 5, 1e-6, F(1, 17, 1, 5), F(9, 17, 4, 5)),
        OVER("nothing", sum, 1, 0, F(1, 3), F(0, 3)),
        OVER("no results", sum, 1, 0, F(1, 0), F(3, 0)),
    };
    DIRECT_CHECK(cases);
}

static void put_nan(int k, void *x)
{
    (void)k;
    ((float *)x)[77] = NAN;
}

#define H(...) OF(TS_BF16, __VA_ARGS__)

/* bf16 is added up as it is, and the sum is f32. */
Test(cuda_reduce, sums_of_bf16)
{
    direct_case cases[] = {
        OVER("columns of a multiple of 4", sum, 1, 2e-6, F(1, 64), H(7000, 64)),
        OVER("odd columns", sum, 1, 2e-6, F(1, 33), H(7000, 33)),
        OVER("rows", sum, 2, 2e-6, F(300, 1), H(300, 260)),
        OVER("all", sum, 1, 2e-6, F(1), H(70003)),
    };
    DIRECT_CHECK(cases);
}

Test(cuda_reduce, maxima)
{
    direct_case cases[] = {
        OVER("all", amax, 1, 0, F(1), F(100003)),
        OVER("rows", amax, 2, 0, F(70, 1), F(70, 257)),
        OVER("columns", amax, 1, 0, F(1, 12), F(5000, 12)),
        OVER("nothing", amax, 1, 0, F(1, 3), F(0, 3)),
        OVER("NaN", amax, 1, 0, F(1), F(30001)),
    };
    cases[4].spoil = put_nan;
    DIRECT_CHECK(cases);
}

Test(cuda_reduce, broadcast)
{
    const direct_case cases[] = {
        DIRECT("scalar", broadcast, 0, F(70001), F()),
        DIRECT("row", broadcast, 0, F(9, 33, 20), F(20)),
        DIRECT("column", broadcast, 0, F(9, 33, 20), F(9, 1, 1)),
        DIRECT("odd", broadcast, 0, F(9, 33, 7), F(33, 1)),
    };
    DIRECT_CHECK(cases);
}

#define RUNNING(label_, at_, reverse_, ...)                                                                            \
    {                                                                                                                  \
        .label = label_,                                                                                               \
        .desc = {.op = TS_OP_cumsum,                                                                                   \
                 .attr = {.axis = {.axis = at_, .reverse = reverse_}},                                                 \
                 .in_count = 1,                                                                                        \
                 .out_count = 1,                                                                                       \
                 .in = {F(__VA_ARGS__)},                                                                               \
                 .out = {F(__VA_ARGS__)}},                                                                             \
        .tolerance = 1e-6                                                                                              \
    }

Test(cuda_reduce, running_sums)
{
    const direct_case cases[] = {
        RUNNING("along rows", 1, false, 300, 33),        RUNNING("along rows, back", 1, true, 3, 1000),
        RUNNING("a narrow middle", 1, false, 5, 100, 3), RUNNING("a wide middle, back", 1, true, 3, 70, 40),
        RUNNING("many columns", 0, false, 7, 9001),      RUNNING("nothing", 0, false, 0, 3),
    };
    DIRECT_CHECK(cases);
}

static int64_t bad_at;

static void put_infinity(int k, void *x)
{
    if (k == 1)
        ((float *)x)[bad_at] = -INFINITY;
}

Test(cuda_reduce, one_bad_element_is_found)
{
    const int64_t sizes[] = {5000, 50021};
    for (int i = 0; i < 2; i++) {
        direct_case c = DIRECT("finite", all_finite, 0, F(), F(1), F(sizes[i]), F(0), F(33));
        direct_check(&c, 1);
        c.spoil = put_infinity;
        for (bad_at = 0; bad_at < sizes[i]; bad_at += sizes[i] / 3)
            direct_check(&c, 1);
    }
}
