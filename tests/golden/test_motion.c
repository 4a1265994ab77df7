/* The motion models of T2M-GPT and MotionMillion: the same weights in, three steps of AdamW; what encoder, quantizer
 * and decoder give, losses, every gradient of the first step, every parameter afterwards, and the codebook. Then the
 * model as it is by then, in evaluation, and tokens decoded. And the patcher by itself. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "autograd/differentiate.h"
#include "autograd/ops.h"
#include "layers/patch.h"
#include "models/motion_conv.h"
#include "models/motion_loss.h"
#include "models/published_names.h"
#include "models/tokenizer.h"
#include "quant/finite_scalar.h"
#include "quant/vector.h"
#include "tests/golden/steps.h"
#include "tests/golden/walk.h"

typedef struct {
    golden_case *c;
    bool motionmillion;
    bool patcher; /* the published model has one: its layers count one more */
    ts_motion_conv_options model;
    ts_finite_scalar_options scalar;
    ts_vector_options vector;
    ts_vector_reset_options reset;
    ts_tokenizer tokenizer;
    double commit, vel, perplexity_epsilon;
    const char *recon;
    int64_t joints;
    ts_tensor x; /* [steps, B, T, C] */
    golden_bench bench;
    golden_graph graph;
    golden_steps steps;
    ts_value in_x;
} motion_case;

/* ---- names ---- */

static const char *text_of(motion_case *t, const char *format, ...) TS_PRINTF(2, 3);
static const char *text_of(motion_case *t, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    const char *text = ts_arena_vformat(&t->c->arena, format, args);
    va_end(args);
    cr_assert_not_null(text);
    return text;
}

static const char *name_of(motion_case *t, const ts_variable *v)
{
    return ts_published_name(&t->tokenizer, t->patcher ? TS_PUBLISHED_PATCHER : TS_PUBLISHED_PLAIN, v->path,
                             &t->c->arena);
}

/* Counts and sums of codes are plain attributes upstream: they are stored at the start and the end only. */
static const char *quantizer_state(const ts_variable *v)
{
    if (strcmp(v->path, "quantizer.count") == 0)
        return "code_count";
    return strcmp(v->path, "quantizer.sum") == 0 ? "code_sum" : NULL;
}

static const char *path_of(void *user, const ts_variable *v, golden_moment moment, int step)
{
    motion_case *t = user;
    const char *state = quantizer_state(v), *name = name_of(t, v);
    if (moment == GOLDEN_GRADIENT)
        return text_of(t, "step0/grad/%s", name);
    if (moment == GOLDEN_BEFORE)
        return state ? text_of(t, "init/%s", state) : text_of(t, "param/%s", name);
    if (state)
        return step == 2 ? text_of(t, "final/%s", state) : NULL;
    if (v->role == TS_ROLE_STATE)
        return text_of(t, "step%d/buffer_after/%s", step, name);
    return step == 1 ? NULL : text_of(t, "step%d/param_after/%s", step, name);
}

/* ---- attributes ---- */

static int choice_of(golden_case *c, const char *attribute, const char *const *names, const char *text)
{
    for (int i = 0; names[i]; i++)
        if (strcmp(names[i], text) == 0)
            return i;
    golden_fail(c, "%s %s is not understood", attribute, text);
    return 0;
}

static void read_model(motion_case *t)
{
    golden_case *c = t->c;
    static const char *const activations[] = {"relu", "silu", "gelu", NULL};
    const char *norm = golden_text_or(c, "norm", "None");
    t->motionmillion = golden_int_or(c, "causal", -1) >= 0;
    t->patcher = golden_int_or(c, "use_patcher", 0) != 0;
    t->model = (ts_motion_conv_options){.width = golden_int(c, "width"),
                                        .depth = golden_int(c, "depth"),
                                        .dilation_growth = golden_int(c, "dilation_growth_rate"),
                                        .down_t = golden_int(c, "down_t"),
                                        .stride = golden_int(c, "stride_t"),
                                        .kernel = golden_int_or(c, "kernel_size", 3),
                                        .causal = golden_int_or(c, "causal", 0) != 0,
                                        .attention = golden_int_or(c, "use_attn", 0) != 0,
                                        .patch_size = golden_int_or(c, "patch_size", 1)};
    t->model.activation = choice_of(c, "activation", activations, golden_text_or(c, "activation", ""));
    t->model.norm = choice_of(c, "norm", ts_norm_names, strcmp(norm, "None") == 0 ? "none" : norm);
    t->model.patch = choice_of(c, "patch_method", ts_patch_names, golden_text_or(c, "patch_method", "haar"));
}

static ts_int_list levels_of(golden_case *c)
{
    const ts_h5_attribute *a = golden_attribute(c, "levels");
    ts_int_list levels = {.count = (int)a->count};
    for (int i = 0; i < levels.count; i++)
        levels.value[i] = a->ints[i];
    return levels;
}

static void read_quantizer(motion_case *t)
{
    golden_case *c = t->c;
    const char *kind = golden_text_or(c, "quantizer", "");
    int64_t codes = golden_int(c, "nb_code"), dim = golden_int(c, "code_dim");
    double mu = golden_real_or(c, "mu", 0.99);
    bool reset = strcmp(kind, "reset") == 0 || strcmp(kind, "ema_reset") == 0, ema = strncmp(kind, "ema", 3) == 0;
    t->perplexity_epsilon = 1e-7;
    if (strcmp(kind, "FSQ") == 0) {
        t->scalar = (ts_finite_scalar_options){
            .stack = {.dim = dim, .projection_bias = true}, .levels = levels_of(c), .codebooks = 1, .indices = true};
        t->tokenizer.quantizer = &ts_finite_scalar_kind;
        t->tokenizer.quantizer_options = &t->scalar;
    } else if (reset || ema) {
        t->reset = (ts_vector_reset_options){
            .codes = codes, .dim = dim, .commitment = 1, .decay = mu, .ema = ema, .reset = reset, .threshold = 1};
        t->tokenizer.quantizer = &ts_vector_reset_kind;
        t->tokenizer.quantizer_options = &t->reset;
    } else if (strcmp(kind, "orig") == 0) {
        t->vector = (ts_vector_options){.codes = codes, .dim = dim, .commitment = 1, .codebook = 1};
        t->tokenizer.quantizer = &ts_vector_kind;
        t->tokenizer.quantizer_options = &t->vector;
        t->perplexity_epsilon = 1e-10;
    } else
        golden_fail(c, "quantizer %s is not understood", kind);
}

static bool read_attributes(motion_case *t)
{
    golden_case *c = t->c;
    ts_error err = {0};
    read_model(t);
    read_quantizer(t);
    t->commit = golden_real(c, "commit");
    t->vel = golden_real(c, "loss_vel");
    t->recon = golden_text_or(c, "recons_loss", "");
    t->joints = golden_int(c, "nb_joints");
    t->steps.weight_decay = golden_real(c, "weight_decay");
    golden_text_or(c, "dataname", "");
    golden_int_or(c, "seed", 0);
    golden_real_or(c, "rounding_margin0", 0);
    golden_real_or(c, "rounding_margin_all", 0);
    t->x = *golden_tensor(c, "in/x");
    t->tokenizer.model = &ts_motion_conv_kind;
    t->tokenizer.model_options = &t->model;
    if (t->x.shape.rank != 4 || t->x.shape.dim[3] != golden_int(c, "input_dim"))
        golden_fail(c, "in/x is %s", ts_shape_print(t->x.shape).text);
    if (golden_int(c, "output_emb_width") != golden_int(c, "code_dim"))
        golden_fail(c, "output_emb_width is not code_dim");
    t->tokenizer.item = ts_shape_of(t->x.shape.dim[2], t->x.shape.dim[3]);
    if (!c->failure[0] && ts_tokenizer_check(&t->tokenizer, &err) != TS_OK)
        golden_fail(c, "%s", err.text);
    return !c->failure[0];
}

/* ---- the step ---- */

typedef ts_value difference(ts_value y, ts_value x, ts_value mask);

static ts_value smooth_l1(ts_value y, ts_value x, ts_value mask)
{
    return ts_smooth_l1_masked(y, x, 1, mask);
}

static difference *difference_of(motion_case *t)
{
    if (strcmp(t->recon, "l1_smooth") == 0)
        return smooth_l1;
    if (strcmp(t->recon, "l2") == 0)
        return ts_mse_masked;
    if (strcmp(t->recon, "l1") != 0)
        golden_fail(t->c, "recons_loss %s is not understood", t->recon);
    return ts_l1_masked;
}

/* The columns that upstream's "velocity" loss takes. Those of the known representations must be the project's own; the
 * project's cases have fewer joints. */
static ts_motion_layout layout_of(motion_case *t)
{
    ts_motion_layout layout = {.columns = t->tokenizer.item.dim[1]};
    layout.positions.first = t->motionmillion ? 8 : 4;
    layout.positions.count = 3 * (t->motionmillion ? t->joints : t->joints - 1);
    const ts_motion_layout *known = ts_motion_layout_of(layout.columns);
    if (known && (known->joints != t->joints || known->positions.first != layout.positions.first ||
                  known->positions.count != layout.positions.count))
        golden_fail(t->c, "%s: other columns than upstream's", known->name);
    return layout;
}

/* recon + loss_vel * recon of the positions of joints, which upstream calls velocity, + commit * the quantizer's */
static ts_value total_loss(motion_case *t, ts_value y, const ts_quantized *q)
{
    ts_motion_losses motion;
    ts_motion_layout layout = layout_of(t);
    ts_value recon = difference_of(t)(y, t->in_x, TS_ABSENT), commit = ts_quantized_total(q);
    ts_motion_losses_build(&motion, &(ts_motion_weights){.position = t->vel}, &layout, difference_of(t), y, t->in_x,
                           TS_ABSENT);
    cr_assert_eq(motion.count, 1);
    ts_value loss = ts_add(recon, ts_scale(motion.term[0].value, motion.term[0].weight));
    golden_graph_expect(&t->graph, recon, "recons_loss");
    golden_graph_expect(&t->graph, motion.term[0].value, "vel_loss");
    if (ts_present(commit)) {
        golden_graph_expect(&t->graph, commit, "commit_loss");
        loss = ts_add(loss, ts_scale(commit, t->commit));
    }
    golden_graph_expect(&t->graph, loss, "loss");
    return loss;
}

static ts_value batch_input(motion_case *t, golden_graph *g)
{
    return ts_input(g->scope.graph, "x", TS_F32, ts_shape_from(3, t->x.shape.dim + 1));
}

static const void *batch_data(const motion_case *t, int step)
{
    return (char *)t->x.data + (size_t)step * (ts_tensor_bytes(&t->x) / (size_t)t->x.shape.dim[0]);
}

/* [B, t, D] is channels first in the file. */
static ts_value channels_first(ts_value z)
{
    return ts_permute(z, (int[]){0, 2, 1});
}

/* MotionMillion stores the grid of all codes as a buffer. */
static void expect_grid(motion_case *t)
{
    if (t->tokenizer.quantizer != &ts_finite_scalar_kind)
        return;
    int32_t *all = ts_arena_alloc(&t->c->arena, (size_t)t->tokenizer.info.codes * sizeof *all);
    for (int32_t i = 0; i < t->tokenizer.info.codes; i++)
        all[i] = i;
    ts_value ids = ts_constant(t->graph.scope.graph, TS_I32, ts_shape_of(t->tokenizer.info.codes), all);
    golden_graph_expect(&t->graph, ts_finite_scalar_grid(ids, &t->scalar), "buffer_after/quantizer.implicit_codebook");
}

static golden_draws build_step(motion_case *t)
{
    golden_graph *g = &t->graph;
    ts_value statistics[TS_MAX_STATISTICS];
    t->in_x = batch_input(t, g);
    ts_tokenized f = ts_tokenizer_forward(g->scope, &t->tokenizer, t->in_x, TS_ABSENT);
    golden_graph_expect(g, channels_first(f.z), "encoder_out");
    golden_graph_expect(g, f.y, "pred");
    golden_graph_expect(g, f.q.ids, "indices");
    golden_graph_expect_usage(g, f.q.ids, t->tokenizer.info.codes, t->perplexity_epsilon, "perplexity",
                              t->motionmillion ? "activate" : NULL);
    expect_grid(t);
    ts_value loss = total_loss(t, f.y, &f.q);
    golden_draws draws = golden_graph_draws(g, "step0/update_noise", "update_noise");
    golden_bench_seal(&t->bench);
    golden_steps_read(&t->steps);
    golden_steps_build(&t->steps, loss);
    for (int i = 0; i < f.q.statistic_count; i++)
        statistics[i] = f.q.statistics[i].value;
    ts_quantizer_update(t->tokenizer.quantizer, ts_sub(g->scope, "quantizer"), t->tokenizer.quantizer_options,
                        statistics, f.q.statistic_count, TS_ABSENT);
    return draws;
}

/* The codebook from the first batch, where the quantizer starts so. */
static void initialise(motion_case *t)
{
    golden_graph g;
    if (ts_quantizer_stages(t->tokenizer.quantizer, t->tokenizer.quantizer_options) == 0)
        return;
    golden_graph_open(&g, &t->bench, TS_TRAIN);
    g.floor = 0;
    g.tolerance = 5e-5;
    ts_value x = batch_input(t, &g);
    ts_tokenizer_init(g.scope, &t->tokenizer, x, 0);
    golden_draws draws = golden_graph_draws(&g, "init/tile_noise", "tile_noise");
    golden_graph_expect_state(&g, "quantizer.codebook", "codebook");
    if (t->reset.ema) {
        golden_graph_expect_state(&g, "quantizer.count", "code_count");
        golden_graph_expect_state(&g, "quantizer.sum", "code_sum");
    }
    if (golden_graph_plan(&g)) {
        ts_program_set(g.program, x, batch_data(t, 0));
        golden_graph_feed(&g, "init/", &draws);
        golden_graph_run(&g, "init/");
    }
    golden_graph_close(&g);
}

/* Stored from the second step on. */
static void compare_norm(motion_case *t, int step)
{
    const char *path = text_of(t, "step%d/grad_norm", step);
    const ts_tensor *expected = golden_find(t->c, path);
    ts_tensor found = golden_graph_read(&t->graph, t->steps.norm);
    if (expected)
        golden_compare(t->c, path, &found, expected, 5e-4, 0);
}

static void run_steps(motion_case *t, const golden_draws *draws)
{
    for (int step = 0; step < t->x.shape.dim[0]; step++) {
        ts_program_set(t->graph.program, t->in_x, batch_data(t, step));
        golden_graph_feed(&t->graph, text_of(t, "step%d/", step), draws);
        golden_steps_run(&t->steps, step);
        compare_norm(t, step);
    }
}

/* ---- afterwards ---- */

static void evaluate(motion_case *t)
{
    golden_graph g;
    golden_graph_open(&g, &t->bench, TS_EVAL);
    g.floor = 0;
    g.tolerance = 5e-4;
    ts_value x = batch_input(t, &g);
    ts_tokenized f = ts_tokenizer_forward(g.scope, &t->tokenizer, x, TS_ABSENT);
    golden_graph_expect(&g, f.q.ids, "indices");
    if (golden_find(t->c, "eval/pred"))
        golden_graph_expect(&g, f.y, "pred");
    if (golden_graph_plan(&g)) {
        ts_program_set(g.program, x, batch_data(t, 0));
        golden_graph_run(&g, "eval/");
    }
    golden_graph_close(&g);
}

/* The first clip's tokens alone. */
static void decode(motion_case *t)
{
    if (!golden_find(t->c, "eval/forward_decoder"))
        return;
    golden_graph g;
    golden_graph_open(&g, &t->bench, TS_EVAL);
    g.floor = 0;
    g.tolerance = 5e-4;
    ts_value ids = ts_input(g.scope.graph, "ids", TS_I32, ts_shape_of(1, t->tokenizer.tokens.dim[0], 1));
    golden_graph_expect(&g, ts_tokenizer_decode(g.scope, &t->tokenizer, ids), "forward_decoder");
    if (golden_graph_plan(&g)) {
        ts_program_set(g.program, ids, golden_tensor(t->c, "eval/indices")->data);
        golden_graph_run(&g, "eval/");
    }
    golden_graph_close(&g);
}

/* What upstream stores of its patcher: two constants at each end of the model; and of a batch norm, a counter that
 * nothing reads. */
static void check_constants(motion_case *t)
{
    for (int i = 0; i < t->c->count; i++) {
        const char *path = t->c->tensor[i].path, *last = strrchr(path, '.');
        if (!last || (strcmp(last, "._arange") != 0 && strcmp(last, ".wavelets") != 0 &&
                      strcmp(last, ".num_batches_tracked") != 0))
            continue;
        const ts_tensor *tensor = golden_tensor(t->c, path);
        bool haar = t->model.patch == TS_PATCH_HAAR;
        float filter[2] = {haar ? (float)sqrt(0.5) : 1, haar ? (float)sqrt(0.5) : 1};
        int32_t arange[2] = {0, 1};
        ts_tensor wavelets = {TS_F32, ts_shape_of(2), filter}, places = {TS_I32, ts_shape_of(2), arange};
        if (strcmp(last, ".num_batches_tracked") != 0)
            golden_compare(t->c, path, strcmp(last, "._arange") == 0 ? &places : &wavelets, tensor, 1e-7, 0);
    }
}

static void check_model(golden_case *c, ts_device *device)
{
    motion_case t = {.c = c};
    if (!read_attributes(&t))
        return;
    golden_bench_open(&t.bench, c, device);
    golden_graph_open(&t.graph, &t.bench, TS_TRAIN);
    t.graph.floor = 0;
    t.steps.graph = &t.graph;
    t.steps.user = &t;
    t.steps.path_of = path_of;
    golden_draws draws = build_step(&t);
    if (golden_graph_plan(&t.graph)) {
        initialise(&t);
        run_steps(&t, &draws);
        evaluate(&t);
        decode(&t);
    }
    check_constants(&t);
    golden_graph_close(&t.graph);
    golden_bench_close(&t.bench);
}

/* ---- the patcher ---- */

static void check_patcher(golden_case *c, ts_device *device)
{
    golden_bench b;
    golden_graph g;
    ts_value gradient;
    ts_patch_method method = (ts_patch_method)choice_of(c, "method", ts_patch_names, golden_text_or(c, "method", ""));
    int64_t size = golden_int(c, "patch_size");
    golden_real_or(c, "roundtrip_max_err", 0);
    golden_bench_open(&b, c, device);
    golden_graph_open(&g, &b, TS_TRAIN);
    g.channels_last = true;
    ts_value x = golden_graph_input(&g, "", "in/x"), patched = ts_patch(x, method, size);
    golden_graph_expect(&g, patched, "out/patched");
    golden_graph_expect(&g, ts_unpatch(patched, method, size), "out/unpatched");
    ts_differentiate(ts_sum_all(ts_mul(patched, golden_graph_input(&g, "", "in/r"))), 1, &x, &gradient);
    golden_graph_expect(&g, gradient, "grad/x");
    golden_bench_seal(&b);
    if (golden_graph_plan(&g))
        golden_graph_run(&g, "");
    golden_graph_close(&g);
    golden_bench_close(&b);
}

static void check(golden_case *c, ts_device *device)
{
    if (golden_find(c, "out/patched"))
        check_patcher(c, device);
    else
        check_model(c, device);
}

Test(golden_motion, own_on_ref)
{
    golden_expect_own("vqvae_motionmillion.h5", "ref", 9, check);
}

Test(golden_motion, own_on_cpu)
{
    golden_expect_own("vqvae_motionmillion.h5", "cpu", 9, check);
}

Test(golden_motion, t2mgpt_on_ref)
{
    golden_expect_shared("vqvae_t2mgpt.h5", "ref", 2, check);
}

Test(golden_motion, t2mgpt_on_cpu)
{
    golden_expect_shared("vqvae_t2mgpt.h5", "cpu", 2, check);
}

Test(golden_motion, own_on_cuda)
{
    golden_expect_own("vqvae_motionmillion.h5", "cuda", 9, check);
}

Test(golden_motion, t2mgpt_on_cuda)
{
    golden_expect_shared("vqvae_t2mgpt.h5", "cuda", 2, check);
}

Test(golden_motion, motionmillion_on_ref)
{
    golden_expect_shared("vqvae_motionmillion.h5", "ref", 5, check);
}

Test(golden_motion, motionmillion_on_cpu)
{
    golden_expect_shared("vqvae_motionmillion.h5", "cpu", 5, check);
}

Test(golden_motion, motionmillion_on_cuda)
{
    golden_expect_shared("vqvae_motionmillion.h5", "cuda", 5, check);
}
