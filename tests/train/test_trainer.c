/* The training loop on tiny data: it learns, guards itself, stops when told, and starts from other weights. */
#include "train/trainer.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/memory.h"
#include "tests/train/temp_folder.h"
#include "train/checkpoint.h"
#include "train/programs.h"

static ts_error err;

static ts_config *config_with(const char *const *overrides)
{
    static const char yaml[] = "data: {kind: shapes, count: 200, size: 16}\n"
                               "model: {kind: image_small, width: 4}\n"
                               "quantizer: {kind: vector, codes: 16, dim: 4}\n"
                               "train: {steps: 6, batch: 10, lr: 1e-3, log_every: 2, eval_every: 0, eval_limit: 20}\n";
    ts_config *config;
    cr_assert_eq(ts_config_parse(&config, ts_experiment_schema(), "test", yaml, strlen(yaml), overrides, &err), TS_OK,
                 "%s", err.text);
    return config;
}

static ts_status train(const char *run, const char *const *overrides, ts_trainer_options options)
{
    int signal;
    options.run = run;
    options.device = "cpu";
    options.threads = 1;
    options.quiet = true;
    err = (ts_error){0};
    return ts_train(config_with(overrides), &options, &signal, &err);
}

/* The run's last checkpoint, opened for inference; asserts that every parameter is finite. */
static ts_train_state open_last(const char *run, ts_experiment *e)
{
    char path[700];
    ts_train_state state;
    snprintf(path, sizeof path, "%s/checkpoints/last.h5", run);
    cr_assert_eq(ts_checkpoint_experiment(e, path, NULL, "cpu", 1, &state, &err), TS_OK, "%s", err.text);
    const float *value = ts_store_block(e->store, TS_BLOCK_VALUE);
    for (int64_t i = 0; i < ts_store_parameter_count(e->store); i++)
        cr_assert(isfinite(value[i]));
    return state;
}

/* One batch again and again: the loss falls to a fraction. */
Test(train_trainer, overfits_one_batch)
{
    ts_experiment e;
    ts_training t;
    const char *overrides[] = {"train.lr=3e-3", "quantizer.kind=finite_scalar", NULL};
    cr_assert_eq(ts_experiment_open(&e, config_with(overrides), "cpu", 1, &err), TS_OK, "%s", err.text);
    cr_assert_eq(ts_experiment_open_data(&e, TS_SPLIT_TRAIN, &err), TS_OK, "%s", err.text);
    cr_assert_eq(ts_training_open(&t, &e, &err), TS_OK, "%s", err.text);
    float x[10 * 16 * 16 * 3], first = 0, loss = 0;
    for (int i = 0; i < 10; i++)
        cr_assert_eq(ts_dataset_read(e.train_data, i, 0, x + i * 768, &err), TS_OK);
    ts_program_set(t.step, t.x, x);
    for (int step = 0; step < 400; step++) {
        float schedule[TS_SCHEDULE_SLOTS];
        int64_t random[2] = {1, step};
        ts_schedule_fill(e.train, step, step, schedule);
        ts_program_set(t.step, t.schedule, schedule);
        ts_program_set(t.step, t.random, random);
        cr_assert_eq(ts_program_run(t.step, &err), TS_OK, "%s", err.text);
        ts_program_get(t.step, t.loss, &loss);
        first = step == 0 ? loss : first;
    }
    cr_assert_lt(loss, 0.35f * first, "loss %g after 400 steps, %g at the start", (double)loss, (double)first);
    ts_training_close(&t);
    ts_experiment_close(&e);
}

/* A learning rate that throws the weights out of range: each policy does what it says, and no checkpoint is spoiled. */
static const char *const explode[] = {"train.lr=1000", "train.optimizer=sgd", "train.loss_scale=1e12", NULL};

Test(train_trainer, stops_at_a_loss_that_is_not_finite)
{
    temp_folder root = temp_folder_make();
    ts_experiment e;
    char run[600];
    snprintf(run, sizeof run, "%s/run", root.path);
    cr_assert_eq(train(run, explode, (ts_trainer_options){0}), TS_ERR_RUNTIME);
    cr_assert(strstr(err.text, "not finite") && strstr(err.text, "--check-nan"), "%s", err.text);
    ts_train_state state = open_last(run, &e);
    cr_assert_lt(state.step, 6);
    ts_experiment_close(&e);
    temp_folder_remove(&root);
}

Test(train_trainer, skips_steps_that_are_not_finite)
{
    temp_folder root = temp_folder_make();
    ts_experiment e;
    char run[600];
    const char *overrides[] = {explode[0], explode[1], explode[2], "train.on_nonfinite=skip", NULL};
    snprintf(run, sizeof run, "%s/run", root.path);
    cr_assert_eq(train(run, overrides, (ts_trainer_options){0}), TS_OK, "%s", err.text);
    ts_train_state state = open_last(run, &e);
    cr_assert_eq(state.step, 6);
    cr_assert_gt(state.skipped, 0);
    cr_assert_eq(state.applied + state.skipped, 6);
    ts_experiment_close(&e);
    temp_folder_remove(&root);
}

Test(train_trainer, rolls_back_and_gives_up_in_the_end)
{
    temp_folder root = temp_folder_make();
    char run[600];
    const char *overrides[] = {explode[0],       explode[1], explode[2], "train.on_nonfinite=rollback",
                               "train.steps=40", NULL};
    snprintf(run, sizeof run, "%s/run", root.path);
    cr_assert_eq(train(run, overrides, (ts_trainer_options){0}), TS_ERR_RUNTIME);
    cr_assert(strstr(err.text, "rollbacks"), "%s", err.text);
    ts_experiment e;
    cr_assert_eq(open_last(run, &e).step, 0);
    ts_experiment_close(&e);
    temp_folder_remove(&root);
}

Test(train_trainer, check_nan_names_the_producer)
{
    temp_folder root = temp_folder_make();
    char run[600];
    snprintf(run, sizeof run, "%s/run", root.path);
    cr_assert_eq(train(run, explode, (ts_trainer_options){.check_nan = true}), TS_ERR_RUNTIME);
    cr_assert(strstr(err.text, "first such value") && strstr(err.text, ": "), "%s", err.text);
    temp_folder_remove(&root);
}

Test(train_trainer, frozen_parameters_stay)
{
    temp_folder root = temp_folder_make();
    ts_experiment e, untrained;
    char run[600];
    const char *overrides[] = {"train.freeze=[encoder]", NULL};
    snprintf(run, sizeof run, "%s/run", root.path);
    cr_assert_eq(train(run, overrides, (ts_trainer_options){0}), TS_OK, "%s", err.text);
    open_last(run, &e);
    cr_assert_eq(ts_experiment_open(&untrained, config_with(overrides), "cpu", 1, &err), TS_OK);
    cr_assert_eq(ts_experiment_set_item(&untrained, ts_shape_of(16, 16, 3), TS_RANGE_SIGNED, &err), TS_OK);
    cr_assert_eq(ts_experiment_make_store(&untrained, &err), TS_OK);
    int same = 0, moved = 0;
    for (int i = 0; i < ts_store_count(e.store); i++) {
        const ts_variable *v = ts_store_at(e.store, i), *w = ts_store_find(untrained.store, v->path);
        size_t bytes = (size_t)ts_shape_count(v->type.shape) * sizeof(float);
        bool equal = memcmp(ts_store_address(e.store, v, TS_BLOCK_VALUE),
                            ts_store_address(untrained.store, w, TS_BLOCK_VALUE), bytes) == 0;
        cr_expect_eq(equal, strncmp(v->path, "encoder", 7) == 0, "%s", v->path);
        same += equal;
        moved += !equal;
    }
    cr_assert(same == 6 && moved == 7);
    ts_experiment_close(&e);
    ts_experiment_close(&untrained);
    temp_folder_remove(&root);
}

Test(train_trainer, freezing_nothing_is_an_error)
{
    temp_folder root = temp_folder_make();
    const char *overrides[] = {"train.freeze=[encodr]", NULL};
    cr_assert_eq(train(root.path, overrides, (ts_trainer_options){0}), TS_ERR_USAGE);
    cr_assert(strstr(err.text, "encodr"), "%s", err.text);
    temp_folder_remove(&root);
}

Test(train_trainer, starts_from_other_weights)
{
    temp_folder root = temp_folder_make();
    char first[600], second[600], from[700];
    snprintf(first, sizeof first, "%s/first", root.path);
    snprintf(second, sizeof second, "%s/second", root.path);
    snprintf(from, sizeof from, "%s/checkpoints/last.h5", first);
    const char *none[] = {NULL}, *still[] = {"train.lr=0", "train.weight_decay=0", NULL};
    cr_assert_eq(train(first, none, (ts_trainer_options){0}), TS_OK, "%s", err.text);
    cr_assert_eq(train(second, still, (ts_trainer_options){.init_from = from}), TS_OK, "%s", err.text);
    ts_experiment a, b;
    open_last(first, &a);
    ts_train_state state = open_last(second, &b);
    cr_assert_eq(state.step, 6, "the second run counts its own steps");
    cr_assert_eq(memcmp(ts_store_block(a.store, TS_BLOCK_VALUE), ts_store_block(b.store, TS_BLOCK_VALUE),
                        (size_t)ts_store_parameter_count(a.store) * sizeof(float)),
                 0);
    ts_experiment_close(&a);
    ts_experiment_close(&b);
    temp_folder_remove(&root);
}

Test(train_trainer, weights_of_another_model_are_refused)
{
    temp_folder root = temp_folder_make();
    char first[600], second[600], from[700];
    snprintf(first, sizeof first, "%s/first", root.path);
    snprintf(second, sizeof second, "%s/second", root.path);
    snprintf(from, sizeof from, "%s/checkpoints/last.h5", first);
    const char *none[] = {NULL}, *wider[] = {"model.width=8", NULL};
    cr_assert_eq(train(first, none, (ts_trainer_options){0}), TS_OK, "%s", err.text);
    cr_assert_eq(train(second, wider, (ts_trainer_options){.init_from = from}), TS_ERR_CHECKPOINT);
    cr_assert(strstr(err.text, "encoder.conv1") || strstr(err.text, "decoder.conv1"), "%s", err.text);
    temp_folder_remove(&root);
}

Test(train_trainer, patience_ends_a_run)
{
    temp_folder root = temp_folder_make();
    ts_experiment e;
    char run[600];
    const char *overrides[] = {"train.lr=0",         "train.weight_decay=0", "train.patience=2",
                               "train.eval_every=1", "train.steps=50",       NULL};
    snprintf(run, sizeof run, "%s/run", root.path);
    cr_assert_eq(train(run, overrides, (ts_trainer_options){0}), TS_OK, "%s", err.text);
    ts_train_state state = open_last(run, &e);
    cr_assert_eq(state.step, 3);
    cr_assert_eq(state.best_step, 1);
    ts_experiment_close(&e);
    temp_folder_remove(&root);
}

/* T2M-GPT's warm-up and torch's MultiStepLR; a cosine from lr to min_lr. */
Test(train_schedule, values)
{
    ts_train_options o = {.steps = 110, .lr = 2, .warmup = 10, .schedule = TS_SCHEDULE_MULTISTEP, .gamma = 0.1};
    o.milestones = (ts_int_list){2, {50, 80}};
    cr_assert_float_eq(ts_schedule_at(&o, 0).lr, 2 * 1 / 11.0, 1e-12);
    cr_assert_float_eq(ts_schedule_at(&o, 9).lr, 2 * 10 / 11.0, 1e-12);
    cr_assert_float_eq(ts_schedule_at(&o, 49).lr, 2, 1e-12);
    cr_assert_float_eq(ts_schedule_at(&o, 50).lr, 0.2, 1e-12);
    cr_assert_float_eq(ts_schedule_at(&o, 80).lr, 0.02, 1e-12);
    o.schedule = TS_SCHEDULE_COSINE;
    o.min_lr = 1;
    cr_assert_float_eq(ts_schedule_at(&o, 10).lr, 2, 1e-12);
    cr_assert_float_eq(ts_schedule_at(&o, 60).lr, 1.5, 1e-12);
    cr_assert_float_eq(ts_schedule_at(&o, 110).lr, 1, 1e-12);
    o.commitment_warmup = 4;
    o.continuous_steps = 2;
    cr_assert(ts_schedule_at(&o, 1).continuous && !ts_schedule_at(&o, 2).continuous);
    cr_assert_float_eq(ts_schedule_at(&o, 1).commitment, 0.25, 1e-12);
    cr_assert_float_eq(ts_schedule_at(&o, 4).commitment, 1, 1e-12);
}
