#include "autograd/index.h"

#include <math.h>

#include "autograd/node.h"

static bool is_real(ts_graph *g, ts_value v)
{
    return ts_type_of(v).dtype == ts_graph_real(g);
}

/* The graph's one message of operands that do not fit. */
static ts_value misfit(ts_graph *g, const char *op, ts_value a, ts_value ids, const char *expected)
{
    ts_type t = ts_type_of(a), i = ts_type_of(ids);
    return ts_build_fail(g, op, "operands are %s %s and ids %s %s; expected %s", ts_dtype_name(t.dtype),
                         ts_shape_print(t.shape).text, ts_dtype_name(i.dtype), ts_shape_print(i.shape).text, expected);
}

/* gather with a row of `fill` for ids outside. */
static ts_value gather_filled(ts_value table, ts_value ids, double fill)
{
    ts_type t = ts_type_of(table);
    ts_shape y = ts_value_shape(ids);
    y.dim[y.rank++] = t.shape.dim[1];
    ts_node_spec spec = {.op = TS_OP_gather, .in_count = 2, .in = {table, ids}, .out = {{t.dtype, y}}};
    spec.attr.axis.value = fill;
    return ts_node_add(table.graph, &spec, NULL);
}

ts_value ts_gather(ts_value table, ts_value ids)
{
    ts_graph *g;
    if (ts_poisoned(&g, 2, (ts_value[]){table, ids}))
        return ts_poison(g);
    ts_type i = ts_type_of(ids);
    if (!is_real(g, table) || ts_value_shape(table).rank != 2 || i.dtype != TS_I32 || i.shape.rank >= TS_MAX_RANK)
        return misfit(g, "gather", table, ids, "a real table [K, D] and i32 ids");
    return gather_filled(table, ids, NAN);
}

void ts_rule_gather(ts_rule *r)
{
    r->din[0] = ts_scatter_add(r->dout[0], r->in[1], ts_dim(r->in[0], 0));
}

ts_value ts_scatter_add(ts_value rows, ts_value ids, int64_t K)
{
    ts_graph *g;
    if (ts_poisoned(&g, 2, (ts_value[]){rows, ids}))
        return ts_poison(g);
    ts_shape s = ts_value_shape(rows), want = ts_value_shape(ids);
    int64_t D = ts_dim(rows, -1);
    if (want.rank < TS_MAX_RANK)
        want.dim[want.rank++] = D;
    if (!is_real(g, rows) || ts_type_of(ids).dtype != TS_I32 || s.rank < 1 || !ts_shape_equal(s, want) || K < 0)
        return misfit(g, "scatter_add", rows, ids, "real rows [.., D], i32 ids [..] and a count of 0 or more");
    ts_node_spec spec = {.op = TS_OP_scatter_add,
                         .in_count = 2,
                         .in = {rows, ids},
                         .out = {{ts_type_of(rows).dtype, ts_shape_of(K, D)}}};
    return ts_node_add(g, &spec, NULL);
}

/* An id that was left out has no share in the result: zero, where ts_gather would say NaN. */
void ts_rule_scatter_add(ts_rule *r)
{
    r->din[0] = gather_filled(r->dout[0], r->in[1], 0);
}

ts_value ts_count(ts_value ids, int64_t K)
{
    ts_graph *g;
    if (ts_poisoned(&g, 1, &ids))
        return ts_poison(g);
    ts_type t = ts_type_of(ids);
    if (t.dtype != TS_I32 || K < 0)
        return ts_build_fail(g, "count", "the ids are %s %s and the count %lld; expected i32, and 0 or more",
                             ts_dtype_name(t.dtype), ts_shape_print(t.shape).text, (long long)K);
    ts_node_spec spec = {.op = TS_OP_count, .in_count = 1, .in = {ids}, .out = {{TS_I64, ts_shape_of(K)}}};
    return ts_node_add(g, &spec, NULL);
}

ts_value ts_tile_rows(ts_value x, ts_value mask, int64_t K)
{
    ts_graph *g;
    if (ts_poisoned(&g, 2, (ts_value[]){x, mask}))
        return ts_poison(g);
    ts_type t = ts_type_of(x);
    if (!is_real(g, x) || t.shape.rank != 2 || t.shape.dim[0] < 1 || K < 0)
        return ts_build_fail(g, "tile_rows", "the rows are %s %s, wanted %lld; expected real [N, D] with N at least 1",
                             ts_dtype_name(t.dtype), ts_shape_print(t.shape).text, (long long)K);
    if (mask.graph && (!is_real(g, mask) || !ts_shape_equal(ts_value_shape(mask), ts_shape_of(t.shape.dim[0]))))
        return ts_build_fail(g, "tile_rows", "the mask is %s %s, expected real [%lld], a number for each row",
                             ts_dtype_name(ts_type_of(mask).dtype), ts_shape_print(ts_value_shape(mask)).text,
                             (long long)t.shape.dim[0]);
    ts_node_spec spec = {.op = TS_OP_tile_rows,
                         .in_count = mask.graph ? 2 : 1,
                         .in = {x, mask},
                         .out = {{t.dtype, ts_shape_of(K, t.shape.dim[1])}}};
    return ts_node_add(g, &spec, NULL);
}

/* Keeps an error and returns false where x has no such axis; else makes it count from the front. */
static bool find_axis(ts_graph *g, const char *op, ts_value x, int *axis)
{
    int rank = ts_value_shape(x).rank, asked = *axis;
    if (asked < 0)
        *axis += rank;
    if (*axis >= 0 && *axis < rank)
        return true;
    ts_build_fail(g, op, "axis %d of %s; expected %d to %d", asked, ts_shape_print(ts_value_shape(x)).text, -rank,
                  rank - 1);
    return false;
}

ts_value ts_slice(ts_value x, int axis, int64_t start, int64_t length)
{
    ts_graph *g;
    if (ts_poisoned(&g, 1, &x) || !find_axis(g, "slice", x, &axis))
        return ts_poison(g);
    ts_type t = ts_type_of(x);
    if (start < 0 || length < 0 || start > t.shape.dim[axis] || length > t.shape.dim[axis] - start)
        return ts_build_fail(g, "slice", "%lld elements from %lld on go beyond axis %d of %s", (long long)length,
                             (long long)start, axis, ts_shape_print(t.shape).text);
    if (length == t.shape.dim[axis])
        return x;
    t.shape.dim[axis] = length;
    ts_node_spec spec = {.op = TS_OP_slice, .in_count = 1, .in = {x}, .out = {t}};
    spec.attr.axis.axis = axis;
    spec.attr.axis.start = start;
    return ts_node_add(g, &spec, NULL);
}

void ts_rule_slice(ts_rule *r)
{
    int axis = r->attr->axis.axis;
    int64_t before = r->attr->axis.start, after = ts_dim(r->in[0], axis) - before - ts_dim(r->out[0], axis);
    r->din[0] = ts_pad(r->dout[0], axis, before, after, 0);
}

ts_value ts_pad(ts_value x, int axis, int64_t before, int64_t after, double value)
{
    ts_graph *g;
    if (ts_poisoned(&g, 1, &x) || !find_axis(g, "pad", x, &axis))
        return ts_poison(g);
    ts_type t = ts_type_of(x);
    int64_t *dim = &t.shape.dim[axis];
    if (before < 0 || after < 0 || __builtin_add_overflow(*dim, before, dim) ||
        __builtin_add_overflow(*dim, after, dim))
        return ts_build_fail(g, "pad", "%lld before and %lld after axis %d of %s; expected 0 or more",
                             (long long)before, (long long)after, axis, ts_shape_print(ts_value_shape(x)).text);
    if (before == 0 && after == 0)
        return x;
    ts_node_spec spec = {.op = TS_OP_pad, .in_count = 1, .in = {x}, .out = {t}};
    spec.attr.axis.axis = axis;
    spec.attr.axis.start = before;
    spec.attr.axis.value = value;
    return ts_node_add(g, &spec, NULL);
}

void ts_rule_pad(ts_rule *r)
{
    int axis = r->attr->axis.axis;
    r->din[0] = ts_slice(r->dout[0], axis, r->attr->axis.start, ts_dim(r->in[0], axis));
}

/* a and b agree in dtype and in every axis but one. */
static bool agree(ts_value a, ts_value b, int axis)
{
    ts_type s = ts_type_of(a), t = ts_type_of(b);
    if (s.dtype != t.dtype || s.shape.rank != t.shape.rank)
        return false;
    s.shape.dim[axis] = t.shape.dim[axis];
    return ts_shape_equal(s.shape, t.shape);
}

ts_value ts_concat(const ts_value *x, int count, int axis)
{
    ts_graph *g;
    if (count < 1 || ts_poisoned(&g, count, x))
        return count < 1 ? TS_ABSENT : ts_poison(g);
    if (count > TS_MAX_IN)
        return ts_build_fail(g, "concat", "%d operands, the first %s; expected at most %d", count,
                             ts_shape_print(ts_value_shape(x[0])).text, TS_MAX_IN);
    if (!find_axis(g, "concat", x[0], &axis))
        return ts_poison(g);
    ts_node_spec spec = {.op = TS_OP_concat, .in_count = count, .out = {ts_type_of(x[0])}};
    spec.attr.axis.axis = axis;
    for (int i = 0; i < count; i++) {
        if (!agree(x[0], x[i], axis))
            return ts_build_fail(g, "concat", "operand %d is %s %s, the first %s %s; they may differ in axis %d only",
                                 i, ts_dtype_name(ts_type_of(x[i]).dtype), ts_shape_print(ts_value_shape(x[i])).text,
                                 ts_dtype_name(ts_type_of(x[0]).dtype), ts_shape_print(ts_value_shape(x[0])).text,
                                 axis);
        spec.in[i] = x[i];
        if (i > 0)
            spec.out[0].shape.dim[axis] += ts_dim(x[i], axis);
    }
    return count == 1 ? x[0] : ts_node_add(g, &spec, NULL);
}

void ts_rule_concat(ts_rule *r)
{
    int axis = r->attr->axis.axis;
    int64_t at = 0;
    for (int i = 0; i < r->in_count; i++) {
        if (r->wants[i])
            r->din[i] = ts_slice(r->dout[0], axis, at, ts_dim(r->in[i], axis));
        at += ts_dim(r->in[i], axis);
    }
}

ts_value ts_permute(ts_value x, const int *order)
{
    ts_graph *g;
    if (ts_poisoned(&g, 1, &x))
        return ts_poison(g);
    ts_type t = ts_type_of(x), y = t;
    ts_node_spec spec = {.op = TS_OP_permute, .in_count = 1, .in = {x}};
    uint32_t seen = 0;
    bool same = true;
    for (int i = 0; i < t.shape.rank; i++) {
        if (order[i] < 0 || order[i] >= t.shape.rank || seen >> order[i] & 1)
            return ts_build_fail(g, "permute", "entry %d of the order is %d, out of range or twice; x is %s", i,
                                 order[i], ts_shape_print(t.shape).text);
        seen |= 1u << order[i];
        same &= order[i] == i;
        y.shape.dim[i] = t.shape.dim[order[i]];
        spec.attr.permute.order[i] = order[i];
    }
    spec.out[0] = y;
    return same ? x : ts_node_add(g, &spec, NULL);
}

void ts_rule_permute(ts_rule *r)
{
    int back[TS_MAX_RANK];
    for (int i = 0; i < ts_value_shape(r->in[0]).rank; i++)
        back[r->attr->permute.order[i]] = i;
    r->din[0] = ts_permute(r->dout[0], back);
}
