/* A tokenizer block by block gives what it gives over the whole clip: for any blocks, for every kind of causal model,
 * there and back. */
#include "models/stream.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/files/npy.h"
#include "core/memory.h"
#include "layers/patch.h"
#include "models/image_small.h"
#include "models/motion_conv.h"
#include "quant/finite_scalar.h"
#include "quant/vector.h"
#include "tests/support/shared.h"
#include "tests/support/worst.h"

enum { C = 263, WIDTH = 32, MOST_FRAMES = 300, MOST_TOKENS = MOST_FRAMES };

static ts_error err;
static ts_finite_scalar_options scalar = {.stack = {.dim = WIDTH, .projection_bias = true},
                                          .levels = {.count = 3, .value = {8, 8, 8}},
                                          .codebooks = 1,
                                          .indices = true};
static ts_vector_options vector = {.codes = 64, .dim = WIDTH, .commitment = 1, .codebook = 1};

static const ts_motion_conv_options plain = {.width = 32,
                                             .depth = 2,
                                             .dilation_growth = 3,
                                             .down_t = 2,
                                             .stride = 2,
                                             .kernel = 3,
                                             .causal = true,
                                             .patch_size = 1};

static const struct {
    const char *name;
    ts_motion_conv_options o;
    bool vector;
} models[] = {
    {"plain", {32, 2, 3, 2, 2, 3, 0, TS_NORM_NONE, true, false, 0, 1}, false},
    {"as T2M-GPT, narrower", {32, 3, 3, 2, 2, 3, 0, TS_NORM_NONE, true, false, 0, 1}, true},
    {"as MotionMillion, narrower", {32, 3, 3, 1, 2, 3, 0, TS_NORM_LAYER, true, false, 0, 1}, false},
    {"layer norm, silu, kernel 5", {32, 2, 2, 2, 2, 5, 1, TS_NORM_LAYER, true, false, 0, 1}, false},
    {"batch norm, gelu, stride 3", {32, 2, 2, 1, 3, 7, 2, TS_NORM_BATCH, true, false, 0, 1}, false},
    {"stride 4: dilated", {32, 1, 3, 1, 4, 3, 0, TS_NORM_NONE, true, false, 0, 1}, true},
    {"no blocks, no division", {32, 0, 3, 0, 2, 3, 0, TS_NORM_NONE, true, false, 0, 1}, false},
    {"haar of 4", {32, 1, 3, 1, 2, 3, 0, TS_NORM_NONE, true, false, TS_PATCH_HAAR, 4}, false},
    {"side by side", {32, 1, 3, 0, 2, 3, 0, TS_NORM_NONE, true, false, TS_PATCH_REARRANGE, 3}, false},
};
enum { MODELS = sizeof models / sizeof *models };

/* ---- a tokenizer with weights, and what it does with a whole clip ---- */

typedef struct {
    ts_tokenizer tokenizer;
    ts_device *device;
    ts_store *store;
    ts_workspace *workspace;
} net;

static float x[MOST_FRAMES * C], y[MOST_FRAMES * C], streamed_y[MOST_FRAMES * C];
static float z[MOST_TOKENS * WIDTH], streamed_z[MOST_TOKENS * WIDTH];
static int32_t ids[MOST_TOKENS], streamed_ids[MOST_TOKENS];

static ts_tokenizer tokenizer_of(const ts_motion_conv_options *o, bool codebook, int64_t frames)
{
    ts_tokenizer t = {.model = &ts_motion_conv_kind, .model_options = o, .item = ts_shape_of(frames, C)};
    t.quantizer = codebook ? &ts_vector_kind : &ts_finite_scalar_kind;
    t.quantizer_options = codebook ? (void *)&vector : (void *)&scalar;
    cr_assert_eq(ts_tokenizer_check(&t, &err), TS_OK, "%s", err.text);
    return t;
}

/* With the weights that seed 7 draws, and the results of the first `frames` of x. */
static net net_open(const ts_motion_conv_options *o, bool codebook, int64_t frames)
{
    net n = {.tokenizer = tokenizer_of(o, codebook, frames), .store = ts_store_new(TS_F32)};
    ts_graph *g = ts_graph_new(TS_F32);
    ts_scope s = {.graph = g, .store = n.store, .path = "", .mode = TS_EVAL};
    ts_program *program;
    cr_assert_eq(ts_device_open("cpu", 1, &n.device, &err), TS_OK, "%s", err.text);
    n.workspace = ts_workspace_new(n.device);
    ts_value in = ts_input(g, "x", TS_F32, ts_shape_of(1, frames, C));
    ts_tokenized whole = ts_tokenizer_forward(s, &n.tokenizer, in, TS_ABSENT);
    ts_output(whole.z, "z"), ts_output(whole.q.ids, "ids"), ts_output(whole.y, "y");
    cr_assert_eq(ts_store_seal(n.store, n.device, 7, &err), TS_OK, "%s", err.text);
    cr_assert_eq(ts_program_new(g, n.workspace, &program, &err), TS_OK, "%s", err.text);
    ts_program_set(program, in, x);
    cr_assert_eq(ts_program_run(program, &err), TS_OK, "%s", err.text);
    ts_program_get(program, whole.z, z);
    ts_program_get(program, whole.q.ids, ids);
    ts_program_get(program, whole.y, y);
    ts_program_free(program);
    ts_graph_free(g);
    return n;
}

static void net_close(net *n)
{
    ts_workspace_free(n->workspace);
    ts_store_free(n->store);
    ts_device_close(n->device);
}

static ts_stream *stream_of(const net *n, ts_stream_kind kind, int64_t tokens)
{
    ts_stream *s;
    ts_stream_options o = {.kind = kind, .tokens = tokens};
    cr_assert_eq(ts_stream_new(&s, &n->tokenizer, n->store, n->workspace, o, &err), TS_OK, "%s", err.text);
    return s;
}

/* Waves of other lengths in every column: normalised motion is about so large. */
static void make_clip(void)
{
    for (int64_t t = 0; t < MOST_FRAMES; t++)
        for (int64_t c = 0; c < C; c++)
            x[t * C + c] = (float)(sin(0.01 * (double)(t * (c % 37 + 1)) + (double)c) + 0.3 * cos((double)(t * c)));
}

/* ---- equal? ---- */

/* The largest difference over the largest value; NaN where one is. */
static double apart(const float *a, const float *b, int64_t count)
{
    double most = 0, largest = 0;
    for (int64_t i = 0; i < count; i++) {
        most = worst_of(most, fabs((double)a[i] - (double)b[i]));
        largest = worst_of(largest, fabs((double)b[i]));
    }
    return most / largest;
}

static const double CLOSE = 5e-6; /* of the largest: sums of a convolution in another order; up to 1e-6 was seen */

/* How many frames the next block has, when `left` are left: `size`, or for 0 anything. */
static int64_t block_of(int64_t size, int64_t left, uint64_t turn)
{
    static const int64_t any[] = {1, 7, 0, 2, 64, 3, 31, 1, 16};
    int64_t n = size ? size : any[turn % (sizeof any / sizeof *any)];
    return n < left ? n : left;
}

static void encode_in_blocks(ts_stream *s, int64_t frames, int64_t size)
{
    int64_t done = 0, tokens = 0, per_token = ts_stream_frames_per_token(s);
    ts_stream_reset(s);
    memset(streamed_ids, -1, sizeof streamed_ids);
    for (uint64_t turn = 0; done < frames; turn++) {
        int64_t n = block_of(size, frames - done, turn), fresh = ts_stream_tokens(s, n);
        cr_assert_eq(fresh, (done + n) / per_token - done / per_token);
        cr_assert_eq(ts_stream_encode(s, x + done * C, n, streamed_ids + tokens, streamed_z + tokens * WIDTH, &err),
                     TS_OK, "%s", err.text);
        tokens += fresh;
        done += n;
    }
}

static void expect_tokens(const char *name, int64_t size, int64_t tokens)
{
    double d = apart(streamed_z, z, tokens * WIDTH);
    cr_assert_eq(memcmp(ids, streamed_ids, (size_t)tokens * sizeof *ids), 0, "%s, blocks of %d: other ids", name,
                 (int)size);
    cr_assert_leq(d, CLOSE, "%s, blocks of %d: z is %g off", name, (int)size, d);
}

Test(models_stream, tokens_of_blocks_are_those_of_the_clip)
{
    enum { FRAMES = 144 };
    cr_assert_geq(MODELS, 9);
    make_clip();
    for (int m = 0; m < MODELS; m++) {
        net n = net_open(&models[m].o, models[m].vector, FRAMES);
        for (int64_t at_once = 0; at_once <= 5; at_once += 5) {
            ts_stream *s = stream_of(&n, TS_STREAM_ENCODE, at_once);
            for (int64_t size = 0; size <= FRAMES; size = size < 4 ? size + 1 : 2 * size + 3) {
                encode_in_blocks(s, FRAMES, size);
                expect_tokens(models[m].name, size, n.tokenizer.tokens.dim[0]);
            }
            ts_stream_free(s);
        }
        net_close(&n);
    }
}

static void decode_in_blocks(ts_stream *s, int64_t tokens, int64_t size)
{
    int64_t per_token = ts_stream_frames_per_token(s), done = 0;
    ts_stream_reset(s);
    memset(streamed_y, 0, sizeof streamed_y);
    for (uint64_t turn = 0; done < tokens; turn++) {
        int64_t n = block_of(size, tokens - done, turn);
        cr_assert_eq(ts_stream_decode(s, ids + done, n, streamed_y + done * per_token * C, &err), TS_OK, "%s",
                     err.text);
        done += n;
    }
}

Test(models_stream, frames_of_blocks_are_those_of_the_clip)
{
    enum { FRAMES = 144 };
    make_clip();
    for (int m = 0; m < MODELS; m++) {
        net n = net_open(&models[m].o, models[m].vector, FRAMES);
        for (int64_t at_once = 0; at_once <= 5; at_once += 5) {
            ts_stream *s = stream_of(&n, TS_STREAM_DECODE, at_once);
            for (int64_t size = 0; size <= 12; size += 3) {
                decode_in_blocks(s, n.tokenizer.tokens.dim[0], size);
                double d = apart(streamed_y, y, FRAMES * C);
                cr_assert_leq(d, CLOSE, "%s, blocks of %d: y is %g off", models[m].name, (int)size, d);
            }
            ts_stream_free(s);
        }
        net_close(&n);
    }
}

/* The checks above can fail: what is behind a block's end matters where a stream forgets its past. */
Test(models_stream, a_stream_without_its_past_gives_others)
{
    make_clip();
    net n = net_open(&models[1].o, false, 64);
    ts_stream *s = stream_of(&n, TS_STREAM_ENCODE, 0);
    encode_in_blocks(s, 32, 4);
    ts_stream_reset(s);
    cr_assert_eq(ts_stream_encode(s, x + 32L * C, 32, streamed_ids + 8, streamed_z + 8L * WIDTH, &err), TS_OK);
    cr_assert_leq(apart(streamed_z, z, 8L * WIDTH), CLOSE);
    cr_assert_gt(apart(streamed_z + 8L * WIDTH, z + 8L * WIDTH, 8L * WIDTH), 100 * CLOSE);
    ts_stream_free(s);
    net_close(&n);
}

/* A token is there with its last frame, and not before; a clip that breaks off inside of one leaves nothing behind. */
Test(models_stream, a_token_comes_with_its_last_frame)
{
    make_clip();
    net n = net_open(&plain, false, 16);
    ts_stream *s = stream_of(&n, TS_STREAM_ENCODE, 0);
    cr_assert_eq(ts_stream_frames_per_token(s), 4);
    for (int64_t t = 0; t < 15; t++) {
        cr_assert_eq(ts_stream_tokens(s, 1), t % 4 == 3);
        cr_assert_eq(ts_stream_encode(s, x + t * C, 1, streamed_ids + t / 4, NULL, &err), TS_OK);
    }
    cr_assert_eq(memcmp(ids, streamed_ids, 3 * sizeof *ids), 0);
    ts_stream_reset(s);
    cr_assert_eq(ts_stream_tokens(s, 3), 0);
    cr_assert_eq(ts_stream_tokens(s, 4), 1);
    encode_in_blocks(s, 16, 16);
    expect_tokens("after a reset", 16, 4);
    ts_stream_free(s);
    net_close(&n);
}

/* Normalised clips of the data set, of the lengths that they have. */
Test(models_stream, of_real_motion)
{
    static const char *const clips[] = {"cmu_002_01", "cmu_002_09", "cmu_005_02"};
    const char *folder = shared_path("data/motion/");
    if (!folder) {
        skip_counted("no shared data");
        return;
    }
    char path[1000];
    ts_npy mean, std, clip;
    snprintf(path, sizeof path, "%s/Mean.npy", folder);
    cr_assert_eq(ts_npy_open(&mean, path, &err), TS_OK, "%s", err.text);
    snprintf(path, sizeof path, "%s/Std.npy", folder);
    cr_assert_eq(ts_npy_open(&std, path, &err), TS_OK, "%s", err.text);
    for (size_t i = 0; i < sizeof clips / sizeof *clips; i++) {
        snprintf(path, sizeof path, "%s/new_joint_vecs/%s.npy", folder, clips[i]);
        cr_assert_eq(ts_npy_open(&clip, path, &err), TS_OK, "%s", err.text);
        int64_t frames = clip.tensor.shape.dim[0] < MOST_FRAMES ? clip.tensor.shape.dim[0] : MOST_FRAMES;
        frames -= frames % 4;
        for (int64_t k = 0; k < frames * C; k++)
            x[k] = (((float *)clip.tensor.data)[k] - ((float *)mean.tensor.data)[k % C]) /
                   ((float *)std.tensor.data)[k % C];
        ts_npy_close(&clip);
        net n = net_open(&models[1].o, i == 1, frames);
        ts_stream *encoder = stream_of(&n, TS_STREAM_ENCODE, 8), *decoder = stream_of(&n, TS_STREAM_DECODE, 8);
        encode_in_blocks(encoder, frames, 0);
        expect_tokens(clips[i], 0, frames / 4);
        decode_in_blocks(decoder, frames / 4, 0);
        cr_assert_leq(apart(streamed_y, y, frames * C), CLOSE, "%s", clips[i]);
        ts_stream_free(encoder);
        ts_stream_free(decoder);
        net_close(&n);
    }
    ts_npy_close(&mean);
    ts_npy_close(&std);
}

/* ---- refused ---- */

static void expect_refused(const ts_tokenizer *t, const char *text)
{
    ts_stream *s;
    cr_assert_eq(ts_stream_new(&s, t, NULL, NULL, (ts_stream_options){0}, &err), TS_ERR_USAGE);
    cr_assert_null(s);
    cr_assert_not_null(strstr(err.text, text), "expected \"%s\" in: %s", text, err.text);
}

Test(models_stream, what_is_not_causal_is_refused)
{
    ts_motion_conv_options o = plain;
    o.causal = false;
    ts_tokenizer t = tokenizer_of(&o, false, 16);
    expect_refused(&t, "frames that have not come yet");
    o.causal = true, o.norm = TS_NORM_GROUP;
    expect_refused(&t, "norm GN mixes all frames");
    o.norm = TS_NORM_LAYER, o.attention = true;
    expect_refused(&t, "attention sees all frames");
    t.model = &ts_image_small_kind;
    expect_refused(&t, "image_small: items are no sequences");
}

Test(models_stream, no_ids_is_refused)
{
    net n = net_open(&plain, false, 16);
    ts_stream *s;
    scalar.indices = false;
    cr_assert_eq(ts_stream_new(&s, &n.tokenizer, n.store, n.workspace, (ts_stream_options){0}, &err), TS_ERR_USAGE);
    cr_assert_not_null(strstr(err.text, "computes no ids"), "%s", err.text);
    net_close(&n);
}

/* Every allocation that a stream makes may fail: a message, and nothing is lost. */
Test(models_stream, out_of_memory)
{
    net n = net_open(&plain, false, 16);
    uint64_t failed = 0;
    for (;; failed++) {
        ts_stream *s;
        ts_alloc_fail_at(failed + 1);
        ts_status status =
            ts_stream_new(&s, &n.tokenizer, n.store, n.workspace, (ts_stream_options){.tokens = 4}, &err);
        ts_alloc_fail_at(0);
        if (status == TS_OK) {
            ts_stream_free(s);
            break;
        }
        cr_assert_null(s);
        cr_assert_not_null(strstr(err.text, "memory"), "allocation %d: %s", (int)failed, err.text);
    }
    cr_assert_gt(failed, 10);
    net_close(&n);
}
