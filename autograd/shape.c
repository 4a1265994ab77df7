#include "autograd/shape.h"

#include "autograd/node.h"

ts_value ts_reshape(ts_value x, ts_shape shape)
{
    ts_graph *g;
    if (ts_poisoned(&g, 1, &x))
        return ts_poison(g);
    int64_t known = 1, have = ts_shape_count(ts_value_shape(x));
    int open = -1;
    for (int i = 0; i < shape.rank; i++) {
        if (shape.dim[i] >= 0)
            known *= shape.dim[i];
        else
            open = i;
    }
    if (open >= 0)
        shape.dim[open] = known > 0 ? have / known : 0;
    if (ts_shape_count(shape) != have)
        return ts_build_fail(g, "reshape", "%s has %lld elements, %s another number",
                             ts_shape_print(ts_value_shape(x)).text, (long long)have, ts_shape_print(shape).text);
    if (ts_shape_equal(shape, ts_value_shape(x)))
        return x;
    ts_node_spec spec = {.op = TS_OP_reshape, .in_count = 1, .in = {x}, .out = {{ts_type_of(x).dtype, shape}}};
    return ts_node_add(g, &spec, NULL);
}

ts_value ts_rows(ts_value x)
{
    int64_t rows = 1;
    for (int i = 0; i < ts_value_shape(x).rank - 1; i++)
        rows *= ts_dim(x, i);
    return ts_reshape(x, ts_shape_of(rows, ts_dim(x, -1)));
}

void ts_rule_reshape(ts_rule *r)
{
    r->din[0] = ts_reshape(r->dout[0], ts_value_shape(r->in[0]));
}
