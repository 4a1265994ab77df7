/* A tokenizer of motion from its config on: the terms of the loss in training and in evaluation, the error of joints in
 * millimetres, batch norm's running statistics, and that it learns. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/memory.h"
#include "models/motion_metrics.h"
#include "tests/train/motion_folder.h"
#include "train/checkpoint.h"
#include "train/checkpoint_motion.h"
#include "train/data_kinds.h"
#include "train/evaluate.h"
#include "train/motion_layout_file.h"

enum { COLUMNS = 251, FRAMES = 24, WINDOW = 16, CLIPS = 4 };

static temp_folder folder;
static ts_error err;

static void write_tree(void)
{
    folder = temp_folder_make();
    write_motion_tree(&folder, CLIPS, FRAMES, COLUMNS);
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
             "train: {batch: 4, loss: smooth_l1, lr: 3e-3, eval_clips: false}\n",
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
    ts_motion_restore(&e.motion, CLIPS * WINDOW, x);
    ts_motion_restore(&e.motion, CLIPS * WINDOW, y);
    mm = ts_motion_mpjpe(ts_motion_layout_of(COLUMNS), y, x, CLIPS * WINDOW, NULL, NULL);
    cr_assert_float_eq(v.motion.mpjpe_mm, mm, 1e-4 * mm);
    cr_assert(mm > 1 && mm < 20, "joints move within 5 mm: %g", mm);
    ts_evaluation_clear(&v);
    ts_experiment_close(&e);
}

Test(train_motion_training, batch_norm_keeps_its_statistics_with_the_weights)
{
    const char *overrides[] = {"model.norm=BN", "quantizer.kind=vector_reset", NULL};
    ts_experiment e = open_experiment(overrides);
    ts_training t;
    ts_start start;
    float first, last, mean[16];
    open_data(&e);
    cr_assert_eq(ts_training_open(&t, &e, &err), TS_OK, "%s", err.text);
    const ts_variable *v = ts_store_find(e.store, "encoder.down.0.block.0.norm1.running_mean");
    cr_assert(v && v->role == TS_ROLE_STATE);
    cr_assert_eq(ts_start_open(&start, &e, 0, &err), TS_OK, "%s", err.text);
    cr_assert_eq(ts_program_run(start.program, &err), TS_OK, "%s", err.text);
    ts_start_close(&start);
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
    cr_assert_not_null(strstr(err.text, "items are [16, 16, 3], expected frames whose columns are known"), "%s",
                       err.text);
    ts_experiment_close(&e);
}

/* ---- what a checkpoint knows ---- */

static const char *save(const ts_experiment *e)
{
    static char path[600];
    ts_train_state state = {.best = NAN};
    snprintf(path, sizeof path, "%s/saved.h5", folder.path);
    cr_assert_eq(ts_checkpoint_save(e, &state, path, false, &err), TS_OK, "%s", err.text);
    return path;
}

static ts_experiment trained(const char *path, const char *const *overrides)
{
    ts_experiment e;
    cr_assert_eq(ts_checkpoint_experiment(&e, path, overrides, "cpu", 1, NULL, &err), TS_OK, "%s", err.text);
    return e;
}

static double millimetres(ts_experiment *e)
{
    ts_evaluation v;
    cr_assert_eq(ts_evaluate(e, TS_SPLIT_VAL, false, 0, NULL, NULL, &v, &err), TS_OK, "%s", err.text);
    double mm = v.motion.mpjpe_mm;
    ts_evaluation_clear(&v);
    return mm;
}

/* A model understands its own normalisation and no other: that of the data is told, and not used. */
Test(train_motion_training, a_checkpoint_brings_its_mean_and_deviation)
{
    char where[200] = "";
    ts_experiment e = open_experiment(NULL);
    open_data(&e);
    cr_assert_eq(ts_experiment_make_store(&e, &err), TS_OK, "%s", err.text);
    const char *path = save(&e);
    double before = millimetres(&e);
    ts_experiment t = trained(path, NULL);
    cr_assert(t.motion.known && t.motion.columns == COLUMNS && ts_experiment_motion_layout(&t));
    cr_assert(ts_motion_same_values(&t.motion, &e.motion, where, sizeof where), "%s", where);
    cr_assert_eq(millimetres(&t), before);
    cr_assert_str_eq(t.val_data->note, "");
    ts_experiment_close(&t);
    write_motion_statistics(&folder, COLUMNS, 7, 3);
    t = trained(path, NULL);
    cr_assert_eq(millimetres(&t), before);
    cr_assert_not_null(strstr(t.val_data->note, "Mean.npy: is not what the model was trained with (column 0 has mean 7 "
                                                "and std 3, not mean "),
                       "%s", t.val_data->note);
    ts_experiment_close(&t);
    t = trained(path, (const char *const[]){"data.normalize=false", NULL});
    cr_assert_eq(ts_experiment_open_data(&t, TS_SPLIT_VAL, &err), TS_ERR_USAGE);
    cr_assert_str_eq(err.text, "data.normalize=false: the model was trained on values that are normalised");
    ts_experiment_close(&t);
    ts_experiment_close(&e);
}

/* The layout of kit as a file, a line of it replaced. */
static const char *write_layout(const char *line, const char *by)
{
    static char text[4000], option[600];
    ts_error error = {0};
    char *kit;
    cr_assert_eq(ts_motion_layout_print(ts_motion_layout_find("kit"), &kit, &error), TS_OK);
    const char *at = strstr(kit, line);
    cr_assert_not_null(at, "%s", line);
    snprintf(text, sizeof text, "%.*s%s%s", (int)(at - kit), kit, by, at + strlen(line));
    ts_free(kit);
    snprintf(option, sizeof option, "data.layout=%s", temp_write(&folder, "rig.yaml", text, strlen(text)));
    return option;
}

Test(train_motion_training, a_checkpoint_brings_its_layout)
{
    const char *own = write_layout("unit_mm: 1\n", "unit_mm: 10\n");
    const char *const overrides[] = {own, "data.fps=100", NULL};
    ts_experiment kit = open_experiment(NULL), e = open_experiment(overrides);
    open_data(&kit);
    open_data(&e);
    cr_assert_eq(ts_experiment_make_store(&kit, &err), TS_OK, "%s", err.text);
    cr_assert_eq(ts_experiment_make_store(&e, &err), TS_OK, "%s", err.text);
    double mm = millimetres(&e);
    cr_assert_float_eq(mm, 10 * millimetres(&kit), 1e-9 * mm, "the unit is that of the file");
    const char *path = save(&e);
    remove(temp_path(&folder, "rig.yaml"));
    ts_experiment t = trained(path, NULL);
    const ts_motion_layout *layout = ts_experiment_motion_layout(&t);
    cr_assert(layout && layout->unit_mm == 10 && layout->fps == 100);
    cr_assert_eq(millimetres(&t), mm);
    cr_assert_str_eq(t.val_data->note, "", "a file that is gone is not missed");
    ts_experiment_close(&t);
    t = trained(path, (const char *const[]){"data.layout=kit", NULL});
    cr_assert_eq(millimetres(&t), mm);
    cr_assert_not_null(
        strstr(t.val_data->note, "data.layout kit is not what the model was trained with (unit_mm); the model's own"),
        "%s", t.val_data->note);
    ts_experiment_close(&t);
    ts_experiment_close(&e);
    ts_experiment_close(&kit);
}

Test(train_motion_training, resuming_with_another_layout_is_refused)
{
    ts_train_state state;
    const char *overrides[] = {write_layout("fps: 12.5", "fps: 12.5"), NULL};
    ts_experiment e = open_experiment(overrides);
    open_data(&e);
    cr_assert_eq(ts_experiment_make_store(&e, &err), TS_OK, "%s", err.text);
    const char *path = save(&e);
    ts_experiment_close(&e);
    write_layout("contacts: 247:251", "contacts: none");
    e = open_experiment(overrides);
    open_data(&e);
    cr_assert_eq(ts_experiment_make_store(&e, &err), TS_OK, "%s", err.text);
    cr_assert_eq(ts_checkpoint_restore(&e, path, TS_RESTORE_RESUME, &state, &err), TS_ERR_DATA);
    cr_assert_not_null(strstr(err.text,
                              "saved.h5: the run was trained with another layout of the columns than the data "
                              "has now: other contacts;"),
                       "%s", err.text);
    ts_experiment_close(&e);
}

Test(train_motion_training, values_that_are_not_normalised_stay_so)
{
    const char *plain[] = {"data.normalize=false", NULL}, *normalised[] = {"data.normalize=true", NULL};
    ts_experiment e = open_experiment(plain);
    open_data(&e);
    cr_assert_eq(ts_experiment_make_store(&e, &err), TS_OK, "%s", err.text);
    const char *path = save(&e);
    ts_experiment t = trained(path, NULL);
    cr_assert(t.motion.known && !t.motion.mean && ts_experiment_motion_layout(&t));
    cr_assert_eq(millimetres(&t), millimetres(&e));
    ts_experiment_close(&t);
    t = trained(path, normalised);
    cr_assert_eq(ts_experiment_open_data(&t, TS_SPLIT_VAL, &err), TS_ERR_USAGE);
    cr_assert_str_eq(err.text, "data.normalize=true: the model was trained on values that are not normalised");
    ts_experiment_close(&t);
    ts_experiment_close(&e);
}

Test(train_motion_training, frames_of_another_width_than_the_model_knows)
{
    ts_experiment e = open_experiment(NULL);
    open_data(&e);
    cr_assert_eq(ts_experiment_make_store(&e, &err), TS_OK, "%s", err.text);
    const char *path = save(&e);
    ts_experiment_close(&e);
    write_motion_tree(&folder, CLIPS, FRAMES, 263);
    ts_experiment t = trained(path, NULL);
    cr_assert_eq(ts_experiment_open_data(&t, TS_SPLIT_VAL, &err), TS_ERR_DATA);
    cr_assert_not_null(strstr(err.text, "new_joint_vecs: frames of 263 columns, the model was trained on 251"), "%s",
                       err.text);
    ts_experiment_close(&t);
}

Test(train_motion_training, a_checkpoint_from_before_motion_was_saved)
{
    ts_experiment e = open_experiment(NULL);
    open_data(&e);
    cr_assert_eq(ts_experiment_make_store(&e, &err), TS_OK, "%s", err.text);
    double before = millimetres(&e);
    e.motion.known = false;
    ts_experiment t = trained(save(&e), NULL);
    cr_assert(!t.motion.known && t.motion.columns == COLUMNS && !t.motion.mean);
    cr_assert_eq(millimetres(&t), before, "by the data's own");
    cr_assert(t.motion.known);
    ts_experiment_close(&t);
    ts_experiment_close(&e);
}

/* Only the run itself may go on; and only on the values that it began with. */
Test(train_motion_training, resuming_with_other_statistics_is_refused)
{
    ts_train_state state;
    ts_experiment e = open_experiment(NULL);
    open_data(&e);
    cr_assert_eq(ts_experiment_make_store(&e, &err), TS_OK, "%s", err.text);
    const char *path = save(&e);
    cr_assert_eq(ts_checkpoint_restore(&e, path, TS_RESTORE_RESUME, &state, &err), TS_OK, "%s", err.text);
    ts_experiment_close(&e);
    write_motion_statistics(&folder, COLUMNS, 7, 3);
    e = open_experiment(NULL);
    open_data(&e);
    cr_assert_eq(ts_experiment_make_store(&e, &err), TS_OK, "%s", err.text);
    cr_assert_eq(ts_checkpoint_restore(&e, path, TS_RESTORE_RESUME, &state, &err), TS_ERR_DATA);
    cr_assert_not_null(strstr(err.text, "saved.h5: the run was trained with another mean and deviation than the data "
                                        "has now: column 0 has mean 7 and std 3, not mean"),
                       "%s", err.text);
    cr_assert_eq(ts_checkpoint_restore(&e, path, TS_RESTORE_WEIGHTS, NULL, &err), TS_OK, "another run may start there");
    ts_experiment_close(&e);
}

static void save_rows(const char *path, const ts_named_tensor *row, int count, const char *layout)
{
    ts_container_writer *w;
    cr_assert_eq(ts_container_writer_new(&w, path, &err), TS_OK, "%s", err.text);
    for (int i = 0; i < count; i++)
        cr_assert_eq(ts_container_add(w, &row[i], &err), TS_OK, "%s", err.text);
    if (layout)
        cr_assert_eq(ts_container_add_text(w, TS_MOTION_LAYOUT_TEXT, layout, &err), TS_OK, "%s", err.text);
    cr_assert_eq(ts_container_commit(w, TS_REPLACE_DROP, &err), TS_OK, "%s", err.text);
    ts_container_writer_free(w);
}

static void must_refuse_motion(const char *path, const char *text)
{
    ts_container *c;
    ts_arena arena = {0};
    ts_motion m;
    cr_assert_eq(ts_container_open(&c, path, &err), TS_OK, "%s", err.text);
    cr_expect_eq(ts_checkpoint_motion_read(&m, c, path, &arena, &err), TS_ERR_CHECKPOINT, "expected: %s", text);
    cr_expect_not_null(strstr(err.text, text), "expected: %s, found: %s", text, err.text);
    ts_container_close(c);
    ts_arena_clear(&arena);
}

Test(train_motion_training, motion_of_a_checkpoint_that_cannot_be)
{
    float good[4] = {1, 2, 3, 4}, zero[4] = {1, 0, 1, 1}, nan[4] = {1, NAN, 1, 1};
    int32_t whole[4] = {1, 1, 1, 1};
    const ts_tensor ok = {TS_F32, ts_shape_of(4), good};
    const struct {
        const char *second;
        ts_tensor mean, std;
    } cases[] = {{"motion/std", ok, {TS_F32, ts_shape_of(4), zero}},
                 {"motion/std", {TS_F32, ts_shape_of(4), nan}, ok},
                 {"motion/std", ok, {TS_F32, ts_shape_of(4), nan}},
                 {"motion/std", ok, {TS_F32, ts_shape_of(3), good}},
                 {"motion/std", ok, {TS_F32, ts_shape_of(2, 2), good}},
                 {"motion/std", ok, {TS_I32, ts_shape_of(4), whole}},
                 {"motion/other", ok, ok}};
    char path[600];
    snprintf(path, sizeof path, "%s/rows.h5", folder.path);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        save_rows(path, (ts_named_tensor[]){{"motion/mean", cases[i].mean}, {cases[i].second, cases[i].std}}, 2, NULL);
        must_refuse_motion(path, "rows.h5: expected motion/mean and motion/std");
    }
    save_rows(path, (ts_named_tensor[]){{"motion/mean", ok}, {"motion/std", ok}}, 2, "preset: kit");
    must_refuse_motion(path, "rows.h5: a layout of 251 columns, but mean and deviation of 4");
    save_rows(path, NULL, 0, "preset: kit\ncolumns: {count: 3}");
    must_refuse_motion(path, "rows.h5: motion_layout: columns.root (of preset kit): 0:4 goes beyond the 3 columns");
    save_rows(path, NULL, 0, "no layout at all");
    must_refuse_motion(path, "rows.h5: motion_layout:1: expected sections and keys");
}
