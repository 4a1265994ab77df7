/* An evaluation against the same sums made one item at a time, and structural similarity against stored numbers. The
 * reference device: its results do not depend on the batch. */
#include "train/evaluate.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/memory.h"

enum { ITEMS = 17, BATCH = 7, SIZE = 16 * 16 * 3, K = 12 };

static ts_error err;

static ts_experiment open_experiment(const char *quantizer, const char *const *overrides)
{
    char yaml[512];
    snprintf(yaml, sizeof yaml,
             "data: {kind: shapes, count: 20, val_count: %d, size: 16, channels: 3}\n"
             "model: {kind: image_small, width: 4}\n"
             "quantizer: {%s}\n"
             "train: {batch: %d, loss_scale: 3}\n",
             ITEMS, quantizer, BATCH);
    ts_config *config;
    ts_experiment e;
    cr_assert_eq(ts_config_parse(&config, ts_experiment_schema(), "test", yaml, strlen(yaml), overrides, &err), TS_OK,
                 "%s", err.text);
    cr_assert_eq(ts_experiment_open(&e, config, "ref", 1, &err), TS_OK, "%s", err.text);
    cr_assert_eq(ts_experiment_open_data(&e, TS_SPLIT_VAL, &err), TS_OK, "%s", err.text);
    cr_assert_eq(ts_experiment_make_store(&e, &err), TS_OK, "%s", err.text);
    return e;
}

#define FINITE "kind: finite_scalar, levels: [4, 3]"
#define VECTOR "kind: vector, codes: 12, dim: 4"

static ts_evaluation must_evaluate(ts_experiment *e, ts_split split)
{
    ts_evaluation v;
    cr_assert_eq(ts_evaluate(e, split, false, 0, NULL, NULL, &v, &err), TS_OK, "%s", err.text);
    return v;
}

/* One item through a program of batch 1. */
typedef struct {
    float x[SIZE], y[SIZE];
    int32_t ids[16];
    float losses[TS_MAX_LOSSES];
} passed;

static void pass(ts_experiment *e, ts_inference *f, int64_t index, passed *p)
{
    cr_assert_eq(ts_dataset_read(e->val_data, index, 0, p->x, &err), TS_OK, "%s", err.text);
    ts_program_set(f->program, f->x, p->x);
    cr_assert_eq(ts_program_run(f->program, &err), TS_OK, "%s", err.text);
    ts_program_get(f->program, f->y, p->y);
    cr_assert_leq(ts_shape_count(ts_value_shape(f->ids)), 16);
    ts_program_get(f->program, f->ids, p->ids);
    for (int i = 0; i < f->loss_count; i++)
        ts_program_get(f->program, f->losses[i].value, &p->losses[i]);
}

static double recon_of(int loss, double y, double x)
{
    double d = y - x, clamped = fmin(fmax(y, -1), 1) - x;
    if (loss == TS_LOSS_MSE)
        return d * d;
    if (loss == TS_LOSS_SMOOTH_L1)
        return fabs(d) < 1 ? d * d / 2 : fabs(d) - 0.5;
    return loss == TS_LOSS_L1 ? fabs(d) : fabs(clamped);
}

/* The plain way: every item, one after the other. */
static ts_evaluation expected(ts_experiment *e, int64_t counts[K])
{
    ts_inference f;
    ts_evaluation v = {.items = ITEMS};
    cr_assert_eq(ts_inference_open(&f, e, TS_FORWARD, 1, false, &err), TS_OK, "%s", err.text);
    int64_t tokens = ts_shape_count(ts_value_shape(f.ids));
    for (int64_t i = 0; i < ITEMS; i++) {
        passed p;
        pass(e, &f, i, &p);
        for (int64_t k = 0; k < SIZE; k++) {
            double d = (double)p.y[k] - (double)p.x[k];
            v.mse += d * d / (ITEMS * SIZE);
            v.l1 += fabs(d) / (ITEMS * SIZE);
            v.recon += recon_of(e->train->loss, (double)p.y[k], (double)p.x[k]) / (ITEMS * SIZE);
        }
        v.ssim += ts_ssim(p.x, p.y, 16, 16, 3, 2) / ITEMS;
        for (int64_t t = 0; t < tokens; t++)
            counts[p.ids[t]]++;
        for (int k = 0; k < f.loss_count; k++)
            v.parts[k] += (double)p.losses[k] / ITEMS;
    }
    v.part_count = f.loss_count;
    v.loss = 3 * v.recon;
    for (int k = 0; k < f.loss_count; k++)
        v.loss += f.losses[k].weight * v.parts[k];
    v.psnr = 10 * log10(4 / v.mse);
    ts_inference_close(&f);
    return v;
}

static void expect_near(double found, double wanted, double tolerance, const char *what)
{
    cr_expect(fabs(found - wanted) <= tolerance * fabs(wanted), "%s: %.17g instead of %.17g", what, found, wanted);
}

static ts_evaluation expect_evaluation(ts_experiment *e, const char *what)
{
    int64_t counts[K] = {0}, tokens = 0;
    ts_evaluation v = must_evaluate(e, TS_SPLIT_VAL), want = expected(e, counts);
    cr_expect_eq(v.items, ITEMS);
    expect_near(v.mse, want.mse, 1e-12, what);
    expect_near(v.l1, want.l1, 1e-12, what);
    expect_near(v.recon, want.recon, 1e-12, what);
    expect_near(v.psnr, want.psnr, 1e-12, what);
    expect_near(v.ssim, want.ssim, 1e-12, what);
    expect_near(v.loss, want.loss, 1e-6, what); /* means of a batch are floats */
    cr_expect_eq(v.part_count, want.part_count);
    for (int k = 0; k < v.part_count; k++)
        expect_near(v.parts[k], want.parts[k], 1e-6, v.part_names[k]);
    for (int k = 0; k < K; k++) {
        cr_expect_eq(v.counts[k], counts[k], "%s: code %d", what, k);
        tokens += counts[k];
    }
    cr_expect_eq(v.usage.tokens, tokens);
    cr_expect_eq(v.usage.codes, K);
    cr_expect_geq(tokens, ITEMS);
    return v;
}

static void scale_weights(ts_experiment *e, float factor)
{
    float *weights = ts_store_block(e->store, TS_BLOCK_VALUE);
    for (int64_t k = 0; k < ts_store_parameter_count(e->store); k++)
        weights[k] *= factor;
}

Test(train_evaluate, sums_of_every_loss)
{
    const char *losses[] = {"mse", "l1", "smooth_l1", "l1_clamped"};
    for (int i = 0; i < 4; i++) {
        char override[64];
        snprintf(override, sizeof override, "train.loss=%s", losses[i]);
        ts_experiment e = open_experiment(i % 2 ? VECTOR : FINITE, (const char *[]){override, NULL});
        scale_weights(&e, 20); /* outputs beyond the range, so that a clamp shows */
        ts_evaluation v = expect_evaluation(&e, losses[i]);
        cr_expect(e.train->loss != TS_LOSS_L1_CLAMPED || v.recon < v.l1);
        ts_evaluation_clear(&v);
        ts_experiment_close(&e);
    }
}

Test(train_evaluate, parts_are_named)
{
    ts_experiment e = open_experiment(VECTOR, NULL);
    ts_evaluation v = must_evaluate(&e, TS_SPLIT_VAL);
    bool found = false;
    for (int i = 0; i < v.part_count; i++)
        found |= strcmp(v.part_names[i], "commitment") == 0 && v.parts[i] > 0;
    cr_assert(found);
    ts_evaluation_clear(&v);
    ts_experiment_close(&e);
}

/* Ids of each place in a token are counted by themselves as well: 2 codebooks of a grid, 3 layers of another. */
static void expect_groups(const char *quantizer, int64_t groups)
{
    int64_t counts[8][K] = {{0}};
    int32_t ids[512];
    ts_experiment e = open_experiment(quantizer, NULL);
    ts_evaluation v = must_evaluate(&e, TS_SPLIT_VAL);
    ts_inference f;
    passed p;
    cr_assert_eq(v.groups, groups);
    cr_assert_eq(ts_inference_open(&f, &e, TS_FORWARD, 1, false, &err), TS_OK, "%s", err.text);
    int64_t count = ts_shape_count(ts_value_shape(f.ids));
    cr_assert(count > 0 && count <= 512 && count % groups == 0);
    for (int64_t i = 0; i < ITEMS; i++) {
        cr_assert_eq(ts_dataset_read(e.val_data, i, 0, p.x, &err), TS_OK, "%s", err.text);
        ts_program_set(f.program, f.x, p.x);
        cr_assert_eq(ts_program_run(f.program, &err), TS_OK, "%s", err.text);
        ts_program_get(f.program, f.ids, ids);
        for (int64_t k = 0; k < count; k++)
            counts[k % groups][ids[k]]++;
    }
    for (int64_t g = 0; g < groups; g++) {
        ts_usage want = ts_usage_of(counts[g], K, 0), found = ts_evaluation_group_usage(&v, g);
        cr_expect(found.used == want.used && found.tokens == ITEMS * count / groups, "group %d", (int)g);
        cr_expect_eq(found.perplexity, want.perplexity);
        cr_expect_arr_eq(v.group_counts + g * K, counts[g], sizeof counts[g]);
    }
    ts_inference_close(&f);
    ts_evaluation_clear(&v);
    ts_experiment_close(&e);
}

Test(train_evaluate, groups_by_themselves)
{
    expect_groups("kind: finite_scalar, levels: [4, 3], codebooks: 2", 2);
    expect_groups("kind: finite_scalar, levels: [4, 3], bound: symmetric, hard_clamp: true, layers: 3", 3);
    ts_experiment e = open_experiment(FINITE, NULL);
    ts_evaluation v = must_evaluate(&e, TS_SPLIT_VAL);
    cr_expect(v.groups == 0 && !v.group_counts);
    ts_evaluation_clear(&v);
    ts_experiment_close(&e);
}

/* Batches of any size, a program for the rest, and no thread change what comes out. */
Test(train_evaluate, batch_and_threads_change_nothing)
{
    ts_experiment e = open_experiment(FINITE, NULL);
    ts_evaluation first = must_evaluate(&e, TS_SPLIT_VAL);
    ts_experiment_close(&e);
    const char *batches[] = {"train.eval_batch=1", "train.eval_batch=5", "train.eval_batch=17",
                             "train.eval_batch=1000"};
    for (int i = 0; i < 4; i++) {
        e = open_experiment(FINITE, (const char *[]){batches[i], NULL});
        e.device->threads = i + 1;
        ts_evaluation v = must_evaluate(&e, TS_SPLIT_VAL);
        cr_expect(v.mse == first.mse && v.l1 == first.l1 && v.recon == first.recon && v.psnr == first.psnr &&
                      v.ssim == first.ssim && v.loss == first.loss,
                  "%s", batches[i]);
        cr_expect_eq(memcmp(v.counts, first.counts, K * sizeof *v.counts), 0);
        ts_evaluation_clear(&v);
        ts_experiment_close(&e);
    }
    ts_evaluation_clear(&first);
}

Test(train_evaluate, limit_and_samples)
{
    ts_experiment e = open_experiment(FINITE, (const char *[]){"train.eval_limit=9", NULL});
    static float originals[12 * SIZE], outputs[12 * SIZE];
    originals[9 * SIZE] = outputs[9 * SIZE] = 77;
    ts_evaluation v;
    cr_assert_eq(ts_evaluate(&e, TS_SPLIT_VAL, false, 12, originals, outputs, &v, &err), TS_OK, "%s", err.text);
    cr_expect_eq(v.items, 9);
    cr_expect(originals[9 * SIZE] == 77 && outputs[9 * SIZE] == 77, "no more than there are");
    ts_inference f;
    cr_assert_eq(ts_inference_open(&f, &e, TS_FORWARD, 1, false, &err), TS_OK, "%s", err.text);
    for (int64_t i = 0; i < 9; i++) {
        passed p;
        pass(&e, &f, i, &p);
        cr_expect_eq(memcmp(originals + i * SIZE, p.x, sizeof p.x), 0);
        cr_expect_eq(memcmp(outputs + i * SIZE, p.y, sizeof p.y), 0);
    }
    ts_inference_close(&f);
    ts_evaluation_clear(&v);
    originals[2 * SIZE] = 77;
    cr_assert_eq(ts_evaluate(&e, TS_SPLIT_VAL, false, 2, originals, outputs, &v, &err), TS_OK, "%s", err.text);
    cr_expect_eq(originals[2 * SIZE], 77, "no more than asked for");
    ts_evaluation_clear(&v);
    ts_experiment_close(&e);
}

Test(train_evaluate, training_split)
{
    ts_experiment e = open_experiment(FINITE, NULL);
    ts_evaluation v = must_evaluate(&e, TS_SPLIT_TRAIN), val = must_evaluate(&e, TS_SPLIT_VAL);
    cr_expect_eq(v.items, 20);
    cr_expect_neq(v.mse, val.mse);
    ts_evaluation_clear(&v);
    ts_evaluation_clear(&val);
    ts_experiment_close(&e);
}

Test(train_evaluate, moving_averages_where_asked_for)
{
    ts_experiment e = open_experiment(FINITE, NULL);
    cr_assert_eq(ts_store_need(e.store, TS_BLOCK_EMA, &err), TS_OK, "%s", err.text);
    float *average = ts_store_block(e.store, TS_BLOCK_EMA);
    for (int64_t i = 0; i < ts_store_parameter_count(e.store); i++)
        average[i] *= 0.5f;
    ts_evaluation plain = must_evaluate(&e, TS_SPLIT_VAL), v;
    cr_assert_eq(ts_evaluate(&e, TS_SPLIT_VAL, true, 0, NULL, NULL, &v, &err), TS_OK, "%s", err.text);
    cr_expect_neq(v.mse, plain.mse);
    memcpy(ts_store_block(e.store, TS_BLOCK_VALUE), average,
           (size_t)ts_store_parameter_count(e.store) * sizeof *average);
    ts_evaluation_clear(&plain);
    plain = must_evaluate(&e, TS_SPLIT_VAL);
    cr_expect_eq(v.mse, plain.mse);
    ts_evaluation_clear(&plain);
    ts_evaluation_clear(&v);
    ts_experiment_close(&e);
}

Test(train_evaluate, a_quantizer_without_ids)
{
    ts_experiment e = open_experiment(FINITE ", indices: false", NULL);
    ts_evaluation v = must_evaluate(&e, TS_SPLIT_VAL);
    cr_expect_eq(v.usage.tokens, 0);
    cr_expect_eq(v.usage.codes, K);
    cr_expect_gt(v.mse, 0);
    ts_evaluation_clear(&v);
    ts_experiment_close(&e);
}

Test(train_evaluate, a_value_that_is_not_a_number)
{
    ts_experiment e = open_experiment(FINITE, NULL);
    ((float *)ts_store_block(e.store, TS_BLOCK_VALUE))[0] = NAN;
    ts_evaluation v = must_evaluate(&e, TS_SPLIT_VAL);
    cr_expect(isnan(v.mse) && isnan(v.loss) && isnan(v.psnr) && isnan(v.ssim));
    cr_expect_leq(v.usage.tokens, ITEMS * 16);
    ts_evaluation_clear(&v);
    ts_experiment_close(&e);
}

Test(train_evaluate, out_of_memory_is_an_error)
{
    ts_experiment e = open_experiment(FINITE, NULL);
    for (uint64_t n = 1; n <= 5; n++) { /* its own four, and the loader's first */
        ts_evaluation v;
        ts_alloc_fail_at(n);
        cr_expect_eq(ts_evaluate(&e, TS_SPLIT_VAL, false, 0, NULL, NULL, &v, &err), TS_ERR_RUNTIME);
        ts_alloc_fail_at(0);
        cr_expect_null(v.counts);
    }
    ts_experiment_close(&e);
}

/* ---- structural similarity ---- */

/* Made by tests/interop/ssim_numpy.py, which draws the same images. */
static const struct {
    int height, width, channels;
    double span, ssim;
} similarities[] = {
    {11, 11, 1, 1, 0.764935040259627},  {11, 11, 1, 2, 0.790756934366243}, {12, 17, 1, 1, 0.720537808019409},
    {12, 17, 1, 2, 0.754016949244706},  {28, 28, 1, 1, 0.787581902876331}, {28, 28, 1, 2, 0.809090663587851},
    {32, 32, 3, 1, 0.786554181500738},  {32, 32, 3, 2, 0.808007985938398}, {60, 100, 2, 1, 0.787028404976679},
    {60, 100, 2, 2, 0.808201309499991},
};

static void draw(int height, int width, int channels, float *a, float *b)
{
    for (int y = 0; y < height; y++)
        for (int x = 0; x < width; x++)
            for (int c = 0; c < channels; c++) {
                int i = (y * width + x) * channels + c, p = (13 * y + 7 * x + 50 * c + y * x % 29) % 256;
                a[i] = (float)p / 255;
                b[i] = (float)(p * 3 / 4 + (31 * y + 17 * x + 11 * c) % 64) / 255;
            }
}

static float image_a[60 * 100 * 2], image_b[60 * 100 * 2];

Test(train_evaluate, similarity_is_that_of_the_definition)
{
    for (size_t i = 0; i < sizeof similarities / sizeof *similarities; i++) {
        int h = similarities[i].height, w = similarities[i].width, c = similarities[i].channels;
        draw(h, w, c, image_a, image_b);
        cr_expect_float_eq(ts_ssim(image_a, image_b, h, w, c, similarities[i].span), similarities[i].ssim, 1e-12,
                           "%d x %d x %d", h, w, c);
        cr_expect_float_eq(ts_ssim(image_b, image_a, h, w, c, similarities[i].span), similarities[i].ssim, 1e-12);
    }
}

Test(train_evaluate, similarity_at_its_ends)
{
    draw(20, 20, 1, image_a, image_b);
    cr_expect_float_eq(ts_ssim(image_a, image_a, 20, 20, 1, 1), 1, 1e-12);
    cr_expect(isnan(ts_ssim(image_a, image_b, 10, 20, 1, 1)));
    cr_expect(isnan(ts_ssim(image_a, image_b, 20, 10, 1, 1)));
    for (int i = 0; i < 400; i++)
        image_b[i] = 1 - image_a[i];
    cr_expect_lt(ts_ssim(image_a, image_b, 20, 20, 1, 1), 0, "a negative is unlike");
}
