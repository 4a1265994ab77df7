/* The formulas of core/ref/elementwise.c in f32, a function object <op>_of each: of an op's own kernel and of chains.
 */
#ifndef TS_CORE_CUDA_ELEMENTWISE_CUH
#define TS_CORE_CUDA_ELEMENTWISE_CUH

#include <math.h>

#include "core/cuda/cuda.h"

namespace
{

#define F(...) __device__ float operator()(__VA_ARGS__) const

/* ---- of two and three operands, which repeat to a common shape ---- */

#define TWO(op, expression)                                                                                            \
    struct op##_of {                                                                                                   \
        F(float a, float b)                                                                                            \
        {                                                                                                              \
            return expression;                                                                                         \
        }                                                                                                              \
    };

TWO(add, a + b)
TWO(subtract, a - b)
TWO(mul, a *b)
TWO(div, a / b)
TWO(maximum, a >= b ? a : b)
TWO(minimum, a <= b ? a : b)
TWO(greater, a > b ? 1.0f : 0.0f)

struct where_of {
    F(float condition, float a, float b)
    {
        return condition != 0 ? a : b;
    }
};

/* ---- of one, with a and b of the attributes ---- */

__device__ float sigmoid(float x)
{
    return 1.0f / (1.0f + expf(-x));
}

/* The standard normal's distribution function and density. */
__device__ float normal_cdf(float x)
{
    return 0.5f * erfcf(-x * 0.70710678f);
}

__device__ float normal_density(float x)
{
    return 0.39894228f * expf(-0.5f * x * x);
}

/* gelu_tanh: x/2 * (1 + tanh(u)), u = c (x + k x^3) */
__device__ float gelu_tanh_inner(float x)
{
    return tanhf(0.79788456f * (x + 0.044715f * x * x * x));
}

__device__ float gelu_tanh_slope(float x)
{
    const float t = gelu_tanh_inner(x);
    return 0.5f * (1.0f + t) + 0.5f * x * fmaf(-t, t, 1.0f) * 0.79788456f * (1.0f + 3.0f * 0.044715f * x * x);
}

__device__ float smooth_abs_at(float x, float beta)
{
    const float m = fabsf(x);
    return m < beta ? 0.5f * x * x / beta : m - 0.5f * beta;
}

#define ONE(op, expression)                                                                                            \
    struct op##_of {                                                                                                   \
        float a, b;                                                                                                    \
        F(float x)                                                                                                     \
        {                                                                                                              \
            return expression;                                                                                         \
        }                                                                                                              \
    };

ONE(affine, a *x + b)
ONE(square, x *x)
ONE(sqrt, sqrtf(x))
ONE(exp, expf(x))
ONE(log, logf(x))
ONE(abs, fabsf(x))
ONE(clamp, x<a ? a : x> b ? b : x)
ONE(smooth_abs, smooth_abs_at(x, a))
ONE(relu, x < 0 ? 0.0f : x)
ONE(leaky_relu, x > 0 ? x : a * x)
ONE(elu, x > 0 ? x : a * expm1f(x))
ONE(silu, x *sigmoid(x))
ONE(gelu, x *normal_cdf(x))
ONE(gelu_tanh, 0.5f * x * (1.0f + gelu_tanh_inner(x)))
ONE(tanh, tanhf(x))
ONE(sigmoid, sigmoid(x))
ONE(softplus, fmaxf(x, 0.0f) + log1pf(expf(-fabsf(x))))

/* dx = dy * f'(x), of the operand x or, where that is the simpler formula, of the result */
#define SLOPE(op, expression)                                                                                          \
    struct op##_of {                                                                                                   \
        float a, b;                                                                                                    \
        F(float dy, float x)                                                                                           \
        {                                                                                                              \
            return dy * (expression);                                                                                  \
        }                                                                                                              \
    };

SLOPE(clamp_dx, x >= a && x <= b ? 1.0f : 0.0f)
SLOPE(relu_dx, x > 0 ? 1.0f : 0.0f) /* of the result */
SLOPE(tanh_dx, fmaf(-x, x, 1.0f))   /* of the result */
SLOPE(sigmoid_dx, x *(1.0f - x))    /* of the result */
SLOPE(leaky_relu_dx, x > 0 ? 1.0f : a)
SLOPE(elu_dx, x > 0 ? 1.0f : a * expf(x))
SLOPE(silu_dx, sigmoid(x) * (1.0f + x * (1.0f - sigmoid(x))))
SLOPE(gelu_dx, normal_cdf(x) + x * normal_density(x))
SLOPE(gelu_tanh_dx, gelu_tanh_slope(x))

#undef TWO
#undef ONE
#undef SLOPE
#undef F

} // namespace

#endif
