/* c = op(a) op(b) + bias by tiles, for what cuBLASLt refuses and for builds without it. */
#include "core/cuda/library.h"
#include "core/cuda/product.cuh"

namespace
{

struct sizes {
    int64_t batch, M, N, K;
    bool one_b; /* for all of the batch */
};

/* Where all of the batch share b and a is not transposed, its matrices are the rows of one. */
sizes sizes_of(const ts_desc *d)
{
    const ts_shape a = d->in[0].shape, c = d->out[0].shape;
    sizes s = {1, c.dim[c.rank - 2], c.dim[c.rank - 1], a.dim[a.rank - (d->attr.matmul.trans_a ? 2 : 1)],
               d->in[1].shape.rank == 2};
    for (int i = 0; i < c.rank - 2; i++)
        s.batch *= c.dim[i];
    if (s.one_b && !d->attr.matmul.trans_a) {
        s.M *= s.batch;
        s.batch = 1;
    }
    return s;
}

template <bool TRANS_A, bool TRANS_B> struct product_of {
    typedef ts_dense<!TRANS_A> A;
    typedef ts_dense<TRANS_B> B;
    static constexpr int blocks = TRANS_A && TRANS_B ? 1 : 2;
    sizes s;
    int64_t cols;
    const float *first, *second, *bias;
    bool vec_a, vec_b;

    __device__ A a(int64_t copy, int64_t row) const
    {
        return A(first + copy * s.M * s.K, (int)(TRANS_A ? s.M : s.K), row, s.M, (int)s.K, vec_a);
    }
    __device__ B b(int64_t copy, int64_t col) const
    {
        return B(second + (s.one_b ? 0 : copy * s.K * s.N), (int)(TRANS_B ? s.K : s.N), col, s.N, (int)s.K, vec_b);
    }
    __device__ int depth(int64_t) const
    {
        return (int)s.K;
    }
    __device__ float *row(float *out, int64_t copy, int64_t row) const
    {
        return row < s.M ? out + (copy * s.M + row) * s.N : nullptr;
    }
    __device__ const float *bias_of(int64_t) const
    {
        return bias;
    }
};

ts_cut cut_of(const sizes &s)
{
    return ts_cut_of(s.batch, s.M, s.N, s.K, s.batch * s.M * s.N);
}

template <bool TRANS_A, bool TRANS_B> void multiply(const ts_call *call)
{
    const sizes s = sizes_of(call->desc);
    const float *a = static_cast<const float *>(call->in[0]), *b = static_cast<const float *>(call->in[1]);
    const float *bias = call->desc->in_count > 2 ? static_cast<const float *>(call->in[2]) : nullptr;
    const bool vec_a = ts_aligned(a, TRANS_A ? s.M : s.K), vec_b = ts_aligned(b, TRANS_B ? s.K : s.N);
    const product_of<TRANS_A, TRANS_B> job = {s, s.N, a, b, bias, vec_a, vec_b};
    ts_product_run(call, job, cut_of(s), static_cast<float *>(call->out[0]), s.N, false,
                   static_cast<float *>(call->scratch));
}

bool accepts(const ts_desc *d)
{
    const sizes s = sizes_of(d);
    const bool long_pitch = d->attr.matmul.trans_a && s.M > INT32_MAX;
    return s.K < INT32_MAX - 8 && s.N <= INT32_MAX && !long_pitch;
}

ts_status prepare(const ts_desc *d, ts_device *, void **, size_t *scratch_bytes, ts_error *)
{
    const ts_cut cut = cut_of(sizes_of(d));
    *scratch_bytes = ts_cut_scratch(&cut);
    return TS_OK;
}

void run(const ts_call *call)
{
    const bool trans_a = call->desc->attr.matmul.trans_a, trans_b = call->desc->attr.matmul.trans_b;
    if (trans_a && trans_b)
        multiply<true, true>(call);
    else if (trans_a)
        multiply<true, false>(call);
    else if (trans_b)
        multiply<false, true>(call);
    else
        multiply<false, false>(call);
}

} // namespace

extern "C" const ts_kernel ts_cuda_matmul = {.name = "cuda", .accepts = accepts, .prepare = prepare, .run = run};
