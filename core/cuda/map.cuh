/* y[i] = f(a[i], b[i], c[i]), one pass over memory. Where memory allows it a thread takes four elements in 16 bytes; an
 * operand that is repeated (a bias, a mask of rows, a scalar) is read through its walk, and stays in the caches. */
#ifndef TS_CORE_CUDA_MAP_CUH
#define TS_CORE_CUDA_MAP_CUH

#include "core/cuda/bf16.cuh"
#include "core/cuda/walk.cuh"

/* How four neighbouring elements of the result find theirs in an operand. */
enum ts_reading {
    TS_READ_FLAT,  /* element i is element i */
    TS_READ_ONE,   /* all of them are element 0 */
    TS_READ_RUN,   /* four neighbours, aligned to 16 bytes */
    TS_READ_LOOSE, /* four neighbours */
    TS_READ_SAME,  /* one for all four */
    TS_READ_ANY    /* each has a place of its own */
};

template <class I> struct ts_repeated {
    const float *p;
    ts_reading reading;
    ts_walk<I> walk;

    __device__ float one(int64_t i) const
    {
        return p[reading == TS_READ_FLAT ? (I)i : reading == TS_READ_ONE ? 0 : walk.at((I)i)];
    }
    __device__ float4 four(int64_t i) const
    {
        if (reading == TS_READ_FLAT)
            return *reinterpret_cast<const float4 *>(p + i);
        if (reading == TS_READ_ANY)
            return make_float4(one(i), one(i + 1), one(i + 2), one(i + 3));
        const float *from = reading == TS_READ_ONE ? p : p + walk.at((I)i);
        if (reading == TS_READ_RUN)
            return *reinterpret_cast<const float4 *>(from);
        if (reading == TS_READ_LOOSE)
            return make_float4(from[0], from[1], from[2], from[3]);
        return make_float4(*from, *from, *from, *from);
    }
    bool aligned() const
    {
        return reading != TS_READ_FLAT || ts_aligned16(p);
    }
    static ts_repeated of(const void *p, const ts_shape &x, const ts_shape &y)
    {
        ts_axes axes = ts_axes_repeated(x, y);
        ts_repeated o = {static_cast<const float *>(p), TS_READ_ANY, ts_walk<I>::of(axes)};
        if (ts_shape_count(x) == ts_shape_count(y))
            o.reading = TS_READ_FLAT;
        else if (ts_shape_count(x) == 1)
            o.reading = TS_READ_ONE;
        else if (axes.dim[0] % 4 == 0)
            o.reading = axes.stride[0] == 0 ? TS_READ_SAME : ts_aligned16(p) ? TS_READ_RUN : TS_READ_LOOSE;
        return o;
    }
};

/* An operand of the result's shape. */
struct ts_flat {
    const float *p;

    __device__ float one(int64_t i) const
    {
        return p[i];
    }
    __device__ float4 four(int64_t i) const
    {
        return *reinterpret_cast<const float4 *>(p + i);
    }
    bool aligned() const
    {
        return ts_aligned16(p);
    }
    static ts_flat of(const void *p, const ts_shape &, const ts_shape &)
    {
        return {static_cast<const float *>(p)};
    }
};

/* An operand of the result's shape, as bf16. */
struct ts_flat_half {
    const ts_bf16 *p;

    __device__ float one(int64_t i) const
    {
        return p[i];
    }
    __device__ float4 four(int64_t i) const
    {
        const ts_bf16_four q = *reinterpret_cast<const ts_bf16_four *>(p + i);
        return make_float4(q.x, q.y, q.z, q.w);
    }
    bool aligned() const
    {
        return reinterpret_cast<uintptr_t>(p) % sizeof(ts_bf16_four) == 0;
    }
    static ts_flat_half of(const void *p, const ts_shape &, const ts_shape &)
    {
        return {static_cast<const ts_bf16 *>(p)};
    }
};

__device__ static inline void ts_put_one(float *to, float y)
{
    *to = y;
}

__device__ static inline void ts_put_one(ts_bf16 *to, float y)
{
    *to = ts_bf16::of(y);
}

__device__ static inline void ts_put_four(float *to, float4 y)
{
    *reinterpret_cast<float4 *>(to) = y;
}

__device__ static inline void ts_put_four(ts_bf16 *to, float4 y)
{
    *reinterpret_cast<ts_bf16_four *>(to) = {ts_bf16::of(y.x), ts_bf16::of(y.y), ts_bf16::of(y.z), ts_bf16::of(y.w)};
}

/* K operands: O is ts_flat, ts_flat_half or ts_repeated. */
template <class O, int K> struct ts_operands {
    O at[K];
};

template <class F, class O, int K> __device__ float ts_map_one(const F &f, const ts_operands<O, K> &in, int64_t i)
{
    if constexpr (K == 1)
        return f(in.at[0].one(i));
    else if constexpr (K == 2)
        return f(in.at[0].one(i), in.at[1].one(i));
    else
        return f(in.at[0].one(i), in.at[1].one(i), in.at[2].one(i));
}

template <class F, class O, int K> __device__ float4 ts_map_four(const F &f, const ts_operands<O, K> &in, int64_t i)
{
    const float4 a = in.at[0].four(i);
    if constexpr (K == 1) {
        return make_float4(f(a.x), f(a.y), f(a.z), f(a.w));
    } else {
        const float4 b = in.at[1].four(i);
        if constexpr (K == 2) {
            return make_float4(f(a.x, b.x), f(a.y, b.y), f(a.z, b.z), f(a.w, b.w));
        } else {
            const float4 c = in.at[2].four(i);
            return make_float4(f(a.x, b.x, c.x), f(a.y, b.y, c.y), f(a.z, b.z, c.z), f(a.w, b.w, c.w));
        }
    }
}

/* y [n], aligned like every FLAT operand; y may be the first operand. The last n % 4 go one by one. */
template <class F, class O, int K, class Y> __global__ void ts_map_fours(F f, ts_operands<O, K> in, Y *y, int64_t n)
{
    for (TS_CUDA_EACH(v, n / 4))
        ts_put_four(y + 4 * v, ts_map_four<F, O, K>(f, in, 4 * v));
    const int64_t last = n / 4 * 4 + threadIdx.x;
    if (blockIdx.x == 0 && last < n)
        ts_put_one(y + last, ts_map_one<F, O, K>(f, in, last));
}

template <class F, class O, int K, class Y> __global__ void ts_map_ones(F f, ts_operands<O, K> in, Y *y, int64_t n)
{
    for (TS_CUDA_EACH(i, n))
        ts_put_one(y + i, ts_map_one<F, O, K>(f, in, i));
}

template <class F, class O, int K, bool FOURS, class Y = float> void ts_map_as(const ts_call *call, F f)
{
    const ts_shape &y = call->desc->out[0].shape;
    const int64_t n = ts_shape_count(y);
    Y *to = static_cast<Y *>(call->out[0]);
    ts_operands<O, K> in;
    bool aligned = reinterpret_cast<uintptr_t>(to) % (4 * sizeof(Y)) == 0;
    for (int k = 0; k < K; k++) {
        in.at[k] = O::of(call->in[k], call->desc->in[k].shape, y);
        aligned = aligned && in.at[k].aligned();
    }
    if (n == 0)
        return;
    if constexpr (FOURS)
        if (aligned) {
            TS_LAUNCH((ts_map_fours<F, O, K, Y>), ts_cuda_grid(call, (n + 3) / 4), TS_CUDA_BLOCK, ts_cuda_stream(call),
                      f, in, to, n);
            return ts_cuda_launched(call);
        }
    TS_LAUNCH((ts_map_ones<F, O, K, Y>), ts_cuda_grid(call, n), TS_CUDA_BLOCK, ts_cuda_stream(call), f, in, to, n);
    ts_cuda_launched(call);
}

/* out[0] = f of K operands of its shape, all f32. */
template <int K, class F> void ts_map_flat(const ts_call *call, F f)
{
    ts_map_as<F, ts_flat, K, true>(call, f);
}

/* The same, all bf16. */
template <int K, class F> void ts_map_flat_half(const ts_call *call, F f)
{
    ts_map_as<F, ts_flat_half, K, true, ts_bf16>(call, f);
}

/* out[0] = f of K operands that repeat to its shape, all f32. */
template <int K, class F> void ts_map_repeated(const ts_call *call, F f)
{
    if (ts_walk_narrow(ts_shape_count(call->desc->out[0].shape)))
        ts_map_as<F, ts_repeated<uint32_t>, K, true>(call, f);
    else
        ts_map_as<F, ts_repeated<uint64_t>, K, false>(call, f);
}

/* Every operand and the result are f32. */
static inline bool ts_all_f32(const ts_desc *desc)
{
    for (int k = 0; k < desc->in_count; k++)
        if (ts_type_present(&desc->in[k]) && desc->in[k].dtype != TS_F32)
            return false;
    return desc->out_count == 0 || desc->out[0].dtype == TS_F32;
}

/* Every operand and the result are bf16, and of one shape. */
static inline bool ts_flat_bf16(const ts_desc *desc)
{
    bool all = desc->out[0].dtype == TS_BF16;
    for (int k = 0; k < desc->in_count; k++)
        all = all && desc->in[k].dtype == TS_BF16 && ts_shape_equal(desc->in[k].shape, desc->out[0].shape);
    return all;
}

#endif
