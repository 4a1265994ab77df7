/* Finite scalar quantization in one pass over memory, by the arithmetic of core/fsq.h. A thread has a row of D numbers;
 * rows pass through shared memory, so that reads and writes of the tensors are whole lines whatever D is. */
#include <math.h>

#include "core/cuda/walk.cuh"

extern "C" {
#include "core/fsq.h"
}

namespace
{

enum { ROWS = TS_CUDA_BLOCK };

/* A block's rows in shared memory, at an odd pitch, so that threads in step meet different banks. D: dims that are
 * known to the compiler, or 0. */
template <int D> struct tile {
    float *at;
    int dims, pitch;

    __device__ tile(float *memory, const ts_fsq_table &f)
        : at(memory), dims(D ? D : f.count), pitch(D ? D | 1 : f.count | 1)
    {
    }
    __device__ float *row(int r) const
    {
        return at + r * (D ? D | 1 : pitch);
    }
    __device__ float &element(int e) const
    {
        return row(e / (D ? D : dims))[e % (D ? D : dims)];
    }

    __device__ void load(const float *from, int count, bool aligned) const
    {
        for (int e = (int)threadIdx.x * 4; e < count; e += ROWS * 4) {
            if (aligned && e + 3 < count) {
                const float4 x = *reinterpret_cast<const float4 *>(from + e);
                element(e) = x.x;
                element(e + 1) = x.y;
                element(e + 2) = x.z;
                element(e + 3) = x.w;
                continue;
            }
            for (int j = e; j < count && j < e + 4; j++)
                element(j) = from[j];
        }
    }
    __device__ void store(float *to, int count, bool aligned) const
    {
        for (int e = (int)threadIdx.x * 4; e < count; e += ROWS * 4) {
            if (aligned && e + 3 < count) {
                *reinterpret_cast<float4 *>(to + e) =
                    make_float4(element(e), element(e + 1), element(e + 2), element(e + 3));
                continue;
            }
            for (int j = e; j < count && j < e + 4; j++)
                to[j] = element(j);
        }
    }
};

template <int D> constexpr int tile_size()
{
    return ROWS * (D ? D | 1 : TS_MAX_LEVELS | 1);
}

/* One row, z -> codes in place; gives the id. */
template <int D> __device__ int32_t quantize_row(float *row, const ts_fsq_table &f)
{
    const int dims = D ? D : f.count;
    int32_t id = 0;
    bool bad = false;
#pragma unroll
    for (int i = 0; i < dims; i++) {
        const int32_t k = ts_fsq_level(&f, i, ts_fsq_squash(&f, i, row[i]));
        row[i] = ts_fsq_code(&f, i, k);
        bad |= k < 0;
        id += k * f.basis[i];
    }
    return bad ? -1 : id;
}

/* Four dims are a float4: no other thread need help. */
__device__ void quantize_four(float *codes, int32_t *ids, const float *z, const ts_fsq_table &f, int64_t N)
{
    for (TS_CUDA_EACH(n, N)) {
        const float4 x = reinterpret_cast<const float4 *>(z)[n];
        float row[4] = {x.x, x.y, x.z, x.w};
        ids[n] = quantize_row<4>(row, f);
        reinterpret_cast<float4 *>(codes)[n] = make_float4(row[0], row[1], row[2], row[3]);
    }
}

/* z [N, D] -> codes [N, D], ids [N] */
template <int D>
__global__ void quantize(float *codes, int32_t *ids, const float *z, const __grid_constant__ ts_fsq_table f,
                         bool aligned, int64_t N)
{
    if (D == 4 && aligned)
        return quantize_four(codes, ids, z, f, N);
    __shared__ float memory[tile_size<D>()];
    const tile<D> t(memory, f);
    for (int64_t first = (int64_t)blockIdx.x * ROWS; first < N; first += (int64_t)gridDim.x * ROWS) {
        const int rows = N - first < ROWS ? (int)(N - first) : ROWS;
        t.load(z + first * t.dims, rows * t.dims, aligned);
        __syncthreads();
        if ((int)threadIdx.x < rows)
            ids[first + threadIdx.x] = quantize_row<D>(t.row((int)threadIdx.x), f);
        __syncthreads();
        t.store(codes + first * t.dims, rows * t.dims, aligned);
        __syncthreads();
    }
}

struct code_of {
    typedef float type;
    __device__ static float get(const ts_fsq_table &f, int i, int32_t id)
    {
        return ts_fsq_code(&f, i, ts_fsq_level_of_id(&f, i, id));
    }
};

struct level_of {
    typedef int32_t type;
    __device__ static float get(const ts_fsq_table &f, int i, int32_t id)
    {
        return __int_as_float(ts_fsq_level_of_id(&f, i, id)); /* the tile only moves it */
    }
};

/* ids [N] -> to [N, D] */
template <class Of>
__global__ void unfold(float *to, const int32_t *ids, const __grid_constant__ ts_fsq_table f, bool aligned, int64_t N)
{
    __shared__ float memory[tile_size<0>()];
    const tile<0> t(memory, f);
    for (int64_t first = (int64_t)blockIdx.x * ROWS; first < N; first += (int64_t)gridDim.x * ROWS) {
        const int rows = N - first < ROWS ? (int)(N - first) : ROWS;
        if ((int)threadIdx.x < rows) {
            const int32_t id = ids[first + threadIdx.x];
            for (int i = 0; i < f.count; i++)
                t.row((int)threadIdx.x)[i] = Of::get(f, i, id);
        }
        __syncthreads();
        t.store(to + first * f.count, rows * f.count, aligned);
        __syncthreads();
    }
}

/* codes [N, D] -> ids [N] */
__global__ void find_ids(int32_t *ids, const float *codes, const __grid_constant__ ts_fsq_table f, bool aligned,
                         int64_t N)
{
    __shared__ float memory[tile_size<0>()];
    const tile<0> t(memory, f);
    for (int64_t first = (int64_t)blockIdx.x * ROWS; first < N; first += (int64_t)gridDim.x * ROWS) {
        const int rows = N - first < ROWS ? (int)(N - first) : ROWS;
        t.load(codes + first * f.count, rows * f.count, aligned);
        __syncthreads();
        if ((int)threadIdx.x < rows) {
            int32_t id = 0;
            bool bad = false;
            for (int i = 0; i < f.count; i++) {
                const int32_t k = ts_fsq_level_of_code(&f, i, t.row((int)threadIdx.x)[i]);
                bad |= k < 0;
                id += k * f.basis[i];
            }
            ids[first + threadIdx.x] = bad ? -1 : id;
        }
        __syncthreads();
    }
}

/* ---- the gradient: element by element ---- */

/* Dims of neighbouring elements. The table is in shared memory: threads read different entries of it. */
template <class I> struct slopes {
    const ts_fsq_table *f;
    ts_divisor<I> dims;

    __device__ int dim_of(int64_t e) const
    {
        return (int)((I)e - dims.quotient((I)e) * dims.by);
    }
    __device__ int after(int i) const
    {
        return i + 1 == (int)dims.by ? 0 : i + 1;
    }
    __device__ float at(int i, float z) const
    {
        return ts_fsq_derivative(f, i, z);
    }
};

/* dcodes, z [n] -> dz [n], which may be dcodes; fours: by float4, all three aligned */
template <class I>
__global__ void quantize_dx(float *dz, const float *dcodes, const float *z, const __grid_constant__ ts_fsq_table table,
                            ts_divisor<I> dims, bool fours, int64_t n)
{
    __shared__ ts_fsq_table f;
    if (threadIdx.x == 0)
        f = table;
    __syncthreads();
    const slopes<I> s = {&f, dims};
    const int64_t whole = fours ? n / 4 : 0;
    for (TS_CUDA_EACH(v, whole)) {
        const float4 g = reinterpret_cast<const float4 *>(dcodes)[v], x = reinterpret_cast<const float4 *>(z)[v];
        const int i0 = s.dim_of(4 * v), i1 = s.after(i0), i2 = s.after(i1), i3 = s.after(i2);
        reinterpret_cast<float4 *>(dz)[v] =
            make_float4(g.x * s.at(i0, x.x), g.y * s.at(i1, x.y), g.z * s.at(i2, x.z), g.w * s.at(i3, x.w));
    }
    for (TS_CUDA_EACH(j, n - 4 * whole)) {
        const int64_t e = 4 * whole + j;
        dz[e] = dcodes[e] * s.at(s.dim_of(e), z[e]);
    }
}

/* ---- launches ---- */

/* The table of a call; its options were checked when the graph was built. */
ts_fsq_table table_of(const ts_call *call)
{
    ts_fsq_table f;
    ts_fsq_table_init(&f, &call->desc->attr.fsq, nullptr);
    return f;
}

template <int D> void quantize_rows(const ts_call *call, const ts_fsq_table &f, int64_t N)
{
    TS_LAUNCH_BLOCK(quantize<D>, ts_cuda_grid(call, N), ROWS, 0, ts_cuda_stream(call),
                    static_cast<float *>(call->out[0]), static_cast<int32_t *>(call->out[1]),
                    static_cast<const float *>(call->in[0]), f, ts_aligned16(call->in[0]) && ts_aligned16(call->out[0]),
                    N);
    ts_cuda_launched(call);
}

void run_quantize(const ts_call *call)
{
    const ts_fsq_table f = table_of(call);
    const int64_t N = ts_shape_count(call->desc->out[1].shape);
    if (N == 0)
        return;
    switch (f.count) {
    case 3:
        return quantize_rows<3>(call, f, N);
    case 4:
        return quantize_rows<4>(call, f, N);
    case 5:
        return quantize_rows<5>(call, f, N);
    case 6:
        return quantize_rows<6>(call, f, N);
    case 8:
        return quantize_rows<8>(call, f, N);
    default:
        return quantize_rows<0>(call, f, N);
    }
}

template <class I> void run_dx_as(const ts_call *call, int64_t n)
{
    const ts_fsq_table f = table_of(call);
    const bool fours = ts_aligned16(call->in[0]) && ts_aligned16(call->in[1]) && ts_aligned16(call->out[0]);
    TS_LAUNCH_BLOCK(quantize_dx<I>, ts_cuda_grid(call, fours ? (n + 3) / 4 : n), TS_CUDA_BLOCK, 0, ts_cuda_stream(call),
                    static_cast<float *>(call->out[0]), static_cast<const float *>(call->in[0]),
                    static_cast<const float *>(call->in[1]), f, ts_divisor<I>::of(f.count), fours, n);
    ts_cuda_launched(call);
}

void run_quantize_dx(const ts_call *call)
{
    const int64_t n = ts_shape_count(call->desc->out[0].shape);
    if (n == 0)
        return;
    ts_walk_narrow(n) ? run_dx_as<uint32_t>(call, n) : run_dx_as<uint64_t>(call, n);
}

template <class Of> void run_unfold(const ts_call *call)
{
    const int64_t N = ts_shape_count(call->desc->in[0].shape);
    if (N == 0)
        return;
    TS_LAUNCH_BLOCK(unfold<Of>, ts_cuda_grid(call, N), ROWS, 0, ts_cuda_stream(call),
                    static_cast<float *>(call->out[0]), static_cast<const int32_t *>(call->in[0]), table_of(call),
                    ts_aligned16(call->out[0]), N);
    ts_cuda_launched(call);
}

void run_find_ids(const ts_call *call)
{
    const int64_t N = ts_shape_count(call->desc->out[0].shape);
    if (N == 0)
        return;
    TS_LAUNCH_BLOCK(find_ids, ts_cuda_grid(call, N), ROWS, 0, ts_cuda_stream(call),
                    static_cast<int32_t *>(call->out[0]), static_cast<const float *>(call->in[0]), table_of(call),
                    ts_aligned16(call->in[0]), N);
    ts_cuda_launched(call);
}

} // namespace

extern "C" const ts_kernel ts_cuda_fsq = {.name = "cuda", .run = run_quantize};
extern "C" const ts_kernel ts_cuda_fsq_dx = {.name = "cuda", .run = run_quantize_dx};
extern "C" const ts_kernel ts_cuda_fsq_decode = {.name = "cuda", .run = run_unfold<code_of>};
extern "C" const ts_kernel ts_cuda_fsq_levels = {.name = "cuda", .run = run_unfold<level_of>};
extern "C" const ts_kernel ts_cuda_fsq_ids = {.name = "cuda", .run = run_find_ids};
