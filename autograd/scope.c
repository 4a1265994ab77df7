#include "autograd/scope.h"

#include "autograd/node.h"

const char *ts_scope_path(ts_scope s, const char *name)
{
    const char *path =
        s.path[0] ? ts_arena_format(&s.graph->arena, "%s.%s", s.path, name) : ts_arena_strdup(&s.graph->arena, name);
    if (path)
        return path;
    ts_build_out_of_memory(s.graph);
    return "";
}

ts_scope ts_sub(ts_scope s, const char *name)
{
    s.path = ts_scope_path(s, name);
    ts_enter(s);
    return s;
}

ts_scope ts_sub_index(ts_scope s, const char *name, int i)
{
    const char *indexed = ts_arena_format(&s.graph->arena, "%s.%d", name, i);
    return ts_sub(s, indexed ? indexed : "");
}

void ts_enter(ts_scope s)
{
    ts_graph_set_path(s.graph, s.path);
}

/* The value that the graph has of a variable: a second one would have a gradient of its own. */
static ts_value opened_before(ts_scope s, const ts_variable *v, int block)
{
    for (int32_t i = 0; i < s.graph->value_count; i++) {
        const ts_value_info *info = &s.graph->values[i];
        if (info->kind == TS_KIND_PLACE && info->variable == v && info->block == block)
            return ts_value_at(s.graph, i);
    }
    return ts_variable_value(s.graph, s.store, v, block);
}

static ts_value open_variable(ts_scope s, const ts_variable *wanted, int block)
{
    if (s.graph->error.code != TS_OK)
        return ts_poison(s.graph);
    const ts_variable *v = s.shared || ts_store_sealed(s.store) ? ts_store_find(s.store, wanted->path)
                                                                : ts_store_add(s.store, wanted, &s.graph->error);
    if (s.graph->error.code != TS_OK)
        return ts_poison(s.graph);
    if (!v)
        return ts_build_fail(s.graph, wanted->path, "is not among the parameters; the training graph did not make it");
    if (!ts_shape_equal(v->type.shape, wanted->type.shape) || v->type.dtype != wanted->type.dtype)
        return ts_build_fail(s.graph, wanted->path, "is %s %s, this graph expects %s %s", ts_dtype_name(v->type.dtype),
                             ts_shape_print(v->type.shape).text, ts_dtype_name(wanted->type.dtype),
                             ts_shape_print(wanted->type.shape).text);
    return s.shared ? opened_before(s, v, block) : ts_variable_value(s.graph, s.store, v, block);
}

ts_value ts_param(ts_scope s, const char *name, ts_shape shape, ts_init init, ts_role role)
{
    ts_variable wanted = {.path = ts_scope_path(s, name), .role = role, .type = {s.graph->real, shape}, .init = init};
    return open_variable(s, &wanted, s.block);
}

ts_value ts_conv_param(ts_scope s, const char *name, ts_shape shape, ts_init init)
{
    ts_variable wanted = {.path = ts_scope_path(s, name),
                          .role = TS_ROLE_WEIGHT,
                          .type = {s.graph->real, shape},
                          .init = init,
                          .conv_layout = true};
    return open_variable(s, &wanted, s.block);
}

ts_value ts_state(ts_scope s, const char *name, ts_dtype dtype, ts_shape shape, ts_init init)
{
    ts_variable wanted = {.path = ts_scope_path(s, name), .role = TS_ROLE_STATE, .type = {dtype, shape}, .init = init};
    return open_variable(s, &wanted, TS_BLOCK_STATE);
}

ts_value ts_transient(ts_scope s, const char *name, ts_dtype dtype, ts_shape shape, ts_init init)
{
    ts_variable wanted = {
        .path = ts_scope_path(s, name), .role = TS_ROLE_STATE, .transient = true, .type = {dtype, shape}, .init = init};
    return open_variable(s, &wanted, TS_BLOCK_STATE);
}
