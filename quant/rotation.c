#include "quant/rotation.h"

#include "autograd/elementwise.h"
#include "autograd/node.h"
#include "autograd/reduce.h"
#include "autograd/softmax.h"
#include "autograd/surrogate.h"

/* a [N, D], b [N, D] -> [N, 1] */
static ts_value row_dot(ts_value a, ts_value b)
{
    return ts_sum(ts_mul(a, b), 2u, true);
}

/* |x| of each row: [N, 1] */
static ts_value row_length(ts_value x)
{
    return ts_sqrt(row_dot(x, x));
}

ts_value ts_rotate_to(ts_value z, ts_value code)
{
    ts_graph *g;
    if (ts_poisoned(&g, 2, (ts_value[]){z, code}))
        return ts_poison(g);
    if (ts_value_shape(z).rank != 2 || !ts_shape_equal(ts_value_shape(z), ts_value_shape(code)))
        return ts_build_fail(g, "rotate_to", "z is %s and the code %s, expected both [N, D]",
                             ts_shape_print(ts_value_shape(z)).text, ts_shape_print(ts_value_shape(code)).text);
    code = ts_stop_gradient(code);
    ts_value at = ts_stop_gradient(z), floor = ts_scalar(g, 1e-6);
    ts_value u = ts_l2_normalize(at, 1e-6), q = ts_l2_normalize(code, 1e-6), r = ts_l2_normalize(ts_add(u, q), 1e-6);
    ts_value turned = ts_subtract(z, ts_scale(ts_mul(r, row_dot(r, z)), 2));
    turned = ts_add(turned, ts_scale(ts_mul(q, row_dot(u, z)), 2));
    turned = ts_mul(turned, ts_div(row_length(code), ts_maximum(row_length(at), floor)));
    ts_value opposite = ts_greater(ts_scalar(g, -0.99), row_dot(u, q));
    return ts_straight_through(code, ts_where(opposite, z, turned));
}
