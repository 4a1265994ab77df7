/* Every case of the finite scalar golden files, the project's own and the shared ones, on the reference loops and on
 * the CPU kernels. */
#include <criterion/criterion.h>
#include <string.h>

#define TS_FSQ_REAL float
#include "autograd/differentiate.h"
#include "autograd/elementwise.h"
#include "autograd/reduce.h"
#include "core/fsq.h"
#include "quant/finite_scalar.h"
#include "tests/golden/bench.h"
#include "tests/golden/walk.h"

typedef struct {
    golden_case *c;
    ts_device *device;
    ts_finite_scalar_options options;
    bool decode_channel_first; /* upstream's indices_to_codes */
    double epsilon;            /* of the perplexity */
} fsq_case;

static fsq_case fsq_case_of(golden_case *c, ts_device *device)
{
    fsq_case f = {.c = c, .device = device};
    ts_error err = {0};
    const ts_option_table *table = ts_finite_scalar_kind.table;
    cr_assert_eq(ts_options_default(table, &f.options, &c->arena, &err), TS_OK, "%s", err.text);
    const ts_h5_attribute *levels = golden_attribute(c, "levels");
    f.options.levels.count = (int)levels->count;
    cr_assert_leq(levels->count, TS_MAX_INTS);
    memcpy(f.options.levels.value, levels->ints, (size_t)levels->count * sizeof *levels->ints);
    f.options.codebooks = golden_int_or(c, "num_codebooks", 1);
    f.options.stack.dim = golden_int_or(c, "dim", 0);
    return f;
}

static void expect_int(golden_case *c, const char *name, int64_t found)
{
    int64_t expected = golden_int_or(c, name, found);
    if (found != expected)
        golden_fail(c, "%s is %lld, expected %lld", name, (long long)found, (long long)expected);
}

/* What the attributes say that options and shapes must agree with. */
static void check_facts(const fsq_case *f)
{
    ts_error err = {0};
    ts_quantizer_info info = {0};
    const ts_finite_scalar_options *o = &f->options;
    if (ts_quantizer_describe(&ts_finite_scalar_kind, o, &info, &err) != TS_OK)
        golden_fail(f->c, "%s", err.text);
    if (o->indices)
        expect_int(f->c, "codebook_size", info.codes);
    else
        expect_int(f->c, "codebook_size", golden_int_or(f->c, "codebook_size", -1) < 0 ? -1 : info.codes);
    expect_int(f->c, "codebook_dim", o->levels.count);
    expect_int(f->c, "has_projections", info.width != o->codebooks * o->levels.count);
    golden_int_or(f->c, "seed", 0);
    if (ts_h5_attribute_find(&f->c->attributes, "shape")) {
        const ts_h5_attribute *a = golden_attribute(f->c, "shape");
        if (!ts_shape_equal(ts_shape_from((int)a->count, a->ints), golden_tensor(f->c, "in/z")->shape))
            golden_fail(f->c, "the attribute shape is not in/z's");
    }
}

/* The parameters that the forward graph opened: gradients are asked for, values come from the case. */
typedef struct {
    const char *variable, *tensor, *gradient;
} parameter;
static const parameter parameters[] = {
    {"project_in.weight", "param/project_in.weight", "grad/param/project_in.weight"},
    {"project_in.bias", "param/project_in.bias", "grad/param/project_in.bias"},
    {"project_out.weight", "param/project_out.weight", "grad/param/project_out.weight"},
    {"project_out.bias", "param/project_out.bias", "grad/param/project_out.bias"},
    {"rotation", "param/orthogonal_rot", NULL},
};
enum { PARAMETERS = sizeof parameters / sizeof *parameters };

static void differentiate(golden_graph *g, ts_value z, ts_value codes)
{
    ts_value wrt[1 + PARAMETERS] = {z}, gradient[1 + PARAMETERS];
    const char *name[1 + PARAMETERS] = {"grad/z"};
    int count = 1;
    for (int i = 0; i < PARAMETERS; i++) {
        ts_value v = golden_graph_variable(g, parameters[i].variable);
        if (!ts_present(v) || !parameters[i].gradient)
            continue;
        wrt[count] = v;
        name[count++] = parameters[i].gradient;
    }
    if (golden_find(g->bench->c, "in/r"))
        codes = ts_mul(codes, golden_graph_input(g, "", "in/r"));
    ts_differentiate(ts_sum_all(codes), count, wrt, gradient);
    for (int i = 0; i < count; i++)
        golden_graph_expect(g, gradient[i], name[i]);
}

static void load(golden_graph *g)
{
    golden_bench_seal(g->bench);
    for (int i = 0; i < PARAMETERS; i++)
        if (ts_present(golden_graph_variable(g, parameters[i].variable)))
            golden_bench_load(g->bench, parameters[i].variable, parameters[i].tensor);
}

/* Of out/indices, ours or upstream's: where upstream's are wrong (levels above 25, cut floats) ours are
 * out/indices_exact, and its perplexity is that of its own. */
static void expect_ids(golden_graph *g, const fsq_case *f, ts_value ids, int64_t codes)
{
    bool cut = golden_find(f->c, "out/indices_exact");
    golden_graph_expect(g, ids, cut ? "out/indices_exact" : "out/indices");
    if (golden_find(f->c, "out/perplexity"))
        golden_graph_expect_usage(g, cut ? golden_graph_input(g, "", "out/indices") : ids, codes, f->epsilon,
                                  "out/perplexity", "out/activate");
}

static void forward(golden_bench *b, const fsq_case *f, int64_t codes)
{
    golden_graph g;
    golden_graph_open(&g, b, TS_TRAIN);
    ts_value z = golden_graph_input(&g, "", "in/z");
    ts_finite_scalar_result r = ts_finite_scalar(g.scope, z, &f->options);
    golden_graph_expect(&g, r.codes, "out/out");
    if (f->options.indices)
        expect_ids(&g, f, r.ids, codes);
    else if (r.ids.graph)
        golden_fail(f->c, "there are ids, although none were asked for");
    differentiate(&g, z, r.codes);
    load(&g);
    if (golden_graph_plan(&g))
        golden_graph_run(&g, "");
    golden_graph_close(&g);
}

static void expect_implicit_codebook(golden_graph *g, const fsq_case *f, int64_t codes)
{
    int32_t *all = ts_arena_alloc(&f->c->arena, (size_t)codes * sizeof *all);
    cr_assert_not_null(all);
    for (int64_t i = 0; i < codes; i++)
        all[i] = (int32_t)i;
    ts_value ids = ts_constant(g->scope.graph, TS_I32, ts_shape_of(codes), all);
    golden_graph_expect(g, ts_finite_scalar_grid(ids, &f->options), "out/implicit_codebook");
}

/* What is asked of the quantizer beside the forward pass: from the ids of the file. */
static void probes(golden_bench *b, const fsq_case *f, int64_t codes)
{
    golden_graph g;
    ts_finite_scalar_options o = f->options;
    golden_graph_open(&g, b, TS_INFER);
    const char *name = golden_find(f->c, "probe/indices") ? "probe/indices" : "out/indices";
    ts_value ids = golden_graph_input(&g, "", name), grid = ts_finite_scalar_grid(ids, &o);
    golden_graph_expect(&g, ts_finite_scalar_ids(grid, &o), name);
    golden_graph_expect(&g, ts_finite_scalar_levels(ids, &o), "probe/level_indices");
    if (golden_find(f->c, "probe/dequantize")) {
        o.channel_first = false;
        bool merged = o.codebooks == 1;
        golden_graph_expect(&g, merged ? ts_finite_scalar_codes(g.scope, ids, &o) : grid, "probe/dequantize");
    }
    if (golden_find(f->c, "out/implicit_codebook"))
        expect_implicit_codebook(&g, f, codes);
    if (golden_graph_plan(&g))
        golden_graph_run(&g, "");
    golden_graph_close(&g);
}

static void decode(golden_bench *b, const fsq_case *f)
{
    golden_graph g;
    ts_finite_scalar_options o = f->options;
    golden_graph_open(&g, b, TS_INFER);
    o.channel_first = f->decode_channel_first;
    const char *name = golden_find(f->c, "probe/indices") ? "probe/indices" : "out/indices";
    ts_value ids = golden_graph_input(&g, "", name);
    golden_graph_expect(&g, ts_finite_scalar_codes(g.scope, ids, &o), "probe/indices_to_codes");
    if (golden_graph_plan(&g))
        golden_graph_run(&g, "");
    golden_graph_close(&g);
}

/* Element i of a row [.., D] of z, which is [.., D] or [1, D, n]. */
static float scalar_at(const fsq_case *f, const ts_tensor *z, int64_t row, int64_t i)
{
    int64_t D = f->options.levels.count, n = ts_shape_count(z->shape) / D;
    return ((const float *)z->data)[f->options.channel_first ? i * n + row : row * D + i];
}

/* out/bounded [.., D], the bounded numbers before they are rounded: the arithmetic of core/fsq.h. */
static void check_bounded(const fsq_case *f)
{
    const ts_tensor *z = golden_tensor(f->c, "in/z"), *expected = golden_tensor(f->c, "out/bounded");
    ts_error err = {0};
    ts_fsq_table t;
    ts_fsq_opts opts = {
        .count = f->options.levels.count, .bound = f->options.bound, .hard_clamp = f->options.hard_clamp};
    for (int i = 0; i < opts.count; i++)
        opts.level[i] = (int32_t)f->options.levels.value[i];
    cr_assert_eq(ts_fsq_table_init(&t, &opts, &err), TS_OK, "%s", err.text);
    int64_t n = ts_shape_count(z->shape);
    float *found = ts_arena_alloc(&f->c->arena, (size_t)n * sizeof *found);
    cr_assert_not_null(found);
    for (int64_t k = 0; k < n; k++) {
        int i = (int)(k % opts.count);
        float x = ts_fsq_squash(&t, i, scalar_at(f, z, k / opts.count, i));
        found[k] = t.symmetric ? t.width[i] * (x + 1) : t.width[i] * x - t.offset[i];
    }
    golden_compare(f->c, "out/bounded", &(ts_tensor){TS_F32, z->shape, found}, expected, 1e-5, 1);
}

static void check(const fsq_case *f)
{
    golden_bench b;
    int64_t codes = 1;
    for (int i = 0; i < f->options.levels.count; i++)
        codes *= f->options.levels.value[i];
    check_facts(f);
    golden_bench_open(&b, f->c, f->device);
    forward(&b, f, codes);
    if (golden_find(f->c, "probe/level_indices"))
        probes(&b, f, codes);
    if (golden_find(f->c, "probe/indices_to_codes"))
        decode(&b, f);
    if (golden_find(f->c, "out/bounded"))
        check_bounded(f);
    golden_bench_close(&b);
}

/* Channels first, always; but indices_to_codes gives sequences channels last. There is no loss. */
static void motionmillion(golden_case *c, ts_device *device)
{
    fsq_case f = fsq_case_of(c, device);
    float none = 0;
    f.options.stack.projection_bias = golden_int_or(c, "bias", 1);
    f.options.channel_first = true;
    f.decode_channel_first = golden_tensor(c, "in/z")->shape.rank > 3;
    f.epsilon = 1e-7;
    if (golden_find(c, "out/commit_loss"))
        golden_compare(c, "out/commit_loss", &(ts_tensor){TS_F32, {0}, &none}, golden_tensor(c, "out/commit_loss"), 0,
                       0);
    bool decodes = f.options.codebooks == 1 || !golden_int_or(c, "has_projections", 0);
    expect_int(c, "dequantize_ok", decodes);
    golden_text_or(c, "dequantize_error", "");
    check(&f);
}

/* Sequences are channels last unless channel_first says so, more axes are channels first. */
static void lucidrains(golden_case *c, ts_device *device)
{
    fsq_case f = fsq_case_of(c, device);
    f.options.stack.projection_bias = golden_int_or(c, "projection_has_bias", 1);
    f.options.bound = golden_int_or(c, "preserve_symmetry", 0) ? TS_FSQ_SYMMETRIC : TS_FSQ_LUCIDRAINS;
    f.options.hard_clamp = golden_int_or(c, "bound_hard_clamp", 0);
    f.options.rotation = golden_int_or(c, "orthogonal_rotation", 0);
    f.options.indices = golden_int_or(c, "return_indices", 1);
    f.options.channel_first = golden_int_or(c, "channel_first", 0) || golden_tensor(c, "in/z")->shape.rank > 3;
    f.decode_channel_first = f.options.channel_first;
    check(&f);
}

/* Rows [n, D] under each of the bounds, by the names that the option has. */
static void bounds(golden_case *c, ts_device *device)
{
    fsq_case f = fsq_case_of(c, device);
    ts_error err = {0};
    const ts_option *bound = ts_option_find(ts_finite_scalar_kind.table, "bound");
    if (ts_option_parse(bound, golden_text_or(c, "bound", ""), &f.options, &c->arena, &err) != TS_OK)
        golden_fail(c, "%s", err.text);
    f.options.hard_clamp = golden_int(c, "hard");
    check(&f);
}

Test(golden_fsq, own_motionmillion)
{
    golden_expect_own("fsq_motionmillion.h5", "ref", 10, motionmillion);
    golden_expect_own("fsq_motionmillion.h5", "cpu", 10, motionmillion);
}

Test(golden_fsq, own_lucidrains)
{
    golden_expect_own("fsq_lucidrains.h5", "ref", 10, lucidrains);
    golden_expect_own("fsq_lucidrains.h5", "cpu", 10, lucidrains);
}

Test(golden_fsq, own_bounds)
{
    golden_expect_own("fsq_bounds.h5", "ref", 19, bounds);
    golden_expect_own("fsq_bounds.h5", "cpu", 19, bounds);
}

Test(golden_fsq, shared_motionmillion)
{
    golden_expect_shared("fsq_motionmillion.h5", "ref", 11, motionmillion);
    golden_expect_shared("fsq_motionmillion.h5", "cpu", 11, motionmillion);
}

Test(golden_fsq, shared_lucidrains)
{
    golden_expect_shared("fsq_lucidrains.h5", "ref", 10, lucidrains);
    golden_expect_shared("fsq_lucidrains.h5", "cpu", 10, lucidrains);
}

static bool is_result(const golden_case *c, const char *path)
{
    (void)c;
    return strncmp(path, "in/", 3) != 0 && strncmp(path, "param/", 6) != 0;
}

Test(golden_fsq, every_number_is_compared)
{
    golden_expect_no_blind_spot("fsq_motionmillion.h5", 80, is_result, motionmillion);
    golden_expect_no_blind_spot("fsq_lucidrains.h5", 60, is_result, lucidrains);
    golden_expect_no_blind_spot("fsq_bounds.h5", 114, is_result, bounds);
}

Test(golden_fsq, what_is_not_understood_fails_by_name)
{
    golden_expect_failure(GOLDEN_WALK_OF(lucidrains, GOLDEN_NUMBER("odd/in/z", 1)), "odd: attribute levels is missing");
    golden_expect_failure(GOLDEN_WALK_OF(bounds, GOLDEN_NUMBER("odd/in/z", 1)), "odd: attribute levels is missing");
}

Test(golden_fsq, own_on_cuda)
{
    golden_expect_own("fsq_motionmillion.h5", "cuda", 10, motionmillion);
    golden_expect_own("fsq_lucidrains.h5", "cuda", 10, lucidrains);
    golden_expect_own("fsq_bounds.h5", "cuda", 19, bounds);
}

Test(golden_fsq, shared_on_cuda)
{
    golden_expect_shared("fsq_motionmillion.h5", "cuda", 11, motionmillion);
    golden_expect_shared("fsq_lucidrains.h5", "cuda", 10, lucidrains);
}
