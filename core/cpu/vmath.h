/* exp, log, tanh and the normal distribution in f32 without branches or calls, so that a loop over them becomes vector
 * code (on any instruction set: no FMA is assumed). Errors are the largest over all floats (sampled again in
 * tests/core/test_vmath.c), in units in the last place of the result. NaN gives NaN; infinities give the limits. The
 * coefficients are minimax fits of our own, rounded to f32 one by one from the lowest on. */
#ifndef TS_CORE_CPU_VMATH_H
#define TS_CORE_CPU_VMATH_H

#include <stdint.h>

static inline uint32_t ts_bits_of(float x)
{
    union {
        float f;
        uint32_t u;
    } v = {.f = x};
    return v.u;
}

static inline float ts_float_of(uint32_t bits)
{
    union {
        uint32_t u;
        float f;
    } v = {.u = bits};
    return v.f;
}

/* 2^n for n in -126 ... 127 */
static inline float ts_vpow2(int32_t n)
{
    return ts_float_of((uint32_t)(n + 127) << 23);
}

/* exp(r) - 1 for |r| <= ln(2) / 2 */
static inline float ts_vexpm1_small(float r)
{
    float q = 0x1.6b9caap-10f;
    q = q * r + 0x1.12256p-7f;
    q = q * r + 0x1.5556f2p-5f;
    q = q * r + 0x1.5554b4p-3f;
    q = q * r + 0x1.fffffep-2f;
    return r + r * r * q;
}

/* x = n ln(2) + r with |r| <= ln(2) / 2; |x| < 200. Adding 1.5 * 2^23 rounds to an integer, which then stands in the
 * low bits; ln(2) is split so that n times its upper part is exact. */
static inline float ts_vreduce(float x, int32_t *n)
{
    const float round = 0x1.8p23f;
    float k = x * 0x1.715476p0f + round;
    *n = (int32_t)(ts_bits_of(k) - ts_bits_of(round));
    k -= round;
    return (x - k * 0x1.62e4p-1f) - k * 0x1.7f7d1cp-20f;
}

/* Largest error 1.1. Overflows to infinity where expf does; denormal results are flushed where the processor does so.
 */
static inline float ts_vexp(float x)
{
    int32_t n;
    x = x > 89.0f ? 89.0f : x;
    x = x < -104.0f ? -104.0f : x;
    float y = 1.0f + ts_vexpm1_small(ts_vreduce(x, &n));
    int32_t half = n >> 1; /* 2^n itself may be no float */
    return y * ts_vpow2(half) * ts_vpow2(n - half);
}

/* Largest error 1.6. Below 0.625: x + x z P(z), z = x^2. Above, with e = exp(2|x|) - 1: tanh|x| = e / (e + 2). */
static inline float ts_vtanh(float x)
{
    int32_t n;
    float a = ts_float_of(ts_bits_of(x) & 0x7fffffffu);
    a = a > 10.0f ? 10.0f : a;
    float z = a * a, p = -0x1.769228p-8f;
    p = p * z + 0x1.52509ep-6f;
    p = p * z - 0x1.b8434p-5f;
    p = p * z + 0x1.11076p-3f;
    p = p * z - 0x1.555534p-2f;
    float small = ts_vexpm1_small(ts_vreduce(a + a, &n)), scale = ts_vpow2(n);
    float e = scale * small + (scale - 1.0f);
    float high = e / (e + 2.0f), low = a + a * (z * p);
    float t = a < 0.625f ? low : high;
    return ts_float_of(ts_bits_of(t) | (ts_bits_of(x) & 0x80000000u));
}

/* 1 - tanh(x)^2, the derivative of tanh, as 4 e / (1 + e)^2 with e = exp(-2|x|). Largest error 4.5 for |x| up to 43,
 * from where on, at 1.8e-37, it is 0. */
static inline float ts_vsech2(float x)
{
    int32_t n;
    const float a = ts_float_of(ts_bits_of(x) & 0x7fffffffu), b = a > 43.0f ? 43.0f : a;
    const float e = (1.0f + ts_vexpm1_small(ts_vreduce(-(b + b), &n))) * ts_vpow2(n), r = 1.0f / (1.0f + e);
    return a > 43.0f ? 0.0f : 4.0f * e * (r * r);
}

/* Largest error 0.9. Below 0 NaN, at 0 minus infinity; a denormal counts as 0 where the processor flushes it. */
static inline float ts_vlog(float x)
{
    float tiny = x < 0x1p-126f ? 0x1p23f : 1.0f; /* denormals are made normal first */
    uint32_t bits = ts_bits_of(x * tiny);
    uint32_t shifted = bits - 0x3f3504f3u; /* of sqrt(1/2): the mantissa comes to lie in [sqrt(1/2), sqrt(2)) */
    int32_t n = (int32_t)shifted >> 23;
    float f = ts_float_of((shifted & 0x007fffffu) + 0x3f3504f3u) - 1.0f;
    float k = (float)n - (x < 0x1p-126f ? 23.0f : 0.0f);
    float s = f / (2.0f + f), z = s * s, h = 0.5f * f * f;
    float r = 0x1.f1308ap-3f;
    r = r * z + 0x1.23d3fep-2f;
    r = r * z + 0x1.999c26p-2f;
    r = r * z + 0x1.555554p-1f;
    float y = k * 0x1.62e4p-1f - ((h - (s * (h + r * z) + k * 0x1.7f7d1cp-20f)) - f);
    y = x == 0.0f ? -__builtin_inff() : y;
    y = x > 0x1.fffffep127f ? x : y;
    return x >= 0.0f ? y : __builtin_nanf("");
}

/* The part of the standard normal distribution below x, and *e = exp(-x^2 / 2), its density but for 1 / sqrt(2 pi).
 * Largest error of the part 2e-7, and of a small one 6 (1 + x^2 / 2) units in the last place. Below 0 it is e t
 * P(t), t = 1 / (1 + 0.4 |x|), as Hastings (Approximations for Digital Computers, 1955) has it for the error function.
 */
static inline float ts_vnormal(float x, float *e)
{
    float t = 1.0f / (1.0f + 0.4f * ts_float_of(ts_bits_of(x) & 0x7fffffffu)), p = -0x1.2a96dep-5f;
    p = p * t + 0x1.7bfe16p-3f;
    p = p * t - 0x1.5fa118p-2f;
    p = p * t + 0x1.bdb0fep-3f;
    p = p * t + 0x1.3591c2p-7f;
    p = p * t + 0x1.32bf44p-3f;
    p = p * t + 0x1.4324d8p-3f;
    p = p * t + 0x1.46fb98p-3f;
    *e = ts_vexp(-0.5f * x * x);
    float tail = *e * (p * t);
    return x < 0.0f ? tail : 1.0f - tail;
}

#endif
