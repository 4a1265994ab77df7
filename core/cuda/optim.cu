/* Optimizer steps: one pass over the store's flat blocks, bound by memory. The scalars (learning rate, scale of the
 * gradient, `ok`) are read on the device, so that a recording stays good while they change. */
#include <math.h>

#include "core/cuda/fold.cuh"
#include "core/cuda/map.cuh"

namespace
{

/* A scalar operand; 1 where absent. */
__device__ float scalar(const float *p)
{
    return p ? *p : 1.0f;
}

/* Nothing is written where operand `ok` is 0 or NaN. */
__device__ bool allowed(const float *ok)
{
    return scalar(ok) > 0;
}

/* The operands of one update of N variables: s holds an element of each, x is the gradient's or the source's. */
template <int N> struct blocks {
    float *s[N];
    const float *x, *ok;
    int64_t n;
};

template <class F, int N> __global__ void update_fours(typename F::scalars given, blocks<N> b)
{
    if (!allowed(b.ok))
        return;
    const F f(given);
    for (TS_CUDA_EACH(i, b.n / 4)) {
        float4 s[N];
        const float4 x = reinterpret_cast<const float4 *>(b.x)[i];
#pragma unroll
        for (int k = 0; k < N; k++)
            s[k] = reinterpret_cast<const float4 *>(b.s[k])[i];
        float first[N], second[N], third[N], fourth[N];
#pragma unroll
        for (int k = 0; k < N; k++) {
            first[k] = s[k].x;
            second[k] = s[k].y;
            third[k] = s[k].z;
            fourth[k] = s[k].w;
        }
        f(first, x.x);
        f(second, x.y);
        f(third, x.z);
        f(fourth, x.w);
#pragma unroll
        for (int k = 0; k < N; k++)
            reinterpret_cast<float4 *>(b.s[k])[i] = make_float4(first[k], second[k], third[k], fourth[k]);
    }
}

/* The elements from `from` on, one by one. */
template <class F, int N> __global__ void update_ones(typename F::scalars given, blocks<N> b, int64_t from)
{
    if (!allowed(b.ok))
        return;
    const F f(given);
    for (TS_CUDA_EACH(j, b.n - from)) {
        float s[N];
#pragma unroll
        for (int k = 0; k < N; k++)
            s[k] = b.s[k][from + j];
        f(s, b.x[from + j]);
#pragma unroll
        for (int k = 0; k < N; k++)
            b.s[k][from + j] = s[k];
    }
}

template <class F, int N> void update(const ts_call *call, const typename F::scalars &given, const blocks<N> &b)
{
    bool aligned = ts_aligned16(b.x);
    for (int k = 0; k < N; k++)
        aligned = aligned && ts_aligned16(b.s[k]);
    const int64_t fours = aligned ? b.n / 4 : 0, rest = b.n - 4 * fours;
    if (fours)
        TS_LAUNCH((update_fours<F, N>), ts_cuda_grid(call, fours), TS_CUDA_BLOCK, ts_cuda_stream(call), given, b);
    if (rest)
        TS_LAUNCH((update_ones<F, N>), ts_cuda_grid(call, rest), TS_CUDA_BLOCK, ts_cuda_stream(call), given, b,
                  4 * fours);
    ts_cuda_launched(call);
}

template <int N> blocks<N> blocks_of(const ts_call *call, int x, int ok)
{
    blocks<N> b = {};
    for (int k = 0; k < N; k++)
        b.s[k] = static_cast<float *>(call->in[k]);
    b.x = static_cast<const float *>(call->in[x]);
    b.ok = ok < call->desc->in_count ? static_cast<const float *>(call->in[ok]) : nullptr;
    b.n = ts_shape_count(call->desc->in[0].shape);
    return b;
}

const float *operand(const ts_call *call, int k)
{
    return k < call->desc->in_count ? static_cast<const float *>(call->in[k]) : nullptr;
}

/* ---- adamw: p, m, v, gradient, lr, corrections [2], scale, ok ---- */

struct adam {
    struct scalars {
        double beta1, beta2, eps, weight_decay;
        bool coupled;
        const float *lr, *corrections, *scale;
    };
    float beta1, beta2, rest1, rest2, eps, keep, decay, lr, scale, correction1, correction2;

    /* keep: of the value, 1 - lr * decay; decay: into the gradient */
    __device__ explicit adam(const scalars &g)
        : beta1((float)g.beta1), beta2((float)g.beta2), rest1(1.0f - beta1), rest2(1.0f - beta2), eps((float)g.eps),
          keep(g.coupled ? 1.0f : (float)(1 - (double)scalar(g.lr) * g.weight_decay)),
          decay(g.coupled ? (float)g.weight_decay : 0.0f), lr(scalar(g.lr)), scale(scalar(g.scale)),
          correction1(g.corrections[0]), correction2(g.corrections[1])
    {
    }
    __device__ void operator()(float (&s)[3], float gradient) const
    {
        const float p = s[0], g = gradient * scale + decay * p;
        const float m = s[1] = beta1 * s[1] + rest1 * g;
        const float v = s[2] = beta2 * s[2] + rest2 * g * g;
        s[0] = keep * p - lr * (m / correction1) / (sqrtf(v / correction2) + eps);
    }
};

void run_adamw(const ts_call *call)
{
    const auto &o = call->desc->attr.optim;
    const adam::scalars given = {o.beta1,          o.beta2,          o.eps,           o.weight_decay, o.coupled,
                                 operand(call, 4), operand(call, 5), operand(call, 6)};
    update<adam, 3>(call, given, blocks_of<3>(call, 3, 7));
}

/* ---- sgd: p, buffer or none, gradient, lr, scale, ok ---- */

template <int N> struct descent {
    struct scalars {
        double momentum, weight_decay;
        bool nesterov;
        const float *lr, *scale;
    };
    float momentum, decay, lr, scale;
    bool nesterov;

    __device__ explicit descent(const scalars &g)
        : momentum((float)g.momentum), decay((float)g.weight_decay), lr(scalar(g.lr)), scale(scalar(g.scale)),
          nesterov(g.nesterov)
    {
    }
    __device__ void operator()(float (&s)[N], float gradient) const
    {
        float g = gradient * scale + decay * s[0];
        if constexpr (N == 2) {
            s[1] = momentum * s[1] + g;
            g = nesterov ? g + momentum * s[1] : s[1];
        }
        s[0] -= lr * g;
    }
};

template <int N> void descend(const ts_call *call)
{
    const auto &o = call->desc->attr.optim;
    const typename descent<N>::scalars given = {o.momentum, o.weight_decay, o.nesterov, operand(call, 3),
                                                operand(call, 4)};
    update<descent<N>, N>(call, given, blocks_of<N>(call, 2, 5));
}

void run_sgd(const ts_call *call)
{
    call->in[1] ? descend<2>(call) : descend<1>(call);
}

/* ---- ema: e, x, ok ---- */

struct average {
    struct scalars {
        double decay;
    };
    float decay, rest;

    __device__ explicit average(const scalars &g) : decay((float)g.decay), rest((float)(1 - g.decay))
    {
    }
    __device__ void operator()(float (&s)[1], float x) const
    {
        s[0] = decay * s[0] + rest * x;
    }
};

void run_ema(const ts_call *call)
{
    update<average, 1>(call, {call->desc->attr.optim.decay}, blocks_of<1>(call, 1, 2));
}

/* ---- assign, assign_add: to, x, ok ---- */

template <class T> __global__ void copy_if(T *to, const T *x, const float *ok, int64_t n)
{
    if (!allowed(ok))
        return;
    for (TS_CUDA_EACH(i, n))
        to[i] = x[i];
}

template <class T> void copy(const ts_call *call, int64_t first, int64_t bytes)
{
    const int64_t n = (bytes - first) / (int64_t)sizeof(T);
    if (n)
        TS_LAUNCH(copy_if<T>, ts_cuda_grid(call, n), TS_CUDA_BLOCK, ts_cuda_stream(call),
                  reinterpret_cast<T *>(static_cast<char *>(call->in[0]) + first),
                  reinterpret_cast<const T *>(static_cast<const char *>(call->in[1]) + first), operand(call, 2), n);
}

void run_assign(const ts_call *call)
{
    const ts_type &t = call->desc->in[0];
    const int64_t bytes = ts_shape_count(t.shape) * (int64_t)ts_dtype_bytes(t.dtype);
    const int64_t whole = ts_aligned16(call->in[0]) && ts_aligned16(call->in[1]) ? bytes / 16 * 16 : 0;
    copy<uint4>(call, 0, whole);
    if (ts_dtype_bytes(t.dtype) % 4 == 0)
        copy<uint32_t>(call, whole, bytes);
    else
        copy<uint8_t>(call, whole, bytes);
    ts_cuda_launched(call);
}

struct sum {
    struct scalars {
    };
    __device__ explicit sum(const scalars &)
    {
    }
    __device__ void operator()(float (&s)[1], float x) const
    {
        s[0] += x;
    }
};

template <class T> __global__ void add_if(T *to, const T *x, const float *ok, int64_t n)
{
    if (!allowed(ok))
        return;
    for (TS_CUDA_EACH(i, n))
        to[i] += x[i];
}

template <class T> void add_integers(const ts_call *call)
{
    const int64_t n = ts_shape_count(call->desc->in[0].shape);
    if (n)
        TS_LAUNCH(add_if<T>, ts_cuda_grid(call, n), TS_CUDA_BLOCK, ts_cuda_stream(call), static_cast<T *>(call->in[0]),
                  static_cast<const T *>(call->in[1]), operand(call, 2), n);
    ts_cuda_launched(call);
}

void run_assign_add(const ts_call *call)
{
    switch (call->desc->in[0].dtype) {
    case TS_I32:
        return add_integers<int32_t>(call);
    case TS_I64:
        return add_integers<int64_t>(call);
    default:
        return update<sum, 1>(call, {}, blocks_of<1>(call, 1, 2));
    }
}

/* ---- global_norm ---- */

struct norm_of {
    typedef double total;
    __device__ static double start()
    {
        return 0;
    }
    __device__ static double add(double t, float x)
    {
        return t + (double)x * (double)x;
    }
    __device__ static double join(double s, double t)
    {
        return s + t;
    }
    __device__ static float finish(double t)
    {
        return (float)sqrt(t);
    }
};

uint32_t all_axes(const ts_desc *d)
{
    return (1u << d->in[0].shape.rank) - 1;
}

ts_status prepare_norm(const ts_desc *d, ts_device *, void **, size_t *scratch, ts_error *)
{
    *scratch = ts_fold_bytes<norm_of>(d, all_axes(d));
    return TS_OK;
}

void run_norm(const ts_call *call)
{
    ts_fold_run<norm_of>(call, all_axes(call->desc));
}

bool can_add(const ts_desc *d)
{
    const ts_dtype dtype = d->in[0].dtype;
    return dtype == TS_F32 || dtype == TS_I32 || dtype == TS_I64;
}

} // namespace

extern "C" const ts_kernel ts_cuda_adamw = {.name = "cuda", .accepts = ts_all_f32, .run = run_adamw};
extern "C" const ts_kernel ts_cuda_sgd = {.name = "cuda", .accepts = ts_all_f32, .run = run_sgd};
extern "C" const ts_kernel ts_cuda_ema = {.name = "cuda", .accepts = ts_all_f32, .run = run_ema};
extern "C" const ts_kernel ts_cuda_assign = {.name = "cuda", .run = run_assign};
extern "C" const ts_kernel ts_cuda_assign_add = {.name = "cuda", .accepts = can_add, .run = run_assign_add};
extern "C" const ts_kernel ts_cuda_global_norm = {
    .name = "cuda", .accepts = ts_all_f32, .prepare = prepare_norm, .run = run_norm};
