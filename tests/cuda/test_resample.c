/* Pools whose windows overlap, leave gaps or reach into the padding; by four channels and one by one. */
#include <criterion/criterion.h>
#include <math.h>

#include "tests/cuda/direct.h"

typedef struct {
    int64_t size[2], stride[2], pad[2];
} window;

static const window halves = {{2, 2}, {2, 2}, {0, 0}}, overlap = {{3, 2}, {2, 1}, {1, 1}},
                    gaps = {{2, 1}, {3, 2}, {0, 0}}, far = {{2, 2}, {(int64_t)1 << 40, (int64_t)1 << 40}, {0, 0}};

static direct_case over(direct_case c, const window *w)
{
    for (int i = 0; i < 2; i++) {
        c.desc.attr.pool.size[i] = w->size[i];
        c.desc.attr.pool.stride[i] = w->stride[i];
        c.desc.attr.pool.pad[i] = w->pad[i];
    }
    return c;
}

static int64_t pooled(int64_t size, const window *w, int axis)
{
    return (size + 2 * w->pad[axis] - w->size[axis]) / w->stride[axis] + 1;
}

static void check_pools(const window *w, int64_t H, int64_t W, int64_t C)
{
    const int64_t P = pooled(H, w, 0), Q = pooled(W, w, 1);
    direct_case mean = DIRECT("mean", avg_pool, 1e-6, F(3, P, Q, C), F(3, H, W, C));
    direct_case mean_dx = DIRECT("mean, gradient", avg_pool_dx, 1e-6, F(3, H, W, C), F(3, P, Q, C));
    direct_case max = DIRECT("max", max_pool, 0, F(3, P, Q, C), F(3, H, W, C));
    max.desc.out_count = 2;
    max.desc.out[1] = I32(3, P, Q, C);
    direct_case cases[] = {over(mean, w), over(mean_dx, w), over(max, w)};
    DIRECT_CHECK(cases);
}

Test(cuda_resample, pools)
{
    check_pools(&halves, 16, 18, 20);
    check_pools(&halves, 7, 5, 3);
    check_pools(&overlap, 9, 8, 8);
    check_pools(&overlap, 9, 8, 5);
    check_pools(&gaps, 11, 9, 4);
    check_pools(&far, 5, 6, 4);
}

static direct_case wherever; /* the case whose second operand is the first pass's places */

static void put_places(int k, void *x)
{
    if (k != 1)
        return;
    direct_result r = direct_run(&wherever, "ref", 0, 1, false);
    const int32_t *where = r.out[1];
    for (int64_t i = 0; i < ts_shape_count(wherever.desc.out[1].shape); i++)
        ((int32_t *)x)[i] = where[i];
    direct_free(&wherever, &r);
}

static void check_max_dx(const window *w, int64_t C)
{
    const int64_t P = pooled(12, w, 0), Q = pooled(11, w, 1);
    wherever = over((direct_case)DIRECT("max", max_pool, 0, F(2, P, Q, C), F(2, 12, 11, C)), w);
    wherever.desc.out_count = 2;
    wherever.desc.out[1] = I32(2, P, Q, C);
    direct_case c =
        over((direct_case)DIRECT("gradient", max_pool_dx, 1e-6, F(2, 12, 11, C), F(2, P, Q, C), I32(2, P, Q, C)), w);
    c.spoil = put_places;
    direct_check(&c, 1);
}

Test(cuda_resample, gradient_of_the_greatest)
{
    check_max_dx(&halves, 8);
    check_max_dx(&halves, 3);
    check_max_dx(&overlap, 12);
    check_max_dx(&overlap, 5);
    check_max_dx(&gaps, 4);
}

static void put_nans(int k, void *x)
{
    (void)k;
    for (int i = 0; i < 5 * 6 * 4; i += 7)
        ((float *)x)[i] = i % 2 ? NAN : -INFINITY;
}

Test(cuda_resample, a_nan_is_the_greatest)
{
    direct_case c = over((direct_case)DIRECT("NaN", max_pool, 0, F(1, 2, 3, 4), F(1, 5, 6, 4)), &halves);
    c.desc.out_count = 2;
    c.desc.out[1] = I32(1, 2, 3, 4);
    c.spoil = put_nans;
    direct_check(&c, 1);
}

Test(cuda_resample, upsampling)
{
    const window by2 = {{2, 2}, {0, 0}, {0, 0}}, by3 = {{1, 3}, {0, 0}, {0, 0}};
    const direct_case cases[] = {
        over((direct_case)DIRECT("by 2", upsample_nearest, 0, F(3, 14, 10, 16), F(3, 7, 5, 16)), &by2),
        over((direct_case)DIRECT("by 1 and 3", upsample_nearest, 0, F(3, 7, 15, 5), F(3, 7, 5, 5)), &by3),
        over((direct_case)DIRECT("by 2, gradient", upsample_nearest_dx, 1e-6, F(3, 7, 5, 16), F(3, 14, 10, 16)), &by2),
        over((direct_case)DIRECT("by 1 and 3, gradient", upsample_nearest_dx, 1e-6, F(3, 7, 5, 5), F(3, 7, 15, 5)),
             &by3),
    };
    DIRECT_CHECK(cases);
}
