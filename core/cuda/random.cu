/* Draws: the bits of core/random.h. Operand 0 is {seed, step}. */
#include "core/cuda/walk.cuh"

#include "core/philox.h"

namespace
{

/* What a thread draws with. */
struct source {
    ts_philox_key key;
    uint64_t step;

    __device__ source(const int64_t *seed_and_step, uint64_t stream)
        : key(ts_philox_key_of({(uint64_t)seed_and_step[0], stream})), step((uint64_t)seed_and_step[1])
    {
    }
    __device__ ts_philox_block block(int64_t index) const
    {
        return ts_philox_draw(key, step, (uint64_t)index);
    }
};

struct uniform {
    __device__ float4 operator()(const ts_philox_block &b) const
    {
        return make_float4(ts_philox_unit(b.word[0]), ts_philox_unit(b.word[1]), ts_philox_unit(b.word[2]),
                           ts_philox_unit(b.word[3]));
    }
};

/* Box and Muller's pair, in double as in core/random.c; sine and cosine of 2 pi u are asked for as such, which is as
 * exact and takes no reduction of the angle. */
__device__ float2 normal_pair(uint32_t a, uint32_t b)
{
    double sine, cosine;
    const double radius = sqrt(-2.0 * log(1.0 - (double)ts_philox_unit(a)));
    sincospi(2.0 * (double)ts_philox_unit(b), &sine, &cosine);
    return make_float2((float)(radius * cosine), (float)(radius * sine));
}

struct normal {
    __device__ float4 operator()(const ts_philox_block &b) const
    {
        const float2 first = normal_pair(b.word[0], b.word[1]), second = normal_pair(b.word[2], b.word[3]);
        return make_float4(first.x, first.y, second.x, second.y);
    }
};

/* A block of random bits makes four neighbours. */
template <class F>
__global__ void draw_reals(F f, float *y, const int64_t *seed_and_step, uint64_t stream, bool aligned, int64_t n)
{
    const source from(seed_and_step, stream);
    for (TS_CUDA_EACH(b, (n + 3) / 4)) {
        const float4 x = f(from.block(b));
        float *to = y + 4 * b;
        if (aligned && 4 * b + 3 < n) {
            *reinterpret_cast<float4 *>(to) = x;
            continue;
        }
        to[0] = x.x;
        if (4 * b + 1 < n)
            to[1] = x.y;
        if (4 * b + 2 < n)
            to[2] = x.z;
        if (4 * b + 3 < n)
            to[3] = x.w;
    }
}

__global__ void draw_indices(int32_t *y, const int64_t *seed_and_step, uint64_t stream, uint64_t below, bool aligned,
                             int64_t n)
{
    const source from(seed_and_step, stream);
    for (TS_CUDA_EACH(b, (n + 1) / 2)) {
        const ts_philox_block words = from.block(b);
        const int2 x = make_int2((int)ts_philox_below(words.word, below), (int)ts_philox_below(words.word + 2, below));
        if (aligned && 2 * b + 1 < n) {
            *reinterpret_cast<int2 *>(y + 2 * b) = x;
            continue;
        }
        y[2 * b] = x.x;
        if (2 * b + 1 < n)
            y[2 * b + 1] = x.y;
    }
}

template <class F> void run_reals(const ts_call *call)
{
    const int64_t n = ts_shape_count(call->desc->out[0].shape);
    if (n == 0)
        return;
    TS_LAUNCH(draw_reals<F>, ts_cuda_grid(call, (n + 3) / 4), TS_CUDA_BLOCK, ts_cuda_stream(call), F{},
              static_cast<float *>(call->out[0]), static_cast<const int64_t *>(call->in[0]),
              call->desc->attr.random.stream, ts_aligned16(call->out[0]), n);
    ts_cuda_launched(call);
}

void run_indices(const ts_call *call)
{
    const int64_t n = ts_shape_count(call->desc->out[0].shape);
    if (n == 0)
        return;
    TS_LAUNCH(draw_indices, ts_cuda_grid(call, (n + 1) / 2), TS_CUDA_BLOCK, ts_cuda_stream(call),
              static_cast<int32_t *>(call->out[0]), static_cast<const int64_t *>(call->in[0]),
              call->desc->attr.random.stream, (uint64_t)call->desc->attr.random.below, ts_aligned16(call->out[0]), n);
    ts_cuda_launched(call);
}

bool gives_f32(const ts_desc *desc)
{
    return desc->out[0].dtype == TS_F32;
}

} // namespace

extern "C" const ts_kernel ts_cuda_random_uniform = {.name = "cuda", .accepts = gives_f32, .run = run_reals<uniform>};
extern "C" const ts_kernel ts_cuda_random_normal = {.name = "cuda", .accepts = gives_f32, .run = run_reals<normal>};
extern "C" const ts_kernel ts_cuda_random_index = {.name = "cuda", .run = run_indices};
