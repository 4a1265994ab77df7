#include <stddef.h>

#include "core/op.h"
#include "core/ref/ref.h"

/* c [M, N] = op(a) op(b) + bias. Element (i, k) of op(a) is at a[i * a_row + k * a_col], (k, j) of op(b) likewise;
 * bias [N] or NULL; then relu, where asked for. */
static void multiply(real *c, const real *a, int64_t a_row, int64_t a_col, const real *b, int64_t b_row, int64_t b_col,
                     const real *bias, bool relu, int64_t M, int64_t N, int64_t K)
{
    for (int64_t i = 0; i < M; i++)
        for (int64_t j = 0; j < N; j++) {
            double sum = bias ? (double)bias[j] : 0;
            for (int64_t k = 0; k < K; k++)
                sum += (double)a[i * a_row + k * a_col] * (double)b[k * b_row + j * b_col];
            c[i * N + j] = relu && (real)sum < 0 ? 0 : (real)sum;
        }
}

/* a [.., M, K], b [.., K, N] or [K, N] for all of the batch; the last two swapped where trans says so. */
void REF(matmul)(const ts_call *call)
{
    const ts_desc *d = call->desc;
    const ts_shape c = d->out[0].shape, as = d->in[0].shape, bs = d->in[1].shape;
    const bool ta = d->attr.matmul.trans_a, tb = d->attr.matmul.trans_b;
    const int64_t M = c.dim[c.rank - 2], N = c.dim[c.rank - 1], K = as.dim[as.rank - (ta ? 2 : 1)];
    const real *a = call->in[0], *b = call->in[1], *bias = d->in_count > 2 ? call->in[2] : NULL;
    real *out = call->out[0];

    int64_t batch = 1;
    for (int i = 0; i < c.rank - 2; i++)
        batch *= c.dim[i];
    const int64_t b_step = bs.rank == 2 ? 0 : K * N;
    for (int64_t n = 0; n < batch; n++)
        multiply(out + n * M * N, a + n * M * K, ta ? 1 : K, ta ? M : 1, b + n * b_step, tb ? 1 : N, tb ? K : 1, bias,
                 d->attr.matmul.relu, M, N, K);
}
