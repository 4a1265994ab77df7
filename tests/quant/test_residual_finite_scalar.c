/* Residual finite scalar quantization: ids are the digits of one fine grid, codes there and back, layers left out, NaN,
 * options. Recorded values of lucidrains' module: tests/golden. */
#include "quant/residual_finite_scalar.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "autograd/differentiate.h"
#include "autograd/node.h"
#include "autograd/ops.h"
#include "core/random.h"
#include "tests/quant/quant_rig.h"

static const ts_quantizer_kind *const kind = &ts_residual_finite_scalar_kind;

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
    quant_rig_open(&r, TS_EVAL);
    ts_residual_finite_scalar_options o = {.levels = {1, {levels}}, .layers = layers, .hard_clamp = true};
    ts_value in = ts_input(r.graph, "z", TS_F32, ts_shape_of(steps, 1));
    kind->build(r.scope, &o, in, &q);
    ts_output(q.codes, "codes");
    ts_output(q.ids, "ids");
    quant_rig_plan(&r);
    for (int64_t i = 0; i < steps; i++)
        z[i] = z_of_step(i, steps, levels);
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

Test(quant_residual_finite_scalar, layers_are_digits_of_one_even_grid)
{
    expect_digits(2, 1);
    expect_digits(2, 10);
    expect_digits(3, 5);
    expect_digits(5, 4);
    expect_digits(8, 3);
}

enum { ITEMS = 2, TOKENS = 9, N = ITEMS * TOKENS, BROKEN = 3, MOST = 16 };

typedef struct {
    float codes[N * MOST], decoded[N * MOST];
    int32_t ids[N * TS_MAX_RESIDUAL_LAYERS];
} passed;

/* Through build in `mode` and through decode. Row BROKEN of z has a NaN. */
static passed *pass(const ts_residual_finite_scalar_options *o, ts_mode mode, int64_t step)
{
    quant_rig r;
    ts_quantized q;
    ts_error err = {0};
    ts_quantizer_info info;
    passed *p = ts_calloc(1, sizeof *p);
    float z[N * MOST];
    cr_assert_not_null(p);
    cr_assert_eq(kind->info(o, &info, &err), TS_OK, "%s", err.text);
    cr_assert_leq(info.width, MOST);
    quant_rig_open(&r, mode);
    ts_value in = ts_input(r.graph, "z", TS_F32, ts_shape_of(ITEMS, TOKENS, info.width));
    kind->build(r.scope, o, in, &q);
    ts_output(q.codes, "codes");
    ts_output(q.ids, "ids");
    quant_rig_plan(&r);
    for (int64_t i = 0; i < N * info.width; i++)
        z[i] = ts_random_normal((ts_random_key){9, 1}, 0, (uint64_t)i);
    z[BROKEN * info.width] = NAN;
    ts_program_set(r.program, in, z);
    ts_program_set(r.program, r.scope.random, (int64_t[]){3, step});
    quant_rig_run(&r);
    ts_program_get(r.program, q.codes, p->codes);
    ts_program_get(r.program, q.ids, p->ids);
    quant_rig_next(&r, TS_INFER);
    ts_value ids = ts_input(r.graph, "ids", TS_I32, ts_shape_of(ITEMS, TOKENS, info.groups));
    ts_value decoded = kind->decode(r.scope, o, ids);
    ts_output(decoded, "decoded");
    quant_rig_plan(&r);
    ts_program_set(r.program, ids, p->ids);
    quant_rig_run(&r);
    ts_program_get(r.program, decoded, p->decoded);
    quant_rig_close(&r);
    return p;
}

/* The layers that a token has ids of; the rest must be -1. */
static int64_t layers_of(const ts_residual_finite_scalar_options *o, const passed *p, int64_t n)
{
    int64_t used = 0;
    while (used < o->layers && p->ids[n * o->layers + used] >= 0)
        used++;
    for (int64_t k = used; k < o->layers; k++)
        cr_assert_eq(p->ids[n * o->layers + k], -1);
    return used;
}

static int64_t expect_round_trip(const ts_residual_finite_scalar_options *o, ts_mode mode, int64_t step)
{
    passed *p = pass(o, mode, step);
    int64_t used = layers_of(o, p, 0), width = o->dim ? o->dim : o->levels.count;
    for (int64_t n = 0; n < N; n++) {
        cr_assert_eq(layers_of(o, p, n), n == BROKEN ? 0 : used);
        for (int64_t d = 0; d < width; d++)
            if (n != BROKEN)
                cr_assert(p->codes[n * width + d] == p->decoded[n * width + d], "token %d", (int)n);
        cr_assert(n != BROKEN || (isnan(p->codes[n * width]) && isnan(p->decoded[n * width])));
    }
    ts_free(p);
    return used;
}

Test(quant_residual_finite_scalar, decode_gives_the_codes)
{
    const ts_residual_finite_scalar_options all[] = {
        {.levels = {3, {8, 5, 3}}, .layers = 3, .hard_clamp = true},
        {.levels = {2, {4, 3}}, .layers = 12, .hard_clamp = true},
        {.levels = {2, {4, 3}}, .layers = 9, .dim = 7, .hard_clamp = true},
        {.levels = {2, {4, 3}}, .layers = 2, .hard_clamp = false},
        {.levels = {2, {2, 2}}, .layers = 1, .hard_clamp = true},
    };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        cr_assert_eq(expect_round_trip(&all[i], TS_EVAL, 0), all[i].layers);
}

/* Training steps use from `dropout` layers to all, each number at some time; an evaluation uses all. */
Test(quant_residual_finite_scalar, a_random_number_of_layers)
{
    const ts_residual_finite_scalar_options o = {
        .levels = {3, {5, 4, 3}}, .layers = 5, .hard_clamp = true, .dropout = 2};
    int met[6] = {0};
    for (int64_t step = 0; step < 60; step++)
        met[expect_round_trip(&o, TS_TRAIN, step)]++;
    cr_expect(met[0] == 0 && met[1] == 0 && met[2] > 4 && met[3] > 4 && met[4] > 4 && met[5] > 4, "%d %d %d %d", met[2],
              met[3], met[4], met[5]);
    cr_expect_eq(expect_round_trip(&o, TS_EVAL, 0), 5);
}

static void expect_refused(ts_residual_finite_scalar_options o, const char *text)
{
    ts_error err = {0};
    ts_quantizer_info info;
    cr_assert_eq(kind->info(&o, &info, &err), TS_ERR_USAGE, "accepted: %s", text);
    cr_assert(strstr(err.text, text), "expected \"%s\" in: %s", text, err.text);
}

Test(quant_residual_finite_scalar, options)
{
    ts_error err = {0};
    ts_quantizer_info info;
    quant_rig r;
    quant_rig_open(&r, TS_TRAIN);
    ts_residual_finite_scalar_options *o = quant_rig_defaults(&r, kind);
    cr_assert_eq(kind->info(o, &info, &err), TS_OK, "%s", err.text);
    cr_assert(info.codes == 1000 && info.width == 4 && info.groups == 4);
    quant_rig_close(&r);
    expect_refused((ts_residual_finite_scalar_options){.levels = {0, {0}}, .layers = 1}, "0 levels; expected 1 to 16");
    expect_refused((ts_residual_finite_scalar_options){.levels = {2, {5, 3}}, .layers = 3, .dropout = 3},
                   "dropout is 3 and layers is 3, so that no layer is ever left out");
    expect_refused((ts_residual_finite_scalar_options){.levels = {2, {3, 8}}, .layers = 9},
                   "9 layers of levels[1] = 8 are more than the 2^24 steps");
}

Test(quant_residual_finite_scalar, operands)
{
    ts_quantized q;
    quant_rig r;
    quant_rig_open(&r, TS_TRAIN);
    ts_residual_finite_scalar_options *o = quant_rig_defaults(&r, kind);
    kind->build(ts_sub(r.scope, "quantizer"), o, ts_input(r.graph, "z", TS_F32, ts_shape_of(2, 5)), &q);
    cr_assert_not(ts_present(q.codes) || ts_present(q.ids));
    quant_rig_expect_error(&r, "quantizer: residual_finite_scalar: z is [2, 5], expected 4 channels");
    cr_assert_not(ts_present(kind->decode(r.scope, o, q.ids)));
    quant_rig_close(&r);
    quant_rig_open(&r, TS_TRAIN);
    kind->decode(r.scope, quant_rig_defaults(&r, kind), ts_input(r.graph, "ids", TS_I32, ts_shape_of(4, 3)));
    quant_rig_expect_error(&r, "residual_finite_scalar: ids are [4, 3], expected a last axis of 4, one for each layer");
    quant_rig_close(&r);
    quant_rig_open(&r, TS_TRAIN);
    o = quant_rig_defaults(&r, kind);
    o->dropout = 1;
    r.scope.random = TS_ABSENT;
    kind->build(r.scope, o, ts_input(r.graph, "z", TS_F32, ts_shape_of(2, 4)), &q);
    quant_rig_expect_error(&r, "dropout needs random numbers");
    quant_rig_close(&r);
}
