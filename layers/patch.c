#include "layers/patch.h"

#include <math.h>

#include "autograd/elementwise.h"
#include "autograd/index.h"
#include "autograd/node.h"
#include "autograd/shape.h"

const char *const ts_patch_names[] = {"haar", "rearrange", NULL};

/* [B, T, C] -> [B, T/2, 2C] */
static ts_value fold_pairs(ts_value x)
{
    int64_t B = ts_dim(x, 0), half = ts_dim(x, 1) / 2, C = ts_dim(x, 2);
    ts_value pairs = ts_reshape(x, ts_shape_of(B, half, 2 * C));
    ts_value even = ts_slice(pairs, 2, 0, C), odd = ts_slice(pairs, 2, C, C);
    ts_value both[2] = {ts_add(even, odd), ts_subtract(even, odd)};
    return ts_scale(ts_concat(both, 2, 2), 1 / sqrt(8));
}

/* [B, T, 2C] -> [B, 2T, C]: a and d of fold_pairs times sqrt(2) are the sum and the difference of the halves. */
static ts_value unfold_pairs(ts_value x)
{
    int64_t B = ts_dim(x, 0), T = ts_dim(x, 1), C = ts_dim(x, 2) / 2;
    ts_value a = ts_slice(x, 2, 0, C), d = ts_slice(x, 2, C, C);
    ts_value pair[2] = {ts_add(a, d), ts_subtract(a, d)};
    return ts_reshape(ts_scale(ts_concat(pair, 2, 2), sqrt(2)), ts_shape_of(B, 2 * T, C));
}

/* The last two axes of [B, T, rows, columns] change places; the result has this shape. */
static ts_value transpose(ts_value x, int64_t rows, int64_t columns, ts_shape shape)
{
    ts_value split = ts_reshape(x, ts_shape_of(ts_dim(x, 0), -1, rows, columns));
    return ts_reshape(ts_permute(split, (int[]){0, 1, 3, 2}), shape);
}

static bool fits(ts_value x, ts_patch_method method, int64_t size, int axis)
{
    if (!ts_present(x))
        return false;
    if (ts_value_shape(x).rank == 3 && size >= 1 && ts_dim(x, axis) % size == 0 &&
        (method != TS_PATCH_HAAR || (size & (size - 1)) == 0))
        return true;
    ts_build_fail(x.graph, "patch", "%s by %lld: expected [B, T, C] with a multiple of it, and a power of two for haar",
                  ts_shape_print(ts_value_shape(x)).text, (long long)size);
    return false;
}

ts_value ts_patch(ts_value x, ts_patch_method method, int64_t size)
{
    if (!fits(x, method, size, 1))
        return ts_poison(x.graph);
    int64_t B = ts_dim(x, 0), T = ts_dim(x, 1), C = ts_dim(x, 2);
    if (method == TS_PATCH_REARRANGE && size > 1)
        return transpose(x, size, C, ts_shape_of(B, T / size, C * size));
    for (; size > 1; size /= 2)
        x = fold_pairs(x);
    return x;
}

ts_value ts_unpatch(ts_value x, ts_patch_method method, int64_t size)
{
    if (!fits(x, method, size, 2))
        return ts_poison(x.graph);
    int64_t B = ts_dim(x, 0), T = ts_dim(x, 1), C = ts_dim(x, 2);
    if (method == TS_PATCH_REARRANGE && size > 1)
        return transpose(x, C / size, size, ts_shape_of(B, T * size, C / size));
    for (; size > 1; size /= 2)
        x = unfold_pairs(x);
    return x;
}
