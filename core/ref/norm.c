/* Normalisation. Statistics and sums are double in the float build too: they are what the other kernels are held
 * against. With g = dy * weight, xhat = (x - mean) * rstd and means over what was normalised together:
 *   dx = rstd * (g - mean(g) - xhat * mean(g * xhat)),  dweight = sum(dy * xhat),  dbias = sum(dy)
 * (docs/numerics.md#norm). */
#include <math.h>

#include "core/op.h"
#include "core/ref/ref.h"

/* One set of elements that are normalised together: `outer` runs of `inner` neighbours, `stride` apart; the channel of
 * an element is its place in the run. layer_norm: one run of C. group_norm: a run of C/groups per position.
 * batch_norm: a run of 1 per row. */
typedef struct {
    int64_t outer, inner, stride;
} set;

static void set_stats(double *mean, double *var, const real *x, set s)
{
    double sum = 0, squares = 0, count = (double)(s.outer * s.inner);
    for (int64_t o = 0; o < s.outer; o++)
        for (int64_t i = 0; i < s.inner; i++)
            sum += x[o * s.stride + i];
    *mean = sum / count;
    for (int64_t o = 0; o < s.outer; o++)
        for (int64_t i = 0; i < s.inner; i++) {
            double d = x[o * s.stride + i] - *mean;
            squares += d * d;
        }
    *var = squares / count;
}

/* y = (x - mean) * rstd * weight + bias; weight, bias [inner] or NULL */
static void set_apply(real *y, const real *x, const real *weight, const real *bias, double mean, double rstd, set s)
{
    for (int64_t o = 0; o < s.outer; o++)
        for (int64_t i = 0; i < s.inner; i++) {
            double xhat = (x[o * s.stride + i] - mean) * rstd;
            y[o * s.stride + i] = (real)(xhat * (weight ? weight[i] : 1) + (bias ? bias[i] : 0));
        }
}

static void set_dx(real *dx, const real *dy, const real *x, const real *weight, double mean, double rstd, set s)
{
    double sum_g = 0, sum_gx = 0, count = (double)(s.outer * s.inner);
    for (int64_t o = 0; o < s.outer; o++)
        for (int64_t i = 0; i < s.inner; i++) {
            double g = dy[o * s.stride + i] * (weight ? (double)weight[i] : 1);
            sum_g += g;
            sum_gx += g * (x[o * s.stride + i] - mean) * rstd;
        }
    for (int64_t o = 0; o < s.outer; o++)
        for (int64_t i = 0; i < s.inner; i++) {
            double g = dy[o * s.stride + i] * (weight ? (double)weight[i] : 1);
            double xhat = (x[o * s.stride + i] - mean) * rstd;
            dx[o * s.stride + i] = (real)(rstd * (g - sum_g / count - xhat * sum_gx / count));
        }
}

static int64_t last_dim(const ts_type *t)
{
    return t->shape.dim[t->shape.rank - 1];
}

/* x [rows, C] -> y [rows, C], mean, rstd [rows] */
static void layer_norm(real *y, real *mean, real *rstd, const real *x, const real *weight, const real *bias, double eps,
                       int64_t rows, int64_t C)
{
    set s = {1, C, 0};
    for (int64_t n = 0; n < rows; n++) {
        double m, v;
        set_stats(&m, &v, x + n * C, s);
        double r = 1 / sqrt(v + eps);
        set_apply(y + n * C, x + n * C, weight, bias, m, r, s);
        mean[n] = (real)m;
        rstd[n] = (real)r;
    }
}

void REF(layer_norm)(const ts_call *call)
{
    const ts_desc *d = call->desc;
    layer_norm(call->out[0], call->out[1], call->out[2], call->in[0], call->in[1], call->in[2], d->attr.norm.eps,
               ts_shape_count(d->out[1].shape), last_dim(&d->in[0]));
}

static void layer_norm_dx(real *dx, real *dweight, real *dbias, const real *dy, const real *x, const real *weight,
                          const real *mean, const real *rstd, int64_t rows, int64_t C)
{
    for (int64_t n = 0; n < rows; n++)
        set_dx(dx + n * C, dy + n * C, x + n * C, weight, mean[n], rstd[n], (set){1, C, 0});
    for (int64_t c = 0; c < C; c++) {
        double dw = 0, db = 0;
        for (int64_t n = 0; n < rows; n++) {
            dw += (double)dy[n * C + c] * ((double)x[n * C + c] - mean[n]) * rstd[n];
            db += dy[n * C + c];
        }
        dweight[c] = (real)dw;
        dbias[c] = (real)db;
    }
}

void REF(layer_norm_dx)(const ts_call *call)
{
    const ts_desc *d = call->desc;
    layer_norm_dx(call->out[0], call->out[1], call->out[2], call->in[0], call->in[1], call->in[2], call->in[3],
                  call->in[4], ts_shape_count(d->in[3].shape), last_dim(&d->in[0]));
}

/* x [rows, C] -> y [rows, C] = x * rstd * weight, rstd [rows] = 1/sqrt(mean(x^2) + eps) */
static void rms_norm(real *y, real *rstd, const real *x, const real *weight, double eps, int64_t rows, int64_t C)
{
    for (int64_t n = 0; n < rows; n++) {
        const real *xn = x + n * C;
        double squares = 0;
        for (int64_t c = 0; c < C; c++)
            squares += (double)xn[c] * xn[c];
        double r = 1 / sqrt(squares / (double)C + eps);
        for (int64_t c = 0; c < C; c++)
            y[n * C + c] = (real)(xn[c] * r * (weight ? weight[c] : 1));
        rstd[n] = (real)r;
    }
}

void REF(rms_norm)(const ts_call *call)
{
    const ts_desc *d = call->desc;
    rms_norm(call->out[0], call->out[1], call->in[0], call->in[1], d->attr.norm.eps, ts_shape_count(d->out[1].shape),
             last_dim(&d->in[0]));
}

/* dx = rstd * (g - xhat * mean(g * xhat)) with xhat = x * rstd */
static void rms_norm_dx(real *dx, real *dweight, const real *dy, const real *x, const real *weight, const real *rstd,
                        int64_t rows, int64_t C)
{
    for (int64_t n = 0; n < rows; n++) {
        const real *dyn = dy + n * C, *xn = x + n * C;
        double r = rstd[n], sum_gx = 0;
        for (int64_t c = 0; c < C; c++)
            sum_gx += (double)dyn[c] * (weight ? weight[c] : 1) * xn[c] * r;
        for (int64_t c = 0; c < C; c++) {
            double g = (double)dyn[c] * (weight ? weight[c] : 1);
            dx[n * C + c] = (real)(r * (g - xn[c] * r * sum_gx / (double)C));
        }
    }
    for (int64_t c = 0; c < C; c++) {
        double dw = 0;
        for (int64_t n = 0; n < rows; n++)
            dw += (double)dy[n * C + c] * x[n * C + c] * rstd[n];
        dweight[c] = (real)dw;
    }
}

void REF(rms_norm_dx)(const ts_call *call)
{
    const ts_desc *d = call->desc;
    rms_norm_dx(call->out[0], call->out[1], call->in[0], call->in[1], call->in[2], call->in[3],
                ts_shape_count(d->in[3].shape), last_dim(&d->in[0]));
}

/* [B, positions, C] of any rank, as group_norm sees it */
typedef struct {
    int64_t B, positions, C, groups;
} grouped;

static grouped grouped_of(const ts_desc *d)
{
    const ts_shape *x = &d->in[0].shape;
    int64_t B = x->dim[0], C = x->dim[x->rank - 1], samples = B * C;
    return (grouped){B, samples ? ts_shape_count(*x) / samples : 0, C, d->attr.norm.groups};
}

static const real *from(const real *per_channel, int64_t c)
{
    return per_channel ? per_channel + c : NULL;
}

/* x, y [B, positions, C]; mean, rstd [B, groups] */
static void group_norm(real *y, real *mean, real *rstd, const real *x, const real *weight, const real *bias, double eps,
                       grouped s)
{
    int64_t width = s.C / s.groups;
    for (int64_t b = 0; b < s.B; b++)
        for (int64_t g = 0; g < s.groups; g++) {
            int64_t at = b * s.positions * s.C + g * width, c = g * width;
            set group = {s.positions, width, s.C};
            double m, v;
            set_stats(&m, &v, x + at, group);
            double r = 1 / sqrt(v + eps);
            set_apply(y + at, x + at, from(weight, c), from(bias, c), m, r, group);
            mean[b * s.groups + g] = (real)m;
            rstd[b * s.groups + g] = (real)r;
        }
}

void REF(group_norm)(const ts_call *call)
{
    const ts_desc *d = call->desc;
    group_norm(call->out[0], call->out[1], call->out[2], call->in[0], call->in[1], call->in[2], d->attr.norm.eps,
               grouped_of(d));
}

static void group_norm_dx(real *dx, real *dweight, real *dbias, const real *dy, const real *x, const real *weight,
                          const real *mean, const real *rstd, grouped s)
{
    int64_t width = s.C / s.groups;
    for (int64_t b = 0; b < s.B; b++)
        for (int64_t g = 0; g < s.groups; g++) {
            int64_t at = b * s.positions * s.C + g * width, n = b * s.groups + g;
            set_dx(dx + at, dy + at, x + at, from(weight, g * width), mean[n], rstd[n], (set){s.positions, width, s.C});
        }
    for (int64_t c = 0; c < s.C; c++) {
        double dw = 0, db = 0;
        for (int64_t b = 0; b < s.B; b++) {
            int64_t n = b * s.groups + c / width;
            for (int64_t p = 0; p < s.positions; p++) {
                int64_t i = (b * s.positions + p) * s.C + c;
                dw += (double)dy[i] * ((double)x[i] - mean[n]) * rstd[n];
                db += dy[i];
            }
        }
        dweight[c] = (real)dw;
        dbias[c] = (real)db;
    }
}

void REF(group_norm_dx)(const ts_call *call)
{
    grouped s = grouped_of(call->desc);
    group_norm_dx(call->out[0], call->out[1], call->out[2], call->in[0], call->in[1], call->in[2], call->in[3],
                  call->in[4], s);
}

/* x, y [rows, C]; mean, var [C], the variance with divisor rows */
static void batch_norm(real *y, real *mean, real *var, const real *x, const real *weight, const real *bias, double eps,
                       int64_t rows, int64_t C)
{
    set column = {rows, 1, C};
    for (int64_t c = 0; c < C; c++) {
        double m, v;
        set_stats(&m, &v, x + c, column);
        set_apply(y + c, x + c, from(weight, c), from(bias, c), m, 1 / sqrt(v + eps), column);
        mean[c] = (real)m;
        var[c] = (real)v;
    }
}

void REF(batch_norm)(const ts_call *call)
{
    const ts_desc *d = call->desc;
    int64_t C = last_dim(&d->in[0]);
    batch_norm(call->out[0], call->out[1], call->out[2], call->in[0], call->in[1], call->in[2], d->attr.norm.eps,
               ts_shape_count(d->in[0].shape) / C, C);
}

static void batch_norm_dx(real *dx, real *dweight, real *dbias, const real *dy, const real *x, const real *weight,
                          const real *mean, const real *var, double eps, int64_t rows, int64_t C)
{
    for (int64_t c = 0; c < C; c++) {
        double r = 1 / sqrt(var[c] + eps), dw = 0, db = 0;
        set_dx(dx + c, dy + c, x + c, from(weight, c), mean[c], r, (set){rows, 1, C});
        for (int64_t n = 0; n < rows; n++) {
            dw += (double)dy[n * C + c] * ((double)x[n * C + c] - mean[c]) * r;
            db += dy[n * C + c];
        }
        dweight[c] = (real)dw;
        dbias[c] = (real)db;
    }
}

void REF(batch_norm_dx)(const ts_call *call)
{
    const ts_desc *d = call->desc;
    int64_t C = last_dim(&d->in[0]);
    batch_norm_dx(call->out[0], call->out[1], call->out[2], call->in[0], call->in[1], call->in[2], call->in[3],
                  call->in[4], d->attr.norm.eps, ts_shape_count(d->in[0].shape) / C, C);
}
