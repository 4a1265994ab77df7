/* Residual vector quantization: options that are a layer's, codes there and back, layers left out, how codebooks behind
 * the first come to their codes. Recorded values: tests/golden; padding: test_mask.c. */
#include "quant/residual_vector.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "autograd/node.h"
#include "autograd/ops.h"
#include "core/random.h"
#include "tests/quant/quant_rig.h"

static const struct {
    const ts_quantizer_kind *kind, *layer;
} kinds[] = {
    {&ts_residual_vector_kind, &ts_vector_kind},
    {&ts_residual_vector_ema_kind, &ts_vector_ema_kind},
    {&ts_residual_vector_reset_kind, &ts_vector_reset_kind},
};
enum { KINDS = sizeof kinds / sizeof *kinds };

static bool same_text(const char *a, const char *b)
{
    return a == b || (a && b && strcmp(a, b) == 0);
}

/* What a layer by itself has and a residual one has not: resets are always on, codebooks do not start from k-means. */
static bool is_left_out(const ts_quantizer_kind *layer, const char *name)
{
    return strcmp(name, "reset") == 0 || strcmp(name, "cosine") == 0 || strcmp(name, "kmeans_rounds") == 0 ||
           (strcmp(name, "init") == 0 && layer != &ts_vector_kind);
}

/* All other options of a layer are there under their names, in their places, with their defaults; but a threshold of 0
 * would switch resets off. */
Test(quant_residual_vector, options_of_a_layer)
{
    int compared = 0;
    for (int k = 0; k < KINDS; k++)
        for (const ts_option *layer = kinds[k].layer->table->options; layer->name; layer++) {
            const ts_option *own = ts_option_find(kinds[k].kind->table, layer->name);
            if (is_left_out(kinds[k].layer, layer->name)) {
                cr_expect_null(own);
                continue;
            }
            cr_assert(own, "%s has no %s", kinds[k].kind->name, layer->name);
            cr_expect(own->type == layer->type && own->offset == layer->offset && own->max == layer->max, "%s",
                      layer->name);
            cr_expect(own->min == layer->min || strcmp(layer->name, "threshold") == 0, "%s", layer->name);
            cr_expect(same_text(own->fallback, layer->fallback) && same_text(own->alias, layer->alias), "%s",
                      layer->name);
            compared++;
        }
    cr_assert_geq(compared, 16);
}

enum { N = 20, D = 3, K = 6, LAYERS = 3 };

static void *small_options(quant_rig *r, const ts_quantizer_kind *kind, int64_t dropout)
{
    void *options = quant_rig_defaults(r, kind);
    const struct {
        const char *name;
        int64_t value;
    } values[] = {{"codes", K}, {"dim", D}, {"layers", LAYERS}, {"dropout", dropout}};
    for (size_t i = 0; i < sizeof values / sizeof *values; i++)
        memcpy((char *)options + ts_option_find(kind->table, values[i].name)->offset, &values[i].value,
               sizeof values[i].value);
    return options;
}

static void draw(float z[N * D])
{
    for (int i = 0; i < N * D; i++)
        z[i] = ts_random_normal((ts_random_key){9, 1}, 0, (uint64_t)i);
}

/* Codes and ids of a step, and what decode makes of the ids. Returns how many layers were in use. */
static int expect_round_trip(const ts_quantizer_kind *kind, int64_t dropout, ts_mode mode, int64_t step)
{
    quant_rig r;
    ts_quantized q;
    float z[N * D], codes[N * D];
    int32_t ids[N * LAYERS];
    int used = 0;
    quant_rig_open(&r, mode);
    ts_value in = ts_input(r.graph, "z", TS_F32, ts_shape_of(2, N / 2, D));
    kind->build(r.scope, small_options(&r, kind, dropout), in, &q);
    ts_output(q.codes, "codes");
    ts_output(q.ids, "ids");
    quant_rig_plan(&r);
    draw(z);
    ts_program_set(r.program, in, z);
    ts_program_set(r.program, r.scope.random, (int64_t[]){3, step});
    quant_rig_run(&r);
    ts_program_get(r.program, q.codes, codes);
    ts_program_get(r.program, q.ids, ids);
    quant_rig_next(&r, TS_INFER);
    ts_value given = ts_input(r.graph, "ids", TS_I32, ts_shape_of(2, N / 2, LAYERS));
    ts_value decoded = kind->decode(r.scope, small_options(&r, kind, dropout), given);
    ts_output(decoded, "decoded");
    quant_rig_plan(&r);
    ts_program_set(r.program, given, ids);
    quant_rig_run(&r);
    float *back = quant_rig_read(&r, decoded);
    while (used < LAYERS && ids[used] >= 0)
        used++;
    for (int n = 0; n < N; n++) {
        for (int l = 0; l < LAYERS; l++)
            cr_assert(l < used ? ids[n * LAYERS + l] >= 0 && ids[n * LAYERS + l] < K : ids[n * LAYERS + l] == -1);
        for (int d = 0; d < D; d++)
            cr_assert(back[n * D + d] == codes[n * D + d], "%s: token %d", kind->name, n);
    }
    ts_free(back);
    quant_rig_close(&r);
    return used;
}

Test(quant_residual_vector, decode_gives_the_codes)
{
    for (int k = 0; k < KINDS; k++)
        cr_assert_eq(expect_round_trip(kinds[k].kind, 1, TS_EVAL, 0), LAYERS);
}

Test(quant_residual_vector, a_random_number_of_layers)
{
    int met[LAYERS + 1] = {0};
    for (int64_t step = 0; step < 40; step++)
        met[expect_round_trip(&ts_residual_vector_kind, 1, TS_TRAIN, step)]++;
    cr_expect(met[0] == 0 && met[1] > 4 && met[2] > 4 && met[3] > 4, "%d %d %d", met[1], met[2], met[3]);
}

static ts_quantized build_step(quant_rig *r, const ts_quantizer_kind *kind, ts_value in)
{
    ts_quantized q;
    ts_error err = {0};
    ts_value statistics[TS_MAX_STATISTICS];
    const void *options = small_options(r, kind, 0);
    kind->build(r->scope, options, in, &q);
    if (!ts_store_sealed(r->store))
        cr_assert_eq(ts_store_seal(r->store, r->device, 7, &err), TS_OK, "%s", err.text);
    for (int i = 0; i < q.statistic_count; i++)
        statistics[i] = q.statistics[i].value;
    kind->update(r->scope, options, statistics, TS_ABSENT);
    ts_output(q.codes, "codes");
    return q;
}

static double error_of(quant_rig *r, const ts_quantized *q, const float *z)
{
    double sum = 0;
    float *codes = quant_rig_read(r, q->codes);
    for (int i = 0; i < N * D; i++)
        sum += pow((double)codes[i] - (double)z[i], 2);
    ts_free(codes);
    return sum / (N * D);
}

/* Codebooks behind the first are 0 at first and take rows of what is left over: then there is less of it. */
Test(quant_residual_vector, layers_come_to_their_codes)
{
    const ts_quantizer_kind *kind = &ts_residual_vector_reset_kind;
    quant_rig r;
    float z[N * D];
    draw(z);
    quant_rig_open(&r, TS_TRAIN);
    build_step(&r, kind, ts_input(r.graph, "z", TS_F32, ts_shape_of(N, D))); /* makes the store */
    quant_rig_next(&r, TS_TRAIN);
    ts_value in = ts_input(r.graph, "z", TS_F32, ts_shape_of(N, D));
    kind->init(r.scope, small_options(&r, kind, 0), in);
    quant_rig_plan(&r);
    ts_program_set(r.program, in, z);
    quant_rig_run(&r);
    quant_rig_next(&r, TS_TRAIN);
    in = ts_input(r.graph, "z", TS_F32, ts_shape_of(N, D));
    ts_quantized q = build_step(&r, kind, in);
    quant_rig_plan(&r);
    ts_program_set(r.program, in, z);
    double error[4];
    for (int step = 0; step < 4; step++) {
        ts_program_set(r.program, r.scope.random, (int64_t[]){3, step});
        quant_rig_run(&r);
        error[step] = error_of(&r, &q, z);
    }
    float *second = quant_rig_state(&r, "layers.1.codebook");
    int moved = 0;
    for (int i = 0; i < K; i++)
        moved += second[i * D] != 0;
    cr_expect_geq(moved, 2, "%d codes of the second layer have moved", moved);
    cr_expect_lt(error[3], 0.8 * error[0], "%g %g %g %g", error[0], error[1], error[2], error[3]);
    ts_free(second);
    quant_rig_close(&r);
}

Test(quant_residual_vector, options_and_operands)
{
    for (int k = 0; k < KINDS; k++) {
        ts_error err = {0};
        ts_quantizer_info info;
        ts_quantized q;
        quant_rig r;
        quant_rig_open(&r, TS_TRAIN);
        const void *options = small_options(&r, kinds[k].kind, 0);
        cr_assert_eq(kinds[k].kind->info(options, &info, &err), TS_OK, "%s", err.text);
        cr_assert(info.codes == K && info.width == D && info.groups == LAYERS);
        options = small_options(&r, kinds[k].kind, LAYERS);
        cr_assert_eq(kinds[k].kind->info(options, &info, &err), TS_ERR_USAGE);
        cr_assert(strstr(err.text, "dropout is 3 and layers is 3, so that no layer is ever left out"), "%s", err.text);
        kinds[k].kind->build(r.scope, options, ts_input(r.graph, "z", TS_F32, ts_shape_of(2, 5)), &q);
        cr_assert_not(ts_present(q.codes) || ts_present(q.ids));
        quant_rig_expect_error(&r, "z is [2, 5], expected 3 channels");
        quant_rig_close(&r);
        quant_rig_open(&r, TS_TRAIN);
        kinds[k].kind->decode(r.scope, small_options(&r, kinds[k].kind, 0),
                              ts_input(r.graph, "ids", TS_I32, ts_shape_of(4, 2)));
        quant_rig_expect_error(&r, "residual: ids are [4, 2], expected a last axis of 3, one for each layer");
        quant_rig_close(&r);
    }
}
