/* Heads, projections and their ids, and options of the vector kinds that contradict each other. */
#include "quant/code_options.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "autograd/node.h"
#include "autograd/ops.h"
#include "tests/quant/quant_rig.h"

static void *options_of(quant_rig *r, const ts_quantizer_kind *kind, const char *text)
{
    void *options = quant_rig_defaults(r, kind);
    char copy[160];
    ts_error err = {0};
    snprintf(copy, sizeof copy, "%s", text);
    for (char *rest = NULL, *pair = strtok_r(copy, " ", &rest); pair; pair = strtok_r(NULL, " ", &rest)) {
        char *equals = strchr(pair, '=');
        *equals = '\0';
        const ts_option *option = ts_option_find(kind->table, pair);
        cr_assert(option && ts_option_parse(option, equals + 1, options, &r->graph->arena, &err) == TS_OK, "%s: %s",
                  pair, err.text);
    }
    return options;
}

Test(quant_code_options, what_contradicts_is_refused)
{
    static const struct {
        const char *kind, *options, *says; /* NULL: taken */
    } cases[] = {
        {"vector", "dim=10 heads=4", "heads is 4, which does not divide dim 10"},
        {"vector", "dim=10 heads=4 codebook_dim=3", NULL},
        {"vector_ema", "separate_codebooks=true", "separate_codebooks is true, and heads is 1"},
        {"vector_reset", "codes=16777216 heads=2 separate_codebooks=true", "are more than 2^24 codes"},
        {"vector_reset", "codes=16777216 heads=2", NULL},
        {"vector_ema", "dim=4 heads=4 cosine=true", "codes of width 1 are then 1 and -1 alone"},
        {"vector", "stochastic=true rotation=true", "rotation turns the gradient"},
        {"vector_ema", "through_softmax=true",
         "through_softmax is the gradient of drawn codes, and stochastic is false"},
        {"vector", "temperature=2", "temperature is 2, and stochastic is false"},
        {"vector", "stochastic=true temperature=2 through_softmax=true", NULL},
        {"vector", "sample_codebook_temp=2 stochastic_sample_codes=on", NULL},
        {"vector", "diversity_temperature=5", "diversity_temperature is 5, and diversity is 0"},
        {"vector_ema", "diversity=1 diversity_temperature=0", "all codes are equally likely"},
        {"vector_ema", "diversity=1 codebook_diversity_temperature=7", NULL},
        {"vector", "orthogonal_active=true", "orthogonal_active is set, and orthogonal is 0"},
        {"vector_ema", "orthogonal_most=9", "orthogonal_most is set, and orthogonal is 0"},
        {"vector_ema", "orthogonal_reg_weight=10 orthogonal_reg_max_codes=9 orthogonal_reg_active_codes_only=yes",
         NULL},
        {"vector", "cross_entropy=true commitment=0", "cross_entropy says what commitment is, and commitment is 0"},
        {"vector", "commitment_use_cross_entropy_loss=true beta_on=codebook", "swaps the weights of two squared"},
        {"sim_vq", "commitment=0 beta_on=codebook", "commitment, the codebook's weight with beta_on: codebook, is 0"},
        {"sim_vq", "codebook=0 beta_on=codebook", NULL},
        {"vector_reset", "expire=0.5 reset=false", "expire is 0.5, and reset is false"},
        {"vector_reset", "reset_averages=true ema=false", "reset_averages is true, and ema is false"},
        {"vector_reset", "reset_averages=true expire=0.5 use_cosine_sim=true", NULL},
        {"vector_ema", "learnable_codebook=true eps=1e-6 separate_codebook_per_head=true heads=2 kmeans_iters=10",
         NULL},
    };
    int refused = 0, count = sizeof cases / sizeof *cases;
    for (int i = 0; i < count; i++) {
        const ts_quantizer_kind *kind = ts_quantizer_find(cases[i].kind);
        quant_rig r;
        ts_quantizer_info info;
        ts_error err = {0};
        quant_rig_open(&r, TS_TRAIN);
        ts_status status = kind->info(options_of(&r, kind, cases[i].options), &info, &err);
        cr_expect_eq(status, cases[i].says ? TS_ERR_USAGE : TS_OK, "%s %s: %s", cases[i].kind, cases[i].options,
                     err.text);
        if (cases[i].says)
            cr_expect(strstr(err.text, cases[i].says), "%s", err.text);
        refused += cases[i].says != NULL;
        quant_rig_close(&r);
    }
    cr_assert_geq(refused, 14);
}

enum { N = 3, DIM = 6 };
static const float z[N * DIM] = {1, 2, 3, 4, 5, 6, -1, NAN, 3, 0, 2, 2, 0, 0, 0, 7, 7, 7};

/* Builds in mode EVAL, and decodes what comes out: the same codes, bit for bit, and -1 where a part has a NaN. */
static void check_there_and_back(const char *kind_name, const char *text, int heads, const int32_t broken[N])
{
    const ts_quantizer_kind *kind = ts_quantizer_find(kind_name);
    quant_rig r;
    ts_quantized q;
    ts_quantizer_info info;
    ts_error err = {0};
    quant_rig_open(&r, TS_EVAL);
    void *options = options_of(&r, kind, text);
    cr_assert_eq(kind->info(options, &info, &err), TS_OK, "%s", err.text);
    cr_assert(info.groups == heads && info.width == DIM);
    ts_value in = ts_input(r.graph, "z", TS_F32, ts_shape_of(1, N, DIM));
    kind->build(r.scope, options, in, &q);
    ts_output(q.codes, "codes");
    ts_output(q.ids, "ids");
    cr_assert(ts_shape_equal(ts_value_shape(q.ids), ts_shape_of(1, N, heads)));
    cr_assert(ts_shape_equal(ts_value_shape(q.codes), ts_shape_of(1, N, DIM)));
    quant_rig_plan(&r);
    ts_program_set(r.program, in, z);
    quant_rig_run(&r);
    int32_t *ids = quant_rig_read(&r, q.ids);
    float *codes = quant_rig_read(&r, q.codes);
    for (int n = 0; n < N; n++) {
        int32_t found = 0;
        for (int h = 0; h < heads; h++) {
            cr_assert(ids[n * heads + h] >= -1 && ids[n * heads + h] < info.codes);
            found |= ids[n * heads + h] < 0 ? 1 << h : 0;
        }
        cr_expect_eq(found, broken[n], "%s, token %d: heads without an id %x, expected %x", text, n, found, broken[n]);
    }
    quant_rig_next(&r, TS_INFER);
    ts_value back = ts_input(r.graph, "ids", TS_I32, ts_shape_of(1, N, heads));
    ts_value decoded = kind->decode(r.scope, options_of(&r, kind, text), back);
    ts_output(decoded, "decoded");
    quant_rig_plan(&r);
    ts_program_set(r.program, back, ids);
    quant_rig_run(&r);
    float *again = quant_rig_read(&r, decoded);
    for (int i = 0; i < N * DIM; i++)
        cr_expect(again[i] == codes[i] || (isnan(again[i]) && isnan(codes[i])), "%s: %g, decoded %g", text,
                  (double)codes[i], (double)again[i]);
    ids[0] = (int32_t)info.codes; /* of another head's codebook, were it not looked at */
    ts_program_set(r.program, back, ids);
    quant_rig_run(&r);
    ts_free(again);
    again = quant_rig_read(&r, decoded);
    cr_expect(isnan(again[0]), "an id that is none decodes to %g", (double)again[0]);
    ts_free(again);
    ts_free(ids);
    ts_free(codes);
    quant_rig_close(&r);
}

Test(quant_code_options, heads_and_projections_there_and_back)
{
    check_there_and_back("vector", "codes=7 dim=6 heads=3 init=normal", 3, (int32_t[]){0, 1, 0});
    check_there_and_back("vector", "codes=7 dim=6 heads=2 separate_codebooks=true init=normal", 2,
                         (int32_t[]){0, 1, 0});
    check_there_and_back("vector_ema", "codes=5 dim=6 heads=3 separate_codebooks=true cosine=true", 3,
                         (int32_t[]){0, 1, 0});
    check_there_and_back("vector_ema", "codes=5 dim=6 heads=2 codebook_dim=4 stochastic=true", 2, (int32_t[]){0, 3, 0});
    check_there_and_back("vector_ema", "codes=9 dim=6 codebook_dim=2", 1, (int32_t[]){0, 1, 0});
    check_there_and_back("vector_ema", "codes=9 dim=6 heads=6 separate_codebooks=true", 6, (int32_t[]){0, 2, 0});
}

/* A head with a codebook of its own finds the nearest code of that one. */
Test(quant_code_options, separate_codebooks_are_apart)
{
    quant_rig r;
    ts_quantized q;
    quant_rig_open(&r, TS_TRAIN);
    void *options = options_of(&r, &ts_vector_ema_kind,
                               "codes=2 dim=2 heads=2 separate_codebooks=true decay=0 "
                               "averages=lucidrains epsilon=1e-9");
    ts_value in = ts_input(r.graph, "z", TS_F32, ts_shape_of(3, 2)), statistics[TS_MAX_STATISTICS];
    ts_vector_ema_kind.build(r.scope, options, in, &q);
    for (int i = 0; i < q.statistic_count; i++)
        statistics[i] = q.statistics[i].value;
    ts_error err = {0};
    cr_assert_eq(ts_store_seal(r.store, r.device, 7, &err), TS_OK, "%s", err.text);
    ts_vector_ema_kind.update(r.scope, options, statistics, TS_ABSENT);
    ts_output(q.ids, "ids");
    ts_output(q.codes, "codes");
    quant_rig_plan(&r);
    ts_store_set(r.store, ts_store_find(r.store, "codebook"), TS_BLOCK_VALUE, (float[]){0, 10, 100, 110});
    ts_program_set(r.program, in, (float[]){1, 1, 8, 120, 2, 104});
    quant_rig_run(&r);
    int32_t *ids = quant_rig_read(&r, q.ids);
    float *codes = quant_rig_read(&r, q.codes), *count = quant_rig_state(&r, "count"),
          *codebook = quant_rig_state(&r, "codebook");
    cr_expect_arr_eq(ids, ((int32_t[]){0, 0, 1, 1, 0, 0}), 6 * sizeof *ids);
    cr_expect_arr_eq(codes, ((float[]){0, 100, 10, 110, 0, 100}), 6 * sizeof *codes);
    cr_expect_arr_eq(count, ((float[]){2, 1, 2, 1}), 4 * sizeof *count);
    static const float wanted[4] = {1.5f, 8, 52.5f, 120};
    for (int k = 0; k < 4; k++)
        cr_expect(fabsf(codebook[k] - wanted[k]) < 1e-4f, "code %d is %g", k, (double)codebook[k]);
    ts_free(ids);
    ts_free(codes);
    ts_free(count);
    ts_free(codebook);
    quant_rig_close(&r);
}

/* With beta_on: codebook the weights of the two squared distances change places, and their names stay. */
Test(quant_code_options, beta_on_codebook_swaps_the_weights)
{
    static const char *const names[] = {"vector", "sim_vq"};
    for (int i = 0; i < 2; i++)
        for (int swap = 0; swap < 2; swap++) {
            const ts_quantizer_kind *kind = ts_quantizer_find(names[i]);
            quant_rig r;
            ts_quantized q;
            quant_rig_open(&r, TS_TRAIN);
            kind->build(r.scope,
                        options_of(&r, kind,
                                   swap ? "dim=4 codebook=3 commitment=0.5 beta_on=codebook"
                                        : "dim=4 codebook=3 commitment=0.5"),
                        ts_input(r.graph, "z", TS_F32, ts_shape_of(5, 4)), &q);
            cr_assert_str_eq(q.losses[0].name, "codebook");
            cr_assert_str_eq(q.losses[1].name, "commitment");
            cr_expect_eq(q.losses[0].weight, swap ? 0.5 : 3);
            cr_expect_eq(q.losses[1].weight, swap ? 3 : 0.5);
            quant_rig_close(&r);
        }
}
