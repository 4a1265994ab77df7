/* The search for the nearest code has a path for each instruction set, and a machine takes the widest that it has. Here
 * all that it has are taken: the kernel's source is part of this test, under another name. */
#pragma GCC diagnostic ignored "-Wunknown-pragmas" /* tests are built without OpenMP */
#define ts_cpu_nearest nearest_under_test
#include "core/cpu/nearest.c"

#include <criterion/criterion.h>
#include <stdlib.h>

#include "core/memory.h"
#include "core/random.h"

enum { N = 21, K = 100, D = 7 };

static int32_t brute_force(const float *x, const float *e)
{
    double least = INFINITY;
    int32_t id = -1;
    for (int k = 0; k < K; k++) {
        double sum = 0;
        for (int d = 0; d < D; d++)
            sum += ((double)x[d] - (double)e[k * D + d]) * ((double)x[d] - (double)e[k * D + d]);
        if (sum < least) {
            least = sum;
            id = k;
        }
    }
    return id;
}

static void check(sweep_fn *through, const char *name)
{
    float x[N * D], e[K * D];
    block_state *s = ts_alloc_aligned(sizeof *s);
    float *panel = ts_alloc_aligned((D + 1) * PANEL * sizeof *panel);
    ts_random_normals((ts_random_key){1, 1}, 0, 0, N * D, x);
    ts_random_normals((ts_random_key){1, 2}, 0, 0, K * D, e);
    x[3] = NAN;
    for (int n = 0; n < N; n++) {
        s->best[n] = (lanes){0} - INFINITY;
        s->code[n] = (lanes_i){0} - 1;
    }
    for (int32_t first = 0; first < K; first += PANEL) {
        pack(panel, e, K, D, first);
        through(s, x, panel, N, D, first);
    }
    for (int n = 0; n < N; n++)
        cr_assert_eq(meet(&s->best[n], &s->code[n]), n ? brute_force(x + n * D, e) : -1, "%s, row %d", name, n);
    ts_free_aligned(s, sizeof *s);
    ts_free_aligned(panel, (D + 1) * PANEL * sizeof *panel);
}

Test(core_cpu_nearest, every_instruction_set)
{
    check(sweep_baseline, "baseline");
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        check(sweep_avx2, "AVX2");
    if (pick_sweep() == sweep_avx512)
        check(sweep_avx512, "AVX-512");
#endif
}
