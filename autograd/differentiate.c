#include "autograd/differentiate.h"

#include "autograd/elementwise.h"
#include "autograd/node.h"
#include "autograd/reduce.h"

#define RULE_DIFF(name)      RULE(name)
#define RULE_SURROGATE(name) RULE(name)
#define RULE_ALIAS(name)     RULE(name)
#define RULE_GRAD(name)
#define RULE_INT(name)
#define RULE_STATE(name)
#define RULE_RANDOM(name)
#define TS_OP(name, family, class, inputs, outputs, in_place, cpu) RULE_##class(name)

#define RULE(name) void ts_rule_##name(ts_rule *rule);
#include "core/ops.def"
#undef RULE

#define RULE(name) [TS_OP_##name] = ts_rule_##name,
static ts_rule_fn rules[TS_OP_COUNT] = {
/* NULL: no gradient flows through the op */
#include "core/ops.def"
};
#undef RULE

ts_rule_fn ts_rule_replace(ts_op op, ts_rule_fn rule)
{
    ts_rule_fn before = rules[op];
    rules[op] = rule;
    return before;
}

/* Which values depend on one of `wrt` through ops that carry a gradient. */
static void mark_dependent(const ts_graph *g, bool *depends)
{
    for (int32_t i = 0; i < g->node_count; i++) {
        const ts_node *node = &g->nodes[i];
        bool any = false;
        for (int k = 0; k < node->in_count; k++)
            any |= node->in[k] >= 0 && depends[node->in[k]];
        bool carries = rules[node->op] || ts_ops[node->op].op_class == TS_CLASS_GRAD;
        for (int k = 0; any && carries && k < node->out_count; k++)
            depends[node->out[k]] |= ts_dtype_is_real(g->values[node->out[k]].type.dtype);
    }
}

/* The gradient of a bf16 value is bf16 or f32: whoever sums much gives f32. A cast takes either, any other rule its
 * value's own dtype. */
static ts_value arriving(const ts_node *node, ts_value gradient, ts_value out)
{
    if (!ts_present(gradient) || node->op == TS_OP_cast)
        return gradient;
    return ts_cast(gradient, ts_type_of(out).dtype);
}

static ts_value add_up(ts_value a, ts_value b)
{
    if (ts_type_of(a).dtype == ts_type_of(b).dtype)
        return ts_add(a, b);
    return ts_add(ts_cast(a, TS_F32), ts_cast(b, TS_F32));
}

/* The rule of node i, if a gradient arrives at one of its results; contributions are added into `gradient`. */
static void apply(ts_graph *g, int32_t i, const bool *depends, int32_t *gradient)
{
    ts_node node = g->nodes[i]; /* a copy: rules add nodes, and the array may move */
    ts_rule rule = {.attr = &node.attr, .in_count = node.in_count};
    bool arrives = false;
    for (int k = 0; k < node.out_count; k++) {
        rule.out[k] = ts_value_at(g, node.out[k]);
        arrives |= gradient[node.out[k]] >= 0;
    }
    if (!arrives)
        return;
    bool wanted = false;
    for (int k = 0; k < TS_MAX_IN; k++) {
        rule.in[k] = k < node.in_count ? ts_value_at(g, node.in[k]) : TS_ABSENT;
        rule.wants[k] = ts_present(rule.in[k]) && depends[node.in[k]];
        rule.din[k] = TS_ABSENT;
        wanted |= rule.wants[k];
    }
    if (!wanted)
        return;
    ts_graph_set_path(g, node.path);
    for (int k = 0; k < node.out_count; k++)
        rule.dout[k] = arriving(&node, ts_value_at(g, gradient[node.out[k]]), rule.out[k]);
    if (!rules[node.op]) {
        ts_build_fail(g, ts_ops[node.op].name, "has no gradient of its own (second derivatives are not supported)");
        return;
    }
    rules[node.op](&rule);
    for (int k = 0; k < node.in_count; k++) {
        if (!rule.wants[k] || !ts_present(rule.din[k]))
            continue;
        if (!ts_shape_equal(ts_value_shape(rule.din[k]), ts_value_shape(rule.in[k]))) {
            ts_build_fail(g, ts_ops[node.op].name, "internal error: its gradient rule gives %s for an operand of %s",
                          ts_shape_print(ts_value_shape(rule.din[k])).text,
                          ts_shape_print(ts_value_shape(rule.in[k])).text);
            return;
        }
        ts_value so_far = ts_value_at(g, gradient[node.in[k]]);
        gradient[node.in[k]] = ts_present(so_far) ? add_up(so_far, rule.din[k]).id : rule.din[k].id;
    }
}

void ts_differentiate(ts_value loss, int count, const ts_value *wrt, ts_value *result)
{
    ts_graph *g;
    for (int i = 0; i < count; i++)
        result[i] = TS_ABSENT;
    if (ts_poisoned(&g, 1, &loss))
        return;
    if (ts_shape_count(ts_value_shape(loss)) != 1) {
        ts_build_fail(g, "differentiate", "the loss is %s, expected one element",
                      ts_shape_print(ts_value_shape(loss)).text);
        return;
    }
    int32_t value_count = g->value_count, node_count = g->node_count; /* of the forward graph */
    const char *path = g->path;
    bool *depends = ts_calloc((size_t)value_count, sizeof *depends);
    int32_t *gradient = ts_alloc((size_t)value_count * sizeof *gradient);
    if (!depends || !gradient) {
        ts_build_out_of_memory(g);
        goto out;
    }
    for (int32_t i = 0; i < value_count; i++)
        gradient[i] = -1;
    for (int i = 0; i < count; i++)
        if (ts_present(wrt[i]))
            depends[wrt[i].id] = true;
    mark_dependent(g, depends);
    gradient[loss.id] = ts_broadcast(ts_scalar(g, 1), ts_value_shape(loss)).id;
    for (int32_t i = node_count - 1; i >= 0 && g->error.code == TS_OK; i--)
        apply(g, i, depends, gradient);
    for (int i = 0; i < count; i++)
        if (ts_present(wrt[i]))
            result[i] = ts_value_at(g, gradient[wrt[i].id]);
out:
    ts_graph_set_path(g, path);
    ts_free(depends);
    ts_free(gradient);
}
