#include "autograd/reduce.h"

#include "autograd/elementwise.h"
#include "autograd/node.h"
#include "autograd/shape.h"

static ts_shape reduced(ts_shape shape, uint32_t axes)
{
    for (int i = 0; i < shape.rank; i++)
        if (axes >> i & 1)
            shape.dim[i] = 1;
    return shape;
}

static ts_shape without(ts_shape shape, uint32_t axes)
{
    ts_shape kept = {0};
    for (int i = 0; i < shape.rank; i++)
        if (!(axes >> i & 1))
            kept.dim[kept.rank++] = shape.dim[i];
    return kept;
}

static uint32_t all_axes(ts_value x)
{
    return (1u << ts_value_shape(x).rank) - 1;
}

/* The kernels keep reduced axes as 1; dropping them is a reshape. */
static ts_value reduce(ts_op op, ts_value x, uint32_t axes, bool keep)
{
    ts_graph *g;
    if (ts_poisoned(&g, 1, &x))
        return ts_poison(g);
    ts_shape shape = ts_value_shape(x);
    if (axes >> shape.rank)
        return ts_build_fail(g, ts_ops[op].name, "axis mask %#x is beyond the rank of %s", axes,
                             ts_shape_print(shape).text);
    ts_value y = x;
    if (axes) {
        ts_dtype dtype = ts_type_of(x).dtype;
        if (op == TS_OP_sum && dtype == TS_BF16)
            dtype = TS_F32;
        ts_node_spec spec = {.op = op, .in_count = 1, .in = {x}, .out = {{dtype, reduced(shape, axes)}}};
        spec.attr.axis.axes = axes;
        y = ts_node_add(g, &spec, NULL);
    }
    return keep || !ts_present(y) ? y : ts_reshape(y, without(shape, axes));
}

ts_value ts_sum(ts_value x, uint32_t axes, bool keep)
{
    return reduce(TS_OP_sum, x, axes, keep);
}

ts_value ts_amax(ts_value x, uint32_t axes, bool keep)
{
    return reduce(TS_OP_amax, x, axes, keep);
}

ts_value ts_mean(ts_value x, uint32_t axes, bool keep)
{
    ts_value s = ts_sum(x, axes, keep);
    if (!ts_present(s))
        return s;
    double n = (double)ts_shape_count(ts_value_shape(x)) / (double)ts_shape_count(ts_value_shape(s));
    return ts_scale(s, 1 / n);
}

ts_value ts_sum_all(ts_value x)
{
    return ts_present(x) ? ts_sum(x, all_axes(x), false) : x;
}

ts_value ts_mean_all(ts_value x)
{
    return ts_present(x) ? ts_mean(x, all_axes(x), false) : x;
}

void ts_rule_sum(ts_rule *r)
{
    r->din[0] = ts_broadcast(r->dout[0], ts_value_shape(r->in[0]));
}

void ts_rule_amax(ts_rule *r)
{
    ts_shape shape = ts_value_shape(r->in[0]);
    ts_value below = ts_greater(ts_broadcast(r->out[0], shape), r->in[0]);
    ts_value at = ts_affine(below, -1, 1); /* 1 where the maximum is taken */
    ts_value share = ts_div(r->dout[0], ts_sum(at, r->attr->axis.axes, true));
    r->din[0] = ts_mul(at, share);
}

ts_value ts_broadcast(ts_value x, ts_shape shape)
{
    ts_graph *g;
    if (ts_poisoned(&g, 1, &x))
        return ts_poison(g);
    ts_shape from = ts_value_shape(x);
    if (ts_shape_equal(from, shape))
        return x;
    bool fits = from.rank <= shape.rank;
    for (int i = 0; fits && i < from.rank; i++) {
        int64_t d = from.dim[from.rank - 1 - i];
        fits = d == 1 || d == shape.dim[shape.rank - 1 - i];
    }
    if (!fits)
        return ts_build_fail(g, "broadcast", "%s does not broadcast to %s", ts_shape_print(from).text,
                             ts_shape_print(shape).text);
    ts_node_spec spec = {.op = TS_OP_broadcast, .in_count = 1, .in = {x}, .out = {{ts_type_of(x).dtype, shape}}};
    return ts_node_add(g, &spec, NULL);
}

void ts_rule_broadcast(ts_rule *r)
{
    r->din[0] = ts_sum_to(r->dout[0], ts_value_shape(r->in[0]));
}

ts_value ts_sum_to(ts_value v, ts_shape shape)
{
    if (!ts_present(v))
        return v;
    ts_shape from = ts_value_shape(v);
    uint32_t axes = 0;
    int extra = from.rank - shape.rank;
    for (int i = 0; i < from.rank; i++)
        if (i < extra || (shape.dim[i - extra] == 1 && from.dim[i] != 1))
            axes |= 1u << i;
    return ts_reshape(ts_sum(v, axes, true), shape);
}

ts_value ts_cumsum(ts_value x, int axis, bool reverse)
{
    ts_graph *g;
    if (ts_poisoned(&g, 1, &x))
        return ts_poison(g);
    ts_type type = ts_type_of(x);
    int at = axis < 0 ? axis + type.shape.rank : axis;
    if (at < 0 || at >= type.shape.rank)
        return ts_build_fail(g, "cumsum", "%s has no axis %d", ts_shape_print(type.shape).text, axis);
    ts_node_spec spec = {.op = TS_OP_cumsum, .in_count = 1, .in = {x}, .out = {type}};
    spec.attr.axis.axis = at;
    spec.attr.axis.reverse = reverse;
    return ts_node_add(g, &spec, NULL);
}

void ts_rule_cumsum(ts_rule *r)
{
    r->din[0] = ts_cumsum(r->dout[0], r->attr->axis.axis, !r->attr->axis.reverse);
}

ts_value ts_all_finite(const ts_value *x, int count)
{
    ts_graph *g;
    if (ts_poisoned(&g, count, x))
        return ts_poison(g);
    ts_node_spec spec = {.op = TS_OP_all_finite, .in_count = count, .out = {{ts_graph_real(g), ts_shape_of()}}};
    for (int i = 0; i < count; i++)
        spec.in[i] = x[i];
    return ts_node_add(g, &spec, NULL);
}
