#include "autograd/surrogate.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>

#include "autograd/elementwise.h"
#include "tests/support/build_error.h"
#include "tests/support/op_check.h"

static ts_value rounded(const ts_value *in)
{
    return ts_round(in[0]);
}

static ts_value floored(const ts_value *in)
{
    return ts_floor(in[0]);
}

static ts_value sign(const ts_value *in)
{
    return ts_sign(in[0]);
}

static ts_value round_through(const ts_value *in)
{
    return ts_straight_through(ts_round(in[0]), in[1]);
}

static ts_value stopped(const ts_value *in)
{
    return ts_mul(ts_stop_gradient(in[0]), in[0]);
}

TS_CASES(round) = {TS_CASE("plain", rounded, TS_APART(3, 7)), {0}};
TS_CASES(floor) = {TS_CASE("plain", floored, TS_APART(3, 7)), {0}};
TS_CASES(sign) = {TS_CASE("plain", sign, TS_APART(3, 7)), {0}};
TS_CASES(straight_through) = {TS_CASE("round", round_through, TS_APART(5), TS_NORMAL(5)), {0}};
TS_CASES(stop_gradient) = {TS_CASE("one factor", stopped, TS_NORMAL(5)), {0}};

static double *run(ts_built_case *b, const ts_op_case *c, const double *x, int n)
{
    int64_t count;
    built_case_open(b, c, "ref", TS_F32, true);
    for (int i = 0; i < n; i++)
        b->host[0][i] = x[i];
    built_case_run(b);
    return built_case_read(b, b->y, &count);
}

/* f(x) = want, and no gradient. */
static void expect(ts_value (*f)(const ts_value *), int n, const double *x, const double *want)
{
    ts_op_case c = {.label = "values", .in_count = 1, .in = {{.dtype = TS_F32, .shape = {1, {n}}}}, .build = f};
    ts_built_case b;
    double *y = run(&b, &c, x, n);
    for (int i = 0; i < n; i++)
        cr_assert(y[i] == want[i] || (isnan(y[i]) && isnan(want[i])), "%g gives %g, not %g", x[i], y[i], want[i]);
    cr_assert_not(ts_present(b.gradient[0]));
    free(y);
    built_case_close(&b);
}

Test(autograd_surrogate, values)
{
    double x[] = {-2.5, -1.5, -0.5, 0.5, 1.5, 2.5, 0, NAN, INFINITY};
    expect(rounded, 9, x, (double[]){-2, -2, 0, 0, 2, 2, 0, NAN, INFINITY});
    expect(floored, 9, x, (double[]){-3, -2, -1, 0, 1, 2, 0, NAN, INFINITY});
    expect(sign, 9, x, (double[]){-1, -1, -1, 1, 1, 1, 0, NAN, 1});
}

/* y = round(a) to the last bit; the gradient goes to b whole, to a not at all. */
Test(autograd_surrogate, straight_through)
{
    ts_built_case b, plain;
    int64_t n;
    built_case_open(&b, ts_cases_straight_through, "ref", TS_F32, true);
    built_case_run(&b);
    ts_op_case identity = TS_CASE("identity", stopped, TS_NORMAL(5));
    built_case_open(&plain, &identity, "ref", TS_F32, true); /* d/dx of sg(x) * x is x, weighted by the same r */
    built_case_run(&plain);
    double *y = built_case_read(&b, b.y, &n), *db = built_case_read(&b, b.gradient[1], &n);
    double *weighted = built_case_read(&plain, plain.gradient[0], &n);
    cr_assert_not(ts_present(b.gradient[0]));
    for (int i = 0; i < 5; i++) {
        cr_assert_eq(y[i], rint(b.host[0][i]));
        cr_assert_float_eq(db[i] * plain.host[0][i], weighted[i], 1e-6);
    }
    free(y);
    free(db);
    free(weighted);
    built_case_close(&b);
    built_case_close(&plain);
}

static ts_value through(const ts_value *in)
{
    return ts_straight_through(in[0], in[1]);
}

Test(autograd_surrogate, wrong_operands_are_named)
{
    EXPECT_BUILD_ERROR(rounded, "round", "i32 [3]", I32(3));
    EXPECT_BUILD_ERROR(through, "straight_through", "f32 [3], the one that takes the gradient f32 [4]", F32(3), F32(4));
    EXPECT_BUILD_ERROR(through, "straight_through", "i32 [3]", F32(3), I32(3));
}
