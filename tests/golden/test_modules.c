/* Quantizers by themselves, with groups and layers around them: every case of the golden files that has the form of
 * module.h, the project's own and those among the shared vector quantizers, on every backend. */
#include <criterion/criterion.h>
#include <string.h>

#include "autograd/node.h"
#include "autograd/ops.h"
#include "quant/finite_scalar.h"
#include "quant/latent.h"
#include "quant/lookup_free.h"
#include "quant/random_projection.h"
#include "quant/scalar_perturbation.h"
#include "quant/sim_vq.h"
#include "quant/vector.h"
#include "tests/golden/module.h"
#include "tests/golden/walk.h"

static const char *const devices[] = {"ref", "cpu", "cuda"};
enum { DEVICES = sizeof devices / sizeof *devices };

static void expect_own(const char *file, int64_t least, golden_check check)
{
    for (int i = 0; i < DEVICES; i++)
        golden_expect_own(file, devices[i], least, check);
}

static void expect_shared(const char *const *cases, golden_check check)
{
    for (int i = 0; i < DEVICES; i++)
        golden_expect_shared_cases("vq_lucidrains.h5", devices[i], cases, check);
}

/* ---- finite_scalar ---- */

/* The codes of the first `count` layers, unprojected, from ids [.., layers]. */
static ts_value coarse(ts_scope s, const ts_finite_scalar_options *o, ts_value ids, int64_t count)
{
    float there[TS_MAX_LAYERS] = {0};
    for (int64_t i = 0; i < count; i++)
        there[i] = 1;
    ts_value use = ts_constant(s.graph, TS_F32, ts_shape_of(o->stack.layers), there);
    ts_value left_out = ts_constant(s.graph, TS_I32, ts_shape_of(), &(int32_t){-1});
    return ts_dequantize(&ts_finite_scalar_kind, s, o, ts_where(use, ids, left_out));
}

/* probe/codes [layers, .., D]: what each layer adds to those before it. */
static void expect_layer_codes(golden_graph *g, const void *options, const ts_quantized *q)
{
    ts_finite_scalar_options o = *(const ts_finite_scalar_options *)options;
    ts_value all = TS_ABSENT, before = TS_ABSENT;
    o.stack.dim = 0;
    if (!golden_find(g->bench->c, "probe/codes"))
        return;
    for (int i = 0; i < o.stack.layers; i++) {
        ts_value codes = coarse(g->scope, &o, q->ids, i + 1);
        ts_value own = ts_reshape(i ? ts_subtract(codes, before) : codes, ts_shape_of(1, -1, o.levels.count));
        all = i ? ts_concat((ts_value[]){all, own}, 2, 0) : own;
        before = codes;
    }
    golden_graph_expect(g, all, "probe/codes");
}

/* param/: what upstream derives from the levels. */
static void finite_scalar(golden_case *c, ts_device *device)
{
    golden_module_check(c, device,
                        &(golden_module){.kind = &ts_finite_scalar_kind,
                                         .preset = "bound=symmetric hard_clamp=true",
                                         .more = expect_layer_codes,
                                         .ignored = {"param/scales", "param/soft_clamp_input_value"}});
}

Test(golden_modules, own_finite_scalar)
{
    expect_own("residual_fsq.h5", 10, finite_scalar);
}

Test(golden_modules, shared_finite_scalar)
{
    expect_shared((const char *const[]){"residual_fsq", "residual_fsq_nohard", NULL}, finite_scalar);
}

/* ---- lookup_free ---- */

static void lookup_free(golden_case *c, ts_device *device)
{
    golden_module_check(c, device, &(golden_module){.kind = &ts_lookup_free_kind});
}

Test(golden_modules, own_lookup_free)
{
    expect_own("residual_lfq.h5", 6, lookup_free);
}

/* ---- sim_vq ---- */

static void expect_codebook(golden_graph *g, const void *options, const ts_quantized *q)
{
    ts_value weight = golden_graph_variable(g, "code_transform.weight");
    (void)options;
    if (golden_find(g->bench->c, "out/codebook"))
        golden_graph_expect(g, ts_linear(golden_graph_variable(g, "frozen_codebook"), weight, TS_ABSENT),
                            "out/codebook");
    if (golden_find(g->bench->c, "probe/codes")) /* the value of the code is that of the row, to the last bits */
        golden_graph_expect(g, q->codes, "probe/codes");
}

static void sim_vq(golden_case *c, ts_device *device)
{
    golden_module_check(c, device, &(golden_module){.kind = &ts_sim_vq_kind, .more = expect_codebook});
}

Test(golden_modules, own_sim_vq)
{
    expect_own("sim_vq.h5", 6, sim_vq);
}

Test(golden_modules, shared_sim_vq)
{
    expect_shared((const char *const[]){"simvq", "simvq_ste", "residual_simvq", NULL}, sim_vq);
}

/* ---- the other kinds ---- */

static void latent(golden_case *c, ts_device *device)
{
    golden_module_check(c, device, &(golden_module){.kind = &ts_latent_kind});
}

static void random_projection(golden_case *c, ts_device *device)
{
    golden_module_check(c, device, &(golden_module){.kind = &ts_random_projection_kind});
}

static void scalar_perturbation(golden_case *c, ts_device *device)
{
    golden_module_check(c, device, &(golden_module){.kind = &ts_scalar_perturbation_kind});
}

Test(golden_modules, own_other_kinds)
{
    expect_own("latent.h5", 4, latent);
    expect_own("random_projection.h5", 3, random_projection);
    expect_own("scalar_perturbation.h5", 6, scalar_perturbation);
}

/* ---- the vector kinds ---- */

static void vector(golden_case *c, ts_device *device)
{
    const char *by = golden_text_or(c, "kind", "");
    golden_module m = {.kind = strcmp(by, "gradient") == 0 ? &ts_vector_kind
                               : strcmp(by, "ema") == 0    ? &ts_vector_ema_kind
                                                           : &ts_vector_reset_kind};
    if (m.kind == &ts_vector_reset_kind && strcmp(by, "reset") != 0)
        golden_fail(c, "the kind is not gradient, ema or reset");
    golden_real_or(c, "decay", 0);
    golden_module_check(c, device, &m);
}

Test(golden_modules, own_vector)
{
    expect_own("residual_vq.h5", 12, vector);
}

/* layers.1.codebook -> layers.1._codebook.embed */
static const char *lucidrains_name(golden_case *c, const char *variable)
{
    static const char *const parts[][2] = {{"codebook", "embed"}, {"count", "cluster_size"}, {"sum", "embed_avg"}};
    const char *last = strrchr(variable, '.');
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        if (last && strcmp(last + 1, parts[i][0]) == 0)
            return ts_arena_format(&c->arena, "%.*s._codebook.%s", (int)(last - variable), variable, parts[i][1]);
        else if (!last && strcmp(variable, parts[i][0]) == 0)
            return ts_arena_format(&c->arena, "layers.0._codebook.%s", parts[i][1]);
    return variable;
}

/* With one codebook for all layers upstream moves its averages once for each layer, one after the other; here counts
 * and sums of all layers are one batch's (own cases `_shared`). What comes before the update is the same. */
static void residual_vq(golden_case *c, ts_device *device)
{
    golden_module m = {.kind = &ts_vector_ema_kind,
                       .preset = "averages=lucidrains decay=0.8 commitment=1 rotation=true",
                       .name_of = lucidrains_name,
                       .ignored = {".initted"}};
    if (golden_int_or(c, "shared_codebook", 0)) {
        m.ignored[1] = "layers.1.";
        for (int i = 0; i < c->count; i++)
            if (strncmp(c->tensor[i].path, "after/", 6) == 0) {
                c->tensor[i].path = "upstream's own/";
                c->tensor[i].used = true;
            }
    }
    golden_module_check(c, device, &m);
}

Test(golden_modules, shared_vector)
{
    expect_shared((const char *const[]){"residual_vq", "residual_vq_ste_shared", NULL}, residual_vq);
}

/* ---- the checks are checked ---- */

static bool is_result(const golden_case *c, const char *path)
{
    (void)c;
    return strncmp(path, "in/", 3) != 0 && strncmp(path, "init/", 5) != 0 && !strstr(path, "/in_");
}

Test(golden_modules, every_number_is_compared)
{
    golden_expect_no_blind_spot("residual_fsq.h5", 60, is_result, finite_scalar);
    golden_expect_no_blind_spot("residual_lfq.h5", 36, is_result, lookup_free);
    golden_expect_no_blind_spot("residual_vq.h5", 250, is_result, vector);
    golden_expect_no_blind_spot("sim_vq.h5", 40, is_result, sim_vq);
    golden_expect_no_blind_spot("latent.h5", 40, is_result, latent);
    golden_expect_no_blind_spot("random_projection.h5", 25, is_result, random_projection);
    golden_expect_no_blind_spot("scalar_perturbation.h5", 45, is_result, scalar_perturbation);
}

Test(golden_modules, what_is_not_understood_fails_by_name)
{
    golden_expect_failure(GOLDEN_WALK_OF(sim_vq, GOLDEN_NUMBER("odd/in/x", 1)), "odd: ");
    golden_expect_failure(GOLDEN_WALK_OF(vector, GOLDEN_NUMBER("odd/in/x", 1)), "odd: the kind is not");
}
