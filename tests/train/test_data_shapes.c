#include <criterion/criterion.h>
#include <math.h>
#include <string.h>
#include <time.h>

#include "core/memory.h"
#include "train/data_kinds.h"

static const ts_data_shapes_options small = {
    .count = 50, .val_count = 20, .size = 32, .channels = 3, .seed = 0, .range = TS_RANGE_SIGNED, .cache_mb = 64};

static ts_dataset *must_open(ts_data_shapes_options o, ts_split split)
{
    ts_dataset *data;
    ts_error err = {0};
    cr_assert_eq(ts_dataset_open(&data, &ts_dataset_shapes, &o, split, 3, &err), TS_OK, "%s", err.text);
    cr_assert(ts_shape_equal(data->item, ts_shape_of(o.size, o.size, o.channels)));
    cr_assert_eq(data->count, split == TS_SPLIT_TRAIN ? o.count : o.val_count);
    return data;
}

static void must_draw(uint64_t seed, uint64_t index, int64_t size, int64_t channels, uint8_t *pixels)
{
    cr_assert_eq(ts_shapes_draw(seed, index, size, channels, pixels, NULL), TS_OK);
}

Test(train_data_shapes, the_cache_changes_nothing)
{
    ts_data_shapes_options uncached = small;
    uncached.cache_mb = 0;
    for (int split = 0; split < 2; split++) {
        ts_dataset *a = must_open(small, (ts_split)split), *b = must_open(uncached, (ts_split)split);
        static float x[3072], y[3072];
        for (int64_t i = 0; i < a->count; i++) {
            cr_assert_eq(ts_dataset_read(a, i, 0, x, NULL), TS_OK);
            cr_assert_eq(ts_dataset_read(b, i, 1, y, NULL), TS_OK);
            cr_assert_arr_eq(x, y, sizeof x);
        }
        ts_dataset_close(a);
        ts_dataset_close(b);
    }
}

Test(train_data_shapes, seed_and_index_make_the_picture)
{
    static uint8_t a[3072], b[3072];
    must_draw(1, 5, 32, 3, a);
    must_draw(1, 5, 32, 3, b);
    cr_assert_arr_eq(a, b, sizeof a);
    must_draw(1, 6, 32, 3, b);
    cr_assert_arr_neq(a, b, sizeof a);
    must_draw(2, 5, 32, 3, b);
    cr_assert_arr_neq(a, b, sizeof a);
}

Test(train_data_shapes, validation_is_no_part_of_training_and_does_not_move)
{
    ts_data_shapes_options larger = small;
    larger.count = 60;
    ts_dataset *train = must_open(small, TS_SPLIT_TRAIN), *val = must_open(small, TS_SPLIT_VAL);
    ts_dataset *again = must_open(larger, TS_SPLIT_VAL);
    static float x[3072], y[3072];
    for (int64_t i = 0; i < val->count; i++) {
        cr_assert_eq(ts_dataset_read(val, i, 0, x, NULL), TS_OK);
        cr_assert_eq(ts_dataset_read(again, i, 0, y, NULL), TS_OK);
        cr_assert_arr_eq(x, y, sizeof x);
        for (int64_t k = 0; k < train->count; k++) {
            cr_assert_eq(ts_dataset_read(train, k, 0, y, NULL), TS_OK);
            cr_assert_arr_neq(x, y, sizeof x);
        }
    }
    ts_dataset_close(train);
    ts_dataset_close(val);
    ts_dataset_close(again);
}

/* Not flat, not noise: pixels spread as in pictures, and most neighbours are alike. */
Test(train_data_shapes, pictures_are_worth_reconstructing)
{
    static uint8_t p[3072];
    double sum = 0, squares = 0, steps = 0, edges = 0;
    for (uint64_t i = 0; i < 500; i++) {
        must_draw(0, i, 32, 3, p);
        int low = 255, high = 0;
        for (int k = 0; k < 3072; k++) {
            sum += p[k];
            squares += (double)p[k] * p[k];
            low = p[k] < low ? p[k] : low;
            high = p[k] > high ? p[k] : high;
        }
        cr_assert_gt(high - low, 40, "picture %d is flat", (int)i);
        for (int k = 0; k < 3072 - 3; k++)
            edges += abs(p[k] - p[k + 3]) > 25;
        steps += 3072 - 3;
    }
    double n = 500 * 3072, mean = sum / n, deviation = sqrt(squares / n - mean * mean);
    cr_assert(mean > 90 && mean < 165, "mean %g", mean);
    cr_assert(deviation > 50 && deviation < 90, "deviation %g", deviation);
    cr_assert(edges / steps > 0.03 && edges / steps < 0.3, "edges %g", edges / steps);
}

Test(train_data_shapes, every_size_stays_inside_its_memory)
{
    for (int64_t size = 8; size <= 71; size += 9) {
        for (int64_t channels = 1; channels <= 3; channels += 2) {
            int64_t bytes = size * size * channels;
            uint8_t *p = ts_alloc((size_t)bytes + 16);
            memset(p, 0xa5, (size_t)bytes + 16);
            for (uint64_t i = 0; i < 40; i++)
                must_draw(0, i, size, channels, p + 8);
            for (int k = 0; k < 8; k++)
                cr_assert(p[k] == 0xa5 && p[8 + bytes + k] == 0xa5);
            ts_free(p);
        }
    }
}

Test(train_data_shapes, grey_is_the_luma_of_the_coloured_one)
{
    static uint8_t rgb[3072], grey[1024];
    must_draw(4, 9, 32, 3, rgb);
    must_draw(4, 9, 32, 1, grey);
    for (int i = 0; i < 1024; i++)
        cr_assert_float_eq(grey[i], 0.299 * rgb[3 * i] + 0.587 * rgb[3 * i + 1] + 0.114 * rgb[3 * i + 2], 1.01);
}

Test(train_data_shapes, two_channels_are_refused)
{
    ts_dataset *data;
    ts_error err = {0};
    ts_data_shapes_options o = small;
    o.channels = 2;
    cr_assert_eq(ts_dataset_open(&data, &ts_dataset_shapes, &o, TS_SPLIT_TRAIN, 0, &err), TS_ERR_USAGE);
    cr_assert_not_null(strstr(err.text, "data.channels: expected 1 or 3, found 2"), "%s", err.text);
}

Test(train_data_shapes, every_allocation_may_fail)
{
    for (uint64_t n = 1; n < 8; n++) {
        ts_dataset *data;
        ts_data_shapes_options o = small;
        ts_alloc_fail_at(n);
        ts_status status = ts_dataset_open(&data, &ts_dataset_shapes, &o, TS_SPLIT_TRAIN, 0, NULL);
        ts_alloc_fail_at(0);
        cr_assert_eq(status, TS_ERR_RUNTIME, "allocation %d", (int)n);
        cr_assert_null(data);
    }
}

#ifndef TS_SANITIZED
/* Measured 32 000 a second; a quarter of that leaves room for a busy machine. */
Test(train_data_shapes, drawing_is_fast)
{
    enum { N = 2000 };
    static uint8_t p[3072];
    struct timespec a, b;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &a);
    for (uint64_t i = 0; i < N; i++)
        must_draw(0, i, 32, 3, p);
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &b);
    double seconds = (double)(b.tv_sec - a.tv_sec) + 1e-9 * (double)(b.tv_nsec - a.tv_nsec);
    cr_assert_gt(N / seconds, 8000, "%g images a second", N / seconds);
}
#endif
