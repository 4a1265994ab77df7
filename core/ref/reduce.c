#include <math.h>
#include <stdbool.h>
#include <stdint.h>

#include "core/device.h"
#include "core/ref/ref.h"

/* Where element i of `from` goes in the result, whose reduced axes have size 1. */
static int64_t target_of(ts_shape from, ts_shape to, int64_t i)
{
    int64_t offset = 0, stride = 1;
    for (int axis = from.rank - 1; axis >= 0; axis--) {
        int64_t at = i % from.dim[axis];
        i /= from.dim[axis];
        if (to.dim[axis] != 1)
            offset += at * stride;
        stride *= to.dim[axis];
    }
    return offset;
}

/* Is the last axis the only one that is reduced? Then the elements of a result lie side by side. */
static bool is_by_rows(ts_shape from, ts_shape to)
{
    for (int axis = 0; axis < from.rank - 1; axis++)
        if (from.dim[axis] != to.dim[axis])
            return false;
    return from.rank > 0;
}

/* Each result in double, over its elements in order: result j is met again and again, so the loop runs over results. */
static void reduce(const ts_call *call, double start, double (*combine)(double, double))
{
    ts_shape from = call->desc->in[0].shape, to = call->desc->out[0].shape;
    const real *x = call->in[0];
    real *y = call->out[0];
    int64_t n = ts_shape_count(from), m = ts_shape_count(to);
    bool by_rows = is_by_rows(from, to);
    for (int64_t j = 0; j < m; j++) {
        double total = start;
        if (m == 1 || by_rows) {
            for (int64_t i = j * (n / m); i < (j + 1) * (n / m); i++)
                total = combine(total, (double)x[i]);
        } else {
            for (int64_t i = 0; i < n; i++)
                if (target_of(from, to, i) == j)
                    total = combine(total, (double)x[i]);
        }
        y[j] = (real)total;
    }
}

static double add(double a, double b)
{
    return a + b;
}

static double larger(double a, double b)
{
    return isnan(b) || b > a ? b : a;
}

void REF(sum)(const ts_call *call)
{
    reduce(call, 0, add);
}

void REF(amax)(const ts_call *call)
{
    reduce(call, -INFINITY, larger);
}

void REF(broadcast)(const ts_call *call)
{
    ts_shape from = call->desc->in[0].shape, to = call->desc->out[0].shape, padded = to;
    for (int i = 0; i < to.rank; i++) /* the same rank, with 1 in front */
        padded.dim[i] = i < to.rank - from.rank ? 1 : from.dim[i - (to.rank - from.rank)];
    const real *x = call->in[0];
    real *y = call->out[0];
    int64_t n = ts_shape_count(to);
    for (int64_t i = 0; i < n; i++)
        y[i] = x[target_of(to, padded, i)];
}

/* x, y [outer, length, inner] */
static void cumsum(real *y, const real *x, int64_t outer, int64_t length, int64_t inner, bool reverse)
{
    for (int64_t o = 0; o < outer; o++)
        for (int64_t c = 0; c < inner; c++) {
            double total = 0;
            for (int64_t t = 0; t < length; t++) {
                int64_t i = (o * length + (reverse ? length - 1 - t : t)) * inner + c;
                total += (double)x[i];
                y[i] = (real)total;
            }
        }
}

void REF(cumsum)(const ts_call *call)
{
    ts_shape shape = call->desc->in[0].shape;
    int axis = call->desc->attr.axis.axis;
    int64_t outer = 1, inner = 1;
    for (int i = 0; i < shape.rank; i++) {
        if (i < axis)
            outer *= shape.dim[i];
        else if (i > axis)
            inner *= shape.dim[i];
    }
    cumsum(call->out[0], call->in[0], outer, shape.dim[axis], inner, call->desc->attr.axis.reverse);
}

void REF(all_finite)(const ts_call *call)
{
    bool finite = true;
    for (int k = 0; k < call->desc->in_count; k++) {
        const real *x = call->in[k];
        int64_t n = ts_shape_count(call->desc->in[k].shape);
        for (int64_t i = 0; i < n; i++)
            finite &= isfinite(x[i]) != 0;
    }
    *(real *)call->out[0] = finite ? 1 : 0;
}
