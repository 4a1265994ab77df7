#include "train/data.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <string.h>

#include "core/memory.h"
#include "train/data_kinds.h"

const ts_dataset_kind *const ts_dataset_kinds[] = {
    &ts_dataset_shapes, &ts_dataset_idx,    &ts_dataset_cifar,  &ts_dataset_folder,
    &ts_dataset_hdf5,   &ts_dataset_motion, &ts_dataset_chains, NULL};

const char *const ts_on_error_names[] = {"stop", "skip", NULL};

const char *ts_split_name(ts_split split)
{
    return split == TS_SPLIT_TRAIN ? "train" : "val";
}

const ts_dataset_kind *ts_dataset_kind_find(const char *name)
{
    for (const ts_dataset_kind *const *kind = ts_dataset_kinds; *kind; kind++)
        if (strcmp((*kind)->table->kind, name) == 0)
            return *kind;
    return NULL;
}

uint64_t ts_draw_below(ts_draws *draws, uint64_t n)
{
    return ts_random_below(draws->key, draws->epoch, draws->next++, n);
}

float ts_draw_uniform(ts_draws *draws)
{
    return (float)ts_draw_below(draws, 1 << 24) * 0x1p-24f;
}

static const char *kind_name(const ts_dataset *data)
{
    return data->kind->table->kind;
}

/* How many of n sources are held out: never all of them, and never none where some are asked for. */
static int64_t held_out(int64_t n, double fraction)
{
    int64_t count = (int64_t)((double)n * fraction + 0.5);
    if (count < 1 && fraction > 0)
        count = 1;
    return count < n ? count : n - 1;
}

/* Marks the sources that belong to validation: the first of a fixed permutation, whatever the seed of the run is. */
static ts_status mark_held_out(int64_t n, int64_t count, uint8_t *mark, ts_error *err)
{
    if (count == 0)
        return TS_OK;
    int64_t *order = ts_calloc((size_t)n, sizeof *order);
    if (!order)
        return ts_out_of_memory(err, (size_t)n * sizeof *order);
    ts_random_permutation((ts_random_key){0, ts_random_stream("data.split")}, 0, n, order);
    for (int64_t i = 0; i < count; i++)
        mark[order[i]] = 1;
    ts_free(order);
    return TS_OK;
}

static ts_status no_items(const ts_dataset *data, ts_error *err)
{
    if (data->split == TS_SPLIT_VAL && data->val_fraction <= 0)
        return ts_fail(err, TS_ERR_USAGE, "data %s: no validation items: val_fraction is 0; set data.val_fraction=0.1",
                       kind_name(data));
    return ts_fail(err, TS_ERR_DATA,
                   "data %s: no items for the %s split: %" PRId64 " in all, val_fraction %g; at least 2 are needed",
                   kind_name(data), ts_split_name(data->split), data->sources, data->val_fraction);
}

/* Lists the sources that are marked `wanted`, ascending, cut at the limit. */
static void list_chosen(ts_dataset *data, const uint8_t *mark, uint8_t wanted)
{
    int64_t limit = data->limit > 0 ? data->limit : INT64_MAX;
    for (int64_t i = 0; i < data->sources && data->chosen_count < limit; i++)
        if (mark[i] == wanted)
            data->chosen[data->chosen_count++] = i;
}

static ts_status choose(ts_dataset *data, ts_error *err)
{
    int64_t n = data->sources, held = data->own_split ? 0 : held_out(n, data->val_fraction);
    uint8_t wanted = !data->own_split && data->split == TS_SPLIT_VAL;
    data->chosen = ts_calloc((size_t)n, sizeof *data->chosen);
    uint8_t *mark = ts_calloc((size_t)n, 1);
    if (!data->chosen || !mark) {
        ts_free(mark);
        return ts_out_of_memory(err, (size_t)n * sizeof *data->chosen);
    }
    ts_status status = mark_held_out(n, held, mark, err);
    if (status == TS_OK)
        list_chosen(data, mark, wanted);
    ts_free(mark);
    return status == TS_OK && data->chosen_count == 0 ? no_items(data, err) : status;
}

static ts_status finish_open(ts_dataset *data, ts_error *err)
{
    if (!TS_ASSERT(data->sources >= 1 && data->item.rank >= 1))
        return ts_fail(err, TS_ERR_RUNTIME, "internal error: data %s opened without items", kind_name(data));
    TS_TRY(choose(data, err));
    data->repeat = data->repeat < 1 ? 1 : data->repeat;
    if (__builtin_mul_overflow(data->chosen_count, data->repeat, &data->count))
        return ts_fail(err, TS_ERR_USAGE, "data %s: %" PRId64 " items times %" PRId64 " crops do not fit in 64 bits",
                       kind_name(data), data->chosen_count, data->repeat);
    data->broken = ts_calloc((size_t)data->chosen_count, sizeof *data->broken);
    return data->broken ? TS_OK : ts_out_of_memory(err, (size_t)data->chosen_count);
}

ts_status ts_dataset_open_for(ts_dataset **out, const ts_dataset_kind *kind, const void *options, ts_split split,
                              uint64_t seed, const ts_motion *trained, ts_error *err)
{
    *out = NULL;
    ts_dataset *data = ts_calloc(1, sizeof *data);
    if (!data)
        return ts_out_of_memory(err, sizeof *data);
    *data = (ts_dataset){.kind = kind, .split = split, .seed = seed, .trained = trained};
    pthread_mutex_init(&data->lock, NULL);
    ts_status status = kind->open(data, options, err);
    if (status == TS_OK)
        status = finish_open(data, err);
    data->trained = NULL;
    if (status == TS_OK)
        *out = data;
    else
        ts_dataset_close(data);
    return status;
}

ts_status ts_dataset_open(ts_dataset **out, const ts_dataset_kind *kind, const void *options, ts_split split,
                          uint64_t seed, ts_error *err)
{
    return ts_dataset_open_for(out, kind, options, split, seed, NULL, err);
}

void ts_dataset_close(ts_dataset *data)
{
    if (!data)
        return;
    if (data->kind->close)
        data->kind->close(data);
    pthread_mutex_destroy(&data->lock);
    ts_free(data->chosen);
    ts_free((void *)data->broken);
    ts_free(data);
}

/* Validation has one epoch and one seed. */
static ts_draws draws_of(const ts_dataset *data, int64_t index, uint64_t epoch)
{
    bool val = data->split == TS_SPLIT_VAL;
    return (ts_draws){.key = {val ? 0 : data->seed, ts_random_stream(val ? "data.val" : "data.train")},
                      .epoch = val ? 0 : epoch,
                      .next = (uint64_t)index * TS_DRAWS_PER_ITEM};
}

void ts_dataset_note_skipped(ts_dataset *data, const ts_error *why)
{
    pthread_mutex_lock(&data->lock);
    if (data->skipped++ == 0)
        data->first_skip = *why;
    pthread_mutex_unlock(&data->lock);
}

static void note_skip(ts_dataset *data, int64_t place, const ts_error *why)
{
    if (atomic_exchange(&data->broken[place], 1))
        return; /* another reader met it first */
    ts_dataset_note_skipped(data, why);
}

ts_status ts_dataset_read(ts_dataset *data, int64_t index, uint64_t epoch, float *out, ts_error *err)
{
    int32_t length;
    return ts_dataset_read_part(data, index, epoch, out, &length, err);
}

ts_status ts_dataset_read_part(ts_dataset *data, int64_t index, uint64_t epoch, float *out, int32_t *length,
                               ts_error *err)
{
    if (!TS_ASSERT(index >= 0 && index < data->count))
        return ts_fail(err, TS_ERR_RUNTIME, "internal error: data %s: item %" PRId64 " of %" PRId64, kind_name(data),
                       index, data->count);
    for (int64_t tried = 0; tried < data->chosen_count; tried++) {
        int64_t place = (index % data->chosen_count + tried) % data->chosen_count;
        if (atomic_load(&data->broken[place]))
            continue;
        ts_draws draws = draws_of(data, index, epoch);
        ts_error why = {0};
        ts_status status = data->kind->read(data, data->chosen[place], &draws, out, &why);
        if (status == TS_ERR_DATA && data->skip_broken) {
            note_skip(data, place, &why);
            continue;
        }
        *length = data->lengths ? data->lengths[data->chosen[place]] : (int32_t)data->item.dim[0];
        if (status != TS_OK && err)
            *err = why;
        return status;
    }
    ts_error first;
    int64_t skipped = ts_dataset_skipped(data, &first);
    return ts_fail(err, TS_ERR_DATA, "data %s: all %" PRId64 " items are broken; the first: %s", kind_name(data),
                   skipped, first.text);
}

int64_t ts_dataset_skipped(ts_dataset *data, ts_error *first)
{
    pthread_mutex_lock(&data->lock);
    int64_t skipped = data->skipped;
    if (first)
        *first = data->first_skip;
    pthread_mutex_unlock(&data->lock);
    return skipped;
}

ts_status ts_dataset_read_bytes(ts_dataset *data, int64_t source, ts_draws *draws, float *out, ts_error *err)
{
    (void)err;
    int64_t n = ts_shape_count(data->item);
    ts_pixels_to_float(data->range, data->bytes + source * n, n, out);
    ts_dataset_flip(data, draws, out);
    return TS_OK;
}

void ts_dataset_flip(const ts_dataset *data, ts_draws *draws, float *image)
{
    const int64_t *hwc = data->item.dim;
    if (data->flip && data->split == TS_SPLIT_TRAIN && ts_draw_below(draws, 2))
        ts_pixels_mirror(image, hwc[0], hwc[1], hwc[2]);
}

static size_t all_bytes(const ts_dataset *data)
{
    return (size_t)(data->sources * ts_shape_count(data->item));
}

uint8_t *ts_dataset_alloc_bytes(ts_dataset *data, ts_error *err)
{
    uint8_t *bytes = ts_alloc_aligned(all_bytes(data));
    data->bytes = bytes;
    if (!bytes)
        ts_out_of_memory(err, all_bytes(data));
    return bytes;
}

void ts_dataset_close_bytes(ts_dataset *data)
{
    ts_free_aligned((void *)data->bytes, all_bytes(data));
}
