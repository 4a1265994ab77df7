#include "autograd/resample.h"

#include "autograd/node.h"
#include "autograd/shape.h"

/* Keeps an error unless x is real, of this rank and of at most 2^31 - 1 pixels: places in the plane are i32. */
static bool image_valid(ts_graph *g, const char *name, ts_value x, int rank)
{
    const ts_shape shape = ts_value_shape(x);
    if (shape.rank != rank || !ts_dtype_is_real(ts_type_of(x).dtype)) {
        ts_build_fail(g, name, "input is %s %s, expected real numbers of rank %d, channels last",
                      ts_dtype_name(ts_type_of(x).dtype), ts_shape_print(shape).text, rank);
        return false;
    }
    int64_t pixels = 1;
    for (int i = 1; i < rank - 1; i++)
        pixels = shape.dim[i] > INT32_MAX ? INT32_MAX + (int64_t)1 : pixels * shape.dim[i];
    if (pixels > INT32_MAX) {
        ts_build_fail(g, name, "input %s has more than 2^31 - 1 pixels", ts_shape_print(shape).text);
        return false;
    }
    return true;
}

/* [B, T, C] -> [B, 1, T, C], and back. */
static ts_value with_height(ts_value x)
{
    return ts_reshape(x, ts_shape_of(ts_dim(x, 0), 1, ts_dim(x, 1), ts_dim(x, 2)));
}

static ts_value without_height(ts_value y)
{
    return ts_present(y) ? ts_reshape(y, ts_shape_of(ts_dim(y, 0), ts_dim(y, 2), ts_dim(y, 3))) : y;
}

static ts_value upsample(ts_graph *g, const char *name, ts_value x, int64_t factor_h, int64_t factor_w)
{
    ts_shape y = ts_value_shape(x);
    if (factor_h < 1 || factor_w < 1)
        return ts_build_fail(g, name, "factors are %lld and %lld, expected 1 or more (input %s)", (long long)factor_h,
                             (long long)factor_w, ts_shape_print(y).text);
    if (__builtin_mul_overflow(y.dim[1], factor_h, &y.dim[1]) || __builtin_mul_overflow(y.dim[2], factor_w, &y.dim[2]))
        return ts_build_fail(g, name, "factors %lld and %lld are too large for %s", (long long)factor_h,
                             (long long)factor_w, ts_shape_print(ts_value_shape(x)).text);
    ts_node_spec spec = {.op = TS_OP_upsample_nearest, .in_count = 1, .in = {x}, .out = {{ts_type_of(x).dtype, y}}};
    spec.attr.pool.size[0] = factor_h;
    spec.attr.pool.size[1] = factor_w;
    return ts_node_add(g, &spec, NULL);
}

ts_value ts_upsample_nearest2d(ts_value x, int64_t factor_h, int64_t factor_w)
{
    ts_graph *g;
    if (ts_poisoned(&g, 1, &x) || !image_valid(g, "upsample_nearest2d", x, 4))
        return ts_poison(g);
    return upsample(g, "upsample_nearest2d", x, factor_h, factor_w);
}

ts_value ts_upsample_nearest1d(ts_value x, int64_t factor)
{
    ts_graph *g;
    if (ts_poisoned(&g, 1, &x) || !image_valid(g, "upsample_nearest1d", x, 3))
        return ts_poison(g);
    return without_height(upsample(g, "upsample_nearest1d", with_height(x), 1, factor));
}

/* Rows or columns that come out; 0 where the window does not fit. */
static int64_t pooled_size(int64_t size, int64_t kernel, int64_t stride, int64_t pad)
{
    return size + 2 * pad < kernel ? 0 : (size + 2 * pad - kernel) / stride + 1;
}

static ts_value pool(ts_graph *g, const char *name, ts_op op, ts_value x, const int64_t kernel[2],
                     const int64_t stride[2], const int64_t pad[2])
{
    ts_shape y = ts_value_shape(x);
    ts_node_spec spec = {.op = op, .in_count = 1, .in = {x}};
    for (int i = 0; i < 2; i++) {
        if (kernel[i] < 1 || kernel[i] > INT32_MAX || stride[i] < 1 || pad[i] < 0 || pad[i] > kernel[i] / 2)
            return ts_build_fail(
                g, name,
                "kernel %lld, stride %lld, padding %lld: expected 1 or more, 1 or more, at most half the "
                "kernel (input %s)",
                (long long)kernel[i], (long long)stride[i], (long long)pad[i], ts_shape_print(ts_value_shape(x)).text);
        spec.attr.pool.size[i] = kernel[i];
        spec.attr.pool.stride[i] = stride[i];
        spec.attr.pool.pad[i] = pad[i];
        y.dim[i + 1] = pooled_size(y.dim[i + 1], kernel[i], stride[i], pad[i]);
        if (y.dim[i + 1] < 1)
            return ts_build_fail(g, name, "nothing comes out: a window of %lld with padding %lld does not fit into %s",
                                 (long long)kernel[i], (long long)pad[i], ts_shape_print(ts_value_shape(x)).text);
    }
    spec.out[0] = (ts_type){ts_type_of(x).dtype, y};
    spec.out[1] = (ts_type){TS_I32, y}; /* max_pool: the place in the plane, i*W + j */
    return ts_node_add(g, &spec, NULL);
}

static ts_value pool_2d(const char *name, ts_op op, ts_value x, const int64_t kernel[2], const int64_t stride[2],
                        const int64_t pad[2])
{
    ts_graph *g;
    if (ts_poisoned(&g, 1, &x) || !image_valid(g, name, x, 4))
        return ts_poison(g);
    return pool(g, name, op, x, kernel, stride, pad);
}

static ts_value pool_1d(const char *name, ts_op op, ts_value x, int64_t kernel, int64_t stride, int64_t pad)
{
    ts_graph *g;
    if (ts_poisoned(&g, 1, &x) || !image_valid(g, name, x, 3))
        return ts_poison(g);
    return without_height(
        pool(g, name, op, with_height(x), (int64_t[]){1, kernel}, (int64_t[]){1, stride}, (int64_t[]){0, pad}));
}

ts_value ts_avg_pool2d(ts_value x, const int64_t kernel[2], const int64_t stride[2], const int64_t pad[2])
{
    return pool_2d("avg_pool2d", TS_OP_avg_pool, x, kernel, stride, pad);
}

ts_value ts_avg_pool1d(ts_value x, int64_t kernel, int64_t stride, int64_t pad)
{
    return pool_1d("avg_pool1d", TS_OP_avg_pool, x, kernel, stride, pad);
}

ts_value ts_max_pool2d(ts_value x, const int64_t kernel[2], const int64_t stride[2], const int64_t pad[2])
{
    return pool_2d("max_pool2d", TS_OP_max_pool, x, kernel, stride, pad);
}

ts_value ts_max_pool1d(ts_value x, int64_t kernel, int64_t stride, int64_t pad)
{
    return pool_1d("max_pool1d", TS_OP_max_pool, x, kernel, stride, pad);
}

/* A gradient op with the forward's attributes: from dy (and where it came from) to the shape of x. */
static ts_value adjoint(const ts_rule *r, ts_op op, int in_count, ts_value where)
{
    ts_node_spec spec = {.op = op, .attr = *r->attr, .in_count = in_count, .in = {r->dout[0], where}};
    spec.out[0] = ts_type_of(r->in[0]);
    return ts_node_add(r->dout[0].graph, &spec, NULL);
}

void ts_rule_upsample_nearest(ts_rule *r)
{
    r->din[0] = adjoint(r, TS_OP_upsample_nearest_dx, 1, TS_ABSENT);
}

void ts_rule_avg_pool(ts_rule *r)
{
    r->din[0] = adjoint(r, TS_OP_avg_pool_dx, 1, TS_ABSENT);
}

void ts_rule_max_pool(ts_rule *r)
{
    r->din[0] = adjoint(r, TS_OP_max_pool_dx, 2, r->out[1]);
}
