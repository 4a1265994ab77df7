/* What changes variables: optimizers, moving averages, assignment. Operands that are absent: grad_scale is 1, ok is 1.
 */
#include <math.h>
#include <string.h>

#include "core/op.h"
#include "core/ref/ref.h"

/* Operand i, a scalar; 1 where absent. */
static double scalar(const ts_call *call, int i)
{
    return i < call->desc->in_count && call->in[i] ? *(const real *)call->in[i] : 1;
}

/* How many elements to write: none where operand `ok` is 0 or NaN. */
static int64_t size_if(const ts_call *call, int ok)
{
    return scalar(call, ok) > 0 ? ts_shape_count(call->desc->in[0].shape) : 0;
}

void REF(global_norm)(const ts_call *call)
{
    const real *g = call->in[0];
    int64_t n = ts_shape_count(call->desc->in[0].shape);
    double sum = 0;
    for (int64_t i = 0; i < n; i++)
        sum += (double)g[i] * g[i];
    *(real *)call->out[0] = (real)sqrt(sum);
}

void REF(adamw)(const ts_call *call)
{
    real *p = call->in[0], *m = call->in[1], *v = call->in[2];
    const real *grad = call->in[3], *correction = call->in[5];
    double b1 = call->desc->attr.optim.beta1, b2 = call->desc->attr.optim.beta2, eps = call->desc->attr.optim.eps;
    double decay = call->desc->attr.optim.weight_decay, lr = scalar(call, 4), scale = scalar(call, 6);
    int64_t n = size_if(call, 7);
    for (int64_t i = 0; i < n; i++) {
        double g = grad[i] * scale, value = p[i];
        if (call->desc->attr.optim.coupled)
            g += decay * value;
        else
            value *= 1 - lr * decay;
        m[i] = (real)(b1 * m[i] + (1 - b1) * g);
        v[i] = (real)(b2 * v[i] + (1 - b2) * g * g);
        p[i] = (real)(value - lr * (m[i] / correction[0]) / (sqrt((double)(v[i] / correction[1])) + eps));
    }
}

void REF(sgd)(const ts_call *call)
{
    real *p = call->in[0], *buffer = call->in[1];
    const real *grad = call->in[2];
    double mu = call->desc->attr.optim.momentum, decay = call->desc->attr.optim.weight_decay;
    double lr = scalar(call, 3), scale = scalar(call, 4);
    int64_t n = size_if(call, 5);
    for (int64_t i = 0; i < n; i++) {
        double g = grad[i] * scale + decay * p[i], step = g;
        if (buffer) {
            buffer[i] = (real)(mu * buffer[i] + g);
            step = call->desc->attr.optim.nesterov ? g + mu * buffer[i] : buffer[i];
        }
        p[i] = (real)(p[i] - lr * step);
    }
}

void REF(ema)(const ts_call *call)
{
    real *e = call->in[0];
    const real *x = call->in[1];
    double decay = call->desc->attr.optim.decay;
    int64_t n = size_if(call, 2);
    for (int64_t i = 0; i < n; i++)
        e[i] = (real)(decay * e[i] + (1 - decay) * x[i]);
}

void REF(assign)(const ts_call *call)
{
    size_t bytes = (size_t)size_if(call, 2) * ts_dtype_bytes(call->desc->in[0].dtype);
    if (bytes)
        memcpy(call->in[0], call->in[1], bytes);
}

void REF(assign_add)(const ts_call *call)
{
    void *to = call->in[0];
    const void *x = call->in[1];
    int64_t n = size_if(call, 2);
    for (int64_t i = 0; i < n; i++) {
        if (call->desc->in[0].dtype == TS_I32)
            ((int32_t *)to)[i] += ((const int32_t *)x)[i];
        else if (call->desc->in[0].dtype == TS_I64)
            ((int64_t *)to)[i] += ((const int64_t *)x)[i];
        else
            ((real *)to)[i] += ((const real *)x)[i];
    }
}
