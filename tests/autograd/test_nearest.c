#include "autograd/nearest.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>

#include "core/random.h"
#include "tests/support/build_error.h"
#include "tests/support/op_check.h"
#include "tests/support/thread_check.h"

static ts_value nearest(const ts_value *in)
{
    return ts_nearest(in[0], in[1]);
}

TS_CASES(nearest) = {
    TS_CASE("plain", nearest, TS_NORMAL(19, 5), TS_NORMAL(13, 5)),
    TS_CASE("rows of two axes", nearest, TS_NORMAL(2, 3, 4), TS_NORMAL(7, 4)),
    TS_CASE("one code", nearest, TS_NORMAL(5, 3), TS_NORMAL(1, 3)),
    TS_CASE("no rows", nearest, TS_NORMAL(0, 3), TS_NORMAL(4, 3)),
    {0},
};

static ts_op_case case_of(int64_t N, int64_t K, int64_t D)
{
    return (ts_op_case){.label = "search",
                        .in_count = 2,
                        .in = {{.dtype = TS_F32, .shape = {2, {N, D}}}, {.dtype = TS_F32, .shape = {2, {K, D}}}},
                        .build = nearest};
}

static double distance(const double *x, const double *e, int64_t D)
{
    double sum = 0;
    for (int64_t d = 0; d < D; d++)
        sum += (x[d] - e[d]) * (x[d] - e[d]);
    return sum;
}

/* The chosen code is as near as any, up to the rounding of f32. */
static void check_search(const char *device, int64_t N, int64_t K, int64_t D)
{
    ts_op_case c = case_of(N, K, D);
    ts_built_case b;
    int64_t n;
    built_case_open(&b, &c, device, TS_F32, false);
    built_case_run(&b);
    double *ids = built_case_read(&b, b.y, &n);
    for (int64_t i = 0; i < N; i++) {
        const double *x = b.host[0] + i * D;
        cr_assert(ids[i] >= 0 && ids[i] < (double)K, "row %ld of %s", (long)i, device);
        double chosen = distance(x, b.host[1] + (int64_t)ids[i] * D, D), size = distance(x, (double[128]){0}, D);
        for (int64_t k = 0; k < K; k++)
            cr_assert_leq(chosen, distance(x, b.host[1] + k * D, D) + 4e-6 * (size + chosen + 1),
                          "row %ld of N %ld K %ld D %ld on %s: code %ld is nearer than %g", (long)i, (long)N, (long)K,
                          (long)D, device, (long)k, ids[i]);
    }
    free(ids);
    built_case_close(&b);
}

static void check_searches(void)
{
    static const int64_t codes[] = {1, 2, 15, 16, 17, 31, 47, 48, 49, 95, 96, 97, 131};
    for (size_t k = 0; k < sizeof codes / sizeof *codes; k++)
        check_search("cpu", 37, codes[k], 6);
    for (int64_t D = 1; D <= 67; D++)
        check_search("cpu", 11, 53, D);
    for (int64_t N = 1; N <= 34; N++)
        check_search("cpu", N, 50, 3);
    check_search("cpu", 5000, 100, 8); /* several threads, more than one block of rows in each */
    check_search("ref", 37, 49, 5);
    ts_op_case large = case_of(5000, 100, 8);
    expect_thread_independent(&large);
}

Test(autograd_nearest, against_brute_force)
{
    check_searches();
}

Test(autograd_nearest, against_brute_force_behind_a_screen)
{
    setenv("TESSERA_SCREEN", "always", 1);
    check_searches();
}

Test(autograd_nearest, against_brute_force_without_a_screen)
{
    setenv("TESSERA_SCREEN", "0", 1);
    check_search("cpu", 2000, 300, 40);
}

/* Codes are the integers 0..2 in every dim, each row of the book twice or more: distances are exact, so ties are ties.
 */
static void check_ties(const char *device)
{
    enum { N = 27, K = 150, D = 3 };
    ts_op_case c = case_of(N, K, D);
    ts_built_case b;
    int64_t n;
    built_case_open(&b, &c, device, TS_F32, false);
    for (int k = 0; k < K; k++)
        for (int d = 0, digits = k % 27; d < D; d++, digits /= 3)
            b.host[1][k * D + d] = digits % 3;
    for (int i = 0; i < N; i++)
        for (int d = 0; d < D; d++)
            b.host[0][i * D + d] = b.host[1][i * D + d];
    b.host[0][0] = 0.5; /* between codes 0 and 1 */
    built_case_run(&b);
    double *ids = built_case_read(&b, b.y, &n);
    for (int i = 0; i < N; i++)
        cr_assert_eq(ids[i], i, "row %d on %s gives %g", i, device, ids[i]);
    free(ids);
    built_case_close(&b);
}

Test(autograd_nearest, the_lowest_index_wins_a_tie)
{
    check_ties("ref");
    check_ties("cpu");
    setenv("TESSERA_SCREEN", "always", 1);
    check_ties("cpu");
}

static void check_nan(const char *device)
{
    enum { N = 20, K = 60, D = 4 };
    ts_op_case c = case_of(N, K, D);
    ts_built_case b;
    int64_t n;
    built_case_open(&b, &c, device, TS_F32, false);
    built_case_run(&b);
    double *before = built_case_read(&b, b.y, &n);
    b.host[0][7 * D + 2] = NAN;
    for (int d = 0; d < D; d++)
        b.host[1][(int)before[3] * D + d] = NAN; /* a broken code is never chosen */
    built_case_run(&b);
    double *ids = built_case_read(&b, b.y, &n);
    cr_assert_eq(ids[7], -1);
    cr_assert_neq(ids[3], before[3]);
    for (int i = 0; i < N; i++)
        cr_assert(i == 7 || before[i] == before[3] || ids[i] == before[i], "row %d on %s", i, device);
    free(before);
    free(ids);
    built_case_close(&b);
}

Test(autograd_nearest, nan_is_no_code)
{
    check_nan("ref");
    check_nan("cpu");
    setenv("TESSERA_SCREEN", "always", 1);
    check_nan("cpu");
}

Test(autograd_nearest, wrong_operands_are_named)
{
    EXPECT_BUILD_ERROR(nearest, "nearest", "f32 [5, 3] and the codebook f32 [7, 4]", F32(5, 3), F32(7, 4));
    EXPECT_BUILD_ERROR(nearest, "nearest", "codebook f32 [0, 3]", F32(5, 3), F32(0, 3));
    EXPECT_BUILD_ERROR(nearest, "nearest", "i32 [5, 3]", I32(5, 3), I32(7, 3));
}
