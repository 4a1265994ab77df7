/* Groups and layers of any kind: codes there and back, NaN, layers left out, layers that are digits of one grid, groups
 * that are quantizers of their own, one codebook for all layers, how codebooks behind the first come to their codes,
 * options that contradict each other. Recorded values: tests/golden; padding: test_mask.c. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "autograd/differentiate.h"
#include "autograd/node.h"
#include "autograd/ops.h"
#include "core/random.h"
#include "quant/finite_scalar.h"
#include "quant/vector.h"
#include "tests/quant/quant_rig.h"

enum { ITEMS = 2, TOKENS = 10, N = ITEMS * TOKENS, BROKEN = 3, MOST_WIDTH = 16, MOST_IDS = 32 };

static void draw(float *z, int64_t count)
{
    for (int64_t i = 0; i < count; i++)
        z[i] = ts_random_normal((ts_random_key){9, 1}, 0, (uint64_t)i);
}

/* ---- there and back ---- */

typedef struct {
    const char *kind, *options;
    int64_t parts, each; /* layers of all groups, ids of each */
} stacked;

static const stacked stacks[] = {
    {"finite_scalar", "levels=[8,5,3] layers=3 bound=symmetric hard_clamp=true", 3, 1},
    {"finite_scalar", "levels=[4,3] layers=12 bound=symmetric hard_clamp=true", 12, 1},
    {"finite_scalar", "levels=[4,3] layers=9 dim=7 bound=symmetric hard_clamp=true", 9, 1},
    {"finite_scalar", "levels=[4,3] layers=2 bound=symmetric rotation=true", 2, 1},
    {"finite_scalar", "levels=[4,3] codebooks=2 groups=2 layers=2 bound=symmetric", 4, 2},
    {"finite_scalar", "levels=[4,3] groups=3 dim=12", 3, 1},
    {"vector", "codes=6 dim=3 layers=3", 3, 1},
    {"vector", "codes=6 dim=3 layers=3 shared=true", 3, 1},
    {"vector", "codes=6 dim=12 groups=4", 4, 1},
    {"vector_ema", "codes=6 dim=6 layers=2 groups=3 averages=lucidrains", 6, 1},
    {"vector_ema", "codes=6 dim=3 layers=2 cosine=true averages=lucidrains", 2, 1},
    {"vector_reset", "codes=6 dim=3 layers=3", 3, 1},
    {"lookup_free", "bits=4 layers=3", 3, 1},
    {"lookup_free", "bits=3 codebooks=2 layers=2 groups=2 dim=10 spherical=true", 4, 2},
    {"sim_vq", "codes=9 dim=4 layers=2", 2, 1},
    {"sim_vq", "codes=9 dim=4 layers=2 groups=2 shared=true", 4, 1},
    {"spherical", "bits=6 group=3 dim=4", 1, 2},
    {"latent", "levels=[5,4,2] codebooks=2 dim=7", 1, 2},
    {"latent", "levels=[2,2,3,2,2,3,2,2,2]", 1, 1},
    {"latent", "levels=[5,4] groups=3", 3, 1},
    {"random_projection", "codes=11 dim=6 code_dim=3 codebooks=10 groups=2", 2, 10},
    {"scalar_perturbation", "levels=[8,6,5] activation=normal norm=var", 1, 1},
    {"scalar_perturbation", "levels=[2,9] groups=2 dim=10 activation=laplace norm=none", 2, 1},
    {"scalar_perturbation", "levels=[2,2,3,2,2,3,2,2,2] activation=sigmoid norm=var_sigmoid", 1, 1},
};
enum { STACKS = sizeof stacks / sizeof *stacks };

/* Returns how many layers of each group have been in use. */
static int64_t expect_round_trip(const stacked *c, const char *extra, ts_mode mode, int64_t step)
{
    quant_rig r;
    ts_quantized q;
    ts_error err = {0};
    ts_quantizer_info info;
    static float z[N * MOST_WIDTH], codes[N * MOST_WIDTH];
    static int32_t ids[N * MOST_IDS];
    const ts_quantizer_kind *kind = ts_quantizer_find(c->kind);
    quant_rig_open(&r, mode);
    const ts_stack_options *o = quant_rig_options(&r, kind, c->options, extra);
    cr_assert_eq(ts_quantizer_describe(kind, o, &info, &err), TS_OK, "%s %s: %s", c->kind, c->options, err.text);
    cr_assert(info.width <= MOST_WIDTH && info.groups <= MOST_IDS);
    cr_assert_eq(info.groups, c->parts * c->each, "%s %s", c->kind, c->options);
    ts_value in = ts_input(r.graph, "z", TS_F32, ts_shape_of(ITEMS, TOKENS, info.width));
    ts_quantize(kind, r.scope, o, in, &q);
    ts_output(q.codes, "codes");
    ts_output(q.ids, "ids");
    quant_rig_plan(&r);
    draw(z, N * info.width);
    for (int64_t d = 0; d < info.width; d++)
        z[BROKEN * info.width + d] = NAN;
    ts_program_set(r.program, in, z);
    ts_program_set(r.program, r.scope.random, (int64_t[]){3, step});
    quant_rig_run(&r);
    ts_program_get(r.program, q.codes, codes);
    ts_program_get(r.program, q.ids, ids);
    quant_rig_next(&r, TS_INFER);
    ts_value given = ts_input(r.graph, "ids", TS_I32, ts_shape_of(ITEMS, TOKENS, info.groups));
    o = quant_rig_options(&r, kind, c->options, extra);
    ts_value decoded = ts_dequantize(kind, r.scope, o, given);
    ts_output(decoded, "decoded");
    quant_rig_plan(&r);
    ts_program_set(r.program, given, ids);
    quant_rig_run(&r);
    float *back = quant_rig_read(&r, decoded);
    int64_t layers = o->layers > 1 ? o->layers : 1, used = 0;
    while (used < layers && ids[used * c->each] >= 0)
        used++;
    for (int64_t n = 0; n < N; n++) {
        for (int64_t i = 0; i < info.groups; i++) {
            bool there = n != BROKEN && i / c->each % layers < used;
            int32_t id = ids[n * info.groups + i];
            cr_assert(there ? id >= 0 && id < info.codes : id == -1, "%s %s: id %d of token %d is %d", c->kind,
                      c->options, (int)i, (int)n, id);
        }
        for (int64_t d = n * info.width; d < (n + 1) * info.width; d++)
            cr_assert(n == BROKEN ? isnan(codes[d]) && isnan(back[d]) : fabsf(codes[d] - back[d]) < 1e-6f,
                      "%s %s: token %d: %g and %g", c->kind, c->options, (int)n, (double)codes[d], (double)back[d]);
    }
    ts_free(back);
    quant_rig_close(&r);
    return used;
}

Test(quant_stack, decode_gives_the_codes)
{
    for (int i = 0; i < STACKS; i++)
        expect_round_trip(&stacks[i], "", TS_EVAL, 0);
}

/* Training steps use from `dropout` layers to all, each number at some time and the same in all groups; an evaluation
 * uses all. */
Test(quant_stack, a_random_number_of_layers)
{
    static const stacked five = {"finite_scalar", "levels=[5,4] layers=5 bound=symmetric hard_clamp=true groups=2", 10,
                                 1};
    int met[6] = {0}, checked = 0;
    for (int64_t step = 0; step < 60; step++)
        met[expect_round_trip(&five, "dropout=2", TS_TRAIN, step)]++;
    cr_expect(met[0] == 0 && met[1] == 0 && met[2] > 4 && met[3] > 4 && met[4] > 4 && met[5] > 4, "%d %d %d %d", met[2],
              met[3], met[4], met[5]);
    cr_expect_eq(expect_round_trip(&five, "dropout=2", TS_EVAL, 0), 5);
    for (int i = 0; i < STACKS; i++)
        for (int64_t step = 0; step < 2 && strstr(stacks[i].options, "layers="); step++, checked++)
            expect_round_trip(&stacks[i], "dropout=1", TS_TRAIN, step);
    cr_assert_geq(checked, 20);
}

/* ---- what groups and layers are ---- */

/* A z for each step of the grid of all layers together, in its middle. */
static float z_of_step(int64_t step, int64_t steps, int64_t levels)
{
    double c = (double)levels / (double)(levels - 1);
    double x = ((2 * (double)step + 1) / (double)steps - 1) * c;
    return (float)(c * atanh(x / c));
}

/* One dim of L levels in n layers is an even grid of L^n steps, and the ids are the digits of the step, the most
 * significant first. */
static void expect_digits(int64_t levels, int64_t layers)
{
    quant_rig r;
    ts_quantized q;
    int64_t steps = (int64_t)lround(pow((double)levels, (double)layers));
    float *z = ts_alloc((size_t)steps * sizeof *z);
    cr_assert_not_null(z);
    for (int64_t i = 0; i < steps; i++)
        z[i] = z_of_step(i, steps, levels);
    const ts_finite_scalar_options o = {.stack = {.layers = layers},
                                        .levels = {1, {levels}},
                                        .codebooks = 1,
                                        .bound = TS_FSQ_SYMMETRIC,
                                        .hard_clamp = true,
                                        .indices = true};
    quant_rig_open(&r, TS_EVAL);
    ts_value in = ts_input(r.graph, "z", TS_F32, ts_shape_of(steps, 1));
    ts_quantize(&ts_finite_scalar_kind, r.scope, &o, in, &q);
    ts_output(q.codes, "codes");
    ts_output(q.ids, "ids");
    quant_rig_plan(&r);
    ts_program_set(r.program, in, z);
    quant_rig_run(&r);
    float *codes = quant_rig_read(&r, q.codes);
    int32_t *ids = quant_rig_read(&r, q.ids);
    double c = (double)levels / (double)(levels - 1);
    for (int64_t i = 0; i < steps; i++) {
        int64_t read = 0;
        for (int64_t k = 0; k < layers; k++)
            read = read * levels + ids[i * layers + k];
        cr_assert_eq(read, i, "%d levels, %d layers: step %d is read as %d", (int)levels, (int)layers, (int)i,
                     (int)read);
        double middle = ((2 * (double)i + 1) / (double)steps - 1) * c;
        cr_assert(fabs((double)codes[i] - middle) < 1e-5, "step %d: %g, not %g", (int)i, (double)codes[i], middle);
    }
    ts_free(z);
    ts_free(codes);
    ts_free(ids);
    quant_rig_close(&r);
}

Test(quant_stack, finite_scalar_layers_are_digits_of_one_even_grid)
{
    expect_digits(2, 10);
    expect_digits(3, 5);
    expect_digits(5, 4);
    expect_digits(8, 3);
}

/* Without projections, groups of grids are what codebooks are. */
Test(quant_stack, groups_are_quantizers_of_their_own)
{
    static const char *const ways[] = {"levels=[5,4] groups=3", "levels=[5,4] codebooks=3"};
    quant_rig r;
    ts_quantized q[2];
    float z[N * 6];
    quant_rig_open(&r, TS_EVAL);
    ts_value in = ts_input(r.graph, "z", TS_F32, ts_shape_of(N, 6));
    for (int i = 0; i < 2; i++) {
        ts_quantize(&ts_finite_scalar_kind, r.scope, quant_rig_options(&r, &ts_finite_scalar_kind, ways[i], ""), in,
                    &q[i]);
        ts_output(q[i].codes, i ? "codebooks" : "groups");
        ts_output(q[i].ids, i ? "codebooks_ids" : "groups_ids");
    }
    quant_rig_plan(&r);
    draw(z, N * 6);
    ts_program_set(r.program, in, z);
    quant_rig_run(&r);
    float *a = quant_rig_read(&r, q[0].codes), *b = quant_rig_read(&r, q[1].codes);
    int32_t *x = quant_rig_read(&r, q[0].ids), *y = quant_rig_read(&r, q[1].ids);
    cr_assert_arr_eq(a, b, N * 6 * sizeof *a);
    cr_assert_arr_eq(x, y, N * 3 * sizeof *x);
    ts_free(a);
    ts_free(b);
    ts_free(x);
    ts_free(y);
    quant_rig_close(&r);
}

/* The variables of a training graph, one name behind the other. */
static void expect_variables(const char *kind_name, const char *options, const char *expected)
{
    quant_rig r;
    ts_quantized q;
    ts_error err = {0};
    ts_quantizer_info info;
    char found[512] = "";
    const ts_quantizer_kind *kind = ts_quantizer_find(kind_name);
    quant_rig_open(&r, TS_TRAIN);
    const void *o = quant_rig_options(&r, kind, options, "");
    cr_assert_eq(ts_quantizer_describe(kind, o, &info, &err), TS_OK, "%s", err.text);
    ts_quantize(kind, r.scope, o, ts_input(r.graph, "z", TS_F32, ts_shape_of(N, info.width)), &q);
    quant_rig_plan(&r);
    for (int i = 0; i < ts_store_count(r.store); i++) {
        const char *path = ts_store_at(r.store, i)->path;
        size_t used = strlen(found);
        snprintf(found + used, sizeof found - used, "%s%s", used ? " " : "", path);
    }
    cr_expect_str_eq(found, expected, "%s %s", kind_name, options);
    quant_rig_close(&r);
}

Test(quant_stack, where_variables_lie)
{
    expect_variables("vector", "codes=5 dim=4", "codebook");
    expect_variables("vector", "codes=5 dim=4 layers=2", "layers.0.codebook layers.1.codebook");
    expect_variables("vector", "codes=5 dim=4 layers=2 shared=true", "codebook");
    expect_variables("vector", "codes=5 dim=4 groups=2", "groups.0.codebook groups.1.codebook");
    expect_variables("vector", "codes=5 dim=4 groups=2 layers=2 shared=true", "groups.0.codebook groups.1.codebook");
    expect_variables("latent", "levels=[4,3]", "offset.0 offset.1");
    expect_variables("random_projection", "dim=4 codebooks=2",
                     "project_out.weight project_out.bias codebook projection");
    expect_variables("finite_scalar", "levels=[4,3] dim=6 groups=2 projection_bias=false",
                     "groups.0.project_in.weight groups.0.project_out.weight groups.1.project_in.weight "
                     "groups.1.project_out.weight");
}

/* ---- the first codes ---- */

enum { D = 3, K = 6, LAYERS = 3 };

/* The squared error of the codes after the first batch has had its part, and `steps` steps. */
static double error_after(const char *kind_name, const char *options, int steps)
{
    const ts_quantizer_kind *kind = ts_quantizer_find(kind_name);
    quant_rig r;
    ts_quantized q;
    ts_error err = {0};
    ts_value statistics[TS_MAX_STATISTICS];
    float z[N * D];
    double sum = 0;
    draw(z, N * D);
    quant_rig_open(&r, TS_TRAIN);
    const void *o = quant_rig_options(&r, kind, options, "");
    ts_quantize(kind, r.scope, o, ts_input(r.graph, "z", TS_F32, ts_shape_of(N, D)), &q); /* makes the store */
    cr_assert_eq(ts_store_seal(r.store, r.device, 7, &err), TS_OK, "%s", err.text);
    for (int stage = 0; stage < ts_quantizer_stages(kind, o); stage++) {
        quant_rig_next(&r, TS_TRAIN);
        o = quant_rig_options(&r, kind, options, "");
        ts_value in = ts_input(r.graph, "z", TS_F32, ts_shape_of(N, D));
        ts_quantizer_init(kind, r.scope, o, in, stage);
        quant_rig_plan(&r);
        ts_program_set(r.program, in, z);
        quant_rig_run(&r);
    }
    quant_rig_next(&r, TS_TRAIN);
    o = quant_rig_options(&r, kind, options, "");
    ts_value in = ts_input(r.graph, "z", TS_F32, ts_shape_of(N, D));
    ts_quantize(kind, r.scope, o, in, &q);
    for (int i = 0; i < q.statistic_count; i++)
        statistics[i] = q.statistics[i].value;
    ts_quantizer_update(kind, r.scope, o, statistics, q.statistic_count, TS_ABSENT);
    ts_output(q.codes, "codes");
    quant_rig_plan(&r);
    ts_program_set(r.program, in, z);
    for (int step = 0; step <= steps; step++) {
        ts_program_set(r.program, r.scope.random, (int64_t[]){3, step});
        quant_rig_run(&r);
    }
    float *codes = quant_rig_read(&r, q.codes);
    for (int i = 0; i < N * D; i++)
        sum += pow((double)codes[i] - (double)z[i], 2);
    ts_free(codes);
    quant_rig_close(&r);
    return sum / (N * D);
}

/* What the first layer's rows leave over is 0: the others take rows of what is left over in the first step. */
Test(quant_stack, layers_come_to_their_codes_by_resets)
{
    double first = error_after("vector_reset", "codes=6 dim=3 layers=3", 0);
    double later = error_after("vector_reset", "codes=6 dim=3 layers=3", 4);
    cr_expect_lt(later, 0.8 * first, "%g, then %g", first, later);
}

/* Each layer starts from what the layers before it, which have started, leave over: every one makes it less. */
Test(quant_stack, layers_start_from_k_means)
{
    static const char *const options[] = {
        "codes=6 dim=3 layers=1 init=kmeans averages=lucidrains",
        "codes=6 dim=3 layers=2 init=kmeans averages=lucidrains",
        "codes=6 dim=3 layers=3 init=kmeans averages=lucidrains",
    };
    double error[3];
    for (int i = 0; i < 3; i++)
        error[i] = error_after("vector_ema", options[i], 0);
    cr_expect(error[1] < 0.7 * error[0] && error[2] < 0.7 * error[1], "%g %g %g", error[0], error[1], error[2]);
    cr_expect_lt(error_after("vector_reset", "codes=6 dim=3 layers=2 init=kmeans", 0), 0.7 * error[0]);
}

/* ---- what is refused ---- */

Test(quant_stack, options_that_cannot_be)
{
    static const struct {
        const char *kind, *options, *message;
    } cases[] = {
        {"vector", "layers=3 dropout=3", "dropout is 3 and layers is 3, so that no layer is ever left out"},
        {"vector", "dropout=1", "dropout is 1 and layers is 1"},
        {"vector_ema", "shared=true", "shared is on and layers is 1: there is one codebook anyway"},
        {"vector", "dim=10 groups=3", "dim is 10, which 3 groups do not divide"},
        {"vector", "dim=60 groups=10 layers=7", "10 groups of 7 layers are 70 layers; at most 64"},
        {"finite_scalar", "layers=2", "layers is 2 and bound is lucidrains"},
        {"finite_scalar", "layers=2 bound=google", "layers is 2 and bound is google"},
        {"finite_scalar", "levels=[3,8] layers=9 bound=symmetric", "9 layers of levels[1] = 8 are more than the 2^24"},
        {"finite_scalar", "noise_dropout=0.5", "noise_dropout is 0.5 and bound is lucidrains"},
        {"finite_scalar", "levels=[2,2]", "levels[0] is 2, which needs the symmetric or google bound"},
        {"latent", "levels=[65536,65536]", "exceeds 2147483647 codes"},
        {"scalar_perturbation", "levels=[65536,65536]", "exceeds 2147483647 codes"},
        {"scalar_perturbation", "activation=sigmoid", "norm is var_tanh and activation is sigmoid"},
        {"scalar_perturbation", "activation=laplace norm=var_sigmoid", "set norm: var_laplace, or none"},
        {"scalar_perturbation", "activation=normal", "set norm: var"},
        {"vector_reset", "layers=2 reset=false", "only resets could bring the others to their codes"},
        {"vector_reset", "layers=2 threshold=0", "only resets could bring the others to their codes"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        quant_rig r;
        ts_error err = {0};
        ts_quantizer_info info;
        const ts_quantizer_kind *kind = ts_quantizer_find(cases[i].kind);
        quant_rig_open(&r, TS_TRAIN);
        const void *o = quant_rig_options(&r, kind, cases[i].options, "");
        cr_expect_eq(ts_quantizer_describe(kind, o, &info, &err), TS_ERR_USAGE, "accepted: %s", cases[i].options);
        cr_expect(strstr(err.text, cases[i].message), "expected \"%s\" in: %s", cases[i].message, err.text);
        cr_expect(!strchr(err.text, '\n'));
        quant_rig_close(&r);
    }
}

Test(quant_stack, operands)
{
    quant_rig r;
    ts_quantized q;
    quant_rig_open(&r, TS_TRAIN);
    const void *o = quant_rig_options(&r, &ts_vector_kind, "dim=4 layers=2 dropout=1", "");
    ts_quantize(&ts_vector_kind, ts_sub(r.scope, "quantizer"), o, ts_input(r.graph, "z", TS_F32, ts_shape_of(2, 5)),
                &q);
    cr_assert_not(ts_present(q.codes) || ts_present(q.ids));
    quant_rig_expect_error(&r, "quantizer: vector: z is [2, 5], expected 4 channels");
    cr_assert_not(ts_present(ts_dequantize(&ts_vector_kind, r.scope, o, q.ids)));
    quant_rig_close(&r);
    quant_rig_open(&r, TS_TRAIN);
    o = quant_rig_options(&r, &ts_vector_kind, "dim=4 layers=2", "");
    ts_dequantize(&ts_vector_kind, r.scope, o, ts_input(r.graph, "ids", TS_I32, ts_shape_of(4, 3)));
    quant_rig_expect_error(&r, "vector: ids are [4, 3], expected a last axis of 2");
    quant_rig_close(&r);
    static const char *const noisy = "levels=[4,3] activation=normal norm=var";
    quant_rig_open(&r, TS_TRAIN);
    o = quant_rig_options(&r, ts_quantizer_find("scalar_perturbation"), noisy, "");
    r.scope.random = TS_ABSENT;
    ts_quantize(ts_quantizer_find("scalar_perturbation"), r.scope, o, ts_input(r.graph, "z", TS_F32, ts_shape_of(2, 2)),
                &q);
    quant_rig_expect_error(&r, "moving needs random numbers");
    quant_rig_close(&r);
    static const char *const drawing[][2] = {
        {"levels=[4,3] layers=2 bound=symmetric dropout=1", "dropout needs random"},
        {"levels=[4,3] bound=symmetric noise_dropout=1", "noise_dropout needs"}};
    for (int i = 0; i < 2; i++) {
        quant_rig_open(&r, TS_TRAIN);
        o = quant_rig_options(&r, &ts_finite_scalar_kind, drawing[i][0], "");
        r.scope.random = TS_ABSENT;
        ts_quantize(&ts_finite_scalar_kind, r.scope, o, ts_input(r.graph, "z", TS_F32, ts_shape_of(2, 2)), &q);
        quant_rig_expect_error(&r, drawing[i][1]);
        quant_rig_close(&r);
    }
}
