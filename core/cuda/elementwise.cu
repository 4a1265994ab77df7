/* Elementwise ops. Bound by memory: one pass, 16 bytes at a time (core/cuda/map.cuh). */
#include "core/cuda/elementwise.cuh"
#include "core/cuda/map.cuh"

namespace
{

template <class Of, int K> void run_repeated(const ts_call *call)
{
    ts_map_repeated<K>(call, Of{});
}

template <class Of, int K> void run_flat(const ts_call *call)
{
    const auto &scalar = call->desc->attr.scalar;
    ts_map_flat<K>(call, Of{(float)scalar.a, (float)scalar.b});
}

/* Of f32 or, where all are of one shape, of bf16. */
bool accepts_both(const ts_desc *desc)
{
    return ts_all_f32(desc) || ts_flat_bf16(desc);
}

template <class Of, int K> void run_both(const ts_call *call)
{
    const auto &scalar = call->desc->attr.scalar;
    const Of f{(float)scalar.a, (float)scalar.b};
    if (call->desc->out[0].dtype == TS_BF16)
        ts_map_flat_half<K>(call, f);
    else
        ts_map_flat<K>(call, f);
}

void run_add(const ts_call *call)
{
    if (call->desc->out[0].dtype == TS_BF16)
        ts_map_flat_half<2>(call, add_of{});
    else
        ts_map_repeated<2>(call, add_of{});
}

/* What is chosen may also be i32, which is moved as the bits that it is. */
bool accepts_where(const ts_desc *desc)
{
    const ts_dtype dtype = desc->out[0].dtype;
    return desc->in[0].dtype == TS_F32 && (dtype == TS_F32 || dtype == TS_I32) && desc->in[1].dtype == dtype &&
           desc->in[2].dtype == dtype;
}

/* ---- cast ---- */

/* Integers take the part before the point; what does not fit is the nearest that does, and NaN is 0. */
template <class To> __device__ To to_integer(double x, double lo, double hi)
{
    return x != x ? (To)0 : (To)(x < lo ? lo : x > hi ? hi : x);
}

template <class From> __device__ double widen(From x)
{
    return (double)x;
}

__device__ void narrow(float *to, double x)
{
    *to = (float)x;
}

__device__ void narrow(ts_bf16 *to, double x)
{
    *to = ts_bf16::of((float)x);
}

__device__ void narrow(int32_t *to, double x)
{
    *to = to_integer<int32_t>(x, INT32_MIN, INT32_MAX);
}

__device__ void narrow(int64_t *to, double x)
{
    *to = to_integer<int64_t>(x, -0x1p62, 0x1p62);
}

__device__ void narrow(uint8_t *to, double x)
{
    *to = to_integer<uint8_t>(x, 0, UINT8_MAX);
}

/* Four neighbours, moved in as few pieces as their size allows. */
template <class T> struct alignas(sizeof(T) < 4 ? 4 * sizeof(T) : 16) quad {
    T x[4];
};

template <class To, class From> __global__ void cast_fours(To *to, const From *from, int64_t n)
{
    for (TS_CUDA_EACH(v, n / 4)) {
        const quad<From> x = reinterpret_cast<const quad<From> *>(from)[v];
        quad<To> y;
        for (int j = 0; j < 4; j++)
            narrow(&y.x[j], widen(x.x[j]));
        reinterpret_cast<quad<To> *>(to)[v] = y;
    }
    const int64_t last = n / 4 * 4 + threadIdx.x;
    if (blockIdx.x == 0 && last < n)
        narrow(&to[last], widen(from[last]));
}

template <class To, class From> __global__ void cast_ones(To *to, const From *from, int64_t n)
{
    for (TS_CUDA_EACH(i, n))
        narrow(&to[i], widen(from[i]));
}

template <class To, class From> void cast(const ts_call *call)
{
    const int64_t n = ts_shape_count(call->desc->out[0].shape);
    To *to = static_cast<To *>(call->out[0]);
    const From *from = static_cast<const From *>(call->in[0]);
    if (n == 0)
        return;
    if (ts_aligned16(to) && ts_aligned16(from))
        TS_LAUNCH((cast_fours<To, From>), ts_cuda_grid(call, (n + 3) / 4), TS_CUDA_BLOCK, ts_cuda_stream(call), to,
                  from, n);
    else
        TS_LAUNCH((cast_ones<To, From>), ts_cuda_grid(call, n), TS_CUDA_BLOCK, ts_cuda_stream(call), to, from, n);
    ts_cuda_launched(call);
}

template <class To> void cast_to(const ts_call *call)
{
    switch (call->desc->in[0].dtype) {
    case TS_F32:
        return cast<To, float>(call);
    case TS_BF16:
        return cast<To, ts_bf16>(call);
    case TS_I32:
        return cast<To, int32_t>(call);
    case TS_I64:
        return cast<To, int64_t>(call);
    default:
        return cast<To, uint8_t>(call);
    }
}

void run_cast(const ts_call *call)
{
    switch (call->desc->out[0].dtype) {
    case TS_F32:
        return cast_to<float>(call);
    case TS_BF16:
        return cast_to<ts_bf16>(call);
    case TS_I32:
        return cast_to<int32_t>(call);
    case TS_I64:
        return cast_to<int64_t>(call);
    default:
        return cast_to<uint8_t>(call);
    }
}

} // namespace

#define KERNEL(op, run_)       extern "C" const ts_kernel ts_cuda_##op = {.name = "cuda", .accepts = ts_all_f32, .run = run_}
#define KERNEL_REPEATED(op, K) KERNEL(op, (run_repeated<op##_of, K>))
#define KERNEL_FLAT(op, K)     KERNEL(op, (run_flat<op##_of, K>))
#define KERNEL_BOTH(op, run_)                                                                                          \
    extern "C" const ts_kernel ts_cuda_##op = {.name = "cuda", .accepts = accepts_both, .run = run_, .bf16 = true}

KERNEL_BOTH(add, run_add);
KERNEL_REPEATED(subtract, 2);
KERNEL_REPEATED(mul, 2);
KERNEL_REPEATED(div, 2);
KERNEL_REPEATED(maximum, 2);
KERNEL_REPEATED(minimum, 2);
KERNEL_REPEATED(greater, 2);
KERNEL_FLAT(affine, 1);
KERNEL_FLAT(square, 1);
KERNEL_FLAT(sqrt, 1);
KERNEL_FLAT(exp, 1);
KERNEL_FLAT(log, 1);
KERNEL_FLAT(abs, 1);
KERNEL_FLAT(clamp, 1);
KERNEL_FLAT(smooth_abs, 1);
KERNEL_BOTH(relu, (run_both<relu_of, 1>));
KERNEL_BOTH(leaky_relu, (run_both<leaky_relu_of, 1>));
KERNEL_BOTH(elu, (run_both<elu_of, 1>));
KERNEL_BOTH(silu, (run_both<silu_of, 1>));
KERNEL_BOTH(gelu, (run_both<gelu_of, 1>));
KERNEL_BOTH(gelu_tanh, (run_both<gelu_tanh_of, 1>));
KERNEL_BOTH(tanh, (run_both<tanh_of, 1>));
KERNEL_FLAT(sigmoid, 1);
KERNEL_FLAT(softplus, 1);
KERNEL_FLAT(clamp_dx, 2);
KERNEL_BOTH(relu_dx, (run_both<relu_dx_of, 2>));
KERNEL_BOTH(tanh_dx, (run_both<tanh_dx_of, 2>));
KERNEL_FLAT(sigmoid_dx, 2);
KERNEL_BOTH(leaky_relu_dx, (run_both<leaky_relu_dx_of, 2>));
KERNEL_BOTH(elu_dx, (run_both<elu_dx_of, 2>));
KERNEL_BOTH(silu_dx, (run_both<silu_dx_of, 2>));
KERNEL_BOTH(gelu_dx, (run_both<gelu_dx_of, 2>));
KERNEL_BOTH(gelu_tanh_dx, (run_both<gelu_tanh_dx_of, 2>));

extern "C" const ts_kernel ts_cuda_where = {.name = "cuda", .accepts = accepts_where, .run = run_repeated<where_of, 3>};
extern "C" const ts_kernel ts_cuda_cast = {.name = "cuda", .run = run_cast};
