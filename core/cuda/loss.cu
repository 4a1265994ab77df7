/* Losses. A sum goes in double over fixed chunks, a block each, and then over these, so that it has the same bits on
 * every GPU. */
#include "core/cuda/rows.cuh"

namespace
{

/* What is summed: the loss, and how many terms count. */
struct term {
    double loss, count;
};

enum { CHUNK = 8192 };

int64_t chunks_of(int64_t n)
{
    return (n + CHUNK - 1) / CHUNK;
}

__device__ term block_sum(term t)
{
    return {ts_group_sum<TS_CUDA_BLOCK>(t.loss), ts_group_sum<TS_CUDA_BLOCK>(t.count)};
}

/* partial[block] = sum of f(i) over the block's chunk */
template <class F> __global__ void sum_chunks(term *partial, F f, int64_t n)
{
    const int64_t first = (int64_t)blockIdx.x * CHUNK, end = first + CHUNK < n ? first + CHUNK : n;
    term sum = {0, 0};
    for (int64_t i = first + threadIdx.x; i < end; i += TS_CUDA_BLOCK) {
        const term t = f(i);
        sum.loss += t.loss;
        sum.count += t.count;
    }
    sum = block_sum(sum);
    if (threadIdx.x == 0)
        partial[blockIdx.x] = sum;
}

/* One block. out = sum of losses / count; or, with dloss, dloss / count: what each counted row's gradient is scaled by
 */
__global__ void finish(float *out, const term *partial, int64_t chunks, const float *dloss)
{
    term sum = {0, 0};
    for (int64_t k = threadIdx.x; k < chunks; k += TS_CUDA_BLOCK) {
        sum.loss += partial[k].loss;
        sum.count += partial[k].count;
    }
    sum = block_sum(sum);
    if (threadIdx.x == 0)
        *out = (float)((dloss ? (double)*dloss : sum.loss) / sum.count);
}

/* partial: scratch for chunks_of(n) */
template <class F> void mean(const ts_call *call, float *out, term *partial, F f, int64_t n, const float *dloss)
{
    TS_LAUNCH_BLOCK(sum_chunks<F>, (unsigned)chunks_of(n), TS_CUDA_BLOCK, 0, ts_cuda_stream(call), partial, f, n);
    TS_LAUNCH_BLOCK(finish, 1, TS_CUDA_BLOCK, 0, ts_cuda_stream(call), out, partial, chunks_of(n), dloss);
    ts_cuda_launched(call);
}

struct square_error {
    const float *x, *y;

    __device__ term operator()(int64_t i) const
    {
        const float d = x[i] - y[i];
        return {(double)d * d, 1};
    }
};

ts_status mse_prepare(const ts_desc *d, ts_device *, void **, size_t *scratch_bytes, ts_error *)
{
    *scratch_bytes = (size_t)chunks_of(ts_shape_count(d->in[0].shape)) * sizeof(term);
    return TS_OK;
}

void mse(const ts_call *call)
{
    const square_error f = {ts_cuda_in(call, 0), ts_cuda_in(call, 1)};
    mean(call, ts_cuda_out(call, 0), static_cast<term *>(call->scratch), f, ts_shape_count(call->desc->in[0].shape),
         nullptr);
}

/* dx = dloss * 2/n * (x - y) */
__global__ void mse_dx_of(float *__restrict__ dx, const float *dloss, const float *x, const float *y, int64_t n)
{
    const float scale = (float)(*dloss * 2.0 / (double)n);
    for (TS_CUDA_EACH(i, n))
        dx[i] = scale * (x[i] - y[i]);
}

void mse_dx(const ts_call *call)
{
    const int64_t n = ts_shape_count(call->desc->in[1].shape);
    TS_LAUNCH(mse_dx_of, ts_cuda_grid(call, n), TS_CUDA_BLOCK, ts_cuda_stream(call), ts_cuda_out(call, 0),
              ts_cuda_in(call, 0), ts_cuda_in(call, 1), ts_cuda_in(call, 2), n);
    ts_cuda_launched(call);
}

/* What cross_entropy and its gradient share: logits and target [rows]. */
struct problem {
    const float *logits;
    const int32_t *target;
    ts_rows rows;
    bool ignore;
    int64_t ignore_index;
    double smoothing;

    __device__ bool counts(int64_t row) const
    {
        return !(ignore && target[row] == ignore_index);
    }
    __device__ bool in_range(int64_t row) const
    {
        return target[row] >= 0 && target[row] < rows.C;
    }
};

problem problem_of(const ts_call *call, int logits)
{
    const ts_attr &a = call->desc->attr;
    return {ts_cuda_in(call, logits),
            static_cast<const int32_t *>(call->in[logits + 1]),
            ts_rows_of(&call->desc->in[logits]),
            a.loss.ignore,
            a.loss.ignore_index,
            a.loss.smoothing};
}

/* log(sum(exp(x))) = max + log_sum */
struct log_sum_exp {
    float max, sum;
};

template <int GROUP> __device__ log_sum_exp log_sum_exp_of(const float *x, int C)
{
    float max = -INFINITY, sum = 0;
    for (TS_ROW_EACH(GROUP, c, C))
        max = x[c] > max ? x[c] : max;
    max = ts_group_max<GROUP>(max);
    for (TS_ROW_EACH(GROUP, c, C))
        sum += expf(x[c] - max);
    return {max, ts_group_sum<GROUP>(sum)};
}

/* loss [rows]: (1-s) * -log p[target] + s * mean(-log p); NaN for a target that is no class */
template <int GROUP> __global__ void cross_entropy_rows(double *loss, problem p)
{
    const int64_t row = ts_row<GROUP>(p.rows);
    const float *x = p.logits + row * p.rows.C;
    const log_sum_exp lse = log_sum_exp_of<GROUP>(x, p.rows.C);
    double all = 0;
    if (p.smoothing > 0) {
        for (TS_ROW_EACH(GROUP, c, p.rows.C))
            all += (double)(lse.max - x[c]);
        all = ts_group_sum<GROUP>(all);
    }
    if (threadIdx.x % GROUP == 0) {
        const double log_sum = log((double)lse.sum);
        const double own = p.in_range(row) ? log_sum + (double)(lse.max - x[p.target[row]]) : (double)NAN;
        loss[row] = p.smoothing > 0 ? (1 - p.smoothing) * own + p.smoothing * (log_sum + all / p.rows.C) : own;
    }
}

struct row_loss {
    const double *loss;
    problem p;

    __device__ term operator()(int64_t row) const
    {
        return p.counts(row) ? term{loss ? loss[row] : 0, 1} : term{0, 0};
    }
};

/* Scratch: terms of the chunks of rows, then what follows them. */
ts_status cross_entropy_prepare(const ts_desc *d, ts_device *, void **, size_t *scratch_bytes, ts_error *)
{
    const int64_t rows = d->in[0].shape.dim[0];
    *scratch_bytes = (size_t)chunks_of(rows) * sizeof(term) + (size_t)rows * sizeof(double);
    return TS_OK;
}

void cross_entropy(const ts_call *call)
{
    const problem p = problem_of(call, 0);
    term *partial = static_cast<term *>(call->scratch);
    double *loss = reinterpret_cast<double *>(partial + chunks_of(p.rows.count));
    TS_LAUNCH_ROWS(call, p.rows, cross_entropy_rows, loss, p);
    mean(call, ts_cuda_out(call, 0), partial, row_loss{loss, p}, p.rows.count, nullptr);
}

/* dx = scale * (softmax(x) - (1-s) * onehot(target) - s/C) */
template <int GROUP> __global__ void cross_entropy_dx_rows(float *__restrict__ dx, const float *scale, problem p)
{
    const int64_t row = ts_row<GROUP>(p.rows), at = row * p.rows.C;
    const float *x = p.logits + at;
    const log_sum_exp lse = log_sum_exp_of<GROUP>(x, p.rows.C);
    const bool counts = p.counts(row);
    const float by = p.in_range(row) ? *scale : NAN, inverse = 1 / lse.sum;
    const float each = (float)(p.smoothing / p.rows.C), own = (float)(1 - p.smoothing);
    const int target = p.target[row];
    for (TS_ROW_EACH(GROUP, c, p.rows.C))
        dx[at + c] = counts ? by * (expf(x[c] - lse.max) * inverse - each - (c == target ? own : 0)) : 0;
}

ts_status cross_entropy_dx_prepare(const ts_desc *d, ts_device *, void **, size_t *scratch_bytes, ts_error *)
{
    *scratch_bytes = (size_t)chunks_of(d->in[1].shape.dim[0]) * sizeof(term) + sizeof(float);
    return TS_OK;
}

void cross_entropy_dx(const ts_call *call)
{
    const problem p = problem_of(call, 1);
    term *partial = static_cast<term *>(call->scratch);
    float *scale = reinterpret_cast<float *>(partial + chunks_of(p.rows.count));
    mean(call, scale, partial, row_loss{nullptr, p}, p.rows.count, ts_cuda_in(call, 0));
    TS_LAUNCH_ROWS(call, p.rows, cross_entropy_dx_rows, ts_cuda_out(call, 0), scale, p);
}

} // namespace

extern "C" const ts_kernel ts_cuda_mse = {.name = "cuda", .prepare = mse_prepare, .run = mse};
extern "C" const ts_kernel ts_cuda_mse_dx = {.name = "cuda", .run = mse_dx};
extern "C" const ts_kernel ts_cuda_cross_entropy = {
    .name = "cuda", .accepts = ts_rows_fit, .prepare = cross_entropy_prepare, .run = cross_entropy};
extern "C" const ts_kernel ts_cuda_cross_entropy_dx = {
    .name = "cuda", .accepts = ts_rows_fit, .prepare = cross_entropy_dx_prepare, .run = cross_entropy_dx};
