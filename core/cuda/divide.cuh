/* Division by what is known when a kernel is launched: a multiplication and a shift instead of some twenty
 * instructions. */
#ifndef TS_CORE_CUDA_DIVIDE_CUH
#define TS_CORE_CUDA_DIVIDE_CUH

#include "core/cuda/launch.h"

#include <stdint.h>

/* n / d for 0 <= n < 2^31, 0 < d < 2^31. With 2^bits >= d, multiplier * d is above 2^(31 + bits) by at most d, which is
 * too little to reach the next quotient. */
struct ts_divider {
    int d;
    unsigned multiplier;
    int shift;

    __host__ __device__ explicit ts_divider(int64_t divisor) : d((int)divisor), multiplier(0), shift(31)
    {
        while ((int64_t)1 << (shift - 31) < divisor)
            shift++;
        multiplier = (unsigned)(((uint64_t)1 << shift) / (uint64_t)divisor + 1);
    }
    __device__ int quotient(int n) const
    {
        return (int)((uint64_t)(unsigned)n * multiplier >> shift);
    }
    /* The remainder; *n becomes the quotient. */
    __device__ int split(int *n) const
    {
        const int q = quotient(*n), rest = *n - q * d;
        *n = q;
        return rest;
    }
};

#endif
