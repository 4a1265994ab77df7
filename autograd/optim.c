#include "autograd/optim.h"

#include "autograd/node.h"

static bool same_type(ts_value a, ts_value b)
{
    return ts_type_of(a).dtype == ts_type_of(b).dtype && ts_shape_equal(ts_value_shape(a), ts_value_shape(b));
}

/* The first `written` operands are places; operands up to `alike` have the type of the first. */
static bool variables_valid(ts_graph *g, const ts_node_spec *spec, int written, int alike)
{
    const char *op = ts_ops[spec->op].name;
    for (int i = 0; i < alike; i++) {
        ts_value v = spec->in[i];
        ts_type first = ts_type_of(spec->in[0]), t = ts_type_of(v);
        if (!ts_present(v))
            continue;
        if (!same_type(v, spec->in[0])) {
            ts_build_fail(g, op, "operand %d is %s %s, the variable %s %s; expected the same", i,
                          ts_dtype_name(t.dtype), ts_shape_print(t.shape).text, ts_dtype_name(first.dtype),
                          ts_shape_print(first.shape).text);
            return false;
        }
        if (i < written && !ts_info(v)->store) {
            ts_build_fail(g, op, "operand %d, %s, is no variable of a store; it cannot be written", i,
                          ts_shape_print(t.shape).text);
            return false;
        }
    }
    return true;
}

static bool dtype_valid(ts_graph *g, ts_op op, ts_value v, bool integers)
{
    ts_dtype dtype = ts_type_of(v).dtype;
    if (dtype == ts_graph_real(g) || (integers && (dtype == TS_I32 || dtype == TS_I64)))
        return true;
    ts_build_fail(g, ts_ops[op].name, "the variable is %s %s; expected %s%s", ts_dtype_name(dtype),
                  ts_shape_print(ts_value_shape(v)).text, ts_dtype_name(ts_graph_real(g)),
                  integers ? ", i32 or i64" : "");
    return false;
}

/* Operands from `first` on are absent, or [] of the real dtype. */
static bool scalars_valid(ts_graph *g, const ts_node_spec *spec, int first)
{
    for (int i = first; i < spec->in_count; i++) {
        ts_type t = ts_type_of(spec->in[i]);
        if (!ts_present(spec->in[i]) || (t.dtype == ts_graph_real(g) && t.shape.rank == 0))
            continue;
        ts_build_fail(g, ts_ops[spec->op].name, "operand %d is %s %s; expected %s []", i, ts_dtype_name(t.dtype),
                      ts_shape_print(t.shape).text, ts_dtype_name(ts_graph_real(g)));
        return false;
    }
    return true;
}

/* What a caller must give; TS_ABSENT there is a mistake in the calling code. */
static bool required_present(ts_graph *g, const ts_node_spec *spec, int i)
{
    if (ts_present(spec->in[i]))
        return true;
    ts_build_fail(g, ts_ops[spec->op].name, "operand %d is missing (variable %s)", i,
                  ts_shape_print(ts_value_shape(spec->in[0])).text);
    return false;
}

ts_value ts_global_norm(ts_value v)
{
    ts_graph *g;
    if (ts_poisoned(&g, 1, &v))
        return ts_poison(g);
    ts_type t = ts_type_of(v);
    if (t.dtype != ts_graph_real(g))
        return ts_build_fail(g, "global_norm", "the input is %s %s; expected %s", ts_dtype_name(t.dtype),
                             ts_shape_print(t.shape).text, ts_dtype_name(ts_graph_real(g)));
    ts_node_spec spec = {.op = TS_OP_global_norm, .in_count = 1, .in = {v}, .out = {{t.dtype, ts_shape_of()}}};
    return ts_node_add(g, &spec, NULL);
}

static bool corrections_valid(ts_graph *g, ts_value v)
{
    ts_type t = ts_type_of(v);
    if (t.dtype == ts_graph_real(g) && t.shape.rank == 1 && t.shape.dim[0] == 2)
        return true;
    ts_build_fail(g, "adamw", "the corrections are %s %s; expected %s [2]", ts_dtype_name(t.dtype),
                  ts_shape_print(t.shape).text, ts_dtype_name(ts_graph_real(g)));
    return false;
}

void ts_adamw(const ts_adamw_operands *o, ts_adamw_opts opts)
{
    ts_graph *g;
    ts_node_spec spec = {.op = TS_OP_adamw,
                         .in_count = 8,
                         .in = {o->value, o->m, o->v, o->grad, o->lr, o->corrections, o->grad_scale, o->ok}};
    if (ts_poisoned(&g, 8, spec.in))
        return;
    for (int i = 0; i < 6; i++)
        if (!required_present(g, &spec, i))
            return;
    ts_node_spec scalars = {.op = TS_OP_adamw, .in_count = 3, .in = {o->lr, o->grad_scale, o->ok}};
    if (!variables_valid(g, &spec, 3, 4) || !dtype_valid(g, spec.op, o->value, false) ||
        !corrections_valid(g, o->corrections) || !scalars_valid(g, &scalars, 0))
        return;
    spec.attr.optim.beta1 = opts.beta1;
    spec.attr.optim.beta2 = opts.beta2;
    spec.attr.optim.eps = opts.eps;
    spec.attr.optim.weight_decay = opts.weight_decay;
    spec.attr.optim.coupled = opts.coupled;
    ts_node_add(g, &spec, NULL);
}

void ts_sgd(ts_value value, ts_value buffer, ts_value grad, ts_value lr, ts_value grad_scale, ts_value ok,
            ts_sgd_opts opts)
{
    ts_graph *g;
    ts_node_spec spec = {.op = TS_OP_sgd, .in_count = 6, .in = {value, buffer, grad, lr, grad_scale, ok}};
    if (ts_poisoned(&g, 6, spec.in))
        return;
    if (opts.momentum != 0 && !required_present(g, &spec, 1))
        return;
    if (!required_present(g, &spec, 0) || !required_present(g, &spec, 2) || !required_present(g, &spec, 3) ||
        !variables_valid(g, &spec, 2, 3) || !dtype_valid(g, spec.op, value, false) || !scalars_valid(g, &spec, 3))
        return;
    spec.attr.optim.momentum = opts.momentum;
    spec.attr.optim.weight_decay = opts.weight_decay;
    spec.attr.optim.nesterov = opts.nesterov;
    ts_node_add(g, &spec, NULL);
}

/* An op on (variable, x, ok). */
static void update(ts_op op, ts_value variable, ts_value x, ts_value ok, double decay)
{
    ts_graph *g;
    ts_node_spec spec = {.op = op, .in_count = 3, .in = {variable, x, ok}};
    if (ts_poisoned(&g, 3, spec.in) || !required_present(g, &spec, 0) || !required_present(g, &spec, 1) ||
        !variables_valid(g, &spec, 1, 2) || !scalars_valid(g, &spec, 2))
        return;
    if (op != TS_OP_assign && !dtype_valid(g, op, variable, op == TS_OP_assign_add))
        return;
    spec.attr.optim.decay = decay;
    ts_node_add(g, &spec, NULL);
}

void ts_ema(ts_value e, ts_value x, ts_value ok, double decay)
{
    update(TS_OP_ema, e, x, ok, decay);
}

void ts_assign(ts_value variable, ts_value x, ts_value ok)
{
    update(TS_OP_assign, variable, x, ok, 0);
}

void ts_assign_add(ts_value variable, ts_value x, ts_value ok)
{
    update(TS_OP_assign_add, variable, x, ok, 0);
}
