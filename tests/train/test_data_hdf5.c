#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "core/files/hdf5.h"
#include "core/memory.h"
#include "tests/train/temp_folder.h"
#include "train/data_kinds.h"

enum { N = 12, H = 4, W = 3, C = 2, ITEM = H * W * C };

/* /images u8 [N, H, W, C], /deep/grey u8 [N, H, W], /floats f32, /nan f32 with a NaN in item 5 and an infinity in
 * item 7, /flat u8 [N], /ints i32, /none u8 [0, H, W]. Value k of item i is 10 i + k (a half of it in floats). */
static const char *write_file(const temp_folder *folder)
{
    uint8_t bytes[N * ITEM];
    float floats[N * ITEM];
    int32_t ints[N * ITEM] = {0};
    for (int i = 0; i < N * ITEM; i++)
        floats[i] = 0.5f * (float)(bytes[i] = (uint8_t)(i / ITEM * 10 + i % ITEM));
    ts_shape nhwc = ts_shape_of(N, H, W, C), nhw = ts_shape_of(N, H, W);
    ts_named_tensor t[] = {
        {"images", {TS_U8, nhwc, bytes}},   {"deep/grey", {TS_U8, nhw, bytes}},
        {"floats", {TS_F32, nhwc, floats}}, {"flat", {TS_U8, ts_shape_of(N), bytes}},
        {"ints", {TS_I32, nhwc, ints}},     {"none", {TS_U8, ts_shape_of(0, H, W), bytes}},
    };
    ts_h5 *file;
    void *image;
    size_t size;
    cr_assert_eq(ts_h5_create(&file, "test", 0, TS_ERR_DATA, NULL), TS_OK);
    for (size_t i = 0; i < sizeof t / sizeof *t; i++)
        cr_assert_eq(ts_h5_write(file, &t[i], NULL), TS_OK);
    floats[5 * ITEM + 9] = NAN;
    floats[7 * ITEM] = INFINITY;
    cr_assert_eq(ts_h5_write(file, &(ts_named_tensor){"nan", {TS_F32, nhwc, floats}}, NULL), TS_OK);
    cr_assert_eq(ts_h5_finish(file, &image, &size, NULL), TS_OK);
    const char *path = temp_write(folder, "data.h5", image, size);
    ts_h5_close(file);
    ts_free(image);
    return path;
}

static ts_dataset *must_open(ts_data_hdf5_options o, ts_split split)
{
    ts_dataset *data;
    ts_error err = {0};
    o.val_dataset = o.val_dataset ? o.val_dataset : "";
    cr_assert_eq(ts_dataset_open(&data, &ts_dataset_hdf5, &o, split, 0, &err), TS_OK, "%s", err.text);
    return data;
}

static void must_refuse(const char *path, const char *dataset, const char *text)
{
    ts_dataset *data;
    ts_error err = {0};
    ts_data_hdf5_options o = {.path = path, .dataset = dataset, .val_dataset = "", .cache_mb = 1};
    cr_assert_eq(ts_dataset_open(&data, &ts_dataset_hdf5, &o, TS_SPLIT_TRAIN, 0, &err), TS_ERR_DATA);
    cr_assert_not_null(strstr(err.text, text), "expected \"%s\" in: %s", text, err.text);
    cr_assert_not_null(strstr(err.text, path), "expected the path in: %s", err.text);
}

/* In memory and row by row give the same. */
Test(train_data_hdf5, bytes_and_floats_in_memory_or_not)
{
    temp_folder folder = temp_folder_make();
    const char *path = write_file(&folder), *name[] = {"images", "/deep/grey", "floats"};
    int item[] = {ITEM, H * W, ITEM};
    for (int kind = 0; kind < 3; kind++) {
        for (int64_t cache_mb = 0; cache_mb < 2; cache_mb++) {
            ts_data_hdf5_options o = {
                .path = path, .dataset = name[kind], .range = TS_RANGE_UNIT, .cache_mb = cache_mb};
            ts_dataset *data = must_open(o, TS_SPLIT_TRAIN);
            cr_assert_eq(data->count, N);
            cr_assert(ts_shape_equal(data->item, ts_shape_of(H, W, kind == 1 ? 1 : C)));
            for (int i = N - 1; i >= 0; i--) {
                float x[ITEM];
                cr_assert_eq(ts_dataset_read(data, i, 0, x, NULL), TS_OK);
                for (int k = 0; k < item[kind]; k++) {
                    int at = i * item[kind] + k, stored = at / ITEM * 10 + at % ITEM;
                    cr_assert_float_eq(x[k], kind == 2 ? 0.5 * stored : stored / 255.0, 1e-6);
                }
            }
            ts_dataset_close(data);
        }
    }
    temp_folder_remove(&folder);
}

Test(train_data_hdf5, validation_by_fraction_or_by_name)
{
    temp_folder folder = temp_folder_make();
    ts_data_hdf5_options o = {.path = write_file(&folder), .dataset = "images", .val_fraction = 0.25, .cache_mb = 1};
    ts_dataset *train = must_open(o, TS_SPLIT_TRAIN), *val = must_open(o, TS_SPLIT_VAL);
    cr_assert_eq(train->count, 9);
    cr_assert_eq(val->count, 3);
    ts_dataset_close(train);
    ts_dataset_close(val);
    o.val_dataset = "deep/grey";
    train = must_open(o, TS_SPLIT_TRAIN), val = must_open(o, TS_SPLIT_VAL);
    cr_assert_eq(train->count, N);
    cr_assert_eq(val->item.dim[2], 1);
    ts_dataset_close(train);
    ts_dataset_close(val);
    temp_folder_remove(&folder);
}

Test(train_data_hdf5, values_that_are_not_finite_stop_or_are_skipped)
{
    temp_folder folder = temp_folder_make();
    const char *path = write_file(&folder);
    must_refuse(path, "nan", "nan: item 5, value 9: expected finite values, found nan");
    for (int64_t cache_mb = 0; cache_mb < 2; cache_mb++) {
        ts_data_hdf5_options o = {.path = path, .dataset = "nan", .on_error = 1, .cache_mb = cache_mb};
        ts_dataset *data = must_open(o, TS_SPLIT_TRAIN);
        for (int i = 0; i < N; i++) {
            float x[ITEM];
            cr_assert_eq(ts_dataset_read(data, i, 0, x, NULL), TS_OK);
            cr_assert_eq(x[0], 5.0f * (float)(i == 5 || i == 7 ? i + 1 : i));
        }
        ts_error first;
        cr_assert_eq(ts_dataset_skipped(data, &first), 2);
        cr_assert_not_null(strstr(first.text, "item 5"), "%s", first.text);
        ts_dataset_close(data);
    }
    temp_folder_remove(&folder);
}

Test(train_data_hdf5, what_is_no_stack_of_images_is_refused)
{
    temp_folder folder = temp_folder_make();
    const char *path = write_file(&folder);
    must_refuse(path, "pictures", "called pictures, found /deep/grey, /flat, /floats, /images, /ints, /nan, /none");
    must_refuse(path, "deep", "called deep, found /deep/grey");
    must_refuse(path, "flat", "expected [N, H, W] or [N, H, W, C], nothing empty, found [12]");
    must_refuse(path, "none", "found [0, 4, 3]");
    must_refuse(path, "ints", "expected u8 or float values, found i32");
    must_refuse(temp_path(&folder, "missing.h5"), "images", "missing.h5");
    must_refuse(temp_write(&folder, "empty.h5", "", 0), "images", "empty.h5");
    must_refuse(temp_write(&folder, "text.h5", "no HDF5 at all", 14), "images", "text.h5");
    must_refuse(folder.path, "images", "");
    temp_folder_remove(&folder);
}

Test(train_data_hdf5, flips_floats_and_bytes)
{
    temp_folder folder = temp_folder_make();
    const char *path = write_file(&folder);
    for (int kind = 0; kind < 2; kind++) {
        ts_data_hdf5_options o = {
            .path = path, .dataset = kind ? "floats" : "images", .range = TS_RANGE_UNIT, .flip = true, .cache_mb = 1};
        ts_dataset *data = must_open(o, TS_SPLIT_TRAIN);
        int mirrored = 0;
        for (uint64_t epoch = 0; epoch < 100; epoch++) {
            float x[ITEM];
            cr_assert_eq(ts_dataset_read(data, 0, epoch, x, NULL), TS_OK);
            cr_assert(x[0] == 0 || x[C * (W - 1)] == 0);
            mirrored += x[0] != 0;
        }
        cr_assert(mirrored > 30 && mirrored < 70, "%d of 100", mirrored);
        ts_dataset_close(data);
    }
    temp_folder_remove(&folder);
}
