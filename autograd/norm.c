#include "autograd/norm.h"

#include "autograd/elementwise.h"
#include "autograd/node.h"

static ts_type channels_type(ts_value x)
{
    return (ts_type){ts_type_of(x).dtype, ts_shape_of(ts_dim(x, -1))};
}

/* weight and bias: [C] of x's dtype, or absent */
static bool check_vector(ts_graph *graph, const char *op, const char *name, ts_value vector, ts_value x)
{
    ts_type expected = channels_type(x), found = ts_type_of(vector);
    if (!ts_present(vector) || (found.dtype == expected.dtype && ts_shape_equal(found.shape, expected.shape)))
        return true;
    ts_build_fail(graph, op, "%s is %s %s, expected %s %s for x %s", name, ts_dtype_name(found.dtype),
                  ts_shape_print(found.shape).text, ts_dtype_name(expected.dtype), ts_shape_print(expected.shape).text,
                  ts_shape_print(ts_value_shape(x)).text);
    return false;
}

static bool check_norm(ts_graph *graph, const char *op, ts_value x, ts_value weight, ts_value bias, double eps)
{
    ts_type t = ts_type_of(x);
    if ((t.dtype != TS_F32 && t.dtype != TS_F64) || ts_dim(x, -1) < 1) {
        ts_build_fail(graph, op, "x is %s %s, expected f32 or f64 [..., C] with at least one channel",
                      ts_dtype_name(t.dtype), ts_shape_print(t.shape).text);
        return false;
    }
    if (!(eps >= 0)) {
        ts_build_fail(graph, op, "eps is %g, expected 0 or more", eps);
        return false;
    }
    return check_vector(graph, op, "weight", weight, x) && check_vector(graph, op, "bias", bias, x);
}

/* The shape without its last axis. */
static ts_type rows_type(ts_value x)
{
    ts_type t = ts_type_of(x);
    t.shape.dim[--t.shape.rank] = 0;
    return t;
}

ts_value ts_layer_norm(ts_value x, ts_value weight, ts_value bias, double eps)
{
    ts_graph *g;
    if (ts_poisoned(&g, 3, (ts_value[]){x, weight, bias}) || !check_norm(g, "layer_norm", x, weight, bias, eps))
        return ts_poison(g);
    return ts_node_add(g,
                       &(ts_node_spec){.op = TS_OP_layer_norm,
                                       .attr.norm.eps = eps,
                                       .in_count = 3,
                                       .in = {x, weight, bias},
                                       .out = {ts_type_of(x), rows_type(x), rows_type(x)}},
                       NULL);
}

ts_value ts_rms_norm(ts_value x, ts_value weight, double eps)
{
    ts_graph *g;
    if (ts_poisoned(&g, 2, (ts_value[]){x, weight}) || !check_norm(g, "rms_norm", x, weight, TS_ABSENT, eps))
        return ts_poison(g);
    return ts_node_add(g,
                       &(ts_node_spec){.op = TS_OP_rms_norm,
                                       .attr.norm.eps = eps,
                                       .in_count = 2,
                                       .in = {x, weight},
                                       .out = {ts_type_of(x), rows_type(x)}},
                       NULL);
}

ts_value ts_group_norm(ts_value x, ts_value weight, ts_value bias, int64_t groups, double eps)
{
    ts_graph *g;
    if (ts_poisoned(&g, 3, (ts_value[]){x, weight, bias}) || !check_norm(g, "group_norm", x, weight, bias, eps))
        return ts_poison(g);
    ts_shape shape = ts_value_shape(x);
    if (groups < 1 || ts_dim(x, -1) % groups != 0)
        return ts_build_fail(g, "group_norm", "%lld groups do not divide the %lld channels of x %s", (long long)groups,
                             (long long)ts_dim(x, -1), ts_shape_print(shape).text);
    if (shape.rank < 2 || (shape.dim[0] > 0 && ts_shape_count(shape) == 0))
        return ts_build_fail(g, "group_norm", "x is %s, expected [B, ..., C] with at least one position",
                             ts_shape_print(shape).text);
    ts_type stats = {ts_type_of(x).dtype, ts_shape_of(shape.dim[0], groups)};
    return ts_node_add(g,
                       &(ts_node_spec){.op = TS_OP_group_norm,
                                       .attr.norm = {.eps = eps, .groups = groups},
                                       .in_count = 3,
                                       .in = {x, weight, bias},
                                       .out = {ts_type_of(x), stats, stats}},
                       NULL);
}

ts_batch_stats ts_batch_norm(ts_value x, ts_value weight, ts_value bias, double eps)
{
    ts_graph *g;
    bool poisoned = ts_poisoned(&g, 3, (ts_value[]){x, weight, bias});
    ts_value poison = ts_poison(g);
    ts_batch_stats none = {poison, poison, poison};
    if (poisoned || !check_norm(g, "batch_norm", x, weight, bias, eps))
        return none;
    ts_shape shape = ts_value_shape(x);
    if (ts_shape_count(shape) < 2 * ts_dim(x, -1)) {
        ts_build_fail(g, "batch_norm", "x is %s, expected at least two values per channel", ts_shape_print(shape).text);
        return none;
    }
    ts_value out[TS_MAX_OUT];
    ts_node_add(g,
                &(ts_node_spec){.op = TS_OP_batch_norm,
                                .attr.norm.eps = eps,
                                .in_count = 3,
                                .in = {x, weight, bias},
                                .out = {ts_type_of(x), channels_type(x), channels_type(x)}},
                out);
    return (ts_batch_stats){out[0], out[1], out[2]};
}

ts_value ts_batch_norm_eval(ts_value x, ts_value mean, ts_value var, ts_value weight, ts_value bias, double eps)
{
    ts_graph *g;
    const char *op = "batch_norm_eval";
    if (ts_poisoned(&g, 5, (ts_value[]){x, mean, var, weight, bias}) || !check_norm(g, op, x, weight, bias, eps) ||
        !check_vector(g, op, "mean", mean, x) || !check_vector(g, op, "var", var, x))
        return ts_poison(g);
    ts_value std = ts_sqrt(ts_affine(var, 1, eps)), centred = ts_subtract(x, mean);
    ts_value y = ts_present(weight) ? ts_mul(centred, ts_div(weight, std)) : ts_div(centred, std);
    return ts_present(bias) ? ts_add(y, bias) : y;
}

/* The gradient op of a norm: operands dy, x, weight and the statistics; results dx, dweight, dbias. */
static void norm_rule(ts_rule *r, ts_op op, int statistics)
{
    ts_value x = r->in[0];
    ts_node_spec spec = {.op = op,
                         .attr = *r->attr,
                         .in_count = 3 + statistics,
                         .in = {r->dout[0], x, r->in[1]},
                         .out = {ts_type_of(x), channels_type(x), channels_type(x)}};
    for (int i = 0; i < statistics; i++)
        spec.in[3 + i] = r->out[1 + i];
    ts_value din[TS_MAX_OUT];
    ts_node_add(x.graph, &spec, din);
    for (int i = 0; i < r->in_count; i++)
        if (r->wants[i])
            r->din[i] = din[i];
}

void ts_rule_layer_norm(ts_rule *r)
{
    norm_rule(r, TS_OP_layer_norm_dx, 2);
}

void ts_rule_rms_norm(ts_rule *r)
{
    norm_rule(r, TS_OP_rms_norm_dx, 1);
}

void ts_rule_group_norm(ts_rule *r)
{
    norm_rule(r, TS_OP_group_norm_dx, 2);
}

void ts_rule_batch_norm(ts_rule *r)
{
    if (ts_present(r->dout[1]) || ts_present(r->dout[2])) {
        ts_build_fail(r->in[0].graph, "batch_norm",
                      "a gradient is asked for through mean or var: only y has one; put a stop_gradient after them");
        return;
    }
    norm_rule(r, TS_OP_batch_norm_dx, 2);
}
