#include "autograd/graph.h"

#include <stdio.h>
#include <string.h>

#include "autograd/elementwise.h"
#include "autograd/node.h"
#include "autograd/store.h"

ts_graph *ts_graph_new(ts_dtype real)
{
    ts_graph *graph = ts_calloc(1, sizeof *graph);
    if (graph) {
        graph->real = real;
        graph->path = "";
    }
    return graph;
}

void ts_graph_free(ts_graph *graph)
{
    if (!graph)
        return;
    ts_arena_clear(&graph->arena);
    ts_free(graph->values);
    ts_free(graph->nodes);
    ts_free(graph);
}

ts_status ts_graph_check(const ts_graph *graph, ts_error *err)
{
    if (graph->error.code != TS_OK && err)
        *err = graph->error;
    return graph->error.code;
}

ts_value ts_build_out_of_memory(ts_graph *graph)
{
    if (graph->error.code == TS_OK)
        ts_fail(&graph->error, TS_ERR_RUNTIME, "out of memory while building the graph");
    return ts_poison(graph);
}

void ts_graph_set_path(ts_graph *graph, const char *path)
{
    if (strcmp(graph->path, path) == 0)
        return;
    const char *copy = ts_arena_strdup(&graph->arena, path);
    if (copy)
        graph->path = copy;
    else
        ts_build_out_of_memory(graph);
}

const char *ts_graph_path(const ts_graph *graph)
{
    return graph->path;
}

ts_dtype ts_graph_real(const ts_graph *graph)
{
    return graph->real;
}

void ts_graph_set_rounding(ts_graph *graph, bool allowed)
{
    graph->rounds = allowed;
}

ts_value ts_poison(ts_graph *graph)
{
    return (ts_value){graph, -1};
}

bool ts_poisoned(ts_graph **graph, int count, const ts_value *operands)
{
    *graph = NULL;
    bool poisoned = false;
    for (int i = 0; i < count; i++) {
        if (!operands[i].graph)
            continue;
        if (!*graph)
            *graph = operands[i].graph;
        poisoned |= operands[i].id < 0;
        if (operands[i].graph != *graph) {
            ts_build_fail(*graph, "operand", "is a value of another graph");
            poisoned = true;
        }
    }
    return poisoned || !*graph;
}

ts_value ts_build_fail(ts_graph *graph, const char *op, const char *format, ...)
{
    if (!graph || graph->error.code != TS_OK)
        return ts_poison(graph);
    char text[800];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (graph->path[0])
        ts_fail(&graph->error, TS_ERR_USAGE, "%s: %s: %s", graph->path, op, text);
    else
        ts_fail(&graph->error, TS_ERR_USAGE, "%s: %s", op, text);
    return ts_poison(graph);
}

/* Room for one more in a growing array; false when out of memory. */
static bool reserve(void **array, int32_t count, int32_t *capacity, size_t size)
{
    if (count < *capacity)
        return true;
    int32_t wanted = *capacity ? *capacity * 2 : 64;
    void *grown = ts_realloc(*array, (size_t)wanted, size);
    if (!grown)
        return false;
    *array = grown;
    *capacity = wanted;
    return true;
}

static ts_value add_value(ts_graph *graph, ts_value_info info)
{
    if (!reserve((void **)&graph->values, graph->value_count, &graph->value_capacity, sizeof *graph->values))
        return ts_build_out_of_memory(graph);
    graph->values[graph->value_count] = info;
    return (ts_value){graph, graph->value_count++};
}

static ts_value add_leaf(ts_graph *graph, ts_value_info info)
{
    if (graph->error.code != TS_OK)
        return ts_poison(graph);
    if (info.name && !(info.name = ts_arena_strdup(&graph->arena, info.name)))
        return ts_build_out_of_memory(graph);
    int64_t count;
    if (!ts_shape_count_checked(info.type.shape, &count))
        return ts_build_fail(graph, info.name ? info.name : "constant", "the shape %s is not possible",
                             ts_shape_print(info.type.shape).text);
    info.node = -1;
    return add_value(graph, info);
}

ts_value ts_input(ts_graph *graph, const char *name, ts_dtype dtype, ts_shape shape)
{
    return add_leaf(graph, (ts_value_info){.kind = TS_KIND_INPUT, .type = {dtype, shape}, .name = name});
}

ts_value ts_constant(ts_graph *graph, ts_dtype dtype, ts_shape shape, const void *host_data)
{
    ts_tensor t = {dtype, shape, NULL};
    void *copy = ts_arena_alloc(&graph->arena, ts_tensor_bytes(&t));
    if (!copy)
        return ts_build_out_of_memory(graph);
    memcpy(copy, host_data, ts_tensor_bytes(&t));
    return add_leaf(graph, (ts_value_info){.kind = TS_KIND_CONSTANT, .type = {dtype, shape}, .constant = copy});
}

ts_value ts_scalar(ts_graph *graph, double value)
{
    float narrow = (float)value;
    return ts_constant(graph, graph->real, ts_shape_of(), graph->real == TS_F64 ? (void *)&value : (void *)&narrow);
}

ts_value ts_variable_value(ts_graph *graph, ts_store *store, const ts_variable *variable, int block)
{
    return add_leaf(graph, (ts_value_info){.kind = TS_KIND_PLACE,
                                           .type = variable->type,
                                           .name = variable->path,
                                           .store = store,
                                           .block = block,
                                           .variable = variable});
}

ts_value ts_block_value(ts_graph *graph, ts_store *store, int block, int64_t first, int64_t count)
{
    return add_leaf(graph, (ts_value_info){.kind = TS_KIND_PLACE,
                                           .type = {graph->real, ts_shape_of(count)},
                                           .store = store,
                                           .block = block,
                                           .first = first});
}

void ts_bind(ts_value value, ts_store *store, const ts_variable *variable, int block)
{
    if (!ts_present(value))
        return;
    const ts_value_info *info = ts_info(value);
    bool own = info->kind == TS_KIND_RESULT && !info->store &&
               ts_ops[value.graph->nodes[info->node].op].op_class != TS_CLASS_ALIAS;
    if (!own) /* another's memory: the bound value is a copy of it */
        value = ts_affine(value, 1, 0);
    if (!ts_present(value))
        return;
    ts_info(value)->store = store;
    ts_info(value)->block = block;
    ts_info(value)->variable = variable;
}

void ts_output(ts_value value, const char *name)
{
    if (!ts_present(value))
        return;
    const char *copy = ts_arena_strdup(&value.graph->arena, name);
    if (copy)
        ts_info(value)->output_name = copy;
    else
        ts_build_out_of_memory(value.graph);
}

ts_type ts_type_of(ts_value v)
{
    return ts_present(v) ? ts_info(v)->type : (ts_type){TS_F32, {.rank = -1}};
}

int64_t ts_dim(ts_value v, int i)
{
    ts_shape shape = ts_value_shape(v);
    if (i < 0)
        i += shape.rank;
    return i >= 0 && i < shape.rank ? shape.dim[i] : 0;
}

ts_value ts_node_add(ts_graph *graph, const ts_node_spec *spec, ts_value out[])
{
    ts_graph *same;
    for (int i = 0; out && i < TS_MAX_OUT; i++)
        out[i] = ts_poison(graph);
    if (graph->error.code != TS_OK || (spec->in_count && ts_poisoned(&same, spec->in_count, spec->in)))
        return ts_poison(graph);
    const ts_op_info *info = &ts_ops[spec->op];
    ts_node node = {.op = spec->op,
                    .attr = spec->attr,
                    .path = graph->path,
                    .rounds = graph->rounds,
                    .in_count = spec->in_count,
                    .out_count = info->out_count};
    for (int i = 0; i < spec->in_count; i++)
        node.in[i] = spec->in[i].id;
    if (!reserve((void **)&graph->nodes, graph->node_count, &graph->node_capacity, sizeof *graph->nodes))
        return ts_build_out_of_memory(graph);
    for (int i = 0; i < info->out_count; i++) {
        int64_t count;
        if (!ts_shape_count_checked(spec->out[i].shape, &count))
            return ts_build_fail(graph, info->name, "the result's shape %s is not possible",
                                 ts_shape_print(spec->out[i].shape).text);
        ts_value v = add_value(
            graph,
            (ts_value_info){.kind = TS_KIND_RESULT, .type = spec->out[i], .node = graph->node_count, .out_index = i});
        if (!ts_present(v))
            return v;
        node.out[i] = v.id;
        if (out)
            out[i] = v;
    }
    graph->nodes[graph->node_count++] = node;
    return info->out_count ? (ts_value){graph, node.out[0]} : TS_ABSENT;
}

ts_value ts_result_add(ts_graph *graph, ts_type type)
{
    return add_value(graph, (ts_value_info){.kind = TS_KIND_RESULT, .type = type, .node = -1});
}

ts_node *ts_nodes_take(ts_graph *graph)
{
    ts_node *nodes = graph->nodes;
    graph->nodes = NULL;
    graph->node_count = graph->node_capacity = 0;
    return nodes;
}

bool ts_node_append(ts_graph *graph, const ts_node *node)
{
    if (!reserve((void **)&graph->nodes, graph->node_count, &graph->node_capacity, sizeof *graph->nodes)) {
        ts_build_out_of_memory(graph);
        return false;
    }
    for (int i = 0; i < node->out_count; i++) {
        graph->values[node->out[i]].node = graph->node_count;
        graph->values[node->out[i]].out_index = i;
    }
    graph->nodes[graph->node_count++] = *node;
    return true;
}

ts_desc ts_node_desc(const ts_graph *graph, const ts_node *node)
{
    ts_desc desc;
    memset(&desc, 0, sizeof desc); /* padding too: descriptions are compared as bytes */
    desc.op = node->op;
    desc.attr = node->attr;
    desc.in_count = node->in_count;
    desc.out_count = node->out_count;
    for (int i = 0; i < node->in_count; i++)
        desc.in[i] = node->in[i] < 0 ? (ts_type){TS_F32, {.rank = -1}} : graph->values[node->in[i]].type;
    for (int i = 0; i < node->out_count; i++)
        desc.out[i] = graph->values[node->out[i]].type;
    return desc;
}

void ts_mark_needed(const ts_graph *g, bool *needed)
{
    for (int32_t i = 0; i < g->node_count; i++)
        needed[i] = ts_ops[g->nodes[i].op].op_class == TS_CLASS_STATE;
    for (int32_t v = 0; v < g->value_count; v++)
        if (g->values[v].node >= 0 && (g->values[v].output_name || g->values[v].store))
            needed[g->values[v].node] = true;
    for (int32_t i = g->node_count - 1; i >= 0; i--)
        for (int k = 0; needed[i] && k < g->nodes[i].in_count; k++) {
            int32_t v = g->nodes[i].in[k];
            if (v >= 0 && g->values[v].node >= 0)
                needed[g->values[v].node] = true;
        }
}

void ts_find_roots(const ts_graph *g, int32_t *root)
{
    for (int32_t v = 0; v < g->value_count; v++)
        root[v] = v;
    for (int32_t i = 0; i < g->node_count; i++)
        if (ts_node_is_alias(&g->nodes[i]))
            root[g->nodes[i].out[0]] = root[g->nodes[i].in[0]];
}

bool *ts_node_relu(ts_node *node)
{
    switch (node->op) {
    case TS_OP_conv:
    case TS_OP_conv_transpose:
        return &node->attr.conv.relu;
    case TS_OP_matmul:
        return &node->attr.matmul.relu;
    default:
        return NULL;
    }
}

static size_t print_operands(const ts_graph *graph, const int32_t *ids, int count, char *text, size_t bytes)
{
    size_t used = 0;
    for (int i = 0; i < count && used < bytes; i++) {
        if (ids[i] < 0) {
            used += (size_t)snprintf(text + used, bytes - used, "%s-", i ? ", " : "");
            continue;
        }
        const ts_value_info *v = &graph->values[ids[i]];
        used += (size_t)snprintf(text + used, bytes - used, "%s%%%d %s%s", i ? ", " : "", ids[i],
                                 ts_dtype_name(v->type.dtype), ts_shape_print(v->type.shape).text);
        if (v->name && used < bytes)
            used += (size_t)snprintf(text + used, bytes - used, " %s", v->name);
    }
    return used < bytes ? used : bytes - 1;
}

/* What a chain does, "[add relu]", or what a product ends in. */
static size_t print_steps(ts_node *node, char *text, size_t bytes)
{
    size_t used = 0;
    const bool *relu = ts_node_relu(node);
    if (relu && *relu)
        return (size_t)snprintf(text, bytes, "[relu]");
    for (int i = 0; node->op == TS_OP_chain && i < node->attr.chain.count; i++)
        used += (size_t)snprintf(text + used, bytes - used, "%s%s", i ? " " : "[",
                                 ts_ops[node->attr.chain.step[i].op].name);
    return used + (used ? (size_t)snprintf(text + used, bytes - used, "]") : 0);
}

void ts_graph_print(const ts_graph *graph, void (*line)(void *user, const char *text), void *user)
{
    for (int32_t i = 0; i < graph->node_count; i++) {
        ts_node *node = &graph->nodes[i];
        char text[1024];
        size_t used = print_operands(graph, node->out, node->out_count, text, sizeof text / 2);
        used += (size_t)snprintf(text + used, sizeof text - used, " = %s", ts_ops[node->op].name);
        used += print_steps(node, text + used, sizeof text - used);
        used += (size_t)snprintf(text + used, sizeof text - used, "(");
        used += print_operands(graph, node->in, node->in_count, text + used, sizeof text - used - 2);
        snprintf(text + used, sizeof text - used, ")  %s", node->path);
        line(user, text);
    }
}
