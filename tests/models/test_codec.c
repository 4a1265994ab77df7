#define _GNU_SOURCE
/* A tokenizer opened from a file: what the program's encode and decode give, from any number of threads. */
#include "models/codec.h"

#include <criterion/criterion.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/files/hdf5.h"
#include "core/files/safetensors.h"
#include "tests/train/run_program.h"
#include "train/tokens.h"

static temp_folder folder;
static ts_error err;

static void setup(void)
{
    folder = temp_folder_make();
}

static void teardown(void)
{
    temp_folder_remove(&folder);
}

TestSuite(models_codec, .init = setup, .fini = teardown);

static const char *at(const char *name)
{
    return kept_path(&folder, name);
}

static const char *const motion_yaml = "data: {kind: chains, window: 16, val_count: 4}\n"
                                       "model: {kind: motion_conv, width: 16, depth: 1}\n"
                                       "quantizer: {kind: vector_reset, codes: 32}\n"
                                       "train: {steps: 4, batch: 4, eval_every: 0, checkpoint_every: 0, ema: 0.5}\n";

static const char *train(const char *yaml)
{
    const char *config = kept_write(&folder, "config.yaml", yaml, strlen(yaml));
    free(OUTPUT("train", config, "--run", at("run"), "--quiet", "--device", "cpu"));
    return at("run/checkpoints/last.h5");
}

static ts_codec *open_codec(const char *path, ts_codec_options options)
{
    ts_codec *codec;
    cr_assert_eq(ts_codec_open(&codec, path, options, &err), TS_OK, "%s", err.text);
    return codec;
}

static ts_session *open_session(const ts_codec *codec, int64_t batch)
{
    ts_session *session;
    cr_assert_eq(ts_codec_session(codec, batch, &session, &err), TS_OK, "%s", err.text);
    return session;
}

/* ---- the same as the program ---- */

/* Values that are no round numbers, in [-1, 1]. */
static float *values(int64_t count)
{
    float *x = calloc((size_t)count, sizeof *x);
    for (int64_t i = 0; i < count; i++)
        x[i] = (float)sin(0.37 * (double)i + 0.001 * (double)(i * i % 977));
    return x;
}

/* Images as a file that the program encodes. */
static void write_images(const char *path, float *x, ts_shape shape)
{
    ts_h5 *file;
    ts_named_tensor images = {"/images", {TS_F32, shape, x}};
    cr_assert_eq(ts_h5_create(&file, path, 0, TS_ERR_DATA, &err), TS_OK, "%s", err.text);
    cr_assert_eq(ts_h5_write(file, &images, &err), TS_OK, "%s", err.text);
    cr_assert_eq(ts_h5_save(file, &err), TS_OK, "%s", err.text);
    ts_h5_close(file);
}

static ts_tensor dataset(const char *path, const char *name, ts_arena *arena)
{
    ts_h5 *file;
    ts_tensor t;
    cr_assert_eq(ts_h5_open(&file, path, TS_ERR_DATA, &err), TS_OK, "%s", err.text);
    cr_assert_eq(ts_h5_read(file, name, arena, &t, &err), TS_OK, "%s", err.text);
    ts_h5_close(file);
    return t;
}

static void expect_same_as_program(const ts_codec *codec, const ts_tensor *ids, const ts_tensor *y, const float *x)
{
    enum { IMAGES = 8, BATCH = 4 }; /* of tiny_run: train.batch */
    const ts_codec_info *info = ts_codec_info_of(codec);
    ts_session *session = open_session(codec, BATCH);
    size_t id_bytes = (size_t)(IMAGES * info->tokens_per_item * info->groups) * sizeof(int32_t);
    int32_t *mine = malloc(id_bytes);
    float *back = malloc(ts_tensor_bytes(y));
    cr_assert_eq(id_bytes, ts_tensor_bytes(ids));
    cr_assert_eq(ts_session_encode(session, x, IMAGES, 0, mine, &err), TS_OK, "%s", err.text);
    cr_expect_arr_eq(mine, ids->data, id_bytes);
    cr_assert_eq(ts_session_decode(session, mine, IMAGES, 0, back, &err), TS_OK, "%s", err.text);
    cr_expect_arr_eq(back, y->data, ts_tensor_bytes(y));
    cr_expect_eq(ts_session_planned(session), 2, "one program each way");
    free(mine);
    free(back);
    ts_session_free(session);
}

/* safetensors as another program writes them anew: without the texts. */
static void strip_texts(const char *from, const char *to)
{
    enum { MOST = 64 };
    ts_safetensors *file;
    ts_arena arena = {0};
    ts_named_tensor list[MOST];
    cr_assert_eq(ts_safetensors_open(&file, from, TS_ERR_DATA, &err), TS_OK, "%s", err.text);
    int64_t count = ts_safetensors_count(file);
    cr_assert_leq(count, MOST);
    for (int64_t i = 0; i < count; i++) {
        const ts_safetensors_entry *e = ts_safetensors_at(file, i);
        list[i].name = e->name;
        cr_assert_eq(ts_safetensors_load(file, e, &arena, &list[i].tensor, &err), TS_OK, "%s", err.text);
    }
    cr_assert_eq(ts_safetensors_write(to, list, count, NULL, &err), TS_OK, "%s", err.text);
    ts_safetensors_close(file);
    ts_arena_clear(&arena);
}

Test(models_codec, images_as_the_program_gives_them)
{
    const char *last = tiny_run(&folder);
    ts_arena arena = {0};
    float *x = values(8 * 8 * 8 * 3);
    write_images(at("x.h5"), x, ts_shape_of(8, 8, 8, 3));
    free(OUTPUT("encode", last, at("x.h5"), "-o", at("ids.h5"), "--device", "cpu"));
    free(OUTPUT("decode", last, at("ids.h5"), "-o", at("y.h5"), "--device", "cpu"));
    free(OUTPUT("export", last, "-o", at("out")));
    ts_tensor ids = dataset(at("ids.h5"), "/tokens", &arena), y = dataset(at("y.h5"), "/images", &arena);
    temp_write(&folder, "bare/config.json", "", 0);
    strip_texts(at("out/model.safetensors"), at("bare/model.safetensors"));
    size_t bytes;
    char *json = file_content(at("out/config.json"), &bytes);
    temp_write(&folder, "bare/config.json", json, bytes);
    free(json);
    const char *const files[] = {last, at("out/model.safetensors"), at("bare/model.safetensors")};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        ts_codec *codec = open_codec(files[i], (ts_codec_options){.device = "cpu"});
        const ts_codec_info *info = ts_codec_info_of(codec);
        cr_expect_str_eq(info->model, "image_small");
        cr_expect(ts_shape_equal(info->item, ts_shape_of(8, 8, 3)) && info->codes == 64 && info->range == 0);
        expect_same_as_program(codec, &ids, &y, x);
        ts_codec_close(codec);
    }
    free(x);
    ts_arena_clear(&arena);
}

Test(models_codec, the_number_of_the_weights_is_the_programs)
{
    const char *last = tiny_run(&folder);
    free(OUTPUT("export", last, "-o", at("out")));
    char *said = OUTPUT("inspect", last, "--json");
    ts_codec *a = open_codec(last, (ts_codec_options){.device = "cpu"});
    ts_codec *b = open_codec(at("out/model.safetensors"), (ts_codec_options){.device = "cpu"});
    cr_expect_eq(strlen(ts_codec_info_of(a)->weights), 32);
    cr_expect(strstr(said, ts_codec_info_of(a)->weights));
    cr_expect_str_eq(ts_codec_info_of(a)->weights, ts_codec_info_of(b)->weights);
    ts_codec_close(a);
    ts_codec_close(b);
    free(said);
}

/* ---- motion ---- */

Test(models_codec, clips_of_any_length)
{
    enum { SHORTEST = 4, LONGEST = 40 };
    ts_codec *codec = open_codec(train(motion_yaml), (ts_codec_options){.device = "cpu", .threads = 1});
    const ts_codec_info *info = ts_codec_info_of(codec);
    ts_session *one = open_session(codec, 1), *two = open_session(codec, 2);
    int64_t columns = info->item.dim[1];
    cr_assert(info->frames_per_token == 4 && info->normalised);
    for (int64_t frames = SHORTEST; frames <= LONGEST; frames += 6) {
        int64_t tokens = ts_session_tokens(one, frames), rows = ts_session_frames(one, tokens);
        float *x = values(2 * frames * columns), *y = values(2 * rows * columns), *z = values(2 * rows * columns);
        int32_t a[2 * LONGEST], b[2 * LONGEST];
        cr_assert(tokens == frames / 4 && rows == tokens * 4);
        cr_assert_eq(ts_session_encode(one, x, 2, frames, a, &err), TS_OK, "%s", err.text);
        cr_assert_eq(ts_session_encode(two, x, 2, frames, b, &err), TS_OK, "%s", err.text);
        cr_expect_arr_eq(a, b, (size_t)(2 * tokens) * sizeof *a, "%ld frames: two clips at a time", (long)frames);
        cr_assert_eq(ts_session_decode(one, a, 2, tokens, y, &err), TS_OK, "%s", err.text);
        cr_assert_eq(ts_session_decode(one, a + tokens, 1, tokens, z, &err), TS_OK, "%s", err.text);
        cr_expect_arr_eq(y + rows * columns, z, (size_t)(rows * columns) * sizeof *y, "no clip depends on another");
        free(x);
        free(y);
        free(z);
    }
    cr_expect_eq(ts_session_encode(one, (float[1]){0}, 1, 3, (int32_t[1]){0}, &err), TS_ERR_DATA);
    cr_expect(strstr(err.text, "3 frames, too short: a token has 4"), "%s", err.text);
    ts_session_free(one);
    ts_session_free(two);
    ts_codec_close(codec);
}

/* ---- threads ---- */

enum { THREADS = 4, ROUNDS = 6, CLIP = 24 };

typedef struct {
    const ts_codec *codec;
    const float *x;
    int64_t values;
    int32_t ids[CLIP];
    float *y;
    bool failed;
} worker;

/* A session of its own, lengths in turn; what stays is the last one. */
static void *work(void *argument)
{
    worker *w = argument;
    ts_error why;
    ts_session *session;
    w->failed = ts_codec_session(w->codec, 1, &session, &why) != TS_OK;
    for (int round = 0; !w->failed && round < ROUNDS; round++) {
        int64_t frames = CLIP - 4 * (ROUNDS - 1 - round), tokens = ts_session_tokens(session, frames);
        w->failed = ts_session_encode(session, w->x, 1, frames, w->ids, &why) != TS_OK ||
                    ts_session_decode(session, w->ids, 1, tokens, w->y, &why) != TS_OK;
    }
    ts_session_free(session);
    return NULL;
}

Test(models_codec, threads_share_the_weights)
{
    ts_codec *codec = open_codec(train(motion_yaml), (ts_codec_options){.device = "cpu", .threads = 2});
    int64_t count = CLIP * ts_codec_info_of(codec)->item.dim[1];
    float *x = values(count);
    worker alone = {.codec = codec, .x = x, .values = count, .y = values(count)}, w[THREADS];
    pthread_t thread[THREADS];
    work(&alone);
    cr_assert_not(alone.failed);
    for (int i = 0; i < THREADS; i++) {
        w[i] = (worker){.codec = codec, .x = x, .values = count, .y = values(count)};
        cr_assert_eq(pthread_create(&thread[i], NULL, work, &w[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(thread[i], NULL);
        cr_expect_not(w[i].failed);
        cr_expect_arr_eq(w[i].ids, alone.ids, CLIP / 4 * sizeof *alone.ids);
        cr_expect_arr_eq(w[i].y, alone.y, (size_t)count * sizeof *alone.y);
        free(w[i].y);
    }
    free(alone.y);
    free(x);
    ts_codec_close(codec);
}

#if defined(__SSE__)
#include <xmmintrin.h>

/* A user's arithmetic is not ours to change. */
Test(models_codec, the_callers_thread_is_left_as_it_was)
{
    unsigned before = _mm_getcsr();
    float x[8 * 8 * 3], y[8 * 8 * 3];
    int32_t ids[16];
    memset(x, 0, sizeof x);
    ts_codec *codec = open_codec(tiny_run(&folder), (ts_codec_options){.device = "cpu"});
    ts_session *session = open_session(codec, 1);
    cr_assert_eq(ts_session_encode(session, x, 1, 0, ids, &err), TS_OK, "%s", err.text);
    cr_assert_eq(ts_session_decode(session, ids, 1, 0, y, &err), TS_OK, "%s", err.text);
    /* the flags of what happened, bits 0 to 5, may differ */
    cr_expect_eq(_mm_getcsr() & ~0x3fu, before & ~0x3fu);
    ts_session_free(session);
    ts_codec_close(codec);
}
#endif

/* ---- what is refused ---- */

/* The program's words and code, behind "tessera: checkpoint error: ". */
static void expect_as_the_program(const char *path)
{
    ts_codec *codec;
    ts_status status = ts_codec_open(&codec, path, (ts_codec_options){.device = "cpu"}, &err);
    outcome o = RUN("export", path, "-o", at("refused"), "--device", "cpu");
    cr_expect(status != TS_OK && !codec);
    cr_expect_eq((int)status, o.code, "%s: the library gives %d, the program %s", path, status, o.err);
    cr_expect(strstr(o.err, err.text), "'%s' is not in '%s'", err.text, o.err);
    outcome_free(&o);
}

Test(models_codec, files_that_are_no_good)
{
    size_t bytes;
    char *file = file_content(tiny_run(&folder), &bytes);
    expect_as_the_program(at("none.h5"));
    const size_t cuts[] = {0, 1, 100, 512, bytes / 2, bytes - 1};
    for (size_t i = 0; i < sizeof cuts / sizeof *cuts; i++)
        expect_as_the_program(kept_write(&folder, "cut.h5", file, cuts[i]));
    for (size_t at_byte = 3; at_byte < bytes; at_byte += bytes / 5) {
        file[at_byte] ^= 4;
        expect_as_the_program(kept_write(&folder, "flipped.h5", file, bytes));
        file[at_byte] ^= 4;
    }
    free(file);
}

Test(models_codec, safetensors_that_are_no_good)
{
    size_t bytes;
    ts_codec *codec;
    free(OUTPUT("export", tiny_run(&folder), "-o", at("out")));
    char *file = file_content(at("out/model.safetensors"), &bytes);
    for (size_t cut = 9; cut < bytes; cut += bytes / 7) {
        const char *path = kept_write(&folder, "cut.safetensors", file, cut);
        cr_expect_eq(ts_codec_open(&codec, path, (ts_codec_options){0}, &err), TS_ERR_CHECKPOINT);
        cr_expect(strstr(err.text, path), "%s", err.text);
    }
    char *item = memmem(file, bytes, "8x8x3", 5);
    cr_assert_not_null(item);
    memcpy(item, "8x0x3", 5);
    const char *other = kept_write(&folder, "other/model.safetensors", file, bytes);
    cr_expect_eq(ts_codec_open(&codec, other, (ts_codec_options){0}, &err), TS_ERR_CHECKPOINT);
    cr_expect(strstr(err.text, "expected HxWxC, such as 28x28x1, or TxC, such as 64x263, found '8x0x3'"), "%s",
              err.text);
    strip_texts(at("out/model.safetensors"), at("other/model.safetensors"));
    cr_expect_eq(ts_codec_open(&codec, other, (ts_codec_options){0}, &err), TS_ERR_CHECKPOINT);
    cr_expect(strstr(err.text, "does not say what model it is of, and no config.json"), "%s", err.text);
    free(file);
}

Test(models_codec, ids_that_are_no_codes)
{
    ts_codec *codec = open_codec(tiny_run(&folder), (ts_codec_options){.device = "cpu"});
    ts_session *session = open_session(codec, 3);
    int64_t tokens = ts_codec_info_of(codec)->tokens_per_item;
    int32_t ids[64] = {0};
    float y[3 * 8 * 8 * 3];
    ids[tokens + 1] = 64;
    cr_expect_eq(ts_session_decode(session, ids, 3, 0, y, &err), TS_ERR_DATA);
    cr_expect_str_eq(err.text, "item 1: id 1 is 64, expected 0 to 63");
    ids[tokens + 1] = -1;
    cr_expect_eq(ts_session_decode(session, ids, 3, 0, y, &err), TS_ERR_DATA);
    cr_expect_eq(ts_session_decode(session, ids, 3, 4, y, &err), TS_ERR_USAGE, "images have one size");
    float x[8 * 8 * 3] = {NAN};
    cr_assert_eq(ts_session_encode(session, x, 1, 0, ids, &err), TS_OK, "%s", err.text);
    cr_expect_eq(ids[0], -1);
    ts_session *none;
    cr_expect_eq(ts_codec_session(codec, 0, &none, &err), TS_ERR_USAGE);
    cr_expect_null(none);
    ts_session_free(session);
    ts_codec_close(codec);
}

Test(models_codec, out_of_memory_is_an_error)
{
    const char *last = tiny_run(&folder);
    ts_codec *codec;
    ts_session *session;
    float x[8 * 8 * 3] = {0};
    int32_t ids[16];
    int failed = 0, steps = 0;
    for (uint64_t n = 1; n < 4000; n += 1 + n / 8, steps++) {
        ts_alloc_fail_at(n);
        ts_status status = ts_codec_open(&codec, last, (ts_codec_options){.device = "cpu"}, &err);
        if (status == TS_OK && (status = ts_codec_session(codec, 1, &session, &err)) == TS_OK) {
            status = ts_session_encode(session, x, 1, 0, ids, &err);
            ts_session_free(session);
        }
        ts_alloc_fail_at(0);
        ts_codec_close(codec);
        failed += status != TS_OK;
    }
    cr_expect(failed > 10 && failed < steps, "%d of %d", failed, steps);
}
