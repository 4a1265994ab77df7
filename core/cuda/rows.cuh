/* Kernels over rows [count, C]: each row is walked by a group of threads, 8 or 32 lanes or a block, as its length asks
 * for. Groups beyond the last row do the last row's work again, so that every lane is there when sums are made. */
#ifndef TS_CORE_CUDA_ROWS_CUH
#define TS_CORE_CUDA_ROWS_CUH

#include "core/cuda/block.cuh"
#include "core/cuda/cuda.h"

struct ts_rows {
    int64_t count;
    int C;
};

/* Of a tensor whose last axis is C, at least 1. */
static inline ts_rows ts_rows_of(const ts_type *t)
{
    const int64_t C = t->shape.dim[t->shape.rank - 1];
    return {ts_shape_count(t->shape) / C, (int)C};
}

/* Every operand's last axis is counted in 32 bits. */
static inline bool ts_rows_fit(const ts_desc *d)
{
    bool fits = true;
    for (int i = 0; i < d->in_count; i++) {
        const ts_shape s = d->in[i].shape;
        fits &= s.rank < 1 || s.dim[s.rank - 1] <= INT32_MAX - TS_CUDA_BLOCK;
    }
    return fits;
}

template <int GROUP> __device__ int64_t ts_row(ts_rows r)
{
    const int64_t row = (int64_t)blockIdx.x * (TS_CUDA_BLOCK / GROUP) + threadIdx.x / GROUP;
    return row < r.count ? row : r.count - 1;
}

/* False in a group that does the last row's work again: for kernels that write where they read. */
template <int GROUP> __device__ bool ts_row_mine(ts_rows r)
{
    return (int64_t)blockIdx.x * (TS_CUDA_BLOCK / GROUP) + threadIdx.x / GROUP < r.count;
}

/* for (TS_ROW_EACH(GROUP, c, C)): this thread's elements of the row. */
#define TS_ROW_EACH(group, c, C)                                                                                       \
    int c = (int)threadIdx.x % (group);                                                                                \
    c < (C);                                                                                                           \
    c += (group)

/* kernel<GROUP>(arguments ...) */
#define TS_LAUNCH_ROWS(call, rows, kernel, ...)                                                                        \
    do {                                                                                                               \
        const int group_ = (rows).C <= 16 ? 8 : (rows).C <= 1024 ? 32 : TS_CUDA_BLOCK;                                 \
        const int each_ = TS_CUDA_BLOCK / group_;                                                                      \
        const unsigned blocks_ = (unsigned)(((rows).count + each_ - 1) / each_);                                       \
        if (blocks_ == 0)                                                                                              \
            break;                                                                                                     \
        if (group_ == 8)                                                                                               \
            TS_LAUNCH_BLOCK(kernel<8>, blocks_, TS_CUDA_BLOCK, 0, ts_cuda_stream(call), __VA_ARGS__);                  \
        else if (group_ == 32)                                                                                         \
            TS_LAUNCH_BLOCK(kernel<32>, blocks_, TS_CUDA_BLOCK, 0, ts_cuda_stream(call), __VA_ARGS__);                 \
        else                                                                                                           \
            TS_LAUNCH_BLOCK(kernel<TS_CUDA_BLOCK>, blocks_, TS_CUDA_BLOCK, 0, ts_cuda_stream(call), __VA_ARGS__);      \
        ts_cuda_launched(call);                                                                                        \
    } while (0)

#endif
