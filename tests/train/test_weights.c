/* Weights out and in: export, import weights, and what other implementations trained. */
#include <criterion/criterion.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/files/hdf5.h"
#include "core/files/npy.h"
#include "core/files/safetensors.h"
#include "tests/support/shared.h"
#include "tests/support/worst.h"
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

TestSuite(train_weights, .init = setup, .fini = teardown);

static const char *at(const char *name)
{
    return kept_path(&folder, name);
}

static ts_tokens tokens_of(const char *path, ts_arena *arena)
{
    ts_tokens t;
    cr_assert_eq(ts_tokens_load(&t, path, arena, &err), TS_OK, "%s", err.text);
    return t;
}

static void expect_same_tokens(const char *a, const char *b)
{
    ts_arena arena = {0};
    ts_tokens x = tokens_of(a, &arena), y = tokens_of(b, &arena);
    cr_assert(x.items == y.items && x.longest == y.longest && x.groups == y.groups);
    cr_expect_arr_eq(x.ids, y.ids, (size_t)(x.items * x.longest * x.groups) * sizeof *x.ids);
    ts_arena_clear(&arena);
}

static void expect_same_values(const char *a, const char *b)
{
    ts_h5 *x, *y;
    ts_arena arena = {0};
    ts_tensor s, t;
    cr_assert_eq(ts_h5_open(&x, a, TS_ERR_DATA, &err), TS_OK, "%s", err.text);
    cr_assert_eq(ts_h5_open(&y, b, TS_ERR_DATA, &err), TS_OK, "%s", err.text);
    cr_assert_eq(ts_h5_read(x, "images", &arena, &s, &err), TS_OK, "%s", err.text);
    cr_assert_eq(ts_h5_read(y, "images", &arena, &t, &err), TS_OK, "%s", err.text);
    cr_assert(ts_tensor_bytes(&s) == ts_tensor_bytes(&t) && ts_tensor_bytes(&s) > 0);
    cr_expect_arr_eq(s.data, t.data, ts_tensor_bytes(&s));
    ts_h5_close(x);
    ts_h5_close(y);
    ts_arena_clear(&arena);
}

/* ---- there and back ---- */

static void expect_round_trip(const char *names, const char *quantizer, const char *model)
{
    const char *config = tiny_config(&folder), *run = at("run"), *last = at("run/checkpoints/last.h5");
    free(OUTPUT("train", config, "--run", run, "--quiet", quantizer, model));
    free(OUTPUT("export", last, "-o", at("out"), "--names", names));
    free(OUTPUT("import", "weights", at("out/model.safetensors"), at("back.h5")));
    free(OUTPUT("encode", last, "-o", at("a.h5")));
    free(OUTPUT("encode", at("back.h5"), "-o", at("b.h5")));
    expect_same_tokens(at("a.h5"), at("b.h5"));
    free(OUTPUT("decode", last, at("a.h5"), "-o", at("ya.h5")));
    free(OUTPUT("decode", at("back.h5"), at("b.h5"), "-o", at("yb.h5")));
    expect_same_values(at("ya.h5"), at("yb.h5"));
    /* and it trains on */
    free(OUTPUT("train", config, "--run", at("on"), "--quiet", "--init-from", at("back.h5"), quantizer, model));
}

Test(train_weights, small_model_there_and_back)
{
    expect_round_trip("published", "quantizer.kind=vector_ema", "model.width=3");
}

Test(train_weights, classic_model_there_and_back)
{
    expect_round_trip("published", "quantizer.kind=vector_reset", "model.kind=image_classic");
}

Test(train_weights, own_names_there_and_back)
{
    expect_round_trip("own", "quantizer.kind=sim_vq", "model.width=3");
}

/* What a reader of another program finds. */
Test(train_weights, what_is_written)
{
    const char *last = tiny_run(&folder), *key, *text;
    ts_safetensors *f;
    size_t bytes;
    free(OUTPUT("export", last, "-o", at("out")));
    cr_assert_eq(ts_safetensors_open(&f, at("out/model.safetensors"), TS_ERR_DATA, &err), TS_OK, "%s", err.text);
    const ts_safetensors_entry *e = ts_safetensors_find(f, "layers.3.weight");
    cr_assert(e && ts_shape_equal(e->shape, ts_shape_of(4, 2, 3, 3)), "PyTorch's order of axes");
    cr_assert(ts_safetensors_metadata(f, 0, &key, &text) && strcmp(key, "format") == 0 && strcmp(text, "pt") == 0);
    ts_safetensors_close(f);
    char *json = file_content(at("out/config.json"), &bytes);
    json_t *root = json_loadb(json, bytes, 0, NULL);
    cr_assert_not_null(root);
    cr_expect_eq(json_integer_value(json_object_get(root, "codes")), 64);
    const json_t *levels = json_object_get(json_object_get(root, "quantizer"), "levels");
    cr_expect_eq(json_integer_value(json_array_get(levels, 2)), 4);
    json_decref(root);
    free(json);
}

/* ---- weights that the published modules trained ---- */

typedef struct {
    const char *file, *name;
    int64_t columns;
    const char *model, *quantizer;
} published;

static const published models[] = {
    {"vqvae_t2mgpt.h5", "ema_reset_relu", 263, "width: 32, depth: 2, down_t: 2, activation: relu",
     "kind: vector_reset, codes: 64, dim: 32"},
    {"vqvae_t2mgpt.h5", "orig_silu_gn", 263, "width: 32, depth: 2, down_t: 1, activation: silu, norm: GN",
     "kind: vector, codes: 32, dim: 16"},
    {"vqvae_motionmillion.h5", "fsq_causal", 272, "width: 24, depth: 2, down_t: 2, causal: true",
     "kind: finite_scalar, levels: [8, 6, 5], dim: 16"},
    {"vqvae_motionmillion.h5", "fsq_noncausal", 272, "width: 32, depth: 2, down_t: 1, norm: LN",
     "kind: finite_scalar, levels: [8, 5, 5, 5], dim: 16"},
    {"vqvae_motionmillion.h5", "fsq_patch1_identity", 272, "width: 24, depth: 1, down_t: 1, activation: silu, norm: LN",
     "kind: finite_scalar, levels: [8, 8, 6, 5], dim: 12"},
};

/* The parameters and buffers behind the last step as a state dict saves them, with the peers' prefix. */
static void write_state_dict(ts_h5 *golden, const published *p, const char *path)
{
    enum { MOST = 400 };
    ts_named_tensor list[MOST];
    ts_arena arena = {0};
    ts_h5_entries all;
    int64_t count = 0;
    const char *group = ts_arena_format(&arena, "%s/step2", p->name);
    cr_assert_eq(ts_h5_walk(golden, group, &arena, &all, &err), TS_OK, "%s", err.text);
    for (int64_t i = 0; i < all.count; i++) {
        const char *name = all.entry[i].path, *after = strstr(name, "_after/");
        if (!after || all.entry[i].kind != TS_H5_TENSOR)
            continue;
        cr_assert_lt(count, MOST);
        cr_assert_eq(ts_h5_read(golden, name, &arena, &list[count].tensor, &err), TS_OK, "%s", err.text);
        list[count++].name = ts_arena_format(&arena, "vqvae.%s", after + strlen("_after/"));
    }
    cr_assert_gt(count, 20);
    cr_assert_eq(ts_safetensors_write(path, list, count, NULL, &err), TS_OK, "%s", err.text);
    ts_arena_clear(&arena);
}

static ts_tensor golden_of(ts_h5 *golden, const published *p, const char *name, ts_arena *arena)
{
    ts_tensor t;
    const char *path = ts_arena_format(arena, "%s/%s", p->name, name);
    cr_assert_eq(ts_h5_read(golden, path, arena, &t, &err), TS_OK, "%s", err.text);
    return t;
}

/* in/x [steps, B, T, C]: the clips of the first step as a folder of .npy. */
static int64_t write_clips(const ts_tensor *x)
{
    int64_t size = x->shape.dim[2] * x->shape.dim[3];
    for (int64_t b = 0; b < x->shape.dim[1]; b++) {
        char name[40];
        ts_tensor clip = {TS_F32, ts_shape_of(x->shape.dim[2], x->shape.dim[3]), (float *)x->data + b * size};
        snprintf(name, sizeof name, "clips/%lld.npy", (long long)b);
        cr_assert_eq(ts_npy_write(at(name), &clip, &err), TS_OK, "%s", err.text);
    }
    return x->shape.dim[1];
}

static void expect_ids(const ts_tensor *indices, int64_t clips)
{
    ts_arena arena = {0};
    ts_tokens t = tokens_of(at("tokens.h5"), &arena);
    int64_t n = ts_shape_count(indices->shape);
    cr_assert(t.items == clips && t.items * t.longest == n, "%lld items of %lld", (long long)t.items,
              (long long)t.longest);
    for (int64_t i = 0; i < n; i++) {
        int64_t id = indices->dtype == TS_I64 ? ((int64_t *)indices->data)[i] : ((int32_t *)indices->data)[i];
        cr_expect_eq(t.ids[i], id, "token %lld", (long long)i);
    }
    ts_arena_clear(&arena);
}

static void expect_decoded(const ts_tensor *pred, int64_t clips)
{
    int64_t size = ts_shape_count(pred->shape) / clips;
    double worst = 0;
    for (int64_t b = 0; b < clips; b++) {
        char name[40];
        ts_npy npy;
        snprintf(name, sizeof name, "motion/%lld.npy", (long long)b);
        cr_assert_eq(ts_npy_open(&npy, at(name), &err), TS_OK, "%s", err.text);
        cr_assert_eq(ts_shape_count(npy.tensor.shape), size);
        for (int64_t i = 0; i < size; i++)
            worst = worst_of(worst, fabs((double)((float *)npy.tensor.data)[i] - ((float *)pred->data)[b * size + i]));
        ts_npy_close(&npy);
    }
    cr_expect_lt(worst, 5e-4);
}

static void expect_published(const published *p)
{
    char yaml[800], file[80];
    snprintf(file, sizeof file, "golden/%s", p->file);
    const char *path = shared_path(file);
    ts_h5 *golden;
    ts_arena arena = {0};
    if (!path) {
        skip_counted("no shared golden vectors");
        return;
    }
    cr_assert_eq(ts_h5_open(&golden, path, TS_ERR_DATA, &err), TS_OK, "%s", err.text);
    ts_tensor x = golden_of(golden, p, "in/x", &arena), indices = golden_of(golden, p, "eval/indices", &arena);
    write_state_dict(golden, p, at("net.safetensors"));
    snprintf(yaml, sizeof yaml,
             "data: {kind: motion, path: nowhere, columns: %lld, window: %lld}\nmodel: {kind: motion_conv, %s}\n"
             "quantizer: {%s}\ntrain: {steps: 1}\n",
             (long long)p->columns, (long long)x.shape.dim[2], p->model, p->quantizer);
    const char *config = kept_write(&folder, "net.yaml", yaml, strlen(yaml));
    char *text = OUTPUT("import", "weights", at("net.safetensors"), at("net.h5"), "--config", config);
    cr_expect(strstr(text, "vqvae."), "%s", text);
    free(text);
    kept_write(&folder, "clips/.keep", "", 0);
    int64_t clips = write_clips(&x);
    free(OUTPUT("encode", at("net.h5"), at("clips"), "-o", at("tokens.h5")));
    expect_ids(&indices, clips);
    free(OUTPUT("decode", at("net.h5"), at("tokens.h5"), "-o", at("motion")));
    bool all = strcmp(p->file, "vqvae_t2mgpt.h5") == 0; /* MotionMillion's file has the first clip alone */
    ts_tensor pred = golden_of(golden, p, all ? "eval/pred" : "eval/forward_decoder", &arena);
    expect_decoded(&pred, all ? clips : 1);
    ts_h5_close(golden);
    ts_arena_clear(&arena);
}

#define PUBLISHED(name, row)                                                                                           \
    Test(train_weights, name)                                                                                          \
    {                                                                                                                  \
        expect_published(&models[row]);                                                                                \
    }
PUBLISHED(t2mgpt_with_reset_gives_its_tokens, 0)
PUBLISHED(t2mgpt_by_gradient_gives_its_tokens, 1)
PUBLISHED(motionmillion_causal_gives_its_tokens, 2)
PUBLISHED(motionmillion_gives_its_tokens, 3)
PUBLISHED(motionmillion_with_patcher_gives_its_tokens, 4)

/* ---- bad input ---- */

Test(train_weights, bad_input)
{
    const char *last = tiny_run(&folder), *out = at("out"), *file = at("out/model.safetensors"), *to = at("to.h5");
    free(OUTPUT("export", last, "-o", out));
    REFUSED(2, "--config", "import", "weights", kept_write(&folder, "e.safetensors", "\x02\0\0\0\0\0\0\0{}", 10), to);
    REFUSED(4, "header", "import", "weights", kept_write(&folder, "x.safetensors", "0123456789", 10), to);
    REFUSED(4, "No such file", "import", "weights", at("none"), to);
    REFUSED(4, "layers.7.weight is F32 [4, 3, 3, 3], this model expects floats [6, 3, 3, 3]", "import", "weights", file,
            to, "model.width=3");
    REFUSED(4, "has neither _encoder._conv_1.weight nor encoder.conv1.weight", "import", "weights", file, to,
            "model.kind=image_classic");
    REFUSED(4, "has no tensor layers.6._codebook.embed", "import", "weights", file, to, "quantizer.kind=vector",
            "quantizer.dim=3");
    REFUSED(2, "--item", "import", "weights", file, to, "--item", "9");
    REFUSED(2, "belongs to import weights", "import", "bvh", out, to, "--mean", "x.npy");
    REFUSED(2, "belongs to import weights", "import", "bvh", out, to, "model.width=3");
    REFUSED(3, "no-folder", "export", last, "-o", at("no-folder/deep/out"));
    REFUSED(2, "expected", "export", last, "-o", out, "--to", "pickle");
}
