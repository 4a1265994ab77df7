/* The CUDA search for the nearest code against a plain loop in double, on shapes that reach each way through
 * core/cuda/nearest.cu: tiles of 32, 64 and 128 rows, codes in shares, D below, at and above a slice, aligned or not.
 */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>

#include "autograd/nearest.h"
#include "autograd/program.h"
#include "tests/support/op_check.h"

static ts_value nearest(const ts_value *in)
{
    return ts_nearest(in[0], in[1]);
}

static void open_case(ts_built_case *b, int64_t N, int64_t K, int64_t D)
{
    ts_op_case c = {.label = "search",
                    .in_count = 2,
                    .in = {{.dtype = TS_F32, .shape = {2, {N, D}}}, {.dtype = TS_F32, .shape = {2, {K, D}}}},
                    .build = nearest};
    setenv("TESSERA_CUDA_MODULE", TESSERA_CUDA_EMULATED, 0);
    built_case_open(b, &c, "cuda", TS_F32, false);
}

/* |e|^2 - 2 x.e, as the reference has it */
static double score(const double *x, const double *e, int64_t D)
{
    double sum = 0;
    for (int64_t d = 0; d < D; d++)
        sum += e[d] * e[d] - 2 * x[d] * e[d];
    return sum;
}

/* The lowest code of the least score; -1 where no score is a number. */
static int64_t plain_search(const double *x, const double *codebook, int64_t K, int64_t D)
{
    double best = INFINITY;
    int64_t id = -1;
    for (int64_t k = 0; k < K; k++) {
        double s = score(x, codebook + k * D, D);
        if (s < best) {
            best = s;
            id = k;
        }
    }
    return id;
}

/* Runs, and asserts that each id is the plain loop's, or so near to it that f32 cannot tell; gives how many of these.
 */
static int check(ts_built_case *b, int64_t N, int64_t K, int64_t D)
{
    int64_t n;
    int ties = 0;
    built_case_run(b);
    double *ids = built_case_read(b, b->y, &n);
    for (int64_t i = 0; i < N; i++) {
        const double *x = b->host[0] + i * D, *codebook = b->host[1];
        int64_t expected = plain_search(x, codebook, K, D), id = (int64_t)ids[i];
        if (id == expected)
            continue;
        cr_assert(id >= 0 && id < K && expected >= 0, "row %ld: %ld instead of %ld", (long)i, (long)id, (long)expected);
        double least = score(x, codebook + expected * D, D), chosen = score(x, codebook + id * D, D);
        cr_assert_leq(chosen - least, 1e-6 * (double)(D + 1), "N %ld K %ld D %ld, row %ld: code %ld instead of %ld",
                      (long)N, (long)K, (long)D, (long)i, (long)id, (long)expected);
        ties++;
    }
    free(ids);
    return ties;
}

static const int64_t shapes[][3] = {
    /* N, K, D: tiles of 32 */
    {1, 1, 1},
    {1, 31, 3},
    {31, 32, 7},
    {32, 33, 8},
    {33, 65, 9},
    {40, 97, 12},
    {2, 5, 130},
    {3, 4001, 2},
    {1, 70001, 1},
    {2, 1 << 20, 3}, /* a million codes */
    /* of 64 */
    {6145, 70, 3},
    {257, 10000, 4},
    {100, 24700, 1},
    /* of 128 */
    {129, 50000, 4},
    {24500, 130, 2},
};

Test(cuda_nearest, agrees_with_a_plain_loop)
{
    int rows = 0, ties = 0;
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        int64_t N = shapes[i][0], K = shapes[i][1], D = shapes[i][2];
        ts_built_case b;
        open_case(&b, N, K, D);
        ties += check(&b, N, K, D);
        rows += (int)N;
        built_case_close(&b);
    }
    cr_log_info("cuda: %d rows, %d of them differ at a numerical tie", rows, ties);
    cr_assert_geq(rows, 30000);
    cr_assert_leq(ties, rows / 100);
}

/* The distances of all tokens to all codes are never in memory: operands and partial results are far less. */
Test(cuda_nearest, no_tokens_times_codes_matrix)
{
    enum { N = 512, K = 1 << 20, D = 4 };
    ts_built_case b;
    open_case(&b, N, K, D);
    size_t used = ts_program_plan(b.program)->arena_bytes;
    cr_assert_lt((double)used, (double)N * K * sizeof(float) / 50, "%zu bytes", used);
    built_case_close(&b);
}

/* Codes are integers, so that sums are exact: code k is code k % 27 again, in other lanes, tiles and shares. */
Test(cuda_nearest, the_lowest_index_wins_a_tie)
{
    static const int64_t sizes[][2] = {{27, 27 * 5}, {27, 27 * 700}, {2000, 27 * 100}, {6200, 27 * 10}};
    enum { D = 3 };
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        int64_t N = sizes[s][0], K = sizes[s][1], n;
        ts_built_case b;
        open_case(&b, N, K, D);
        for (int64_t k = 0; k < K * D; k++)
            b.host[1][k] = (double)(k / D % 27 / (k % D == 0 ? 1 : k % D == 1 ? 3 : 9) % 3);
        for (int64_t i = 0; i < N * D; i++)
            b.host[0][i] = b.host[1][i % (27 * D)];
        b.host[0][0] = 0.5; /* between codes 0 and 1 */
        built_case_run(&b);
        double *ids = built_case_read(&b, b.y, &n);
        for (int64_t i = 0; i < N; i++)
            cr_assert_eq(ids[i], (double)(i % 27), "row %ld of %ld gives %g", (long)i, (long)N, ids[i]);
        free(ids);
        built_case_close(&b);
    }
}

Test(cuda_nearest, nan_is_no_code)
{
    static const int64_t sizes[][2] = {{20, 60}, {20, 3000}, {200, 13000}};
    enum { D = 4 };
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        int64_t N = sizes[s][0], K = sizes[s][1], n;
        ts_built_case b;
        open_case(&b, N, K, D);
        b.host[0][7 * D + 2] = NAN;
        b.host[0][9 * D] = INFINITY;
        for (int64_t k = 0; k < K; k += 3)
            b.host[1][k * D + k / 3 % D] = NAN; /* a broken code is never chosen */
        check(&b, N, K, D);
        double *ids = built_case_read(&b, b.y, &n);
        cr_assert_eq(ids[7], -1);
        for (int64_t i = 0; i < N; i++)
            cr_assert(i == 7 || (ids[i] >= 0 && (int64_t)ids[i] % 3 != 0), "row %ld gives %g", (long)i, ids[i]);
        for (int64_t k = 0; k < K; k++)
            b.host[1][k * D] = NAN;
        built_case_run(&b);
        free(ids);
        ids = built_case_read(&b, b.y, &n);
        for (int64_t i = 0; i < N; i++)
            cr_assert_eq(ids[i], -1);
        free(ids);
        built_case_close(&b);
    }
}

Test(cuda_nearest, gives_the_same_bits_again)
{
    ts_op_case c = TS_CASE("search", nearest, TS_NORMAL(300, 5), TS_NORMAL(5000, 5));
    setenv("TESSERA_CUDA_MODULE", TESSERA_CUDA_EMULATED, 0);
    expect_repeatable(&c, "cuda", false);
}
