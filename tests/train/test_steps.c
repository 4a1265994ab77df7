/* Steps are given before it is known how the one before them went. Whether the trainer looks at once (a line of metrics
 * at every step) or one step late, a run with steps that are not finite comes to the same, bit for bit. */
#include "train/steps.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/files/container.h"
#include "tests/train/motion_folder.h"
#include "train/checkpoint.h"
#include "train/trainer.h"

enum { COLUMNS = 8, FRAMES = 16, CLIPS = 6, BATCH = 2 };

static temp_folder folder;
static ts_error err;

/* Clip 4 is so large that its squared error is infinite: one batch in three. */
static void write_tree(void)
{
    static float huge[FRAMES * COLUMNS];
    folder = temp_folder_make();
    write_motion_tree(&folder, CLIPS, FRAMES, COLUMNS);
    write_motion_statistics(&folder, COLUMNS, 0, 1);
    for (int i = 0; i < FRAMES * COLUMNS; i++)
        huge[i] = 1e25f * (float)(1 + i % 5);
    write_npy(&folder, "new_joint_vecs/4.npy", TS_F32, ts_shape_of(FRAMES, COLUMNS), huge);
}

static void remove_tree(void)
{
    temp_folder_remove(&folder);
}

TestSuite(train_steps, .init = write_tree, .fini = remove_tree);

typedef struct {
    const char *quantizer, *norm, *train;
    ts_status ends; /* of ts_train */
} sample;

static ts_config *config_of(const sample *s, int log_every)
{
    char yaml[1024];
    snprintf(yaml, sizeof yaml,
             "data: {kind: motion, path: %s, window: %d}\n"
             "model: {kind: motion_conv, width: 32, depth: 1, norm: %s}\n"
             "quantizer: {%s}\n"
             "train: {steps: 11, batch: %d, lr: 1e-3, ema: 0.9, loss: mse, eval_every: 0, eval_limit: 1, "
             "checkpoint_every: 4, log_every: %d, %s}\n",
             folder.path, FRAMES, s->norm, s->quantizer, BATCH, log_every, s->train);
    ts_config *config;
    cr_assert_eq(ts_config_parse(&config, ts_experiment_schema(), "test", yaml, strlen(yaml), NULL, &err), TS_OK, "%s",
                 err.text);
    return config;
}

/* What the run left behind: its state, and every tensor in its last checkpoint. */
static ts_container *run_to_its_end(const sample *s, const char *device, const char *name, int log_every,
                                    ts_train_state *state)
{
    char run[600], last[700];
    int signal;
    ts_experiment e;
    ts_container *c;
    snprintf(run, sizeof run, "%s/%s", folder.path, name);
    snprintf(last, sizeof last, "%s/checkpoints/last.h5", run);
    ts_trainer_options options = {.run = run, .device = device, .threads = 1, .quiet = true};
    cr_assert_eq(ts_train(config_of(s, log_every), &options, &signal, &err), s->ends, "%s: %s", s->train, err.text);
    cr_assert_eq(ts_checkpoint_experiment(&e, last, NULL, "cpu", 1, state, &err), TS_OK, "%s", err.text);
    ts_experiment_close(&e);
    cr_assert_eq(ts_container_open(&c, last, &err), TS_OK, "%s", err.text);
    return c;
}

/* trainer.usage is cleared with every line of metrics. */
static void expect_same(ts_container *a, ts_container *b, const char *what)
{
    int compared = 0;
    cr_assert_eq(ts_container_count(a), ts_container_count(b));
    for (int64_t i = 0; i < ts_container_count(a); i++) {
        const ts_container_entry *x = ts_container_at(a, i), *y = ts_container_find(b, x->name);
        cr_assert(y, "%s: %s is missing", what, x->name);
        cr_expect_null(strstr(x->name, "trainer.live"), "%s: nobody needs %s", what, x->name);
        if (strstr(x->name, "trainer.usage"))
            continue;
        cr_expect_eq(memcmp(&x->hash, &y->hash, sizeof x->hash), 0, "%s: %s differs", what, x->name);
        compared++;
    }
    cr_assert_geq(compared, 40);
}

static const sample samples[] = {
    {"kind: vector_reset, codes: 8, dim: 4, decay: 0.9", "BN", "on_nonfinite: skip", TS_OK},
    {"kind: vector_ema, codes: 8, dim: 4, decay: 0.9", "BN", "on_nonfinite: skip, accumulate: 2", TS_OK},
    {"kind: finite_scalar, levels: [4, 3]", "none", "on_nonfinite: skip, optimizer: sgd, clip: 1", TS_OK},
    {"kind: vector_reset, codes: 8, dim: 4, decay: 0.9", "BN", "on_nonfinite: rollback", TS_OK},
    {"kind: vector, codes: 8, dim: 4", "LN", "on_nonfinite: rollback, accumulate: 2", TS_OK},
    {"kind: vector_reset, codes: 8, dim: 4, decay: 0.9", "BN", "on_nonfinite: stop", TS_ERR_RUNTIME},
};

static void expect_late_is_the_same(const sample *s, const char *device)
{
    char text[sizeof err.text];
    ts_train_state a, b;
    err = (ts_error){0};
    ts_container *x = run_to_its_end(s, device, "once", 1, &a);
    snprintf(text, sizeof text, "%s", err.text);
    ts_container *y = run_to_its_end(s, device, "late", 1000, &b);
    cr_expect_str_eq(err.text, text);
    expect_same(x, y, s->train);
    cr_expect_eq(a.step, b.step, "%s: %d and %d", s->train, (int)a.step, (int)b.step);
    cr_expect(a.applied == b.applied && a.skipped == b.skipped && a.rolled_back == b.rolled_back);
    if (s->ends == TS_OK)
        cr_expect(a.step == 11 && a.skipped + a.rolled_back >= 3, "no step failed");
    else
        cr_expect_lt(a.step, 3);
    ts_container_close(x);
    ts_container_close(y);
}

/* Every sample has a tree and runs of its own. */
static void expect_for(size_t first, size_t end, const char *device)
{
    for (size_t i = first; i < end; i++) {
        expect_late_is_the_same(&samples[i], device);
        remove_tree();
        write_tree();
    }
}

Test(train_steps, looking_a_step_late_changes_nothing)
{
    expect_for(0, sizeof samples / sizeof *samples, "cpu");
}

/* The same over the emulated GPU, where a step is recorded and replayed, and its numbers come by way of pinned memory.
 */
Test(train_steps, nor_does_it_on_the_cuda_backend)
{
    setenv("TESSERA_CUDA_MODULE", TESSERA_CUDA_EMULATED, 0);
    expect_for(0, 1, "cuda");
}
