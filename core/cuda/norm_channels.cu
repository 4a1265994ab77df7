/* Group and batch normalisation, channels last. Sums are taken per channel (columns.cuh) and put together per group
 * afterwards. A segment is what shares statistics: a sample for group_norm, everything for batch_norm, which then is a
 * group norm of one sample with as many groups as channels. */
#include "core/cuda/block.cuh"
#include "core/cuda/columns.cuh"

namespace
{

struct geometry {
    ts_columns s;
    int groups, width; /* channels of a group */
    double eps;
    bool keeps_var; /* batch_norm: the second statistic is the variance, not 1/sqrt(variance + eps) */

    __device__ int64_t group(int64_t segment, int c) const
    {
        return segment * groups + c / width;
    }
    __device__ float rstd(float second) const
    {
        return keeps_var ? (float)(1 / sqrt((double)second + eps)) : second;
    }
};

/* The attribute groups is 0 for batch_norm. */
geometry geometry_of(const ts_desc *d)
{
    const ts_shape x = d->in[0].shape;
    const int64_t C = x.dim[x.rank - 1], groups = d->attr.norm.groups, segments = groups ? x.dim[0] : 1;
    geometry g = {ts_columns_of(segments, segments ? ts_shape_count(x) / (segments * C) : 0, (int)C), 0, 0,
                  d->attr.norm.eps, groups == 0};
    g.groups = (int)(groups ? groups : C);
    g.width = (int)C / g.groups;
    return g;
}

/* Sums of x and of x^2: in double the square loses nothing that would matter to the variance. */
struct statistics {
    const float *x;

    __device__ statistics at(int64_t, int) const
    {
        return *this;
    }
    __device__ void operator()(ts_pair &sum, int64_t i, int64_t) const
    {
        const double v = x[i];
        sum.a += v;
        sum.b += v * v;
    }
};

/* Sums over a group's channels and chunks, times weight [C] where there is one, by a warp. */
__device__ ts_pair group_sum(const ts_pair *partial, const float *weight, int64_t segment, int group, const geometry &g)
{
    const int64_t count = g.s.chunks * g.width;
    ts_pair sum = {0, 0};
    for (int64_t k = threadIdx.x % TS_WARP; k < count; k += TS_WARP) {
        const int c = group * g.width + (int)(k % g.width);
        const ts_pair p = partial[(segment * g.s.chunks + k / g.width) * g.s.C + c];
        const double w = weight ? (double)weight[c] : 1;
        sum.a += p.a * w;
        sum.b += p.b * w;
    }
    return {ts_group_sum<TS_WARP>(sum.a), ts_group_sum<TS_WARP>(sum.b)};
}

/* The warp's group, counted over all segments; the last one again where there is none. */
__device__ int64_t warp_group(const geometry &g)
{
    const int64_t at = ((int64_t)blockIdx.x * TS_CUDA_BLOCK + threadIdx.x) / TS_WARP, count = g.s.segments * g.groups;
    return at < count ? at : count - 1;
}

/* mean, second [segments, groups] */
__global__ void finish_statistics(float *mean, float *second, const ts_pair *partial, geometry g)
{
    const int64_t at = warp_group(g);
    const ts_pair sum = group_sum(partial, nullptr, at / g.groups, (int)(at % g.groups), g);
    const double count = (double)(g.s.rows * g.width), m = sum.a / count, square = sum.b / count - m * m;
    const double var = square < 0 ? 0 : square; /* NaN stays */
    if (threadIdx.x % TS_WARP == 0) {
        mean[at] = (float)m;
        second[at] = (float)(g.keeps_var ? var : 1 / sqrt(var + g.eps));
    }
}

/* y = (x - mean) * gain + bias */
__global__ void apply(float *__restrict__ y, const float *x, const float *weight, const float *bias, const float *mean,
                      const float *second, geometry g)
{
    const ts_column t = ts_column_of(g.s);
    if (t.c >= g.s.C)
        return;
    const int64_t group = g.group(t.segment, t.c);
    const float m = mean[group], gain = g.rstd(second[group]) * (weight ? weight[t.c] : 1), b = bias ? bias[t.c] : 0;
    for (int64_t row = t.row; row < t.end; row += t.step) {
        const int64_t i = row * g.s.C + t.c;
        y[i] = (x[i] - m) * gain + b;
    }
}

unsigned group_blocks(const geometry &g)
{
    return (unsigned)((g.s.segments * g.groups * TS_WARP + TS_CUDA_BLOCK - 1) / TS_CUDA_BLOCK);
}

void forward(const ts_call *call)
{
    const geometry g = geometry_of(call->desc);
    const float *x = ts_cuda_in(call, 0);
    float *mean = ts_cuda_out(call, 1), *second = ts_cuda_out(call, 2);
    ts_pair *partial = static_cast<ts_pair *>(call->scratch);
    if (g.s.segments == 0)
        return;
    ts_run_column_sums(call, partial, statistics{x}, g.s);
    TS_LAUNCH_BLOCK(finish_statistics, group_blocks(g), TS_CUDA_BLOCK, 0, ts_cuda_stream(call), mean, second, partial,
                    g);
    TS_LAUNCH(apply, ts_columns_grid(&g.s), TS_CUDA_BLOCK, ts_cuda_stream(call), ts_cuda_out(call, 0), x,
              ts_cuda_in(call, 1), ts_cuda_in(call, 2), mean, second, g);
    ts_cuda_launched(call);
}

/* Sums of dy * xhat and of dy. */
struct parameter_gradient {
    const float *dy, *x, *mean, *second;
    geometry g;
    float m, rstd; /* of the channel */

    __device__ parameter_gradient at(int64_t segment, int c) const
    {
        parameter_gradient f = *this;
        f.m = mean[g.group(segment, c)];
        f.rstd = g.rstd(second[g.group(segment, c)]);
        return f;
    }
    __device__ void operator()(ts_pair &sum, int64_t i, int64_t) const
    {
        sum.a += (double)(dy[i] * ((x[i] - m) * rstd));
        sum.b += (double)dy[i];
    }
};

/* of [segments, groups]: the means of g * xhat and of g = dy * weight */
__global__ void finish_gradient(ts_pair *of, const ts_pair *partial, const float *weight, geometry g)
{
    const int64_t at = warp_group(g);
    const ts_pair sum = group_sum(partial, weight, at / g.groups, (int)(at % g.groups), g);
    const double count = (double)(g.s.rows * g.width);
    if (threadIdx.x % TS_WARP == 0)
        of[at] = {sum.a / count, sum.b / count};
}

/* dx = rstd * (g - mean(g) - xhat * mean(g * xhat)) */
__global__ void apply_gradient(float *__restrict__ dx, parameter_gradient f, const float *weight, const ts_pair *means)
{
    const ts_column t = ts_column_of(f.g.s);
    if (t.c >= f.g.s.C)
        return;
    const parameter_gradient v = f.at(t.segment, t.c);
    const ts_pair p = means[f.g.group(t.segment, t.c)];
    const float w = weight ? weight[t.c] : 1, mean_gx = (float)p.a, mean_g = (float)p.b;
    for (int64_t row = t.row; row < t.end; row += t.step) {
        const int64_t i = row * f.g.s.C + t.c;
        dx[i] = v.rstd * (v.dy[i] * w - mean_g - (v.x[i] - v.m) * v.rstd * mean_gx);
    }
}

/* Scratch: sums per chunk and channel, then means per group. */
ts_status prepare(const ts_desc *d, ts_device *, void **, size_t *scratch_bytes, ts_error *)
{
    const geometry g = geometry_of(d);
    *scratch_bytes = ts_columns_scratch(&g.s) + (size_t)(g.s.segments * g.groups) * sizeof(ts_pair);
    return TS_OK;
}

void backward(const ts_call *call)
{
    const geometry g = geometry_of(call->desc);
    const float *weight = ts_cuda_in(call, 2);
    const parameter_gradient f = {
        ts_cuda_in(call, 0), ts_cuda_in(call, 1), ts_cuda_in(call, 3), ts_cuda_in(call, 4), g, 0, 0};
    ts_pair *partial = static_cast<ts_pair *>(call->scratch);
    ts_pair *means = partial + g.s.segments * g.s.chunks * g.s.C;
    ts_run_column_sums(call, partial, f, g.s);
    ts_run_column_totals(call, ts_cuda_out(call, 1), ts_cuda_out(call, 2), partial, g.s);
    if (g.s.segments == 0)
        return;
    TS_LAUNCH_BLOCK(finish_gradient, group_blocks(g), TS_CUDA_BLOCK, 0, ts_cuda_stream(call), means, partial, weight,
                    g);
    TS_LAUNCH(apply_gradient, ts_columns_grid(&g.s), TS_CUDA_BLOCK, ts_cuda_stream(call), ts_cuda_out(call, 0), f,
              weight, means);
    ts_cuda_launched(call);
}

bool accepts(const ts_desc *d)
{
    const ts_shape x = d->in[0].shape;
    return x.dim[x.rank - 1] <= INT32_MAX - 32;
}

} // namespace

#define KERNEL(op, run_)                                                                                               \
    extern "C" const ts_kernel ts_cuda_##op = {.name = "cuda", .accepts = accepts, .prepare = prepare, .run = run_};
KERNEL(group_norm, forward)
KERNEL(group_norm_dx, backward)
KERNEL(batch_norm, forward)
KERNEL(batch_norm_dx, backward)
