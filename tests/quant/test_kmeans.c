/* Rows drawn from a batch, k-means by them, and what the vector kinds make of both: first codes, cosine, dead codes. */
#include "quant/kmeans.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "autograd/node.h"
#include "autograd/ops.h"
#include "quant/vector.h"
#include "tests/quant/quant_rig.h"

enum { D = 2 };

/* Draws rows of a batch whose row n is (n, -n); which are they? */
static void drawn(int64_t n, int64_t codes, const float *mask, int64_t seed, double row[])
{
    quant_rig r;
    float host[64 * D];
    quant_rig_open(&r, TS_TRAIN);
    ts_value z = ts_input(r.graph, "z", TS_F32, ts_shape_of(n, D));
    ts_value m = mask ? ts_input(r.graph, "mask", TS_F32, ts_shape_of(n)) : TS_ABSENT;
    ts_value out = ts_drawn_rows(r.scope, z, m, codes);
    ts_output(out, "rows");
    quant_rig_plan(&r);
    for (int64_t i = 0; i < n; i++) {
        host[i * D] = (float)i;
        host[i * D + 1] = (float)-i;
    }
    ts_program_set(r.program, z, host);
    if (mask)
        ts_program_set(r.program, m, mask);
    ts_program_set(r.program, r.scope.random, (int64_t[]){seed, 0});
    quant_rig_run(&r);
    float *found = quant_rig_read(&r, out);
    for (int64_t k = 0; k < codes; k++) {
        row[k] = (double)found[k * D];
        cr_assert(fabs(row[k] + (double)found[k * D + 1]) < 0.1);
    }
    ts_free(found);
    quant_rig_close(&r);
}

Test(quant_kmeans, drawn_rows_are_different_rows_of_the_batch)
{
    int met[11] = {0};
    for (int64_t seed = 1; seed <= 40; seed++) {
        double row[7];
        bool taken[11] = {false};
        drawn(11, 7, NULL, seed, row);
        for (int k = 0; k < 7; k++) {
            int i = (int)row[k];
            cr_assert(i >= 0 && i < 11 && (double)i == row[k], "%g", row[k]);
            cr_assert_not(taken[i], "seed %d: row %d twice", (int)seed, i);
            taken[i] = true;
            met[i]++;
        }
    }
    for (int i = 0; i < 11; i++) /* 280 draws, 25 for each row */
        cr_expect(met[i] > 12 && met[i] < 40, "row %d: %d times", i, met[i]);
}

Test(quant_kmeans, drawn_rows_are_those_that_count)
{
    const float mask[9] = {0, 1, 0, 0, 1, 1, 0, 1, 0};
    for (int64_t seed = 1; seed <= 20; seed++) {
        double row[3];
        drawn(9, 3, mask, seed, row);
        for (int k = 0; k < 3; k++)
            cr_assert(mask[(int)row[k]] == 1 && row[k] == (double)(int)row[k], "%g", row[k]);
    }
}

Test(quant_kmeans, fewer_rows_than_codes_are_apart)
{
    double row[20];
    drawn(3, 20, NULL, 5, row);
    for (int k = 0; k < 20; k++) {
        cr_assert(fabs(row[k] - round(row[k])) < 0.1 && round(row[k]) >= 0 && round(row[k]) <= 2);
        for (int other = 0; other < k; other++)
            cr_assert_neq(row[k], row[other], "codes %d and %d", other, k);
    }
}

/* Three clusters of 5, 3 and 4 rows, far from each other. */
static const float batch[12 * D] = {10, 0, 10, 1,    11, 0,   11, 1,   10.5f, 0.5f, -9, 5,
                                    -9, 6, -8, 5.5f, 0,  -20, 1,  -20, 0,     -21,  1,  -21};
static const float centre[3][D] = {{10.5f, 0.5f}, {-26.f / 3, 5.5f}, {0.5f, -20.5f}};
static const float size[3] = {5, 3, 4};

static void *options_of(quant_rig *r, const ts_quantizer_kind *kind, int64_t codes, const char *const pairs[])
{
    ts_vector_options *o = quant_rig_defaults(r, kind);
    ts_error err = {0};
    o->codes = codes; /* codes and dim are the first fields of all kinds */
    o->dim = D;
    for (int i = 0; pairs[i]; i += 2)
        cr_assert_eq(ts_option_parse(ts_option_find(kind->table, pairs[i]), pairs[i + 1], o, &r->graph->arena, &err),
                     TS_OK, "%s", err.text);
    return o;
}

static void build_state(quant_rig *r, const ts_quantizer_kind *kind, const void *options)
{
    ts_quantized q;
    kind->build(r->scope, options, ts_input(r->graph, "z", TS_F32, ts_shape_of(12, D)), &q);
}

static void initialise(quant_rig *r, const ts_quantizer_kind *kind, int64_t codes, const char *const pairs[],
                       int64_t seed)
{
    quant_rig_open(r, TS_TRAIN);
    build_state(r, kind, options_of(r, kind, codes, pairs));
    ts_error err = {0};
    cr_assert_eq(ts_store_seal(r->store, r->device, 7, &err), TS_OK, "%s", err.text);
    quant_rig_next(r, TS_TRAIN);
    ts_value z = ts_input(r->graph, "z", TS_F32, ts_shape_of(12, D));
    kind->init(r->scope, options_of(r, kind, codes, pairs), z);
    quant_rig_plan(r);
    ts_program_set(r->program, z, batch);
    ts_program_set(r->program, r->scope.random, (int64_t[]){seed, 0});
    quant_rig_run(r);
}

/* From one row of each cluster, Lloyd's rounds end at the means; a start with two rows of one cluster may not, and does
 * end where every centre is the mean of its rows. Counts and sums are of those rows. */
Test(quant_kmeans, centres_counts_and_sums)
{
    static const ts_quantizer_kind *const kinds[] = {&ts_vector_ema_kind, &ts_vector_reset_kind};
    static const char *const pairs[] = {"init", "kmeans", "kmeans_rounds", "8", NULL};
    int found = 0;
    for (int i = 0; i < 2; i++) {
        for (int64_t seed = 1; seed <= 10; seed++) {
            quant_rig r;
            initialise(&r, kinds[i], 3, pairs, seed);
            float *code = quant_rig_state(&r, "codebook"), *count = quant_rig_state(&r, "count"),
                  *sum = quant_rig_state(&r, "sum"), total = 0;
            int here = 0;
            for (int k = 0; k < 3; k++) {
                total += count[k];
                for (int d = 0; d < D; d++)
                    cr_assert(fabsf(sum[k * D + d] - code[k * D + d] * count[k]) < 1e-3f);
                for (int c = 0; c < 3; c++)
                    here += fabsf(code[k * D] - centre[c][0]) + fabsf(code[k * D + 1] - centre[c][1]) < 1e-4f &&
                            count[k] == size[c];
            }
            cr_assert_eq(total, 12, "%g rows", (double)total);
            found += here == 3;
            ts_free(code);
            ts_free(count);
            ts_free(sum);
            quant_rig_close(&r);
        }
    }
    cr_assert_geq(found, 12, "the three means in %d of 20", found);
}

Test(quant_kmeans, the_same_seed_gives_the_same_codes)
{
    static const char *const pairs[] = {"init", "kmeans", NULL};
    float *code[3];
    for (int i = 0; i < 3; i++) {
        quant_rig r;
        initialise(&r, &ts_vector_ema_kind, 5, pairs, i < 2 ? 4 : 9);
        code[i] = quant_rig_state(&r, "codebook");
        quant_rig_close(&r);
    }
    cr_assert_arr_eq(code[0], code[1], 5 * D * sizeof(float));
    cr_assert_neq(memcmp(code[0], code[2], 5 * D * sizeof(float)), 0);
    for (int i = 0; i < 3; i++)
        ts_free(code[i]);
}

Test(quant_kmeans, cosine_centres_have_length_one)
{
    static const char *const pairs[] = {"init", "kmeans", "cosine", "true", NULL};
    quant_rig r;
    initialise(&r, &ts_vector_ema_kind, 20, pairs, 2); /* more codes than rows: most clusters are empty */
    float *code = quant_rig_state(&r, "codebook"), *count = quant_rig_state(&r, "count");
    for (int k = 0; k < 20; k++)
        cr_assert(fabsf(hypotf(code[k * D], code[k * D + 1]) - 1) < 1e-5f && count[k] >= 1);
    ts_free(code);
    ts_free(count);
    quant_rig_close(&r);
}

/* An expired code is a row of the batch, and its averages went along: else the next step would take it back. */
Test(quant_kmeans, an_expired_code_takes_a_row_and_its_averages_go_along)
{
    static const char *const pairs[] = {"averages", "lucidrains", "expire", "0.5", "decay", "0.9", NULL};
    enum { K = 3 };
    quant_rig r;
    ts_quantized q;
    ts_value statistics[TS_MAX_STATISTICS];
    ts_error err = {0};
    quant_rig_open(&r, TS_TRAIN);
    const void *options = options_of(&r, &ts_vector_ema_kind, K, pairs);
    ts_value z = ts_input(r.graph, "z", TS_F32, ts_shape_of(12, D));
    ts_vector_ema_kind.build(r.scope, options, z, &q);
    cr_assert_eq(q.statistic_count, 3);
    for (int i = 0; i < 3; i++)
        statistics[i] = q.statistics[i].value;
    cr_assert_eq(ts_store_seal(r.store, r.device, 7, &err), TS_OK, "%s", err.text);
    ts_vector_ema_kind.update(r.scope, options, statistics, TS_ABSENT);
    ts_output(statistics[2], "rows");
    quant_rig_plan(&r);
    const float codebook[K * D] = {1, 0, 500, 500, 0, -10}, sum[K * D] = {6, 0, 0, 0, 0, -60}, count[K] = {6, 0, 6};
    ts_store_set(r.store, ts_store_find(r.store, "codebook"), TS_BLOCK_VALUE, codebook);
    ts_store_set(r.store, ts_store_find(r.store, "sum"), TS_BLOCK_VALUE, sum);
    ts_store_set(r.store, ts_store_find(r.store, "count"), TS_BLOCK_VALUE, count);
    ts_program_set(r.program, z, batch);
    quant_rig_run(&r);
    float *code = quant_rig_state(&r, "codebook"), *rows = quant_rig_read(&r, statistics[2]),
          *n = quant_rig_state(&r, "count"), *m = quant_rig_state(&r, "sum");
    cr_assert(code[2] == rows[2] && code[3] == rows[3], "%g %g", (double)code[2], (double)code[3]);
    cr_assert(fabsf(n[1] - 2) < 1e-5f, "half of 12 tokens over 3 codes is 2, not %g", (double)n[1]);
    cr_assert(fabsf(m[2] - 2 * rows[2]) < 1e-4f && fabsf(m[3] - 2 * rows[3]) < 1e-4f);
    cr_assert(n[0] > 2 && n[2] > 2 && code[0] != rows[0], "those that are met stay what they are");
    ts_free(code);
    ts_free(rows);
    ts_free(n);
    ts_free(m);
    quant_rig_close(&r);
}

Test(quant_kmeans, what_contradicts_is_refused)
{
    static const struct {
        const ts_quantizer_kind *kind;
        const char *pairs[8], *says;
    } cases[] = {
        {&ts_vector_ema_kind, {"kmeans_rounds", "3"}, "kmeans_rounds is 3, and init is not kmeans"},
        {&ts_vector_kind, {"kmeans_batches", "3"}, "kmeans_batches is 3, and init is not kmeans"},
        {&ts_vector_kind, {"init", "kmeans", "kmeans_batches", "3"}, NULL},
        {&ts_vector_reset_kind, {"kmeans_rounds", "20"}, "kmeans_rounds is 20, and init is not kmeans"},
        {&ts_vector_ema_kind, {"expire", "0.5", "decay", "1"}, "decay is 1, so that no count ever moves"},
        {&ts_vector_ema_kind, {"init", "kmeans", "kmeans_rounds", "3", "expire", "1"}, NULL},
        {&ts_vector_reset_kind, {"init", "kmeans", "kmeans_rounds", "0"}, NULL},
    };
    int refused = 0;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        quant_rig r;
        ts_quantizer_info info;
        ts_error err = {0};
        quant_rig_open(&r, TS_TRAIN);
        ts_status status = cases[i].kind->info(options_of(&r, cases[i].kind, 8, cases[i].pairs), &info, &err);
        cr_expect_eq(status, cases[i].says ? TS_ERR_USAGE : TS_OK, "case %d: %s", (int)i, err.text);
        if (cases[i].says)
            cr_expect(strstr(err.text, cases[i].says), "%s", err.text);
        refused += cases[i].says != NULL;
        quant_rig_close(&r);
    }
    cr_assert_eq(refused, 4);
}

Test(quant_kmeans, drawing_needs_random_numbers)
{
    quant_rig r;
    quant_rig_open(&r, TS_TRAIN);
    r.scope.random = TS_ABSENT;
    ts_drawn_rows(r.scope, ts_input(r.graph, "z", TS_F32, ts_shape_of(4, D)), TS_ABSENT, 2);
    quant_rig_expect_error(&r, "rows for codes: drawing rows needs random numbers");
    quant_rig_close(&r);
}
