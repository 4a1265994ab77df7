#include "autograd/softmax.h"

#include "autograd/index.h"
#include "autograd/node.h"

static bool check_rows(ts_graph *graph, const char *op, ts_value x)
{
    ts_type t = ts_type_of(x);
    if ((t.dtype == TS_F32 || t.dtype == TS_F64) && ts_dim(x, -1) > 0)
        return true;
    ts_build_fail(graph, op, "x is %s %s, expected f32 or f64 [..., C] with C at least 1", ts_dtype_name(t.dtype),
                  ts_shape_print(t.shape).text);
    return false;
}

static ts_value row_op(ts_op op, ts_value x)
{
    ts_graph *g;
    if (ts_poisoned(&g, 1, &x) || !check_rows(g, ts_ops[op].name, x))
        return ts_poison(g);
    return ts_node_add(g, &(ts_node_spec){.op = op, .in_count = 1, .in = {x}, .out = {ts_type_of(x)}}, NULL);
}

ts_value ts_softmax(ts_value x)
{
    return row_op(TS_OP_softmax, x);
}

ts_value ts_log_softmax(ts_value x)
{
    return row_op(TS_OP_log_softmax, x);
}

ts_value ts_softmax_axis(ts_value x, int axis)
{
    ts_graph *g;
    if (ts_poisoned(&g, 1, &x))
        return ts_poison(g);
    int rank = ts_value_shape(x).rank, at = axis < 0 ? axis + rank : axis;
    if (at < 0 || at >= rank)
        return ts_build_fail(g, "softmax", "axis %d is not one of x %s", axis, ts_shape_print(ts_value_shape(x)).text);
    if (at == rank - 1)
        return ts_softmax(x);
    int swapped[TS_MAX_RANK]; /* its own inverse */
    for (int i = 0; i < rank; i++)
        swapped[i] = i;
    swapped[at] = rank - 1;
    swapped[rank - 1] = at;
    return ts_permute(ts_softmax(ts_permute(x, swapped)), swapped);
}

ts_value ts_l2_normalize(ts_value x, double eps)
{
    ts_graph *g;
    if (ts_poisoned(&g, 1, &x) || !check_rows(g, "l2_normalize", x))
        return ts_poison(g);
    if (!(eps > 0))
        return ts_build_fail(g, "l2_normalize", "eps is %g, expected more than 0", eps);
    ts_type norm = ts_type_of(x);
    norm.shape.dim[--norm.shape.rank] = 0;
    return ts_node_add(
        g,
        &(ts_node_spec){
            .op = TS_OP_l2_normalize, .attr.norm.eps = eps, .in_count = 1, .in = {x}, .out = {ts_type_of(x), norm}},
        NULL);
}

/* din[0] = op(dy, y) */
static void row_rule(ts_rule *r, ts_op op)
{
    r->din[0] = ts_node_add(
        r->in[0].graph,
        &(ts_node_spec){.op = op, .in_count = 2, .in = {r->dout[0], r->out[0]}, .out = {ts_type_of(r->in[0])}}, NULL);
}

void ts_rule_softmax(ts_rule *r)
{
    row_rule(r, TS_OP_softmax_dx);
}

void ts_rule_log_softmax(ts_rule *r)
{
    row_rule(r, TS_OP_log_softmax_dx);
}

void ts_rule_l2_normalize(ts_rule *r)
{
    r->din[0] = ts_node_add(r->in[0].graph,
                            &(ts_node_spec){.op = TS_OP_l2_normalize_dx,
                                            .attr = *r->attr,
                                            .in_count = 3,
                                            .in = {r->dout[0], r->out[0], r->out[1]},
                                            .out = {ts_type_of(r->in[0])}},
                            NULL);
}
