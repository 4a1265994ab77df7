/* Shapes and dense tensors. A tensor is contiguous and row-major (dim[0] outermost), channels last: [B, T, C],
 * [B, H, W, C]. A ts_tensor is a view: it never owns its memory. */
#ifndef TS_CORE_TENSOR_H
#define TS_CORE_TENSOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "core/status.h"

typedef enum { TS_F32, TS_F64, TS_BF16, TS_I32, TS_I64, TS_U8, TS_DTYPE_COUNT } ts_dtype;

size_t ts_dtype_bytes(ts_dtype dtype);
const char *ts_dtype_name(ts_dtype dtype); /* "f32", "i64" ... */
bool ts_dtype_is_real(ts_dtype dtype);     /* f32, f64, bf16 */

enum { TS_MAX_RANK = 6 };

/* rank 0 is a scalar. Unused dims are 0. */
typedef struct {
    int rank;
    int64_t dim[TS_MAX_RANK];
} ts_shape;

/* ts_shape_of(2, 3, 4) is [2, 3, 4]; ts_shape_of() is []. */
#define ts_shape_of(...)                                                                                               \
    ts_shape_from((int)(sizeof((int64_t[]){0, ##__VA_ARGS__}) / sizeof(int64_t)) - 1, (int64_t[]){0, ##__VA_ARGS__} + 1)
ts_shape ts_shape_from(int rank, const int64_t *dim);

ts_shape ts_shape_with_last(ts_shape shape, int64_t last); /* the last dim replaced; rank is at least 1 */

int64_t ts_shape_count(ts_shape shape);                      /* product of dims; 1 for a scalar */
bool ts_shape_count_checked(ts_shape shape, int64_t *count); /* false on a negative dim or an overflow of int64 */
bool ts_shape_equal(ts_shape a, ts_shape b);

typedef struct {
    char text[96];
} ts_shape_text;
ts_shape_text ts_shape_print(ts_shape shape); /* "[2, 3]"; use as ts_shape_print(s).text */

typedef struct {
    ts_dtype dtype;
    ts_shape shape;
    void *data; /* row-major; host or device memory, as the owner says */
} ts_tensor;

size_t ts_tensor_bytes(const ts_tensor *t);

/* A tensor with a name, as files hold them: parameters, tokens, data sets. */
typedef struct {
    const char *name;
    ts_tensor tensor;
} ts_named_tensor;

/* bf16 keeps f32's exponent and 7 bits of its fraction; rounding is to nearest, ties to even; NaN stays NaN. */
TS_BOTH_SIDES static inline uint16_t ts_bf16_from_f32(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    if ((bits & 0x7fffffffu) > 0x7f800000u)
        return (uint16_t)((bits >> 16) | 0x40); /* NaN: the quiet bit keeps it one */
    return (uint16_t)((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

TS_BOTH_SIDES static inline float ts_f32_from_bf16(uint16_t x)
{
    uint32_t bits = (uint32_t)x << 16;
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

#endif
