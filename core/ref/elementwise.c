#include <math.h>
#include <stdint.h>

#include "core/device.h"
#include "core/ref/ref.h"

/* Offset into an operand of `shape` that belongs to element i of the broadcast result. */
static int64_t broadcast_offset(ts_shape result, ts_shape shape, int64_t i)
{
    int64_t offset = 0, stride = 1;
    for (int axis = result.rank - 1, own = shape.rank - 1; own >= 0; axis--, own--) {
        int64_t at = i % result.dim[axis];
        i /= result.dim[axis];
        if (shape.dim[own] != 1)
            offset += at * stride;
        stride *= shape.dim[own];
    }
    return offset;
}

/* What an op does to an element is a function, <op>_at, which the op and a chain share. */
#define TWO(op, expression)                                                                                            \
    static inline real op##_at(real a, real b)                                                                         \
    {                                                                                                                  \
        return (expression);                                                                                           \
    }                                                                                                                  \
    void REF(op)(const ts_call *call)                                                                                  \
    {                                                                                                                  \
        const ts_desc *d = call->desc;                                                                                 \
        const real *pa = call->in[0], *pb = call->in[1];                                                               \
        real *y = call->out[0];                                                                                        \
        int64_t n = ts_shape_count(d->out[0].shape);                                                                   \
        for (int64_t i = 0; i < n; i++)                                                                                \
            y[i] = op##_at(pa[broadcast_offset(d->out[0].shape, d->in[0].shape, i)],                                   \
                           pb[broadcast_offset(d->out[0].shape, d->in[1].shape, i)]);                                  \
    }

TWO(add, a + b)
TWO(subtract, a - b)
TWO(mul, a *b)
TWO(div, a / b)
TWO(maximum, a >= b ? a : b)
TWO(minimum, a <= b ? a : b)
TWO(greater, a > b ? 1 : 0)

#define CHOSEN(condition, a, b) ((condition) != 0 ? (a) : (b))

#define WHERE(name, type)                                                                                              \
    static void name(const ts_call *call)                                                                              \
    {                                                                                                                  \
        const ts_desc *d = call->desc;                                                                                 \
        const real *condition = call->in[0];                                                                           \
        const type *a = call->in[1], *b = call->in[2];                                                                 \
        type *y = call->out[0];                                                                                        \
        ts_shape shape = d->out[0].shape;                                                                              \
        int64_t n = ts_shape_count(shape);                                                                             \
        for (int64_t i = 0; i < n; i++)                                                                                \
            y[i] =                                                                                                     \
                CHOSEN(condition[broadcast_offset(shape, d->in[0].shape, i)],                                          \
                       a[broadcast_offset(shape, d->in[1].shape, i)], b[broadcast_offset(shape, d->in[2].shape, i)]);  \
    }

WHERE(where_real, real)
WHERE(where_i32, int32_t)

void REF(where)(const ts_call *call)
{
    (call->desc->out[0].dtype == TS_I32 ? where_i32 : where_real)(call);
}

/* y = f(x), with a and b of the attributes */
#define ONE(op, expression)                                                                                            \
    static inline real op##_at(real x, real a, real b)                                                                 \
    {                                                                                                                  \
        (void)a, (void)b;                                                                                              \
        return (real)(expression);                                                                                     \
    }                                                                                                                  \
    void REF(op)(const ts_call *call)                                                                                  \
    {                                                                                                                  \
        const real *px = call->in[0];                                                                                  \
        real *y = call->out[0];                                                                                        \
        const real a = (real)call->desc->attr.scalar.a, b = (real)call->desc->attr.scalar.b;                           \
        int64_t n = ts_shape_count(call->desc->out[0].shape);                                                          \
        for (int64_t i = 0; i < n; i++)                                                                                \
            y[i] = op##_at(px[i], a, b);                                                                               \
    }

static double sigmoid(double x)
{
    return 1 / (1 + exp(-x));
}

/* The standard normal's distribution function and density. */
static double normal_cdf(double x)
{
    return 0.5 * erfc(-x * 0.70710678118654752440);
}

static double normal_density(double x)
{
    return 0.39894228040143267794 * exp(-0.5 * x * x);
}

/* gelu_tanh: x/2 * (1 + tanh(u)), u = c (x + k x^3) */
#define GELU_C 0.79788456080286535588
#define GELU_K 0.044715

static double gelu_tanh(double x)
{
    return 0.5 * x * (1 + tanh(GELU_C * (x + GELU_K * x * x * x)));
}

static double gelu_tanh_slope(double x)
{
    double t = tanh(GELU_C * (x + GELU_K * x * x * x));
    return 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * GELU_C * (1 + 3 * GELU_K * x * x);
}

static double smooth_abs(double x, double beta)
{
    double m = fabs(x);
    return m < beta ? 0.5 * x * x / beta : m - 0.5 * beta;
}

ONE(affine, a *x + b)
ONE(square, x *x)
ONE(sqrt, sqrt((double)x))
ONE(exp, exp((double)x))
ONE(log, log((double)x))
ONE(abs, fabs((double)x))
ONE(clamp, x<a ? a : x> b ? b : x)
ONE(smooth_abs, smooth_abs((double)x, (double)a))
ONE(relu, x < 0 ? 0 : x)
ONE(leaky_relu, x > 0 ? x : a * x)
ONE(elu, x > 0 ? (double)x : (double)a * expm1((double)x))
ONE(silu, (double)x *sigmoid((double)x))
ONE(gelu, (double)x *normal_cdf((double)x))
ONE(gelu_tanh, gelu_tanh((double)x))
ONE(tanh, tanh((double)x))
ONE(sigmoid, sigmoid((double)x))
ONE(softplus, fmax((double)x, 0) + log1p(exp(-fabs((double)x))))

/* dx = dy * f'(x), of the operand x or, where that is the simpler formula, of the result */
#define SLOPE(op, expression)                                                                                          \
    static inline real op##_at(real dy, real x, real a, real b)                                                        \
    {                                                                                                                  \
        (void)a, (void)b;                                                                                              \
        return (real)((double)dy * (double)(expression));                                                              \
    }                                                                                                                  \
    void REF(op)(const ts_call *call)                                                                                  \
    {                                                                                                                  \
        const real *dy = call->in[0], *px = call->in[1];                                                               \
        real *dx = call->out[0];                                                                                       \
        const real a = (real)call->desc->attr.scalar.a, b = (real)call->desc->attr.scalar.b;                           \
        int64_t n = ts_shape_count(call->desc->out[0].shape);                                                          \
        for (int64_t i = 0; i < n; i++)                                                                                \
            dx[i] = op##_at(dy[i], px[i], a, b);                                                                       \
    }

SLOPE(clamp_dx, x >= a && x <= b ? 1 : 0)
SLOPE(relu_dx, x > 0 ? 1 : 0)         /* of the result */
SLOPE(tanh_dx, 1 - (double)x * x)     /* of the result */
SLOPE(sigmoid_dx, x *(1 - (double)x)) /* of the result */
SLOPE(leaky_relu_dx, x > 0 ? 1 : a)
SLOPE(elu_dx, x > 0 ? 1.0 : (double)a * exp((double)x))
SLOPE(silu_dx, sigmoid((double)x) * (1 + (double)x * (1 - sigmoid((double)x))))
SLOPE(gelu_dx, normal_cdf((double)x) + (double)x * normal_density((double)x))
SLOPE(gelu_tanh_dx, gelu_tanh_slope((double)x))

static double read_as_double(ts_dtype dtype, const void *x, int64_t i)
{
    switch (dtype) {
    case TS_F32:
        return (double)((const float *)x)[i];
    case TS_F64:
        return ((const double *)x)[i];
    case TS_BF16:
        return (double)ts_f32_from_bf16(((const uint16_t *)x)[i]);
    case TS_I32:
        return ((const int32_t *)x)[i];
    case TS_I64:
        return (double)((const int64_t *)x)[i];
    default:
        return ((const uint8_t *)x)[i];
    }
}

/* Integers take the part before the point; what does not fit is the nearest that does, and NaN is 0. */
static int64_t to_integer(double x, double lo, double hi)
{
    return isnan(x) ? 0 : (int64_t)(x < lo ? lo : x > hi ? hi : x);
}

void REF(cast)(const ts_call *call)
{
    ts_dtype from = call->desc->in[0].dtype, to = call->desc->out[0].dtype;
    int64_t n = ts_shape_count(call->desc->out[0].shape);
    for (int64_t i = 0; i < n; i++) {
        double x = read_as_double(from, call->in[0], i);
        switch (to) {
        case TS_F32:
            ((float *)call->out[0])[i] = (float)x;
            break;
        case TS_F64:
            ((double *)call->out[0])[i] = x;
            break;
        case TS_BF16:
            ((uint16_t *)call->out[0])[i] = ts_bf16_from_f32((float)x);
            break;
        case TS_I32:
            ((int32_t *)call->out[0])[i] = (int32_t)to_integer(x, INT32_MIN, INT32_MAX);
            break;
        case TS_I64:
            ((int64_t *)call->out[0])[i] = to_integer(x, -0x1p62, 0x1p62);
            break;
        default:
            ((uint8_t *)call->out[0])[i] = (uint8_t)to_integer(x, 0, UINT8_MAX);
        }
    }
}

static real step_at(const ts_chain_step *s, const real *slot)
{
    const real x = slot[s->in[0]], u = slot[s->in[1]], v = slot[s->in[2]], a = (real)s->a, b = (real)s->b;
    switch (s->op) {
#define TAKES_ONE(op)                                                                                                  \
    case TS_OP_##op:                                                                                                   \
        return op##_at(x, a, b);
        TS_CHAIN_ONE(TAKES_ONE)
#define TAKES_SLOPE(op)                                                                                                \
    case TS_OP_##op:                                                                                                   \
        return op##_at(x, u, a, b);
        TS_CHAIN_SLOPE(TAKES_SLOPE)
#define TAKES_TWO(op)                                                                                                  \
    case TS_OP_##op:                                                                                                   \
        return op##_at(x, u);
        TS_CHAIN_TWO(TAKES_TWO)
    default:
        return CHOSEN(x, u, v);
    }
}

void REF(chain)(const ts_call *call)
{
    const ts_desc *d = call->desc;
    int64_t n = ts_shape_count(d->out[0].shape);
    for (int64_t i = 0; i < n; i++) {
        real slot[TS_CHAIN_SLOTS];
        for (int k = 0; k < d->in_count; k++)
            slot[k] = ((const real *)call->in[k])[i / d->attr.chain.each[k] % ts_shape_count(d->in[k].shape)];
        for (int k = 0; k < d->attr.chain.count; k++) {
            const ts_chain_step *s = &d->attr.chain.step[k];
            slot[s->out] = step_at(s, slot);
            if (s->result >= 0)
                ((real *)call->out[s->result])[i] = slot[s->out];
        }
    }
}
