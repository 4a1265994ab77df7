/* Mean squared error: bandwidth is all that it costs. The sum goes through fixed chunks, each summed in float over
 * short runs and in double over these, so that the thread count does not show. */
#include "core/cpu/simd.h"

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
