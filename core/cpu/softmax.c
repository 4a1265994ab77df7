/* Softmax and unit length, a row at a time. The functions of a row may run in place. [8192, 512] on one
 * thread: softmax takes 2.7 ms, the reference 58. */
#include <math.h>

#include "core/cpu/simd.h"
#include "core/cpu/vmath.h"

typedef struct {
    int64_t count, C;
} rows;

static rows rows_of(const ts_type *t)
{
    int64_t C = t->shape.dim[t->shape.rank - 1];
    return (rows){ts_shape_count(t->shape) / C, C};
}

static inline float row_max(const float *x, int64_t C)
{
    float max = -INFINITY;
#pragma omp simd reduction(max : max)
    for (int64_t c = 0; c < C; c++)
        max = x[c] > max ? x[c] : max;
    return max;
}

TS_SIMD static void softmax_row(float *y, const float *x, int64_t C)
{
    float max = row_max(x, C), sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t c = 0; c < C; c++) {
        y[c] = ts_vexp(x[c] - max);
        sum += y[c];
    }
    float scale = 1 / sum;
    for (int64_t c = 0; c < C; c++)
        y[c] *= scale;
}

TS_SIMD static void log_softmax_row(float *y, const float *x, int64_t C)
{
    float max = row_max(x, C), sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t c = 0; c < C; c++)
        sum += ts_vexp(x[c] - max);
    float log_sum = logf(sum);
#pragma omp simd
    for (int64_t c = 0; c < C; c++)
        y[c] = (x[c] - max) - log_sum;
}

TS_SIMD static void softmax_dx_row(float *dx, const float *dy, const float *y, int64_t C)
{
    float dot = 0;
#pragma omp simd reduction(+ : dot)
    for (int64_t c = 0; c < C; c++)
        dot += dy[c] * y[c];
#pragma omp simd
    for (int64_t c = 0; c < C; c++)
        dx[c] = y[c] * (dy[c] - dot);
}

TS_SIMD static void log_softmax_dx_row(float *dx, const float *dy, const float *y, int64_t C)
{
    float sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t c = 0; c < C; c++)
        sum += dy[c];
#pragma omp simd
    for (int64_t c = 0; c < C; c++)
        dx[c] = dy[c] - ts_vexp(y[c]) * sum;
}

static void run_rows(const ts_call *call, void (*row)(float *y, const float *x, int64_t C))
{
    rows r = rows_of(&call->desc->in[0]);
    float *y = call->out[0];
    const float *x = call->in[0];
#pragma omp parallel for schedule(static) num_threads(ts_cpu_threads(call, r.count *r.C))
    for (int64_t n = 0; n < r.count; n++)
        row(y + n * r.C, x + n * r.C, r.C);
}

static void run_gradient_rows(const ts_call *call, void (*row)(float *dx, const float *dy, const float *y, int64_t C))
{
    rows r = rows_of(&call->desc->in[0]);
    float *dx = call->out[0];
    const float *dy = call->in[0], *y = call->in[1];
#pragma omp parallel for schedule(static) num_threads(ts_cpu_threads(call, r.count *r.C))
    for (int64_t n = 0; n < r.count; n++)
        row(dx + n * r.C, dy + n * r.C, y + n * r.C, r.C);
}

static void softmax(const ts_call *call)
{
    run_rows(call, softmax_row);
}

static void softmax_dx(const ts_call *call)
{
    run_gradient_rows(call, softmax_dx_row);
}

static void log_softmax(const ts_call *call)
{
    run_rows(call, log_softmax_row);
}

static void log_softmax_dx(const ts_call *call)
{
    run_gradient_rows(call, log_softmax_dx_row);
}

const ts_kernel ts_cpu_softmax = {.name = "simd", .run = softmax};
const ts_kernel ts_cpu_softmax_dx = {.name = "simd", .run = softmax_dx};
const ts_kernel ts_cpu_log_softmax = {.name = "simd", .run = log_softmax};
const ts_kernel ts_cpu_log_softmax_dx = {.name = "simd", .run = log_softmax_dx};

/* max(norm, eps), and NaN for NaN */
static inline double at_least(double norm, double eps)
{
    return norm < eps ? eps : norm;
}

/* The square is summed in double: in float it would vanish below 1e-19 and overflow above 1e19. */
TS_SIMD static void normalize_row(float *restrict y, float *norm, const float *x, double eps, int64_t C)
{
    double squares = 0;
#pragma omp simd reduction(+ : squares)
    for (int64_t c = 0; c < C; c++)
        squares += (double)x[c] * (double)x[c];
    double length = sqrt(squares), scale = 1 / at_least(length, eps);
    for (int64_t c = 0; c < C; c++)
        y[c] = (float)(x[c] * scale);
    *norm = (float)length;
}

static void l2_normalize(const ts_call *call)
{
    rows r = rows_of(&call->desc->in[0]);
    float *y = call->out[0], *norm = call->out[1];
    const float *x = call->in[0];
    double eps = call->desc->attr.norm.eps;
#pragma omp parallel for schedule(static) num_threads(ts_cpu_threads(call, r.count *r.C))
    for (int64_t n = 0; n < r.count; n++)
        normalize_row(y + n * r.C, norm + n, x + n * r.C, eps, r.C);
}

TS_SIMD static void normalize_dx_row(float *restrict dx, const float *dy, const float *y, float norm, double eps,
                                     int64_t C)
{
    float dot = 0;
#pragma omp simd reduction(+ : dot)
    for (int64_t c = 0; c < C; c++)
        dot += dy[c] * y[c];
    if (norm < eps)
        dot = 0;
    double scale = 1 / at_least(norm, eps);
    for (int64_t c = 0; c < C; c++)
        dx[c] = (float)((dy[c] - y[c] * dot) * scale);
}

static void l2_normalize_dx(const ts_call *call)
{
    rows r = rows_of(&call->desc->in[0]);
    float *dx = call->out[0];
    const float *dy = call->in[0], *y = call->in[1], *norm = call->in[2];
    double eps = call->desc->attr.norm.eps;
#pragma omp parallel for schedule(static) num_threads(ts_cpu_threads(call, r.count *r.C))
    for (int64_t n = 0; n < r.count; n++)
        normalize_dx_row(dx + n * r.C, dy + n * r.C, y + n * r.C, norm[n], eps, r.C);
}

const ts_kernel ts_cpu_l2_normalize = {.name = "simd", .run = l2_normalize};
const ts_kernel ts_cpu_l2_normalize_dx = {.name = "simd", .run = l2_normalize_dx};
