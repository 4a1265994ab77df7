/* Rows picked and put by id, and parts of tensors moved. What only moves elements works on bytes, so for every dtype.
 */
#include <string.h>

#include "core/op.h"
#include "core/ref/ref.h"

/* table [K, D], ids [N] -> out [N, D]; an id outside 0..K-1 gives a row of `fill` */
static void gather(real *out, const real *table, const int32_t *ids, int64_t N, int64_t K, int64_t D, real fill)
{
    for (int64_t n = 0; n < N; n++)
        for (int64_t d = 0; d < D; d++)
            out[n * D + d] = ids[n] >= 0 && ids[n] < K ? table[ids[n] * D + d] : fill;
}

/* rows [N, D], ids [N] -> out [K, D], the sum of the rows of each id; ids outside 0..K-1 are left out */
static void scatter_add(real *out, const real *rows, const int32_t *ids, int64_t N, int64_t K, int64_t D)
{
    for (int64_t i = 0; i < K * D; i++)
        out[i] = 0;
    for (int64_t n = 0; n < N; n++)
        for (int64_t d = 0; d < D && ids[n] >= 0 && ids[n] < K; d++)
            out[ids[n] * D + d] += rows[n * D + d];
}

void REF(gather)(const ts_call *call)
{
    const ts_desc *d = call->desc;
    gather(call->out[0], call->in[0], call->in[1], ts_shape_count(d->in[1].shape), d->in[0].shape.dim[0],
           d->in[0].shape.dim[1], (real)d->attr.axis.value);
}

void REF(scatter_add)(const ts_call *call)
{
    const ts_desc *d = call->desc;
    scatter_add(call->out[0], call->in[0], call->in[1], ts_shape_count(d->in[1].shape), d->out[0].shape.dim[0],
                d->out[0].shape.dim[1]);
}

void REF(count)(const ts_call *call)
{
    int64_t N = ts_shape_count(call->desc->in[0].shape), K = call->desc->out[0].shape.dim[0], *count = call->out[0];
    const int32_t *ids = call->in[0];
    for (int64_t k = 0; k < K; k++)
        count[k] = 0;
    for (int64_t n = 0; n < N; n++)
        if (ids[n] >= 0 && ids[n] < K)
            count[ids[n]]++;
}

/* x [N, D] -> out [K, D], the rows one after the other and again from the first; with a mask [N], those where it is not
 * 0, and 0 where there are none */
static void tile_rows(real *out, const real *x, const real *mask, int64_t N, int64_t K, int64_t D)
{
    bool any = !mask;
    for (int64_t n = 0; n < N; n++)
        any |= mask && mask[n] != 0;
    for (int64_t i = 0, n = 0; i < K; i++, n = (n + 1) % N) {
        while (any && mask && mask[n] == 0)
            n = (n + 1) % N;
        for (int64_t d = 0; d < D; d++)
            out[i * D + d] = any ? x[n * D + d] : 0;
    }
}

void REF(tile_rows)(const ts_call *call)
{
    const ts_desc *d = call->desc;
    tile_rows(call->out[0], call->in[0], d->in_count > 1 ? call->in[1] : NULL, d->in[0].shape.dim[0],
              d->out[0].shape.dim[0], d->in[0].shape.dim[1]);
}

/* A tensor seen along one axis: [outer, dim, inner], inner in bytes. */
typedef struct {
    int64_t outer, dim;
    size_t inner;
} lanes;

static lanes lanes_of(const ts_type *t, int axis)
{
    lanes l = {1, t->shape.dim[axis], ts_dtype_bytes(t->dtype)};
    for (int i = 0; i < axis; i++)
        l.outer *= t->shape.dim[i];
    for (int i = axis + 1; i < t->shape.rank; i++)
        l.inner *= (size_t)t->shape.dim[i];
    return l;
}

/* Copies `count` positions of each lane, from position `from_at` to position `to_at`. */
static void copy_lanes(void *to, lanes t, int64_t to_at, const void *from, lanes f, int64_t from_at, int64_t count)
{
    size_t bytes = (size_t)count * f.inner;
    for (int64_t i = 0; i < f.outer && bytes; i++)
        memcpy((char *)to + (size_t)(i * t.dim + to_at) * t.inner,
               (const char *)from + (size_t)(i * f.dim + from_at) * f.inner, bytes);
}

static void fill(void *out, const ts_type *t, double value)
{
    int64_t n = ts_shape_count(t->shape);
    for (int64_t i = 0; i < n; i++) {
        if (t->dtype == TS_I32)
            ((int32_t *)out)[i] = (int32_t)value;
        else if (t->dtype == TS_I64)
            ((int64_t *)out)[i] = (int64_t)value;
        else if (t->dtype == TS_BF16)
            ((uint16_t *)out)[i] = ts_bf16_from_f32((float)value);
        else if (t->dtype == TS_U8)
            ((uint8_t *)out)[i] = (uint8_t)value;
        else
            ((real *)out)[i] = (real)value;
    }
}

void REF(slice)(const ts_call *call)
{
    const ts_desc *d = call->desc;
    lanes from = lanes_of(&d->in[0], d->attr.axis.axis), to = lanes_of(&d->out[0], d->attr.axis.axis);
    copy_lanes(call->out[0], to, 0, call->in[0], from, d->attr.axis.start, to.dim);
}

void REF(pad)(const ts_call *call)
{
    const ts_desc *d = call->desc;
    lanes from = lanes_of(&d->in[0], d->attr.axis.axis), to = lanes_of(&d->out[0], d->attr.axis.axis);
    fill(call->out[0], &d->out[0], d->attr.axis.value);
    copy_lanes(call->out[0], to, d->attr.axis.start, call->in[0], from, 0, from.dim);
}

void REF(concat)(const ts_call *call)
{
    const ts_desc *d = call->desc;
    lanes to = lanes_of(&d->out[0], d->attr.axis.axis);
    int64_t at = 0;
    for (int i = 0; i < d->in_count; i++) {
        lanes from = lanes_of(&d->in[i], d->attr.axis.axis);
        copy_lanes(call->out[0], to, at, call->in[i], from, 0, from.dim);
        at += from.dim;
    }
}

void REF(permute)(const ts_call *call)
{
    const ts_desc *d = call->desc;
    ts_shape x = d->in[0].shape, y = d->out[0].shape;
    size_t size = ts_dtype_bytes(d->in[0].dtype);
    int64_t stride[TS_MAX_RANK + 1] = {0}, step[TS_MAX_RANK + 1] = {0}, n = ts_shape_count(y);
    for (int i = x.rank - 1; i >= 0; i--)
        stride[i] = i == x.rank - 1 ? 1 : stride[i + 1] * x.dim[i + 1];
    for (int i = 0; i < y.rank; i++)
        step[i] = stride[d->attr.permute.order[i]];
    for (int64_t at = 0; at < n; at++) {
        int64_t rest = at, from = 0;
        for (int i = y.rank - 1; i >= 0; i--) {
            from += rest % y.dim[i] * step[i];
            rest /= y.dim[i];
        }
        memcpy((char *)call->out[0] + (size_t)at * size, (const char *)call->in[0] + (size_t)from * size, size);
    }
}
