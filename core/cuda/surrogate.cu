#include <math.h>

#include "core/cuda/map.cuh"

namespace
{

struct round_of {
    __device__ float operator()(float x) const
    {
        return rintf(x);
    }
};

struct floor_of {
    __device__ float operator()(float x) const
    {
        return floorf(x);
    }
};

struct sign_of {
    __device__ float operator()(float x) const
    {
        return x > 0 ? 1.0f : x < 0 ? -1.0f : x == 0 ? 0.0f : x;
    }
};

template <class F> void run(const ts_call *call)
{
    ts_map_flat<1>(call, F{});
}

} // namespace

extern "C" const ts_kernel ts_cuda_round = {.name = "cuda", .accepts = ts_all_f32, .run = run<round_of>};
extern "C" const ts_kernel ts_cuda_floor = {.name = "cuda", .accepts = ts_all_f32, .run = run<floor_of>};
extern "C" const ts_kernel ts_cuda_sign = {.name = "cuda", .accepts = ts_all_f32, .run = run<sign_of>};
