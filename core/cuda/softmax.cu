/* Softmax and unit length over the last axis. A row is shifted by its maximum first, so exp never overflows; between
 * its passes it stays in the caches. */
#include "core/cuda/rows.cuh"

namespace
{

template <int GROUP> __device__ float row_max(const float *x, int C)
{
    float max = -INFINITY;
    for (TS_ROW_EACH(GROUP, c, C))
        max = x[c] > max ? x[c] : max;
    return ts_group_max<GROUP>(max);
}

/* sum(exp(x - max)) */
template <int GROUP> __device__ float row_exp_sum(const float *x, float max, int C)
{
    float sum = 0;
    for (TS_ROW_EACH(GROUP, c, C))
        sum += expf(x[c] - max);
    return ts_group_sum<GROUP>(sum);
}

template <int GROUP> __device__ float row_dot(const float *a, const float *b, int C)
{
    float sum = 0;
    for (TS_ROW_EACH(GROUP, c, C))
        sum += a[c] * b[c];
    return ts_group_sum<GROUP>(sum);
}

template <int GROUP> __global__ void softmax_rows(float *__restrict__ y, const float *x, ts_rows r)
{
    const int64_t at = ts_row<GROUP>(r) * r.C;
    const float max = row_max<GROUP>(x + at, r.C), scale = 1 / row_exp_sum<GROUP>(x + at, max, r.C);
    for (TS_ROW_EACH(GROUP, c, r.C))
        y[at + c] = expf(x[at + c] - max) * scale;
}

/* dx = y * (dy - sum(dy * y)) */
template <int GROUP> __global__ void softmax_dx_rows(float *__restrict__ dx, const float *dy, const float *y, ts_rows r)
{
    const int64_t at = ts_row<GROUP>(r) * r.C;
    const float dot = row_dot<GROUP>(dy + at, y + at, r.C);
    for (TS_ROW_EACH(GROUP, c, r.C))
        dx[at + c] = y[at + c] * (dy[at + c] - dot);
}

template <int GROUP> __global__ void log_softmax_rows(float *__restrict__ y, const float *x, ts_rows r)
{
    const int64_t at = ts_row<GROUP>(r) * r.C;
    const float max = row_max<GROUP>(x + at, r.C), log_sum = logf(row_exp_sum<GROUP>(x + at, max, r.C));
    for (TS_ROW_EACH(GROUP, c, r.C))
        y[at + c] = (x[at + c] - max) - log_sum;
}

/* dx = dy - exp(y) * sum(dy) */
template <int GROUP>
__global__ void log_softmax_dx_rows(float *__restrict__ dx, const float *dy, const float *y, ts_rows r)
{
    const int64_t at = ts_row<GROUP>(r) * r.C;
    float sum = 0;
    for (TS_ROW_EACH(GROUP, c, r.C))
        sum += dy[at + c];
    sum = ts_group_sum<GROUP>(sum);
    for (TS_ROW_EACH(GROUP, c, r.C))
        dx[at + c] = dy[at + c] - expf(y[at + c]) * sum;
}

/* 1 / max(norm, eps), and NaN for NaN, which fmax would drop */
__device__ float inverse(float norm, double eps)
{
    return (float)(1 / ((double)norm < eps ? eps : (double)norm));
}

/* y = x / max(norm, eps), norm [count] = |x| */
template <int GROUP>
__global__ void l2_normalize_rows(float *__restrict__ y, float *norm, const float *x, double eps, ts_rows r)
{
    const int64_t row = ts_row<GROUP>(r), at = row * r.C;
    const float length = sqrtf(row_dot<GROUP>(x + at, x + at, r.C)), scale = inverse(length, eps);
    for (TS_ROW_EACH(GROUP, c, r.C))
        y[at + c] = x[at + c] * scale;
    if (threadIdx.x % GROUP == 0)
        norm[row] = length;
}

/* dx = (dy - y * sum(dy * y)) / norm; where norm < eps the divisor is a constant, and dx = dy / eps */
template <int GROUP>
__global__ void l2_normalize_dx_rows(float *__restrict__ dx, const float *dy, const float *y, const float *norm,
                                     double eps, ts_rows r)
{
    const int64_t row = ts_row<GROUP>(r), at = row * r.C;
    const float whole = row_dot<GROUP>(dy + at, y + at, r.C), dot = (double)norm[row] < eps ? 0 : whole;
    const float scale = inverse(norm[row], eps);
    for (TS_ROW_EACH(GROUP, c, r.C))
        dx[at + c] = (dy[at + c] - y[at + c] * dot) * scale;
}

void softmax(const ts_call *call)
{
    const ts_rows r = ts_rows_of(&call->desc->in[0]);
    TS_LAUNCH_ROWS(call, r, softmax_rows, ts_cuda_out(call, 0), ts_cuda_in(call, 0), r);
}

void softmax_dx(const ts_call *call)
{
    const ts_rows r = ts_rows_of(&call->desc->in[0]);
    TS_LAUNCH_ROWS(call, r, softmax_dx_rows, ts_cuda_out(call, 0), ts_cuda_in(call, 0), ts_cuda_in(call, 1), r);
}

void log_softmax(const ts_call *call)
{
    const ts_rows r = ts_rows_of(&call->desc->in[0]);
    TS_LAUNCH_ROWS(call, r, log_softmax_rows, ts_cuda_out(call, 0), ts_cuda_in(call, 0), r);
}

void log_softmax_dx(const ts_call *call)
{
    const ts_rows r = ts_rows_of(&call->desc->in[0]);
    TS_LAUNCH_ROWS(call, r, log_softmax_dx_rows, ts_cuda_out(call, 0), ts_cuda_in(call, 0), ts_cuda_in(call, 1), r);
}

void l2_normalize(const ts_call *call)
{
    const ts_rows r = ts_rows_of(&call->desc->in[0]);
    TS_LAUNCH_ROWS(call, r, l2_normalize_rows, ts_cuda_out(call, 0), ts_cuda_out(call, 1), ts_cuda_in(call, 0),
                   call->desc->attr.norm.eps, r);
}

void l2_normalize_dx(const ts_call *call)
{
    const ts_rows r = ts_rows_of(&call->desc->in[0]);
    TS_LAUNCH_ROWS(call, r, l2_normalize_dx_rows, ts_cuda_out(call, 0), ts_cuda_in(call, 0), ts_cuda_in(call, 1),
                   ts_cuda_in(call, 2), call->desc->attr.norm.eps, r);
}

} // namespace

#define KERNEL(op) extern "C" const ts_kernel ts_cuda_##op = {.name = "cuda", .accepts = ts_rows_fit, .run = op};
KERNEL(softmax)
KERNEL(softmax_dx)
KERNEL(log_softmax)
KERNEL(log_softmax_dx)
KERNEL(l2_normalize)
KERNEL(l2_normalize_dx)
