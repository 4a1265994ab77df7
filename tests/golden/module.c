#include "tests/golden/module.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "autograd/differentiate.h"
#include "autograd/ops.h"

/* ---- options ---- */

static void set_option(golden_case *c, const ts_option *option, const char *text, void *options)
{
    ts_error err = {0};
    if (ts_option_parse(option, text, options, &c->arena, &err) != TS_OK)
        golden_fail(c, "%s", err.text);
}

static void set_preset(golden_case *c, const golden_module *m, void *options)
{
    char copy[256];
    snprintf(copy, sizeof copy, "%s", m->preset ? m->preset : "");
    for (char *rest = NULL, *pair = strtok_r(copy, " ", &rest); pair; pair = strtok_r(NULL, " ", &rest)) {
        char *equals = strchr(pair, '=');
        cr_assert_not_null(equals);
        *equals = '\0';
        const ts_option *option = ts_option_find(m->kind->table, pair);
        cr_assert_not_null(option, "%s has no %s", m->kind->name, pair);
        set_option(c, option, equals + 1, options);
    }
}

/* As it would be typed. */
static const char *text_of(golden_case *c, const ts_h5_attribute *a, const ts_option *option)
{
    if (a->kind == TS_H5_TEXT)
        return a->texts[0];
    if (option->type == TS_OPTION_BOOL)
        return a->ints[0] ? "true" : "false";
    if (option->type == TS_OPTION_REAL)
        return ts_arena_format(&c->arena, "%.17g", a->reals[0]);
    const char *text = "";
    for (int64_t i = 0; i < a->count; i++)
        text = ts_arena_format(&c->arena, "%s%s%lld", text, i ? "," : "", (long long)a->ints[i]);
    return text;
}

/* lucidrains calls a codebook's size so in every class. */
static const ts_option *option_of(const ts_option_table *table, const char *name)
{
    const ts_option *option = ts_option_find(table, name);
    if (option && option->alias_choices && strcmp(option->name, name) != 0)
        return NULL;
    return option || strcmp(name, "codebook_size") != 0 ? option : ts_option_find(table, "codes");
}

void *golden_module_options(golden_case *c, const golden_module *m)
{
    ts_error err = {0};
    void *options = ts_arena_alloc(&c->arena, m->kind->table->struct_bytes);
    cr_assert_not_null(options);
    cr_assert_eq(ts_options_default(m->kind->table, options, &c->arena, &err), TS_OK, "%s", err.text);
    set_preset(c, m, options);
    for (int64_t i = 0; i < c->attributes.count; i++) {
        const ts_h5_attribute *a = &c->attributes.attribute[i];
        const ts_option *option = option_of(m->kind->table, a->name);
        if (!option)
            continue;
        if (a->kind == TS_H5_TEXT)
            golden_text_or(c, a->name, "");
        else
            golden_attribute(c, a->name);
        set_option(c, option, text_of(c, a, option), options);
    }
    return options;
}

/* ---- the training graph ---- */

/* What the file calls things: of one pass, or of three steps. */
typedef struct {
    const char *first; /* prefix of the first run */
    const char *x, *r, *quantized, *indices, *losses, *dx, *gradient, *after;
    int runs;
} names;
static const names one_pass = {"",           "in/x",   "in/r",        "out/quantized", "out/indices",
                               "out/losses", "grad/x", "grad/param/", "after/",        1};
static const names three_steps = {"step0/", "in_x",   "in_r",  "quantized", "indices",
                                  "loss",   "grad_x", "grad/", "after/",    3};

static const char *tensor_of(golden_case *c, const golden_module *m, const char *before, const char *variable)
{
    const char *name = m->name_of ? m->name_of(c, variable) : variable;
    return ts_arena_format(&c->arena, "%s%s", before, name);
}

static bool has(golden_case *c, const names *n, const char *tensor)
{
    return golden_find(c, ts_arena_format(&c->arena, "%s%s", n->first, tensor)) != NULL;
}

/* Recorded draws, in the order in which the graph draws them. */
static void use_draws(golden_graph *g)
{
    static const struct {
        const char *name;
        ts_op op;
    } draws[] = {{"in/more", TS_OP_random_index}, {"in/hit", TS_OP_random_uniform}, {"in/noise", TS_OP_random_uniform}};
    for (size_t i = 0; i < sizeof draws / sizeof *draws; i++) {
        if (!golden_find(g->bench->c, draws[i].name))
            continue;
        g->input[g->input_count].name = draws[i].name;
        g->input[g->input_count++].value = ts_replace_with_input(g->scope.graph, draws[i].op, draws[i].name);
    }
}

/* Of x and of every parameter that the file has a gradient of. */
static void differentiate(golden_graph *g, const golden_module *m, const names *n, ts_value x, const ts_quantized *q)
{
    golden_case *c = g->bench->c;
    ts_value wrt[GOLDEN_MAX_VALUES] = {x}, gradient[GOLDEN_MAX_VALUES];
    const char *name[GOLDEN_MAX_VALUES] = {n->dx};
    int count = 1;
    for (int i = 0; i < ts_store_count(g->bench->store); i++) {
        const ts_variable *v = ts_store_at(g->bench->store, i);
        const char *tensor = tensor_of(c, m, n->gradient, v->path);
        if (v->role == TS_ROLE_STATE || !has(c, n, tensor))
            continue;
        wrt[count] = golden_graph_variable(g, v->path);
        name[count++] = tensor;
    }
    ts_value total = ts_sum_all(ts_mul(q->codes, golden_graph_input(g, n->first, n->r)));
    if (q->loss_count)
        total = ts_add(total, ts_quantized_total(q));
    ts_differentiate(total, count, wrt, gradient);
    for (int i = 0; i < count; i++)
        golden_graph_expect(g, gradient[i], name[i]);
}

static void update(golden_graph *g, const golden_module *m, const void *options, const ts_quantized *q)
{
    ts_value statistics[TS_MAX_STATISTICS];
    for (int i = 0; i < q->statistic_count; i++)
        statistics[i] = q->statistics[i].value;
    ts_quantizer_update(m->kind, g->scope, options, statistics, q->statistic_count, TS_ABSENT);
}

/* Every variable from its tensor, which may have axes of 1 more; and what becomes of it, where the file says. */
static void load(golden_graph *g, const golden_module *m, const names *n)
{
    golden_case *c = g->bench->c;
    for (int i = 0; i < ts_store_count(g->bench->store); i++) {
        const ts_variable *v = ts_store_at(g->bench->store, i);
        const char *before = tensor_of(c, m, "init/", v->path), *after = tensor_of(c, m, n->after, v->path);
        const ts_tensor *t = golden_tensor(c, before);
        if (ts_shape_count(t->shape) != ts_shape_count(v->type.shape))
            golden_fail(c, "%s is %s, expected %s", before, ts_shape_print(t->shape).text,
                        ts_shape_print(v->type.shape).text);
        else
            ts_store_set(g->bench->store, v, TS_BLOCK_VALUE, t->data);
        if (has(c, n, after))
            golden_graph_expect_state(g, v->path, after);
    }
}

/* The file's losses may be one for each layer: their sum is ours. */
static void compare_losses(golden_graph *g, ts_value loss, const char *path)
{
    golden_case *c = g->bench->c;
    float sum = 0, none = 0;
    const ts_tensor *losses = golden_tensor(c, path);
    for (int64_t i = 0; i < ts_shape_count(losses->shape); i++)
        sum += ((const float *)losses->data)[i];
    ts_tensor found = loss.graph ? golden_graph_read(g, loss) : (ts_tensor){TS_F32, {0}, &none};
    golden_compare(c, path, &found, &(ts_tensor){TS_F32, {0}, &sum}, g->tolerance, g->floor);
}

static void run(golden_graph *g, const names *n, ts_value loss)
{
    golden_case *c = g->bench->c;
    for (int step = 0; step < n->runs; step++) {
        const char *prefix = n->runs > 1 ? ts_arena_format(&c->arena, "step%d/", step) : "";
        golden_graph_run(g, prefix);
        compare_losses(g, loss, ts_arena_format(&c->arena, "%s%s", prefix, n->losses));
    }
}

/* Returns whether the graph could be built. */
static bool training(golden_bench *b, const golden_module *m, const void *options)
{
    golden_graph g;
    ts_quantized q = {0};
    const names *n = golden_find(b->c, "step0/in_x") ? &three_steps : &one_pass;
    golden_graph_open(&g, b, TS_TRAIN);
    if (golden_find(b->c, "in/mask"))
        g.scope.mask = golden_graph_input(&g, "", "in/mask");
    ts_value x = golden_graph_input(&g, n->first, n->x);
    ts_quantize(m->kind, g.scope, options, x, &q);
    if (!ts_present(q.codes)) {
        ts_error err = {0};
        ts_graph_check(g.scope.graph, &err);
        golden_fail(b->c, "%s", err.text);
        golden_graph_close(&g);
        return false;
    }
    use_draws(&g);
    golden_graph_expect(&g, q.codes, n->quantized);
    golden_graph_expect(&g, q.ids, n->indices);
    differentiate(&g, m, n, x, &q);
    if (m->more)
        m->more(&g, options, &q);
    ts_value loss = ts_quantized_total(&q);
    if (loss.graph)
        ts_output(loss, "loss");
    golden_bench_seal(b);
    update(&g, m, options, &q);
    load(&g, m, n);
    if (golden_graph_plan(&g))
        run(&g, n, loss);
    golden_graph_close(&g);
    return true;
}

/* ---- other graphs over the same store ---- */

static void evaluation(golden_bench *b, const golden_module *m, const void *options)
{
    golden_graph g;
    ts_quantized q = {0};
    if (!golden_find(b->c, "eval/quantized"))
        return;
    golden_graph_open(&g, b, TS_EVAL);
    ts_quantize(m->kind, g.scope, options, golden_graph_input(&g, "", "in/x"), &q);
    golden_graph_expect(&g, q.codes, "eval/quantized");
    golden_graph_expect(&g, q.ids, "eval/indices");
    if (golden_graph_plan(&g))
        golden_graph_run(&g, "");
    golden_graph_close(&g);
}

static void decoding(golden_bench *b, const golden_module *m, const void *options)
{
    golden_graph g;
    if (!golden_find(b->c, "probe/output"))
        return;
    golden_graph_open(&g, b, TS_INFER);
    ts_value ids = golden_graph_input(&g, "", "out/indices");
    ts_shape tokens = golden_tensor(b->c, "in/x")->shape;
    tokens.dim[tokens.rank - 1] = -1;
    golden_graph_expect(&g, ts_dequantize(m->kind, g.scope, options, ts_reshape(ids, tokens)), "probe/output");
    if (golden_graph_plan(&g))
        golden_graph_run(&g, "");
    golden_graph_close(&g);
}

static void ignore(golden_case *c, const golden_module *m)
{
    for (int i = 0; i < c->count; i++)
        for (int k = 0; k < GOLDEN_MAX_IGNORED && m->ignored[k]; k++)
            if (strstr(c->tensor[i].path, m->ignored[k]))
                golden_find(c, c->tensor[i].path);
    golden_text_or(c, "klass", "");
    golden_int_or(c, "seed", 0);
}

void golden_module_check(golden_case *c, ts_device *device, const golden_module *m)
{
    golden_bench b;
    ts_error err = {0};
    ts_quantizer_info info;
    const void *options = golden_module_options(c, m);
    ignore(c, m);
    if (ts_quantizer_describe(m->kind, options, &info, &err) != TS_OK) {
        golden_fail(c, "%s", err.text);
        return;
    }
    golden_bench_open(&b, c, device);
    if (training(&b, m, options)) {
        evaluation(&b, m, options);
        decoding(&b, m, options);
    }
    golden_bench_close(&b);
}
