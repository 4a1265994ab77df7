/* A chain: its program goes to the kernel as an argument, and a thread takes four elements through all of it. What the
 * steps hand on lies in shared memory, a place of its own for each thread, so that slots are found by number without
 * registers being indexed. Steps are the function objects of the single ops, and what is between them is rounded to
 * f32 as it would be in memory: results are theirs to the bit. */
#include "core/cuda/elementwise.cuh"
#include "core/cuda/map.cuh"

namespace
{

struct step {
    uint8_t op, in[3], out;
    int8_t result;
    float a, b;
};

template <class I> struct program {
    int operands, steps;
    ts_repeated<I> in[TS_MAX_IN];
    float *result[TS_MAX_OUT];
    step at[TS_CHAIN_STEPS];
};

/* One element or four. */
template <class F> __device__ float apply(const F &f, float x)
{
    return f(x);
}

template <class F> __device__ float apply(const F &f, float x, float u)
{
    return f(x, u);
}

template <class F> __device__ float apply(const F &f, float x, float u, float v)
{
    return f(x, u, v);
}

template <class F> __device__ float4 apply(const F &f, const float4 &x)
{
    return make_float4(f(x.x), f(x.y), f(x.z), f(x.w));
}

template <class F> __device__ float4 apply(const F &f, const float4 &x, const float4 &u)
{
    return make_float4(f(x.x, u.x), f(x.y, u.y), f(x.z, u.z), f(x.w, u.w));
}

template <class F> __device__ float4 apply(const F &f, const float4 &x, const float4 &u, const float4 &v)
{
    return make_float4(f(x.x, u.x, v.x), f(x.y, u.y, v.y), f(x.z, u.z, v.z), f(x.w, u.w, v.w));
}

/* V is float or float4; `slot` is this thread's, the next one lies blockDim.x further on. */
template <class V> __device__ V run_step(const step &s, const V *slot)
{
    const V x = slot[s.in[0] * blockDim.x];
    switch (s.op) {
#define TAKES_ONE(op)                                                                                                  \
    case TS_OP_##op:                                                                                                   \
        return apply(op##_of{s.a, s.b}, x);
        TS_CHAIN_ONE(TAKES_ONE)
#define TAKES_SLOPE(op)                                                                                                \
    case TS_OP_##op:                                                                                                   \
        return apply(op##_of{s.a, s.b}, x, slot[s.in[1] * blockDim.x]);
        TS_CHAIN_SLOPE(TAKES_SLOPE)
#define TAKES_TWO(op)                                                                                                  \
    case TS_OP_##op:                                                                                                   \
        return apply(op##_of{}, x, slot[s.in[1] * blockDim.x]);
        TS_CHAIN_TWO(TAKES_TWO)
    default:
        return apply(where_of{}, x, slot[s.in[1] * blockDim.x], slot[s.in[2] * blockDim.x]);
    }
}

template <class I> __device__ void read(float *to, const ts_repeated<I> &from, int64_t i)
{
    *to = from.one(i);
}

template <class I> __device__ void read(float4 *to, const ts_repeated<I> &from, int64_t i)
{
    *to = from.four(i);
}

__device__ void put(float *to, float y)
{
    ts_put_one(to, y);
}

__device__ void put(float *to, const float4 &y)
{
    ts_put_four(to, y);
}

/* Elements i and on, as many as V has. A result may lie where an operand was, which has been read then. */
template <class V, class I> __device__ void run_program(const program<I> &p, V *slot, int64_t i)
{
#pragma unroll 1
    for (int k = 0; k < p.operands; k++)
        read(&slot[k * blockDim.x], p.in[k], i);
#pragma unroll 1
    for (int k = 0; k < p.steps; k++) {
        const V y = run_step(p.at[k], slot);
        slot[p.at[k].out * blockDim.x] = y;
        if (p.at[k].result >= 0)
            put(p.result[p.at[k].result] + i, y);
    }
}

template <class V, class I> __global__ void chain(const __grid_constant__ program<I> p, int64_t n)
{
    constexpr int wide = sizeof(V) / sizeof(float);
    TS_DYNAMIC_SHARED(V, slots);
    for (TS_CUDA_EACH(v, n / wide))
        run_program(p, slots + threadIdx.x, wide * v);
}

/* Operand k as it is read: repeats [outer, size, each]. */
template <class I> ts_repeated<I> operand(const ts_call *call, int k, int64_t n)
{
    const int64_t size = ts_shape_count(call->desc->in[k].shape), each = call->desc->attr.chain.each[k];
    ts_shape own = {}, whole = {};
    own.rank = whole.rank = 3;
    own.dim[0] = own.dim[2] = 1;
    own.dim[1] = size;
    whole.dim[0] = n / (size * each);
    whole.dim[1] = size;
    whole.dim[2] = each;
    if (size == 1) { /* one for everything */
        whole.dim[0] = n;
        whole.dim[2] = 1;
    }
    return ts_repeated<I>::of(call->in[k], own, whole);
}

template <class V, class I> void launch(const ts_call *call, const program<I> &p, int64_t n)
{
    const size_t shared = (size_t)call->desc->attr.chain.slots * TS_CUDA_BLOCK * sizeof(V);
    TS_LAUNCH_BLOCK((chain<V, I>), ts_cuda_grid(call, n / (int64_t)(sizeof(V) / sizeof(float))), TS_CUDA_BLOCK, shared,
                    ts_cuda_stream(call), p, n);
    ts_cuda_launched(call);
}

template <class I> void run_as(const ts_call *call, bool fours)
{
    const ts_desc *d = call->desc;
    const int64_t n = ts_shape_count(d->out[0].shape);
    program<I> p = {d->in_count, d->attr.chain.count, {}, {}, {}};
    for (int k = 0; k < d->in_count; k++) {
        p.in[k] = operand<I>(call, k, n);
        fours = fours && p.in[k].aligned();
    }
    for (int k = 0; k < d->out_count; k++) {
        p.result[k] = ts_cuda_out(call, k);
        fours = fours && ts_aligned16(p.result[k]);
    }
    for (int k = 0; k < d->attr.chain.count; k++) {
        const ts_chain_step *s = &d->attr.chain.step[k];
        p.at[k] = {s->op, {s->in[0], s->in[1], s->in[2]}, s->out, s->result, (float)s->a, (float)s->b};
    }
    if (fours && n % 4 == 0)
        launch<float4, I>(call, p, n);
    else
        launch<float, I>(call, p, n);
}

void run(const ts_call *call)
{
    if (ts_shape_count(call->desc->out[0].shape) == 0)
        return;
    if (ts_walk_narrow(ts_shape_count(call->desc->out[0].shape)))
        run_as<uint32_t>(call, true);
    else
        run_as<uint64_t>(call, true);
}

} // namespace

extern "C" const ts_kernel ts_cuda_chain = {.name = "cuda", .accepts = ts_all_f32, .run = run};
