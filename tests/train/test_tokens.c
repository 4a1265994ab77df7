/* Images to tokens and back: what decode gives is what the model gives in one go, from every kind of input. */
#include <criterion/criterion.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include "core/files/hdf5.h"
#include "core/files/image.h"
#include "core/files/npy.h"
#include "tests/support/mutants.h"
#include "tests/train/run_program.h"
#include "train/checkpoint.h"
#include "train/data_kinds.h"
#include "train/programs.h"
#include "train/tokens.h"

enum { ITEMS = 11, SIDE = 8, ITEM = SIDE * SIDE * 3 };

static temp_folder folder;
static uint8_t pictures[ITEMS][ITEM];

static void setup(void)
{
    folder = temp_folder_make();
    for (int i = 0; i < ITEMS; i++)
        cr_assert_eq(ts_shapes_draw(3, (uint64_t)i, SIDE, 3, pictures[i], NULL), TS_OK);
}

static void teardown(void)
{
    temp_folder_remove(&folder);
}

TestSuite(train_tokens, .init = setup, .fini = teardown);

/* in/00.png ... in/sub/10.png */
static const char *write_pictures(void)
{
    mkdir(kept_path(&folder, "in"), 0700);
    mkdir(kept_path(&folder, "in/sub"), 0700);
    for (int i = 0; i < ITEMS; i++) {
        char name[40];
        snprintf(name, sizeof name, i < 8 ? "in/%02d.png" : "in/sub/%02d.png", i);
        ts_image image = {SIDE, SIDE, 3, pictures[i]};
        cr_assert_eq(ts_image_write_png(kept_path(&folder, name), &image, NULL), TS_OK);
    }
    return kept_path(&folder, "in");
}

/* What the model makes of the pictures when it is asked directly; ids [ITEMS, tokens] and y [ITEMS, ITEM]. */
static void forward(const char *checkpoint, int32_t *ids, float *y)
{
    ts_experiment e;
    ts_inference f;
    ts_error err = {0};
    float x[ITEMS * ITEM];
    ts_pixels_to_float(TS_RANGE_SIGNED, pictures[0], ITEMS * ITEM, x);
    cr_assert_eq(ts_checkpoint_experiment(&e, checkpoint, NULL, "cpu", 0, NULL, &err), TS_OK, "%s", err.text);
    cr_assert_eq(ts_inference_open(&f, &e, TS_FORWARD, ITEMS, false, &err), TS_OK, "%s", err.text);
    ts_program_set(f.program, f.x, x);
    cr_assert_eq(ts_program_run(f.program, &err), TS_OK);
    ts_program_get(f.program, f.ids, ids);
    ts_program_get(f.program, f.y, y);
    ts_inference_close(&f);
    ts_experiment_close(&e);
}

/* A run of the tiny experiment with these overrides, learning enough that its codes differ; its last checkpoint. */
static const char *train(const char *quantizer, const char *more)
{
    free(OUTPUT("train", tiny_config(&folder), "--run", kept_path(&folder, "run"), "--quiet", "train.steps=200",
                "train.lr=3e-3", quantizer, more));
    return kept_path(&folder, "run/checkpoints/last.h5");
}

static void expect_same_as_forward(const char *checkpoint, const char *input)
{
    const char *tokens_path = kept_path(&folder, "tokens.h5"), *values_path = kept_path(&folder, "values.h5");
    free(OUTPUT("encode", checkpoint, input, "-o", tokens_path));
    free(OUTPUT("decode", checkpoint, tokens_path, "-o", values_path));
    ts_arena arena = {0};
    ts_error err = {0};
    ts_tokens t;
    ts_h5 *file;
    cr_assert_eq(ts_tokens_load(&t, tokens_path, &arena, &err), TS_OK, "%s", err.text);
    cr_assert(t.items == ITEMS && t.longest == 4 && t.groups == 1);
    cr_expect(ts_shape_equal(t.shape, ts_shape_of(2, 2)));
    int32_t ids[ITEMS * 4];
    float y[ITEMS * ITEM], decoded[ITEMS * ITEM];
    forward(checkpoint, ids, y);
    cr_expect_arr_eq(t.ids, ids, sizeof ids);
    ts_tensor images = {TS_F32, ts_shape_of(ITEMS, SIDE, SIDE, 3), decoded};
    cr_assert_eq(ts_h5_open(&file, values_path, TS_ERR_DATA, &err), TS_OK, "%s", err.text);
    cr_assert_eq(ts_h5_read_into(file, "/images", &images, &err), TS_OK, "%s", err.text);
    ts_h5_close(file);
    for (int i = 0; i < ITEMS * ITEM; i++)
        cr_assert_float_eq(decoded[i], y[i], 1e-6, "value %d: %g, not %g", i, (double)decoded[i], (double)y[i]);
    int different = 0;
    for (int i = 1; i < ITEMS * 4; i++)
        different += ids[i] != ids[0];
    cr_expect_gt(different, 0, "the round trip of a single code shows nothing");
    ts_arena_clear(&arena);
}

Test(train_tokens, round_trip_finite_scalar)
{
    expect_same_as_forward(train("quantizer.levels=[4, 4, 4]", "train.batch=4"), write_pictures());
}

Test(train_tokens, round_trip_in_batches_that_do_not_divide)
{
    expect_same_as_forward(train("quantizer.levels=[4, 4, 4]", "train.eval_batch=4"), write_pictures());
}

Test(train_tokens, round_trip_vector)
{
    expect_same_as_forward(train("quantizer.kind=vector_reset", "quantizer.dim=4"), write_pictures());
}

Test(train_tokens, round_trip_lookup_free)
{
    expect_same_as_forward(train("quantizer.kind=lookup_free", "quantizer.bits=6"), write_pictures());
}

Test(train_tokens, every_kind_of_input_gives_the_same)
{
    const char *last = train("quantizer.levels=[4, 4, 4]", "train.batch=4");
    unsigned char head[] = {0, 0, 8, 4, 0, 0, 0, ITEMS, 0, 0, 0, SIDE, 0, 0, 0, SIDE, 0, 0, 0, 3};
    unsigned char idx[sizeof head + sizeof pictures];
    memcpy(idx, head, sizeof head);
    memcpy(idx + sizeof head, pictures, sizeof pictures);
    expect_same_as_forward(last, kept_write(&folder, "plain.idx", idx, sizeof idx));
    const char *packed = kept_path(&folder, "packed.gz");
    gzFile gz = gzopen(packed, "wb");
    cr_assert_eq(gzwrite(gz, idx, sizeof idx), (int)sizeof idx);
    cr_assert_eq(gzclose(gz), Z_OK);
    expect_same_as_forward(last, packed);
    ts_h5 *file;
    const char *path = kept_path(&folder, "images.h5");
    ts_named_tensor images = {"/deep/pictures", {TS_U8, ts_shape_of(ITEMS, SIDE, SIDE, 3), pictures}};
    cr_assert_eq(ts_h5_create(&file, path, 0, TS_ERR_DATA, NULL), TS_OK);
    cr_assert_eq(ts_h5_write(file, &images, NULL), TS_OK);
    cr_assert_eq(ts_h5_save(file, NULL), TS_OK);
    ts_h5_close(file);
    expect_same_as_forward(last, path);
}

/* Names come back as paths; the pixels are those of the values. */
Test(train_tokens, folder_of_pictures)
{
    const char *last = train("quantizer.levels=[4, 4, 4]", "train.batch=4"), *input = write_pictures();
    const char *tokens = kept_path(&folder, "tokens.h5"), *out = kept_path(&folder, "out");
    free(OUTPUT("encode", last, input, "-o", tokens));
    free(OUTPUT("decode", last, tokens, "-o", out));
    int32_t ids[ITEMS * 4];
    float y[ITEMS * ITEM];
    forward(last, ids, y);
    for (int i = 0; i < ITEMS; i++) {
        char name[40];
        uint8_t want[ITEM];
        ts_image image;
        snprintf(name, sizeof name, i < 8 ? "out/%02d.png" : "out/sub/%02d.png", i);
        cr_assert_eq(ts_image_read(&image, kept_path(&folder, name), 0, TS_ERR_DATA, NULL), TS_OK, "%s", name);
        cr_assert(image.height == SIDE && image.width == SIDE && image.channels == 3);
        ts_pixels_from_float(TS_RANGE_SIGNED, y + i * ITEM, ITEM, want);
        for (int k = 0; k < ITEM; k++)
            cr_assert_leq(abs(image.pixels[k] - want[k]), 1);
        ts_image_clear(&image);
    }
    char *text = OUTPUT("inspect", tokens);
    cr_expect(strstr(text, "[2, 2]") && strstr(text, "tokens                44"), "%s", text);
    free(text);
}

/* A picture of another size is made to fit; gray becomes colour. */
Test(train_tokens, pictures_of_other_sizes)
{
    const char *last = train("quantizer.levels=[4, 4, 4]", "train.batch=4");
    uint8_t pixels[40 * 30];
    memset(pixels, 200, sizeof pixels);
    ts_image image = {30, 40, 1, pixels};
    const char *path = kept_path(&folder, "wide.png"), *tokens = kept_path(&folder, "tokens.h5");
    cr_assert_eq(ts_image_write_png(path, &image, NULL), TS_OK);
    char *text = OUTPUT("encode", last, path, "-o", tokens, "--json");
    json_t *root = json_loads(text, 0, NULL);
    cr_expect_eq(json_integer_value(json_object_get(root, "items")), 1);
    cr_expect_eq(json_integer_value(json_object_get(root, "tokens")), 4);
    json_decref(root);
    free(text);
    free(OUTPUT("decode", last, tokens, "-o", kept_path(&folder, "out")));
    cr_expect_eq(access(kept_path(&folder, "out/wide.png"), F_OK), 0);
}

/* Tokens are only decoded by the weights that made them, unless that is asked for. */
Test(train_tokens, other_weights)
{
    const char *input = write_pictures(), *last = tiny_run(&folder), *tokens = kept_path(&folder, "tokens.h5");
    free(OUTPUT("train", tiny_config(&folder), "--run", kept_path(&folder, "other"), "--quiet", "--seed", "2"));
    const char *other = kept_path(&folder, "other/checkpoints/last.h5"), *out = kept_path(&folder, "out");
    free(OUTPUT("encode", last, input, "-o", tokens));
    REFUSED(4, "--force", "decode", other, tokens, "-o", out);
    cr_expect_neq(access(out, F_OK), 0);
    free(OUTPUT("decode", other, tokens, "-o", out, "--force"));
    cr_expect_eq(access(out, F_OK), 0);
}

static int64_t items_of(char *answer)
{
    json_t *root = json_loads(answer, 0, NULL);
    int64_t items = json_integer_value(json_object_get(root, "items"));
    json_decref(root);
    free(answer);
    return items;
}

/* Images go into a folder of .npy as well, in shards, and on with what is there. */
Test(train_tokens, a_folder_of_arrays)
{
    const char *last = train("quantizer.levels=[4, 4, 4]", "train.eval_batch=4"), *input = write_pictures();
    const char *out = kept_path(&folder, "npy");
    int32_t ids[ITEMS * 4];
    float y[ITEMS * ITEM];
    forward(last, ids, y);
    cr_expect_eq(items_of(OUTPUT("encode", last, input, "-o", out, "--shard", "1/2", "--json")), 5);
    char *text = OUTPUT("encode", last, input, "-o", out, "--resume");
    cr_expect(strstr(text, "items                 11") && strstr(text, "kept                  5\n"), "%s", text);
    free(text);
    for (int i = 0; i < ITEMS; i++) {
        char name[40];
        ts_npy npy;
        snprintf(name, sizeof name, i < 8 ? "npy/%02d.png.npy" : "npy/sub/%02d.png.npy", i);
        cr_assert_eq(ts_npy_open(&npy, kept_path(&folder, name), NULL), TS_OK, "%s", name);
        cr_assert(npy.tensor.dtype == TS_I64 && ts_shape_equal(npy.tensor.shape, ts_shape_of(1, 4)));
        for (int k = 0; k < 4; k++)
            cr_expect_eq(((int64_t *)npy.tensor.data)[k], ids[4 * i + k]);
        ts_npy_close(&npy);
    }
    cr_expect_eq(items_of(OUTPUT("decode", last, out, "-o", kept_path(&folder, "out"), "--json")), ITEMS);
    cr_expect_eq(access(kept_path(&folder, "out/sub/10.png"), F_OK), 0);
    REFUSED(4, "has 3 tokens, the model decodes 4", "decode", last,
            kept_write(&folder, "three.npy",
                       "\x93NUMPY\x01\x00\x38\x00{'descr': '<i4', 'fortran_order': False, 'shape': (3,)}\n"
                       "\0\0\0\0\0\0\0\0\0\0\0\0",
                       78),
            "-o", out);
}

Test(train_tokens, the_data_of_the_config)
{
    const char *last = tiny_run(&folder), *to = kept_path(&folder, "t.h5");
    cr_expect_eq(items_of(OUTPUT("encode", last, "-o", to, "--json")), 8);
    cr_expect_eq(items_of(OUTPUT("encode", last, "-o", to, "--json", "--split", "train")), 32);
    cr_expect_eq(items_of(OUTPUT("encode", last, "-o", to, "--json", "data.val_count=3")), 3);
    REFUSED(2, "the config's data have train and val", "encode", last, "-o", to, "--split", "test");
    REFUSED(2, "has no splits", "encode", last, write_pictures(), "-o", to, "--split", "val");
    REFUSED(2, "only data.*, train.eval_*, train.precision, train.fold and train.fuse can be changed", "encode", last,
            "-o", to, "train.lr=1");
}

/* ---- mutants ---- */

/* A file as encode writes it, with numbers that fit each other or, here and there, do not. */
static const char *write_odd_tokens(const char *path)
{
    enum { MOST = 6 };
    int32_t ids[MOST * MOST * MOST], lengths[MOST];
    const char *names[MOST] = {"a", "b/c", "", "d", "e", "f"};
    int64_t places[MOST] = {0, 1, 2, 3, 4, 5};
    for (size_t i = 0; i < sizeof ids / sizeof *ids; i++)
        ids[i] = mutants_draw(200) ? (int32_t)mutants_draw(5) : (int32_t)mutants_draw(1u << 31);
    for (int i = 0; i < MOST; i++)
        lengths[i] = (int32_t)mutants_draw(4) - (mutants_draw(50) == 0);
    int64_t items = 1 + (int64_t)mutants_draw(MOST);
    bool agree = mutants_draw(4) > 0;
    ts_named_tensor tensors[] = {
        {"/tokens", {TS_I32, ts_shape_of(items, 3, 1 + (int64_t)mutants_draw(3)), ids}},
        {"/lengths", {TS_I32, ts_shape_of(agree ? items : 1 + (int64_t)mutants_draw(MOST)), lengths}},
        {"/places", {TS_I64, ts_shape_of(agree ? items : 1 + (int64_t)mutants_draw(MOST)), places}},
    };
    static const char *const codes[] = {"5", "0", "-3", "x", "99999999999999999999"};
    static const char *const shapes[] = {
        "[3]", "[3, 1]", "[", "[-1]", "[9223372036854775807, 2]", "[1,1,1,1,1,1,1,1,1]"};
    ts_h5 *file;
    ts_error err;
    cr_assert_eq(ts_h5_create(&file, path, 0, TS_ERR_DATA, &err), TS_OK, "%s", err.text);
    for (size_t i = 0; i < sizeof tensors / sizeof *tensors; i++)
        if (mutants_draw(20))
            cr_assert_eq(ts_h5_write(file, &tensors[i], &err), TS_OK, "%s", err.text);
    cr_assert_eq(ts_h5_write_strings(file, "/names", names, items, &err), TS_OK, "%s", err.text);
    cr_assert_eq(ts_h5_write_text(file, "/", "codes", codes[mutants_draw(5)], &err), TS_OK, "%s", err.text);
    cr_assert_eq(ts_h5_write_text(file, "/", "shape", shapes[mutants_draw(6)], &err), TS_OK, "%s", err.text);
    cr_assert_eq(ts_h5_write_text(file, "/", "shard", mutants_draw(2) ? "1/4" : "4/1", &err), TS_OK, "%s", err.text);
    void *image;
    size_t n;
    cr_assert_eq(ts_h5_finish(file, &image, &n, &err), TS_OK, "%s", err.text);
    ts_h5_close(file);
    path = mutant_file(image, n);
    ts_free(image);
    return path;
}

static void use_tokens(const ts_tokens *t)
{
    int64_t letters = 0;
    for (int64_t i = 0; i < t->items; i++) {
        cr_assert(t->lengths[i] >= 0 && t->lengths[i] <= t->longest);
        letters += (int64_t)strlen(t->names[i]) + (t->places ? t->places[i] : 0);
        for (int64_t k = 0; k < t->lengths[i] * t->groups; k++)
            cr_assert(t->ids[i * t->longest * t->groups + k] >= 0);
    }
    cr_assert_not_null(t->weights, "%lld", (long long)letters);
}

/* Half of them are files whose bytes were changed, half are sound HDF5 with odd numbers. */
Test(train_tokens, no_mutant_does_harm, .timeout = 7200)
{
    int32_t ids[12] = {0, 1, 2, 3, 4, 0, 1, 2, 3, 4, 0, 1}, lengths[2] = {3, 2};
    const char *names[2] = {"walk/a", "b"};
    ts_tokens sound = {.items = 2,
                       .longest = 3,
                       .groups = 2,
                       .ids = ids,
                       .lengths = lengths,
                       .names = names,
                       .codes = 5,
                       .weights = "0123456789abcdef0123456789abcdef"};
    ts_error err;
    size_t whole;
    cr_assert_eq(ts_tokens_save(&sound, kept_path(&folder, "t.h5"), &err), TS_OK, "%s", err.text);
    unsigned char *sample = (unsigned char *)file_content(kept_path(&folder, "t.h5"), &whole);
    int64_t executions = mutants_asked(2000), accepted = 0;
    for (int64_t i = 0; i < executions; i++) {
        size_t count = whole;
        unsigned char *mutant = i % 2 ? mutant_of(sample, &count, 0, NULL) : NULL;
        const char *path = mutant ? mutant_file(mutant, count) : write_odd_tokens("odd");
        ts_arena arena = {0};
        ts_tokens t;
        ts_status status = ts_tokens_load(&t, path, &arena, &err);
        cr_assert(status == TS_OK || (status == TS_ERR_CHECKPOINT && strncmp(err.text, path, strlen(path)) == 0), "%s",
                  err.text);
        accepted += status == TS_OK;
        if (status == TS_OK)
            use_tokens(&t);
        ts_arena_clear(&arena);
        free(mutant);
    }
    cr_log_info("%lld mutants, %lld accepted", (long long)executions, (long long)accepted);
    cr_assert(accepted > executions / 100 && accepted < executions * 9 / 10, "%lld accepted", (long long)accepted);
    free(sample);
}
