/* Whole clips through a model: against the programs of windows, against each other, and as an evaluation. The reference
 * device: its results do not depend on how work is cut. */
#include "models/by_length.h"
#include "train/clips.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/memory.h"
#include "tests/train/motion_sample.h"
#include "train/clip_reader.h"
#include "train/evaluate.h"
#include "train/motion_tree.h"

enum { COLUMNS = SAMPLE_COLUMNS, WINDOW = 16, TOKEN = 4, LONGEST = 400 };

static temp_folder folder;
static ts_error err;

static const sample_clip train_clips[] = {{"a", 24}, {"b", 40}, {"walk/c", 17}, {"d", 64}};
static const sample_clip val_clips[] = {{"e", 40}, {"f", 18}, {"g", 3}, {"h", -30}, {"i", 23}, {"j", 0}, {"k", 18}};
enum { TRAIN = 4, VAL = 7 };

static void setup(void)
{
    folder = temp_folder_make();
    motion_sample_split(&folder, "train", 0, train_clips, TRAIN);
    motion_sample_split(&folder, "val", TRAIN, val_clips, VAL);
}

static void teardown(void)
{
    temp_folder_remove(&folder);
}

TestSuite(train_clips, .init = setup, .fini = teardown);

#define FINITE "kind: finite_scalar, levels: [4, 3, 5]"
#define VECTOR "kind: vector, codes: 12, dim: 4"

static ts_experiment open_on(const char *device, const char *quantizer, const char *const *overrides)
{
    const char *yaml = motion_sample_yaml(&folder, quantizer);
    ts_config *config;
    ts_experiment e;
    cr_assert_eq(ts_config_parse(&config, ts_experiment_schema(), "test", yaml, strlen(yaml), overrides, &err), TS_OK,
                 "%s", err.text);
    cr_assert_eq(ts_experiment_open(&e, config, device, 1, &err), TS_OK, "%s", err.text);
    cr_assert_eq(ts_experiment_open_data(&e, TS_SPLIT_TRAIN, &err), TS_OK, "%s", err.text);
    cr_assert_eq(ts_experiment_make_store(&e, &err), TS_OK, "%s", err.text);
    return e;
}

static ts_experiment open_experiment(const char *quantizer, const char *const *overrides)
{
    return open_on("ref", quantizer, overrides);
}

static ts_clips *open_clips(ts_experiment *e)
{
    ts_clips *clips;
    cr_assert_eq(ts_clips_open(&clips, e, false, &err), TS_OK, "%s", err.text);
    return clips;
}

/* Clip number `clip` as the model sees it, in memory of the test. */
static const float *clip_of(const ts_experiment *e, int clip, int64_t frames)
{
    static float x[LONGEST * COLUMNS];
    cr_assert_leq(frames, LONGEST);
    for (int64_t i = 0; i < frames * COLUMNS; i++)
        x[i] = motion_sample_value(clip, i / COLUMNS, i % COLUMNS);
    ts_motion_normalize(&e->motion, frames, x);
    return x;
}

static const struct {
    const char *quantizer, *overrides[3];
} models[] = {
    {FINITE, {NULL}},
    {VECTOR, {NULL}},
    {"kind: finite_scalar, levels: [4, 3], codebooks: 3", {NULL}},
    {FINITE, {"model.causal=true", NULL}},
    {VECTOR, {"model.attention=true", "model.norm=LN", NULL}},
    {FINITE, {"model.patch_size=2", "model.down_t=1", NULL}},
    {"kind: lookup_free, bits: 3, codebooks: 2, dim: 5", {NULL}},
    {"kind: spherical, bits: 6, group: 3", {NULL}},
    {"kind: sim_vq, codes: 20, dim: 4", {NULL}},
    {"kind: finite_scalar, levels: [4, 3], bound: symmetric, hard_clamp: true, layers: 3", {NULL}},
    {"kind: vector, codes: 20, dim: 4, layers: 2, groups: 2", {NULL}},
    {"kind: latent, levels: [4, 3]", {NULL}},
    {"kind: random_projection, codes: 16, dim: 4, code_dim: 3", {NULL}},
    {"kind: scalar_perturbation, levels: [4, 3]", {NULL}},
};
enum { MODELS = sizeof models / sizeof *models };

/* ---- against windows ---- */

static void expect_window(ts_experiment *e, ts_clips *clips, int model)
{
    const float *x = clip_of(e, 1, WINDOW);
    int64_t groups = e->tokenizer.info.groups;
    int32_t ids[WINDOW / TOKEN * 8], want_ids[WINDOW / TOKEN * 8];
    static float y[WINDOW * COLUMNS], want_y[WINDOW * COLUMNS];
    ts_inference f;
    cr_assert_eq(ts_inference_open(&f, e, TS_FORWARD, 1, false, &err), TS_OK, "%s", err.text);
    ts_program_set(f.program, f.x, x);
    cr_assert_eq(ts_program_run(f.program, &err), TS_OK);
    ts_program_get(f.program, f.ids, want_ids);
    ts_program_get(f.program, f.y, want_y);
    ts_inference_close(&f);
    cr_assert_eq(ts_clips_encode(clips, x, WINDOW / TOKEN, ids, &err), TS_OK, "%s", err.text);
    cr_assert_eq(ts_clips_decode(clips, ids, WINDOW / TOKEN, y, &err), TS_OK, "%s", err.text);
    cr_expect_arr_eq(ids, want_ids, (size_t)(WINDOW / TOKEN * groups) * sizeof *ids, "model %d", model);
    cr_expect_arr_eq(y, want_y, sizeof y, "model %d", model);
}

/* decode(encode(x)) is forward's y at other lengths as well. */
static void expect_same_as_forward(ts_experiment *e, ts_clips *clips, int64_t tokens, int model)
{
    const float *x = clip_of(e, 2, tokens * TOKEN);
    size_t bytes = (size_t)(tokens * TOKEN * COLUMNS) * sizeof(float);
    int32_t ids[LONGEST], want_ids[LONGEST];
    static float y[LONGEST * COLUMNS], want_y[LONGEST * COLUMNS];
    ts_clip_losses losses;
    cr_assert_eq(ts_clips_forward(clips, x, tokens, want_y, want_ids, &losses, &err), TS_OK, "%s", err.text);
    cr_assert_eq(ts_clips_encode(clips, x, tokens, ids, &err), TS_OK, "%s", err.text);
    cr_assert_eq(ts_clips_decode(clips, ids, tokens, y, &err), TS_OK, "%s", err.text);
    cr_expect_arr_eq(ids, want_ids, (size_t)(tokens * e->tokenizer.info.groups) * sizeof *ids, "model %d", model);
    cr_expect_arr_eq(y, want_y, bytes, "model %d, %d tokens", model, (int)tokens);
}

Test(train_clips, a_clip_of_a_window_is_a_window)
{
    for (int i = 0; i < MODELS; i++) {
        ts_experiment e = open_experiment(models[i].quantizer, models[i].overrides);
        ts_clips *clips = open_clips(&e);
        cr_assert_eq(ts_clips_token_frames(clips), TOKEN);
        expect_window(&e, clips, i);
        for (int64_t tokens = 1; tokens <= 25; tokens += 8)
            expect_same_as_forward(&e, clips, tokens, i);
        ts_clips_close(clips);
        ts_experiment_close(&e);
    }
}

/* ---- how a clip is cut ---- */

Test(train_clips, tails_are_cropped)
{
    ts_experiment e = open_experiment(FINITE, (const char *[]){"train.eval_frames=21", NULL});
    ts_clips *clips = open_clips(&e);
    const int64_t wanted[][4] = {{3, 0, 0, 0},   {4, 1, 4, 1},   {7, 1, 4, 1},   {8, 2, 8, 1},
                                 {21, 5, 20, 1}, {23, 5, 20, 1}, {24, 6, 24, 2}, {61, 15, 60, 3}};
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++) {
        ts_clip_cut cut = ts_clips_cut(clips, wanted[i][0]);
        cr_expect(cut.tokens == wanted[i][1] && cut.frames == wanted[i][2] && cut.pieces == wanted[i][3], "%d frames",
                  (int)wanted[i][0]);
    }
    ts_clips_close(clips);
    ts_experiment_close(&e);
}

/* 13 tokens in pieces of at most 5: tokens 0 to 3, 4 to 7, 8 to 12, each as if it were a clip of its own. */
Test(train_clips, a_long_clip_runs_in_pieces)
{
    enum { TOKENS = 13 };
    const int64_t begin[] = {0, 4, 8, TOKENS};
    ts_experiment whole = open_experiment(VECTOR, NULL);
    ts_experiment cut = open_experiment(VECTOR, (const char *[]){"train.eval_frames=20", NULL});
    ts_clips *all = open_clips(&whole), *pieces = open_clips(&cut);
    const float *x = clip_of(&whole, 0, TOKENS * TOKEN);
    int32_t ids[TOKENS], want[TOKENS], one[TOKENS];
    static float y[TOKENS * TOKEN * COLUMNS], want_y[TOKENS * TOKEN * COLUMNS];
    ts_clip_losses losses, part;
    double commitment = 0;
    for (int i = 0; i < 3; i++) {
        int64_t at = begin[i] * TOKEN * COLUMNS, n = begin[i + 1] - begin[i];
        cr_assert_eq(ts_clips_forward(all, x + at, n, want_y + at, want + begin[i], &part, &err), TS_OK);
        commitment += part.term[1].value * (double)n / TOKENS;
    }
    cr_assert_eq(ts_clips_encode(pieces, x, TOKENS, ids, &err), TS_OK, "%s", err.text);
    cr_expect_arr_eq(ids, want, sizeof ids);
    cr_assert_eq(ts_clips_decode(pieces, ids, TOKENS, y, &err), TS_OK, "%s", err.text);
    cr_expect_arr_eq(y, want_y, sizeof y);
    cr_assert_eq(ts_clips_forward(pieces, x, TOKENS, y, ids, &losses, &err), TS_OK, "%s", err.text);
    cr_expect_arr_eq(y, want_y, sizeof y);
    cr_expect_str_eq(losses.term[1].name, "commitment");
    cr_expect_float_eq(losses.term[1].value, commitment, 1e-12);
    cr_assert_eq(ts_clips_encode(all, x, TOKENS, one, &err), TS_OK, "%s", err.text);
    cr_expect_arr_neq(one, want, sizeof one, "a token next to a border sees what is behind it");
    ts_clips_close(all);
    ts_clips_close(pieces);
    ts_experiment_close(&whole);
    ts_experiment_close(&cut);
}

/* ---- the programs ---- */

static void encode_lengths(ts_clips *clips, const float *x, int64_t from, int64_t to)
{
    int32_t ids[LONGEST];
    for (int64_t tokens = from; tokens < to; tokens++)
        cr_assert_eq(ts_clips_encode(clips, x, tokens, ids, &err), TS_OK, "%s", err.text);
}

Test(train_clips, programs_are_kept_up_to_a_bound)
{
    enum { MORE = 6, ALL = TS_BY_LENGTH + MORE };
    ts_experiment e = open_on("cpu", FINITE, (const char *[]){"model.width=4", "model.depth=0", NULL});
    ts_clips *clips = open_clips(&e);
    const float *x = clip_of(&e, 0, ALL * TOKEN);
    encode_lengths(clips, x, 1, ALL + 1);
    cr_expect_eq(ts_clips_planned(clips), ALL);
    encode_lengths(clips, x, MORE + 1, ALL + 1);
    cr_expect_eq(ts_clips_planned(clips), ALL, "the newest are still there");
    encode_lengths(clips, x, MORE, MORE + 1);
    cr_expect_eq(ts_clips_planned(clips), ALL + 1, "the oldest have gone");
    encode_lengths(clips, x, MORE + 1, MORE + 2);
    cr_expect_eq(ts_clips_planned(clips), ALL + 2, "and then the one that had waited longest");
    ts_clips_close(clips);
    ts_experiment_close(&e);
}

Test(train_clips, images_have_no_clips)
{
    const char *yaml = "data: {kind: shapes, size: 16}\nmodel: {kind: image_small, width: 4}\n";
    ts_config *config;
    ts_experiment e;
    ts_clips *clips;
    cr_assert_eq(ts_config_parse(&config, ts_experiment_schema(), "test", yaml, strlen(yaml), NULL, &err), TS_OK);
    cr_assert_eq(ts_experiment_open(&e, config, "cpu", 1, &err), TS_OK, "%s", err.text);
    cr_assert_eq(ts_experiment_open_data(&e, TS_SPLIT_VAL, &err), TS_OK, "%s", err.text);
    cr_expect_not(ts_experiment_has_clips(&e));
    cr_expect_not(ts_evaluates_clips(&e));
    cr_assert_eq(ts_clips_open(&clips, &e, false, &err), TS_ERR_USAGE);
    cr_expect(strstr(err.text, "[16, 16, 3]"), "%s", err.text);
    ts_experiment_close(&e);
}

Test(train_clips, out_of_memory_is_an_error)
{
    ts_experiment e = open_on("cpu", FINITE, NULL);
    const float *x = clip_of(&e, 0, 3 * TOKEN);
    int32_t ids[3], want[3];
    ts_clips *clips = open_clips(&e);
    cr_assert_eq(ts_clips_encode(clips, x, 3, want, &err), TS_OK);
    ts_clips_close(clips);
    clips = open_clips(&e);
    int failed = 0;
    for (uint64_t n = 1; n < 200; n += 7) {
        ts_alloc_fail_at(n);
        failed += ts_clips_encode(clips, x, 3, ids, &err) != TS_OK;
        ts_alloc_fail_at(0);
    }
    cr_expect_gt(failed, 2);
    cr_assert_eq(ts_clips_encode(clips, x, 3, ids, &err), TS_OK, "%s", err.text);
    cr_expect_arr_eq(ids, want, sizeof ids);
    ts_clips_close(clips);
    ts_experiment_close(&e);
}

/* ---- the reader ---- */

static char said[4096];

static void keep_line(void *context, const char *line)
{
    cr_assert_eq(context, said);
    snprintf(said + strlen(said), sizeof said - strlen(said), "%s\n", line);
}

typedef struct {
    ts_experiment e;
    ts_clips *clips;
    ts_clip_list list;
    ts_clip_reader reader;
} reading;

static void open_reading(reading *r, int64_t first, int64_t of, const char *split)
{
    r->e = open_experiment(FINITE, NULL);
    r->clips = open_clips(&r->e);
    cr_assert_eq(ts_experiment_clips(&r->e, split, &r->list, &err), TS_OK, "%s", err.text);
    ts_clip_reader_options options = {.list = &r->list, .first = first, .of = of, .say = keep_line, .context = said};
    said[0] = '\0';
    cr_assert_eq(ts_clip_reader_open(&r->reader, r->clips, &r->e.motion, options, &err), TS_OK, "%s", err.text);
}

static void close_reading(reading *r)
{
    ts_clip_reader_close(&r->reader);
    ts_file_list_clear(&r->list.files);
    ts_clips_close(r->clips);
    ts_experiment_close(&r->e);
}

/* "f18 k18": the clips that come, and what is in them. */
static const char *read_all(reading *r)
{
    static char text[256];
    ts_clip clip;
    size_t n = 0;
    text[0] = '\0';
    for (;;) {
        cr_assert_eq(ts_clip_reader_next(&r->reader, &clip, &err), TS_OK, "%s", err.text);
        if (!clip.name)
            return text;
        cr_assert_eq(ts_clip_reader_load(&r->reader, &clip, &err), TS_OK, "%s", err.text);
        if (!clip.x)
            continue;
        n += (size_t)snprintf(text + n, sizeof text - n, "%s%s%d", n ? " " : "", clip.name, (int)clip.frames);
        cr_expect_eq(clip.cut.frames, clip.frames / TOKEN * TOKEN);
        cr_expect_str_eq(clip.name, val_clips[clip.place].id);
        cr_expect_arr_eq(clip.x, clip_of(&r->e, TRAIN + (int)clip.place, clip.cut.frames),
                         (size_t)(clip.cut.frames * COLUMNS) * sizeof *clip.x, "%s", clip.name);
    }
}

Test(train_clips, clips_come_by_length_and_what_is_broken_is_named)
{
    reading r;
    open_reading(&r, 0, 1, "val");
    cr_expect_str_eq(read_all(&r), "f18 k18 i23 e40");
    cr_expect(r.reader.skipped == 3 && r.reader.too_short == 1);
    cr_expect(strstr(said, "clip g: 3 frames, too short: a token has 4\n"), "%s", said);
    cr_expect(strstr(said, "h.npy: frame 1, column 2: expected a number, found nan\n"), "%s", said);
    cr_expect(strstr(said, "j.npy: No such file"), "%s", said);
    close_reading(&r);
}

Test(train_clips, shards_share_the_clips)
{
    static const char *const wanted[3] = {"k18 e40", "f18 i23", ""};
    for (int i = 0; i < 3; i++) {
        reading r;
        open_reading(&r, i, 3, "val");
        cr_expect_str_eq(read_all(&r), wanted[i], "shard %d", i);
        close_reading(&r);
    }
}

Test(train_clips, every_list_of_a_tree)
{
    static const struct {
        const char *split;
        int64_t count;
    } wanted[] = {{"train", TRAIN}, {"val", VAL}, {"all", TRAIN + VAL}};
    for (int i = 0; i < 3; i++) {
        reading r;
        open_reading(&r, 0, 1, wanted[i].split);
        cr_expect_eq(r.list.files.count, wanted[i].count, "%s", wanted[i].split);
        close_reading(&r);
    }
    motion_sample_split(&folder, "all", 50, (sample_clip[]){{"z", 8}}, 1);
    reading r;
    open_reading(&r, 0, 1, "all");
    cr_expect(r.list.files.count == 1 && strcmp(r.list.files.name[0], "z") == 0, "all.txt is asked first");
    close_reading(&r);
    ts_experiment e = open_experiment(FINITE, NULL);
    ts_clip_list list;
    cr_assert_eq(ts_experiment_clips(&e, "nothing", &list, &err), TS_ERR_DATA);
    cr_expect(strstr(err.text, "nothing.txt"), "%s", err.text);
    ts_file_list_clear(&list.files);
    ts_experiment_close(&e);
}

/* ---- evaluation ---- */

typedef struct {
    double recon, mse, l1, commitment;
    int64_t counts[12], frames;
    ts_motion_sums motion;
} plain;

/* Clip after clip, by a program of its own. */
static void add_plainly(ts_experiment *e, int clip, int64_t frames, plain *p)
{
    static float x[LONGEST * COLUMNS], y[LONGEST * COLUMNS];
    int32_t ids[LONGEST];
    float commitment;
    ts_inference f;
    int64_t n = frames * COLUMNS;
    memcpy(x, clip_of(e, clip, frames), (size_t)n * sizeof *x);
    cr_assert_eq(ts_inference_open_item(&f, e, TS_FORWARD, 1, ts_shape_of(frames, COLUMNS), false, &err), TS_OK, "%s",
                 err.text);
    ts_program_set(f.program, f.x, x);
    cr_assert_eq(ts_program_run(f.program, &err), TS_OK);
    ts_program_get(f.program, f.y, y);
    ts_program_get(f.program, f.ids, ids);
    ts_program_get(f.program, f.losses[1].value, &commitment);
    ts_inference_close(&f);
    for (int64_t i = 0; i < n; i++) {
        double d = fabs((double)y[i] - (double)x[i]);
        p->mse += d * d;
        p->l1 += d;
        p->recon += d < 1 ? d * d / 2 : d - 0.5;
    }
    for (int64_t i = 0; i < frames / TOKEN; i++)
        p->counts[ids[i]]++;
    p->commitment += (double)commitment * (double)frames;
    p->frames += frames;
    ts_motion_restore(&e->motion, frames, x);
    ts_motion_restore(&e->motion, frames, y);
    ts_motion_sums_add(&p->motion, ts_experiment_motion_layout(e), y, x, frames);
}

static void expect_near(double found, double wanted, double tolerance, const char *what)
{
    cr_expect(fabs(found - wanted) <= tolerance * fabs(wanted), "%s: %.17g instead of %.17g", what, found, wanted);
}

static void expect_plain(const ts_evaluation *v, const plain *p)
{
    double values = (double)(p->frames * COLUMNS);
    ts_motion_metrics m = ts_motion_metrics_of(&p->motion);
    ts_metric metric[TS_MOTION_METRICS];
    expect_near(v->mse, p->mse / values, 1e-12, "mse");
    expect_near(v->l1, p->l1 / values, 1e-12, "l1");
    expect_near(v->recon, p->recon / values, 1e-12, "recon");
    expect_near(v->parts[1], p->commitment / (double)p->frames, 1e-12, "commitment");
    expect_near(v->loss, v->recon + v->parts[0] + 0.25 * v->parts[1], 1e-12, "loss");
    cr_expect(isnan(v->psnr) && isnan(v->ssim));
    cr_expect_eq(v->frames, p->frames);
    cr_expect_arr_eq(v->counts, p->counts, sizeof p->counts);
    ts_evaluation_motion(v, metric);
    cr_expect_str_eq(metric[0].key, "mpjpe_mm");
    expect_near(metric[0].value, m.mpjpe_mm, 1e-9, "mpjpe");
    expect_near(metric[1].value, m.velocity_mm_per_frame, 1e-9, "velocity");
    expect_near(metric[2].value, m.acceleration_mm_per_frame2, 1e-9, "acceleration");
    cr_expect_gt(m.mpjpe_mm, 0);
}

static ts_evaluation must_evaluate(ts_experiment *e)
{
    ts_evaluation v;
    cr_assert_eq(ts_evaluate(e, TS_SPLIT_VAL, false, 0, NULL, NULL, &v, &err), TS_OK, "%s", err.text);
    return v;
}

Test(train_clips, an_evaluation_weighs_every_frame_alike)
{
    ts_experiment e = open_experiment(VECTOR, NULL);
    plain p = {0};
    for (int i = 0; i < VAL; i++)
        if (val_clips[i].frames >= TOKEN)
            add_plainly(&e, TRAIN + i, val_clips[i].frames / TOKEN * TOKEN, &p);
    ts_evaluation v = must_evaluate(&e);
    cr_expect(v.items == 4 && v.clips == 4 && v.skipped == 3 && v.in_pieces == 0);
    cr_expect_null(e.val_data, "no windows are needed");
    cr_expect(v.skips && strstr(v.skips, "h.npy: frame 1, column 2") && strstr(v.skips, "clip g"), "%s", v.skips);
    expect_plain(&v, &p);
    ts_evaluation_clear(&v);
    ts_experiment_close(&e);
}

Test(train_clips, an_evaluation_of_the_first_clips)
{
    ts_experiment e = open_experiment(VECTOR, (const char *[]){"train.eval_limit=2", "train.eval_frames=20", NULL});
    ts_evaluation v = must_evaluate(&e);
    cr_expect(v.clips == 2 && v.frames == 56 && v.skipped == 0 && v.in_pieces == 1);
    ts_evaluation_clear(&v);
    ts_experiment_close(&e);
}

Test(train_clips, windows_where_they_are_asked_for)
{
    ts_experiment e = open_experiment(VECTOR, (const char *[]){"train.eval_clips=false", NULL});
    ts_evaluation v = must_evaluate(&e);
    cr_expect(v.clips == 0 && v.items == 5 && v.frames == 5 * WINDOW && !v.skips);
    cr_expect(isnan(v.psnr) && isnan(v.ssim) && v.motion.mpjpe_mm > 0 && v.motion.velocity_mm_per_frame > 0);
    ts_evaluation_clear(&v);
    ts_experiment_close(&e);
}

/* The first file that is broken ends an evaluation that is told so; one that is short does not. */
Test(train_clips, a_broken_clip_can_be_an_error)
{
    ts_evaluation v;
    const char *stop[] = {"data.on_error=stop", NULL}, *first[] = {"data.on_error=stop", "train.eval_limit=3", NULL};
    ts_experiment e = open_experiment(VECTOR, stop);
    cr_assert_eq(ts_evaluate(&e, TS_SPLIT_VAL, false, 0, NULL, NULL, &v, &err), TS_ERR_DATA);
    cr_expect(strstr(err.text, "j.npy"), "%s", err.text);
    ts_experiment_close(&e);
    e = open_experiment(VECTOR, first);
    v = must_evaluate(&e);
    cr_expect(v.clips == 2 && v.skipped == 1);
    ts_evaluation_clear(&v);
    ts_experiment_close(&e);
}

/* Velocities and accelerations of the loss need three frames; a token may have fewer. */
Test(train_clips, clips_too_short_for_the_loss)
{
    ts_experiment e = open_experiment(
        VECTOR, (const char *[]){"model.down_t=0", "train.acceleration_loss=1", "train.velocity_loss=1", NULL});
    motion_sample_split(&folder, "val", 90, (sample_clip[]){{"x", 2}, {"y", 3}}, 2);
    ts_evaluation v = must_evaluate(&e);
    cr_expect(v.clips == 1 && v.frames == 3 && v.skipped == 1);
    cr_expect(strstr(v.skips, "clip x: 2 frames, too short: a token has 1, and the loss needs at least 3"), "%s",
              v.skips);
    ts_evaluation_clear(&v);
    motion_sample_split(&folder, "val", 90, (sample_clip[]){{"x", 2}}, 1);
    cr_assert_eq(ts_evaluate(&e, TS_SPLIT_VAL, false, 0, NULL, NULL, &v, &err), TS_ERR_DATA);
    cr_expect(strstr(err.text, "none of the 1 clips can be evaluated; the first: clip x"), "%s", err.text);
    ts_experiment_close(&e);
}

Test(train_clips, motion_has_no_psnr)
{
    const char *yaml = motion_sample_yaml(&folder, FINITE);
    ts_config *config;
    ts_experiment e;
    cr_assert_eq(ts_config_parse(&config, ts_experiment_schema(), "test", yaml, strlen(yaml),
                                 (const char *[]){"train.best=psnr", NULL}, &err),
                 TS_OK);
    cr_assert_eq(ts_experiment_open(&e, config, "cpu", 1, &err), TS_OK, "%s", err.text);
    cr_assert_eq(ts_experiment_open_data(&e, TS_SPLIT_TRAIN, &err), TS_ERR_USAGE);
    cr_expect_str_eq(err.text, "train.best=psnr: motion has none; choose mse, loss or perplexity");
    ts_experiment_close(&e);
}
