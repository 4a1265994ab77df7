/* What every kind shares: splits, limits, repeats, draws, the skip policy, the pixel conversions. The data set here is
 * made up: item i holds the number i. */
#include "train/data.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "core/memory.h"
#include "train/data_kinds.h"

typedef struct {
    int64_t sources, repeat, limit, broken_from, broken_to;
    double val_fraction;
    bool own_split, skip, fail_open;
} made_up;

static ts_status made_up_open(ts_dataset *data, const void *options, ts_error *err)
{
    const made_up *o = options;
    data->state = ts_alloc(sizeof *o);
    if (!data->state)
        return ts_out_of_memory(err, sizeof *o);
    memcpy(data->state, o, sizeof *o);
    data->item = ts_shape_of(2);
    data->sources = o->sources;
    data->repeat = o->repeat;
    data->limit = o->limit;
    data->val_fraction = o->val_fraction;
    data->own_split = o->own_split;
    data->skip_broken = o->skip;
    return o->fail_open ? ts_fail(err, TS_ERR_DATA, "made up: closed today") : TS_OK;
}

static ts_status made_up_read(ts_dataset *data, int64_t source, ts_draws *draws, float *out, ts_error *err)
{
    const made_up *o = data->state;
    if (source >= o->broken_from && source < o->broken_to)
        return ts_fail(err, TS_ERR_DATA, "item %d is broken", (int)source);
    out[0] = (float)source;
    out[1] = ts_draw_uniform(draws);
    return TS_OK;
}

static void made_up_close(ts_dataset *data)
{
    ts_free(data->state);
}

static const ts_option no_options[] = {{0}};
static const ts_option_table made_up_table = {"made_up", "", no_options, sizeof(made_up)};
static const ts_dataset_kind made_up_kind = {
    .table = &made_up_table, .open = made_up_open, .read = made_up_read, .close = made_up_close};

static ts_dataset *must_open(made_up o, ts_split split, uint64_t seed)
{
    ts_dataset *data;
    ts_error err = {0};
    cr_assert_eq(ts_dataset_open(&data, &made_up_kind, &o, split, seed, &err), TS_OK, "%s", err.text);
    return data;
}

static void must_read(ts_dataset *data, int64_t index, uint64_t epoch, float *out)
{
    ts_error err = {0};
    cr_assert_eq(ts_dataset_read(data, index, epoch, out, &err), TS_OK, "%s", err.text);
}

static ts_error must_refuse(made_up o, ts_split split, ts_status code)
{
    ts_dataset *data;
    ts_error err = {0};
    cr_assert_eq(ts_dataset_open(&data, &made_up_kind, &o, split, 0, &err), code);
    cr_assert_null(data);
    return err;
}

Test(train_data, splits_are_disjoint_and_complete_for_every_size_and_seed)
{
    for (int64_t n = 2; n < 60; n += 3) {
        int seen[64] = {0};
        int64_t total = 0;
        for (int split = 0; split < 2; split++) {
            ts_dataset *data = must_open((made_up){.sources = n, .val_fraction = 0.1}, (ts_split)split, (uint64_t)n);
            cr_assert_geq(data->count, 1);
            total += data->count;
            for (int64_t i = 0; i < data->count; i++) {
                float x[2];
                must_read(data, i, 0, x);
                seen[(int)x[0]]++;
            }
            ts_dataset_close(data);
        }
        cr_assert_eq(total, n);
        for (int64_t i = 0; i < n; i++)
            cr_assert_eq(seen[i], 1, "item %d of %d", (int)i, (int)n);
    }
}

Test(train_data, held_out_sources_do_not_depend_on_the_seed)
{
    ts_dataset *a = must_open((made_up){.sources = 100, .val_fraction = 0.25}, TS_SPLIT_VAL, 1);
    ts_dataset *b = must_open((made_up){.sources = 100, .val_fraction = 0.25}, TS_SPLIT_VAL, 2);
    cr_assert_eq(a->count, 25);
    for (int64_t i = 0; i < a->count; i++) {
        float x[2], y[2];
        must_read(a, i, 0, x);
        must_read(b, i, 7, y);
        cr_assert_arr_eq(x, y, sizeof x, "validation must be the same for every seed and epoch");
    }
    ts_dataset_close(a);
    ts_dataset_close(b);
}

Test(train_data, draws_depend_on_seed_epoch_and_item_only)
{
    made_up o = {.sources = 10, .own_split = true, .repeat = 3};
    ts_dataset *a = must_open(o, TS_SPLIT_TRAIN, 1), *again = must_open(o, TS_SPLIT_TRAIN, 1);
    ts_dataset *other = must_open(o, TS_SPLIT_TRAIN, 2);
    cr_assert_eq(a->count, 30);
    for (int64_t i = a->count - 1; i >= 0; i--) {
        float x[2], same[2], epoch[2], seed[2], twin[2];
        must_read(a, i, 4, x);
        must_read(again, i, 4, same);
        must_read(a, i, 5, epoch);
        must_read(other, i, 4, seed);
        must_read(a, (i + 10) % 30, 4, twin);
        cr_assert_arr_eq(x, same, sizeof x);
        cr_assert_neq(x[1], epoch[1]);
        cr_assert_neq(x[1], seed[1]);
        cr_assert_eq(x[0], twin[0], "items i and i + 10 are crops of one source");
        cr_assert_neq(x[1], twin[1]);
    }
    ts_dataset_close(a);
    ts_dataset_close(again);
    ts_dataset_close(other);
}

Test(train_data, limit_takes_the_first_of_the_split)
{
    made_up o = {.sources = 50, .own_split = true, .limit = 7, .repeat = 2};
    ts_dataset *data = must_open(o, TS_SPLIT_TRAIN, 0);
    cr_assert_eq(data->count, 14);
    for (int64_t i = 0; i < 14; i++) {
        float x[2];
        must_read(data, i, 0, x);
        cr_assert_eq(x[0], (float)(i % 7));
    }
    ts_dataset_close(data);
}

Test(train_data, a_split_without_items_is_refused)
{
    ts_error err = must_refuse((made_up){.sources = 5}, TS_SPLIT_VAL, TS_ERR_USAGE);
    cr_assert_not_null(strstr(err.text, "val_fraction is 0"), "%s", err.text);
    err = must_refuse((made_up){.sources = 1, .val_fraction = 0.5}, TS_SPLIT_VAL, TS_ERR_DATA);
    cr_assert_not_null(strstr(err.text, "at least 2"), "%s", err.text);
    must_refuse((made_up){.sources = 5, .own_split = true, .repeat = INT64_MAX}, TS_SPLIT_TRAIN, TS_ERR_USAGE);
    err = must_refuse((made_up){.sources = 5, .fail_open = true}, TS_SPLIT_TRAIN, TS_ERR_DATA);
    cr_assert_str_eq(err.text, "made up: closed today");
}

Test(train_data, a_broken_item_stops_by_default)
{
    made_up o = {.sources = 10, .own_split = true, .broken_from = 3, .broken_to = 4};
    ts_dataset *data = must_open(o, TS_SPLIT_TRAIN, 0);
    ts_error err = {0};
    float x[2];
    cr_assert_eq(ts_dataset_read(data, 3, 0, x, &err), TS_ERR_DATA);
    cr_assert_str_eq(err.text, "item 3 is broken");
    cr_assert_eq(ts_dataset_read(data, 3, 0, x, NULL), TS_ERR_DATA, "an error without a place for its text");
    cr_assert_eq(ts_dataset_skipped(data, NULL), 0);
    must_read(data, 4, 0, x);
    ts_dataset_close(data);
}

Test(train_data, skipped_items_are_replaced_and_counted_once)
{
    made_up o = {.sources = 10, .own_split = true, .skip = true, .broken_from = 8, .broken_to = 10};
    ts_dataset *data = must_open(o, TS_SPLIT_TRAIN, 0);
    for (int epoch = 0; epoch < 3; epoch++) {
        for (int64_t i = 0; i < 10; i++) {
            float x[2];
            must_read(data, i, (uint64_t)epoch, x);
            cr_assert_eq(x[0], (float)(i < 8 ? i : 0));
        }
    }
    ts_error first;
    cr_assert_eq(ts_dataset_skipped(data, &first), 2);
    cr_assert_str_eq(first.text, "item 8 is broken");
    ts_dataset_close(data);
}

Test(train_data, nothing_but_broken_items_is_an_error)
{
    made_up o = {.sources = 4, .own_split = true, .skip = true, .broken_from = 0, .broken_to = 4};
    ts_dataset *data = must_open(o, TS_SPLIT_TRAIN, 0);
    ts_error err = {0};
    float x[2];
    cr_assert_eq(ts_dataset_read(data, 1, 0, x, &err), TS_ERR_DATA);
    cr_assert_not_null(strstr(err.text, "all 4 items are broken; the first: item 1 is broken"), "%s", err.text);
    cr_assert_eq(ts_dataset_read(data, 1, 0, x, &err), TS_ERR_DATA, "and again");
    ts_dataset_close(data);
}

Test(train_data, every_allocation_may_fail)
{
    made_up o = {.sources = 20, .val_fraction = 0.2};
    int failures = 0;
    for (uint64_t n = 1; n < 10; n++) {
        ts_dataset *data;
        ts_alloc_fail_at(n);
        ts_status status = ts_dataset_open(&data, &made_up_kind, &o, TS_SPLIT_TRAIN, 0, NULL);
        ts_alloc_fail_at(0);
        failures += status != TS_OK;
        cr_assert(status == TS_OK ? data != NULL : status == TS_ERR_RUNTIME && data == NULL);
        ts_dataset_close(data);
    }
    cr_assert_eq(failures, 6);
}

Test(train_data, kinds_have_names_tables_and_help)
{
    int kinds = 0;
    for (const ts_dataset_kind *const *kind = ts_dataset_kinds; *kind; kind++, kinds++) {
        ts_error err = {0};
        cr_assert_eq(ts_dataset_kind_find((*kind)->table->kind), *kind);
        cr_assert_eq(ts_option_table_check((*kind)->table, &err), TS_OK, "%s", err.text);
    }
    cr_assert_geq(kinds, 5);
    cr_assert_null(ts_dataset_kind_find("no such kind"));
}

/* What a config without any key in its data section gives. */
Test(train_data, shapes_open_with_the_defaults_of_their_table)
{
    ts_data_shapes_options o;
    ts_arena arena = {0};
    ts_error err = {0};
    ts_dataset *data;
    cr_assert_eq(ts_options_default(ts_dataset_shapes.table, &o, &arena, &err), TS_OK, "%s", err.text);
    o.count = 30;
    cr_assert_eq(ts_dataset_open(&data, &ts_dataset_shapes, &o, TS_SPLIT_TRAIN, 0, &err), TS_OK, "%s", err.text);
    cr_assert(ts_shape_equal(data->item, ts_shape_of(32, 32, 3)));
    cr_assert_eq(data->range, TS_RANGE_SIGNED);
    ts_dataset_close(data);
    ts_arena_clear(&arena);
}

Test(train_data, pixels_to_floats_and_back_is_the_identity)
{
    uint8_t all[256], back[256];
    float x[256];
    static const float low[] = {-1, 0, -0.5f}, high[] = {1, 1, 0.5f};
    for (int i = 0; i < 256; i++)
        all[i] = (uint8_t)i;
    for (int range = TS_RANGE_SIGNED; range <= TS_RANGE_CENTERED; range++) {
        ts_pixels_to_float((ts_range)range, all, 256, x);
        cr_assert_eq(x[0], low[range]);
        cr_assert_eq(x[255], high[range]);
        cr_assert_eq(ts_range_width((ts_range)range), high[range] - low[range]);
        for (int i = 0; i < 256; i++)
            cr_assert_float_eq(x[i], low[range] + (high[range] - low[range]) * i / 255.0, 1e-7);
        ts_pixels_from_float((ts_range)range, x, 256, back);
        cr_assert_arr_eq(back, all, 256);
    }
}

Test(train_data, floats_outside_the_range_are_clamped)
{
    float x[] = {-3, 9, NAN, INFINITY, -INFINITY, 0};
    uint8_t y[6], want[6] = {0, 255, 0, 255, 0, 128};
    ts_pixels_from_float(TS_RANGE_SIGNED, x, 6, y);
    cr_assert_arr_eq(y, want, 6);
}

Test(train_data, mirror)
{
    float x[] = {1, 2, 3, 4, 5, 6, /* row 2 */ 7, 8, 9, 10, 11, 12};
    float want[] = {5, 6, 3, 4, 1, 2, 11, 12, 9, 10, 7, 8};
    ts_pixels_mirror(x, 2, 3, 2);
    cr_assert_arr_eq(x, want, sizeof x);
}

/* A linear ramp stays one under the triangle filter, inside; a constant stays constant everywhere. */
Test(train_data, resize_keeps_constants_and_ramps)
{
    enum { N = 40 };
    uint8_t in[N * N * 3], out[17 * 23 * 3];
    for (int y = 0; y < N; y++) {
        for (int x = 0; x < N; x++) {
            uint8_t *p = in + (y * N + x) * 3;
            p[0] = 200;
            p[1] = (uint8_t)(5 * x);
            p[2] = (uint8_t)(5 * y);
        }
    }
    cr_assert_eq(ts_pixels_resize(in, N, N, 3, out, 17, 23, NULL), TS_OK);
    for (int y = 0; y < 17; y++) {
        for (int x = 0; x < 23; x++) {
            const uint8_t *p = out + (y * 23 + x) * 3;
            cr_assert_eq(p[0], 200);
            if (x >= 2 && x < 21)
                cr_assert_float_eq(p[1], 5 * ((x + 0.5) * N / 23 - 0.5), 1.01);
            if (y >= 2 && y < 15)
                cr_assert_float_eq(p[2], 5 * ((y + 0.5) * N / 17 - 0.5), 1.01);
        }
    }
}

Test(train_data, resize_edge_sizes)
{
    uint8_t one[4] = {9, 8, 7, 6}, big[5 * 6 * 4], same[5 * 6 * 4], back[4];
    cr_assert_eq(ts_pixels_resize(one, 1, 1, 4, big, 5, 6, NULL), TS_OK);
    for (int i = 0; i < 30; i++)
        cr_assert_arr_eq(big + 4 * i, one, 4);
    for (int i = 0; i < 120; i++)
        big[i] = (uint8_t)(i * 37);
    cr_assert_eq(ts_pixels_resize(big, 5, 6, 4, same, 5, 6, NULL), TS_OK);
    cr_assert_arr_eq(same, big, 120, "the same size is the identity");
    cr_assert_eq(ts_pixels_resize(big, 5, 6, 4, back, 1, 1, NULL), TS_OK);
}
