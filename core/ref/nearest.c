/* The nearest row of a codebook. */
#include <math.h>

#include "core/op.h"
#include "core/ref/ref.h"

/* |e|^2 - 2 x.e: the squared distance less |x|^2, which all codes share */
static double score(const real *x, const real *e, int64_t D)
{
    double sum = 0;
    for (int64_t d = 0; d < D; d++)
        sum += (double)e[d] * e[d] - 2 * (double)x[d] * e[d];
    return sum;
}

/* x [N, D], codebook [K, D] -> ids [N]; the lowest index on ties; -1 where no distance is a number */
static void nearest(int32_t *ids, const real *x, const real *codebook, int64_t N, int64_t K, int64_t D)
{
    for (int64_t n = 0; n < N; n++) {
        double best = INFINITY;
        ids[n] = -1;
        for (int64_t k = 0; k < K; k++) {
            double s = score(x + n * D, codebook + k * D, D);
            if (s < best) {
                best = s;
                ids[n] = (int32_t)k;
            }
        }
    }
}

void REF(nearest)(const ts_call *call)
{
    const ts_shape e = call->desc->in[1].shape;
    nearest(call->out[0], call->in[0], call->in[1], ts_shape_count(call->desc->out[0].shape), e.dim[0], e.dim[1]);
}
