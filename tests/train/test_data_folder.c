#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "core/files/image.h"
#include "core/memory.h"
#include "tests/support/shared.h"
#include "tests/train/temp_folder.h"
#include "train/data_kinds.h"
#include "train/loader.h"

enum { SIZE = 8, ITEM = SIZE * SIZE * 3 };

static ts_data_folder_options options_for(const char *path)
{
    return (ts_data_folder_options){.path = path,
                                    .val_path = "",
                                    .size = SIZE,
                                    .fit = TS_FIT_PATCH,
                                    .crops = 1,
                                    .range = TS_RANGE_UNIT,
                                    .cache_mb = 8};
}

static ts_dataset *must_open(ts_data_folder_options o, ts_split split)
{
    ts_dataset *data;
    ts_error err = {0};
    cr_assert_eq(ts_dataset_open(&data, &ts_dataset_folder, &o, split, 4, &err), TS_OK, "%s", err.text);
    return data;
}

static void must_refuse(ts_data_folder_options o, ts_status code, const char *text)
{
    ts_dataset *data;
    ts_error err = {0};
    cr_assert_eq(ts_dataset_open(&data, &ts_dataset_folder, &o, TS_SPLIT_TRAIN, 0, &err), code);
    cr_assert_not_null(strstr(err.text, text), "expected \"%s\" in: %s", text, err.text);
}

static void must_read(ts_dataset *data, int64_t index, uint64_t epoch, float *x)
{
    ts_error err = {0};
    cr_assert_eq(ts_dataset_read(data, index, epoch, x, &err), TS_OK, "%s", err.text);
}

/* A PNG of h x w pixels {red, 4 x, 4 y}. */
static const char *write_png(const temp_folder *folder, const char *name, int h, int w, int red)
{
    uint8_t pixels[40 * 40 * 3];
    for (int y = 0; y < h; y++) {
        for (int x = 0; x < w; x++) {
            uint8_t *p = pixels + 3 * (y * w + x);
            p[0] = (uint8_t)red;
            p[1] = (uint8_t)(4 * x);
            p[2] = (uint8_t)(4 * y);
        }
    }
    temp_write(folder, name, "", 0); /* the folders on the way */
    const char *path = temp_path(folder, name);
    ts_image image = {.height = h, .width = w, .channels = 3, .pixels = pixels};
    cr_assert_eq(ts_image_write_png(path, &image, NULL), TS_OK);
    return path;
}

static int level(float x)
{
    return (int)(x * 255.0f + 0.5f);
}

Test(train_data_folder, finds_images_in_the_order_of_their_paths)
{
    temp_folder folder = temp_folder_make();
    float x[ITEM];
    write_png(&folder, "b.png", SIZE, SIZE, 20);
    write_png(&folder, "a/z.PNG", SIZE, SIZE, 10);
    write_png(&folder, "c/d/e/f.png", SIZE, SIZE, 40);
    write_png(&folder, "c.png", SIZE, SIZE, 30);
    write_png(&folder, ".hidden.png", SIZE, SIZE, 50);
    write_png(&folder, ".cache/g.png", SIZE, SIZE, 50);
    temp_write(&folder, "notes.txt", "x", 1);
    temp_write(&folder, "png", "x", 1);
    ts_dataset *data = must_open(options_for(folder.path), TS_SPLIT_TRAIN);
    cr_assert_eq(data->count, 4);
    for (int i = 0; i < 4; i++) {
        must_read(data, i, 0, x);
        cr_assert_eq(level(x[0]), 10 * (i + 1));
    }
    ts_dataset_close(data);
    temp_folder_remove(&folder);
}

/* Patches are the image's own pixels at a random place, in validation too, but there always at the same. */
Test(train_data_folder, patches)
{
    temp_folder folder = temp_folder_make();
    float x[ITEM], again[ITEM];
    write_png(&folder, "a.png", 20, 40, 1);
    ts_data_folder_options o = options_for(folder.path);
    o.val_path = folder.path;
    o.crops = 50;
    for (int split = 0; split < 2; split++) {
        ts_dataset *data = must_open(o, (ts_split)split);
        int low_x = 99, high_x = 0, low_y = 99, high_y = 0;
        cr_assert_eq(data->count, 50);
        for (int i = 0; i < 50; i++) {
            must_read(data, i, 3, x);
            int left = level(x[1]) / 4, top = level(x[2]) / 4;
            cr_assert_eq(level(x[ITEM - 2]), 4 * (left + SIZE - 1));
            cr_assert_eq(level(x[ITEM - 1]), 4 * (top + SIZE - 1));
            low_x = left < low_x ? left : low_x, high_x = left > high_x ? left : high_x;
            low_y = top < low_y ? top : low_y, high_y = top > high_y ? top : high_y;
            must_read(data, i, 4, again);
            if (split == TS_SPLIT_VAL)
                cr_assert_arr_eq(x, again, sizeof x);
        }
        cr_assert(low_x < 4 && high_x > 28 && high_x <= 32 && low_y < 3 && high_y > 9 && high_y <= 12);
        ts_dataset_close(data);
    }
    temp_folder_remove(&folder);
}

Test(train_data_folder, crop_resizes_and_takes_the_middle_in_validation)
{
    temp_folder folder = temp_folder_make();
    float x[ITEM];
    write_png(&folder, "wide.png", 16, 32, 200);
    ts_data_folder_options o = options_for(folder.path);
    o.fit = TS_FIT_CROP;
    o.val_path = folder.path;
    o.crops = 5;
    ts_dataset *train = must_open(o, TS_SPLIT_TRAIN), *val = must_open(o, TS_SPLIT_VAL);
    cr_assert_eq(train->count, 5);
    cr_assert_eq(val->count, 1);
    must_read(val, 0, 0, x); /* 8 x 16 after the resize; columns 4..11, each the mean of two */
    cr_assert_eq(level(x[0]), 200);
    cr_assert_float_eq(level(x[1]), 4 * 8.5, 1.1);
    cr_assert_float_eq(level(x[ITEM - 2]), 4 * 22.5, 1.1);
    int differ = 0;
    for (int i = 0; i < 5; i++) {
        float y[ITEM];
        must_read(train, i, 0, y);
        differ += memcmp(x, y, sizeof x) != 0;
    }
    cr_assert_geq(differ, 3);
    ts_dataset_close(train);
    ts_dataset_close(val);
    temp_folder_remove(&folder);
}

Test(train_data_folder, the_cache_changes_nothing)
{
    temp_folder folder = temp_folder_make();
    char name[32];
    for (int i = 0; i < 9; i++) {
        snprintf(name, sizeof name, "%d.png", i);
        write_png(&folder, name, 10 + i, 30 - i, 20 * i);
    }
    for (int fit = TS_FIT_CROP; fit <= TS_FIT_PATCH; fit++) {
        ts_data_folder_options o = options_for(folder.path);
        o.fit = fit;
        o.flip = true;
        ts_dataset *cached = must_open(o, TS_SPLIT_TRAIN);
        o.cache_mb = 0;
        ts_dataset *uncached = must_open(o, TS_SPLIT_TRAIN);
        for (int n = 0; n < 30; n++) {
            float x[ITEM], y[ITEM];
            must_read(cached, n * 7 % 9, (uint64_t)n, x);
            must_read(uncached, n * 7 % 9, (uint64_t)n, y);
            cr_assert_arr_eq(x, y, sizeof x);
        }
        ts_dataset_close(cached);
        ts_dataset_close(uncached);
    }
    temp_folder_remove(&folder);
}

Test(train_data_folder, gray_has_one_channel)
{
    temp_folder folder = temp_folder_make();
    float x[SIZE * SIZE];
    write_png(&folder, "a.png", SIZE, SIZE, 100);
    ts_data_folder_options o = options_for(folder.path);
    o.gray = true;
    ts_dataset *data = must_open(o, TS_SPLIT_TRAIN);
    cr_assert(ts_shape_equal(data->item, ts_shape_of(SIZE, SIZE, 1)));
    must_read(data, 0, 0, x);
    cr_assert_float_eq(level(x[0]), 0.299 * 100, 1.5);
    ts_dataset_close(data);
    temp_folder_remove(&folder);
}

/* Every kind of broken picture, by name; skipped and counted where that is asked for. */
Test(train_data_folder, broken_images_stop_or_are_skipped)
{
    temp_folder folder = temp_folder_make();
    float x[ITEM];
    uint8_t png[4096];
    const char *good = write_png(&folder, "e_good.png", SIZE, SIZE, 77);
    FILE *file = fopen(good, "rb");
    size_t bytes = fread(png, 1, sizeof png, file);
    fclose(file);
    temp_write(&folder, "a_zero.png", "", 0);
    temp_write(&folder, "b_cut.png", png, bytes / 2);
    temp_write(&folder, "c_text.jpg", "no picture", 10);
    write_png(&folder, "d_small.png", SIZE, SIZE - 1, 9);
    cr_assert_eq(symlink("/nowhere/at/all", temp_path(&folder, "f_dangling.jpeg")), 0);
    const char *names[] = {"a_zero.png", "b_cut.png", "c_text.jpg", "d_small.png", NULL, "f_dangling.jpeg"};

    ts_dataset *data = must_open(options_for(folder.path), TS_SPLIT_TRAIN);
    cr_assert_eq(data->count, 6);
    for (int i = 0; i < 6; i++) {
        ts_error err = {0};
        cr_assert_eq(ts_dataset_read(data, i, 0, x, &err), names[i] ? TS_ERR_DATA : TS_OK);
        cr_assert(!names[i] || strstr(err.text, names[i]), "%s", err.text);
    }
    ts_dataset_close(data);

    ts_data_folder_options o = options_for(folder.path);
    o.on_error = 1;
    data = must_open(o, TS_SPLIT_TRAIN);
    for (int i = 0; i < 6; i++) {
        must_read(data, i, 0, x);
        cr_assert_eq(level(x[0]), 77);
    }
    cr_assert_eq(ts_dataset_skipped(data, NULL), 5);
    ts_dataset_close(data);
    temp_folder_remove(&folder);
}

Test(train_data_folder, a_folder_without_images_is_refused)
{
    temp_folder folder = temp_folder_make();
    must_refuse(options_for(folder.path), TS_ERR_DATA, "expected .png, .jpg or .jpeg files in this folder, found none");
    must_refuse(options_for(temp_path(&folder, "missing")), TS_ERR_DATA,
                "missing: expected a folder of images: No such");
    must_refuse(options_for(write_png(&folder, "a.png", SIZE, SIZE, 0)), TS_ERR_DATA, "a.png: expected a folder");
    cr_assert_eq(symlink(folder.path, temp_path(&folder, "loop")), 0);
    must_refuse(options_for(folder.path), TS_ERR_DATA, "is there a link to a folder above?");
    ts_data_folder_options o = options_for(folder.path);
    o.fit = TS_FIT_CROP;
    o.resize = SIZE - 1;
    must_refuse(o, TS_ERR_USAGE, "data.resize: expected 0 or at least data.size=8, found 7");
    temp_folder_remove(&folder);
}

Test(train_data_folder, a_hair_is_refused)
{
    temp_folder folder = temp_folder_make();
    float x[ITEM];
    uint8_t line[1000 * 3] = {0};
    ts_image image = {.height = 1, .width = 1000, .channels = 3, .pixels = line};
    cr_assert_eq(ts_image_write_png(temp_path(&folder, "a.png"), &image, NULL), TS_OK);
    ts_data_folder_options o = options_for(folder.path);
    o.fit = TS_FIT_CROP;
    ts_dataset *data = must_open(o, TS_SPLIT_TRAIN);
    ts_error err = {0};
    cr_assert_eq(ts_dataset_read(data, 0, 0, x, &err), TS_ERR_DATA);
    cr_assert_not_null(strstr(err.text, "1 x 1000 pixels"), "%s", err.text);
    ts_dataset_close(data);
    temp_folder_remove(&folder);
}

/* 24 photographs, 64 patches each: two are held out. Two opens, one with a small cache, give the same batches. */
Test(train_data_folder, kodak)
{
    const char *path = shared_path("data/kodak");
    if (!path) {
        skip_counted("no shared data");
        return;
    }
    ts_data_folder_options o = options_for(path);
    o.size = 32;
    o.crops = 64;
    o.flip = true;
    o.val_fraction = 0.1;
    o.cache_mb = 64;
    ts_dataset *a = must_open(o, TS_SPLIT_TRAIN), *val = must_open(o, TS_SPLIT_VAL);
    o.cache_mb = 4;
    ts_dataset *b = must_open(o, TS_SPLIT_TRAIN);
    cr_assert_eq(a->count, 22 * 64);
    cr_assert_eq(val->count, 2 * 64);
    ts_loader_options lo = {.batch = 16, .train = true, .seed = 5};
    ts_loader *la, *lb;
    cr_assert_eq(ts_loader_open(&la, a, lo, NULL), TS_OK);
    cr_assert_eq(ts_loader_open(&lb, b, lo, NULL), TS_OK);
    double sum = 0, squares = 0, n = 6.0 * 16 * 3072;
    for (int k = 0; k < 6; k++) {
        ts_batch x, y;
        cr_assert_eq(ts_loader_next(la, &x, NULL), TS_OK);
        cr_assert_eq(ts_loader_next(lb, &y, NULL), TS_OK);
        cr_assert_arr_eq(x.data, y.data, 16 * 3072 * sizeof(float));
        for (int i = 0; i < 16 * 3072; i++) {
            sum += x.data[i];
            squares += x.data[i] * x.data[i];
        }
    }
    double mean = sum / n, variance = squares / n - mean * mean;
    cr_assert(mean > 0.25 && mean < 0.6 && variance > 0.02 && variance < 0.12, "mean %g, variance %g", mean, variance);
    ts_loader_close(la);
    ts_loader_close(lb);
    ts_dataset_close(a);
    ts_dataset_close(b);
    ts_dataset_close(val);
}
