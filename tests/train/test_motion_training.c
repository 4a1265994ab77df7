/* A tokenizer of motion from its config on: the terms of the loss in training and in evaluation, the error of joints in
 * millimetres, batch norm's running statistics, and that it learns. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/files/npy.h"
#include "core/memory.h"
#include "models/motion_metrics.h"
#include "tests/train/temp_folder.h"
#include "train/data_kinds.h"
#include "train/evaluate.h"
#include "train/motion_tree.h"

enum { COLUMNS = 251, FRAMES = 24, WINDOW = 16, CLIPS = 4 };

static temp_folder folder;
static ts_error err;

static void write_tree(void)
{
    static float x[FRAMES * COLUMNS];
    char name[64], ids[256] = "";
    folder = temp_folder_make();
    for (int clip = 0; clip < CLIPS; clip++) {
        for (int i = 0; i < FRAMES * COLUMNS; i++) {
            int t = i / COLUMNS, c = i % COLUMNS;
            x[i] = (float)(5 * sin(0.3 * (t + 3 * clip) * (1 + c % 3)) + c);
        }
        snprintf(name, sizeof name, "new_joint_vecs/%d.npy", clip);
        const char *path = temp_write(&folder, name, "", 0);
        ts_tensor tensor = {TS_F32, ts_shape_of(FRAMES, COLUMNS), x};
        cr_assert_eq(ts_npy_write(path, &tensor, &err), TS_OK, "%s", err.text);
        snprintf(ids + strlen(ids), sizeof ids - strlen(ids), "%d\n", clip);
    }
    temp_write(&folder, "train.txt", ids, strlen(ids));
    temp_write(&folder, "val.txt", ids, strlen(ids));
}

static void remove_tree(void)
{
    temp_folder_remove(&folder);
}

TestSuite(train_motion_training, .init = write_tree, .fini = remove_tree);

static ts_experiment open_experiment(const char *const *overrides)
{
    char yaml[1024];
    snprintf(yaml, sizeof yaml,
             "data: {kind: motion, path: %s, window: %d}\n"
             "model: {kind: motion_conv, width: 16, depth: 1}\n"
             "quantizer: {kind: vector, codes: 8, dim: 6}\n"
             "train: {batch: 4, loss: smooth_l1, lr: 3e-3}\n",
             folder.path, WINDOW);
    ts_config *config;
    ts_experiment e;
    cr_assert_eq(ts_config_parse(&config, ts_experiment_schema(), "test", yaml, strlen(yaml), overrides, &err), TS_OK,
                 "%s", err.text);
    cr_assert_eq(ts_experiment_open(&e, config, "cpu", 1, &err), TS_OK, "%s", err.text);
    return e;
}

static void open_data(ts_experiment *e)
{
    cr_assert_eq(ts_experiment_open_data(e, TS_SPLIT_TRAIN, &err), TS_OK, "%s", err.text);
    cr_assert_eq(ts_experiment_open_data(e, TS_SPLIT_VAL, &err), TS_OK, "%s", err.text);
}

static const char *const all_terms[] = {"train.loss_vel=0.5", "train.velocity_loss=0.25", "train.acceleration_loss=2",
                                        "train.root_loss=0.125", NULL};
static const double weights[4] = {0.5, 0.25, 2, 0.125};
static const char *const names[4] = {"position", "velocity", "acceleration", "root"};

/* Runs steps on one batch; the loss of the first and the last. */
static void train(ts_experiment *e, ts_training *t, int steps, float *first, float *last)
{
    static float x[4 * WINDOW * COLUMNS];
    for (int i = 0; i < 4; i++)
        cr_assert_eq(ts_dataset_read(e->train_data, i, 0, x + i * WINDOW * COLUMNS, &err), TS_OK, "%s", err.text);
    ts_program_set(t->step, t->x, x);
    for (int step = 0; step < steps; step++) {
        float schedule[TS_SCHEDULE_SLOTS];
        int64_t random[2] = {1, step};
        ts_schedule_fill(e->train, step, step, schedule);
        ts_program_set(t->step, t->schedule, schedule);
        ts_program_set(t->step, t->random, random);
        cr_assert_eq(ts_program_run(t->step, &err), TS_OK, "%s", err.text);
        ts_program_get(t->step, t->loss, last);
        if (step == 0)
            *first = *last;
    }
}

static double part(const ts_training *t, const char *name)
{
    float value = NAN;
    for (int i = 0; i < t->part_count; i++)
        if (strcmp(t->parts[i].name, name) == 0)
            ts_program_get(t->step, t->parts[i].value, &value);
    return (double)value;
}

Test(train_motion_training, the_loss_is_the_sum_of_its_terms_and_falls)
{
    ts_experiment e = open_experiment(all_terms);
    ts_training t;
    float first, last;
    open_data(&e);
    cr_assert_eq(ts_training_open(&t, &e, &err), TS_OK, "%s", err.text);
    cr_assert_eq(t.part_count, 7);
    train(&e, &t, 1, &first, &last);
    double sum = part(&t, "recon") + part(&t, "codebook") + 0.25 * part(&t, "commitment");
    for (int i = 0; i < 4; i++)
        sum += weights[i] * part(&t, names[i]);
    cr_assert_float_eq(first, sum, 1e-5 * sum);
    train(&e, &t, 200, &first, &last);
    cr_assert_lt(last, 0.6f * first, "loss %g after 200 steps, %g at the start", (double)last, (double)first);
    ts_training_close(&t);
    ts_experiment_close(&e);
}

/* Of values that are not normalised any more: against the same, made of items that never were. */
Test(train_motion_training, evaluation_has_the_terms_and_millimetres)
{
    ts_experiment e = open_experiment(all_terms);
    static float x[CLIPS * WINDOW * COLUMNS], y[CLIPS * WINDOW * COLUMNS];
    ts_evaluation v;
    open_data(&e);
    cr_assert_eq(ts_experiment_make_store(&e, &err), TS_OK, "%s", err.text);
    cr_assert_eq(ts_evaluate(&e, TS_SPLIT_VAL, false, CLIPS, x, y, &v, &err), TS_OK, "%s", err.text);
    cr_assert_eq(v.part_count, 6);
    double loss = v.recon + v.parts[0] + 0.25 * v.parts[1], mm = 0;
    for (int i = 0; i < 4; i++) {
        cr_assert_str_eq(v.part_names[2 + i], names[i]);
        loss += weights[i] * v.parts[2 + i];
    }
    cr_assert_float_eq(v.loss, loss, 1e-6 * loss);
    const ts_motion_statistics *s = ts_dataset_motion_statistics(e.val_data);
    for (int i = 0; i < CLIPS * WINDOW * COLUMNS; i++) {
        x[i] = x[i] * s->std[i % COLUMNS] + s->mean[i % COLUMNS];
        y[i] = y[i] * s->std[i % COLUMNS] + s->mean[i % COLUMNS];
    }
    mm = ts_motion_mpjpe(ts_motion_layout_of(COLUMNS), y, x, CLIPS * WINDOW, NULL, NULL);
    cr_assert_float_eq(v.mpjpe_mm, mm, 1e-4 * mm);
    cr_assert(mm > 1 && mm < 20, "joints move within 5 mm: %g", mm);
    ts_evaluation_clear(&v);
    ts_experiment_close(&e);
}

Test(train_motion_training, batch_norm_keeps_its_statistics_with_the_weights)
{
    const char *overrides[] = {"model.norm=BN", "quantizer.kind=vector_reset", NULL};
    ts_experiment e = open_experiment(overrides);
    ts_training t;
    float first, last, mean[16];
    open_data(&e);
    cr_assert_eq(ts_training_open(&t, &e, &err), TS_OK, "%s", err.text);
    const ts_variable *v = ts_store_find(e.store, "encoder.down.0.block.0.norm1.running_mean");
    cr_assert(v && v->role == TS_ROLE_STATE);
    cr_assert_eq(ts_program_run(t.init, &err), TS_OK, "%s", err.text);
    ts_store_get(e.store, v, TS_BLOCK_STATE, mean);
    cr_assert_eq(mean[0], 0, "the first batch's pass for the codebook leaves them");
    train(&e, &t, 3, &first, &last);
    ts_store_get(e.store, v, TS_BLOCK_STATE, mean);
    cr_assert_neq(mean[0], 0);
    ts_training_close(&t);
    ts_experiment_close(&e);
}

Test(train_motion_training, terms_of_motion_need_motion)
{
    const char *yaml = "data: {kind: shapes, size: 16}\nmodel: {kind: image_small, width: 4}\n"
                       "quantizer: {kind: vector}\ntrain: {root_loss: 1}\n";
    ts_config *config;
    ts_experiment e;
    cr_assert_eq(ts_config_parse(&config, ts_experiment_schema(), "test", yaml, strlen(yaml), NULL, &err), TS_OK, "%s",
                 err.text);
    cr_assert_eq(ts_experiment_open(&e, config, "cpu", 1, &err), TS_OK, "%s", err.text);
    cr_assert_eq(ts_experiment_open_data(&e, TS_SPLIT_VAL, &err), TS_ERR_USAGE);
    cr_assert_not_null(strstr(err.text, "items are [16, 16, 3], expected frames of 263, 251 or 272 columns"), "%s",
                       err.text);
    ts_experiment_close(&e);
}
