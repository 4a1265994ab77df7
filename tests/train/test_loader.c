/* The loader on a made-up data set, whose item i of epoch e is {i, e}, and which can be slow, or broken at one item. */
#include "train/loader.h"

#include <criterion/criterion.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>

#include "core/memory.h"

typedef struct {
    int64_t count, broken; /* broken: the item with an error; -1: none */
    int slow_us;           /* for each item */
    const int32_t *lengths;
} made_up;

static atomic_long reads_done;

static void sleep_us(long us)
{
    struct timespec t = {us / 1000000, us % 1000000 * 1000};
    nanosleep(&t, NULL);
}

static ts_status made_up_open(ts_dataset *data, const void *options, ts_error *err)
{
    (void)err;
    data->state = (void *)options; /* outlives the data set in these tests */
    data->item = ts_shape_of(3, 1);
    data->sources = ((const made_up *)options)->count;
    data->own_split = true;
    data->lengths = ((const made_up *)options)->lengths;
    return TS_OK;
}

static ts_status made_up_read(ts_dataset *data, int64_t source, ts_draws *draws, float *out, ts_error *err)
{
    const made_up *o = data->state;
    if (o->slow_us)
        sleep_us(o->slow_us);
    atomic_fetch_add(&reads_done, 1);
    if (source == o->broken)
        return ts_fail(err, TS_ERR_DATA, "item %d is broken", (int)source);
    out[0] = (float)source;
    out[1] = (float)draws->epoch;
    out[2] = ts_draw_uniform(draws);
    return TS_OK;
}

static const ts_option no_options[] = {{0}};
static const ts_option_table made_up_table = {"made_up", "", no_options, sizeof(made_up)};
static const ts_dataset_kind made_up_kind = {.table = &made_up_table, .open = made_up_open, .read = made_up_read};

static ts_dataset *must_open_data(const made_up *o)
{
    ts_dataset *data;
    ts_error err = {0};
    cr_assert_eq(ts_dataset_open(&data, &made_up_kind, o, TS_SPLIT_TRAIN, 9, &err), TS_OK, "%s", err.text);
    return data;
}

static ts_loader *must_open(ts_dataset *data, ts_loader_options o)
{
    ts_loader *loader;
    ts_error err = {0};
    cr_assert_eq(ts_loader_open(&loader, data, o, &err), TS_OK, "%s", err.text);
    return loader;
}

static ts_batch must_next(ts_loader *loader)
{
    ts_batch batch;
    ts_error err = {0};
    cr_assert_eq(ts_loader_next(loader, &batch, &err), TS_OK, "%s", err.text);
    return batch;
}

Test(train_loader, an_epoch_has_every_item_once_and_drops_the_rest)
{
    made_up o = {.count = 103, .broken = -1};
    ts_dataset *data = must_open_data(&o);
    ts_loader *loader = must_open(data, (ts_loader_options){.batch = 10, .train = true, .seed = 1});
    cr_assert_eq(ts_loader_batches_per_epoch(loader), 10);
    float first[3] = {0};
    for (int epoch = 0; epoch < 3; epoch++) {
        int seen[103] = {0}, in_place = 0;
        for (int b = 0; b < 10; b++) {
            ts_batch batch = must_next(loader);
            cr_assert_eq(batch.count, 10);
            cr_assert_eq(batch.number, 10 * epoch + b);
            cr_assert_eq(batch.epoch, epoch);
            for (int i = 0; i < 10; i++) {
                int item = (int)batch.data[3 * i];
                cr_assert_eq(seen[item]++, 0);
                cr_assert_eq(batch.data[3 * i + 1], (float)epoch);
                in_place += item == 10 * b + i;
            }
            if (b == 0)
                first[epoch] = batch.data[0] + 1000 * batch.data[3];
        }
        cr_assert_lt(in_place, 10, "it is shuffled");
    }
    cr_assert(first[0] != first[1] && first[1] != first[2], "epochs have orders of their own");
    ts_loader_close(loader);
    ts_dataset_close(data);
}

/* Promise P4: what follows batch n is the same whether training came there or was resumed there. */
Test(train_loader, resume_gives_the_same_batches)
{
    enum { N = 40, BATCH = 7, FLOATS = 3 * BATCH };
    static float all[N][FLOATS];
    made_up o = {.count = 50, .broken = -1};
    ts_dataset *data = must_open_data(&o);
    ts_loader_options options = {.batch = BATCH, .train = true, .seed = 77};
    ts_loader *loader = must_open(data, options);
    for (int n = 0; n < N; n++)
        memcpy(all[n], must_next(loader).data, sizeof all[n]);
    ts_loader_close(loader);
    for (int n = 0; n < N - 2; n++) {
        options.first_batch = n;
        options.buffers = 2 + n % 4;
        loader = must_open(data, options);
        for (int k = n; k < n + 2; k++) {
            ts_batch batch = must_next(loader);
            cr_assert_eq(batch.number, k);
            cr_assert_arr_eq(batch.data, all[k], sizeof all[k], "batch %d after a start at %d", k, n);
        }
        ts_loader_close(loader);
    }
    options = (ts_loader_options){.batch = BATCH, .train = true, .seed = 78};
    loader = must_open(data, options);
    cr_assert_arr_neq(must_next(loader).data, all[0], sizeof all[0], "another seed, another order");
    ts_loader_close(loader);
    ts_dataset_close(data);
}

Test(train_loader, evaluation_is_in_order_once_with_a_short_last_batch)
{
    made_up o = {.count = 23, .broken = -1};
    ts_dataset *data = must_open_data(&o);
    ts_loader *loader = must_open(data, (ts_loader_options){.batch = 10, .buffers = 2});
    cr_assert_eq(ts_loader_batches_per_epoch(loader), 3);
    for (int b = 0; b < 3; b++) {
        ts_batch batch = must_next(loader);
        cr_assert_eq(batch.count, b < 2 ? 10 : 3);
        for (int i = 0; i < 10; i++)
            cr_assert_eq(batch.data[3 * i], i < batch.count ? (float)(10 * b + i) : 0.0f);
    }
    for (int again = 0; again < 2; again++) {
        ts_batch batch = must_next(loader);
        cr_assert_eq(batch.count, 0);
        cr_assert_null(batch.data);
    }
    ts_loader_close(loader);
    ts_dataset_close(data);
}

Test(train_loader, lengths_come_with_their_items)
{
    int32_t lengths[23];
    for (int i = 0; i < 23; i++)
        lengths[i] = 1 + i % 3;
    made_up o = {.count = 23, .broken = -1, .lengths = lengths}, full = {.count = 23, .broken = -1};
    ts_dataset *data = must_open_data(&o), *full_data = must_open_data(&full);
    for (int64_t first = 0; first < 5; first += 4) {
        ts_loader *loader = must_open(data, (ts_loader_options){.batch = 4, .train = true, .first_batch = first});
        for (int b = 0; b < 30; b++) {
            ts_batch batch = must_next(loader);
            for (int i = 0; i < 4; i++)
                cr_assert_eq(batch.lengths[i], lengths[(int)batch.data[3 * i]]);
        }
        ts_loader_close(loader);
    }
    ts_loader *loader = must_open(data, (ts_loader_options){.batch = 10, .buffers = 2});
    for (int b = 0; b < 3; b++) {
        ts_batch batch = must_next(loader);
        for (int i = 0; i < 10; i++)
            cr_assert_eq(batch.lengths[i], i < batch.count ? lengths[10 * b + i] : 0);
    }
    cr_assert_null(must_next(loader).lengths, "it is over");
    ts_loader_close(loader);
    loader = must_open(full_data, (ts_loader_options){.batch = 10});
    cr_assert_null(must_next(loader).lengths, "all items are full");
    ts_loader_close(loader);
    ts_dataset_close(data);
    ts_dataset_close(full_data);
}

Test(train_loader, a_batch_larger_than_the_evaluation)
{
    made_up o = {.count = 4, .broken = -1};
    ts_dataset *data = must_open_data(&o);
    ts_loader *loader = must_open(data, (ts_loader_options){.batch = 64});
    cr_assert_eq(must_next(loader).count, 4);
    cr_assert_eq(must_next(loader).count, 0);
    ts_loader_close(loader);
    ts_dataset_close(data);
}

Test(train_loader, impossible_options_are_refused)
{
    made_up o = {.count = 24, .broken = -1};
    ts_dataset *data = must_open_data(&o);
    ts_loader *loader;
    ts_error err = {0};
    cr_assert_eq(ts_loader_open(&loader, data, (ts_loader_options){.batch = 25, .train = true}, &err), TS_ERR_USAGE);
    cr_assert_null(loader);
    cr_assert_not_null(strstr(err.text, "batch 25 is larger than the data set, which has 24"), "%s", err.text);
    cr_assert_eq(ts_loader_open(&loader, data, (ts_loader_options){.batch = 0}, &err), TS_ERR_USAGE);
    cr_assert_eq(ts_loader_open(&loader, data, (ts_loader_options){.batch = 1, .buffers = 1}, &err), TS_ERR_USAGE);
    cr_assert_eq(ts_loader_open(&loader, data, (ts_loader_options){.batch = 1, .first_batch = -1}, &err), TS_ERR_USAGE);
    cr_assert_eq(ts_loader_open(&loader, data, (ts_loader_options){.batch = INT64_MAX / 2}, &err), TS_ERR_USAGE);
    ts_dataset_close(data);
}

Test(train_loader, an_error_comes_after_the_whole_batches_before_it_and_stays)
{
    made_up o = {.count = 100, .broken = 35};
    ts_dataset *data = must_open_data(&o);
    ts_loader *loader = must_open(data, (ts_loader_options){.batch = 10});
    sleep_us(20000); /* the reader is at the error long before the consumer */
    for (int b = 0; b < 3; b++)
        cr_assert_eq(must_next(loader).data[0], (float)(10 * b));
    for (int again = 0; again < 3; again++) {
        ts_batch batch;
        ts_error err = {0};
        cr_assert_eq(ts_loader_next(loader, &batch, &err), TS_ERR_DATA);
        cr_assert_str_eq(err.text, "item 35 is broken");
        cr_assert_null(batch.data);
        cr_assert_eq(ts_loader_next(loader, &batch, NULL), TS_ERR_DATA);
    }
    ts_loader_close(loader);
    ts_dataset_close(data);
}

Test(train_loader, an_error_while_the_consumer_waits)
{
    made_up o = {.count = 100, .broken = 0, .slow_us = 20000};
    ts_dataset *data = must_open_data(&o);
    ts_loader *loader = must_open(data, (ts_loader_options){.batch = 10});
    ts_batch batch;
    ts_error err = {0};
    cr_assert_eq(ts_loader_next(loader, &batch, &err), TS_ERR_DATA);
    cr_assert_str_eq(err.text, "item 0 is broken");
    ts_loader_close(loader);
    ts_dataset_close(data);
}

/* Reading takes 4 ms a batch, a step 12 ms: after the first batch the consumer never waits. */
Test(train_loader, a_slow_data_set_is_not_on_the_critical_path)
{
    made_up o = {.count = 1000, .broken = -1, .slow_us = 1000};
    ts_dataset *data = must_open_data(&o);
    ts_loader *loader = must_open(data, (ts_loader_options){.batch = 4, .train = true});
    must_next(loader);
    int64_t first = ts_loader_waited_ns(loader);
    cr_assert_gt(first, 2000000);
    for (int step = 0; step < 15; step++) {
        sleep_us(12000);
        must_next(loader);
    }
    int64_t later = ts_loader_waited_ns(loader) - first;
    cr_assert_lt(later, 15 * 1000000, "waited %g ms", (double)later * 1e-6);
    ts_loader_close(loader);
    ts_dataset_close(data);
}

Test(train_loader, the_ring_is_filled_and_no_further)
{
    made_up o = {.count = 1000, .broken = -1};
    ts_dataset *data = must_open_data(&o);
    ts_loader *loader = must_open(data, (ts_loader_options){.batch = 10, .train = true, .buffers = 5});
    const float *held = must_next(loader).data;
    float copy[30];
    memcpy(copy, held, sizeof copy);
    for (int i = 0; i < 200 && atomic_load(&reads_done) < 50; i++)
        sleep_us(1000);
    sleep_us(20000);
    cr_assert_eq(atomic_load(&reads_done), 50, "one batch in hand, four ahead");
    cr_assert_arr_eq(held, copy, sizeof copy, "the batch in hand is left alone");
    int64_t before = ts_loader_waited_ns(loader);
    for (int i = 0; i < 4; i++)
        must_next(loader);
    cr_assert_eq(ts_loader_waited_ns(loader), before, "what is ready is not waited for");
    ts_loader_close(loader);
    ts_dataset_close(data);
}

Test(train_loader, closing_at_any_moment)
{
    made_up o = {.count = 1000, .broken = -1, .slow_us = 50};
    ts_dataset *data = must_open_data(&o);
    for (int i = 0; i < 60; i++) {
        ts_loader *loader = must_open(data, (ts_loader_options){.batch = 8, .train = i % 2, .buffers = 2 + i % 3});
        for (int k = 0; k < i % 4; k++)
            must_next(loader);
        ts_loader_close(loader);
    }
    ts_loader_close(NULL);
    ts_dataset_close(data);
}

Test(train_loader, two_loaders_share_a_data_set)
{
    made_up o = {.count = 64, .broken = -1};
    ts_dataset *data = must_open_data(&o);
    ts_loader_options options = {.batch = 8, .train = true, .seed = 3};
    ts_loader *a = must_open(data, options), *b = must_open(data, options);
    for (int i = 0; i < 50; i++) {
        ts_batch x = must_next(a), y = must_next(b);
        cr_assert_arr_eq(x.data, y.data, 24 * sizeof(float));
    }
    ts_loader_close(a);
    ts_loader_close(b);
    ts_dataset_close(data);
}

Test(train_loader, every_allocation_may_fail)
{
    static const int32_t lengths[64];
    made_up o = {.count = 64, .broken = -1, .lengths = lengths};
    ts_dataset *data = must_open_data(&o);
    for (uint64_t n = 1; n <= 5; n++) {
        ts_loader *loader;
        ts_alloc_fail_at(n);
        ts_status status = ts_loader_open(&loader, data, (ts_loader_options){.batch = 8, .train = true}, NULL);
        ts_alloc_fail_at(0);
        cr_assert_eq(status, n <= 4 ? TS_ERR_RUNTIME : TS_OK);
        cr_assert_eq(loader == NULL, n <= 4);
        ts_loader_close(loader);
    }
    ts_dataset_close(data);
}
