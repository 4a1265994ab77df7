/* What a user can hand the program that is no good: each gives one clear line, its exit code, and loses nothing. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/files/hdf5.h"
#include "core/files/image.h"
#include "tests/support/shared.h"
#include "tests/train/run_program.h"

static temp_folder folder;
static const char *config;

static void setup(void)
{
    folder = temp_folder_make();
    config = tiny_config(&folder);
}

static void teardown(void)
{
    temp_folder_remove(&folder);
}

TestSuite(train_bad_input, .init = setup, .fini = teardown);

static const char *run_folder(void)
{
    return kept_path(&folder, "new");
}

/* Training with these words is refused, and leaves no checkpoint. */
#define TRAIN_REFUSED(code, text, ...)                                                                                 \
    do {                                                                                                               \
        REFUSED(code, text, "train", __VA_ARGS__, "--run", run_folder(), "--quiet");                                   \
        cr_expect_neq(access(kept_path(&folder, "new/checkpoints/last.h5"), F_OK), 0);                                 \
    } while (0)

/* --- configs ------------------------------------------------------------------------------------------------------ */

static const char *text_file(const char *name, const char *text)
{
    return kept_write(&folder, name, text, strlen(text));
}

Test(train_bad_input, configs)
{
    TRAIN_REFUSED(2, "nowhere.yaml", kept_path(&folder, "nowhere.yaml"));
    TRAIN_REFUSED(2, "empty.yaml", text_file("empty.yaml", ""));
    TRAIN_REFUSED(2, "binary.yaml", kept_write(&folder, "binary.yaml", "\x89HDF\0\1\2\xff", 8));
    TRAIN_REFUSED(2, "cut.yaml:2:1: not valid YAML", text_file("cut.yaml", "train: {steps: 4, batch"));
    TRAIN_REFUSED(2, folder.path, folder.path);
    TRAIN_REFUSED(2, "wrong.yaml:2: train: unknown key 'btach' (did you mean 'batch'?)",
                  text_file("wrong.yaml", "seed: 1\ntrain: {btach: 4}\n"));
    TRAIN_REFUSED(2, "wrong.yaml:1: expected sections and keys", text_file("wrong.yaml", "[1, 2]\n"));
    TRAIN_REFUSED(2, "'train.batch=0': batch: expected an integer from 1", config, "train.batch=0");
    TRAIN_REFUSED(2, "quantizer.kmeans_batches: 4000 items are wanted to start from, and the data set has ", config,
                  "quantizer.kind=vector", "quantizer.init=kmeans", "quantizer.kmeans_batches=1000");
    TRAIN_REFUSED(2, "multiple of accumulate", config, "train.accumulate=3");
    TRAIN_REFUSED(2, "train.freeze", config, "train.freeze=[nothing]");
}

Test(train_bad_input, levels)
{
    TRAIN_REFUSED(2, "levels: expected", config, "quantizer.levels=[8, 1]");
    TRAIN_REFUSED(2, "levels", config, "quantizer.levels=[65536, 65536]");
    TRAIN_REFUSED(2, "levels", config, "quantizer.levels=[2048, 1024, 1024]");
    TRAIN_REFUSED(2, "levels", config, "quantizer.levels=[]");
}

Test(train_bad_input, parts_that_do_not_fit)
{
    TRAIN_REFUSED(2, "multiples of 4", config, "data.size=10");
    TRAIN_REFUSED(2, "even number", config, "model.kind=image_classic", "model.hidden=9", "model.residual_hidden=2");
}

Test(train_bad_input, devices)
{
    setenv("TESSERA_CUDA_MODULE", "/nowhere.so", 1); /* also where there is a GPU */
    TRAIN_REFUSED(5, "device cuda", config, "--device", "cuda");
    TRAIN_REFUSED(5, "device cuda:1", config, "--device=cuda:1");
    TRAIN_REFUSED(5, "expected auto, cpu, ref, cuda or cuda:N", config, "--device", "gpu");
}

/* --- data --------------------------------------------------------------------------------------------------------- */

static const unsigned char idx_head[] = {0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 8, 0, 0, 0, 8};

/* Two 8 x 8 images, cut or lengthened to `bytes`. */
static const char *idx_file(const char *name, size_t bytes)
{
    unsigned char file[sizeof idx_head + 200] = {0};
    memcpy(file, idx_head, sizeof idx_head);
    return kept_write(&folder, name, file, bytes);
}

static char *data_path(const char *path)
{
    static char text[1100];
    snprintf(text, sizeof text, "data.path=%s", path);
    return text;
}

#define DATA_REFUSED(kind, path, text) TRAIN_REFUSED(3, text, config, kind, data_path(path), "train.batch=1")

Test(train_bad_input, idx)
{
    DATA_REFUSED("data.kind=idx", "/nowhere", "/nowhere: expected a folder or a file of images");
    DATA_REFUSED("data.kind=idx", idx_file("empty", 0), "empty");
    DATA_REFUSED("data.kind=idx", idx_file("cut", 100), "cut: expected");
    DATA_REFUSED("data.kind=idx", idx_file("longer", sizeof idx_head + 129), "longer: expected");
    DATA_REFUSED("data.kind=idx", text_file("text", "no images at all"), "00 00 08");
    DATA_REFUSED("data.kind=idx", kept_write(&folder, "labels", "\0\0\x08\1\0\0\0\1\7", 9), "labels");
    DATA_REFUSED("data.kind=idx", kept_write(&folder, "broken.gz", "\x1f\x8b\x08\0\0\0\0\0\0\3\1\2\3", 13),
                 "broken.gz");
    DATA_REFUSED("data.kind=idx", folder.path, "expected train-images-idx3-ubyte");
}

Test(train_bad_input, cifar)
{
    char *record = calloc(1, 3073);
    cr_assert_not_null(record);
    DATA_REFUSED("data.kind=cifar", folder.path, "expected a folder with data_batch_1.bin");
    for (int i = 1; i <= 5; i++) {
        char name[40];
        snprintf(name, sizeof name, "c/data_batch_%d.bin", i);
        kept_write(&folder, name, record, i == 3 ? 3000 : 3073);
    }
    DATA_REFUSED("data.kind=cifar", kept_path(&folder, "c"), "data_batch_3.bin: expected records of 3073 bytes");
    free(record);
}

Test(train_bad_input, pictures)
{
    DATA_REFUSED("data.kind=folder", "/nowhere", "/nowhere");
    mkdir(kept_path(&folder, "none"), 0700);
    DATA_REFUSED("data.kind=folder", kept_path(&folder, "none"), "found none");
    uint8_t pixels[64] = {0};
    for (int i = 0; i < 4; i++) {
        char name[20];
        snprintf(name, sizeof name, "p/%d.png", i);
        kept_write(&folder, name, "\x89PNG\r\n\x1a\n broken", 15);
    }
    DATA_REFUSED("data.kind=folder", kept_path(&folder, "p"), ".png");
    ts_image image = {8, 8, 1, pixels};
    cr_assert_eq(ts_image_write_png(kept_path(&folder, "p/0.png"), &image, NULL), TS_OK);
    TRAIN_REFUSED(3, ".png", config, "data.kind=folder", data_path(kept_path(&folder, "p")), "train.batch=2",
                  "data.size=8", "data.val_fraction=0.5");
}

static const char *h5_file(const char *name, ts_shape shape, const float *values)
{
    ts_h5 *file;
    ts_error err = {0};
    const char *path = kept_path(&folder, name);
    ts_named_tensor tensor = {"/images", {TS_F32, shape, (void *)values}};
    cr_assert_eq(ts_h5_create(&file, path, 0, TS_ERR_DATA, &err), TS_OK);
    cr_assert_eq(ts_h5_write(file, &tensor, &err), TS_OK, "%s", err.text);
    cr_assert_eq(ts_h5_save(file, &err), TS_OK, "%s", err.text);
    ts_h5_close(file);
    return path;
}

Test(train_bad_input, hdf5)
{
    float values[8 * 64] = {0};
    DATA_REFUSED("data.kind=hdf5", "/nowhere.h5", "/nowhere.h5");
    DATA_REFUSED("data.kind=hdf5", text_file("empty.h5", ""), "empty.h5");
    DATA_REFUSED("data.kind=hdf5", text_file("text.h5", "this is no HDF5"), "text.h5");
    DATA_REFUSED("data.kind=hdf5", h5_file("flat.h5", ts_shape_of(8, 64), values), "flat.h5");
    values[5 * 64 + 3] = NAN;
    DATA_REFUSED("data.kind=hdf5", h5_file("nan.h5", ts_shape_of(8, 8, 8), values),
                 "item 5, value 3: expected finite values");
    size_t bytes;
    char *whole = file_content(kept_path(&folder, "nan.h5"), &bytes);
    DATA_REFUSED("data.kind=hdf5", kept_write(&folder, "cut.h5", whole, bytes / 2), "cut.h5");
    free(whole);
}

/* --- checkpoints -------------------------------------------------------------------------------------------------- */

/* Everything that reads a checkpoint refuses this one, with code 4. */
static void refused_everywhere(const char *checkpoint, const char *text)
{
    const char *input = idx_file("input", sizeof idx_head + 128);
    REFUSED(4, text, "eval", checkpoint, "--json");
    REFUSED(4, text, "encode", checkpoint, input, "-o", kept_path(&folder, "t.h5"));
    REFUSED(4, text, "decode", checkpoint, input, "-o", kept_path(&folder, "d"));
    REFUSED(4, text, "inspect", checkpoint);
    TRAIN_REFUSED(4, text, config, "--init-from", checkpoint);
    cr_expect_neq(access(kept_path(&folder, "t.h5"), F_OK), 0);
}

Test(train_bad_input, checkpoints)
{
    size_t bytes;
    const char *last = tiny_run(&folder);
    char *whole = file_content(last, &bytes);
    refused_everywhere("/nowhere.h5", "/nowhere.h5");
    refused_everywhere(text_file("empty.h5", ""), "empty.h5");
    refused_everywhere(text_file("text.h5", "this is no checkpoint"), "text.h5");
    refused_everywhere(kept_write(&folder, "cut.h5", whole, bytes - 1), "cut.h5");
    refused_everywhere(kept_write(&folder, "cut.h5", whole, 600), "cut.h5");
    whole[bytes / 2] ^= 1;
    refused_everywhere(kept_write(&folder, "damaged.h5", whole, bytes), "damaged.h5");
    refused_everywhere(folder.path, folder.path);
    float values[64] = {0};
    refused_everywhere(h5_file("data.h5", ts_shape_of(1, 8, 8), values), "data.h5");
    free(whole);
}

Test(train_bad_input, checkpoints_of_another_model)
{
    const char *last = tiny_run(&folder);
    TRAIN_REFUSED(4, "model/decoder.conv1.weight is f32 [4, 3, 3, 3], this model expects f32 [8, 3, 3, 3]", config,
                  "model.width=4", "--init-from", last);
    TRAIN_REFUSED(4, "has no tensor model/quantizer.codebook", config, "quantizer.kind=vector", "quantizer.dim=3",
                  "--init-from", last);
    REFUSED(2, "only data.*, train.eval_*, train.precision, train.fold and train.fuse can be changed", "eval", last,
            "model.width=4");
    REFUSED(2, "made for [8, 8, 3]", "eval", last, "data.size=16");
    REFUSED(3, "/nowhere", "eval", last, "data.kind=idx", "data.path=/nowhere");
    setenv("TESSERA_CUDA_MODULE", "/nowhere.so", 1);
    REFUSED(5, "device cuda", "eval", last, "--device", "cuda");
}

/* Where the newest checkpoint is damaged, the one before it serves; where both are, nothing is overwritten. */
Test(train_bad_input, resuming_from_a_damaged_checkpoint)
{
    tiny_run(&folder);
    char run[600];
    snprintf(run, sizeof run, "%s/run", folder.path);
    free(OUTPUT("train", "--run", run, "--resume", "train.steps=6", "--quiet"));
    kept_write(&folder, "run/checkpoints/last.h5", "broken", 6);
    outcome o = RUN("train", "--run", run, "--resume", "train.steps=8", "--quiet");
    cr_expect_eq(o.code, 0, "%s", o.err);
    cr_expect(strstr(o.err, "going on from the one before it, step 4"), "%s", o.err);
    outcome_free(&o);
    kept_write(&folder, "run/checkpoints/last.h5", "broken", 6);
    kept_write(&folder, "run/checkpoints/last.prev.h5", "broken", 6);
    REFUSED(4, "last.h5", "train", "--run", run, "--resume", "train.steps=9", "--quiet");
    size_t bytes;
    free(file_content(kept_path(&folder, "run/checkpoints/last.h5"), &bytes));
    cr_expect_eq(bytes, 6);
}

Test(train_bad_input, a_run_that_is_there_is_not_overwritten)
{
    tiny_run(&folder);
    size_t before, after;
    char *old = file_content(kept_path(&folder, "run/checkpoints/last.h5"), &before);
    REFUSED(2, "--resume", "train", config, "--run", kept_path(&folder, "run"), "--quiet", "seed=9");
    char *now = file_content(kept_path(&folder, "run/checkpoints/last.h5"), &after);
    cr_expect(before == after && memcmp(old, now, before) == 0);
    free(old);
    free(now);
}

/* --- inputs of encode and decode ---------------------------------------------------------------------------------- */

Test(train_bad_input, encode)
{
    const char *last = tiny_run(&folder);
    const char *to = kept_path(&folder, "tokens.h5");
    REFUSED(3, "/nowhere", "encode", last, "/nowhere", "-o", to);
    REFUSED(3, "is empty", "encode", last, text_file("empty", ""), "-o", to);
    REFUSED(3, "found none of these", "encode", last, text_file("text", "words"), "-o", to);
    REFUSED(3, "the model takes [8, 8, 3]", "encode", last, idx_file("gray", sizeof idx_head + 128), "-o", to);
    REFUSED(3, "cut", "encode", last, idx_file("cut", 40), "-o", to);
    mkdir(kept_path(&folder, "none"), 0700);
    REFUSED(3, "found none", "encode", last, kept_path(&folder, "none"), "-o", to);
    const char *png = kept_write(&folder, "broken.png", "\x89PNG\r\n\x1a\n broken", 15);
    REFUSED(3, "broken.png", "encode", last, png, "-o", to);
    float values[192] = {[7] = INFINITY};
    REFUSED(3, "expected finite values", "encode", last, h5_file("inf.h5", ts_shape_of(1, 8, 8, 3), values), "-o", to);
    values[7] = 0;
    REFUSED(3, "[8, 8, 1]", "encode", last, h5_file("gray.h5", ts_shape_of(1, 8, 8), values), "-o", to);
    REFUSED(3, "called /x, found /images", "encode", last, h5_file("flat.h5", ts_shape_of(64), values), "-o", to,
            "--dataset", "/x");
    cr_expect_neq(access(to, F_OK), 0);
    const char *good = h5_file("good.h5", ts_shape_of(1, 8, 8, 3), values);
    REFUSED(3, "/nowhere/t.h5", "encode", last, good, "-o", "/nowhere/t.h5");
}

/* A file of tokens with these ids, lengths 4 each, and one name. */
static const char *token_file(const char *name, ts_shape ids_shape, int32_t *ids, int32_t length, const char *item)
{
    ts_h5 *file;
    const char *path = kept_path(&folder, name);
    ts_named_tensor tokens = {"/tokens", {TS_I32, ids_shape, ids}};
    ts_named_tensor lengths = {"/lengths", {TS_I32, ts_shape_of(1), &length}};
    cr_assert_eq(ts_h5_create(&file, path, 0, TS_ERR_DATA, NULL), TS_OK);
    cr_assert_eq(ts_h5_write(file, &tokens, NULL), TS_OK);
    cr_assert_eq(ts_h5_write(file, &lengths, NULL), TS_OK);
    cr_assert_eq(ts_h5_write_strings(file, "/names", &item, 1, NULL), TS_OK);
    cr_assert_eq(ts_h5_save(file, NULL), TS_OK);
    ts_h5_close(file);
    return path;
}

Test(train_bad_input, decode)
{
    int32_t ids[5] = {0, 1, 63, 64, 0};
    const char *last = tiny_run(&folder);
    const char *to = kept_path(&folder, "out");
#define DECODE_REFUSED(text, file) REFUSED(4, text, "decode", last, file, "-o", to)
    DECODE_REFUSED("/nowhere.h5", "/nowhere.h5");
    DECODE_REFUSED("empty.h5", text_file("empty.h5", ""));
    DECODE_REFUSED("text.h5", text_file("text.h5", "this is no HDF5"));
    DECODE_REFUSED("has no data set /tokens", last);
    DECODE_REFUSED("id 64, the model has 64 codes", token_file("id.h5", ts_shape_of(1, 4, 1), ids, 4, "a"));
    ids[3] = -1;
    DECODE_REFUSED("token 3: expected an id from 0", token_file("id.h5", ts_shape_of(1, 4, 1), ids, 4, "a"));
    ids[3] = 5;
    DECODE_REFUSED("has 3 tokens, the model decodes 4", token_file("short.h5", ts_shape_of(1, 4, 1), ids, 3, "a"));
    DECODE_REFUSED("expected a length from 0 to 4", token_file("long.h5", ts_shape_of(1, 4, 1), ids, 5, "a"));
    DECODE_REFUSED("expected i32 of rank 3", token_file("rank.h5", ts_shape_of(1, 4), ids, 4, "a"));
    DECODE_REFUSED("of another model", token_file("groups.h5", ts_shape_of(1, 2, 2), ids, 2, "a"));
    cr_expect_neq(access(to, F_OK), 0, "nothing was made");
    DECODE_REFUSED("no path below a folder", token_file("name.h5", ts_shape_of(1, 4, 1), ids, 4, "../evil"));
    DECODE_REFUSED("no path below a folder", token_file("name.h5", ts_shape_of(1, 4, 1), ids, 4, "/evil"));
    cr_expect_neq(access(kept_path(&folder, "evil.png"), F_OK), 0);
    REFUSED(3, "text.h5", "decode", last, token_file("good.h5", ts_shape_of(1, 4, 1), ids, 4, "a"), "-o",
            kept_path(&folder, "text.h5/x"));
    free(OUTPUT("decode", last, kept_path(&folder, "good.h5"), "-o", to));
    cr_expect_eq(access(kept_path(&folder, "out/a.png"), F_OK), 0);
}

/* --- the system --------------------------------------------------------------------------------------------------- */

/* Files may not grow beyond what a checkpoint needs: as on a full disk, the save fails and the old one stays. */
Test(train_bad_input, full_disk_in_mid_save)
{
    char run[600], last[700], listing[800];
    snprintf(run, sizeof run, "%s/run", folder.path);
    snprintf(last, sizeof last, "%s", tiny_run(&folder));
    size_t bytes, after;
    char *old = file_content(last, &bytes);
    circumstances c = {.file_limit = (long)bytes / 2};
    REFUSED_IN(c, 4, "best.h5: not saved", "train", "--run", run, "--resume", "--quiet", "train.steps=6");
    char *now = file_content(last, &after);
    cr_expect(bytes == after && memcmp(old, now, bytes) == 0, "the old checkpoint is as it was");
    snprintf(listing, sizeof listing, "ls -a '%s/checkpoints' | grep -q tmp", run);
    cr_expect_neq(system(listing), 0, "no temporary file is left");
    free(OUTPUT("train", "--run", run, "--resume", "--quiet", "train.steps=6"));
    free(old);
    free(now);
}

Test(train_bad_input, full_disk_behind_a_file)
{
    char last[700];
    float values[192] = {0};
    snprintf(last, sizeof last, "%s", tiny_run(&folder));
    const char *input = h5_file("input.h5", ts_shape_of(1, 8, 8, 3), values), *to = kept_path(&folder, "t.h5");
    REFUSED_IN(((circumstances){.file_limit = 2000}), 3, "t.h5", "encode", last, input, "-o", to);
    cr_expect_neq(access(to, F_OK), 0);
    REFUSED_IN(((circumstances){.out = "/dev/full"}), 1, "standard output", "config", "--list");
    REFUSED_IN(((circumstances){.out = "/dev/full"}), 1, "standard output", "eval", last, "--json");
}

/* A user without any right, who may use nothing but the program itself. */
Test(train_bad_input, no_permission)
{
    circumstances nobody = {.nobody = true};
    outcome o = run_program((const char *const[]){"--version", NULL}, nobody);
    int code = o.code;
    outcome_free(&o);
    if (geteuid() != 0 || code != 0) {
        skip_counted("no other user can be had here, or that one cannot run the program");
        return;
    }
    char last[700], run[600];
    snprintf(last, sizeof last, "%s", tiny_run(&folder));
    snprintf(run, sizeof run, "%s/theirs", folder.path);
    REFUSED_IN(nobody, 2, "Permission denied", "config", config);
    REFUSED_IN(nobody, 4, "Permission denied", "eval", last);
    chmod(folder.path, 0755);
    REFUSED_IN(nobody, 1, "theirs", "train", config, "--run", run, "--quiet");
    const char *secret = idx_file("secret", sizeof idx_head + 128);
    chmod(secret, 0);
    REFUSED_IN(nobody, 3, "secret", "train", config, "data.kind=idx", data_path(secret), "--run", run, "--quiet");
}

/* A learning rate that throws the weights out of range: the run ends with a message, and its checkpoint is sound. */
Test(train_bad_input, losses_that_are_not_finite)
{
    const char *run = kept_path(&folder, "diverges"), *last = kept_path(&folder, "diverges/checkpoints/last.h5");
    REFUSED(1, "not finite", "train", config, "--run", run, "--quiet", "train.optimizer=sgd", "train.lr=1000",
            "train.steps=500");
    char *text = OUTPUT("inspect", last);
    cr_expect_null(strstr(text, "not finite"), "%s", text);
    free(text);
}
