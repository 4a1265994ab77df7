#include "autograd/surrogate.h"

#include "autograd/node.h"

static ts_value map(ts_op op, ts_value x)
{
    ts_graph *g;
    if (ts_poisoned(&g, 1, &x))
        return ts_poison(g);
    ts_type t = ts_type_of(x);
    if (t.dtype != ts_graph_real(g))
        return ts_build_fail(g, ts_ops[op].name, "the input is %s %s; expected real numbers", ts_dtype_name(t.dtype),
                             ts_shape_print(t.shape).text);
    ts_node_spec spec = {.op = op, .in_count = 1, .in = {x}, .out = {t}};
    return ts_node_add(g, &spec, NULL);
}

ts_value ts_round(ts_value x)
{
    return map(TS_OP_round, x);
}

ts_value ts_floor(ts_value x)
{
    return map(TS_OP_floor, x);
}

ts_value ts_sign(ts_value x)
{
    return map(TS_OP_sign, x);
}

/* An absent gradient is zero. */
void ts_rule_round(ts_rule *r)
{
    (void)r;
}

void ts_rule_floor(ts_rule *r)
{
    (void)r;
}

void ts_rule_sign(ts_rule *r)
{
    (void)r;
}

ts_value ts_straight_through(ts_value hard, ts_value soft)
{
    ts_graph *g;
    if (ts_poisoned(&g, 2, (ts_value[]){hard, soft}))
        return ts_poison(g);
    ts_type h = ts_type_of(hard), s = ts_type_of(soft);
    if (h.dtype != s.dtype || !ts_shape_equal(h.shape, s.shape))
        return ts_build_fail(
            g, "straight_through", "the value is %s %s, the one that takes the gradient %s %s; expected the same",
            ts_dtype_name(h.dtype), ts_shape_print(h.shape).text, ts_dtype_name(s.dtype), ts_shape_print(s.shape).text);
    ts_node_spec spec = {.op = TS_OP_straight_through, .in_count = 2, .in = {hard, soft}, .out = {h}};
    return ts_node_add(g, &spec, NULL);
}

void ts_rule_straight_through(ts_rule *r)
{
    r->din[1] = r->dout[0];
}

ts_value ts_stop_gradient(ts_value x)
{
    ts_graph *g;
    if (ts_poisoned(&g, 1, &x))
        return ts_poison(g);
    ts_node_spec spec = {.op = TS_OP_stop_gradient, .in_count = 1, .in = {x}, .out = {ts_type_of(x)}};
    return ts_node_add(g, &spec, NULL);
}

void ts_rule_stop_gradient(ts_rule *r)
{
    (void)r;
}
