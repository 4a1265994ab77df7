/* Kernels over columns of x [segments, rows, C]: a thread keeps its channel and walks down the rows. Sums go in double,
 * over fixed chunks of rows, in order; how many chunks is said by the shape alone, so that they have the same bits on
 * every GPU. */
#ifndef TS_CORE_CUDA_COLUMNS_CUH
#define TS_CORE_CUDA_COLUMNS_CUH

#include "core/cuda/cuda.h"

struct ts_columns {
    int64_t segments, rows;
    int C;
    int lanes;            /* channels that lie side by side in a block, a power of 2, at most 32 */
    int col_blocks;       /* that many blocks for C */
    int64_t chunks, step; /* of a segment: `chunks` of `step` rows, the last one maybe shorter */
};

static inline ts_columns ts_columns_of(int64_t segments, int64_t rows, int C)
{
    ts_columns s = {segments, rows, C, 1, 0, 1, rows};
    while (s.lanes < C && s.lanes < 32)
        s.lanes *= 2;
    s.col_blocks = (C + s.lanes - 1) / s.lanes;
    const int64_t others = segments * s.col_blocks, wanted = others ? (1024 + others - 1) / others : 1;
    const int64_t least = 4 * (TS_CUDA_BLOCK / s.lanes); /* four rows for each thread */
    s.step = (rows + wanted - 1) / wanted;
    s.step = s.step < least ? least : s.step;
    s.chunks = (rows + s.step - 1) / s.step;
    return s;
}

static inline unsigned ts_columns_grid(const ts_columns *s)
{
    return (unsigned)(s->segments * s->chunks * s->col_blocks);
}

/* What a thread of such a grid walks over: rows from `row`, counted over all segments, to below `end`. */
struct ts_column {
    int64_t segment, chunk; /* chunk counts over all segments too */
    int64_t row, end;
    int step;
    int c; /* C or more: there is none */
};

__device__ static inline ts_column ts_column_of(const ts_columns &s)
{
    ts_column t;
    t.chunk = blockIdx.x / s.col_blocks;
    t.segment = t.chunk / s.chunks;
    const int64_t first = (t.chunk - t.segment * s.chunks) * s.step, left = s.rows - first;
    const int64_t top = t.segment * s.rows + first;
    t.row = top + threadIdx.x / s.lanes;
    t.end = top + (left < s.step ? left : s.step);
    t.step = TS_CUDA_BLOCK / s.lanes;
    t.c = (int)(blockIdx.x % s.col_blocks) * s.lanes + (int)threadIdx.x % s.lanes;
    return t;
}

/* Two sums per channel. */
struct ts_pair {
    double a, b;
};

/* The sums of the threads of a block that share a channel; right in the first of them, which has row 0. */
__device__ static inline ts_pair ts_column_fold(ts_pair sum, int lanes)
{
    __shared__ ts_pair part[TS_CUDA_BLOCK];
    part[threadIdx.x] = sum;
    __syncthreads();
    for (int k = (int)threadIdx.x + lanes; (int)threadIdx.x < lanes && k < TS_CUDA_BLOCK; k += lanes) {
        sum.a += part[k].a;
        sum.b += part[k].b;
    }
    return sum;
}

/* partial [segments * chunks, C] = sums over a chunk's rows of f.at(segment, c)(sum, element, row) */
template <class F> __global__ void ts_column_sums(ts_pair *partial, F f, ts_columns s)
{
    const ts_column t = ts_column_of(s);
    ts_pair sum = {0, 0};
    if (t.c < s.C) {
        const auto g = f.at(t.segment, t.c);
        for (int64_t row = t.row; row < t.end; row += t.step)
            g(sum, row * s.C + t.c, row);
    }
    sum = ts_column_fold(sum, s.lanes);
    if ((int)threadIdx.x < s.lanes && t.c < s.C)
        partial[t.chunk * s.C + t.c] = sum;
}

/* a, b [C] = sums over `count` rows of partial [count, C]; b may be NULL */
static __global__ void ts_column_totals(float *a, float *b, const ts_pair *partial, int64_t count, ts_columns s)
{
    const int c = (int)blockIdx.x * s.lanes + (int)threadIdx.x % s.lanes;
    ts_pair sum = {0, 0};
    for (int64_t k = threadIdx.x / s.lanes; c < s.C && k < count; k += TS_CUDA_BLOCK / s.lanes) {
        sum.a += partial[k * s.C + c].a;
        sum.b += partial[k * s.C + c].b;
    }
    sum = ts_column_fold(sum, s.lanes);
    if ((int)threadIdx.x < s.lanes && c < s.C) {
        a[c] = (float)sum.a;
        if (b)
            b[c] = (float)sum.b;
    }
}

static inline size_t ts_columns_scratch(const ts_columns *s)
{
    return (size_t)(s->segments * s->chunks * s->C) * sizeof(ts_pair);
}

template <class F> void ts_run_column_sums(const ts_call *call, ts_pair *partial, const F &f, const ts_columns &s)
{
    if (ts_columns_grid(&s))
        TS_LAUNCH_BLOCK(ts_column_sums<F>, ts_columns_grid(&s), TS_CUDA_BLOCK, 0, ts_cuda_stream(call), partial, f, s);
}

static inline void ts_run_column_totals(const ts_call *call, float *a, float *b, const ts_pair *partial,
                                        const ts_columns &s)
{
    TS_LAUNCH_BLOCK(ts_column_totals, (unsigned)s.col_blocks, TS_CUDA_BLOCK, 0, ts_cuda_stream(call), a, b, partial,
                    s.segments * s.chunks, s);
    ts_cuda_launched(call);
}

#endif
