/* Nearest upsampling and pooling over [B, H, W, C], and their gradients. A thread makes one element of the result, or
 * four neighbouring channels: gradients gather what the windows over a pixel give to it, in the windows' order, instead
 * of adding from many threads. Small indices (p, q) count positions of the pooled image, (i, j) of the large one. */
#include <math.h>

#include "core/cuda/walk.cuh"

namespace
{

/* ---- one element, or four channels at once ---- */

__device__ float plus(float a, float b)
{
    return a + b;
}
__device__ float4 plus(float4 a, float4 b)
{
    return make_float4(a.x + b.x, a.y + b.y, a.z + b.z, a.w + b.w);
}
__device__ float times(float s, float a)
{
    return s * a;
}
__device__ float4 times(float s, float4 a)
{
    return make_float4(s * a.x, s * a.y, s * a.z, s * a.w);
}
template <class T> __device__ T all(float x)
{
    if constexpr (sizeof(T) == sizeof(float4))
        return make_float4(x, x, x, x);
    else
        return x;
}

/* Where v is larger than the best so far, or the first NaN, it is the best. */
__device__ void improve(float &best, int &where, float v, int at)
{
    if (v > best || (v != v && best == best)) {
        best = v;
        where = at;
    }
}
__device__ void improve(float4 &best, int4 &where, float4 v, int at)
{
    improve(best.x, where.x, v.x, at);
    improve(best.y, where.y, v.y, at);
    improve(best.z, where.z, v.z, at);
    improve(best.w, where.w, v.w, at);
}

/* dy where the window's greatest element is this one, else 0. */
__device__ float chosen(float dy, int where, int at)
{
    return where == at ? dy : 0.0f;
}
__device__ float4 chosen(float4 dy, int4 where, int at)
{
    return make_float4(chosen(dy.x, where.x, at), chosen(dy.y, where.y, at), chosen(dy.z, where.z, at),
                       chosen(dy.w, where.w, at));
}

template <class T> struct places;
template <> struct places<float> {
    typedef int type;
    __device__ static int of(int at)
    {
        return at;
    }
};
template <> struct places<float4> {
    typedef int4 type;
    __device__ static int4 of(int at)
    {
        return make_int4(at, at, at, at);
    }
};

/* ---- geometry; channels in units of T ---- */

template <class I> struct image {
    ts_divisor<I> H, W, C;

    __device__ I at(I b, int i, int j, I c) const
    {
        return ((b * H.by + (I)i) * W.by + (I)j) * C.by + c;
    }
};

struct range {
    int first, end;
};

template <class I> struct pooling {
    image<I> large, small;
    int size[2], stride[2], pad[2];

    /* Rows (axis 0) or columns (1) of the large image in window p. */
    __device__ range window(int axis, int p) const
    {
        const int first = p * stride[axis] - pad[axis], end = first + size[axis];
        const int length = (int)(axis ? large.W : large.H).by;
        return {first < 0 ? 0 : first, end < length ? end : length};
    }
    /* Windows with row or column i in them. */
    __device__ range windows(int axis, int i) const
    {
        const int from = i + pad[axis] - size[axis], last = (i + pad[axis]) / stride[axis];
        const int count = (int)(axis ? small.W : small.H).by;
        return {from < 0 ? 0 : from / stride[axis] + 1, last < count ? last + 1 : count};
    }
};

/* The place of element e of an image. */
template <class I> struct pixel {
    I b, c;
    int i, j;

    __device__ pixel(const image<I> &m, I e)
    {
        const I column = m.C.quotient(e), row = m.W.quotient(column);
        b = m.H.quotient(row);
        i = (int)(row - b * m.H.by);
        j = (int)(column - row * m.W.by);
        c = e - column * m.C.by;
    }
};

/* large[b, i, j] = small[b, i / f, j / f]; the factors are p.size */
template <class T, class I>
__global__ void repeat(T *y, const T *x, pooling<I> p, ts_divisor<I> over_rows, ts_divisor<I> over_columns, int64_t n)
{
    for (TS_CUDA_EACH(e, n)) {
        const pixel<I> at(p.large, (I)e);
        y[e] = x[p.small.at(at.b, (int)over_rows.quotient((I)at.i), (int)over_columns.quotient((I)at.j), at.c)];
    }
}

/* y [B, P, Q, C] = scale * the sums over all windows of x */
template <class T, class I> __global__ void sum_windows(T *y, const T *x, pooling<I> p, float scale, int64_t n)
{
    for (TS_CUDA_EACH(e, n)) {
        const pixel<I> at(p.small, (I)e);
        const range rows = p.window(0, at.i), columns = p.window(1, at.j);
        T sum = all<T>(0);
        for (int i = rows.first; i < rows.end; i++)
            for (int j = columns.first; j < columns.end; j++)
                sum = plus(sum, x[p.large.at(at.b, i, j, at.c)]);
        y[e] = times(scale, sum);
    }
}

/* dx [B, H, W, C] = scale * the sums of dy over the windows with a pixel in them */
template <class T, class I> __global__ void spread(T *dx, const T *dy, pooling<I> w, float scale, int64_t n)
{
    for (TS_CUDA_EACH(e, n)) {
        const pixel<I> at(w.large, (I)e);
        const range rows = w.windows(0, at.i), columns = w.windows(1, at.j);
        T sum = all<T>(0);
        for (int p = rows.first; p < rows.end; p++)
            for (int q = columns.first; q < columns.end; q++)
                sum = plus(sum, times(scale, dy[w.small.at(at.b, p, q, at.c)]));
        dx[e] = sum;
    }
}

/* The greatest of each window, and where it is, i W + j: the first of equals; a NaN is greater than everything. */
template <class T, class I>
__global__ void find_max(T *y, typename places<T>::type *where, const T *x, pooling<I> p, int64_t n)
{
    for (TS_CUDA_EACH(e, n)) {
        const pixel<I> at(p.small, (I)e);
        const range rows = p.window(0, at.i), columns = p.window(1, at.j);
        const int width = (int)p.large.W.by;
        T best = all<T>(-INFINITY);
        typename places<T>::type found = places<T>::of(rows.first * width + columns.first);
        for (int i = rows.first; i < rows.end; i++)
            for (int j = columns.first; j < columns.end; j++)
                improve(best, found, x[p.large.at(at.b, i, j, at.c)], i * width + j);
        y[e] = best;
        where[e] = found;
    }
}

template <class T, class I>
__global__ void give_max(T *dx, const T *dy, const typename places<T>::type *where, pooling<I> w, int64_t n)
{
    for (TS_CUDA_EACH(e, n)) {
        const pixel<I> at(w.large, (I)e);
        const range rows = w.windows(0, at.i), columns = w.windows(1, at.j);
        const int here = at.i * (int)w.large.W.by + at.j;
        T sum = all<T>(0);
        for (int p = rows.first; p < rows.end; p++)
            for (int q = columns.first; q < columns.end; q++) {
                const I from = w.small.at(at.b, p, q, at.c);
                sum = plus(sum, chosen(dy[from], where[from], here));
            }
        dx[e] = sum;
    }
}

/* ---- launches ---- */

template <class I> image<I> image_of(const ts_shape &s, int unit)
{
    return {ts_divisor<I>::of(s.dim[1]), ts_divisor<I>::of(s.dim[2]), ts_divisor<I>::of(s.dim[3] / unit)};
}

template <class I> pooling<I> pooling_of(const ts_desc *d, const ts_shape &large, const ts_shape &small, int unit)
{
    pooling<I> p = {image_of<I>(large, unit), image_of<I>(small, unit), {}, {}, {}};
    for (int i = 0; i < 2; i++) {
        p.size[i] = (int)d->attr.pool.size[i];
        const int64_t step = d->attr.pool.stride[i] ? d->attr.pool.stride[i] : d->attr.pool.size[i]; /* 0: upsampling */
        p.stride[i] = (int)(step < INT32_MAX ? step : INT32_MAX); /* no image is longer */
        p.pad[i] = (int)d->attr.pool.pad[i];
    }
    return p;
}

/* What the launches below share: a template of this shape is run as float4 where channels and memory allow. */
template <class T, class I> struct job {
    const ts_call *call;
    pooling<I> p;
    int64_t n; /* elements of the result */

    job(const ts_call *call_, const ts_shape &large, const ts_shape &small)
        : call(call_), p(pooling_of<I>(call_->desc, large, small, sizeof(T) / sizeof(float))),
          n(ts_shape_count(call_->desc->out[0].shape) / (int64_t)(sizeof(T) / sizeof(float)))
    {
    }
    const T *in(int k) const
    {
        return static_cast<const T *>(call->in[k]);
    }
    T *out() const
    {
        return static_cast<T *>(call->out[0]);
    }
    float share() const
    {
        return (float)(1.0 / ((double)p.size[0] * (double)p.size[1]));
    }
};

#define LAUNCH(kernel, ...)                                                                                            \
    TS_LAUNCH((kernel<T, I>), ts_cuda_grid(j.call, j.n), TS_CUDA_BLOCK, ts_cuda_stream(j.call), __VA_ARGS__)

struct upsample {
    template <class T, class I> static void run(const ts_call *call)
    {
        const job<T, I> j(call, call->desc->out[0].shape, call->desc->in[0].shape);
        LAUNCH(repeat, j.out(), j.in(0), j.p, ts_divisor<I>::of(j.p.size[0]), ts_divisor<I>::of(j.p.size[1]), j.n);
    }
};

/* Also the gradient of upsampling: windows side by side. */
template <bool MEAN> struct sums {
    template <class T, class I> static void run(const ts_call *call)
    {
        const job<T, I> j(call, call->desc->in[0].shape, call->desc->out[0].shape);
        LAUNCH(sum_windows, j.out(), j.in(0), j.p, MEAN ? j.share() : 1.0f, j.n);
    }
};

struct shares {
    template <class T, class I> static void run(const ts_call *call)
    {
        const job<T, I> j(call, call->desc->out[0].shape, call->desc->in[0].shape);
        LAUNCH(spread, j.out(), j.in(0), j.p, j.share(), j.n);
    }
};

struct maxima {
    template <class T, class I> static void run(const ts_call *call)
    {
        const job<T, I> j(call, call->desc->in[0].shape, call->desc->out[0].shape);
        LAUNCH(find_max, j.out(), static_cast<typename places<T>::type *>(call->out[1]), j.in(0), j.p, j.n);
    }
};

struct maxima_dx {
    template <class T, class I> static void run(const ts_call *call)
    {
        const job<T, I> j(call, call->desc->out[0].shape, call->desc->in[0].shape);
        LAUNCH(give_max, j.out(), j.in(0), static_cast<const typename places<T>::type *>(call->in[1]), j.p, j.n);
    }
};

template <class Job> void run(const ts_call *call)
{
    const ts_desc *d = call->desc;
    const int64_t n = ts_shape_count(d->out[0].shape), m = ts_shape_count(d->in[0].shape);
    bool fours = d->out[0].shape.dim[3] % 4 == 0;
    for (int k = 0; k < d->in_count; k++)
        fours = fours && ts_aligned16(call->in[k]);
    for (int k = 0; k < d->out_count; k++)
        fours = fours && ts_aligned16(call->out[k]);
    if (n == 0)
        return;
    if (!ts_walk_narrow(n) || !ts_walk_narrow(m))
        Job::template run<float, uint64_t>(call);
    else if (fours)
        Job::template run<float4, uint32_t>(call);
    else
        Job::template run<float, uint32_t>(call);
    ts_cuda_launched(call);
}

bool real(const ts_desc *d)
{
    return d->in[0].dtype == TS_F32 && d->out[0].dtype == TS_F32;
}

} // namespace

#define KERNEL(op, job_) extern "C" const ts_kernel ts_cuda_##op = {.name = "cuda", .accepts = real, .run = run<job_>}

KERNEL(upsample_nearest, upsample);
KERNEL(upsample_nearest_dx, sums<false>);
KERNEL(avg_pool, sums<true>);
KERNEL(avg_pool_dx, shares);
KERNEL(max_pool, maxima);
KERNEL(max_pool_dx, maxima_dx);
