#include "autograd/elementwise.h"

#include "autograd/node.h"
#include "autograd/reduce.h"
#include "autograd/surrogate.h"

static bool common_shape(ts_shape a, ts_shape b, ts_shape *common)
{
    common->rank = a.rank > b.rank ? a.rank : b.rank;
    for (int i = 1; i <= common->rank; i++) {
        int64_t da = i <= a.rank ? a.dim[a.rank - i] : 1, db = i <= b.rank ? b.dim[b.rank - i] : 1;
        if (da != db && da != 1 && db != 1)
            return false;
        common->dim[common->rank - i] = da == 1 ? db : da;
    }
    return true;
}

static ts_value two(ts_op op, ts_value a, ts_value b)
{
    ts_graph *g;
    if (ts_poisoned(&g, 2, (ts_value[]){a, b}))
        return ts_poison(g);
    ts_type ta = ts_type_of(a), tb = ts_type_of(b);
    ts_shape common = {0};
    if (!common_shape(ta.shape, tb.shape, &common))
        return ts_build_fail(g, ts_ops[op].name, "%s and %s do not broadcast", ts_shape_print(ta.shape).text,
                             ts_shape_print(tb.shape).text);
    if (ta.dtype != tb.dtype)
        return ts_build_fail(g, ts_ops[op].name, "operands are %s and %s", ts_dtype_name(ta.dtype),
                             ts_dtype_name(tb.dtype));
    ts_node_spec spec = {.op = op, .in_count = 2, .in = {a, b}, .out = {{ta.dtype, common}}};
    return ts_node_add(g, &spec, NULL);
}

static ts_value one(ts_op op, ts_value x, double a, double b)
{
    ts_graph *g;
    if (ts_poisoned(&g, 1, &x))
        return ts_poison(g);
    if (ts_type_of(x).dtype != ts_graph_real(g) && ts_type_of(x).dtype != TS_BF16)
        return ts_build_fail(g, ts_ops[op].name, "operand is %s, expected %s", ts_dtype_name(ts_type_of(x).dtype),
                             ts_dtype_name(ts_graph_real(g)));
    ts_node_spec spec = {.op = op, .in_count = 1, .in = {x}, .out = {ts_type_of(x)}};
    spec.attr.scalar.a = a;
    spec.attr.scalar.b = b;
    return ts_node_add(g, &spec, NULL);
}

/* A gradient op of an activation: dy and the forward's operand or result, of one shape. */
static ts_value slope(ts_op op, ts_value dy, ts_value x, const ts_attr *attr)
{
    ts_graph *g;
    if (ts_poisoned(&g, 2, (ts_value[]){dy, x}))
        return ts_poison(g);
    ts_node_spec spec = {.op = op, .in_count = 2, .in = {dy, x}, .out = {ts_type_of(x)}, .attr = *attr};
    return ts_node_add(g, &spec, NULL);
}

ts_value ts_add(ts_value a, ts_value b)
{
    return two(TS_OP_add, a, b);
}

ts_value ts_subtract(ts_value a, ts_value b)
{
    return two(TS_OP_subtract, a, b);
}

ts_value ts_mul(ts_value a, ts_value b)
{
    return two(TS_OP_mul, a, b);
}

ts_value ts_div(ts_value a, ts_value b)
{
    return two(TS_OP_div, a, b);
}

ts_value ts_maximum(ts_value a, ts_value b)
{
    return two(TS_OP_maximum, a, b);
}

ts_value ts_minimum(ts_value a, ts_value b)
{
    return two(TS_OP_minimum, a, b);
}

ts_value ts_greater(ts_value a, ts_value b)
{
    return two(TS_OP_greater, a, b);
}

ts_value ts_where(ts_value condition, ts_value a, ts_value b)
{
    ts_graph *g;
    if (ts_poisoned(&g, 3, (ts_value[]){condition, a, b}))
        return ts_poison(g);
    ts_dtype dtype = ts_type_of(a).dtype;
    if (ts_type_of(condition).dtype != ts_graph_real(g) || ts_type_of(b).dtype != dtype ||
        (dtype != ts_graph_real(g) && dtype != TS_I32))
        return ts_build_fail(
            g, "where", "operands are %s, %s and %s; expected a real condition, then two real or two i32",
            ts_dtype_name(ts_type_of(condition).dtype), ts_dtype_name(dtype), ts_dtype_name(ts_type_of(b).dtype));
    ts_shape ab = {0}, common = {0};
    ts_shape sc = ts_value_shape(condition), sa = ts_value_shape(a), sb = ts_value_shape(b);
    if (!common_shape(sa, sb, &ab) || !common_shape(sc, ab, &common))
        return ts_build_fail(g, "where", "%s, %s and %s do not broadcast", ts_shape_print(sc).text,
                             ts_shape_print(sa).text, ts_shape_print(sb).text);
    ts_node_spec spec = {.op = TS_OP_where, .in_count = 3, .in = {condition, a, b}, .out = {{dtype, common}}};
    return ts_node_add(g, &spec, NULL);
}

ts_value ts_affine(ts_value x, double a, double b)
{
    return one(TS_OP_affine, x, a, b);
}

ts_value ts_scale(ts_value x, double a)
{
    return ts_affine(x, a, 0);
}

ts_value ts_neg(ts_value x)
{
    return ts_affine(x, -1, 0);
}

ts_value ts_square(ts_value x)
{
    return one(TS_OP_square, x, 0, 0);
}

ts_value ts_sqrt(ts_value x)
{
    return one(TS_OP_sqrt, x, 0, 0);
}

ts_value ts_exp(ts_value x)
{
    return one(TS_OP_exp, x, 0, 0);
}

ts_value ts_log(ts_value x)
{
    return one(TS_OP_log, x, 0, 0);
}

ts_value ts_abs(ts_value x)
{
    return one(TS_OP_abs, x, 0, 0);
}

ts_value ts_clamp(ts_value x, double lo, double hi)
{
    return one(TS_OP_clamp, x, lo, hi);
}

ts_value ts_smooth_abs(ts_value x, double beta)
{
    if (beta <= 0)
        return ts_build_fail(x.graph, "smooth_abs", "beta is %g, expected above 0", beta);
    return one(TS_OP_smooth_abs, x, beta, 0);
}

ts_value ts_relu(ts_value x)
{
    return one(TS_OP_relu, x, 0, 0);
}

ts_value ts_leaky_relu(ts_value x, double slope_below)
{
    return one(TS_OP_leaky_relu, x, slope_below, 0);
}

ts_value ts_elu(ts_value x, double alpha)
{
    return one(TS_OP_elu, x, alpha, 0);
}

ts_value ts_silu(ts_value x)
{
    return one(TS_OP_silu, x, 0, 0);
}

ts_value ts_gelu(ts_value x)
{
    return one(TS_OP_gelu, x, 0, 0);
}

ts_value ts_gelu_tanh(ts_value x)
{
    return one(TS_OP_gelu_tanh, x, 0, 0);
}

ts_value ts_tanh(ts_value x)
{
    return one(TS_OP_tanh, x, 0, 0);
}

ts_value ts_sigmoid(ts_value x)
{
    return one(TS_OP_sigmoid, x, 0, 0);
}

ts_value ts_softplus(ts_value x)
{
    return one(TS_OP_softplus, x, 0, 0);
}

ts_value ts_cast(ts_value x, ts_dtype dtype)
{
    ts_graph *g;
    if (ts_poisoned(&g, 1, &x))
        return ts_poison(g);
    if (ts_type_of(x).dtype == dtype)
        return x;
    ts_node_spec spec = {.op = TS_OP_cast, .in_count = 1, .in = {x}, .out = {{dtype, ts_value_shape(x)}}};
    return ts_node_add(g, &spec, NULL);
}

/* Rules. dy is the gradient of the result; an operand that was broadcast gets the sum over what it was repeated along.
 */

static void give(ts_rule *r, int i, ts_value gradient)
{
    r->din[i] = ts_sum_to(gradient, ts_value_shape(r->in[i]));
}

void ts_rule_add(ts_rule *r)
{
    give(r, 0, r->dout[0]);
    give(r, 1, r->dout[0]);
}

void ts_rule_subtract(ts_rule *r)
{
    give(r, 0, r->dout[0]);
    if (r->wants[1])
        give(r, 1, ts_neg(r->dout[0]));
}

void ts_rule_mul(ts_rule *r)
{
    for (int i = 0; i < 2; i++)
        if (r->wants[i])
            give(r, i, ts_mul(r->dout[0], r->in[1 - i]));
}

/* y = a/b: da = dy/b, db = -dy*y/b */
void ts_rule_div(ts_rule *r)
{
    ts_value da = ts_div(r->dout[0], r->in[1]);
    give(r, 0, da);
    if (r->wants[1])
        give(r, 1, ts_neg(ts_mul(da, r->out[0])));
}

/* `loser` is 1 where operand 1 is the one that was taken. */
static void pick(ts_rule *r, ts_value second_taken)
{
    if (r->wants[0])
        give(r, 0, ts_mul(r->dout[0], ts_affine(second_taken, -1, 1)));
    if (r->wants[1])
        give(r, 1, ts_mul(r->dout[0], second_taken));
}

void ts_rule_maximum(ts_rule *r)
{
    pick(r, ts_greater(r->in[1], r->in[0]));
}

void ts_rule_minimum(ts_rule *r)
{
    pick(r, ts_greater(r->in[0], r->in[1]));
}

void ts_rule_where(ts_rule *r)
{
    ts_value zero = ts_scalar(r->in[0].graph, 0);
    if (r->wants[1])
        give(r, 1, ts_where(r->in[0], r->dout[0], zero));
    if (r->wants[2])
        give(r, 2, ts_where(r->in[0], zero, r->dout[0]));
}

void ts_rule_affine(ts_rule *r)
{
    r->din[0] = ts_scale(r->dout[0], r->attr->scalar.a);
}

void ts_rule_square(ts_rule *r)
{
    r->din[0] = ts_mul(r->dout[0], ts_scale(r->in[0], 2));
}

void ts_rule_sqrt(ts_rule *r)
{
    r->din[0] = ts_div(r->dout[0], ts_scale(r->out[0], 2));
}

void ts_rule_exp(ts_rule *r)
{
    r->din[0] = ts_mul(r->dout[0], r->out[0]);
}

void ts_rule_log(ts_rule *r)
{
    r->din[0] = ts_div(r->dout[0], r->in[0]);
}

void ts_rule_abs(ts_rule *r)
{
    r->din[0] = ts_mul(r->dout[0], ts_sign(r->in[0]));
}

void ts_rule_clamp(ts_rule *r)
{
    r->din[0] = slope(TS_OP_clamp_dx, r->dout[0], r->in[0], r->attr);
}

void ts_rule_smooth_abs(ts_rule *r)
{
    r->din[0] = ts_mul(r->dout[0], ts_clamp(ts_scale(r->in[0], 1 / r->attr->scalar.a), -1, 1));
}

/* relu, tanh, sigmoid: the slope is a function of the result, so that the operand need not be kept */
void ts_rule_relu(ts_rule *r)
{
    r->din[0] = slope(TS_OP_relu_dx, r->dout[0], r->out[0], r->attr);
}

void ts_rule_tanh(ts_rule *r)
{
    r->din[0] = slope(TS_OP_tanh_dx, r->dout[0], r->out[0], r->attr);
}

void ts_rule_sigmoid(ts_rule *r)
{
    r->din[0] = slope(TS_OP_sigmoid_dx, r->dout[0], r->out[0], r->attr);
}

void ts_rule_leaky_relu(ts_rule *r)
{
    r->din[0] = slope(TS_OP_leaky_relu_dx, r->dout[0], r->in[0], r->attr);
}

void ts_rule_elu(ts_rule *r)
{
    r->din[0] = slope(TS_OP_elu_dx, r->dout[0], r->in[0], r->attr);
}

void ts_rule_silu(ts_rule *r)
{
    r->din[0] = slope(TS_OP_silu_dx, r->dout[0], r->in[0], r->attr);
}

void ts_rule_gelu(ts_rule *r)
{
    r->din[0] = slope(TS_OP_gelu_dx, r->dout[0], r->in[0], r->attr);
}

void ts_rule_gelu_tanh(ts_rule *r)
{
    r->din[0] = slope(TS_OP_gelu_tanh_dx, r->dout[0], r->in[0], r->attr);
}

void ts_rule_softplus(ts_rule *r)
{
    r->din[0] = ts_mul(r->dout[0], ts_sigmoid(r->in[0]));
}

void ts_rule_cast(ts_rule *r)
{
    r->din[0] = ts_cast(r->dout[0], ts_type_of(r->in[0]).dtype);
}
