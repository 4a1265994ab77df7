/* Nearest upsampling and pooling over [B, H, W, C]. Small indices (p, q) count positions of the pooled image, (i, j) of
 * the large one. */
#include <math.h>
#include <string.h>

#include "core/op.h"
#include "core/ref/ref.h"

/* Element (b, i, j, 0) of an image of this shape. */
static int64_t at(ts_shape shape, int64_t b, int64_t i, int64_t j)
{
    return ((b * shape.dim[1] + i) * shape.dim[2] + j) * shape.dim[3];
}

/* large[b, i, j] = small[b, i/f, j/f] */
void REF(upsample_nearest)(const ts_call *call)
{
    const ts_desc *d = call->desc;
    const ts_shape large = d->out[0].shape, small = d->in[0].shape;
    const int64_t *factor = d->attr.pool.size;
    const real *x = call->in[0];
    real *y = call->out[0];
    for (int64_t b = 0; b < large.dim[0]; b++)
        for (int64_t i = 0; i < large.dim[1]; i++)
            for (int64_t j = 0; j < large.dim[2]; j++)
                memcpy(y + at(large, b, i, j), x + at(small, b, i / factor[0], j / factor[1]),
                       (size_t)large.dim[3] * sizeof *y);
}

typedef struct {
    ts_shape large, small;
    int64_t size[2], stride[2], pad[2];
} window;

static window window_of(const ts_desc *d, ts_shape large, ts_shape small)
{
    window w = {.large = large, .small = small};
    for (int i = 0; i < 2; i++) {
        w.size[i] = d->attr.pool.size[i];
        w.stride[i] = d->attr.pool.stride[i];
        w.pad[i] = d->attr.pool.pad[i];
    }
    return w;
}

/* First and one past the last row (axis 0) or column (1) of the large image in window p. */
static int64_t first(const window *w, int axis, int64_t p)
{
    int64_t i = p * w->stride[axis] - w->pad[axis];
    return i < 0 ? 0 : i;
}

static int64_t end(const window *w, int axis, int64_t p)
{
    int64_t i = p * w->stride[axis] - w->pad[axis] + w->size[axis];
    return i < w->large.dim[axis + 1] ? i : w->large.dim[axis + 1];
}

/* Sum of x [B, H, W, C] over window (p, q). */
static double window_sum(const window *w, const real *x, int64_t b, int64_t p, int64_t q, int64_t c)
{
    double sum = 0;
    for (int64_t i = first(w, 0, p); i < end(w, 0, p); i++)
        for (int64_t j = first(w, 1, q); j < end(w, 1, q); j++)
            sum += (double)x[at(w->large, b, i, j) + c];
    return sum;
}

/* y [B, P, Q, C] = scale * the sums over all windows */
static void sum_windows(real *y, const real *x, const window *w, double scale)
{
    for (int64_t b = 0; b < w->small.dim[0]; b++)
        for (int64_t p = 0; p < w->small.dim[1]; p++)
            for (int64_t q = 0; q < w->small.dim[2]; q++)
                for (int64_t c = 0; c < w->small.dim[3]; c++)
                    y[at(w->small, b, p, q) + c] = (real)(scale * window_sum(w, x, b, p, q, c));
}

void REF(upsample_nearest_dx)(const ts_call *call)
{
    window w = window_of(call->desc, call->desc->in[0].shape, call->desc->out[0].shape);
    for (int i = 0; i < 2; i++)
        w.stride[i] = w.size[i];
    sum_windows(call->out[0], call->in[0], &w, 1);
}

/* Padding counts as zeros: the divisor is the window's size. */
void REF(avg_pool)(const ts_call *call)
{
    const window w = window_of(call->desc, call->desc->in[0].shape, call->desc->out[0].shape);
    sum_windows(call->out[0], call->in[0], &w, 1.0 / (double)(w.size[0] * w.size[1]));
}

void REF(avg_pool_dx)(const ts_call *call)
{
    const window w = window_of(call->desc, call->desc->out[0].shape, call->desc->in[0].shape);
    const real *dy = call->in[0];
    real *dx = call->out[0];
    const real scale = (real)(1.0 / (double)(w.size[0] * w.size[1]));
    memset(dx, 0, (size_t)ts_shape_count(w.large) * sizeof *dx);
    for (int64_t b = 0; b < w.small.dim[0]; b++)
        for (int64_t p = 0; p < w.small.dim[1]; p++)
            for (int64_t q = 0; q < w.small.dim[2]; q++)
                for (int64_t i = first(&w, 0, p); i < end(&w, 0, p); i++)
                    for (int64_t j = first(&w, 1, q); j < end(&w, 1, q); j++)
                        for (int64_t c = 0; c < w.large.dim[3]; c++)
                            dx[at(w.large, b, i, j) + c] += scale * dy[at(w.small, b, p, q) + c];
}

/* The greatest of a window and where it is, i*W + j: the first of equals; a NaN is greater than everything. */
static real window_max(const window *w, const real *x, int64_t b, int64_t p, int64_t q, int64_t c, int32_t *where)
{
    real best = -INFINITY;
    *where = (int32_t)(first(w, 0, p) * w->large.dim[2] + first(w, 1, q));
    for (int64_t i = first(w, 0, p); i < end(w, 0, p); i++)
        for (int64_t j = first(w, 1, q); j < end(w, 1, q); j++) {
            real v = x[at(w->large, b, i, j) + c];
            if (v > best || (isnan(v) && !isnan(best))) {
                best = v;
                *where = (int32_t)(i * w->large.dim[2] + j);
            }
        }
    return best;
}

void REF(max_pool)(const ts_call *call)
{
    const window w = window_of(call->desc, call->desc->in[0].shape, call->desc->out[0].shape);
    real *y = call->out[0];
    int32_t *where = call->out[1];
    for (int64_t b = 0; b < w.small.dim[0]; b++)
        for (int64_t p = 0; p < w.small.dim[1]; p++)
            for (int64_t q = 0; q < w.small.dim[2]; q++)
                for (int64_t c = 0; c < w.small.dim[3]; c++) {
                    int64_t k = at(w.small, b, p, q) + c;
                    y[k] = window_max(&w, call->in[0], b, p, q, c, &where[k]);
                }
}

/* dy, where [B, P, Q, C] -> dx [B, H, W, C] */
void REF(max_pool_dx)(const ts_call *call)
{
    const ts_shape small = call->desc->in[0].shape, large = call->desc->out[0].shape;
    const real *dy = call->in[0];
    const int32_t *where = call->in[1];
    real *dx = call->out[0];
    const int64_t C = large.dim[3], outputs = small.dim[1] * small.dim[2], pixels = large.dim[1] * large.dim[2];
    memset(dx, 0, (size_t)ts_shape_count(large) * sizeof *dx);
    for (int64_t b = 0; b < small.dim[0]; b++)
        for (int64_t k = 0; k < outputs; k++)
            for (int64_t c = 0; c < C; c++)
                dx[(b * pixels + where[(b * outputs + k) * C + c]) * C + c] += dy[(b * outputs + k) * C + c];
}
