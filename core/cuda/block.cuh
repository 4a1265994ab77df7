/* Sums and maxima over groups of threads in a fixed order: a result has the same bits on every run and every GPU. Each
 * thread of the group gets it, and all threads of the warp, or block, must take part. */
#ifndef TS_CORE_CUDA_BLOCK_CUH
#define TS_CORE_CUDA_BLOCK_CUH

#include "core/cuda/launch.h"

enum { TS_WARP = 32 };
enum : unsigned { TS_ALL_LANES = 0xffffffffu };

struct ts_plus {
    template <class T> __device__ T operator()(T a, T b) const
    {
        return a + b;
    }
};

/* The larger one; a is kept against NaN. */
struct ts_larger {
    template <class T> __device__ T operator()(T a, T b) const
    {
        return b > a ? b : a;
    }
};

/* GROUP, a power of 2: up to 32 neighbouring lanes of a warp; or all threads of the block, which has so many, all in x,
 * with two barriers. */
template <int GROUP, class T, class F> __device__ T ts_group_fold(T x, F f)
{
    TS_UNROLL
    for (int step = (GROUP < TS_WARP ? GROUP : TS_WARP) / 2; step > 0; step /= 2)
        x = f(x, __shfl_xor_sync(TS_ALL_LANES, x, step));
    if constexpr (GROUP > TS_WARP) {
        __shared__ T part[GROUP / TS_WARP];
        if (threadIdx.x % TS_WARP == 0)
            part[threadIdx.x / TS_WARP] = x;
        __syncthreads();
        x = part[0];
        for (int warp = 1; warp < GROUP / TS_WARP; warp++)
            x = f(x, part[warp]);
        __syncthreads();
    }
    return x;
}

template <int GROUP, class T> __device__ T ts_group_sum(T x)
{
    return ts_group_fold<GROUP>(x, ts_plus{});
}

template <int GROUP, class T> __device__ T ts_group_max(T x)
{
    return ts_group_fold<GROUP>(x, ts_larger{});
}

#endif
