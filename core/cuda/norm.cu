/* Layer and RMS normalisation, a group of threads a row (rows.cuh); the parameters' gradients are column sums. Norms
 * whose statistics run over rows are in norm_channels.cu. */
#include "core/cuda/columns.cuh"
#include "core/cuda/rows.cuh"

namespace
{

/* weight, bias [C] or NULL */
__device__ float scaled(float xhat, const float *weight, const float *bias, int c)
{
    return xhat * (weight ? weight[c] : 1) + (bias ? bias[c] : 0);
}

/* y = (x - mean) * rstd * weight + bias */
template <int GROUP>
__global__ void layer_norm_rows(float *__restrict__ y, float *mean, float *rstd, const float *x, const float *weight,
                                const float *bias, float eps, ts_rows r)
{
    const int64_t row = ts_row<GROUP>(r), at = row * r.C;
    float sum = 0, squares = 0;
    for (TS_ROW_EACH(GROUP, c, r.C))
        sum += x[at + c];
    const float m = ts_group_sum<GROUP>(sum) / (float)r.C;
    for (TS_ROW_EACH(GROUP, c, r.C))
        squares += (x[at + c] - m) * (x[at + c] - m);
    const float s = 1 / sqrtf(ts_group_sum<GROUP>(squares) / (float)r.C + eps);
    for (TS_ROW_EACH(GROUP, c, r.C))
        y[at + c] = scaled((x[at + c] - m) * s, weight, bias, c);
    if (threadIdx.x % GROUP == 0) {
        mean[row] = m;
        rstd[row] = s;
    }
}

/* y = x * rstd * weight */
template <int GROUP>
__global__ void rms_norm_rows(float *__restrict__ y, float *rstd, const float *x, const float *weight, float eps,
                              ts_rows r)
{
    const int64_t row = ts_row<GROUP>(r), at = row * r.C;
    float squares = 0;
    for (TS_ROW_EACH(GROUP, c, r.C))
        squares += x[at + c] * x[at + c];
    const float s = 1 / sqrtf(ts_group_sum<GROUP>(squares) / (float)r.C + eps);
    for (TS_ROW_EACH(GROUP, c, r.C))
        y[at + c] = scaled(x[at + c] * s, weight, nullptr, c);
    if (threadIdx.x % GROUP == 0)
        rstd[row] = s;
}

/* What the gradients read; mean NULL: rms_norm, whose mean is 0. */
struct saved {
    const float *dy, *x, *weight, *mean, *rstd;
};

/* dx = rstd * (g - mean(g) - xhat * mean(g * xhat)); rms_norm: without mean(g) */
template <int GROUP> __global__ void norm_dx_rows(float *__restrict__ dx, saved v, ts_rows r)
{
    const int64_t row = ts_row<GROUP>(r), at = row * r.C;
    const float m = v.mean ? v.mean[row] : 0, s = v.rstd[row];
    float sum_g = 0, sum_gx = 0;
    for (TS_ROW_EACH(GROUP, c, r.C)) {
        const float g = scaled(v.dy[at + c], v.weight, nullptr, c);
        sum_g += g;
        sum_gx += g * ((v.x[at + c] - m) * s);
    }
    const float mean_g = v.mean ? ts_group_sum<GROUP>(sum_g) / (float)r.C : 0;
    const float mean_gx = ts_group_sum<GROUP>(sum_gx) / (float)r.C;
    for (TS_ROW_EACH(GROUP, c, r.C)) {
        const float g = scaled(v.dy[at + c], v.weight, nullptr, c), xhat = (v.x[at + c] - m) * s;
        dx[at + c] = s * (g - mean_g - xhat * mean_gx);
    }
}

/* dweight, dbias: sums of dy * xhat and of dy */
struct parameter_gradient {
    saved v;

    __device__ parameter_gradient at(int64_t, int) const
    {
        return *this;
    }
    __device__ void operator()(ts_pair &sum, int64_t i, int64_t row) const
    {
        const float dy = v.dy[i], xhat = (v.x[i] - (v.mean ? v.mean[row] : 0)) * v.rstd[row];
        sum.a += (double)(dy * xhat);
        sum.b += (double)dy;
    }
};

void layer_norm(const ts_call *call)
{
    const ts_rows r = ts_rows_of(&call->desc->in[0]);
    TS_LAUNCH_ROWS(call, r, layer_norm_rows, ts_cuda_out(call, 0), ts_cuda_out(call, 1), ts_cuda_out(call, 2),
                   ts_cuda_in(call, 0), ts_cuda_in(call, 1), ts_cuda_in(call, 2), (float)call->desc->attr.norm.eps, r);
}

void rms_norm(const ts_call *call)
{
    const ts_rows r = ts_rows_of(&call->desc->in[0]);
    TS_LAUNCH_ROWS(call, r, rms_norm_rows, ts_cuda_out(call, 0), ts_cuda_out(call, 1), ts_cuda_in(call, 0),
                   ts_cuda_in(call, 1), (float)call->desc->attr.norm.eps, r);
}

ts_columns columns_of(const ts_desc *d)
{
    const ts_rows r = ts_rows_of(&d->in[0]);
    return ts_columns_of(1, r.count, r.C);
}

ts_status gradient_prepare(const ts_desc *d, ts_device *, void **, size_t *scratch_bytes, ts_error *)
{
    const ts_columns s = columns_of(d);
    *scratch_bytes = ts_columns_scratch(&s);
    return TS_OK;
}

/* dbias NULL: there is none */
void gradient(const ts_call *call, const saved &v, float *dbias)
{
    const ts_rows r = ts_rows_of(&call->desc->in[0]);
    const ts_columns s = columns_of(call->desc);
    ts_pair *partial = static_cast<ts_pair *>(call->scratch);
    TS_LAUNCH_ROWS(call, r, norm_dx_rows, ts_cuda_out(call, 0), v, r);
    ts_run_column_sums(call, partial, parameter_gradient{v}, s);
    ts_run_column_totals(call, ts_cuda_out(call, 1), dbias, partial, s);
}

void layer_norm_dx(const ts_call *call)
{
    gradient(call,
             {ts_cuda_in(call, 0), ts_cuda_in(call, 1), ts_cuda_in(call, 2), ts_cuda_in(call, 3), ts_cuda_in(call, 4)},
             ts_cuda_out(call, 2));
}

void rms_norm_dx(const ts_call *call)
{
    gradient(call, {ts_cuda_in(call, 0), ts_cuda_in(call, 1), ts_cuda_in(call, 2), nullptr, ts_cuda_in(call, 3)},
             nullptr);
}

} // namespace

extern "C" const ts_kernel ts_cuda_layer_norm = {.name = "cuda", .accepts = ts_rows_fit, .run = layer_norm};
extern "C" const ts_kernel ts_cuda_rms_norm = {.name = "cuda", .accepts = ts_rows_fit, .run = rms_norm};
extern "C" const ts_kernel ts_cuda_layer_norm_dx = {
    .name = "cuda", .accepts = ts_rows_fit, .prepare = gradient_prepare, .run = layer_norm_dx};
extern "C" const ts_kernel ts_cuda_rms_norm_dx = {
    .name = "cuda", .accepts = ts_rows_fit, .prepare = gradient_prepare, .run = rms_norm_dx};
