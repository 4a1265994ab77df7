/* Mean squared error: bandwidth is all that it costs. Its sum goes through fixed chunks, each summed in float over
 * short runs and in double over these, so that the thread count does not show. Cross entropy: a row at a
 * time; [4096, 1024] on one thread takes 2.2 ms, the reference 30. */
#include <math.h>
#include <string.h>

#include "core/cpu/simd.h"
#include "core/cpu/vmath.h"

enum { CHUNK = 16384, RUN = 512 };

static int64_t chunk_count(int64_t n)
{
    return (n + CHUNK - 1) / CHUNK;
}

static int64_t min(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

TS_SIMD static float squares_of_run(const float *x, const float *y, int64_t n)
{
    float sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < n; i++)
        sum += (x[i] - y[i]) * (x[i] - y[i]);
    return sum;
}

static double squares_of_chunk(const float *x, const float *y, int64_t n)
{
    double sum = 0;
    for (int64_t i = 0; i < n; i += RUN)
        sum += squares_of_run(x + i, y + i, min(RUN, n - i));
    return sum;
}

static ts_status mse_prepare(const ts_desc *d, ts_device *device, void **prepared, size_t *scratch_bytes, ts_error *err)
{
    (void)device, (void)prepared, (void)err;
    *scratch_bytes = (size_t)chunk_count(ts_shape_count(d->in[0].shape)) * sizeof(double);
    return TS_OK;
}

static void mse(const ts_call *call)
{
    const float *x = call->in[0], *y = call->in[1];
    double *partial = call->scratch, sum = 0;
    int64_t n = ts_shape_count(call->desc->in[0].shape), chunks = chunk_count(n);
#pragma omp parallel for schedule(static) num_threads(ts_cpu_threads(call, n))
    for (int64_t k = 0; k < chunks; k++)
        partial[k] = squares_of_chunk(x + k * CHUNK, y + k * CHUNK, min(CHUNK, n - k * CHUNK));
    for (int64_t k = 0; k < chunks; k++)
        sum += partial[k];
    *(float *)call->out[0] = (float)(sum / (double)n);
}

const ts_kernel ts_cpu_mse = {.name = "simd", .prepare = mse_prepare, .run = mse};

TS_SIMD static void scaled_difference(float *restrict dx, float scale, const float *x, const float *y, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        dx[i] = scale * (x[i] - y[i]);
}

static void mse_dx(const ts_call *call)
{
    const float *x = call->in[1], *y = call->in[2];
    float *dx = call->out[0];
    int64_t n = ts_shape_count(call->desc->in[1].shape), chunks = chunk_count(n);
    float scale = (float)(*(const float *)call->in[0] * 2.0 / (double)n);
#pragma omp parallel for schedule(static) num_threads(ts_cpu_threads(call, n))
    for (int64_t k = 0; k < chunks; k++)
        scaled_difference(dx + k * CHUNK, scale, x + k * CHUNK, y + k * CHUNK, min(CHUNK, n - k * CHUNK));
}

const ts_kernel ts_cpu_mse_dx = {.name = "simd", .run = mse_dx};

/* log(sum(exp(x))), x [C] */
TS_SIMD static double log_sum_exp(const float *x, int64_t C)
{
    float max = -INFINITY, sum = 0;
#pragma omp simd reduction(max : max)
    for (int64_t c = 0; c < C; c++)
        max = x[c] > max ? x[c] : max;
#pragma omp simd reduction(+ : sum)
    for (int64_t c = 0; c < C; c++)
        sum += ts_vexp(x[c] - max);
    return (double)max + log((double)sum);
}

TS_SIMD static double sum_of(const float *x, int64_t C)
{
    double sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t c = 0; c < C; c++)
        sum += (double)x[c];
    return sum;
}

static bool counts(const ts_attr *attr, int32_t target)
{
    return !(attr->loss.ignore && target == attr->loss.ignore_index);
}

static int64_t counted(const ts_attr *attr, const int32_t *target, int64_t N)
{
    int64_t count = 0;
    for (int64_t n = 0; n < N; n++)
        count += counts(attr, target[n]);
    return count;
}

/* (1-s) * -log p[target] + s * mean(-log p); NaN for a target that is no class */
static double row_loss(const float *x, int32_t target, double smoothing, int64_t C)
{
    if (target < 0 || target >= C)
        return NAN;
    double lse = log_sum_exp(x, C), own = lse - (double)x[target];
    return smoothing > 0 ? (1 - smoothing) * own + smoothing * (lse - sum_of(x, C) / (double)C) : own;
}

static ts_status cross_entropy_prepare(const ts_desc *d, ts_device *device, void **prepared, size_t *scratch_bytes,
                                       ts_error *err)
{
    (void)device, (void)prepared, (void)err;
    *scratch_bytes = (size_t)d->in[0].shape.dim[0] * sizeof(double);
    return TS_OK;
}

static void cross_entropy(const ts_call *call)
{
    const ts_attr *attr = &call->desc->attr;
    const float *logits = call->in[0];
    const int32_t *target = call->in[1];
    double *loss = call->scratch, sum = 0; /* [N] */
    int64_t N = call->desc->in[0].shape.dim[0], C = call->desc->in[0].shape.dim[1];
#pragma omp parallel for schedule(static) num_threads(ts_cpu_threads(call, N *C))
    for (int64_t n = 0; n < N; n++)
        loss[n] = counts(attr, target[n]) ? row_loss(logits + n * C, target[n], attr->loss.smoothing, C) : 0;
    for (int64_t n = 0; n < N; n++)
        sum += loss[n];
    *(float *)call->out[0] = (float)(sum / (double)counted(attr, target, N));
}

const ts_kernel ts_cpu_cross_entropy = {.name = "simd", .prepare = cross_entropy_prepare, .run = cross_entropy};

/* dx = scale * (exp(x - lse) - each) */
TS_SIMD static void all_classes(float *restrict dx, const float *x, float lse, float scale, float each, int64_t C)
{
    for (int64_t c = 0; c < C; c++)
        dx[c] = scale * (ts_vexp(x[c] - lse) - each);
}

/* scale * (softmax(x) - (1-s) * onehot(target) - s/C) */
static void row_dx(float *dx, const float *x, int32_t target, float scale, double smoothing, int64_t C)
{
    if (target < 0 || target >= C)
        scale = NAN;
    double lse = log_sum_exp(x, C), each = smoothing / (double)C;
    all_classes(dx, x, (float)lse, scale, (float)each, C);
    if (target >= 0 && target < C)
        dx[target] = (float)(scale * (exp((double)x[target] - lse) - each - (1 - smoothing)));
}

static void cross_entropy_dx(const ts_call *call)
{
    const ts_attr *attr = &call->desc->attr;
    const float *logits = call->in[1];
    const int32_t *target = call->in[2];
    float *dx = call->out[0];
    int64_t N = call->desc->in[1].shape.dim[0], C = call->desc->in[1].shape.dim[1];
    float scale = (float)(*(const float *)call->in[0] / (double)counted(attr, target, N));
#pragma omp parallel for schedule(static) num_threads(ts_cpu_threads(call, N *C))
    for (int64_t n = 0; n < N; n++) {
        if (counts(attr, target[n]))
            row_dx(dx + n * C, logits + n * C, target[n], scale, attr->loss.smoothing, C);
        else
            memset(dx + n * C, 0, (size_t)C * sizeof *dx);
    }
}

const ts_kernel ts_cpu_cross_entropy_dx = {.name = "simd", .run = cross_entropy_dx};
