/* Generated motion: people whose bones, joints and feet are those of people, and a data set that is the same however it
 * is made. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/memory.h"
#include "models/motion_features.h"
#include "tests/train/run_program.h"
#include "train/data_kinds.h"
#include "train/person.h"

enum { J = TS_PERSON_JOINTS, PEOPLE = 300, FRAMES = 80, WINDOW = 32, C = 263 };

static ts_error err;

/* ---- people ---- */

typedef struct {
    ts_person who;
    ts_v3 place[FRAMES][J];
    char what[200];
} film;

static void shoot(film *f, uint64_t index)
{
    f->who = ts_person_draw(3, index);
    ts_person_describe(&f->who, f->what, sizeof f->what);
    for (int t = 0; t < FRAMES; t++)
        ts_person_pose(&f->who, t / 20.0, f->place[t]);
}

static double distance(ts_v3 a, ts_v3 b)
{
    return ts_v3_length(ts_v3_sub(a, b));
}

/* Degrees between two bones that meet in b: 0 where they are one line. */
static double bend(ts_v3 a, ts_v3 b, ts_v3 c)
{
    ts_v3 u = ts_v3_unit(ts_v3_sub(b, a)), v = ts_v3_unit(ts_v3_sub(c, b));
    return acos(fmin(1, fmax(-1, ts_v3_dot(u, v)))) * 180 / 3.14159265358979323846;
}

/* The knee is not behind the line from hip to ankle, as the pelvis sees it. */
static bool knee_in_front(const ts_v3 *p, int side)
{
    ts_v3 across = ts_v3_sub(p[1], p[2]), front = ts_v3_unit(ts_v3_cross(across, (ts_v3){0, 1, 0}));
    ts_v3 line = ts_v3_unit(ts_v3_sub(p[7 + side], p[1 + side])), knee = ts_v3_sub(p[4 + side], p[1 + side]);
    return ts_v3_dot(ts_v3_sub(knee, ts_v3_scale(ts_v3_dot(knee, line), line)), front) > -0.01;
}

static void expect_body(const film *f, int t)
{
    const ts_motion_layout *l = ts_motion_layout_of(C);
    const ts_v3 *p = f->place[t];
    for (int j = 1; j < J; j++)
        cr_assert_float_eq(distance(p[j], p[l->parent[j]]), ts_skeleton_22.length[j], 1e-9, "%s: frame %d: %s", f->what,
                           t, l->joint[j]);
    for (int side = 0; side < 2; side++) {
        double knee = bend(p[1 + side], p[4 + side], p[7 + side]),
               elbow = bend(p[16 + side], p[18 + side], p[20 + side]);
        cr_assert(knee > 1 && knee < 140, "%s: frame %d: knee %g", f->what, t, knee);
        cr_assert(elbow < 150, "%s: frame %d: elbow %g", f->what, t, elbow);
        cr_assert(knee_in_front(p, side), "%s: frame %d", f->what, t);
    }
    cr_assert(p[15].y > 0.9 && p[15].y < 2.2, "%s: head at %g", f->what, p[15].y);
}

/* Nothing below the floor; the lowest toe on it, unless somebody jumps. */
static void expect_floor(const film *f, int t)
{
    double lowest = INFINITY, toe = fmin(f->place[t][10].y, f->place[t][11].y);
    for (int j = 0; j < J; j++)
        lowest = fmin(lowest, f->place[t][j].y);
    cr_assert_geq(lowest, -1e-9, "%s: frame %d: %g m", f->what, t, lowest);
    cr_assert(f->who.does == TS_PERSON_JUMPS || toe < 1e-9, "%s: frame %d: toes %g m up", f->what, t, toe);
}

/* A toe that is on the floor in two frames has not moved; no joint is faster than an arm that is thrown up, or kicks.
 */
static void expect_no_skate(const film *f, int t)
{
    for (int j = 0; j < J; j++) {
        double way = distance(f->place[t][j], f->place[t - 1][j]);
        cr_assert_lt(20 * way, 12, "%s: frame %d: joint %d at %g m/s", f->what, t, j, 20 * way);
        if ((j == 10 || j == 11) && f->place[t][j].y < 1e-12 && f->place[t - 1][j].y < 1e-12)
            cr_assert_lt(way, 1e-9, "%s: frame %d: toe %d slides by %g m", f->what, t, j, way);
        if (t >= 2) {
            ts_v3 before = ts_v3_sub(f->place[t - 1][j], f->place[t - 2][j]);
            double change = distance(ts_v3_sub(f->place[t][j], f->place[t - 1][j]), before);
            cr_assert_lt(400 * change, 150, "%s: frame %d: joint %d: %g m/s2", f->what, t, j, 400 * change);
        }
    }
}

Test(train_person, bones_joints_and_feet)
{
    static film f;
    int does[5] = {0}, waves = 0;
    for (uint64_t i = 0; i < PEOPLE; i++) {
        shoot(&f, i);
        does[f.who.does]++;
        waves += strstr(f.what, " and waves with the ") != NULL;
        for (int t = 0; t < FRAMES; t++) {
            expect_body(&f, t);
            expect_floor(&f, t);
            if (t)
                expect_no_skate(&f, t);
        }
    }
    for (int i = 0; i < 5; i++)
        cr_assert_gt(does[i], PEOPLE / 20, "%d people of kind %d", does[i], i);
    cr_assert_gt(waves, PEOPLE / 20);
}

/* Whole cycles of a walk lead as far as the speed says; a turn turns; a jump leaves the floor by its height. */
Test(train_person, they_do_what_they_are_said_to)
{
    static film f;
    int checked[5] = {0};
    for (uint64_t i = 0; i < PEOPLE; i++) {
        shoot(&f, i);
        const ts_person *p = &f.who;
        ts_v3 a[J], b[J];
        double seconds = p->rate > 0 ? 2 / p->rate : 4, highest = 0;
        ts_person_pose(p, 0.3, a);
        ts_person_pose(p, 0.3 + seconds, b);
        if (p->does == TS_PERSON_WALKS && p->turn == 0) {
            cr_assert_float_eq(distance(a[0], b[0]), p->speed * seconds, 1e-4, "%s: %g m in %g s", f.what,
                               distance(a[0], b[0]), seconds);
            checked[p->does]++;
        }
        if (p->does == TS_PERSON_SQUATS) {
            ts_person_pose(p, -p->phase / p->rate, a);
            ts_person_pose(p, (0.5 - p->phase) / p->rate, b);
            cr_assert_float_eq(a[0].y - b[0].y, p->depth, 0.02, "%s", f.what);
            checked[p->does]++;
        }
        for (int t = 0; t < FRAMES; t++)
            highest = fmax(highest, fmin(f.place[t][10].y, f.place[t][11].y));
        if (p->does == TS_PERSON_JUMPS) {
            cr_assert(highest > 0 && highest < p->height, "%s: toes %g m up", f.what, highest);
            checked[p->does]++;
        }
    }
    cr_assert(checked[TS_PERSON_WALKS] > 10 && checked[TS_PERSON_SQUATS] > 10 && checked[TS_PERSON_JUMPS] > 10);
}

Test(train_person, seed_and_index_make_the_person)
{
    ts_person a = ts_person_draw(1, 7), b = ts_person_draw(1, 7), c = ts_person_draw(1, 8), d = ts_person_draw(2, 7);
    ts_v3 p[4][J];
    ts_person_pose(&a, 1.5, p[0]);
    ts_person_pose(&b, 1.5, p[1]);
    ts_person_pose(&c, 1.5, p[2]);
    ts_person_pose(&d, 1.5, p[3]);
    cr_assert_arr_eq(p[0], p[1], sizeof p[0]);
    cr_assert_arr_neq(p[0], p[2], sizeof p[0]);
    cr_assert_arr_neq(p[0], p[3], sizeof p[0]);
}

/* ---- the data set ---- */

static const ts_data_chains_options small = {
    .count = 40, .val_count = 10, .frames = {2, {WINDOW, 50}}, .window = WINDOW, .seed = 5, .cache_mb = 64};

static ts_dataset *must_open(ts_data_chains_options o, ts_split split, const ts_motion *trained)
{
    ts_dataset *data;
    cr_assert_eq(ts_dataset_open_for(&data, &ts_dataset_chains, &o, split, 3, trained, &err), TS_OK, "%s", err.text);
    cr_assert(ts_shape_equal(data->item, ts_shape_of(o.window, C)));
    cr_assert_eq(data->count, split == TS_SPLIT_TRAIN ? o.count : o.val_count);
    return data;
}

static float *must_draw(const ts_data_chains_options *o, uint64_t index, int64_t *frames)
{
    float *x;
    cr_assert_eq(ts_chains_draw(o, index, frames, &x, &err), TS_OK, "%s", err.text);
    cr_assert(*frames >= o->frames.value[0] && *frames <= o->frames.value[1]);
    return x;
}

/* All in memory, some of them, none: a window is the same bits. */
Test(train_data_chains, memory_changes_nothing)
{
    static float x[WINDOW * C], y[WINDOW * C];
    ts_data_chains_options part = small, none = small;
    part.cache_mb = 1;
    none.cache_mb = 0;
    for (int split = 0; split < 2; split++) {
        ts_dataset *data[3] = {must_open(small, (ts_split)split, NULL), must_open(part, (ts_split)split, NULL),
                               must_open(none, (ts_split)split, NULL)};
        for (int64_t i = 0; i < data[0]->count; i++)
            for (uint64_t epoch = 0; epoch < 4; epoch++) {
                cr_assert_eq(ts_dataset_read(data[0], i, epoch, x, &err), TS_OK, "%s", err.text);
                for (int k = 1; k < 3; k++) {
                    cr_assert_eq(ts_dataset_read(data[k], i, epoch, y, &err), TS_OK, "%s", err.text);
                    cr_assert_arr_eq(x, y, sizeof x, "item %d", (int)i);
                }
            }
        for (int k = 0; k < 3; k++)
            ts_dataset_close(data[k]);
    }
}

/* Windows are pieces of whole clips, from all places. */
Test(train_data_chains, windows_of_whole_clips)
{
    static float x[WINDOW * C];
    ts_dataset *data = must_open(small, TS_SPLIT_TRAIN, NULL);
    for (int64_t i = 0; i < 5; i++) {
        int64_t frames, seen[50] = {0}, different = 0;
        float *clip = must_draw(&small, (uint64_t)i, &frames);
        ts_motion_normalize(data->motion, frames, clip);
        for (uint64_t epoch = 0; epoch < 300; epoch++) {
            int64_t start = 0;
            cr_assert_eq(ts_dataset_read(data, i, epoch, x, &err), TS_OK, "%s", err.text);
            while (start + WINDOW <= frames && memcmp(x, clip + start * C, sizeof x) != 0)
                start++;
            cr_assert_leq(start + WINDOW, frames, "clip %d: no such window", (int)i);
            different += seen[start]++ == 0;
        }
        cr_assert_eq(different, frames - WINDOW + 1);
        ts_free(clip);
    }
    ts_dataset_close(data);
}

Test(train_data_chains, validation_is_no_part_of_training_and_does_not_move)
{
    static float x[WINDOW * C], y[WINDOW * C];
    ts_data_chains_options larger = small;
    larger.count = 1000;
    larger.val_count = 20;
    larger.cache_mb = 0;
    ts_dataset *val = must_open(small, TS_SPLIT_VAL, NULL), *again = must_open(larger, TS_SPLIT_VAL, val->motion);
    for (int64_t i = 0; i < val->count; i++) {
        cr_assert_eq(ts_dataset_read(val, i, 0, x, &err), TS_OK);
        cr_assert_eq(ts_dataset_read(again, i, 7, y, &err), TS_OK);
        cr_assert_arr_eq(x, y, sizeof x);
        for (uint64_t k = 0; k < 40; k++) {
            int64_t frames;
            float *clip = must_draw(&small, k, &frames);
            ts_motion_normalize(val->motion, frames, clip);
            cr_assert_arr_neq(x, clip, sizeof x);
            ts_free(clip);
        }
    }
    ts_dataset_close(val);
    ts_dataset_close(again);
}

/* Over the clips that the statistics are of: mean 0, and in each group of columns a mean deviation of 1. */
Test(train_data_chains, normalised_by_groups)
{
    static double sum[C], square[C];
    int64_t total = 0;
    ts_dataset *data = must_open(small, TS_SPLIT_VAL, NULL);
    const ts_motion_layout *l = ts_motion_layout_known(data->motion);
    cr_assert(l && l->fps == 20 && l->columns == C);
    for (uint64_t i = 0; i < 40; i++) {
        int64_t frames;
        float *x = must_draw(&small, i, &frames);
        ts_motion_normalize(data->motion, frames, x);
        for (int64_t k = 0; k < frames * C; k++) {
            sum[k % C] += (double)x[k];
            square[k % C] += (double)x[k] * (double)x[k];
        }
        total += frames;
        ts_free(x);
    }
    const ts_columns groups[] = {{0, 1}, {1, 2}, {3, 1}, l->positions, l->rotations, l->velocities, l->contacts};
    for (int g = 0; g < 7; g++) {
        double deviation = 0;
        for (int64_t c = groups[g].first; c < groups[g].first + groups[g].count; c++) {
            double mean = sum[c] / (double)total;
            cr_assert_float_eq(mean, 0, 1e-4, "column %d: mean %g", (int)c, mean);
            deviation += sqrt(fmax(0, square[c] / (double)total - mean * mean));
        }
        cr_assert_float_eq(deviation / (double)groups[g].count, 1, 1e-3, "group %d", g);
    }
    ts_dataset_close(data);
}

/* A model that was trained on something else keeps its own mean and deviation, and that is said. */
Test(train_data_chains, a_trained_model_decides)
{
    static float mean[C], std[C], x[WINDOW * C], y[WINDOW * C];
    for (int c = 0; c < C; c++)
        std[c] = 2;
    ts_motion other = {.known = true, .columns = C, .layout = *ts_motion_layout_of(C), .mean = mean, .std = std};
    ts_dataset *own = must_open(small, TS_SPLIT_VAL, NULL), *same = must_open(small, TS_SPLIT_VAL, own->motion),
               *data = must_open(small, TS_SPLIT_VAL, &other);
    cr_assert(!*own->note && !*same->note);
    cr_assert_not_null(strstr(data->note, "the model's own mean and deviation are used"), "%s", data->note);
    cr_assert_eq(ts_dataset_read(own, 0, 0, x, &err), TS_OK);
    cr_assert_eq(ts_dataset_read(data, 0, 0, y, &err), TS_OK);
    ts_motion_restore(own->motion, WINDOW, x);
    for (int i = 0; i < WINDOW * C; i++)
        cr_assert_float_eq(y[i], x[i] / 2, 1e-5);
    ts_dataset_close(own);
    ts_dataset_close(same);
    ts_dataset_close(data);
    other.columns = 251;
    cr_assert_eq(ts_dataset_open_for(&data, &ts_dataset_chains, &small, TS_SPLIT_VAL, 0, &other, &err), TS_ERR_DATA);
    cr_assert_not_null(strstr(err.text, "the model was trained on 251"), "%s", err.text);
}

/* Whole clips: those of training, then those of validation, as they are drawn. */
Test(train_data_chains, whole_clips)
{
    static const struct {
        const char *split, *first, *last;
        int64_t count;
    } cases[] = {{"train", "train_000000", "train_000039", 40},
                 {"val", "val_000000", "val_000009", 10},
                 {"all", "train_000000", "val_000009", 50}};
    static float rows[50 * C];
    ts_dataset *data = must_open(small, TS_SPLIT_TRAIN, NULL);
    for (int i = 0; i < 3; i++) {
        ts_clip_list list = {0};
        cr_assert_eq(ts_dataset_chains.clips(&list, &small, cases[i].split, data->motion, &err), TS_OK, "%s", err.text);
        cr_assert(list.files.count == cases[i].count && !*list.note);
        cr_assert_str_eq(list.files.name[0], cases[i].first);
        cr_assert_str_eq(list.files.name[list.files.count - 1], cases[i].last);
        for (int64_t k = 0; k < list.files.count; k++) {
            int64_t frames, validation = k - (cases[i].count - 10);
            bool val = i == 1 || (i == 2 && validation >= 0);
            uint64_t index = val ? ((uint64_t)1 << 40) + (uint64_t)(i == 1 ? k : validation) : (uint64_t)k;
            float *clip = must_draw(&small, index, &frames);
            cr_assert_eq(list.maker.frames(list.maker.state, k), frames);
            cr_assert_eq(list.maker.make(list.maker.state, k, rows, &err), TS_OK, "%s", err.text);
            cr_assert_arr_eq(rows, clip, (size_t)(frames * C) * sizeof *clip);
            ts_free(clip);
        }
        ts_file_list_clear(&list.files);
    }
    ts_clip_list list = {0};
    cr_assert_eq(ts_dataset_chains.clips(&list, &small, "test", data->motion, &err), TS_ERR_USAGE);
    cr_assert_not_null(strstr(err.text, "expected the split train, val or all, found 'test'"), "%s", err.text);
    ts_dataset_close(data);
}

/* Trained for two steps and evaluated by whole clips, which are longer than windows. */
Test(train_data_chains, a_run)
{
    temp_folder folder = temp_folder_make();
    const char *run = kept_path(&folder, "run"), *last = kept_path(&folder, "run/checkpoints/last.h5");
    char *text = OUTPUT("train", TESSERA_SOURCE "/configs/motion/chains_fsq.yaml", "--run", run, "train.steps=2",
                        "train.batch=4", "model.width=8", "data.count=20", "data.val_count=5", "--quiet");
    free(text);
    text = OUTPUT("eval", last, "--json");
    cr_assert_not_null(strstr(text, "\"clips\": 5, "), "%s", text);
    cr_assert_null(strstr(text, "\"frames\": 320, "), "five windows: %s", text);
    free(text);
    outcome o = RUN("eval", last, "data.seed=7", "--json");
    cr_assert(o.code == 0 && strstr(o.err, "the model's own mean and deviation are used"), "%s", o.err);
    outcome_free(&o);
    REFUSED(2, "data.frames: expected two numbers", "eval", last, "data.frames=[70, 60]");
    temp_folder_remove(&folder);
}

static void expect_bad_frames(ts_data_chains_options o)
{
    ts_dataset *data;
    cr_assert_eq(ts_dataset_open(&data, &ts_dataset_chains, &o, TS_SPLIT_TRAIN, 0, &err), TS_ERR_USAGE);
    cr_assert_not_null(strstr(err.text, "data.frames: expected two numbers, at least data.window="), "%s", err.text);
}

Test(train_data_chains, frames_that_do_not_fit)
{
    ts_data_chains_options o = small;
    o.window = WINDOW + 1;
    expect_bad_frames(o);
    o = small;
    o.frames = (ts_int_list){2, {50, 40}};
    expect_bad_frames(o);
    o.frames = (ts_int_list){1, {50}};
    expect_bad_frames(o);
}

Test(train_data_chains, every_allocation_may_fail)
{
    int failed = 0;
    for (uint64_t n = 1; n < 14; n++) {
        ts_dataset *data;
        ts_alloc_fail_at(n);
        ts_status status = ts_dataset_open(&data, &ts_dataset_chains, &small, TS_SPLIT_VAL, 0, NULL);
        ts_alloc_fail_at(0);
        cr_assert(status == TS_OK ? data != NULL : status == TS_ERR_RUNTIME && !data, "allocation %d", (int)n);
        failed += status != TS_OK;
        ts_dataset_close(data);
    }
    cr_assert_geq(failed, 8);
}
