/* The screen before the search for the nearest code, by itself: with the instructions that the machine has for it, and
 * with plain loops. Its source is part of this test, under other names. */
#pragma GCC diagnostic ignored "-Wunknown-pragmas" /* tests are built without OpenMP */
#pragma GCC diagnostic ignored "-Wunused-parameter"
#define ts_screen_fits        fits_under_test
#define ts_screen_bytes       bytes_under_test
#define ts_screen_block_bytes block_bytes_under_test
#define ts_screen_codes       codes_under_test
#define ts_screen_search      search_under_test
#include "core/cpu/screen.c"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/memory.h"
#include "core/random.h"

typedef struct {
    int64_t N, K, D;
    float *x, *e;
} data;

static data normals(int64_t N, int64_t K, int64_t D, float centre)
{
    data d = {N, K, D, malloc((size_t)(N * D) * sizeof(float)), malloc((size_t)(K * D) * sizeof(float))};
    ts_random_normals((ts_random_key){1, 1}, 0, 0, (uint64_t)(N * D), d.x);
    ts_random_normals((ts_random_key){1, 2}, 0, 0, (uint64_t)(K * D), d.e);
    for (int64_t i = 0; i < N * D; i++)
        d.x[i] += centre;
    for (int64_t i = 0; i < K * D; i++)
        d.e[i] += centre;
    return d;
}

static void free_data(data *d)
{
    free(d->x), free(d->e);
}

static bool search_by(sweep_fn *through, const data *d, int32_t *ids, double *left)
{
    ts_screen s;
    void *scratch = ts_alloc_aligned(ts_screen_bytes(d->K, d->D)),
         *room = ts_alloc_aligned(ts_screen_block_bytes(d->D));
    bool good = ts_screen_codes(&s, d->e, d->K, d->D, d->x, d->N, scratch, 1) &&
                search_with(through, &s, ids, d->x, d->e, d->N, room);
    *left = 0;
    for (int64_t n = 0; n < d->N && good; n++)
        *left += (double)((block *)room)->tokens[n].count / (double)d->N;
    ts_free_aligned(scratch, ts_screen_bytes(d->K, d->D));
    ts_free_aligned(room, ts_screen_block_bytes(d->D));
    return good;
}

static double square(const float *x, const float *e, int64_t D)
{
    double sum = 0;
    for (int64_t i = 0; i < D; i++)
        sum += ((double)x[i] - (double)e[i]) * ((double)x[i] - (double)e[i]);
    return sum;
}

/* Whether no code is nearer than the chosen one by more than a sum in f32 can tell, and which of the equal ones it is.
 */
static void expect_nearest(const data *d, const int32_t *ids, const char *name)
{
    for (int64_t n = 0; n < d->N; n++) {
        const float *x = d->x + n * d->D;
        cr_assert(ids[n] >= 0 && ids[n] < d->K, "%s: row %ld has id %d", name, (long)n, ids[n]);
        const double chosen = square(x, d->e + ids[n] * d->D, d->D);
        for (int64_t k = 0; k < d->K; k++) {
            const double other = square(x, d->e + k * d->D, d->D);
            cr_assert_leq(chosen, other * (1 + 1e-6 * sqrt((double)d->D)), "%s: row %ld: %d at %g, %ld at %g", name,
                          (long)n, ids[n], chosen, (long)k, other);
            cr_assert(k >= ids[n] || memcmp(d->e + k * d->D, d->e + ids[n] * d->D, (size_t)d->D * sizeof *x) != 0,
                      "%s: row %ld: %d and not its double %ld", name, (long)n, ids[n], (long)k);
        }
    }
}

/* By every path; the mean number of codes that are left to a token. */
static double expect_search(const data *d, const char *name)
{
    int32_t ids[TS_SCREEN_ROWS], again[TS_SCREEN_ROWS];
    double left, left_again;
    cr_assert(search_by(sweep_plain, d, ids, &left), "%s", name);
    expect_nearest(d, ids, name);
    cr_assert(search_by(pick_sweep(), d, again, &left_again), "%s", name);
    cr_expect_arr_eq(ids, again, (size_t)d->N * sizeof *ids, "%s", name);
    cr_expect_float_eq(left, left_again, 0.1 * left, "%s: %g and %g", name, left, left_again);
    return left;
}

Test(core_cpu_screen, of_every_shape)
{
    static const int64_t shapes[][3] = {{1, 1, 1},    {3, 2, 5},     {7, 47, 4},    {8, 48, 8},     {9, 49, 31},
                                        {255, 96, 3}, {256, 97, 64}, {33, 200, 65}, {16, 300, 130}, {100, 1000, 16}};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        data d = normals(shapes[i][0], shapes[i][1], shapes[i][2], 0);
        char name[64];
        snprintf(name, sizeof name, "N %ld K %ld D %ld", (long)d.N, (long)d.K, (long)d.D);
        expect_search(&d, name);
        free_data(&d);
    }
}

Test(core_cpu_screen, leaves_few)
{
    data d = normals(128, 1024, 64, 0);
    cr_expect_lt(expect_search(&d, "normals"), 8);
    free_data(&d);
}

/* All that a codebook in training can look like. */
Test(core_cpu_screen, of_codes_of_all_sizes)
{
    data far = normals(64, 200, 24, 0), flat = normals(64, 60, 24, 0), away = normals(64, 200, 24, 100),
         small = normals(64, 100, 24, 0), twice = normals(64, 100, 24, 0), zero = normals(64, 40, 24, 0);
    for (int64_t i = 0; i < 200 * 24; i++) /* every third code far out, as moving averages leave what is not used */
        far.e[i] *= i / 24 % 3 == 0 ? 1e6f : 1;
    for (int64_t i = 0; i < 60 * 24; i++) /* collapsed: all but the same */
        flat.e[i] = 1 + 1e-3f * flat.e[i];
    for (int64_t i = 0; i < 100 * 24; i++)
        small.e[i] *= 1e-4f;
    memcpy(twice.e + 50 * 24, twice.e, 50 * 24 * sizeof(float));
    memset(zero.e, 0, 40 * 24 * sizeof(float));
    cr_expect_lt(expect_search(&far, "far"), 15);
    expect_search(&flat, "collapsed");
    expect_search(&away, "away from 0");
    cr_expect_lt(expect_search(&small, "small"), 15);
    expect_search(&twice, "twice the same");
    cr_expect_eq(expect_search(&zero, "zeros"), 40);
    data *all[] = {&far, &flat, &away, &small, &twice, &zero};
    for (int i = 0; i < 6; i++)
        free_data(all[i]);
}

/* Tokens that are codes, and tokens halfway between two. */
Test(core_cpu_screen, of_tokens_on_codes_and_between)
{
    data d = normals(200, 100, 20, 0);
    for (int64_t n = 0; n < 200; n++)
        for (int64_t i = 0; i < 20; i++)
            d.x[n * 20 + i] = n < 100 ? d.e[n * 20 + i] : (d.e[(n - 100) * 20 + i] + d.e[(n - 99) % 100 * 20 + i]) / 2;
    int32_t ids[TS_SCREEN_ROWS];
    double left;
    expect_search(&d, "on codes and between");
    cr_assert(search_by(pick_sweep(), &d, ids, &left));
    for (int n = 0; n < 100; n++)
        cr_expect_eq(ids[n], n);
    free_data(&d);
}

/* What it cannot do it says, and leaves the ids alone. */
Test(core_cpu_screen, says_what_it_cannot_do)
{
    static const float wrong[] = {NAN, INFINITY, -INFINITY, 1e30f};
    for (int i = 0; i < 9; i++) {
        data d = normals(20, 300, 8, 0);
        int32_t ids[TS_SCREEN_ROWS] = {-5};
        double left;
        if (i < 8)
            (i < 4 ? d.x + 100 : d.e + 1001)[0] = wrong[i % 4];
        for (int64_t j = 0; j < 300 * 8 && i == 8; j++)
            d.e[j] = 1; /* each as near as any, and more of them than are chosen among */
        cr_expect(!search_by(sweep_plain, &d, ids, &left), "case %d", i);
        cr_expect(!search_by(pick_sweep(), &d, ids, &left), "case %d", i);
        cr_expect_eq(ids[0], -5);
        free_data(&d);
    }
}

Test(core_cpu_screen, is_taken_where_it_pays)
{
    unsetenv("TESSERA_SCREEN");
    cr_expect_eq(ts_screen_fits(16384, 512, 64), has_vnni());
    cr_expect(!ts_screen_fits(16, 512, 64) && !ts_screen_fits(16384, 16, 64) && !ts_screen_fits(16384, 512, 4));
    setenv("TESSERA_SCREEN", "always", 1);
    cr_expect(ts_screen_fits(1, 1, 1) && ts_screen_fits(1, 1, MOST_DIMS));
    cr_expect(!ts_screen_fits(1, 1, MOST_DIMS + 1) && !ts_screen_fits(0, 1, 1));
    setenv("TESSERA_SCREEN", "0", 1);
    cr_expect(!ts_screen_fits(16384, 512, 64));
}
