#include "quant/vector.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "autograd/differentiate.h"
#include "autograd/fuse.h"
#include "autograd/node.h"
#include "autograd/ops.h"
#include "tests/quant/quant_rig.h"

static const ts_quantizer_kind *const kinds[] = {&ts_vector_kind, &ts_vector_ema_kind, &ts_vector_reset_kind};
enum { KINDS = 3 };

/* codes and dim are the first fields of all three. */
static void *sized_options(quant_rig *r, const ts_quantizer_kind *kind, int64_t codes, int64_t dim)
{
    ts_vector_options *o = quant_rig_defaults(r, kind);
    o->codes = codes;
    o->dim = dim;
    return o;
}

/* The whole training step of a kind: forward, gradient of z, update of the state. */
static ts_quantized build_step(quant_rig *r, const ts_quantizer_kind *kind, const void *options, ts_value z,
                               ts_value ok)
{
    ts_quantized q;
    ts_value gradient, statistics[TS_MAX_STATISTICS];
    ts_error err = {0};
    kind->build(r->scope, options, z, &q);
    ts_differentiate(ts_quantized_total(&q), 1, &z, &gradient);
    ts_output(gradient, "gradient");
    ts_output(q.codes, "codes");
    ts_output(q.ids, "ids");
    cr_assert_eq(ts_graph_check(r->graph, &err), TS_OK, "%s", err.text);
    cr_assert_eq(ts_store_seal(r->store, r->device, 7, &err), TS_OK, "%s", err.text);
    for (int i = 0; i < q.statistic_count; i++)
        statistics[i] = q.statistics[i].value;
    if (kind->update)
        kind->update(r->scope, options, statistics, ok);
    return q;
}

/* The distances of all tokens to all codes, and the one-hot matrix, are never in memory. */
Test(quant_vector, no_tokens_times_codes_matrix)
{
    enum { N = 4096, K = 65536, D = 8 };
    for (int i = 0; i < KINDS; i++) {
        quant_rig r;
        quant_rig_open(&r, TS_TRAIN);
        build_step(&r, kinds[i], sized_options(&r, kinds[i], K, D), ts_input(r.graph, "z", TS_F32, ts_shape_of(N, D)),
                   TS_ABSENT);
        ts_error err = {0};
        ts_plan *plan;
        cr_assert_eq(ts_plan_new(r.graph, r.device, &plan, &err), TS_OK, "%s", err.text);
        double matrix = (double)N * K * sizeof(float);
        cr_assert_lt((double)plan->arena_bytes, matrix / 50, "%s: %zu bytes", kinds[i]->name, plan->arena_bytes);
        ts_plan_free(plan);
        quant_rig_close(&r);
    }
}

/* What a step of these sizes needs beside its tokens, in MB. */
static double planned_mb(const ts_quantizer_kind *kind, int64_t tokens, int64_t codes, int64_t dim)
{
    quant_rig r;
    ts_plan *plan;
    ts_error err = {0};
    quant_rig_open(&r, TS_TRAIN);
    build_step(&r, kind, sized_options(&r, kind, codes, dim), ts_input(r.graph, "z", TS_F32, ts_shape_of(tokens, dim)),
               TS_ABSENT);
    ts_fuse(r.graph); /* as a training does */
    cr_assert_eq(ts_plan_new(r.graph, r.device, &plan, &err), TS_OK, "%s", err.text);
    double bytes = (double)plan->arena_bytes - (double)(tokens * dim) * sizeof(float);
    ts_plan_free(plan);
    quant_rig_close(&r);
    return bytes / 1e6;
}

/* Distances of 16384 tokens to 65536 codes would be 4.3 GB. */
Test(quant_vector, memory_of_a_large_codebook)
{
    static const double most_mb[KINDS] = {15, 50, 50};
    for (int i = 0; i < KINDS; i++) {
        double mb = planned_mb(kinds[i], 16384, 65536, 64);
        cr_expect(mb > 0 && mb < most_mb[i], "%s needs %g MB", kinds[i]->name, mb);
    }
}

/* The counts of a million codes, as the trainer keeps them. */
Test(quant_vector, memory_of_a_million_counts)
{
    enum { K = 1 << 20 };
    quant_rig r;
    ts_plan *plan;
    ts_error err = {0};
    quant_rig_open(&r, TS_TRAIN);
    ts_value ids = ts_input(r.graph, "ids", TS_I32, ts_shape_of(4096));
    ts_value usage = ts_state(r.scope, "usage", TS_I64, ts_shape_of(K), TS_ZEROS);
    cr_assert_eq(ts_store_seal(r.store, r.device, 7, &err), TS_OK, "%s", err.text);
    ts_assign_add(usage, ts_count(ids, K), TS_ABSENT);
    cr_assert_eq(ts_plan_new(r.graph, r.device, &plan, &err), TS_OK, "%s", err.text);
    cr_expect(plan->arena_bytes > 0 && plan->arena_bytes < 16000000, "%zu bytes", plan->arena_bytes);
    ts_plan_free(plan);
    quant_rig_close(&r);
}

static void set_variable(quant_rig *r, const char *path, const void *host)
{
    const ts_variable *v = ts_store_find(r->store, path);
    cr_assert_not_null(v, "no variable %s", path);
    ts_store_set(r->store, v, TS_BLOCK_VALUE, host);
}

/* A NaN gives id -1 and a row of NaN; an id that names no code decodes to NaN. */
Test(quant_vector, nan_has_no_id)
{
    for (int i = 0; i < KINDS; i++) {
        quant_rig r;
        ts_quantized q;
        quant_rig_open(&r, TS_EVAL);
        ts_value z = ts_input(r.graph, "z", TS_F32, ts_shape_of(3, 2));
        kinds[i]->build(r.scope, sized_options(&r, kinds[i], 3, 2), z, &q);
        ts_output(q.codes, "codes");
        ts_output(q.ids, "ids");
        quant_rig_plan(&r);
        set_variable(&r, "codebook", (float[]){0, 0, 4, 4, -4, 4});
        ts_program_set(r.program, z, (float[]){3, 3, 0, NAN, -3, 5});
        quant_rig_run(&r);
        int32_t *ids = quant_rig_read(&r, q.ids);
        float *codes = quant_rig_read(&r, q.codes);
        cr_assert(ids[0] == 1 && ids[1] == -1 && ids[2] == 2, "%d %d %d", ids[0], ids[1], ids[2]);
        cr_assert(codes[0] == 4 && codes[1] == 4 && isnan(codes[2]) && isnan(codes[3]) && codes[4] == -4);
        quant_rig_next(&r, TS_INFER);
        ts_value in = ts_input(r.graph, "ids", TS_I32, ts_shape_of(3, 1));
        ts_value decoded = kinds[i]->decode(r.scope, sized_options(&r, kinds[i], 3, 2), in);
        ts_output(decoded, "decoded");
        quant_rig_plan(&r);
        ts_program_set(r.program, in, ids);
        quant_rig_run(&r);
        float *back = quant_rig_read(&r, decoded);
        for (int k = 0; k < 6; k++)
            cr_assert(back[k] == codes[k] || (isnan(back[k]) && isnan(codes[k])));
        ts_free(ids);
        ts_free(codes);
        ts_free(back);
        quant_rig_close(&r);
    }
}

Test(quant_vector, operands_that_do_not_fit)
{
    for (int i = 0; i < KINDS; i++) {
        quant_rig r;
        ts_quantized q;
        quant_rig_open(&r, TS_TRAIN);
        void *options = sized_options(&r, kinds[i], 16, 8);
        kinds[i]->build(ts_sub(r.scope, "quantizer"), options, ts_input(r.graph, "z", TS_F32, ts_shape_of(2, 5, 7)),
                        &q);
        cr_assert_not(ts_present(q.codes) || ts_present(q.ids));
        quant_rig_expect_error(&r, "quantizer: nearest code: z is [2, 5, 7], expected 8 channels");
        quant_rig_close(&r);
        quant_rig_open(&r, TS_TRAIN);
        options = sized_options(&r, kinds[i], 16, 8);
        kinds[i]->decode(r.scope, options, ts_input(r.graph, "ids", TS_I32, ts_shape_of(5, 2)));
        quant_rig_expect_error(&r, "code: ids are [5, 2], expected a last axis of 1");
        quant_rig_close(&r);
    }
}

Test(quant_vector, info)
{
    ts_error err = {0};
    ts_quantizer_info info;
    ts_vector_reset_options o = {.codes = 512, .dim = 32};
    cr_assert_eq(ts_vector_reset_kind.info(&o, &info, &err), TS_ERR_USAGE);
    cr_assert(strstr(err.text, "ema and reset are both off"), "%s", err.text);
    o.reset = true;
    cr_assert_eq(ts_vector_reset_kind.info(&o, &info, &err), TS_OK);
    cr_assert(info.codes == 512 && info.width == 32 && info.groups == 1);
    const ts_option *codes = ts_option_find(ts_vector_kind.table, "nb_code");
    ts_vector_options v;
    ts_arena arena = {0};
    cr_assert_eq(ts_option_parse(codes, "16777216", &v, &arena, &err), TS_OK);
    cr_assert_eq(ts_option_parse(codes, "16777217", &v, &arena, &err), TS_ERR_USAGE);
    cr_assert_eq(ts_option_parse(codes, "0", &v, &arena, &err), TS_ERR_USAGE);
    ts_arena_clear(&arena);
}

static bool same(const float *a, const float *b, int n)
{
    return memcmp(a, b, (size_t)n * sizeof *a) == 0;
}

/* A step that is not ok changes nothing; one that is changes the codebook. */
Test(quant_vector, update_is_guarded)
{
    enum { N = 6, K = 4, D = 2 };
    for (int i = 1; i < KINDS; i++) {
        quant_rig r;
        quant_rig_open(&r, TS_TRAIN);
        ts_value z = ts_input(r.graph, "z", TS_F32, ts_shape_of(N, D)),
                 ok = ts_input(r.graph, "ok", TS_F32, ts_shape_of());
        build_step(&r, kinds[i], sized_options(&r, kinds[i], K, D), z, ok);
        quant_rig_plan(&r);
        float *before[3], *after[3];
        const char *path[3] = {"codebook", "count", "sum"};
        const int count[3] = {K * D, K, K * D};
        for (int run = 0; run < 2; run++) {
            for (int k = 0; k < 3; k++)
                before[k] = quant_rig_state(&r, path[k]);
            ts_program_set(r.program, z, (float[]){1, 2, 3, 4, 5, 6, 1, 1, 2, 2, 3, 3});
            ts_program_set(r.program, ok, &(float){(float)run});
            quant_rig_run(&r);
            for (int k = 0; k < 3; k++) {
                after[k] = quant_rig_state(&r, path[k]);
                cr_assert_eq(same(before[k], after[k], count[k]), run == 0, "%s of %s", path[k], kinds[i]->name);
                ts_free(before[k]);
                ts_free(after[k]);
            }
        }
        quant_rig_close(&r);
    }
}

/* A code that nothing uses for 20 000 steps: its averages are lost in underflow, the code stays a number. */
Test(quant_vector, a_forgotten_code_stays_what_it_was)
{
    quant_rig r;
    quant_rig_open(&r, TS_TRAIN);
    ts_vector_reset_options *o = sized_options(&r, &ts_vector_reset_kind, 2, 1);
    o->reset = false;
    ts_value z = ts_input(r.graph, "z", TS_F32, ts_shape_of(4, 1));
    build_step(&r, &ts_vector_reset_kind, o, z, TS_ABSENT);
    quant_rig_plan(&r);
    set_variable(&r, "codebook", (float[]){0, 9});
    set_variable(&r, "sum", (float[]){0, 9});
    ts_program_set(r.program, z, (float[]){1, 2, 1, 2});
    for (int step = 0; step < 20000; step++)
        quant_rig_run(&r);
    float *codebook = quant_rig_state(&r, "codebook"), *counts = quant_rig_state(&r, "count");
    cr_assert(fabsf(codebook[0] - 1.5f) < 1e-4f && counts[1] < 1e-20f);
    cr_assert(fabsf(codebook[1] - 9) < 1e-2f, "%g", (double)codebook[1]);
    ts_free(codebook);
    ts_free(counts);
    quant_rig_close(&r);
}

/* Fewer rows than codes: every code is a row of the batch with a little noise, and no two are the same. */
Test(quant_vector, first_codebook_from_few_rows)
{
    enum { N = 3, K = 10, D = 2 };
    quant_rig r;
    quant_rig_open(&r, TS_TRAIN);
    const float host[N * D] = {1, 2, 30, 40, -5, 5};
    ts_value z = ts_input(r.graph, "z", TS_F32, ts_shape_of(1, N, D));
    build_step(&r, &ts_vector_reset_kind, sized_options(&r, &ts_vector_reset_kind, K, D), z, TS_ABSENT);
    quant_rig_next(&r, TS_TRAIN);
    z = ts_input(r.graph, "z", TS_F32, ts_shape_of(1, N, D));
    ts_vector_reset_kind.init(r.scope, sized_options(&r, &ts_vector_reset_kind, K, D), z);
    quant_rig_plan(&r);
    ts_program_set(r.program, z, host);
    quant_rig_run(&r);
    float *code = quant_rig_state(&r, "codebook"), *sum = quant_rig_state(&r, "sum");
    cr_assert(same(code, sum, K * D));
    for (int k = 0; k < K; k++) {
        for (int d = 0; d < D; d++)
            cr_assert(fabsf(code[k * D + d] - host[k % N * D + d]) < 0.05f);
        for (int other = 0; other < k; other++)
            cr_assert_not(same(code + k * D, code + other * D, D), "codes %d and %d are the same", other, k);
    }
    ts_free(code);
    ts_free(sum);
    quant_rig_close(&r);
}
