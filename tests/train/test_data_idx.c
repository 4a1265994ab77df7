#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include "core/memory.h"
#include "tests/support/mutants.h"
#include "tests/support/shared.h"
#include "tests/train/temp_folder.h"
#include "train/data_kinds.h"

static ts_status open_idx(ts_dataset **data, ts_data_idx_options o, ts_split split, ts_error *err)
{
    return ts_dataset_open(data, &ts_dataset_idx, &o, split, 0, err);
}

static ts_dataset *must_open(ts_data_idx_options o, ts_split split)
{
    ts_dataset *data;
    ts_error err = {0};
    cr_assert_eq(open_idx(&data, o, split, &err), TS_OK, "%s", err.text);
    return data;
}

/* Opening `path` fails with one line that holds both the path and `text`. */
static void must_refuse(const char *path, const char *text)
{
    ts_dataset *data;
    ts_error err = {0};
    cr_assert_eq(open_idx(&data, (ts_data_idx_options){.path = path}, TS_SPLIT_TRAIN, &err), TS_ERR_DATA);
    cr_assert_not_null(strstr(err.text, text), "expected \"%s\" in: %s", text, err.text);
    cr_assert_not_null(strstr(err.text, path), "expected the path in: %s", err.text);
    cr_assert_null(strchr(err.text, '\n'));
}

/* Three 2 x 2 images; pixel k of image i is 4 i + k, the last one 255. */
enum { HEADER = 16, SMALL = HEADER + 12 };
static void small_file(uint8_t *b)
{
    static const uint8_t header[HEADER] = {0, 0, 8, 3, 0, 0, 0, 3, 0, 0, 0, 2, 0, 0, 0, 2};
    memcpy(b, header, HEADER);
    for (int i = 0; i < 12; i++)
        b[HEADER + i] = (uint8_t)i;
    b[SMALL - 1] = 255;
}

static size_t compressed(const uint8_t *b, size_t n, uint8_t *out, size_t room)
{
    z_stream z = {0};
    deflateInit2(&z, 9, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY);
    z.next_in = (Bytef *)b;
    z.avail_in = (uInt)n;
    z.next_out = out;
    z.avail_out = (uInt)room;
    deflate(&z, Z_FINISH);
    deflateEnd(&z);
    return room - z.avail_out;
}

static void check_small(const char *path, int range, float first, float last)
{
    ts_dataset *data =
        must_open((ts_data_idx_options){.path = path, .range = range, .val_fraction = 0}, TS_SPLIT_TRAIN);
    float x[4];
    cr_assert_eq(data->count, 3);
    cr_assert(ts_shape_equal(data->item, ts_shape_of(2, 2, 1)));
    cr_assert_eq(ts_dataset_read(data, 0, 0, x, NULL), TS_OK);
    cr_assert_eq(x[0], first);
    cr_assert_eq(ts_dataset_read(data, 2, 0, x, NULL), TS_OK);
    cr_assert_eq(x[3], last);
    ts_dataset_close(data);
}

Test(train_data_idx, plain_and_gzip_in_every_range)
{
    temp_folder folder = temp_folder_make();
    uint8_t b[SMALL], z[256];
    small_file(b);
    check_small(temp_write(&folder, "a", b, SMALL), TS_RANGE_SIGNED, -1, 1);
    check_small(temp_write(&folder, "a.gz", z, compressed(b, SMALL, z, sizeof z)), TS_RANGE_UNIT, 0, 1);
    check_small(temp_path(&folder, "a"), TS_RANGE_CENTERED, -0.5f, 0.5f);
    temp_folder_remove(&folder);
}

Test(train_data_idx, rank_four_has_channels)
{
    temp_folder folder = temp_folder_make();
    uint8_t b[20 + 12] = {0, 0, 8, 4, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 2, 0, 0, 0, 3};
    ts_dataset *data = must_open((ts_data_idx_options){.path = temp_write(&folder, "c", b, sizeof b)}, TS_SPLIT_TRAIN);
    cr_assert(ts_shape_equal(data->item, ts_shape_of(2, 2, 3)));
    ts_dataset_close(data);
    temp_folder_remove(&folder);
}

Test(train_data_idx, bad_files_are_refused_by_name)
{
    temp_folder folder = temp_folder_make();
    uint8_t b[SMALL + 1] = {0};
    small_file(b);
    must_refuse(temp_path(&folder, "missing"), "No such file");
    must_refuse(folder.path, "expected train-images-idx3-ubyte");
    must_refuse(temp_write(&folder, "empty", b, 0), "found 0 bytes");
    must_refuse(temp_write(&folder, "three_bytes", b, 3), "found 3 bytes");
    must_refuse(temp_write(&folder, "no_dims", b, 9), "found 9 bytes in all");
    must_refuse(temp_write(&folder, "short", b, SMALL - 1),
                "expected [3, 2, 2, 1] bytes behind a header of 16, found 27 bytes");
    must_refuse(temp_write(&folder, "long", b, SMALL + 1), "found 29 bytes");
    b[2] = 0x0d;
    must_refuse(temp_write(&folder, "floats", b, SMALL), "found 00 00 0d");
    must_refuse(temp_write(&folder, "text", "hello, world, this is no image", 30), "found 68 65 6c");
    small_file(b);
    b[3] = 1;
    must_refuse(temp_write(&folder, "labels", b, SMALL), "file of labels");
    small_file(b);
    b[7] = 0;
    must_refuse(temp_write(&folder, "none", b, HEADER), "found none");
    memset(b + 4, 0xff, 12);
    must_refuse(temp_write(&folder, "huge", b, SMALL), "found 28 bytes in all");
    small_file(b);
    b[4] = 0x10;
    must_refuse(temp_write(&folder, "large", b, SMALL), "found 28 bytes in all");
    temp_folder_remove(&folder);
}

Test(train_data_idx, bad_gzip_is_refused_wherever_it_is_cut_or_changed)
{
    temp_folder folder = temp_folder_make();
    uint8_t b[SMALL], z[256];
    small_file(b);
    size_t n = compressed(b, SMALL, z, sizeof z);
    for (size_t cut = 1; cut < n; cut++) {
        const char *path = temp_write(&folder, "cut.gz", z, cut);
        must_refuse(path, "");
    }
    z[n - 6] ^= 1; /* the checksum */
    must_refuse(temp_write(&folder, "sum.gz", z, n), "incorrect data check");
    z[n - 6] ^= 1;
    z[n - 1] ^= 1; /* the length */
    must_refuse(temp_write(&folder, "length.gz", z, n), "incorrect length check");
    temp_folder_remove(&folder);
}

/* Random changes of up to three bytes, and cuts: opened or refused, never worse (the sanitizers watch). */
Test(train_data_idx, mutants)
{
    const uint64_t mutants = (uint64_t)mutants_asked(3000);
    uint8_t whole[2][256], b[SMALL];
    small_file(b);
    memcpy(whole[0], b, SMALL);
    size_t size[2] = {SMALL, compressed(b, SMALL, whole[1], sizeof whole[1])};
    ts_random_key key = {1, ts_random_stream("mutants")};
    int opened = 0;
    for (uint64_t m = 0; m < mutants; m++) {
        uint8_t mutant[256];
        size_t n = size[m % 2];
        memcpy(mutant, whole[m % 2], n);
        for (uint64_t k = 0; k <= m / 2 % 3; k++)
            mutant[ts_random_below(key, m, 2 * k, n)] = (uint8_t)ts_random_bits(key, m, 100 + k);
        if (ts_random_below(key, m, 50, 4) == 0)
            n = ts_random_below(key, m, 51, n + 1);
        ts_data_idx_options o = {.path = mutant_file(mutant, n)};
        ts_dataset *data;
        ts_error err = {0};
        ts_status status = open_idx(&data, o, TS_SPLIT_TRAIN, &err);
        cr_assert(status == TS_OK || (status == TS_ERR_DATA && *err.text), "%s", err.text);
        opened += status == TS_OK;
        ts_dataset_close(data);
    }
    cr_assert(opened > (int)mutants / 10 && opened < (int)mutants * 9 / 10, "%d opened", opened);
}

Test(train_data_idx, a_file_without_permission)
{
    temp_folder folder = temp_folder_make();
    uint8_t b[SMALL];
    small_file(b);
    const char *path = temp_write(&folder, "secret", b, SMALL);
    chmod(path, 0);
    bool readable = access(path, R_OK) == 0;
    if (!readable)
        must_refuse(path, "Permission denied");
    temp_folder_remove(&folder);
    if (readable)
        skip_counted("this user may read every file");
}

Test(train_data_idx, one_file_is_split_by_fraction)
{
    const char *path = shared_path("data/fashion-mnist/sprite900-images-idx3-ubyte.gz");
    if (!path) {
        skip_counted("no shared data");
        return;
    }
    ts_data_idx_options o = {.path = path, .val_fraction = 0.1};
    ts_dataset *train = must_open(o, TS_SPLIT_TRAIN), *val = must_open(o, TS_SPLIT_VAL);
    cr_assert_eq(train->count, 810);
    cr_assert_eq(val->count, 90);
    ts_dataset_close(train);
    ts_dataset_close(val);
}

/* Of all items: the sum of the pixels, through the floats. */
static double pixel_sum(ts_dataset *data, int64_t items)
{
    float x[784];
    double sum = 0;
    for (int64_t i = 0; i < items; i++) {
        cr_assert_eq(ts_dataset_read(data, i, 0, x, NULL), TS_OK);
        for (int k = 0; k < 784; k++)
            sum += (double)x[k] * 255.0;
    }
    return sum;
}

Test(train_data_idx, mnist)
{
    const char *path = shared_path("data/mnist");
    if (!path) {
        skip_counted("no shared data");
        return;
    }
    ts_data_idx_options o = {.path = path, .range = TS_RANGE_UNIT};
    ts_dataset *train = must_open(o, TS_SPLIT_TRAIN), *val = must_open(o, TS_SPLIT_VAL);
    cr_assert_eq(train->count, 60000);
    cr_assert_eq(val->count, 10000);
    cr_assert(ts_shape_equal(train->item, ts_shape_of(28, 28, 1)));
    cr_assert_float_eq(pixel_sum(train, 1), 27525, 0.5);
    cr_assert_float_eq(pixel_sum(val, 1), 18454, 0.5);
    cr_assert_float_eq(pixel_sum(train, 60000) / (60000.0 * 784 * 255), 0.1307, 5e-5, "the mean that everybody uses");
    ts_dataset_close(train);
    ts_dataset_close(val);
}
