#include "core/tensor.h"

#include <stdio.h>
#include <string.h>

static const struct {
    const char *name;
    size_t bytes;
    bool real;
} dtypes[TS_DTYPE_COUNT] = {
    [TS_F32] = {"f32", 4, true},  [TS_F64] = {"f64", 8, true},  [TS_BF16] = {"bf16", 2, true},
    [TS_I32] = {"i32", 4, false}, [TS_I64] = {"i64", 8, false}, [TS_U8] = {"u8", 1, false},
};

size_t ts_dtype_bytes(ts_dtype dtype)
{
    return dtypes[dtype].bytes;
}

const char *ts_dtype_name(ts_dtype dtype)
{
    return dtypes[dtype].name;
}

bool ts_dtype_is_real(ts_dtype dtype)
{
    return dtypes[dtype].real;
}

ts_shape ts_shape_from(int rank, const int64_t *dim)
{
    ts_shape shape = {.rank = rank};
    for (int i = 0; i < rank && i < TS_MAX_RANK; i++)
        shape.dim[i] = dim[i];
    return shape;
}

bool ts_shape_count_checked(ts_shape shape, int64_t *count)
{
    int64_t n = 1;
    for (int i = 0; i < shape.rank; i++)
        if (shape.dim[i] < 0 || __builtin_mul_overflow(n, shape.dim[i], &n))
            return false;
    *count = n;
    return true;
}

ts_shape ts_shape_with_last(ts_shape shape, int64_t last)
{
    shape.dim[shape.rank - 1] = last;
    return shape;
}

int64_t ts_shape_count(ts_shape shape)
{
    int64_t n = 1;
    for (int i = 0; i < shape.rank; i++)
        n *= shape.dim[i];
    return n;
}

bool ts_shape_equal(ts_shape a, ts_shape b)
{
    return a.rank == b.rank && memcmp(a.dim, b.dim, (size_t)a.rank * sizeof a.dim[0]) == 0;
}

ts_shape_text ts_shape_print(ts_shape shape)
{
    ts_shape_text t = {"["};
    size_t used = 1;
    for (int i = 0; i < shape.rank; i++)
        used += (size_t)snprintf(t.text + used, sizeof t.text - used, i ? ", %lld" : "%lld", (long long)shape.dim[i]);
    snprintf(t.text + used, sizeof t.text - used, "]");
    return t;
}

size_t ts_tensor_bytes(const ts_tensor *t)
{
    return (size_t)ts_shape_count(t->shape) * ts_dtype_bytes(t->dtype);
}
