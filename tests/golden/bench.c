#include "tests/golden/bench.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "autograd/index.h"
#include "autograd/node.h"
#include "autograd/random.h"
#include "core/files/layout.h"
#include "quant/stats.h"
#include "tests/support/fusion.h"

void golden_bench_open(golden_bench *b, golden_case *c, ts_device *device)
{
    *b = (golden_bench){.c = c, .device = device, .store = ts_store_new(TS_F32), .workspace = ts_workspace_new(device)};
    cr_assert(b->store && b->workspace);
}

void golden_bench_close(golden_bench *b)
{
    ts_workspace_free(b->workspace);
    ts_store_free(b->store);
}

void golden_bench_seal(golden_bench *b)
{
    ts_error err = {0};
    cr_assert_eq(ts_store_seal(b->store, b->device, 1, &err), TS_OK, "%s", err.text);
}

void golden_bench_load(golden_bench *b, const char *variable, const char *tensor)
{
    const ts_variable *v = ts_store_find(b->store, variable);
    const ts_tensor *t = golden_tensor(b->c, tensor);
    if (!v) {
        golden_fail(b->c, "%s: the model has no variable %s", tensor, variable);
        return;
    }
    ts_shape shape = v->conv_layout ? ts_layout_torch_shape(v->type.shape) : v->type.shape;
    void *ours = ts_arena_alloc(&b->c->arena, ts_tensor_bytes(t) + 1);
    cr_assert_not_null(ours);
    if (!ts_shape_equal(shape, t->shape) || v->type.dtype != t->dtype) {
        golden_fail(b->c, "%s is %s, expected %s for %s", tensor, ts_shape_print(t->shape).text,
                    ts_shape_print(shape).text, variable);
        return;
    }
    if (v->conv_layout)
        ts_layout_from_torch(t->dtype, v->type.shape, t->data, ours);
    ts_store_set(b->store, v, TS_BLOCK_VALUE, v->conv_layout ? ours : t->data);
}

ts_tensor golden_bench_read(golden_bench *b, const ts_variable *v, int block)
{
    ts_tensor ours = {v->type.dtype, v->type.shape, NULL}, torch = ours;
    ours.data = ts_arena_alloc(&b->c->arena, ts_tensor_bytes(&ours) + 1);
    torch.data = ts_arena_alloc(&b->c->arena, ts_tensor_bytes(&ours) + 1);
    cr_assert(ours.data && torch.data);
    ts_store_get(b->store, v, block, ours.data);
    if (!v->conv_layout)
        return ours;
    torch.shape = ts_layout_torch_shape(ours.shape);
    ts_layout_to_torch(ours.dtype, ours.shape, ours.data, torch.data);
    return torch;
}

void golden_graph_open(golden_graph *g, golden_bench *b, ts_mode mode)
{
    ts_graph *graph = ts_graph_new(TS_F32);
    cr_assert_not_null(graph);
    *g = (golden_graph){.bench = b, .tolerance = 1e-5, .floor = 1};
    g->scope = (ts_scope){.graph = graph, .store = b->store, .path = "", .mode = mode};
    g->scope.random = ts_input(graph, "step", TS_I64, ts_shape_of(2));
    g->usage.counts = TS_ABSENT;
}

void golden_graph_close(golden_graph *g)
{
    ts_program_free(g->program);
    ts_graph_free(g->scope.graph);
}

static const char *joined(golden_graph *g, const char *prefix, const char *name)
{
    const char *path = ts_arena_format(&g->bench->c->arena, "%s%s", prefix, name);
    cr_assert_not_null(path);
    return path;
}

ts_tensor golden_graph_tensor(const golden_graph *g, const char *path)
{
    const ts_tensor *t = golden_tensor(g->bench->c, path);
    return g->channels_last && ts_dtype_is_real(t->dtype) ? golden_channels_last(g->bench->c, t) : *t;
}

ts_value golden_graph_input(golden_graph *g, const char *prefix, const char *name)
{
    ts_tensor t = golden_graph_tensor(g, joined(g, prefix, name));
    cr_assert_lt(g->input_count, GOLDEN_MAX_VALUES);
    ts_value v = ts_input(g->scope.graph, name, t.dtype, t.shape);
    g->input[g->input_count].name = name;
    g->input[g->input_count++].value = v;
    return v;
}

void golden_graph_expect(golden_graph *g, ts_value v, const char *name)
{
    cr_assert_lt(g->result_count, GOLDEN_MAX_VALUES);
    ts_error err = {0};
    if (!v.graph) {
        bool built = ts_graph_check(g->scope.graph, &err) == TS_OK;
        golden_fail(g->bench->c, "nothing is computed for %s. %s", name, built ? "" : err.text);
        return;
    }
    ts_output(v, name);
    g->result[g->result_count].name = name;
    g->result[g->result_count++].value = v;
}

void golden_graph_expect_state(golden_graph *g, const char *variable, const char *name)
{
    cr_assert_lt(g->state_count, GOLDEN_MAX_VALUES);
    g->state[g->state_count].name = name;
    g->state[g->state_count++].variable = variable;
}

void golden_graph_expect_usage(golden_graph *g, ts_value ids, int64_t codes, double epsilon, const char *perplexity,
                               const char *share)
{
    g->usage.counts = ts_count(ids, codes);
    ts_output(g->usage.counts, "counts");
    g->usage.epsilon = epsilon;
    g->usage.perplexity = perplexity;
    g->usage.share = share;
}

ts_value golden_graph_variable(const golden_graph *g, const char *path)
{
    const ts_graph *graph = g->scope.graph;
    for (int32_t i = 0; i < graph->value_count; i++)
        if (graph->values[i].variable && graph->values[i].kind == TS_KIND_PLACE &&
            strcmp(graph->values[i].name, path) == 0)
            return ts_value_at(g->scope.graph, i);
    return TS_ABSENT;
}

golden_draws golden_graph_draws(golden_graph *g, const char *path, const char *name)
{
    golden_draws draws = {TS_ABSENT, name};
    if (golden_find(g->bench->c, path))
        draws.input = ts_replace_with_input(g->scope.graph, TS_OP_random_normal, name);
    return draws;
}

void golden_graph_feed(golden_graph *g, const char *prefix, const golden_draws *draws)
{
    if (!ts_present(draws->input))
        return;
    const char *path = joined(g, prefix, draws->name);
    const ts_tensor *t = golden_tensor(g->bench->c, path);
    ts_shape wanted = ts_value_shape(draws->input);
    if (t->shape.rank == 2 && t->shape.dim[0] >= wanted.dim[0] && t->shape.dim[1] == wanted.dim[1])
        ts_program_set(g->program, draws->input, t->data);
    else
        golden_fail(g->bench->c, "%s is %s, expected at least %s", path, ts_shape_print(t->shape).text,
                    ts_shape_print(wanted).text);
}

bool golden_graph_plan(golden_graph *g)
{
    ts_error err = {0};
    fuse_unless_told(g->scope.graph);
    if (ts_program_new(g->scope.graph, g->bench->workspace, &g->program, &err) == TS_OK)
        return true;
    golden_fail(g->bench->c, "%s", err.text);
    return false;
}

ts_tensor golden_graph_read(golden_graph *g, ts_value v)
{
    ts_tensor t = {ts_type_of(v).dtype, ts_value_shape(v), NULL};
    t.data = ts_arena_alloc(&g->bench->c->arena, ts_tensor_bytes(&t) + 1);
    cr_assert_not_null(t.data);
    ts_program_get(g->program, v, t.data);
    return t;
}

static void compare(golden_graph *g, const char *path, ts_tensor found)
{
    ts_tensor expected = golden_graph_tensor(g, path);
    golden_compare(g->bench->c, path, &found, &expected, g->tolerance, g->floor);
}

static void compare_number(golden_graph *g, const char *prefix, const char *name, double value)
{
    float narrow = (float)value;
    if (name)
        compare(g, joined(g, prefix, name), (ts_tensor){TS_F32, {0}, &narrow});
}

static void compare_usage(golden_graph *g, const char *prefix)
{
    if (!ts_present(g->usage.counts))
        return;
    ts_tensor counts = golden_graph_read(g, g->usage.counts);
    ts_usage u = ts_usage_of(counts.data, counts.shape.dim[0], g->usage.epsilon);
    compare_number(g, prefix, g->usage.perplexity, u.perplexity);
    compare_number(g, prefix, g->usage.share, u.usage);
}

void golden_graph_run(golden_graph *g, const char *prefix)
{
    ts_error err = {0};
    for (int i = 0; i < g->input_count; i++) {
        const char *path = joined(g, prefix, g->input[i].name);
        ts_tensor t = golden_graph_tensor(g, path);
        if (!ts_shape_equal(t.shape, ts_value_shape(g->input[i].value))) {
            golden_fail(g->bench->c, "%s is %s, expected %s", path, ts_shape_print(t.shape).text,
                        ts_shape_print(ts_value_shape(g->input[i].value)).text);
            return;
        }
        ts_program_set(g->program, g->input[i].value, t.data);
    }
    if (ts_program_run(g->program, &err) != TS_OK)
        golden_fail(g->bench->c, "%s", err.text);
    for (int i = 0; i < g->result_count; i++)
        compare(g, joined(g, prefix, g->result[i].name), golden_graph_read(g, g->result[i].value));
    for (int i = 0; i < g->state_count; i++) {
        const ts_variable *v = ts_store_find(g->bench->store, g->state[i].variable);
        cr_assert_not_null(v, "no variable %s", g->state[i].variable);
        compare(g, joined(g, prefix, g->state[i].name), golden_bench_read(g->bench, v, TS_BLOCK_VALUE));
    }
    compare_usage(g, prefix);
}
