/* y[i] = f(a[i], b[i] ...), one pass over memory; operands broadcast by strides that are 0 along repeated axes. */
#include "core/cuda/cuda.h"

namespace
{

/* Strides, in elements, of an operand along the axes of the result. */
struct walk {
    int rank;
    int64_t dim[TS_MAX_RANK], stride[3][TS_MAX_RANK];
    bool flat[3]; /* the operand has the result's shape: element i is element i */
};

walk walk_of(const ts_desc *d)
{
    walk w = {};
    ts_shape y = d->out[0].shape;
    w.rank = y.rank;
    for (int axis = 0; axis < y.rank; axis++)
        w.dim[axis] = y.dim[axis];
    for (int k = 0; k < d->in_count && k < 3; k++) {
        ts_shape x = d->in[k].shape;
        w.flat[k] = ts_shape_count(x) == ts_shape_count(y);
        int64_t stride = 1;
        for (int axis = y.rank - 1, own = x.rank - 1; own >= 0; axis--, own--) {
            w.stride[k][axis] = x.dim[own] == 1 ? 0 : stride;
            stride *= x.dim[own];
        }
    }
    return w;
}

__device__ int64_t offset_of(const walk &w, int k, int64_t i)
{
    if (w.flat[k])
        return i;
    int64_t offset = 0;
    for (int axis = w.rank - 1; axis >= 0; axis--) {
        offset += i % w.dim[axis] * w.stride[k][axis];
        i /= w.dim[axis];
    }
    return offset;
}

template <class F> __global__ void two(F f, walk w, const float *a, const float *b, float *y, int64_t n)
{
    for (TS_CUDA_EACH(i, n))
        y[i] = f(a[offset_of(w, 0, i)], b[offset_of(w, 1, i)]);
}

template <class F> void run_two(const ts_call *call)
{
    int64_t n = ts_shape_count(call->desc->out[0].shape);
    TS_LAUNCH(two<F>, ts_cuda_grid(call, n), TS_CUDA_BLOCK, ts_cuda_stream(call), F{}, walk_of(call->desc),
              static_cast<const float *>(call->in[0]), static_cast<const float *>(call->in[1]),
              static_cast<float *>(call->out[0]), n);
    ts_cuda_launched(call);
}

#define TWO(op, expression)                                                                                            \
    struct op##_of {                                                                                                   \
        __device__ float operator()(float a, float b) const                                                            \
        {                                                                                                              \
            return expression;                                                                                         \
        }                                                                                                              \
    };

TWO(add, a + b)
TWO(subtract, a - b)
TWO(mul, a *b)

} // namespace

#define KERNEL_TWO(op) extern "C" const ts_kernel ts_cuda_##op = {.name = "cuda", .run = run_two<op##_of>};
KERNEL_TWO(add)
KERNEL_TWO(subtract)
KERNEL_TWO(mul)
