#include "train/loader.h"

#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>

#include "core/memory.h"

/* Batches are numbered; batch n lies in slot n % buffers. The reader owns the slots from `filled` on, the consumer
 * those before it: it holds batch `taken` - 1 and frees it by asking for the next. */
struct ts_loader {
    ts_dataset *data;
    ts_loader_options options;
    int64_t per_epoch, item; /* batches; floats */
    int64_t end;             /* the first batch number that there is not */
    float *ring;             /* [buffers, batch, item] */
    size_t ring_bytes;
    int32_t *lengths; /* [buffers, batch]; NULL where all items are full */
    int64_t *order;   /* [data->count] of epoch `ordered`; the reader's; NULL in evaluation */
    int64_t ordered;

    pthread_t thread;
    bool running;
    atomic_bool stop;
    int64_t waited_ns; /* the consumer's */

    pthread_mutex_t lock; /* of what follows */
    pthread_cond_t changed;
    int64_t filled, taken; /* the next batch to fill, to take */
    ts_status failed;      /* of batch `filled` */
    ts_error why;
};

static float *slot(const ts_loader *l, int64_t number)
{
    return l->ring + number % l->options.buffers * l->options.batch * l->item;
}

static int32_t *lengths_slot(const ts_loader *l, int64_t number)
{
    return l->lengths ? l->lengths + number % l->options.buffers * l->options.batch : NULL;
}

/* Items in batch `number`. */
static int64_t batch_count(const ts_loader *l, int64_t number)
{
    int64_t left = l->data->count - number % l->per_epoch * l->options.batch;
    return left < l->options.batch ? left : l->options.batch;
}

/* ---- the reader ---- */

static void draw_order(ts_loader *l, int64_t epoch)
{
    if (!l->order || l->ordered == epoch)
        return;
    ts_random_key key = {l->options.seed, ts_random_stream("loader.order")};
    ts_random_permutation(key, (uint64_t)epoch, l->data->count, l->order);
    l->ordered = epoch;
}

static ts_status fill(ts_loader *l, int64_t number, ts_error *err)
{
    int64_t epoch = number / l->per_epoch, first = number % l->per_epoch * l->options.batch;
    int64_t count = batch_count(l, number);
    float *to = slot(l, number);
    int32_t *lengths = lengths_slot(l, number), full;
    draw_order(l, epoch);
    for (int64_t i = 0; i < count && !atomic_load(&l->stop); i++) {
        int64_t index = l->order ? l->order[first + i] : first + i;
        TS_TRY(ts_dataset_read_part(l->data, index, (uint64_t)epoch, to + i * l->item, lengths ? lengths + i : &full,
                                    err));
    }
    if (lengths)
        memset(lengths + count, 0, (size_t)(l->options.batch - count) * sizeof *lengths);
    memset(to + count * l->item, 0, (size_t)((l->options.batch - count) * l->item) * sizeof *to);
    return TS_OK;
}

static void *read_ahead(void *argument)
{
    ts_loader *l = argument;
    ts_status status = TS_OK;
    ts_error err = {0};
    for (int64_t n = l->options.first_batch; n < l->end && status == TS_OK; n++) {
        pthread_mutex_lock(&l->lock);
        while (!atomic_load(&l->stop) && n - l->taken + 1 >= l->options.buffers)
            pthread_cond_wait(&l->changed, &l->lock);
        pthread_mutex_unlock(&l->lock);
        if (atomic_load(&l->stop))
            break;
        status = fill(l, n, &err);
        pthread_mutex_lock(&l->lock);
        l->filled += status == TS_OK;
        l->failed = status;
        l->why = err;
        pthread_cond_broadcast(&l->changed);
        pthread_mutex_unlock(&l->lock);
    }
    return NULL;
}

/* Signals are the main thread's business. */
static bool start(ts_loader *l)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    l->running = pthread_create(&l->thread, NULL, read_ahead, l) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return l->running;
}

/* ---- the consumer ---- */

static ts_status check(const ts_dataset *data, const ts_loader_options *o, ts_error *err)
{
    if (o->batch < 1 || o->first_batch < 0 || o->buffers < 2)
        return ts_fail(err, TS_ERR_USAGE,
                       "batch %" PRId64 ", first batch %" PRId64 ", %d buffers: expected at least 1, 0 and 2", o->batch,
                       o->first_batch, o->buffers);
    if (o->train && o->batch > data->count)
        return ts_fail(err, TS_ERR_USAGE,
                       "batch %" PRId64 " is larger than the data set, which has %" PRId64
                       " items for training; lower train.batch, or take more of each one (data.crops, data.windows)",
                       o->batch, data->count);
    return TS_OK;
}

static ts_status allocate(ts_loader *l, ts_error *err)
{
    ts_shape ring = ts_shape_of(l->options.buffers, l->options.batch, l->item, (int64_t)sizeof(float));
    int64_t bytes;
    if (!ts_shape_count_checked(ring, &bytes))
        return ts_fail(err, TS_ERR_USAGE, "batch %" PRId64 " does not fit in memory", l->options.batch);
    l->ring_bytes = (size_t)bytes;
    l->ring = ts_alloc_aligned(l->ring_bytes);
    if (!l->ring)
        return ts_out_of_memory(err, l->ring_bytes);
    int64_t items = l->options.buffers * l->options.batch;
    if (l->data->lengths && !(l->lengths = ts_calloc((size_t)items, sizeof *l->lengths)))
        return ts_out_of_memory(err, (size_t)items * sizeof *l->lengths);
    if (l->options.train && !(l->order = ts_calloc((size_t)l->data->count, sizeof *l->order)))
        return ts_out_of_memory(err, (size_t)l->data->count * sizeof *l->order);
    return TS_OK;
}

ts_status ts_loader_open(ts_loader **out, ts_dataset *data, ts_loader_options o, ts_error *err)
{
    *out = NULL;
    o.buffers = o.buffers ? o.buffers : 4;
    TS_TRY(check(data, &o, err));
    ts_loader *l = ts_calloc(1, sizeof *l);
    if (!l)
        return ts_out_of_memory(err, sizeof *l);
    l->data = data;
    l->options = o;
    l->item = ts_shape_count(data->item);
    l->per_epoch = data->count / o.batch + (!o.train && data->count % o.batch);
    l->end = o.train ? INT64_MAX : l->per_epoch;
    l->ordered = -1;
    l->filled = l->taken = o.first_batch;
    pthread_mutex_init(&l->lock, NULL);
    pthread_cond_init(&l->changed, NULL);
    ts_status status = allocate(l, err);
    if (status == TS_OK && !start(l))
        status = ts_fail(err, TS_ERR_RUNTIME, "the thread that reads the data could not be started");
    if (status == TS_OK)
        *out = l;
    else
        ts_loader_close(l);
    return status;
}

static int64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* With the lock held: until batch `number` is there, or never will be. */
static void wait_for(ts_loader *l, int64_t number)
{
    if (number < l->filled || l->failed)
        return;
    int64_t began = now_ns();
    while (number >= l->filled && !l->failed)
        pthread_cond_wait(&l->changed, &l->lock);
    l->waited_ns += now_ns() - began;
}

ts_status ts_loader_next(ts_loader *l, ts_batch *batch, ts_error *err)
{
    ts_status status = TS_OK;
    *batch = (ts_batch){0};
    pthread_mutex_lock(&l->lock);
    int64_t number = l->taken;
    if (number < l->end) {
        l->taken++; /* frees the buffer of the batch before */
        pthread_cond_broadcast(&l->changed);
        wait_for(l, number);
        if (number >= l->filled) {
            l->taken = number;
            status = l->failed;
            if (err)
                *err = l->why;
        } else {
            *batch = (ts_batch){.data = slot(l, number),
                                .lengths = lengths_slot(l, number),
                                .count = batch_count(l, number),
                                .number = number,
                                .epoch = number / l->per_epoch};
        }
    }
    pthread_mutex_unlock(&l->lock);
    return status;
}

int64_t ts_loader_batches_per_epoch(const ts_loader *loader)
{
    return loader->per_epoch;
}

int64_t ts_loader_waited_ns(const ts_loader *loader)
{
    return loader->waited_ns;
}

void ts_loader_close(ts_loader *l)
{
    if (!l)
        return;
    pthread_mutex_lock(&l->lock);
    atomic_store(&l->stop, true);
    pthread_cond_broadcast(&l->changed);
    pthread_mutex_unlock(&l->lock);
    if (l->running)
        pthread_join(l->thread, NULL);
    pthread_cond_destroy(&l->changed);
    pthread_mutex_destroy(&l->lock);
    if (l->ring)
        ts_free_aligned(l->ring, l->ring_bytes);
    ts_free(l->lengths);
    ts_free(l->order);
    ts_free(l);
}
