/* c = op(a) op(b) + bias, then relu where asked for, by tiles, for what cuBLASLt refuses and for builds without it. */
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

ts_cut cut_of(const sizes &s)
{
    return ts_cut_of(s.batch, s.M, s.N, s.K, s.batch * s.M * s.N);
}

template <bool TRANS_A, bool TRANS_B> void multiply(const ts_call *call)
{
    const sizes s = sizes_of(call->desc);
    const auto job =
        ts_dense_job_of<!TRANS_A, TRANS_B>(s.M, s.N, s.K, ts_cuda_in(call, 0), s.M * s.K, ts_cuda_in(call, 1),
                                           s.one_b ? 0 : s.K * s.N, ts_cuda_in(call, 2), call->desc->attr.matmul.relu);
    ts_product_run(call, job, cut_of(s), ts_cuda_out(call, 0), s.N, false, static_cast<float *>(call->scratch));
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
