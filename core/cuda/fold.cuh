/* Sums, maxima and the like over any axes of a tensor, in an order that the shape alone decides: the same bits on every
 * run and every GPU. An operation F says how:
 *
 *   total            its type
 *   start()          of no elements
 *   add(t, x)        t with one more element, a float
 *   join(s, t)       of both
 *   finish(t)        the float that it comes to
 *
 * Threads of a block share a result where there are many elements for each; where there are few results, several blocks
 * do, each of which takes a chunk of the elements and leaves a partial total in the scratch memory. */
#ifndef TS_CORE_CUDA_FOLD_CUH
#define TS_CORE_CUDA_FOLD_CUH

#include "core/cuda/bf16.cuh"
#include "core/cuda/walk.cuh"

enum { TS_FOLD_BLOCKS = 1024, TS_FOLD_LANE = 16 }; /* blocks to aim at; units at least for a lane of a chunk */
enum { TS_FOLD_WARP = 32, TS_FOLD_WARPS = TS_CUDA_BLOCK / 32 };

/* How the work is shared out. A unit is one element, or four neighbours that are loaded at once. */
struct ts_fold_plan {
    bool rows;          /* neighbours in memory belong to one result, else to neighbouring results */
    int width;          /* elements of a unit: 1 or 4 */
    int64_t results;    /* in units if not rows */
    int64_t length;     /* units that are joined to a result */
    int64_t tail;       /* elements that are, for rows that do not end with a unit */
    int lanes;          /* threads of a block that share a result, a power of two */
    int64_t chunk;      /* units of a block */
    int64_t chunks;     /* blocks that share a result */
    ts_axes kept, away; /* of the results, and of the elements of one */
};

static inline int ts_fold_power_of_two(int64_t below, int most)
{
    int power = 1;
    while (power < most && 2 * (int64_t)power <= below)
        power *= 2;
    return power;
}

static inline void ts_fold_share(ts_fold_plan *p)
{
    const int64_t spare = p->length / (p->rows ? 4 : 8);
    int lanes = ts_fold_power_of_two(spare, TS_CUDA_BLOCK);
    if (p->rows && lanes < 8)
        lanes = ts_fold_power_of_two(p->length, 8);
    const int least = p->rows ? 1 : TS_CUDA_BLOCK / 32; /* 32 neighbouring results a block where there are as many */
    const int most = TS_CUDA_BLOCK / ts_fold_power_of_two(2 * p->results - 1, TS_CUDA_BLOCK);
    if (!p->rows && lanes > (most > least ? most : least))
        lanes = most > least ? most : least;
    p->lanes = lanes;
    const int64_t together = TS_CUDA_BLOCK / lanes, groups = (p->results + together - 1) / together;
    int64_t chunks = groups ? TS_FOLD_BLOCKS / groups : 1;
    const int64_t worth = p->length / ((int64_t)lanes * TS_FOLD_LANE);
    chunks = chunks > worth ? worth : chunks;
    p->chunk = chunks > 1 ? (p->length + chunks - 1) / chunks : p->length;
    p->chunks = p->chunk ? (p->length + p->chunk - 1) / p->chunk : 1;
}

/* Over the axes of `axes` (bit i: axis i) of a tensor of this shape; aligned: it starts at 16 bytes. */
static inline ts_fold_plan ts_fold_plan_of(const ts_shape &x, uint32_t axes, bool aligned)
{
    ts_fold_plan p = {};
    int64_t stride = 1;
    bool first = true;
    for (int i = x.rank - 1; i >= 0; i--) {
        const bool away = axes >> i & 1;
        if (first && x.dim[i] != 1) {
            p.rows = away;
            first = false;
        }
        (away ? p.away : p.kept).add(x.dim[i], stride);
        stride *= x.dim[i];
    }
    ts_axes &inner = p.rows ? p.away : p.kept;
    p.tail = p.away.count();
    const bool all = p.rows && p.kept.rank == 0; /* one run: its last unit may be incomplete */
    p.width = aligned && inner.rank && ts_walk_narrow(stride) && (all || inner.dim[0] % 4 == 0) ? 4 : 1;
    if (p.width == 4) {
        inner.dim[0] = (inner.dim[0] + 3) / 4;
        inner.stride[0] = 4;
    }
    p.results = p.kept.count();
    p.length = p.away.count();
    ts_fold_share(&p);
    return p;
}

static inline size_t ts_fold_scratch(const ts_fold_plan &p, size_t total_bytes)
{
    return p.chunks > 1 ? (size_t)(p.chunks * p.results * (p.rows ? 1 : p.width)) * total_bytes : 0;
}

/* What a kernel needs of it. */
template <class I> struct ts_fold_part {
    ts_walk<I> kept, away;
    int64_t results, length, tail, chunk, chunks;
    int lanes;

    static ts_fold_part of(const ts_fold_plan &p)
    {
        return {
            ts_walk<I>::of(p.kept), ts_walk<I>::of(p.away), p.results, p.length, p.tail, p.chunk, p.chunks, p.lanes};
    }
};

template <class X, int WIDTH> struct ts_fold_unit {
    typedef X type;
};
template <> struct ts_fold_unit<float, 4> {
    typedef float4 type;
};
template <> struct ts_fold_unit<ts_bf16, 4> {
    typedef ts_bf16_four type;
};

/* Four elements of a row go into one total; of neighbouring results, into one each. */
template <class F, int WIDTH, bool ROWS, class U> __device__ void ts_fold_add(typename F::total *t, U x)
{
    if constexpr (WIDTH == 1) {
        t[0] = F::add(t[0], x);
    } else {
        t[0] = F::add(t[0], x.x);
        t[ROWS ? 0 : 1] = F::add(t[ROWS ? 0 : 1], x.y);
        t[ROWS ? 0 : 2] = F::add(t[ROWS ? 0 : 2], x.z);
        t[ROWS ? 0 : 3] = F::add(t[ROWS ? 0 : 3], x.w);
    }
}

/* The units of one lane, AHEAD of them under way at a time. */
template <class F, int WIDTH, bool ROWS, class X, class I>
__device__ void ts_fold_lane(typename F::total *t, const X *from, const ts_fold_part<I> &p, int64_t i, int64_t end)
{
    typedef typename ts_fold_unit<X, WIDTH>::type unit;
    constexpr int AHEAD = sizeof(unit) > 8 ? 4 : 8;
    const int64_t whole = WIDTH == 4 && ROWS && 4 * end > p.tail ? end - 1 : end;
    for (; i + (AHEAD - 1) * p.lanes < whole; i += AHEAD * p.lanes) {
        unit x[AHEAD];
#pragma unroll
        for (int j = 0; j < AHEAD; j++)
            x[j] = *reinterpret_cast<const unit *>(from + p.away.at((I)(i + j * p.lanes)));
#pragma unroll
        for (int j = 0; j < AHEAD; j++)
            ts_fold_add<F, WIDTH, ROWS>(t, x[j]);
    }
    for (; i < whole; i += p.lanes)
        ts_fold_add<F, WIDTH, ROWS>(t, *reinterpret_cast<const unit *>(from + p.away.at((I)i)));
    if (i < end)
        for (int64_t j = 4 * i; j < p.tail; j++)
            t[0] = F::add(t[0], from[j]);
}

/* The totals of a result's lanes, which are neighbouring threads, into the first of them. */
template <class F> __device__ void ts_fold_rows(typename F::total &t, int lanes)
{
    __shared__ typename F::total of_warp[TS_FOLD_WARPS];
    for (int step = (lanes < TS_FOLD_WARP ? lanes : TS_FOLD_WARP) / 2; step > 0; step /= 2)
        t = F::join(t, __shfl_xor_sync(0xffffffffu, t, step));
    if (lanes <= TS_FOLD_WARP)
        return;
    if (threadIdx.x % TS_FOLD_WARP == 0)
        of_warp[threadIdx.x / TS_FOLD_WARP] = t;
    __syncthreads();
    if (threadIdx.x % lanes == 0)
        for (int w = 1; w < lanes / TS_FOLD_WARP; w++)
            t = F::join(t, of_warp[threadIdx.x / TS_FOLD_WARP + w]);
}

/* The same of lanes that lie `apart` threads from each other. */
template <class F, int N> __device__ void ts_fold_columns(typename F::total (&t)[N], int lanes, int apart)
{
    __shared__ typename F::total part[N][TS_CUDA_BLOCK];
    const int lane = (int)threadIdx.x / apart;
    for (int j = 0; j < N; j++)
        part[j][threadIdx.x] = t[j];
    for (int step = lanes / 2; step > 0; step /= 2) {
        __syncthreads();
        if (lane < step)
            for (int j = 0; j < N; j++)
                part[j][threadIdx.x] = t[j] = F::join(t[j], part[j][threadIdx.x + step * apart]);
    }
}

/* x -> y [results], or where that is NULL -> partial [chunks, results] */
template <class F, class X, class I, int WIDTH, bool ROWS>
__global__ void ts_fold(ts_fold_part<I> p, const X *x, typename F::total *partial, float *y)
{
    constexpr int N = ROWS ? 1 : WIDTH;
    const int together = TS_CUDA_BLOCK / p.lanes;
    const int lane = ROWS ? threadIdx.x % p.lanes : threadIdx.x / together;
    const int64_t chunk = blockIdx.x % p.chunks;
    const int64_t result = blockIdx.x / p.chunks * together + (ROWS ? threadIdx.x / p.lanes : threadIdx.x % together);
    typename F::total t[N];
    for (int j = 0; j < N; j++)
        t[j] = F::start();
    if (result < p.results) {
        const int64_t end = (chunk + 1) * p.chunk < p.length ? (chunk + 1) * p.chunk : p.length;
        ts_fold_lane<F, WIDTH, ROWS>(t, x + p.kept.at((I)result), p, chunk * p.chunk + lane, end);
    }
    if constexpr (ROWS)
        ts_fold_rows<F>(t[0], p.lanes);
    else
        ts_fold_columns<F, N>(t, p.lanes, together);
    if (lane > 0 || result >= p.results)
        return;
    for (int j = 0; j < N; j++)
        if (y)
            y[result * N + j] = F::finish(t[j]);
        else
            partial[(chunk * p.results + result) * N + j] = t[j];
}

/* Partial totals are joined as an operation of its own. */
template <class F> struct ts_fold_joined {
    typedef typename F::total total;
    __device__ static total start()
    {
        return F::start();
    }
    __device__ static total add(total t, total x)
    {
        return F::join(t, x);
    }
    __device__ static total join(total s, total t)
    {
        return F::join(s, t);
    }
    __device__ static float finish(total t)
    {
        return F::finish(t);
    }
};

template <class F, class X, class I, int WIDTH, bool ROWS>
void ts_fold_launch(const ts_call *call, const ts_fold_plan &p, const X *x, typename F::total *partial, float *y)
{
    const int64_t together = TS_CUDA_BLOCK / p.lanes, blocks = (p.results + together - 1) / together * p.chunks;
    TS_LAUNCH_BLOCK((ts_fold<F, X, I, WIDTH, ROWS>), (unsigned)blocks, TS_CUDA_BLOCK, 0, ts_cuda_stream(call),
                    ts_fold_part<I>::of(p), x, partial, y);
    ts_cuda_launched(call);
}

template <class F, class X>
void ts_fold_first(const ts_call *call, const ts_fold_plan &p, const X *x, typename F::total *partial, float *y)
{
    if (!ts_walk_narrow(ts_shape_count(call->desc->in[0].shape)))
        p.rows ? ts_fold_launch<F, X, uint64_t, 1, true>(call, p, x, partial, y)
               : ts_fold_launch<F, X, uint64_t, 1, false>(call, p, x, partial, y);
    else if (p.width == 4)
        p.rows ? ts_fold_launch<F, X, uint32_t, 4, true>(call, p, x, partial, y)
               : ts_fold_launch<F, X, uint32_t, 4, false>(call, p, x, partial, y);
    else
        p.rows ? ts_fold_launch<F, X, uint32_t, 1, true>(call, p, x, partial, y)
               : ts_fold_launch<F, X, uint32_t, 1, false>(call, p, x, partial, y);
}

/* in[0], of X, over `axes` -> out[0], f32 */
template <class F, class X = float> void ts_fold_run(const ts_call *call, uint32_t axes)
{
    typedef typename F::total total;
    const ts_shape &x = call->desc->in[0].shape;
    const ts_fold_plan p = ts_fold_plan_of(x, axes, reinterpret_cast<uintptr_t>(call->in[0]) % (4 * sizeof(X)) == 0);
    float *y = static_cast<float *>(call->out[0]);
    total *partial = static_cast<total *>(call->scratch);
    if (p.results == 0)
        return;
    ts_fold_first<F>(call, p, static_cast<const X *>(call->in[0]), partial, p.chunks > 1 ? nullptr : y);
    if (p.chunks == 1)
        return;
    const ts_shape rest = {2, {p.chunks, p.results * (p.rows ? 1 : p.width)}};
    ts_fold_plan q = ts_fold_plan_of(rest, 1, false);
    q.chunk = q.length;
    q.chunks = 1;
    if (q.rows) /* of one result */
        ts_fold_launch<ts_fold_joined<F>, total, uint32_t, 1, true>(call, q, partial, nullptr, y);
    else
        ts_fold_launch<ts_fold_joined<F>, total, uint32_t, 1, false>(call, q, partial, nullptr, y);
}

template <class F> size_t ts_fold_bytes(const ts_desc *d, uint32_t axes)
{
    const ts_shape &x = d->in[0].shape;
    const size_t wide = ts_fold_scratch(ts_fold_plan_of(x, axes, true), sizeof(typename F::total));
    const size_t narrow = ts_fold_scratch(ts_fold_plan_of(x, axes, false), sizeof(typename F::total));
    return wide > narrow ? wide : narrow;
}

#endif
