/* Nearest upsampling and 2-D pooling: rows of the output are shared out among the threads, channels are the vectors. */
#include <math.h>
#include <string.h>

#include "core/cpu/simd.h"

static int64_t min(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int64_t max(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* One row: each pixel of x [W, C] `factor` times into y [W*factor, C]. */
TS_SIMD static void repeat_pixels(float *restrict y, const float *restrict x, int64_t W, int64_t C, int64_t factor)
{
    for (int64_t j = 0; j < W; j++)
        for (int64_t k = 0; k < factor; k++)
            for (int64_t c = 0; c < C; c++)
                y[(j * factor + k) * C + c] = x[j * C + c];
}

static void upsample_nearest(const ts_call *call)
{
    const ts_shape small = call->desc->in[0].shape, large = call->desc->out[0].shape;
    const int64_t factor_h = call->desc->attr.pool.size[0], factor_w = call->desc->attr.pool.size[1];
    const int64_t rows = small.dim[0] * small.dim[1], W = small.dim[2], C = small.dim[3], row = W * factor_w * C;
    const float *x = call->in[0];
    float *y = call->out[0];
#pragma omp parallel for schedule(static) num_threads(ts_cpu_threads(call, ts_shape_count(large)))
    for (int64_t i = 0; i < rows; i++) {
        float *first = y + i * factor_h * row;
        repeat_pixels(first, x + i * W * C, W, C, factor_w);
        for (int64_t k = 1; k < factor_h; k++)
            memcpy(first + k * row, first, (size_t)row * sizeof *first);
    }
}

const ts_kernel ts_cpu_upsample_nearest = {.name = "simd", .run = upsample_nearest};

/* One row of dx [W, C]: the sum over factor_h rows of dy [W*factor_w, C], factor_w pixels each. */
TS_SIMD static void sum_pixels(float *restrict dx, const float *restrict dy, int64_t W, int64_t C, int64_t factor_h,
                               int64_t factor_w)
{
    for (int64_t j = 0; j < W; j++) {
        for (int64_t c = 0; c < C; c++)
            dx[j * C + c] = 0;
        for (int64_t k = 0; k < factor_h; k++)
            for (int64_t l = 0; l < factor_w; l++) {
                const float *pixel = dy + ((k * W + j) * factor_w + l) * C;
                for (int64_t c = 0; c < C; c++)
                    dx[j * C + c] += pixel[c];
            }
    }
}

static void upsample_nearest_dx(const ts_call *call)
{
    const ts_shape large = call->desc->in[0].shape, small = call->desc->out[0].shape;
    const int64_t factor_h = call->desc->attr.pool.size[0], factor_w = call->desc->attr.pool.size[1];
    const int64_t rows = small.dim[0] * small.dim[1], W = small.dim[2], C = small.dim[3];
    const float *dy = call->in[0];
    float *dx = call->out[0];
#pragma omp parallel for schedule(static) num_threads(ts_cpu_threads(call, ts_shape_count(large)))
    for (int64_t i = 0; i < rows; i++)
        sum_pixels(dx + i * W * C, dy + i * factor_h * factor_w * W * C, W, C, factor_h, factor_w);
}

const ts_kernel ts_cpu_upsample_nearest_dx = {.name = "simd", .run = upsample_nearest_dx};

/* Window p over an axis of `size` elements: first to end, clipped. */
typedef struct {
    int64_t first, end;
} range;

static range window(const ts_desc *d, int axis, int64_t p, int64_t size)
{
    const int64_t first = p * d->attr.pool.stride[axis] - d->attr.pool.pad[axis];
    return (range){max(first, 0), min(first + d->attr.pool.size[axis], size)};
}

/* The greatest of each channel and its place (i*W + j) over one window of an image x [H, W, C]; NaN before all. */
TS_SIMD static void max_window(float *restrict y, int32_t *restrict where, const float *restrict x, range rows,
                               range columns, int64_t W, int64_t C)
{
    for (int64_t c = 0; c < C; c++) {
        y[c] = -INFINITY;
        where[c] = (int32_t)(rows.first * W + columns.first);
    }
    for (int64_t i = rows.first; i < rows.end; i++)
        for (int64_t j = columns.first; j < columns.end; j++) {
            const float *pixel = x + (i * W + j) * C;
            const int32_t place = (int32_t)(i * W + j);
            for (int64_t c = 0; c < C; c++) {
                const float v = pixel[c], best = y[c];
                const bool take = (v > best) | ((v != v) & (best == best));
                y[c] = take ? v : best;
                where[c] = take ? place : where[c];
            }
        }
}

static void max_pool(const ts_call *call)
{
    const ts_desc *d = call->desc;
    const ts_shape large = d->in[0].shape, small = d->out[0].shape;
    const int64_t H = large.dim[1], W = large.dim[2], C = large.dim[3], P = small.dim[1], Q = small.dim[2];
    const float *x = call->in[0];
    float *y = call->out[0];
    int32_t *where = call->out[1];
#pragma omp parallel for schedule(static) num_threads(ts_cpu_threads(call, ts_shape_count(large)))
    for (int64_t row = 0; row < small.dim[0] * P; row++)
        for (int64_t q = 0; q < Q; q++)
            max_window(y + (row * Q + q) * C, where + (row * Q + q) * C, x + row / P * H * W * C,
                       window(d, 0, row % P, H), window(d, 1, q, W), W, C);
}

const ts_kernel ts_cpu_max_pool = {.name = "simd", .run = max_pool};

/* Images are shared out, so that no two threads add to one place. */
static void max_pool_dx(const ts_call *call)
{
    const ts_shape small = call->desc->in[0].shape, large = call->desc->out[0].shape;
    const int64_t C = large.dim[3], outputs = small.dim[1] * small.dim[2], image = large.dim[1] * large.dim[2] * C;
    const float *dy = call->in[0];
    const int32_t *where = call->in[1];
#pragma omp parallel for schedule(static) num_threads(ts_cpu_threads(call, ts_shape_count(large)))
    for (int64_t b = 0; b < large.dim[0]; b++) {
        float *dx = (float *)call->out[0] + b * image;
        memset(dx, 0, (size_t)image * sizeof *dx);
        for (int64_t k = b * outputs; k < (b + 1) * outputs; k++)
            for (int64_t c = 0; c < C; c++)
                dx[where[k * C + c] * C + c] += dy[k * C + c];
    }
}

const ts_kernel ts_cpu_max_pool_dx = {.name = "simd", .run = max_pool_dx};
