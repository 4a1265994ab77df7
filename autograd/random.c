#include "autograd/random.h"

#include <stdio.h>
#include <string.h>

#include "autograd/node.h"
#include "core/random.h"

/* The path's hash for the first draw that stands there; each further one has a stream of its own. */
static uint64_t next_stream(const ts_graph *g)
{
    int before = 0;
    char path[1024];
    for (int32_t i = 0; i < g->node_count; i++)
        before += ts_ops[g->nodes[i].op].op_class == TS_CLASS_RANDOM && strcmp(g->nodes[i].path, g->path) == 0;
    if (!before)
        return ts_random_stream(g->path);
    snprintf(path, sizeof path, "%d#%s", before, g->path);
    return ts_random_stream(path);
}

static ts_value draw(ts_op op, ts_value step, ts_dtype dtype, ts_shape shape, int64_t below)
{
    ts_graph *g = step.graph;
    ts_type t = ts_type_of(step);
    if (t.dtype != TS_I64 || t.shape.rank != 1 || t.shape.dim[0] != 2)
        return ts_build_fail(g, ts_ops[op].name, "seed and step are %s %s; expected i64 [2]", ts_dtype_name(t.dtype),
                             ts_shape_print(t.shape).text);
    ts_node_spec spec = {.op = op, .in_count = 1, .in = {step}, .out = {{dtype, shape}}};
    spec.attr.random.stream = next_stream(g);
    spec.attr.random.below = below;
    return ts_node_add(g, &spec, NULL);
}

ts_value ts_rand_uniform(ts_value step, ts_shape shape)
{
    ts_graph *g;
    if (ts_poisoned(&g, 1, &step))
        return ts_poison(g);
    return draw(TS_OP_random_uniform, step, ts_graph_real(g), shape, 0);
}

ts_value ts_rand_normal(ts_value step, ts_shape shape)
{
    ts_graph *g;
    if (ts_poisoned(&g, 1, &step))
        return ts_poison(g);
    return draw(TS_OP_random_normal, step, ts_graph_real(g), shape, 0);
}

ts_value ts_rand_index(ts_value step, ts_shape shape, int64_t below)
{
    ts_graph *g;
    if (ts_poisoned(&g, 1, &step))
        return ts_poison(g);
    if (below < 1 || below > INT32_MAX)
        return ts_build_fail(g, "random_index", "the bound is %lld; expected 1 to 2147483647 (shape %s)",
                             (long long)below, ts_shape_print(shape).text);
    return draw(TS_OP_random_index, step, TS_I32, shape, below);
}

/* How often a value is an operand; with `by` other than -1 it is replaced there. */
static int readers(ts_graph *g, int32_t value, int32_t by)
{
    int count = 0;
    for (int32_t i = 0; i < g->node_count; i++)
        for (int k = 0; k < g->nodes[i].in_count; k++) {
            if (g->nodes[i].in[k] != value)
                continue;
            count++;
            if (by >= 0)
                g->nodes[i].in[k] = by;
        }
    return count;
}

ts_value ts_replace_with_input(ts_graph *g, ts_op op, const char *name)
{
    for (int32_t i = 0; i < g->node_count; i++) {
        int32_t drawn = g->nodes[i].op == op ? g->nodes[i].out[0] : -1;
        if (drawn < 0 || readers(g, drawn, -1) == 0)
            continue;
        ts_value input = ts_input(g, name, g->values[drawn].type.dtype, g->values[drawn].type.shape);
        if (ts_present(input))
            readers(g, drawn, input.id);
        return input;
    }
    return ts_build_fail(g, ts_ops[op].name, "no draw to be replaced by %s", name);
}
