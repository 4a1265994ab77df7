/* The numbers of core/random.h: uniforms and indices to the bit, normals to 2 units in the last place. */
#include <criterion/criterion.h>
#include <math.h>

#include "core/random.h"
#include "tests/cuda/direct.h"

enum { N = 20003 };

/* How many floats lie between a and b; where the cosine of a right angle is 6e-17 and not 0, they count as equal. */
static int64_t apart(float a, float b)
{
    if (fabsf(a - b) < 1e-14f)
        return 0;
    return (int64_t)llabs((long long)((double)(a - b) / (double)(nextafterf(fabsf(b), INFINITY) - fabsf(b))));
}

static void put_seed(int k, void *x)
{
    (void)k;
    ((int64_t *)x)[0] = 42;
    ((int64_t *)x)[1] = (int64_t)5 << 33;
}

static direct_case drawn(ts_op op, ts_type out, int64_t below)
{
    direct_case c = DIRECT("draw", random_uniform, 0, out, I64(2));
    c.desc.op = op;
    c.desc.attr.random.stream = ts_random_stream("quantizer.noise");
    c.desc.attr.random.below = below;
    c.spoil = put_seed;
    return c;
}

Test(cuda_random, draws_are_those_of_core)
{
    const ts_random_key key = {42, ts_random_stream("quantizer.noise")};
    const uint64_t step = (uint64_t)5 << 33;
    const int64_t below = 2000000011;
    direct_case u = drawn(TS_OP_random_uniform, F(N), 0), n = drawn(TS_OP_random_normal, F(N), 0),
                i = drawn(TS_OP_random_index, I32(N), below);
    n.tolerance = 1e-6;
    direct_check(&u, 1);
    direct_check(&n, 1);
    direct_check(&i, 1);
    for (int shift = 0; shift < 2; shift++) {
        direct_result ru = direct_run(&u, "cuda", shift, 2, false), rn = direct_run(&n, "cuda", shift, 2, false),
                      ri = direct_run(&i, "cuda", shift, 2, false);
        for (uint64_t k = 0; k < N; k++) {
            cr_assert_eq(((float *)ru.out[0])[k], ts_random_uniform(key, step, k));
            cr_assert_eq((uint64_t)((int32_t *)ri.out[0])[k], ts_random_below(key, step, k, (uint64_t)below));
            float normal = ((float *)rn.out[0])[k], want = ts_random_normal(key, step, k);
            cr_assert_leq(apart(normal, want), 2, "normal %lu is %.9g, not %.9g", (unsigned long)k, normal, want);
        }
        direct_free(&u, &ru);
        direct_free(&n, &rn);
        direct_free(&i, &ri);
    }
}

Test(cuda_random, lengths)
{
    for (int64_t length = 0; length < 10; length++) {
        direct_case cases[] = {drawn(TS_OP_random_uniform, F(length), 0), drawn(TS_OP_random_index, I32(length), 7)};
        DIRECT_CHECK(cases);
    }
}
