/* Finite scalar quantization (Mentzer et al. 2023): the arithmetic that kernels, quantizers and tools share. Each of
 * the D numbers of a row is bounded, rounded to one of its L levels, and the level indices are the digits of the id.
 *
 *   bound     t = tanh(z + shift), or clamp(z + shift, -1, 1)
 *   level     lucidrains, google   k = rint(width * t - offset) + floor(L / 2)        half to even
 *             symmetric            k = floor((L - 1) * (t + 1) / 2 + 1/2)             half up
 *   code      lucidrains, google   (k - floor(L / 2)) / floor(L / 2)                  even L: -1 ... 1 - 2/L
 *             symmetric            (2 k - (L - 1)) / (L - 1)                          -1 ... 1
 *   id        sum of k_i * basis_i, basis_0 = 1, basis_i = L_0 ... L_{i-1}: the first dim is the least significant
 *   gradient  dcode/dz = slope * (1 - t^2), or slope where |z + shift| <= 1: only the rounding is straight-through
 *
 * with width = (L - 1)(1 + eps)/2, shift = atanh(offset / width) for lucidrains, (L - 1)(1 - eps)/2 and tan for google,
 * (L - 1)/2 and 0 for symmetric; eps = 1e-3; offset = 1/2 for an even L, else 0 (0 if symmetric). With the hard clamp
 * shift = offset / width. Constants are f32, as upstream's. A NaN has level -1, code NaN and id -1.
 *
 * Include with TS_FSQ_REAL defined as double for the same in f64 (the gradient checks). */
#ifndef TS_CORE_FSQ_H
#define TS_CORE_FSQ_H

#ifdef __cplusplus
#include <math.h>
#else
#include <tgmath.h>
#endif

#include "core/op.h"

#ifndef TS_FSQ_REAL
#define TS_FSQ_REAL float
#endif
typedef TS_FSQ_REAL ts_fsq_real;

/* More levels a dim than this an f32 tanh does not resolve. */
enum { TS_FSQ_MOST_LEVELS = 1 << 16 };

typedef struct {
    int count; /* D */
    bool symmetric, hard_clamp;
    int32_t size; /* codes: the product of all levels */
    int32_t level[TS_MAX_LEVELS], basis[TS_MAX_LEVELS];
    int32_t half[TS_MAX_LEVELS]; /* floor(L / 2) */
    float width[TS_MAX_LEVELS], offset[TS_MAX_LEVELS], shift[TS_MAX_LEVELS];
    float slope[TS_MAX_LEVELS]; /* of the code over t */
} ts_fsq_table;

/* Errors (usage): no dims or more than TS_MAX_LEVELS; a level below 2 or above TS_FSQ_MOST_LEVELS; level 2 with
 * lucidrains' bound (one of the two codes would need z < -3.8); more than 2^31 - 1 codes. Thread: pure. */
ts_status ts_fsq_table_init(ts_fsq_table *table, const ts_fsq_opts *opts, ts_error *err);

/* t, the bounded number in [-1, 1], of dim i. */
TS_BOTH_SIDES static inline ts_fsq_real ts_fsq_squash(const ts_fsq_table *f, int i, ts_fsq_real z)
{
    ts_fsq_real x = z + f->shift[i];
    if (!f->hard_clamp)
        return tanh(x);
    return x < -1 ? -1 : x > 1 ? 1 : x;
}

/* Level index 0 ... L-1 of a bounded number; -1 for NaN. */
TS_BOTH_SIDES static inline int32_t ts_fsq_level(const ts_fsq_table *f, int i, ts_fsq_real t)
{
    if (isnan(t))
        return -1;
    int32_t k = f->symmetric ? (int32_t)floor(f->width[i] * (t + 1) + (ts_fsq_real)0.5)
                             : (int32_t)rint(f->width[i] * t - f->offset[i]) + f->half[i];
    return k < 0 ? 0 : k < f->level[i] ? k : f->level[i] - 1; /* from L = 1001 on, width * 1 rounds to one more */
}

/* The number that level k of dim i stands for; NaN for k = -1. */
TS_BOTH_SIDES static inline ts_fsq_real ts_fsq_code(const ts_fsq_table *f, int i, int32_t k)
{
    int32_t top = f->level[i] - 1;
    if (k < 0)
        return (ts_fsq_real)NAN;
    return f->symmetric ? (ts_fsq_real)(2 * k - top) / (ts_fsq_real)top
                        : (ts_fsq_real)(k - f->half[i]) / (ts_fsq_real)f->half[i];
}

/* The level nearest to a code; -1 for NaN and for what lies half a level and more outside the codes. */
TS_BOTH_SIDES static inline int32_t ts_fsq_level_of_code(const ts_fsq_table *f, int i, ts_fsq_real code)
{
    ts_fsq_real top = (ts_fsq_real)(f->level[i] - 1), half = (ts_fsq_real)f->half[i];
    ts_fsq_real k = rint(f->symmetric ? (code + 1) * top / 2 : code * half + half);
    return k >= 0 && k <= top ? (int32_t)k : -1;
}

/* Digit i of an id; -1 where the id is not one of 0 ... size-1. */
TS_BOTH_SIDES static inline int32_t ts_fsq_level_of_id(const ts_fsq_table *f, int i, int32_t id)
{
    return id >= 0 && id < f->size ? id / f->basis[i] % f->level[i] : -1;
}

/* The id of D level indices; -1 where one of them is. */
TS_BOTH_SIDES static inline int32_t ts_fsq_id(const ts_fsq_table *f, const int32_t *level)
{
    int32_t id = 0;
    for (int i = 0; i < f->count; i++) {
        if (level[i] < 0)
            return -1;
        id += level[i] * f->basis[i];
    }
    return id;
}

/* dcode/dz of dim i, the rounding taken as the identity. */
TS_BOTH_SIDES static inline ts_fsq_real ts_fsq_derivative(const ts_fsq_table *f, int i, ts_fsq_real z)
{
    ts_fsq_real x = z + f->shift[i], t = ts_fsq_squash(f, i, z);
    if (f->hard_clamp)
        return x >= -1 && x <= 1 ? f->slope[i] : 0;
    return f->slope[i] * (1 - t * t);
}

#endif
