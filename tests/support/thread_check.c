#include "tests/support/thread_check.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/op_check.h"

static void expect_same(ts_built_case *one, ts_built_case *other, ts_value a, ts_value b, const char *what)
{
    if (!ts_present(a))
        return;
    int64_t n, m;
    double *x = built_case_read(one, a, &n), *y = built_case_read(other, b, &m);
    cr_assert(n == m && n > 0 && memcmp(x, y, (size_t)n * sizeof *x) == 0, "%s: %d threads give other bits than one",
              what, other->device->threads);
    free(x);
    free(y);
}

void expect_thread_independent(const ts_op_case *c)
{
    ts_built_case one, other;
    built_case_open(&one, c, "cpu", TS_F32, true);
    one.device->threads = 1;
    built_case_run(&one);
    for (int threads = 2; threads <= 5; threads++) {
        built_case_open(&other, c, "cpu", TS_F32, true);
        other.device->threads = threads;
        built_case_run(&other);
        expect_same(&one, &other, one.y, other.y, c->label);
        for (int k = 0; k < one.in_count; k++)
            expect_same(&one, &other, one.gradient[k], other.gradient[k], c->label);
        built_case_close(&other);
    }
    built_case_close(&one);
}
