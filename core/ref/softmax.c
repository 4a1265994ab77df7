/* Softmax and unit length, over the last axis; a row is shifted by its maximum first, so exp never overflows. All but
 * l2_normalize may run in place: a row's sums are taken before the row is written. */
#include <math.h>

#include "core/op.h"
#include "core/ref/ref.h"

typedef struct {
    int64_t count, C;
} rows;

static rows rows_of(const ts_type *t)
{
    int64_t C = t->shape.dim[t->shape.rank - 1];
    return (rows){ts_shape_count(t->shape) / C, C};
}

static double row_max(const real *x, int64_t C)
{
    double max = -INFINITY;
    for (int64_t c = 0; c < C; c++)
        max = x[c] > max ? x[c] : max;
    return max;
}

static double row_dot(const real *a, const real *b, int64_t C)
{
    double sum = 0;
    for (int64_t c = 0; c < C; c++)
        sum += (double)a[c] * b[c];
    return sum;
}

/* sum(exp(x - max)) */
static double row_exp_sum(const real *x, double max, int64_t C)
{
    double sum = 0;
    for (int64_t c = 0; c < C; c++)
        sum += exp(x[c] - max);
    return sum;
}

static void softmax(real *y, const real *x, rows r)
{
    for (int64_t n = 0; n < r.count; n++, x += r.C, y += r.C) {
        double max = row_max(x, r.C), sum = row_exp_sum(x, max, r.C);
        for (int64_t c = 0; c < r.C; c++)
            y[c] = (real)(exp(x[c] - max) / sum);
    }
}

void REF(softmax)(const ts_call *call)
{
    softmax(call->out[0], call->in[0], rows_of(&call->desc->in[0]));
}

/* dx = y * (dy - sum(dy * y)) */
static void softmax_dx(real *dx, const real *dy, const real *y, rows r)
{
    for (int64_t n = 0; n < r.count; n++, dx += r.C, dy += r.C, y += r.C) {
        double dot = row_dot(dy, y, r.C);
        for (int64_t c = 0; c < r.C; c++)
            dx[c] = (real)(y[c] * (dy[c] - dot));
    }
}

void REF(softmax_dx)(const ts_call *call)
{
    softmax_dx(call->out[0], call->in[0], call->in[1], rows_of(&call->desc->in[0]));
}

static void log_softmax(real *y, const real *x, rows r)
{
    for (int64_t n = 0; n < r.count; n++, x += r.C, y += r.C) {
        double max = row_max(x, r.C), log_sum = max + log(row_exp_sum(x, max, r.C));
        for (int64_t c = 0; c < r.C; c++)
            y[c] = (real)(x[c] - log_sum);
    }
}

void REF(log_softmax)(const ts_call *call)
{
    log_softmax(call->out[0], call->in[0], rows_of(&call->desc->in[0]));
}

/* dx = dy - exp(y) * sum(dy) */
static void log_softmax_dx(real *dx, const real *dy, const real *y, rows r)
{
    for (int64_t n = 0; n < r.count; n++, dx += r.C, dy += r.C, y += r.C) {
        double sum = 0;
        for (int64_t c = 0; c < r.C; c++)
            sum += dy[c];
        for (int64_t c = 0; c < r.C; c++)
            dx[c] = (real)(dy[c] - exp(y[c]) * sum);
    }
}

void REF(log_softmax_dx)(const ts_call *call)
{
    log_softmax_dx(call->out[0], call->in[0], call->in[1], rows_of(&call->desc->in[0]));
}

/* max(norm, eps), and NaN for NaN, which fmax would drop */
static double at_least(double norm, double eps)
{
    return norm < eps ? eps : norm;
}

/* y = x / max(norm, eps), norm [rows] = |x| */
static void l2_normalize(real *y, real *norm, const real *x, double eps, rows r)
{
    for (int64_t n = 0; n < r.count; n++, x += r.C, y += r.C) {
        double length = sqrt(row_dot(x, x, r.C)), scale = 1 / at_least(length, eps);
        for (int64_t c = 0; c < r.C; c++)
            y[c] = (real)(x[c] * scale);
        norm[n] = (real)length;
    }
}

void REF(l2_normalize)(const ts_call *call)
{
    const ts_desc *d = call->desc;
    l2_normalize(call->out[0], call->out[1], call->in[0], d->attr.norm.eps, rows_of(&d->in[0]));
}

/* dx = (dy - y * sum(dy * y)) / norm; where norm < eps the divisor is a constant, and dx = dy / eps */
static void l2_normalize_dx(real *dx, const real *dy, const real *y, const real *norm, double eps, rows r)
{
    for (int64_t n = 0; n < r.count; n++, dx += r.C, dy += r.C, y += r.C) {
        double dot = norm[n] < eps ? 0 : row_dot(dy, y, r.C), scale = 1 / at_least(norm[n], eps);
        for (int64_t c = 0; c < r.C; c++)
            dx[c] = (real)((dy[c] - y[c] * dot) * scale);
    }
}

void REF(l2_normalize_dx)(const ts_call *call)
{
    const ts_desc *d = call->desc;
    l2_normalize_dx(call->out[0], call->in[0], call->in[1], call->in[2], d->attr.norm.eps, rows_of(&d->in[0]));
}
