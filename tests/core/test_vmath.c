#include "core/cpu/vmath.h"

#include <criterion/criterion.h>
#include <float.h>
#include <math.h>
#include <stdbool.h>

/* In units in the last place of the true value. */
static double ulps(float y, double want)
{
    int exponent;
    frexp(want, &exponent);
    return fabs((double)y - want) / ldexp(1, (exponent < -125 ? -125 : exponent) - 24);
}

/* The largest error over every 1021st float of both signs; infinity where one is finite and the other is not. */
static double worst(float (*f)(float), double (*truth)(double))
{
    double most = 0;
    for (uint64_t bits = 0; bits < 1ull << 32; bits += 1021) {
        float x = ts_float_of((uint32_t)bits), y = f(x);
        double want = truth(x);
        bool none = isnan(want), infinite = isinf(want) || fabs(want) > FLT_MAX;
        if (none != (bool)isnan(y) || (!infinite != (bool)isfinite(y) && !none))
            return INFINITY;
        if (!none && !infinite)
            most = fmax(most, ulps(y, want));
    }
    return most;
}

Test(core_vmath, errors_are_as_stated)
{
    cr_assert_leq(worst(ts_vexp, exp), 1.1);
    cr_assert_leq(worst(ts_vtanh, tanh), 1.6);
    cr_assert_leq(worst(ts_vlog, log), 0.9);
}

static double derivative_of_tanh(double x)
{
    return fabs(x) > 43 ? 0 : 1 / (cosh(x) * cosh(x));
}

Test(core_vmath, the_derivative_of_tanh_is_as_stated)
{
    cr_assert_leq(worst(ts_vsech2, derivative_of_tanh), 4.5);
}

/* In units of what is stated: 2e-7 of all, and while it is no denormal 6 (1 + x^2 / 2) units in the last place. */
Test(core_vmath, errors_of_the_normal_distribution_are_as_stated)
{
    double most = 0;
    int small = 0;
    for (uint64_t bits = 0; bits < 1ull << 32; bits += 1021) {
        const float x = ts_float_of((uint32_t)bits);
        float e;
        const double y = (double)ts_vnormal(x, &e), want = 0.5 * erfc(-(double)x * sqrt(0.5)),
                     half = 0.5 * (double)x * (double)x;
        cr_assert_eq(isnan(x), isnan(y), "at %g: %g", (double)x, y);
        if (isnan(x))
            continue;
        most = fmax(most, fabs(y - want) / 2e-7);
        if (want < FLT_MIN)
            continue;
        small += want < 0.01;
        most = fmax(most, ulps((float)y, want) / (6 * (1 + half)));
        cr_assert_leq(fabs((double)e - exp(-half)), 2e-7, "at %g: %g", (double)x, (double)e);
    }
    cr_assert_leq(most, 1);
    cr_assert_geq(small, 1000);
}

Test(core_vmath, limits)
{
    cr_assert_eq(ts_vexp(-INFINITY), 0);
    cr_assert_eq(ts_vexp(INFINITY), INFINITY);
    cr_assert_eq(ts_vtanh(INFINITY), 1);
    cr_assert_eq(ts_vtanh(-INFINITY), -1);
    cr_assert(signbit(ts_vtanh(-0.0f)));
    float e;
    cr_assert_eq(ts_vnormal(-INFINITY, &e), 0);
    cr_assert_eq(ts_vnormal(INFINITY, &e), 1);
    cr_assert_eq(e, 0);
    cr_assert_eq(ts_vnormal(0, &e), 0.5);
    cr_assert_eq(ts_vlog(0), -INFINITY);
    cr_assert_eq(ts_vlog(INFINITY), INFINITY);
    cr_assert(isnan(ts_vlog(-1)));
}
