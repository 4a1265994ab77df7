#include "tests/quant/quant_rig.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "autograd/node.h"

static void new_graph(quant_rig *r, ts_mode mode)
{
    r->graph = ts_graph_new(TS_F32);
    cr_assert_not_null(r->graph);
    r->program = NULL;
    r->scope = (ts_scope){.graph = r->graph, .store = r->store, .path = "", .mode = mode};
    r->scope.random = ts_input(r->graph, "step", TS_I64, ts_shape_of(2));
}

void quant_rig_open(quant_rig *r, ts_mode mode)
{
    ts_error err = {0};
    *r = (quant_rig){.store = ts_store_new(TS_F32)};
    cr_assert_eq(ts_device_open("cpu", 2, &r->device, &err), TS_OK, "%s", err.text);
    r->workspace = ts_workspace_new(r->device);
    cr_assert(r->store && r->workspace);
    new_graph(r, mode);
}

void quant_rig_close(quant_rig *r)
{
    ts_program_free(r->program);
    ts_graph_free(r->graph);
    ts_workspace_free(r->workspace);
    ts_store_free(r->store);
    ts_device_close(r->device);
}

void quant_rig_next(quant_rig *r, ts_mode mode)
{
    ts_program_free(r->program);
    ts_graph_free(r->graph);
    new_graph(r, mode);
}

void quant_rig_plan(quant_rig *r)
{
    ts_error err = {0};
    if (!ts_store_sealed(r->store))
        cr_assert_eq(ts_store_seal(r->store, r->device, 7, &err), TS_OK, "%s", err.text);
    cr_assert_eq(ts_program_new(r->graph, r->workspace, &r->program, &err), TS_OK, "%s", err.text);
    ts_program_set(r->program, r->scope.random, (int64_t[]){3, 0});
}

void quant_rig_run(quant_rig *r)
{
    ts_error err = {0};
    cr_assert_eq(ts_program_run(r->program, &err), TS_OK, "%s", err.text);
}

void *quant_rig_read(quant_rig *r, ts_value v)
{
    ts_tensor t = {ts_type_of(v).dtype, ts_value_shape(v), NULL};
    t.data = ts_alloc(ts_tensor_bytes(&t) + 1);
    cr_assert(t.data && ts_present(v));
    ts_program_get(r->program, v, t.data);
    return t.data;
}

void *quant_rig_state(quant_rig *r, const char *path)
{
    const ts_variable *v = ts_store_find(r->store, path);
    cr_assert_not_null(v, "no variable %s", path);
    ts_tensor t = {v->type.dtype, v->type.shape,
                   ts_alloc(ts_tensor_bytes(&(ts_tensor){v->type.dtype, v->type.shape, 0}))};
    cr_assert_not_null(t.data);
    ts_store_get(r->store, v, TS_BLOCK_VALUE, t.data);
    return t.data;
}

void *quant_rig_defaults(quant_rig *r, const ts_quantizer_kind *kind)
{
    ts_error err = {0};
    void *options = ts_arena_alloc(&r->graph->arena, kind->table->struct_bytes);
    cr_assert_not_null(options);
    cr_assert_eq(ts_options_default(kind->table, options, &r->graph->arena, &err), TS_OK, "%s", err.text);
    return options;
}

static void set_options(quant_rig *r, const ts_quantizer_kind *kind, void *options, const char *pairs)
{
    char copy[256];
    ts_error err = {0};
    snprintf(copy, sizeof copy, "%s", pairs);
    for (char *rest = NULL, *pair = strtok_r(copy, " ", &rest); pair; pair = strtok_r(NULL, " ", &rest)) {
        char *equals = strchr(pair, '=');
        cr_assert_not_null(equals);
        *equals = '\0';
        const ts_option *option = ts_option_find(kind->table, pair);
        cr_assert(option && ts_option_parse(option, equals + 1, options, &r->graph->arena, &err) == TS_OK, "%s: %s: %s",
                  kind->name, pair, err.text);
    }
}

void *quant_rig_options(quant_rig *r, const ts_quantizer_kind *kind, const char *pairs, const char *more)
{
    void *options = quant_rig_defaults(r, kind);
    set_options(r, kind, options, pairs);
    set_options(r, kind, options, more);
    return options;
}

void quant_rig_expect_error(const quant_rig *r, const char *text)
{
    ts_error err = {0};
    cr_assert_eq(ts_graph_check(r->graph, &err), TS_ERR_USAGE, "no error, expected \"%s\"", text);
    cr_assert(strstr(err.text, text), "expected \"%s\" in: %s", text, err.text);
}
