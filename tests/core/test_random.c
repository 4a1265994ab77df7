#include "core/random.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdbool.h>

/* Known answers published with the Random123 library (kat_vectors, philox4x32, 10 rounds). */
Test(core_random, philox_known_answers)
{
    ts_philox_block zero = ts_philox((ts_philox_block){{0, 0, 0, 0}}, (ts_philox_key){{0, 0}});
    uint32_t want0[4] = {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8};
    ts_philox_block pi = ts_philox((ts_philox_block){{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}},
                                   (ts_philox_key){{0xa4093822, 0x299f31d0}});
    uint32_t want1[4] = {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1};
    for (int i = 0; i < 4; i++) {
        cr_assert_eq(zero.word[i], want0[i]);
        cr_assert_eq(pi.word[i], want1[i]);
    }
}

Test(core_random, moments)
{
    enum { N = 200000 };
    ts_random_key key = {7, ts_random_stream("encoder.conv1")};
    double u = 0, n = 0, n2 = 0;
    for (uint64_t i = 0; i < N; i++) {
        u += ts_random_uniform(key, 3, i);
        double x = ts_random_normal(key, 3, i);
        n += x;
        n2 += x * x;
    }
    cr_assert_float_eq(u / N, 0.5, 0.003);
    cr_assert_float_eq(n / N, 0.0, 0.01);
    cr_assert_float_eq(n2 / N, 1.0, 0.015);
}

Test(core_random, permutation_is_one_and_depends_on_step)
{
    enum { N = 1000 };
    int64_t a[N], b[N], differ = 0;
    bool seen[N] = {0};
    ts_random_key key = {1, 2};
    ts_random_permutation(key, 0, N, a);
    ts_random_permutation(key, 1, N, b);
    for (int i = 0; i < N; i++) {
        cr_assert(a[i] >= 0 && a[i] < N && !seen[a[i]]);
        seen[a[i]] = true;
        differ += a[i] != b[i];
    }
    cr_assert_gt(differ, N / 2);
}

Test(core_random, runs_are_the_elements)
{
    enum { N = 23 };
    ts_random_key key = {5, 6};
    for (uint64_t first = 0; first < 6; first++)
        for (uint64_t n = 0; n < 10; n++) {
            float u[N], z[N];
            for (int i = 0; i < N; i++)
                u[i] = z[i] = -99;
            ts_random_uniforms(key, 1, first, n, u);
            ts_random_normals(key, 1, first, n, z);
            for (uint64_t i = 0; i < N; i++) {
                cr_assert_eq(u[i], i < n ? ts_random_uniform(key, 1, first + i) : -99);
                cr_assert_eq(z[i], i < n ? ts_random_normal(key, 1, first + i) : -99);
            }
        }
}
