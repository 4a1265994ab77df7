/* Every residual quantizer of the golden files, the project's own and those among the shared vector quantizers, on the
 * reference loops and on the CPU kernels. */
#include <criterion/criterion.h>
#include <string.h>

#include "autograd/differentiate.h"
#include "autograd/node.h"
#include "autograd/ops.h"
#include "quant/residual_finite_scalar.h"
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
    ts_quantized q;
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

/* The cases of a file whose name starts so, on one device. */
static int check_named(const char *path, const char *start, const char *name)
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
        check(c, device);
        cr_expect(golden_case_close(c), "%s, %s: %s", name, file.cases.entry[i].name, c->failure);
        checked++;
    }
    golden_file_close(&file);
    ts_free(c);
    ts_device_close(device);
    return checked;
}

Test(golden_residual, shared_finite_scalar)
{
    const char *path = shared_path("golden/vq_lucidrains.h5");
    if (!path) {
        skip_counted("no such golden file in the shared folder");
        return;
    }
    cr_assert_eq(check_named(path, "residual_fsq", "ref"), 2);
    cr_assert_eq(check_named(path, "residual_fsq", "cpu"), 2);
}

static bool is_result(const golden_case *c, const char *path)
{
    (void)c;
    return strncmp(path, "in/", 3) != 0 && strncmp(path, "init/", 5) != 0;
}

Test(golden_residual, every_number_is_compared)
{
    golden_expect_no_blind_spot("residual_fsq.h5", 52, is_result, check);
}

Test(golden_residual, what_is_not_understood_fails_by_name)
{
    golden_expect_failure(GOLDEN_WALK_OF(check, GOLDEN_NUMBER("odd/in/x", 1)), "odd: attribute levels is missing");
}
