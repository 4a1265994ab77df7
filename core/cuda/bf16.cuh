/* bf16 in memory: one number, and four neighbours that are moved at once. */
#ifndef TS_CORE_CUDA_BF16_CUH
#define TS_CORE_CUDA_BF16_CUH

#include "core/cuda/cuda.h"

struct ts_bf16 {
    uint16_t bits;

    __device__ operator float() const
    {
        return ts_f32_from_bf16(bits);
    }
    __device__ static ts_bf16 of(float x)
    {
        return {ts_bf16_from_f32(x)};
    }
};

struct alignas(8) ts_bf16_four {
    ts_bf16 x, y, z, w;
};

#endif
