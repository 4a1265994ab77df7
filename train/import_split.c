#include "train/import_split.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/option.h"
#include "core/random.h"
#include "core/text.h"
#include "train/motion_tree.h"

/* ---- drawn ---- */

/* How many recordings each part gets: rounded from the largest remainder on, then at least one of what is asked for,
 * taken from the largest. */
static void share(int64_t count[TS_PARTS], const int64_t weight[TS_PARTS], int64_t n)
{
    int64_t sum = weight[0] + weight[1] + weight[2], left = n;
    for (int i = 0; i < TS_PARTS; i++)
        left -= count[i] = n * weight[i] / sum;
    for (int i = 0; left > 0; i = (i + 1) % TS_PARTS)
        if (weight[i] > 0) {
            count[i]++;
            left--;
        }
    for (int i = 0; i < TS_PARTS; i++) {
        int largest = 0;
        for (int k = 1; k < TS_PARTS; k++)
            largest = count[k] > count[largest] ? k : largest;
        if (weight[i] > 0 && count[i] == 0 && count[largest] > 1) {
            count[i]++;
            count[largest]--;
        }
    }
}

static ts_status draw(ts_import_split *s, const int64_t weight[TS_PARTS], int64_t n, uint64_t seed, ts_error *err)
{
    int64_t count[TS_PARTS], *order = ts_calloc((size_t)n, sizeof *order);
    s->drawn = ts_arena_alloc(&s->arena, (size_t)n);
    if (!order || !s->drawn) {
        ts_free(order);
        return ts_out_of_memory(err, (size_t)n * sizeof *order);
    }
    share(count, weight, n);
    ts_random_permutation((ts_random_key){seed, ts_random_stream("import.split")}, 0, n, order);
    for (int64_t i = 0; i < n; i++) {
        ts_tree_part part = i < count[1] ? TS_PART_VAL : i < count[1] + count[2] ? TS_PART_TEST : TS_PART_TRAIN;
        s->drawn[order[i]] = (unsigned char)part;
    }
    ts_free(order);
    return TS_OK;
}

static ts_status parse_parts(int64_t weight[TS_PARTS], const char *text, ts_error *err)
{
    static const ts_option option = {.name = "split", .type = TS_OPTION_INTS, .min = 0, .max = 1e6};
    ts_int_list list;
    ts_arena arena = {0};
    ts_status status = ts_option_parse(&option, text, &list, &arena, err);
    ts_arena_clear(&arena);
    TS_TRY(status);
    if (list.count != TS_PARTS || list.value[0] < 1)
        return ts_fail(
            err, TS_ERR_USAGE,
            "split: expected three numbers such as 80,10,10 (train, val, test; train at least 1), or a folder "
            "with train.txt, val.txt and test.txt; found '%s'",
            TS_SHOWN(text));
    memcpy(weight, list.value, TS_PARTS * sizeof *weight);
    return TS_OK;
}

/* ---- listed ---- */

static int by_id(const void *a, const void *b)
{
    return strcmp(((const ts_listed_clip *)a)->id, ((const ts_listed_clip *)b)->id);
}

static ts_status read_lists(ts_import_split *s, const char *folder, ts_error *err)
{
    static const char *const names[TS_PARTS] = {"train", "val", "test"};
    const ts_motion_tree tree = {.splits = folder};
    ts_motion_ids ids[TS_PARTS];
    for (int i = 0; i < TS_PARTS; i++) {
        TS_TRY(ts_motion_ids_read(&ids[i], &tree, names[i], &s->arena, err));
        s->listed_count += ids[i].count;
    }
    size_t bytes = (size_t)s->listed_count * sizeof *s->listed;
    ts_listed_clip *next = s->listed = ts_arena_alloc(&s->arena, bytes);
    if (!next)
        return ts_out_of_memory(err, bytes);
    for (int i = 0; i < TS_PARTS; i++)
        for (int64_t k = 0; k < ids[i].count; k++)
            *next++ = (ts_listed_clip){ids[i].id[k], (ts_tree_part)i};
    qsort(s->listed, (size_t)s->listed_count, sizeof *s->listed, by_id);
    for (int64_t i = 1; i < s->listed_count; i++)
        if (by_id(&s->listed[i - 1], &s->listed[i]) == 0)
            return ts_fail(err, TS_ERR_DATA, "%s: '%s' is in train.txt, val.txt and test.txt twice", folder,
                           TS_SHOWN(s->listed[i].id));
    return TS_OK;
}

/* ---- both ---- */

ts_status ts_import_split_open(ts_import_split *s, const char *text, int64_t recordings, uint64_t seed, ts_error *err)
{
    int64_t weight[TS_PARTS];
    *s = (ts_import_split){0};
    if (strspn(text, "0123456789,[] ") != strlen(text))
        return read_lists(s, text, err);
    TS_TRY(parse_parts(weight, text, err));
    return draw(s, weight, recordings, seed, err);
}

void ts_import_split_close(ts_import_split *s)
{
    ts_arena_clear(&s->arena);
}

ts_tree_part ts_import_split_of(const ts_import_split *s, int64_t recording, const char *id)
{
    if (s->drawn)
        return (ts_tree_part)s->drawn[recording];
    const ts_listed_clip key = {.id = id},
                         *found = bsearch(&key, s->listed, (size_t)s->listed_count, sizeof key, by_id);
    return found ? found->part : TS_PART_NONE;
}
