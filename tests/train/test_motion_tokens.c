/* Motion to tokens and back with the program itself: clips of any length, every input, both layouts, shards, a run that
 * was interrupted, and what is refused. */
#include <criterion/criterion.h>
#include <jansson.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/files/hdf5.h"
#include "core/files/npy.h"
#include "tests/core/files/files_support.h"
#include "tests/support/shared.h"
#include "tests/train/motion_sample.h"
#include "tests/train/run_program.h"
#include "train/checkpoint.h"
#include "train/clips.h"
#include "train/tokens.h"

enum { COLUMNS = SAMPLE_COLUMNS, TOKEN = 4, GOOD = 5, LONGEST = 64 };

static temp_folder folder;
static ts_error err;

static const sample_clip train_clips[] = {{"a", 24}, {"b", 40}, {"walk/c", 17}, {"d", 64}};
static const sample_clip val_clips[] = {{"e", 40}, {"walk/f", 18}, {"i", 23}, {"k", 18}, {"m", 9}};
enum { TRAIN = 4 };

static void setup(void)
{
    folder = temp_folder_make();
    motion_sample_split(&folder, "train", 0, train_clips, TRAIN);
    motion_sample_split(&folder, "val", TRAIN, val_clips, GOOD);
}

static void teardown(void)
{
    temp_folder_remove(&folder);
}

TestSuite(train_motion_tokens, .init = setup, .fini = teardown);

static const char *at(const char *name)
{
    return kept_path(&folder, name);
}

/* A trained model of this tree; its last checkpoint. */
static const char *train(const char *name, const char *quantizer, const char *seed)
{
    char file[80];
    const char *yaml = motion_sample_yaml(&folder, quantizer), *run = at(name);
    snprintf(file, sizeof file, "%s.yaml", name);
    const char *config = kept_write(&folder, file, yaml, strlen(yaml));
    free(OUTPUT("train", config, "--run", run, "--quiet", "--seed", seed, "train.steps=30"));
    snprintf(file, sizeof file, "%s/checkpoints/last.h5", name);
    return at(file);
}

#define FINITE "kind: finite_scalar, levels: [4, 3, 5]"

static const char *model(void)
{
    return train("run", FINITE, "1");
}

static int64_t tokens_of(int i)
{
    return val_clips[i].frames / TOKEN;
}

/* What the model makes of a validation clip when it is asked directly: ids, and values. */
static void forward(ts_experiment *e, int i, int32_t *ids, float *y)
{
    static float x[LONGEST * COLUMNS];
    int64_t frames = tokens_of(i) * TOKEN;
    ts_clips *clips;
    ts_clip_losses losses;
    for (int64_t k = 0; k < frames * COLUMNS; k++)
        x[k] = motion_sample_value(TRAIN + i, k / COLUMNS, k % COLUMNS);
    ts_motion_normalize(&e->motion, frames, x);
    cr_assert_eq(ts_clips_open(&clips, e, false, &err), TS_OK, "%s", err.text);
    cr_assert_eq(ts_clips_forward(clips, x, tokens_of(i), y, ids, &losses, &err), TS_OK, "%s", err.text);
    ts_clips_close(clips);
    ts_motion_restore(&e->motion, frames, y);
}

static ts_experiment open_trained(const char *checkpoint)
{
    ts_experiment e;
    cr_assert_eq(ts_checkpoint_experiment(&e, checkpoint, NULL, "cpu", 0, NULL, &err), TS_OK, "%s", err.text);
    return e;
}

static json_t *answer_of(char *text)
{
    json_t *root = json_loads(text, 0, NULL);
    cr_assert_not_null(root, "%s", text);
    free(text);
    return root;
}

static int64_t number_of(const json_t *answer, const char *key)
{
    const json_t *value = json_object_get(answer, key);
    cr_assert(json_is_integer(value), "%s", key);
    return json_integer_value(value);
}

static ts_npy open_array(const char *name)
{
    ts_npy npy;
    cr_assert_eq(ts_npy_open(&npy, at(name), &err), TS_OK, "%s", err.text);
    return npy;
}

/* ---- round trips ---- */

static void expect_ids(const char *name, ts_dtype dtype, const int32_t *ids, int64_t count)
{
    ts_npy npy = open_array(name);
    cr_assert(npy.tensor.dtype == dtype && ts_shape_equal(npy.tensor.shape, ts_shape_of(1, count)), "%s: %s %s", name,
              ts_dtype_name(npy.tensor.dtype), ts_shape_print(npy.tensor.shape).text);
    for (int64_t i = 0; i < count; i++)
        cr_expect_eq(dtype == TS_I64 ? ((int64_t *)npy.tensor.data)[i] : ((int32_t *)npy.tensor.data)[i], ids[i]);
    ts_npy_close(&npy);
}

static void expect_values(const char *name, const float *y, int64_t frames)
{
    ts_npy npy = open_array(name);
    cr_assert(npy.tensor.dtype == TS_F32 && ts_shape_equal(npy.tensor.shape, ts_shape_of(frames, COLUMNS)), "%s: %s",
              name, ts_shape_print(npy.tensor.shape).text);
    for (int64_t i = 0; i < frames * COLUMNS; i++)
        cr_assert_float_eq(((float *)npy.tensor.data)[i], y[i], 1e-3, "%s, value %d: %g, not %g", name, (int)i,
                           (double)((float *)npy.tensor.data)[i], (double)y[i]);
    ts_npy_close(&npy);
}

/* Tokens in every form, decoded from every form, against the model asked directly. */
static void expect_round_trip(const char *quantizer, int64_t groups)
{
    const char *last = train("run", quantizer, "1");
    ts_experiment e = open_trained(last);
    ts_arena arena = {0};
    ts_tokens t;
    free(OUTPUT("encode", last, folder.path, "--split", "val", "-o", at("t2m")));
    free(OUTPUT("encode", last, folder.path, "--split", "val", "-o", at("million"), "--layout", "motionmillion"));
    free(OUTPUT("encode", last, folder.path, "--split", "val", "-o", at("tokens.h5")));
    free(OUTPUT("decode", last, at("t2m"), "-o", at("from_t2m")));
    free(OUTPUT("decode", last, at("million"), "-o", at("from_million")));
    free(OUTPUT("decode", last, at("tokens.h5"), "-o", at("from_h5")));
    free(OUTPUT("decode", last, at("t2m/walk/f.npy"), "-o", at("from_one")));
    cr_assert_eq(ts_tokens_load(&t, at("tokens.h5"), &arena, &err), TS_OK, "%s", err.text);
    cr_assert(t.items == GOOD && t.longest == 10 && t.groups == groups && t.shape.rank == 0 && !t.places);
    bool differ = false;
    for (int i = 0; i < GOOD; i++) {
        char name[80];
        int32_t ids[LONGEST * 4];
        static float y[LONGEST * COLUMNS];
        int64_t count = tokens_of(i) * groups;
        forward(&e, i, ids, y);
        snprintf(name, sizeof name, "t2m/%s.npy", val_clips[i].id);
        expect_ids(name, TS_I64, ids, count);
        snprintf(name, sizeof name, "million/%s.npy", val_clips[i].id);
        expect_ids(name, TS_I32, ids, count);
        cr_expect_str_eq(t.names[i], val_clips[i].id);
        cr_expect_eq(t.lengths[i], tokens_of(i));
        cr_expect_arr_eq(t.ids + i * t.longest * groups, ids, (size_t)count * sizeof *ids);
        static const char *const from[] = {"from_t2m", "from_million", "from_h5"};
        for (int k = 0; k < 3; k++) {
            snprintf(name, sizeof name, "%s/%s.npy", from[k], val_clips[i].id);
            expect_values(name, y, tokens_of(i) * TOKEN);
        }
        if (i == 1)
            expect_values("from_one/f.npy", y, tokens_of(i) * TOKEN);
        for (int64_t k = 1; k < count; k++)
            differ |= ids[k] != ids[0];
    }
    cr_expect(differ, "the round trip of a single code shows nothing");
    ts_arena_clear(&arena);
    ts_experiment_close(&e);
}

Test(train_motion_tokens, round_trip_finite_scalar)
{
    expect_round_trip(FINITE, 1);
}

Test(train_motion_tokens, round_trip_in_groups)
{
    expect_round_trip("kind: finite_scalar, levels: [4, 3], codebooks: 2", 2);
}

Test(train_motion_tokens, round_trip_vector)
{
    expect_round_trip("kind: vector_reset, codes: 16, dim: 4", 1);
}

Test(train_motion_tokens, round_trip_lookup_free)
{
    expect_round_trip("kind: lookup_free, bits: 4, codebooks: 2", 2);
}

Test(train_motion_tokens, round_trip_spherical)
{
    expect_round_trip("kind: spherical, bits: 8, group: 4", 2);
}

Test(train_motion_tokens, round_trip_sim_vq)
{
    expect_round_trip("kind: sim_vq, codes: 16, dim: 4", 1);
}

Test(train_motion_tokens, round_trip_latent)
{
    expect_round_trip("kind: latent, levels: [4, 3], codebooks: 2", 2);
}

Test(train_motion_tokens, round_trip_random_projection)
{
    expect_round_trip("kind: random_projection, codes: 16, dim: 4, code_dim: 3, codebooks: 2", 2);
}

Test(train_motion_tokens, round_trip_scalar_perturbation)
{
    expect_round_trip("kind: scalar_perturbation, levels: [4, 3], groups: 2", 2);
}

Test(train_motion_tokens, round_trip_residual_finite_scalar)
{
    expect_round_trip("kind: finite_scalar, levels: [4, 3], bound: symmetric, hard_clamp: true, layers: 3, dropout: 1",
                      3);
}

Test(train_motion_tokens, round_trip_residual_vector)
{
    expect_round_trip("kind: vector_reset, codes: 16, dim: 4, layers: 2, groups: 2", 4);
}

Test(train_motion_tokens, values_in_one_file)
{
    const char *last = model();
    free(OUTPUT("encode", last, folder.path, "--split", "val", "-o", at("t2m")));
    free(OUTPUT("decode", last, at("t2m"), "-o", at("from")));
    json_t *answer = answer_of(OUTPUT("decode", last, at("t2m"), "-o", at("from.h5"), "--json"));
    cr_expect(number_of(answer, "items") == GOOD && number_of(answer, "frames") == 100 &&
              number_of(answer, "columns") == COLUMNS);
    json_decref(answer);
    static float motion[GOOD * 40 * COLUMNS];
    int32_t lengths[GOOD];
    ts_h5 *file;
    cr_assert_eq(ts_h5_open(&file, at("from.h5"), TS_ERR_DATA, &err), TS_OK, "%s", err.text);
    cr_assert_eq(ts_h5_read_into(file, "/motion", &(ts_tensor){TS_F32, ts_shape_of(GOOD, 40, COLUMNS), motion}, &err),
                 TS_OK, "%s", err.text);
    cr_assert_eq(ts_h5_read_into(file, "/lengths", &(ts_tensor){TS_I32, ts_shape_of(GOOD), lengths}, &err), TS_OK);
    ts_h5_close(file);
    static const char *const sorted[] = {"e", "i", "k", "m", "walk/f"};
    for (int i = 0; i < GOOD; i++) {
        char name[80];
        snprintf(name, sizeof name, "from/%s.npy", sorted[i]);
        expect_values(name, motion + (size_t)i * 40 * COLUMNS, lengths[i]);
    }
}

/* ---- inputs ---- */

static void expect_items(const char *const *arguments, int64_t items, int64_t tokens)
{
    json_t *answer = answer_of(output_of_program(arguments));
    cr_expect_eq(number_of(answer, "items"), items, "%s %s", arguments[2], arguments[3]);
    cr_expect_eq(number_of(answer, "tokens"), tokens, "%s %s", arguments[2], arguments[3]);
    json_decref(answer);
}
#define EXPECT_ITEMS(items, tokens, ...)                                                                               \
    expect_items((const char *const[]){"encode", last, __VA_ARGS__, "-o", at("t.h5"), "--json", NULL}, items, tokens)

Test(train_motion_tokens, every_kind_of_input)
{
    const char *last = model(), *loose = at("new_joint_vecs"), *one = at("new_joint_vecs/walk/f.npy");
    EXPECT_ITEMS(9, 61, folder.path);
    EXPECT_ITEMS(9, 61, folder.path, "--split", "all");
    EXPECT_ITEMS(4, 36, folder.path, "--split", "train");
    EXPECT_ITEMS(9, 61, loose);
    EXPECT_ITEMS(1, 4, one);
    EXPECT_ITEMS(9, 61, "--split", "all");
    EXPECT_ITEMS(5, 25, "--split", "val");
    EXPECT_ITEMS(2, 14, "--split=val", "data.limit=2");
    EXPECT_ITEMS(5, 25, "--split=val", "train.eval_frames=8");
    REFUSED(2, "is no tree with lists of clips", "encode", last, loose, "--split", "val", "-o", at("t.h5"));
    REFUSED(3, "/nowhere: expected motion", "encode", last, "/nowhere", "-o", at("t.h5"));
    REFUSED(3, "nothing.txt", "encode", last, folder.path, "--split", "nothing", "-o", at("t.h5"));
}

Test(train_motion_tokens, shards_and_folders_are_checked)
{
    const char *last = model(), *out = at("out");
    static const char *const wrong[] = {"2/2", "-1/2", "1", "1/", "/2", "1/0", "1/2x", "a/b"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        REFUSED(2, "expected I/N with I from 0 to N - 1", "encode", last, "--shard", wrong[i], "-o", out);
    REFUSED(2, "--resume: ", "encode", last, "--resume", "-o", at("t.h5"));
    REFUSED(2, "--layout: ", "encode", last, "--layout", "t2m", "-o", at("t.h5"));
    REFUSED(2, "one of t2m, motionmillion", "encode", last, "--layout", "other", "-o", out);
    cr_expect_neq(access(out, F_OK), 0, "nothing was made");
    free(OUTPUT("encode", last, "-o", out));
    REFUSED(2, "layout is \"t2m\" in its tessera.json, and \"motionmillion\" now", "encode", last, "-o", out,
            "--layout", "motionmillion");
    REFUSED(2, "eval_frames is 4096", "encode", last, "-o", out, "train.eval_frames=12");
    REFUSED(2, "weights is ", "encode", train("other", FINITE, "2"), "-o", out, "--resume");
    REFUSED(2, "holds files, but no tessera.json", "encode", last, "-o", at("new_joint_vecs"));
    kept_write(&folder, "out/tessera.json", "[1", 2);
    REFUSED(4, "expected one JSON object", "encode", last, "-o", out);
    REFUSED(3, "cannot be made as a folder", "encode", last, "-o", at("out/a.npy"));
}

/* ---- broken clips ---- */

Test(train_motion_tokens, what_is_broken_is_named_and_left_out)
{
    const char *last = model();
    const sample_clip clips[] = {{"e", 40}, {"nan", -30}, {"short", 3}, {"missing", 0}, {"k", 18}};
    motion_sample_split(&folder, "mixed", TRAIN, clips, 5);
    motion_sample_clip(&folder, "new_joint_vecs/other.npy", 0, 20, 3);
    outcome o = RUN("encode", last, folder.path, "--split", "mixed", "-o", at("out"), "--json");
    cr_assert_eq(o.code, 0, "%s", o.err);
    json_t *answer = answer_of(strdup(o.out));
    cr_expect(number_of(answer, "items") == 2 && number_of(answer, "clips_skipped") == 3 &&
                  number_of(answer, "clips_too_short") == 1 && number_of(answer, "frames") == 56,
              "%s", o.out);
    json_decref(answer);
    cr_expect(strstr(o.err, "nan.npy: frame 1, column 2") && strstr(o.err, "clip short: 3 frames, too short") &&
                  strstr(o.err, "missing.npy: No such file"),
              "%s", o.err);
    outcome_free(&o);
    cr_expect(access(at("out/e.npy"), F_OK) == 0 && access(at("out/k.npy"), F_OK) == 0);
    cr_expect_neq(access(at("out/nan.npy"), F_OK), 0);
    motion_sample_split(&folder, "bad", TRAIN, clips + 1, 3);
    o = RUN("encode", last, folder.path, "--split", "bad", "-o", at("bad.h5"));
    cr_expect_eq(o.code, 3);
    cr_expect(strstr(o.err, "none of the 3 clips can be encoded; the first: "), "%s", o.err);
    cr_expect_neq(access(at("bad.h5"), F_OK), 0);
    outcome_free(&o);
#ifndef TS_SANITIZED /* clang's OpenMP makes a file of its own, which the limit forbids as well */
    REFUSED_IN(((circumstances){.file_limit = 100}), 3, "not saved", "encode", last, "-o", at("full"));
#endif
}

/* ---- shards and interruptions ---- */

static void expect_same_folders(const char *a, const char *b)
{
    char command[1500];
    snprintf(command, sizeof command, "diff -r '%s' '%s'", a, b);
    cr_expect_eq(system(command), 0, "%s and %s differ", a, b);
}

Test(train_motion_tokens, shards_together_are_the_whole)
{
    const char *last = model();
    size_t bytes, joined_bytes;
    motion_sample_split(&folder, "all", 0,
                        (sample_clip[]){{"a", 24}, {"b", 40}, {"x", -9}, {"d", 64}, {"m", 9}, {"e", 40}}, 6);
    free(OUTPUT("encode", last, "-o", at("whole")));
    free(OUTPUT("encode", last, "-o", at("whole.h5")));
    for (int i = 2; i >= 0; i--) {
        char shard[8], name[16];
        snprintf(shard, sizeof shard, "%d/3", i);
        snprintf(name, sizeof name, "%d.h5", i);
        free(OUTPUT("encode", last, "-o", at("parts"), "--shard", shard));
        free(OUTPUT("encode", last, "-o", at(name), "--shard", shard));
    }
    expect_same_folders(at("whole"), at("parts"));
    free(OUTPUT("join", at("1.h5"), at("2.h5"), at("0.h5"), "-o", at("joined.h5")));
    char *whole = file_content(at("whole.h5"), &bytes), *joined = file_content(at("joined.h5"), &joined_bytes);
    cr_expect(bytes == joined_bytes && memcmp(whole, joined, bytes) == 0, "bit for bit");
    free(whole);
    free(joined);
    char *text = OUTPUT("inspect", at("1.h5"));
    cr_expect(strstr(text, "shard                 1/3"), "%s", text);
    free(text);
    json_t *answer = answer_of(OUTPUT("encode", last, "-o", at("none.h5"), "--shard", "7/9", "--json"));
    cr_expect_eq(number_of(answer, "items"), 0, "more shards than clips");
    json_decref(answer);
}

Test(train_motion_tokens, join_wants_all_shards_of_one_model)
{
    const char *last = model(), *other = train("other", FINITE, "2"), *out = at("out.h5");
    free(OUTPUT("encode", last, "-o", at("0.h5"), "--shard", "0/2"));
    free(OUTPUT("encode", last, "-o", at("1.h5"), "--shard", "1/2"));
    free(OUTPUT("encode", last, "-o", at("3.h5"), "--shard", "1/3"));
    free(OUTPUT("encode", other, "-o", at("theirs.h5"), "--shard", "1/2"));
    free(OUTPUT("encode", last, "-o", at("whole.h5")));
    REFUSED(2, "found none", "join", "-o", out);
    REFUSED(2, "expected a name that ends in .h5", "join", at("0.h5"), at("1.h5"), "-o", at("out"));
    REFUSED(4, "all 2 shards, found 1", "join", at("0.h5"), "-o", out);
    REFUSED(4, "found shard 0 2 times", "join", at("0.h5"), at("0.h5"), "-o", out);
    REFUSED(4, "do not belong together", "join", at("0.h5"), at("3.h5"), "-o", out);
    REFUSED(4, "of different models", "join", at("0.h5"), at("theirs.h5"), "-o", out);
    REFUSED(4, "is no shard", "join", at("0.h5"), at("whole.h5"), "-o", out);
    cr_expect_neq(access(out, F_OK), 0);
    free(OUTPUT("join", at("1.h5"), at("0.h5"), "-o", out));
}

/* What is missing, cut short or of another length is made again; what is whole is not touched. */
Test(train_motion_tokens, a_run_that_was_interrupted_goes_on)
{
    const char *last = model(), *out = at("out");
    free(OUTPUT("encode", last, "-o", at("whole")));
    free(OUTPUT("encode", last, "-o", out));
    cr_assert_eq(unlink(at("out/a.npy")), 0);
    cr_assert_eq(truncate(at("out/b.npy"), 150), 0);
    kept_write(&folder, "out/walk/f.npy.tmp.1", "half", 4);
    size_t bytes;
    char *longer = file_content(at("out/e.npy"), &bytes);
    kept_write(&folder, "out/d.npy", longer, bytes);
    free(longer);
    json_t *answer = answer_of(OUTPUT("encode", last, "-o", out, "--resume", "--json"));
    cr_expect(number_of(answer, "items") == 9 && number_of(answer, "kept") == 6 && number_of(answer, "tokens") == 61 &&
              number_of(answer, "frames") == 244);
    json_decref(answer);
    cr_assert_eq(unlink(at("out/walk/f.npy.tmp.1")), 0);
    expect_same_folders(at("whole"), out);
    answer = answer_of(OUTPUT("encode", last, "-o", out, "--resume", "--json", "--shard", "1/2"));
    cr_expect(number_of(answer, "items") == 4 && number_of(answer, "kept") == 4);
    json_decref(answer);
}

Test(train_motion_tokens, a_run_that_was_killed_goes_on)
{
    const char *last = model(), *out = at("out");
    circumstances kill_it = {.signal = SIGKILL, .signal_when = at("out/tessera.json")};
    free(OUTPUT("encode", last, "-o", at("whole")));
    outcome o = RUN_IN(kill_it, "encode", last, "-o", out);
    outcome_free(&o);
    free(OUTPUT("encode", last, "-o", out, "--resume"));
    char command[1500];
    snprintf(command, sizeof command, "find '%s' -name '*.tmp.*' -delete", out);
    cr_assert_eq(system(command), 0);
    expect_same_folders(at("whole"), out);
}

/* ---- bad files of tokens ---- */

static const char *array(const char *name, ts_dtype dtype, ts_shape shape, const void *values)
{
    ts_tensor t = {dtype, shape, (void *)values};
    kept_write(&folder, name, "", 0);
    cr_assert_eq(ts_npy_write(at(name), &t, &err), TS_OK, "%s", err.text);
    return at(name);
}

Test(train_motion_tokens, bad_files_of_tokens)
{
    const char *last = model(), *out = at("out");
    const int64_t good[] = {0, 59, 3, 4}, large[] = {0, 60}, low[] = {3, -1}, huge[] = {1, (int64_t)1 << 32};
    const struct {
        const char *file, *text;
    } cases[] = {
        {array("bad/float.npy", TS_F32, ts_shape_of(1, 2), (float[]){1, 2}),
         "expected integers of 4 or 8 bytes, found"},
        {array("bad/u8.npy", TS_U8, ts_shape_of(1, 2), "ab"), "expected integers of 4 or 8 bytes, found u8"},
        {array("bad/large.npy", TS_I64, ts_shape_of(1, 2), large), "place 1: expected an id from 0 to 59, found 60"},
        {array("bad/low.npy", TS_I64, ts_shape_of(1, 2), low), "place 1: expected an id from 0 to 59, found -1"},
        {array("bad/huge.npy", TS_I64, ts_shape_of(1, 2), huge), "found 4294967296"},
        {array("bad/empty.npy", TS_I64, ts_shape_of(1, 0), good), "at least one token in 1 groups"},
        {array("bad/rank.npy", TS_I64, ts_shape_of(1, 2, 2), good), "expected the ids of at least one token"},
        {array("bad/two.npy", TS_I64, ts_shape_of(2, 2), good), "found [2, 2]"},
        {kept_write(&folder, "bad/text.npy", "words", 5), "not a .npy file"},
        {kept_write(&folder, "bad/nothing.npy", "", 0), "not a .npy file"},
        {at("bad/missing.npy"), "No such file"},
        {at("empty"), "expected .npy files in this folder, found none"},
        {at("mixed"), "mixed/b.npy: place 1: expected an id"},
        {at("damaged"), "expected one JSON object"},
        {at("foreign"), "of another model"},
    };
    array("mixed/a.npy", TS_I64, ts_shape_of(1, 2), good);
    array("mixed/b.npy", TS_I64, ts_shape_of(1, 2), large);
    array("damaged/a.npy", TS_I64, ts_shape_of(1, 2), good);
    kept_write(&folder, "damaged/tessera.json", "{", 1);
    array("foreign/a.npy", TS_I64, ts_shape_of(1, 2), good);
    kept_write(&folder, "foreign/tessera.json", "{\"codes\": 512, \"groups\": 1}", 27);
    kept_write(&folder, "empty/readme.txt", "no tokens", 9);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        REFUSED(4, cases[i].text, "decode", last, cases[i].file, "-o", out);
    cr_expect_neq(access(out, F_OK), 0, "nothing was made");
    free(OUTPUT("decode", last, array("good/a.npy", TS_I64, ts_shape_of(4), good), "-o", out));
    cr_expect_eq(access(at("out/a.npy"), F_OK), 0);
    const char *grouped = train("groups", "kind: finite_scalar, levels: [4, 3], codebooks: 3", "1");
    REFUSED(4, "in 3 groups, [1, tokens * 3], found [1, 4]", "decode", grouped,
            array("bad/groups.npy", TS_I64, ts_shape_of(1, 4), good), "-o", at("out2"));
}

Test(train_motion_tokens, tokens_of_other_weights)
{
    const char *last = model(), *other = train("other", FINITE, "2");
    free(OUTPUT("encode", last, "-o", at("tokens")));
    REFUSED(4, "--force", "decode", other, at("tokens"), "-o", at("out"));
    cr_expect_neq(access(at("out"), F_OK), 0);
    free(OUTPUT("decode", other, at("tokens"), "-o", at("out"), "--force"));
    cr_expect_eq(access(at("out/walk/c.npy"), F_OK), 0);
}

/* ---- others ---- */

Test(train_motion_tokens, python_reads_and_writes)
{
    if (!python_has("h5py") || !python_has("numpy")) {
        skip_counted("no h5py or no numpy");
        return;
    }
    const char *last = model();
    free(OUTPUT("encode", last, "-o", at("t2m"), "--split", "val"));
    free(OUTPUT("encode", last, "-o", at("million"), "--split", "val", "--layout", "motionmillion"));
    free(OUTPUT("encode", last, "-o", at("tokens.h5"), "--split", "val"));
    free(OUTPUT("decode", last, at("tokens.h5"), "-o", at("decoded")));
    free(OUTPUT("decode", last, at("tokens.h5"), "-o", at("decoded.h5")));
    cr_assert_eq(run_python("motion_tokens.py", folder.path, NULL), 0);
    free(OUTPUT("decode", last, at("theirs"), "-o", at("from_theirs")));
    expect_same_folders(at("decoded"), at("from_theirs"));
}

/* The lines of a run and the answer of eval say the same of the same weights. */
Test(train_motion_tokens, a_run_evaluates_whole_clips)
{
    const char *last = model();
    size_t bytes;
    char *lines = file_content(at("run/metrics.jsonl"), &bytes),
         *line = strstr(lines, "{\"step\": 30, \"split\": \"val\"");
    cr_assert_not_null(line, "%s", lines);
    json_t *of_run = json_loads(line, JSON_DISABLE_EOF_CHECK, NULL),
           *of_eval = answer_of(OUTPUT("eval", last, "--json"));
    static const char *const same[] = {
        "loss", "mse", "l1", "recon", "mpjpe_mm", "velocity_mm_per_frame", "acceleration_mm_per_frame2", "perplexity"};
    for (size_t i = 0; i < sizeof same / sizeof *same; i++) {
        double a = json_number_value(json_object_get(of_run, same[i]));
        double b = json_number_value(json_object_get(of_eval, same[i]));
        cr_expect(a > 0 && fabs(a - b) <= 1e-6 * a, "%s: %g in the run, %g by eval", same[i], a, b);
    }
    cr_expect(number_of(of_run, "clips") == GOOD && number_of(of_run, "frames") == 100 &&
              number_of(of_eval, "clips") == GOOD && number_of(of_eval, "frames") == 100 &&
              number_of(of_eval, "tokens") == 25);
    cr_expect(!json_object_get(of_run, "psnr") && !json_object_get(of_eval, "ssim"));
    cr_expect_str_eq(json_string_value(json_object_get(of_eval, "unit")), "columns of a frame, normalised");
    json_decref(of_run);
    json_decref(of_eval);
    free(lines);
}
