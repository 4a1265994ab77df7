/* Every residual quantizer of the golden files, the project's own and those among the shared vector quantizers, on the
 * reference loops and on the CPU kernels. */
#include <criterion/criterion.h>
#include <string.h>

#include "autograd/differentiate.h"
#include "autograd/node.h"
#include "autograd/ops.h"
#include "quant/residual_finite_scalar.h"
#include "quant/residual_vector.h"
#include "tests/golden/bench.h"
#include "tests/golden/walk.h"
#include "tests/support/shared.h"

static const char *const parameters[] = {"project_in.weight", "project_in.bias", "project_out.weight",
                                         "project_out.bias"};
enum { PARAMETERS = sizeof parameters / sizeof *parameters };

static const char *text_of(golden_case *c, const char *before, const char *name)
{
    const char *text = ts_arena_format(&c->arena, "%s%s", before, name);
    cr_assert_not_null(text);
    return text;
}

static void differentiate(golden_graph *g, ts_value x, ts_value codes)
{
    golden_case *c = g->bench->c;
    ts_value wrt[1 + PARAMETERS] = {x}, gradient[1 + PARAMETERS];
    const char *name[1 + PARAMETERS] = {"grad/x"};
    int count = 1;
    for (int i = 0; i < PARAMETERS; i++) {
        ts_value v = golden_graph_variable(g, parameters[i]);
        if (!ts_present(v))
            continue;
        wrt[count] = v;
        name[count++] = text_of(c, "grad/param/", parameters[i]);
    }
    ts_differentiate(ts_sum_all(ts_mul(codes, golden_graph_input(g, "", "in/r"))), count, wrt, gradient);
    for (int i = 0; i < count; i++)
        golden_graph_expect(g, gradient[i], name[i]);
}

/* How many layers are left in: the draw of the case in the place of the graph's. */
static void use_draw(golden_graph *g)
{
    if (!golden_find(g->bench->c, "in/more"))
        return;
    g->input[g->input_count].name = "in/more";
    g->input[g->input_count++].value = ts_replace_with_input(g->scope.graph, TS_OP_random_index, "in/more");
}

static void training(golden_bench *b, const ts_residual_finite_scalar_options *o)
{
    golden_graph g;
    ts_quantized q = {0};
    float none = 0;
    golden_graph_open(&g, b, TS_TRAIN);
    ts_value x = golden_graph_input(&g, "", "in/x");
    ts_residual_finite_scalar_kind.build(g.scope, o, x, &q);
    use_draw(&g);
    golden_graph_expect(&g, q.codes, "out/quantized");
    golden_graph_expect(&g, q.ids, "out/indices");
    golden_compare(b->c, "out/losses", &(ts_tensor){TS_F32, {0}, &none}, golden_tensor(b->c, "out/losses"), 0, 0);
    differentiate(&g, x, q.codes);
    golden_bench_seal(b);
    for (int i = 0; i < PARAMETERS; i++)
        if (ts_present(golden_graph_variable(&g, parameters[i])))
            golden_bench_load(b, parameters[i], text_of(b->c, "init/", parameters[i]));
    if (golden_graph_plan(&g))
        golden_graph_run(&g, "");
    golden_graph_close(&g);
}

/* The codes of the first `count` layers, from ids [.., layers] of which the others are left out. */
static ts_value coarse(ts_scope s, const ts_residual_finite_scalar_options *o, ts_value ids, int64_t count)
{
    float there[TS_MAX_RESIDUAL_LAYERS] = {0};
    for (int64_t i = 0; i < count; i++)
        there[i] = 1;
    ts_value use = ts_constant(s.graph, TS_F32, ts_shape_of(o->layers), there);
    ts_value left_out = ts_constant(s.graph, TS_I32, ts_shape_of(), &(int32_t){-1});
    return ts_residual_finite_scalar_kind.decode(s, o, ts_where(use, ids, left_out));
}

/* Codes layer by layer [layers, .., D], unprojected: what each adds to those before it. */
static ts_value layer_codes(ts_scope s, const ts_residual_finite_scalar_options *options, ts_value ids)
{
    ts_residual_finite_scalar_options o = *options;
    ts_value all = TS_ABSENT, before = TS_ABSENT;
    o.dim = 0;
    for (int i = 0; i < o.layers; i++) {
        ts_value codes = coarse(s, &o, ids, i + 1), own = i ? ts_subtract(codes, before) : codes;
        ts_shape shape = ts_value_shape(own), with_axis = {.rank = shape.rank + 1, .dim = {1}};
        memcpy(with_axis.dim + 1, shape.dim, (size_t)shape.rank * sizeof *shape.dim);
        own = ts_reshape(own, with_axis);
        all = i ? ts_concat((ts_value[]){all, own}, 2, 0) : own;
        before = codes;
    }
    return all;
}

static void decoding(golden_bench *b, const ts_residual_finite_scalar_options *o)
{
    golden_graph g;
    golden_graph_open(&g, b, TS_INFER);
    ts_value ids = golden_graph_input(&g, "", "out/indices");
    golden_graph_expect(&g, ts_residual_finite_scalar_kind.decode(g.scope, o, ids), "probe/output");
    golden_graph_expect(&g, layer_codes(g.scope, o, ids), "probe/codes");
    if (golden_graph_plan(&g))
        golden_graph_run(&g, "");
    golden_graph_close(&g);
}

static void check(golden_case *c, ts_device *device)
{
    golden_bench b;
    const ts_h5_attribute *levels = golden_attribute(c, "levels");
    ts_residual_finite_scalar_options o = {.layers = golden_int(c, "num_quantizers"),
                                           .dim = golden_int_or(c, "dim", 0),
                                           .hard_clamp = golden_int_or(c, "bound_hard_clamp", 1),
                                           .dropout = golden_int_or(c, "dropout", 0)};
    cr_assert_leq(levels->count, TS_MAX_INTS);
    o.levels.count = (int)levels->count;
    memcpy(o.levels.value, levels->ints, (size_t)levels->count * sizeof *levels->ints);
    if (strcmp(golden_text_or(c, "klass", ""), "ResidualFSQ") != 0)
        golden_fail(c, "the class is not ResidualFSQ");
    if (o.layers < 1) /* not told, which has been noted */
        return;
    golden_find(c, "param/scales"); /* what upstream derives from the levels */
    golden_find(c, "param/soft_clamp_input_value");
    golden_bench_open(&b, c, device);
    training(&b, &o);
    decoding(&b, &o);
    golden_bench_close(&b);
}

Test(golden_residual, own_finite_scalar)
{
    golden_expect_own("residual_fsq.h5", "ref", 8, check);
    golden_expect_own("residual_fsq.h5", "cpu", 8, check);
}

/* ---- vectors: a codebook a layer ---- */

static void *vector_options(golden_case *c, const ts_quantizer_kind *kind)
{
    static const struct {
        const char *option, *attribute;
    } reals[] = {{"commitment", "commitment_cost"}, {"decay", "decay"}};
    ts_error err = {0};
    ts_residual_vector_options *o = ts_arena_alloc(&c->arena, kind->table->struct_bytes);
    cr_assert_not_null(o);
    cr_assert_eq(ts_options_default(kind->table, o, &c->arena, &err), TS_OK, "%s", err.text);
    for (size_t i = 0; i < sizeof reals / sizeof *reals; i++) {
        const ts_option *option = ts_option_find(kind->table, reals[i].option);
        double value = golden_real_or(c, reals[i].attribute, 1);
        if (option)
            memcpy((char *)o + option->offset, &value, sizeof value);
    }
    *(int64_t *)((char *)o + ts_option_find(kind->table, "layers")->offset) = golden_int(c, "num_quantizers");
    *(int64_t *)((char *)o + ts_option_find(kind->table, "codes")->offset) = golden_int(c, "codebook_size");
    *(int64_t *)((char *)o + ts_option_find(kind->table, "dim")->offset) = golden_int(c, "dim");
    return o;
}

static void pass(golden_graph *g, const ts_quantizer_kind *kind, const void *o, ts_quantized *q, int64_t layers)
{
    golden_case *c = g->bench->c;
    ts_value wrt[1 + TS_MAX_RESIDUAL_LAYERS], gradient[1 + TS_MAX_RESIDUAL_LAYERS];
    int count = 1;
    wrt[0] = golden_graph_input(g, "step0/", "in_x");
    kind->build(g->scope, o, wrt[0], q);
    golden_graph_expect(g, q->codes, "quantized");
    golden_graph_expect(g, q->ids, "indices");
    golden_graph_expect(g, ts_quantized_total(q), "loss");
    for (int64_t i = 0; kind == &ts_residual_vector_kind && i < layers; i++)
        wrt[count++] = golden_graph_variable(g, ts_arena_format(&c->arena, "layers.%d.codebook", (int)i));
    ts_value total = ts_sum_all(ts_mul(q->codes, golden_graph_input(g, "step0/", "in_r")));
    ts_differentiate(ts_add(ts_quantized_total(q), total), count, wrt, gradient);
    golden_graph_expect(g, gradient[0], "grad_x");
    for (int i = 1; i < count; i++)
        golden_graph_expect(g, gradient[i], ts_arena_format(&c->arena, "grad/layers.%d.codebook", i - 1));
}

static void update(golden_graph *g, const ts_quantizer_kind *kind, const void *o, const ts_quantized *q)
{
    ts_value statistics[TS_MAX_STATISTICS];
    for (int i = 0; i < q->statistic_count; i++)
        statistics[i] = q->statistics[i].value;
    if (kind->update)
        kind->update(g->scope, o, statistics, TS_ABSENT);
}

static void check_vector(golden_case *c, ts_device *device)
{
    golden_bench b;
    golden_graph g;
    ts_quantized q = {0};
    const char *by = golden_text_or(c, "kind", "");
    const ts_quantizer_kind *kind = strcmp(by, "gradient") == 0 ? &ts_residual_vector_kind
                                    : strcmp(by, "ema") == 0    ? &ts_residual_vector_ema_kind
                                                                : &ts_residual_vector_reset_kind;
    const void *o = vector_options(c, kind);
    if (kind == &ts_residual_vector_reset_kind && strcmp(by, "reset") != 0)
        golden_fail(c, "the kind is not gradient, ema or reset");
    golden_int_or(c, "seed", 0);
    golden_bench_open(&b, c, device);
    golden_graph_open(&g, &b, TS_TRAIN);
    pass(&g, kind, o, &q, golden_int(c, "num_quantizers"));
    golden_bench_seal(&b);
    update(&g, kind, o, &q);
    for (int i = 0; i < ts_store_count(b.store); i++) {
        const char *path = ts_store_at(b.store, i)->path;
        if (kind->update)
            golden_graph_expect_state(&g, path, text_of(c, "after/", path));
        golden_bench_load(&b, path, text_of(c, "init/", path));
    }
    if (golden_graph_plan(&g))
        for (int step = 0; step < 3; step++)
            golden_graph_run(&g, ts_arena_format(&c->arena, "step%d/", step));
    golden_graph_close(&g);
    golden_bench_close(&b);
}

Test(golden_residual, own_vector)
{
    golden_expect_own("residual_vq.h5", "ref", 5, check_vector);
    golden_expect_own("residual_vq.h5", "cpu", 5, check_vector);
}

/* A variable from a tensor that has an axis of 1 more. */
static void load_state(golden_bench *b, int layer, const char *variable, const char *tensor)
{
    golden_case *c = b->c;
    const char *path = ts_arena_format(&c->arena, "init/layers.%d._codebook.%s", layer, tensor);
    const ts_variable *v = ts_store_find(b->store, ts_arena_format(&c->arena, "layers.%d.%s", layer, variable));
    cr_assert_not_null(v);
    cr_assert_eq(ts_shape_count(golden_tensor(c, path)->shape), ts_shape_count(v->type.shape));
    ts_store_set(b->store, v, TS_BLOCK_VALUE, golden_tensor(c, path)->data);
}

static const char *const state[][2] = {{"codebook", "embed"}, {"count", "cluster_size"}, {"sum", "embed_avg"}};

/* With a codebook for each layer what it becomes is compared, too. With one for all, of which a forward pass knows
 * nothing, every layer here has a copy, and what becomes of it is another matter. */
static void states(golden_graph *g, bool shared, int64_t layers)
{
    golden_case *c = g->bench->c;
    for (int i = 0; i < layers; i++)
        for (int k = 0; k < 3; k++) {
            const char *after = ts_arena_format(&c->arena, "after/layers.%d._codebook.%s", i, state[k][1]);
            load_state(g->bench, i, state[k][0], state[k][1]);
            if (shared)
                golden_tensor(c, after);
            else
                golden_graph_expect_state(g, ts_arena_format(&c->arena, "layers.%d.%s", i, state[k][0]), after);
            golden_tensor(c, ts_arena_format(&c->arena, "init/layers.%d._codebook.initted", i));
            golden_tensor(c, ts_arena_format(&c->arena, "after/layers.%d._codebook.initted", i));
        }
}

/* The losses of all layers against their sum. */
static void compare_losses(golden_graph *g, ts_value loss)
{
    golden_case *c = g->bench->c;
    const ts_tensor *losses = golden_tensor(c, "out/losses");
    ts_tensor found = golden_graph_read(g, loss);
    float sum = 0;
    for (int64_t i = 0; i < ts_shape_count(losses->shape); i++)
        sum += ((const float *)losses->data)[i];
    golden_compare(c, "out/losses", &found, &(ts_tensor){TS_F32, {0}, &sum}, 1e-5, 1);
}

static void check_lucidrains(golden_case *c, ts_device *device)
{
    golden_bench b;
    golden_graph g;
    ts_quantized q = {0};
    ts_residual_vector_ema_options *o = vector_options(c, &ts_residual_vector_ema_kind);
    bool shared = golden_int_or(c, "shared_codebook", 0);
    o->layer.averages = TS_AVERAGES_LUCIDRAINS;
    o->layer.decay = 0.8;
    o->layer.rotation = golden_int_or(c, "rotation_trick", 1);
    if (strcmp(golden_text_or(c, "klass", ""), "ResidualVQ") != 0)
        golden_fail(c, "the class is not ResidualVQ");
    golden_bench_open(&b, c, device);
    golden_graph_open(&g, &b, TS_TRAIN);
    ts_value x = golden_graph_input(&g, "", "in/x"), gradient;
    ts_residual_vector_ema_kind.build(g.scope, o, x, &q);
    golden_graph_expect(&g, q.codes, "out/quantized");
    golden_graph_expect(&g, q.ids, "out/indices");
    ts_value loss = ts_quantized_total(&q);
    ts_output(loss, "loss");
    ts_differentiate(ts_add(loss, ts_sum_all(ts_mul(q.codes, golden_graph_input(&g, "", "in/r")))), 1, &x, &gradient);
    golden_graph_expect(&g, gradient, "grad/x");
    golden_bench_seal(&b);
    update(&g, &ts_residual_vector_ema_kind, o, &q);
    states(&g, shared, o->residual.layers);
    if (golden_graph_plan(&g)) {
        golden_graph_run(&g, "");
        compare_losses(&g, loss);
    }
    golden_graph_close(&g);
    golden_bench_close(&b);
}

/* The cases of a file whose name starts so, on one device. */
static int check_named(const char *path, const char *start, const char *name, golden_check check_case)
{
    ts_error err = {0};
    ts_device *device;
    golden_file file;
    golden_case *c = ts_alloc(sizeof *c);
    int checked = 0;
    cr_assert_eq(ts_device_open(name, 2, &device, &err), TS_OK, "%s", err.text);
    golden_file_open(&file, path);
    for (int64_t i = 0; c && i < file.cases.count; i++) {
        if (strncmp(file.cases.entry[i].name, start, strlen(start)) != 0)
            continue;
        golden_case_open(c, &file, i);
        check_case(c, device);
        cr_expect(golden_case_close(c), "%s, %s: %s", name, file.cases.entry[i].name, c->failure);
        checked++;
    }
    golden_file_close(&file);
    ts_free(c);
    ts_device_close(device);
    return checked;
}

Test(golden_residual, shared)
{
    const char *path = shared_path("golden/vq_lucidrains.h5");
    if (!path) {
        skip_counted("no such golden file in the shared folder");
        return;
    }
    cr_assert_eq(check_named(path, "residual_fsq", "ref", check), 2);
    cr_assert_eq(check_named(path, "residual_fsq", "cpu", check), 2);
    cr_assert_eq(check_named(path, "residual_vq", "ref", check_lucidrains), 2);
    cr_assert_eq(check_named(path, "residual_vq", "cpu", check_lucidrains), 2);
}

static bool is_result(const golden_case *c, const char *path)
{
    (void)c;
    return strncmp(path, "in/", 3) != 0 && strncmp(path, "init/", 5) != 0 && !strstr(path, "/in_");
}

Test(golden_residual, every_number_is_compared)
{
    golden_expect_no_blind_spot("residual_fsq.h5", 52, is_result, check);
    golden_expect_no_blind_spot("residual_vq.h5", 100, is_result, check_vector);
}

Test(golden_residual, what_is_not_understood_fails_by_name)
{
    golden_expect_failure(GOLDEN_WALK_OF(check, GOLDEN_NUMBER("odd/in/x", 1)), "odd: attribute levels is missing");
}
