/* Motion trees: small ones made here, and the shared one. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/files/npy.h"
#include "core/memory.h"
#include "tests/support/shared.h"
#include "tests/train/temp_folder.h"
#include "train/data_kinds.h"

enum { COLUMNS = 3, WINDOW = 8 };

static temp_folder folder;
static ts_error err;

static void make_folder(void)
{
    folder = temp_folder_make();
}

static void remove_folder(void)
{
    temp_folder_remove(&folder);
}

TestSuite(train_data_motion, .init = make_folder, .fini = remove_folder);

/* ---- trees ---- */

static void write_text(const char *name, const char *text)
{
    temp_write(&folder, name, text, strlen(text));
}

static void write_array(const char *name, ts_dtype dtype, ts_shape shape, const void *values)
{
    ts_tensor t = {dtype, shape, (void *)values};
    const char *path = temp_write(&folder, name, "", 0); /* makes the folders */
    cr_assert_eq(ts_npy_write(path, &t, &err), TS_OK, "%s", err.text);
}

/* Column c of frame t of clip number n is 1000 n + 10 t + c. */
static float value_of(int64_t n, int64_t t, int64_t c)
{
    return (float)(1000 * n + 10 * t + c);
}

static void write_clip(const char *name, int64_t n, int64_t frames, int64_t columns)
{
    static float x[512];
    cr_assert_leq(frames * columns, 512);
    for (int64_t i = 0; i < frames * columns; i++)
        x[i] = value_of(n, i / columns, i % columns);
    write_array(name, TS_F32, ts_shape_of(frames, columns), x);
}

/* Clips 0 (20 frames), 1 (8), 2 (5), 3 (9) for training, 4 (16) and 5 (8) for validation, 6 (8) for the test. */
static void write_tree(void)
{
    static const int64_t frames[7] = {20, 8, 5, 9, 16, 8, 8};
    char name[64];
    for (int i = 0; i < 7; i++) {
        snprintf(name, sizeof name, "new_joint_vecs/clip_%d.npy", i);
        write_clip(name, i, frames[i], COLUMNS);
    }
    write_array("Mean.npy", TS_F32, ts_shape_of(COLUMNS), (float[]){1, 2, 3});
    write_array("Std.npy", TS_F32, ts_shape_of(COLUMNS), (float[]){1, 2, 4});
    write_text("train.txt", "clip_0\nclip_1\r\n\n  clip_2\nclip_3");
    write_text("val.txt", "clip_4\nclip_5\n");
    write_text("test.txt", "clip_6\n");
}

static ts_data_motion_options options(void)
{
    ts_data_motion_options o;
    ts_arena arena = {0};
    cr_assert_eq(ts_options_default(ts_dataset_motion.table, &o, &arena, &err), TS_OK, "%s", err.text);
    ts_arena_clear(&arena);
    o.path = folder.path;
    o.val_split = "val";
    o.motion_type = "vector_272";
    o.version = "version1";
    o.layout = "auto";
    o.window = WINDOW;
    return o;
}

static ts_dataset *must_open(ts_data_motion_options o, ts_split split)
{
    ts_dataset *data;
    cr_assert_eq(ts_dataset_open(&data, &ts_dataset_motion, &o, split, 3, &err), TS_OK, "%s", err.text);
    return data;
}

static void must_refuse_split(ts_data_motion_options o, ts_split split, ts_status code, const char *text)
{
    ts_dataset *data;
    cr_assert_eq(ts_dataset_open(&data, &ts_dataset_motion, &o, split, 3, &err), code, "expected \"%s\"", text);
    cr_assert_not_null(strstr(err.text, text), "expected \"%s\" in: %s", text, err.text);
}

static void must_refuse(ts_data_motion_options o, const char *text)
{
    must_refuse_split(o, TS_SPLIT_TRAIN, TS_ERR_DATA, text);
}

/* ---- windows ---- */

/* Clip and first frame of a window that was not normalised; asserts that the frames follow each other. */
static void identify(const float *x, int64_t *clip, int64_t *start)
{
    *clip = (int64_t)x[0] / 1000;
    *start = (int64_t)x[0] % 1000 / 10;
    for (int64_t t = 0; t < WINDOW; t++)
        for (int64_t c = 0; c < COLUMNS; c++)
            cr_assert_eq(x[t * COLUMNS + c], value_of(*clip, *start + t, c));
}

Test(train_data_motion, windows_from_all_places_and_the_same_again)
{
    write_tree();
    ts_data_motion_options o = options();
    o.normalize = false;
    ts_dataset *data = must_open(o, TS_SPLIT_TRAIN), *again = must_open(o, TS_SPLIT_TRAIN);
    cr_assert_eq(data->count, 3, "clip 2 is too short");
    cr_assert(ts_shape_equal(data->item, ts_shape_of(WINDOW, COLUMNS)));
    static const int64_t clips[3] = {0, 1, 3}, places[3] = {13, 1, 2};
    for (int64_t i = 0; i < 3; i++) {
        int seen[20] = {0}, different = 0;
        for (uint64_t epoch = 0; epoch < 300; epoch++) {
            float x[WINDOW * COLUMNS], y[WINDOW * COLUMNS];
            int64_t clip, start;
            cr_assert_eq(ts_dataset_read(data, i, epoch, x, &err), TS_OK, "%s", err.text);
            cr_assert_eq(ts_dataset_read(again, i, epoch, y, &err), TS_OK);
            cr_assert_eq(memcmp(x, y, sizeof x), 0);
            identify(x, &clip, &start);
            cr_assert_eq(clip, clips[i]);
            different += seen[start]++ == 0;
        }
        cr_assert_eq(different, places[i], "clip %d: %d places", (int)clips[i], different);
        cr_assert(seen[0] > 0 && seen[places[i] - 1] > 0, "both ends");
    }
    ts_dataset_close(data);
    ts_dataset_close(again);
}

Test(train_data_motion, validation_is_the_same_in_every_epoch)
{
    write_tree();
    ts_data_motion_options o = options();
    o.normalize = false;
    o.windows = 4;
    ts_dataset *data = must_open(o, TS_SPLIT_VAL);
    cr_assert_eq(data->count, 8);
    for (int64_t i = 0; i < 8; i++) {
        float x[WINDOW * COLUMNS], y[WINDOW * COLUMNS];
        int64_t clip, start;
        cr_assert_eq(ts_dataset_read(data, i, 0, x, &err), TS_OK);
        cr_assert_eq(ts_dataset_read(data, i, 5, y, &err), TS_OK);
        cr_assert_eq(memcmp(x, y, sizeof x), 0);
        identify(x, &clip, &start);
        cr_assert_eq(clip, i % 2 ? 5 : 4);
    }
    ts_dataset_close(data);
    o.val_split = "test";
    data = must_open(o, TS_SPLIT_VAL);
    cr_assert_eq(data->sources, 1);
    ts_dataset_close(data);
}

Test(train_data_motion, short_clips_are_skipped_and_counted_held_or_refused)
{
    write_tree();
    ts_data_motion_options o = options();
    ts_dataset *data = must_open(o, TS_SPLIT_TRAIN);
    ts_error first;
    cr_assert_eq(ts_dataset_skipped(data, &first), 1);
    cr_assert_not_null(strstr(first.text, "clip_2: 5 frames, shorter than data.window=8"), "%s", first.text);
    ts_dataset_close(data);
    o.short_clips = TS_SHORT_STOP;
    must_refuse(o, "clip_2: 5 frames");
    o.short_clips = TS_SHORT_HOLD;
    o.normalize = false;
    data = must_open(o, TS_SPLIT_TRAIN);
    cr_assert_eq(data->count, 4);
    cr_assert_eq(ts_dataset_skipped(data, NULL), 0);
    float x[WINDOW * COLUMNS];
    cr_assert_eq(ts_dataset_read(data, 2, 9, x, &err), TS_OK);
    for (int64_t t = 0; t < WINDOW; t++)
        cr_assert_eq(x[t * COLUMNS + 1], value_of(2, t < 5 ? t : 4, 1));
    ts_dataset_close(data);
}

/* The whole clip, the mean behind it, and how long it is; the same in every epoch. */
Test(train_data_motion, short_clips_are_padded_with_the_mean)
{
    write_tree();
    ts_data_motion_options o = options();
    o.short_clips = TS_SHORT_PAD;
    ts_dataset *data = must_open(o, TS_SPLIT_TRAIN);
    static const int32_t lengths[4] = {8, 8, 5, 8};
    cr_assert_eq(data->count, 4);
    cr_assert_eq(ts_dataset_skipped(data, NULL), 0);
    for (int64_t i = 0; i < 4; i++) {
        float x[WINDOW * COLUMNS], y[WINDOW * COLUMNS];
        int32_t length = 0;
        cr_assert_eq(ts_dataset_read_part(data, i, 9, x, &length, &err), TS_OK, "%s", err.text);
        cr_assert_eq(length, lengths[i]);
        cr_assert_eq(ts_dataset_read(data, i, 9, y, &err), TS_OK);
        cr_assert_arr_eq(x, y, sizeof x);
    }
    float x[WINDOW * COLUMNS];
    cr_assert_eq(ts_dataset_read(data, 2, 1, x, &err), TS_OK);
    for (int64_t t = 0; t < WINDOW; t++)
        for (int64_t c = 0; c < COLUMNS; c++)
            cr_assert_eq(x[t * COLUMNS + c], t < 5 ? (value_of(2, t, c) - (float)(c + 1)) / (float)(1 << c) : 0);
    write_clip("new_joint_vecs/clip_2.npy", 2, 4, COLUMNS); /* shorter than it was listed */
    cr_assert_eq(ts_dataset_read(data, 2, 1, x, &err), TS_OK, "the next one in its place");
    cr_assert_eq(ts_dataset_skipped(data, &err), 1);
    cr_assert_not_null(strstr(err.text, "clip_2: 4 frames"), "%s", err.text);
    ts_dataset_close(data);
}

Test(train_data_motion, the_length_is_that_of_the_clip_that_was_read)
{
    write_tree();
    float x[20 * COLUMNS] = {NAN};
    write_array("new_joint_vecs/clip_1.npy", TS_F32, ts_shape_of(8, COLUMNS), x);
    ts_data_motion_options o = options();
    o.short_clips = TS_SHORT_PAD;
    o.normalize = false;
    ts_dataset *data = must_open(o, TS_SPLIT_TRAIN);
    int32_t length = 0;
    cr_assert_eq(ts_dataset_read_part(data, 1, 0, x, &length, &err), TS_OK, "%s", err.text);
    cr_assert(x[0] == value_of(2, 0, 0) && length == 5, "clip 2 for the broken clip 1: %d frames", length);
    ts_dataset_close(data);
}

Test(train_data_motion, without_a_short_clip_there_are_no_lengths)
{
    write_tree();
    ts_data_motion_options o = options();
    o.short_clips = TS_SHORT_PAD;
    ts_dataset *val = must_open(o, TS_SPLIT_VAL);
    cr_assert_null(val->lengths);
    float x[WINDOW * COLUMNS];
    int32_t length = 0;
    cr_assert_eq(ts_dataset_read_part(val, 1, 0, x, &length, &err), TS_OK, "%s", err.text);
    cr_assert_eq(length, WINDOW);
    ts_dataset_close(val);
}

Test(train_data_motion, a_clip_of_one_frame)
{
    write_tree();
    write_clip("new_joint_vecs/one.npy", 9, 1, COLUMNS);
    write_text("train.txt", "one\n");
    ts_data_motion_options o = options();
    must_refuse(o, "train.txt: none of its 1 clips can be used; the first: clip one: 1 frames");
    o.window = 1;
    ts_dataset *data = must_open(o, TS_SPLIT_TRAIN);
    float x[COLUMNS];
    cr_assert_eq(ts_dataset_read(data, 0, 0, x, &err), TS_OK);
    cr_assert_eq(x[2], (value_of(9, 0, 2) - 3) / 4);
    ts_dataset_close(data);
}

/* ---- NaN ---- */

Test(train_data_motion, a_clip_with_nan_is_named_and_skipped_whatever_the_window)
{
    write_tree();
    float x[20 * COLUMNS] = {0};
    x[19 * COLUMNS + 2] = NAN; /* where most windows do not reach */
    write_array("new_joint_vecs/clip_0.npy", TS_F32, ts_shape_of(20, COLUMNS), x);
    ts_data_motion_options o = options();
    o.normalize = false;
    ts_dataset *data = must_open(o, TS_SPLIT_TRAIN);
    float item[WINDOW * COLUMNS];
    int64_t clip, start;
    for (uint64_t epoch = 0; epoch < 20; epoch++) {
        cr_assert_eq(ts_dataset_read(data, 0, epoch, item, &err), TS_OK);
        identify(item, &clip, &start);
        cr_assert_eq(clip, 1, "the next one in its place");
    }
    ts_error first;
    cr_assert_eq(ts_dataset_skipped(data, &first), 2, "and the short one");
    ts_dataset_close(data);
    o.on_error = 0;
    data = must_open(o, TS_SPLIT_TRAIN);
    cr_assert_eq(ts_dataset_read(data, 0, 0, item, &err), TS_ERR_DATA);
    cr_assert_not_null(strstr(err.text, "clip_0.npy: frame 19, column 2: expected a number, found nan"), "%s",
                       err.text);
    ts_dataset_close(data);
}

/* ---- mean and deviation ---- */

Test(train_data_motion, normalised_by_the_files_of_the_tree)
{
    write_tree();
    ts_dataset *data = must_open(options(), TS_SPLIT_TRAIN);
    float x[WINDOW * COLUMNS];
    cr_assert_eq(ts_dataset_read(data, 1, 0, x, &err), TS_OK);
    for (int64_t t = 0; t < WINDOW; t++)
        for (int64_t c = 0; c < COLUMNS; c++)
            cr_assert_eq(x[t * COLUMNS + c], (value_of(1, t, c) - (float)(c + 1)) / (float)(1 << c));
    const ts_motion *m = data->motion;
    cr_assert(m->known && m->columns == COLUMNS && m->mean[2] == 3 && m->std[2] == 4);
    cr_assert_null(ts_motion_layout_known(m), "nobody knows three columns");
    ts_dataset_close(data);
}

static void remove_statistics(void)
{
    remove(temp_path(&folder, "Mean.npy"));
    remove(temp_path(&folder, "Std.npy"));
}

/* Over the training clips, for both splits: clip 1's frames 0 ... 7, and one column that never changes. */
Test(train_data_motion, computed_where_the_files_are_missing)
{
    write_tree();
    remove_statistics();
    write_text("train.txt", "flat\nmissing\n");
    float x[WINDOW * COLUMNS];
    for (int i = 0; i < WINDOW * COLUMNS; i++) /* columns 1000 + t, -t/4, 7 */
        x[i] = i % 3 == 0 ? 1000.0f + (float)(i / 3) : i % 3 == 1 ? -(float)(i / 3) / 4 : 7.0f;
    write_array("new_joint_vecs/flat.npy", TS_F32, ts_shape_of(WINDOW, COLUMNS), x);
    for (int split = 0; split < 2; split++) {
        ts_dataset *data = must_open(options(), (ts_split)split);
        const ts_motion *s = data->motion;
        cr_assert_float_eq(s->mean[0], 1003.5, 1e-4);
        cr_assert_float_eq(s->std[0], sqrt(5.25), 1e-6);
        cr_assert_float_eq(s->mean[1], -0.875, 1e-6);
        cr_assert_float_eq(s->std[1], sqrt(5.25) / 4, 1e-6);
        cr_assert(s->mean[2] == 7 && s->std[2] == 1);
        ts_dataset_close(data);
    }
}

Test(train_data_motion, statistics_that_cannot_be_right)
{
    write_tree();
    write_array("Std.npy", TS_F32, ts_shape_of(COLUMNS), (float[]){1, 0, 1});
    must_refuse(options(), "Std.npy: column 1: expected a deviation above 0, found 0");
    write_array("Std.npy", TS_F32, ts_shape_of(COLUMNS), (float[]){1, 1, NAN});
    must_refuse(options(), "Std.npy: column 2");
    write_array("Std.npy", TS_F32, ts_shape_of(2), (float[]){1, 1});
    must_refuse(options(), "Std.npy: expected 3 floats, one for each column, found [2]");
    write_array("Mean.npy", TS_F32, ts_shape_of(COLUMNS), (float[]){1, INFINITY, 1});
    write_array("Std.npy", TS_F32, ts_shape_of(COLUMNS), (float[]){1, 1, 1});
    must_refuse(options(), "Mean.npy: column 1");
    remove(temp_path(&folder, "Mean.npy"));
    must_refuse(options(), "Mean.npy: missing, while");
    remove_statistics();
    for (int i = 0; i < 4; i++) {
        char name[64];
        float nan[WINDOW * COLUMNS] = {NAN};
        snprintf(name, sizeof name, "new_joint_vecs/clip_%d.npy", i);
        write_array(name, TS_F32, ts_shape_of(WINDOW, COLUMNS), nan);
    }
    must_refuse(options(), "no clip of the training split can be read");
}

/* ---- other trees, other faults ---- */

Test(train_data_motion, motionmillion_tree)
{
    double mean[COLUMNS] = {1, 2, 3}, std[COLUMNS] = {1, 2, 4};
    write_clip("motion_data/vector_272/folder/a.npy", 1, 10, COLUMNS);
    write_clip("motion_data/vector_272/b.npy", 2, 10, COLUMNS);
    write_array("mean_std/vector_272/mean.npy", TS_F64, ts_shape_of(COLUMNS), mean);
    write_array("mean_std/vector_272/std.npy", TS_F64, ts_shape_of(COLUMNS), std);
    write_text("split/version1/tokenizer_96/train.txt", "folder/a\nb\n");
    ts_data_motion_options o = options();
    o.version = "version1/tokenizer_96";
    ts_dataset *data = must_open(o, TS_SPLIT_TRAIN);
    cr_assert_eq(data->count, 2);
    float x[WINDOW * COLUMNS];
    cr_assert_eq(ts_dataset_read(data, 1, 0, x, &err), TS_OK);
    float first = (value_of(2, 0, 1) - 2) / 2;
    cr_assert(x[1] >= first && x[1] <= first + 10);
    ts_dataset_close(data);
    must_refuse_split(o, TS_SPLIT_VAL, TS_ERR_DATA, "tokenizer_96/val.txt: No such file");
    o.motion_type = "vector_263";
    must_refuse(o, "motion_data/vector_263");
}

Test(train_data_motion, faults_of_trees_are_named)
{
    ts_data_motion_options o = options();
    must_refuse(o, "expected a folder with motion in new_joint_vecs");
    write_tree();
    o.columns = 263;
    must_refuse(o, "expected 263 columns, as data.columns, the layout, the first clip or the model says, found 3");
    o = options();
    write_clip("new_joint_vecs/clip_1.npy", 1, 20, 4);
    o.on_error = 0;
    must_refuse(o, "clip_1.npy: expected 3 columns");
    write_array("new_joint_vecs/clip_1.npy", TS_F32, ts_shape_of(24), (float[24]){0});
    must_refuse(o, "clip_1.npy: expected floats [frames, columns], found f32 [24]");
    write_array("new_joint_vecs/clip_1.npy", TS_I64, ts_shape_of(8, 3), (int64_t[24]){0});
    must_refuse(o, "clip_1.npy: expected floats [frames, columns], found i64 [8, 3]");
    write_text("new_joint_vecs/clip_1.npy", "\x93NUMPY hostile");
    must_refuse(o, "clip_1.npy: .npy version");
    write_text("train.txt", "clip_0\nno_such_clip\n");
    must_refuse(o, "no_such_clip.npy: No such file");
    write_text("train.txt", "clip_0\n../../etc/passwd\n");
    must_refuse(o, "train.txt:2: expected the id of a clip, found '../../etc/passwd'");
    write_text("train.txt", " \n\n");
    must_refuse(o, "train.txt: expected ids of clips, one a line, found none");
    remove(temp_path(&folder, "train.txt"));
    must_refuse(o, "train.txt: No such file");
}

Test(train_data_motion, names_without_files_are_counted_when_skipping)
{
    write_tree();
    write_text("train.txt", "clip_0\nno_such_clip\nclip_1\n");
    ts_dataset *data = must_open(options(), TS_SPLIT_TRAIN);
    ts_error first;
    cr_assert_eq(data->count, 2);
    cr_assert_eq(ts_dataset_skipped(data, &first), 1);
    cr_assert_not_null(strstr(first.text, "no_such_clip.npy: No such file"), "%s", first.text);
    ts_dataset_close(data);
}

Test(train_data_motion, every_allocation_may_fail)
{
    write_tree();
    remove_statistics();
    ts_data_motion_options o = options();
    int failures = 0;
    for (uint64_t n = 1; n < 60; n++) {
        ts_dataset *data;
        ts_alloc_fail_at(n);
        ts_status status = ts_dataset_open(&data, &ts_dataset_motion, &o, TS_SPLIT_TRAIN, 0, &err);
        ts_alloc_fail_at(0);
        failures += status != TS_OK;
        cr_assert(status == TS_OK ? data != NULL : status == TS_ERR_RUNTIME && data == NULL, "%d: %s", (int)n,
                  err.text);
        ts_dataset_close(data);
    }
    cr_assert_gt(failures, 5);
}

/* ---- real motion ---- */

Test(train_data_motion, the_shared_tree)
{
    const char *path = shared_path("data/motion");
    if (!path) {
        skip_counted("no shared data");
        return;
    }
    ts_data_motion_options o = options();
    o.path = path;
    o.window = 64;
    ts_dataset *train = must_open(o, TS_SPLIT_TRAIN), *val = must_open(o, TS_SPLIT_VAL);
    cr_assert_eq(train->count + ts_dataset_skipped(train, &err), 62);
    cr_assert_eq(ts_dataset_skipped(train, &err), 1);
    cr_assert_not_null(strstr(err.text, "cmu_002_03: 42 frames"), "%s", err.text);
    cr_assert_eq(val->count, 7);
    float *x = ts_alloc(64 * 263 * sizeof *x);
    double sum = 0;
    for (int64_t i = 0; i < train->count; i++) {
        cr_assert_eq(ts_dataset_read(train, i, 0, x, &err), TS_OK, "%s", err.text);
        for (int k = 0; k < 64 * 263; k++)
            sum += (double)x[k];
    }
    cr_assert_float_eq(sum / (double)(train->count * 64 * 263), 0, 0.1); /* normalised */
    ts_free(x);
    ts_dataset_close(train);
    ts_dataset_close(val);
}
