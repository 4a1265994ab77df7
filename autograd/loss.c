#include "autograd/loss.h"

#include "autograd/elementwise.h"
#include "autograd/mask.h"
#include "autograd/node.h"
#include "autograd/reduce.h"

static ts_type scalar_type(ts_value x)
{
    return (ts_type){ts_type_of(x).dtype, ts_shape_of()};
}

/* x and y: one real type, some elements. Gives the graph; false when that failed. */
static bool check_pair(ts_graph **graph, const char *op, ts_value x, ts_value y)
{
    if (ts_poisoned(graph, 2, (ts_value[]){x, y}))
        return false;
    ts_type a = ts_type_of(x), b = ts_type_of(y);
    if (a.dtype == b.dtype && (a.dtype == TS_F32 || a.dtype == TS_F64) && ts_shape_equal(a.shape, b.shape) &&
        ts_shape_count(a.shape) > 0)
        return true;
    ts_build_fail(*graph, op, "x is %s %s and y is %s %s, expected one shape with elements, f32 or f64",
                  ts_dtype_name(a.dtype), ts_shape_print(a.shape).text, ts_dtype_name(b.dtype),
                  ts_shape_print(b.shape).text);
    return false;
}

ts_value ts_mse(ts_value x, ts_value y)
{
    ts_graph *g;
    if (!check_pair(&g, "mse", x, y))
        return ts_poison(g);
    return ts_node_add(g, &(ts_node_spec){.op = TS_OP_mse, .in_count = 2, .in = {x, y}, .out = {scalar_type(x)}}, NULL);
}

/* The gradient of mse(x, y) in x. */
static ts_value mse_dx(ts_value dloss, ts_value x, ts_value y)
{
    return ts_node_add(
        x.graph, &(ts_node_spec){.op = TS_OP_mse_dx, .in_count = 3, .in = {dloss, x, y}, .out = {ts_type_of(x)}}, NULL);
}

void ts_rule_mse(ts_rule *r)
{
    ts_value x = r->in[0], y = r->in[1];
    if (r->wants[0])
        r->din[0] = mse_dx(r->dout[0], x, y);
    if (r->wants[1])
        r->din[1] = mse_dx(r->dout[0], y, x);
}

/* sum(mask * e) / (sum(mask) * C) for e [..., C], mask [...] */
static ts_value masked_mean(ts_value e, ts_value mask)
{
    if (!mask.graph)
        return ts_mean_all(e);
    ts_value total = ts_sum_all(ts_mask_rows(e, mask));
    ts_value count = ts_scale(ts_sum_all(mask), (double)ts_dim(e, -1));
    return ts_div(total, ts_maximum(count, ts_scalar(mask.graph, 1e-30))); /* not 0/0 where nothing counts */
}

ts_value ts_mse_masked(ts_value x, ts_value y, ts_value mask)
{
    ts_graph *g;
    if (!mask.graph)
        return ts_mse(x, y);
    return check_pair(&g, "mse", x, y) ? masked_mean(ts_square(ts_subtract(x, y)), mask) : ts_poison(g);
}

ts_value ts_l1(ts_value x, ts_value y)
{
    return ts_l1_masked(x, y, TS_ABSENT);
}

ts_value ts_l1_masked(ts_value x, ts_value y, ts_value mask)
{
    ts_graph *g;
    return check_pair(&g, "l1", x, y) ? masked_mean(ts_abs(ts_subtract(x, y)), mask) : ts_poison(g);
}

static bool check_smooth(ts_graph **graph, ts_value x, ts_value y, double beta)
{
    if (!check_pair(graph, "smooth_l1", x, y))
        return false;
    if (beta > 0)
        return true;
    ts_build_fail(*graph, "smooth_l1", "beta is %g, expected more than 0", beta);
    return false;
}

ts_value ts_smooth_l1(ts_value x, ts_value y, double beta)
{
    return ts_smooth_l1_masked(x, y, beta, TS_ABSENT);
}

ts_value ts_smooth_l1_masked(ts_value x, ts_value y, double beta, ts_value mask)
{
    ts_graph *g;
    return check_smooth(&g, x, y, beta) ? masked_mean(ts_smooth_abs(ts_subtract(x, y), beta), mask) : ts_poison(g);
}

ts_value ts_cross_entropy(ts_value logits, ts_value target, ts_cross_entropy_opts opts)
{
    ts_graph *g;
    const char *op = "cross_entropy";
    if (ts_poisoned(&g, 2, (ts_value[]){logits, target}))
        return ts_poison(g);
    ts_type x = ts_type_of(logits), t = ts_type_of(target);
    if ((x.dtype != TS_F32 && x.dtype != TS_F64) || x.shape.rank != 2 || ts_shape_count(x.shape) == 0 ||
        t.dtype != TS_I32 || !ts_shape_equal(t.shape, ts_shape_of(x.shape.dim[0])))
        return ts_build_fail(g, op, "logits are %s %s and targets %s %s, expected f32 or f64 [N, C] and i32 [N]",
                             ts_dtype_name(x.dtype), ts_shape_print(x.shape).text, ts_dtype_name(t.dtype),
                             ts_shape_print(t.shape).text);
    if (!(opts.smoothing >= 0 && opts.smoothing < 1))
        return ts_build_fail(g, op, "smoothing is %g, expected a number in [0, 1)", opts.smoothing);
    ts_attr attr = {.loss = {opts.ignore, opts.ignore_index, opts.smoothing}};
    return ts_node_add(g,
                       &(ts_node_spec){.op = TS_OP_cross_entropy,
                                       .attr = attr,
                                       .in_count = 2,
                                       .in = {logits, target},
                                       .out = {scalar_type(logits)}},
                       NULL);
}

void ts_rule_cross_entropy(ts_rule *r)
{
    r->din[0] = ts_node_add(r->in[0].graph,
                            &(ts_node_spec){.op = TS_OP_cross_entropy_dx,
                                            .attr = *r->attr,
                                            .in_count = 3,
                                            .in = {r->dout[0], r->in[0], r->in[1]},
                                            .out = {ts_type_of(r->in[0])}},
                            NULL);
}
