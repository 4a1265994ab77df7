#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "core/memory.h"
#include "tests/train/temp_folder.h"
#include "train/data_kinds.h"

enum { PIXELS = 3072 };

/* Plane c of image `image` is filled with 10 image + c, but its first pixel is 255 - c. */
static void fill_record(uint8_t *record, int labels, int image)
{
    memset(record, image % 10, (size_t)labels);
    for (int c = 0; c < 3; c++) {
        memset(record + labels + c * 1024, 10 * image + c, 1024);
        record[labels + c * 1024] = (uint8_t)(255 - c);
    }
}

static void write_records(const temp_folder *folder, const char *name, int labels, int first, int count)
{
    uint8_t file[4 * (2 + PIXELS)];
    int bytes = labels + PIXELS;
    for (int i = 0; i < count; i++)
        fill_record(file + (size_t)(i * bytes), labels, first + i);
    temp_write(folder, name, file, (size_t)(count * bytes));
}

static void write_cifar10(const temp_folder *folder, const char *under)
{
    char name[128];
    for (int k = 0; k < 5; k++) {
        snprintf(name, sizeof name, "%sdata_batch_%d.bin", under, k + 1);
        write_records(folder, name, 1, 2 * k, 2);
    }
    snprintf(name, sizeof name, "%stest_batch.bin", under);
    write_records(folder, name, 1, 20, 3);
}

static ts_dataset *must_open(ts_data_cifar_options o, ts_split split)
{
    ts_dataset *data;
    ts_error err = {0};
    cr_assert_eq(ts_dataset_open(&data, &ts_dataset_cifar, &o, split, 5, &err), TS_OK, "%s", err.text);
    cr_assert(ts_shape_equal(data->item, ts_shape_of(32, 32, 3)));
    return data;
}

static void must_refuse(const temp_folder *folder, ts_split split, const char *text)
{
    ts_dataset *data;
    ts_error err = {0};
    ts_data_cifar_options o = {.path = folder->path};
    cr_assert_eq(ts_dataset_open(&data, &ts_dataset_cifar, &o, split, 0, &err), TS_ERR_DATA);
    cr_assert_not_null(strstr(err.text, text), "expected \"%s\" in: %s", text, err.text);
    cr_assert_not_null(strstr(err.text, folder->path), "expected the path in: %s", err.text);
}

static void check_item(ts_dataset *data, int64_t item, int image)
{
    static float x[PIXELS];
    cr_assert_eq(ts_dataset_read(data, item, 0, x, NULL), TS_OK);
    for (int c = 0; c < 3; c++) {
        cr_assert_float_eq(x[c] * 255, 255 - c, 1e-4);
        cr_assert_float_eq(x[3 * 1023 + c] * 255, 10 * image + c, 1e-4);
    }
}

Test(train_data_cifar, ten)
{
    temp_folder folder = temp_folder_make();
    write_cifar10(&folder, "");
    ts_data_cifar_options o = {.path = folder.path, .range = TS_RANGE_UNIT};
    ts_dataset *train = must_open(o, TS_SPLIT_TRAIN), *val = must_open(o, TS_SPLIT_VAL);
    cr_assert_eq(train->count, 10);
    cr_assert_eq(val->count, 3);
    for (int i = 0; i < 10; i++)
        check_item(train, i, i);
    check_item(val, 2, 22);
    ts_dataset_close(train);
    ts_dataset_close(val);
    temp_folder_remove(&folder);
}

Test(train_data_cifar, hundred_and_the_folder_of_the_archive)
{
    temp_folder folder = temp_folder_make();
    write_records(&folder, "cifar-100-binary/train.bin", 2, 0, 4);
    write_records(&folder, "cifar-100-binary/test.bin", 2, 7, 1);
    ts_data_cifar_options o = {.path = folder.path, .range = TS_RANGE_UNIT, .limit = 3};
    ts_dataset *train = must_open(o, TS_SPLIT_TRAIN), *val = must_open(o, TS_SPLIT_VAL);
    cr_assert_eq(train->count, 3);
    cr_assert_eq(val->count, 1);
    check_item(train, 2, 2);
    check_item(val, 0, 7);
    ts_dataset_close(train);
    ts_dataset_close(val);
    temp_folder_remove(&folder);
}

Test(train_data_cifar, flips_in_training_only)
{
    temp_folder folder = temp_folder_make();
    static float x[PIXELS];
    write_cifar10(&folder, "");
    ts_data_cifar_options o = {.path = folder.path, .range = TS_RANGE_UNIT, .flip = true};
    ts_dataset *train = must_open(o, TS_SPLIT_TRAIN), *val = must_open(o, TS_SPLIT_VAL);
    int mirrored = 0;
    for (uint64_t epoch = 0; epoch < 200; epoch++) {
        cr_assert_eq(ts_dataset_read(train, 3, epoch, x, NULL), TS_OK);
        bool left = x[0] == 1, right = x[31 * 3] == 1;
        cr_assert_neq(left, right);
        mirrored += right;
    }
    cr_assert(mirrored > 70 && mirrored < 130, "%d of 200", mirrored);
    for (int i = 0; i < 3; i++)
        check_item(val, i, 20 + i);
    ts_dataset_close(train);
    ts_dataset_close(val);
    temp_folder_remove(&folder);
}

Test(train_data_cifar, bad_files_are_refused_by_name)
{
    temp_folder folder = temp_folder_make();
    uint8_t record[1 + PIXELS];
    must_refuse(&folder, TS_SPLIT_TRAIN, "found neither");
    write_cifar10(&folder, "");
    remove(temp_path(&folder, "data_batch_4.bin"));
    must_refuse(&folder, TS_SPLIT_TRAIN, "data_batch_4.bin: expected this file of CIFAR-10: No such file");
    temp_write(&folder, "data_batch_4.bin", record, 0);
    must_refuse(&folder, TS_SPLIT_TRAIN, "data_batch_4.bin: expected records of 3073 bytes (CIFAR-10), found 0 bytes");
    temp_write(&folder, "data_batch_4.bin", record, 1000);
    must_refuse(&folder, TS_SPLIT_TRAIN, "found 1000 bytes");
    fill_record(record, 1, 0);
    record[0] = 10;
    temp_write(&folder, "data_batch_4.bin", record, sizeof record);
    must_refuse(&folder, TS_SPLIT_TRAIN, "record 0: expected a label below 10, found 10");
    remove(temp_path(&folder, "test_batch.bin"));
    must_refuse(&folder, TS_SPLIT_VAL, "test_batch.bin: expected this file");
    temp_folder_remove(&folder);
}
