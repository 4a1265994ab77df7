/* Promise P4: a run that is stopped, saved and resumed is, bit for bit, the run that was not. For every quantizer, with
 * accumulation, moving average, clipping and a schedule, on one thread and on several. So is one without fusion. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/files/container.h"
#include "tests/train/motion_sample.h"
#include "tests/train/temp_folder.h"
#include "train/checkpoint.h"
#include "train/trainer.h"

static ts_error err;

/* Data and model, as lines of YAML. */
static const char *items = "data: {kind: shapes, count: 300, size: 16}\n"
                           "model: {kind: image_small, width: 4}\n";

static void train(const char *run, const char *quantizer, const char *extra, const char *steps, bool resume,
                  int threads)
{
    char yaml[2048];
    snprintf(yaml, sizeof yaml,
             "%s"
             "quantizer: {%s}\n"
             "train: {steps: 9, batch: 12, lr: 2e-3, clip: 1, ema: 0.9, schedule: cosine, warmup: 2, log_every: 3, "
             "eval_every: 4,"
             " eval_limit: 20, checkpoint_every: 5, commitment_warmup: 3, %s}\n",
             items, quantizer, extra);
    const char *overrides[] = {steps, NULL};
    ts_config *config;
    cr_assert_eq(ts_config_parse(&config, ts_experiment_schema(), "test", yaml, strlen(yaml), overrides, &err), TS_OK,
                 "%s", err.text);
    int signal;
    ts_trainer_options options = {.run = run, .resume = resume, .device = "cpu", .threads = threads, .quiet = true};
    cr_assert_eq(ts_train(config, &options, &signal, &err), TS_OK, "%s: %s", quantizer, err.text);
    cr_assert_eq(signal, 0);
}

/* Every tensor of both files has the same hash, and there are at least `least` of them. */
static void expect_same_tensors(const char *a, const char *b, int least, const char *what)
{
    ts_container *x, *y;
    cr_assert_eq(ts_container_open(&x, a, &err), TS_OK, "%s", err.text);
    cr_assert_eq(ts_container_open(&y, b, &err), TS_OK, "%s", err.text);
    cr_assert_eq(ts_container_count(x), ts_container_count(y));
    cr_assert_geq(ts_container_count(x), least);
    for (int64_t i = 0; i < ts_container_count(x); i++) {
        const ts_container_entry *e = ts_container_at(x, i), *f = ts_container_find(y, e->name);
        cr_assert(f, "%s: %s is missing", what, e->name);
        cr_expect(memcmp(&e->hash, &f->hash, sizeof e->hash) == 0, "%s: %s differs", what, e->name);
    }
    ts_container_close(x);
    ts_container_close(y);
}

static void expect_same_state(const char *a, const char *b)
{
    ts_experiment e;
    ts_train_state x, y;
    cr_assert_eq(ts_checkpoint_experiment(&e, a, NULL, "cpu", 1, &x, &err), TS_OK, "%s", err.text);
    ts_experiment_close(&e);
    cr_assert_eq(ts_checkpoint_experiment(&e, b, NULL, "cpu", 1, &y, &err), TS_OK, "%s", err.text);
    ts_experiment_close(&e);
    cr_expect(x.step == y.step && x.applied == y.applied && x.best_step == y.best_step &&
              x.evaluations_since_best == y.evaluations_since_best && x.initialised == y.initialised);
    cr_expect(memcmp(&x.best, &y.best, sizeof x.best) == 0, "best %.17g, resumed %.17g", x.best, y.best);
}

static const char *const quantizers[] = {
    "kind: finite_scalar, levels: [4, 3, 3]",
    "kind: finite_scalar, levels: [4, 3], codebooks: 2, dim: 6, bound: google",
    "kind: vector, codes: 16, dim: 4",
    "kind: vector_ema, codes: 16, dim: 4, decay: 0.9",
    "kind: vector_reset, codes: 16, dim: 4, decay: 0.9",
    "kind: vector_reset, codes: 300, dim: 4",
    "kind: vector_reset, codes: 16, dim: 4, ema: false",
    "kind: lookup_free, bits: 5",
    "kind: lookup_free, bits: 4, codebooks: 2, dim: 6, spherical: true, rotation: true, commitment: 0.25",
    "kind: spherical, bits: 8, group: 4, dim: 6",
    "kind: sim_vq, codes: 16, dim: 4",
    "kind: finite_scalar, levels: [4, 3], bound: symmetric, hard_clamp: true, layers: 4, dim: 5, dropout: 1",
    "kind: finite_scalar, levels: [2, 3], bound: symmetric, noise_dropout: 0.5, groups: 2",
    "kind: vector, codes: 16, dim: 4, rotation: true",
    "kind: vector_ema, codes: 16, dim: 4, averages: lucidrains, rotation: true",
    "kind: vector_ema, codes: 16, dim: 4, averages: lucidrains, cosine: true, init: kmeans, expire: 0.5, decay: 0.7",
    "kind: vector_reset, codes: 16, dim: 4, init: kmeans, kmeans_rounds: 3",
    "kind: vector, codes: 16, dim: 4, layers: 3",
    "kind: vector_ema, codes: 16, dim: 4, layers: 2, decay: 0.9",
    "kind: vector_ema, codes: 16, dim: 4, layers: 2, init: kmeans, averages: lucidrains, shared: true",
    "kind: vector_ema, codes: 16, dim: 4, layers: 3, init: kmeans, averages: lucidrains, cosine: true",
    "kind: vector_reset, codes: 16, dim: 4, layers: 3, dropout: 1",
    "kind: vector_reset, codes: 16, dim: 4, layers: 2, groups: 2, init: kmeans",
    "kind: lookup_free, bits: 4, layers: 2, groups: 2, dropout: 1",
    "kind: sim_vq, codes: 16, dim: 4, layers: 2, shared: true",
    "kind: vector, codes: 16, dim: 6, heads: 2, separate_codebooks: true, init: kmeans, kmeans_batches: 2",
    "kind: vector, codes: 16, dim: 6, stochastic: true, temperature: 0.5, diversity: 0.1, cross_entropy: true",
    "kind: vector_ema, codes: 16, dim: 6, heads: 3, codebook_dim: 4, averages: lucidrains, stochastic: true",
    "kind: vector_ema, codes: 16, dim: 4, learnable: true, orthogonal: 2, orthogonal_most: 5, cosine: true",
    "kind: vector_reset, codes: 16, dim: 6, heads: 2, cosine: true, expire: 0.3, reset_averages: true",
    "kind: vector_ema, codes: 16, dim: 6, layers: 2, shared: true, codebook_dim: 3, expire: 0.5, init: kmeans",
    "kind: latent, levels: [4, 3], dim: 5",
    "kind: random_projection, codes: 16, dim: 4, code_dim: 3, codebooks: 2",
    "kind: scalar_perturbation, levels: [4, 3], quantize_rate: 0.5",
};

static void resume_is_exact(const char *quantizer, const char *extra, int threads)
{
    char whole[600], parts[600], a[700], b[700];
    temp_folder root = temp_folder_make();
    snprintf(whole, sizeof whole, "%s/whole", root.path);
    snprintf(parts, sizeof parts, "%s/parts", root.path);
    train(whole, quantizer, extra, "train.steps=9", false, threads);
    train(parts, quantizer, extra, "train.max_time=1e-9", false, threads); /* stops after its first step */
    train(parts, quantizer, extra, "train.steps=9", true, threads);
    snprintf(a, sizeof a, "%s/checkpoints/last.h5", whole);
    snprintf(b, sizeof b, "%s/checkpoints/last.h5", parts);
    expect_same_tensors(a, b, 20, quantizer);
    expect_same_state(a, b);
    temp_folder_remove(&root);
}

Test(train_resume, is_bit_exact_for_every_quantizer)
{
    for (size_t i = 0; i < sizeof quantizers / sizeof *quantizers; i++)
        resume_is_exact(quantizers[i], "nesterov: false", 1);
}

Test(train_resume, is_bit_exact_with_accumulation_and_threads)
{
    resume_is_exact(quantizers[3], "accumulate: 3", 2);
    resume_is_exact(quantizers[4], "accumulate: 2, optimizer: sgd", 2);
    resume_is_exact("kind: vector_reset, codes: 16, dim: 4, layers: 9", "accumulate: 2", 2);
    resume_is_exact(quantizers[0], "optimizer: adam, continuous_steps: 4", 2);
}

Test(train_resume, is_bit_exact_in_bf16)
{
    resume_is_exact(quantizers[0], "precision: bf16", 1);
    resume_is_exact(quantizers[3], "precision: bf16, accumulate: 2", 2);
}

/* A data set with clips shorter than the window, some of them than a token: the order of lengths is part of the data's
 * place, and padding has no part in any state. */
Test(train_resume, is_bit_exact_with_padded_clips)
{
    static const int64_t frames[6] = {20, 7, 16, 2, 11, 30};
    sample_clip clips[24];
    char ids[24][8], yaml[1024];
    temp_folder tree = temp_folder_make();
    for (int i = 0; i < 24; i++) {
        snprintf(ids[i], sizeof ids[i], "%d", i);
        clips[i] = (sample_clip){ids[i], frames[i % 6]};
    }
    motion_sample_split(&tree, "train", 0, clips, 24);
    motion_sample_split(&tree, "val", 0, clips, 6);
    snprintf(yaml, sizeof yaml,
             "data: {kind: motion, path: %s, window: 16, short: pad}\n"
             "model: {kind: motion_conv, width: 4, depth: 1}\n",
             tree.path);
    items = yaml;
    for (size_t i = 0; i < sizeof quantizers / sizeof *quantizers; i++)
        resume_is_exact(quantizers[i], "velocity_loss: 1", 1);
    resume_is_exact(quantizers[4], "accumulate: 3", 2);
    resume_is_exact(quantizers[0], "eval_clips: false, continuous_steps: 4", 2);
    temp_folder_remove(&tree);
}

/* P5: the same seed gives the same weights. */
Test(train_resume, repeats_bit_for_bit)
{
    char a[700], b[700], run[600];
    temp_folder root = temp_folder_make();
    for (int i = 0; i < 2; i++) {
        snprintf(run, sizeof run, "%s/%d", root.path, i);
        train(run, quantizers[3], "nesterov: false", "train.steps=9", false, 2);
    }
    snprintf(a, sizeof a, "%s/0/checkpoints/last.h5", root.path);
    snprintf(b, sizeof b, "%s/1/checkpoints/last.h5", root.path);
    expect_same_tensors(a, b, 20, "repeat");
    temp_folder_remove(&root);
}

/* train.fuse changes no bit of weights, moments, averages and the quantizer's state. */
static void fusing_is_exact(const char *quantizer, const char *extra, const char *steps, int threads)
{
    char run[600], a[700], b[700], more[256];
    temp_folder root = temp_folder_make();
    for (int fuse = 0; fuse < 2; fuse++) {
        snprintf(run, sizeof run, "%s/%d", root.path, fuse);
        snprintf(more, sizeof more, "fuse: %s, %s", fuse ? "true" : "false", extra);
        train(run, quantizer, more, steps, false, threads);
    }
    snprintf(a, sizeof a, "%s/0/checkpoints/last.h5", root.path);
    snprintf(b, sizeof b, "%s/1/checkpoints/last.h5", root.path);
    expect_same_tensors(a, b, 20, quantizer);
    expect_same_state(a, b);
    temp_folder_remove(&root);
}

Test(train_resume, fusing_changes_no_bit_for_any_quantizer)
{
    for (size_t i = 0; i < sizeof quantizers / sizeof *quantizers; i++)
        fusing_is_exact(quantizers[i], "loss: smooth_l1", "train.steps=9", 1);
}

Test(train_resume, fusing_changes_no_bit_in_50_steps)
{
    fusing_is_exact(quantizers[0], "nesterov: false", "train.steps=50", 2);
    fusing_is_exact(quantizers[4], "accumulate: 2, loss: l1", "train.steps=50", 2);
    fusing_is_exact(quantizers[3], "precision: bf16", "train.steps=50", 2);
    items = "data: {kind: shapes, count: 300, size: 16}\n"
            "model: {kind: image_classic, hidden: 24, residual_hidden: 8}\n";
    fusing_is_exact(quantizers[3], "loss: l1_clamped", "train.steps=50", 2);
}
