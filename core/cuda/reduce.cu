#include "core/cuda/fold.cuh"
#include "core/cuda/map.cuh"

namespace
{

/* In double, as the reference: the adders keep up with the memory. */
struct sum_of {
    typedef double total;
    __device__ static double start()
    {
        return 0;
    }
    __device__ static double add(double t, float x)
    {
        return t + (double)x;
    }
    __device__ static double join(double s, double t)
    {
        return s + t;
    }
    __device__ static float finish(double t)
    {
        return (float)t;
    }
};

/* A NaN is larger than everything. */
struct amax_of {
    typedef float total;
    __device__ static float start()
    {
        return -INFINITY;
    }
    __device__ static float add(float t, float x)
    {
        return x != x || x > t ? x : t;
    }
    __device__ static float join(float s, float t)
    {
        return add(s, t);
    }
    __device__ static float finish(float t)
    {
        return t;
    }
};

template <class F> ts_status prepare_fold(const ts_desc *d, ts_device *, void **, size_t *scratch, ts_error *)
{
    *scratch = ts_fold_bytes<F>(d, d->attr.axis.axes);
    return TS_OK;
}

template <class F> void run_fold(const ts_call *call)
{
    ts_fold_run<F>(call, call->desc->attr.axis.axes);
}

bool accepts_sum(const ts_desc *d)
{
    return d->out[0].dtype == TS_F32 && (d->in[0].dtype == TS_F32 || d->in[0].dtype == TS_BF16);
}

void run_sum(const ts_call *call)
{
    const uint32_t axes = call->desc->attr.axis.axes;
    if (call->desc->in[0].dtype == TS_BF16)
        ts_fold_run<sum_of, ts_bf16>(call, axes);
    else
        ts_fold_run<sum_of>(call, axes);
}

struct same {
    __device__ float operator()(float x) const
    {
        return x;
    }
};

void run_broadcast(const ts_call *call)
{
    ts_map_repeated<1>(call, same{});
}

/* ---- cumsum: x, y [outer, length, inner] ---- */

struct scan {
    int64_t lanes, length, inner; /* lanes: outer * inner, each of them summed along its length */
    bool reverse;

    /* The first element of a lane, and the step to the next, with the sign of the direction. */
    __device__ int64_t first(int64_t lane) const
    {
        return lane / inner * length * inner + lane % inner + (reverse ? (length - 1) * inner : 0);
    }
    __device__ int64_t step() const
    {
        return reverse ? -inner : inner;
    }
};

enum { WARP = 32, AHEAD = 8 };

/* Lanes are neighbours in memory: a thread walks down each, with AHEAD elements under way. */
__global__ void cumsum_columns(float *__restrict__ y, const float *__restrict__ x, scan s)
{
    for (TS_CUDA_EACH(lane, s.lanes)) {
        const int64_t first = s.first(lane), step = s.step();
        double total = 0;
        for (int64_t t = 0; t < s.length; t += AHEAD) {
            float ahead[AHEAD];
#pragma unroll
            for (int j = 0; j < AHEAD; j++)
                ahead[j] = t + j < s.length ? x[first + (t + j) * step] : 0;
#pragma unroll
            for (int j = 0; j < AHEAD; j++) {
                total += (double)ahead[j];
                if (t + j < s.length)
                    y[first + (t + j) * step] = (float)total;
            }
        }
    }
}

/* A warp for each lane, WARP elements at a time. */
__global__ void cumsum_rows(float *y, const float *x, scan s)
{
    const int at = threadIdx.x % WARP;
    const int64_t warps = (int64_t)gridDim.x * (blockDim.x / WARP);
    for (int64_t lane = ((int64_t)blockIdx.x * blockDim.x + threadIdx.x) / WARP; lane < s.lanes; lane += warps) {
        const int64_t first = s.first(lane), step = s.step();
        double before = 0;
        float next = at < s.length ? x[first + at * step] : 0;
        for (int64_t t = 0; t < s.length; t += WARP) {
            double total = (double)next;
            next = t + WARP + at < s.length ? x[first + (t + WARP + at) * step] : 0;
            for (int reach = 1; reach < WARP; reach *= 2) {
                const double other = __shfl_up_sync(0xffffffffu, total, reach);
                total += at >= reach ? other : 0;
            }
            total += before;
            before = __shfl_sync(0xffffffffu, total, WARP - 1);
            if (t + at < s.length)
                y[first + (t + at) * step] = (float)total;
        }
    }
}

void run_cumsum(const ts_call *call)
{
    const ts_shape &shape = call->desc->in[0].shape;
    const int axis = call->desc->attr.axis.axis;
    scan s = {1, shape.dim[axis], 1, call->desc->attr.axis.reverse};
    for (int i = 0; i < shape.rank; i++) {
        s.lanes *= i == axis ? 1 : shape.dim[i];
        s.inner *= i > axis ? shape.dim[i] : 1;
    }
    float *y = static_cast<float *>(call->out[0]);
    const float *x = static_cast<const float *>(call->in[0]);
    if (s.lanes == 0 || s.length == 0)
        return;
    if (s.inner >= WARP)
        TS_LAUNCH(cumsum_columns, ts_cuda_grid(call, s.lanes), TS_CUDA_BLOCK, ts_cuda_stream(call), y, x, s);
    else
        TS_LAUNCH_BLOCK(cumsum_rows, ts_cuda_grid(call, s.lanes * WARP), TS_CUDA_BLOCK, 0, ts_cuda_stream(call), y, x,
                        s);
    ts_cuda_launched(call);
}

/* ---- all_finite ---- */

struct operands {
    const float *x[TS_MAX_IN];
    int64_t n[TS_MAX_IN];
    int count;
};

__device__ bool finite(float x)
{
    return (__float_as_uint(x) & 0x7f800000u) != 0x7f800000u;
}

/* Does this thread meet an element that is not finite? */
__device__ bool meets_bad(const operands &in)
{
    bool bad = false;
    for (int k = 0; k < in.count; k++) {
        const float *x = in.x[k];
#pragma unroll 4
        for (TS_CUDA_EACH(i, in.n[k]))
            bad |= !finite(x[i]);
    }
    return bad;
}

__global__ void set_one(float *y)
{
    *y = 1;
}

/* y is 1 before; whoever meets a bad element writes the same 0. */
__global__ void find_bad(float *y, operands in)
{
    if (meets_bad(in))
        *y = 0;
}

__global__ void all_finite_block(float *y, operands in)
{
    const int bad = __syncthreads_or(meets_bad(in));
    if (threadIdx.x == 0)
        *y = bad ? 0.0f : 1.0f;
}

enum { ONE_BLOCK = 32 * TS_CUDA_BLOCK };

void run_all_finite(const ts_call *call)
{
    operands in = {};
    int64_t all = 0, largest = 0;
    float *y = static_cast<float *>(call->out[0]);
    in.count = call->desc->in_count;
    for (int k = 0; k < in.count; k++) {
        in.x[k] = static_cast<const float *>(call->in[k]);
        in.n[k] = ts_shape_count(call->desc->in[k].shape);
        all += in.n[k];
        largest = in.n[k] > largest ? in.n[k] : largest;
    }
    if (all <= ONE_BLOCK) {
        TS_LAUNCH_BLOCK(all_finite_block, 1, TS_CUDA_BLOCK, 0, ts_cuda_stream(call), y, in);
    } else {
        TS_LAUNCH(set_one, 1, 1, ts_cuda_stream(call), y);
        TS_LAUNCH(find_bad, ts_cuda_grid(call, largest), TS_CUDA_BLOCK, ts_cuda_stream(call), y, in);
    }
    ts_cuda_launched(call);
}

} // namespace

extern "C" const ts_kernel ts_cuda_sum = {
    .name = "cuda", .accepts = accepts_sum, .prepare = prepare_fold<sum_of>, .run = run_sum, .bf16 = true};
extern "C" const ts_kernel ts_cuda_amax = {
    .name = "cuda", .accepts = ts_all_f32, .prepare = prepare_fold<amax_of>, .run = run_fold<amax_of>};
extern "C" const ts_kernel ts_cuda_broadcast = {.name = "cuda", .accepts = ts_all_f32, .run = run_broadcast};
extern "C" const ts_kernel ts_cuda_cumsum = {.name = "cuda", .accepts = ts_all_f32, .run = run_cumsum};
extern "C" const ts_kernel ts_cuda_all_finite = {.name = "cuda", .accepts = ts_all_f32, .run = run_all_finite};
