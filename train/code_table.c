#include "train/code_table.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "train/programs.h"

/* --- use ---------------------------------------------------------------------------------------------------------- */

static void count_ids(ts_code_table *t, const ts_tokens *tokens)
{
    for (int64_t item = 0; item < tokens->items; item++)
        for (int64_t i = 0; i < tokens->lengths[item]; i++, t->tokens++)
            for (int64_t g = 0; g < t->groups; g++) {
                int32_t id = tokens->ids[(item * tokens->longest + i) * t->groups + g];
                t->count[g * t->codes + id]++;
            }
}

typedef struct {
    int64_t count;
    int32_t id;
} used;

static int by_use(const void *a, const void *b)
{
    const used *x = a, *y = b;
    int less = (x->count < y->count) - (x->count > y->count);
    return less ? less : (x->id > y->id) - (x->id < y->id);
}

static ts_status list_most_used(ts_code_table *t, ts_error *err)
{
    size_t bytes = (size_t)t->codes * sizeof(used);
    used *order = ts_alloc(bytes);
    if (!order)
        return ts_out_of_memory(err, bytes);
    for (int64_t g = 0; g < t->groups; g++) {
        for (int64_t k = 0; k < t->codes; k++)
            order[k] = (used){t->count[g * t->codes + k], (int32_t)k};
        qsort(order, (size_t)t->codes, sizeof *order, by_use);
        for (int64_t i = 0; i < t->listed; i++)
            t->list[g * t->listed + i] = order[i].id;
    }
    ts_free(order);
    return TS_OK;
}

static int64_t at_most(int64_t x, int64_t most)
{
    return x < most ? x : most;
}

ts_status ts_code_table_count(ts_code_table *t, const ts_tokens *tokens, int64_t codes, int64_t listed, int64_t near,
                              ts_error *err)
{
    *t = (ts_code_table){.codes = codes, .groups = tokens->groups, .listed = at_most(listed, codes)};
    t->near = at_most(at_most(near, TS_MAX_NEIGHBOURS), codes - 1);
    size_t list = (size_t)(t->groups * t->listed), neighbours = list * (size_t)t->near;
    size_t bytes = (size_t)(t->groups * codes) * sizeof *t->count;
    t->count = ts_arena_alloc(&t->arena, bytes);
    t->list = ts_arena_alloc(&t->arena, list * sizeof *t->list);
    t->neighbour = ts_arena_alloc(&t->arena, neighbours * sizeof *t->neighbour + 1);
    t->distance = ts_arena_alloc(&t->arena, neighbours * sizeof *t->distance + 1);
    if (!t->count || !t->list || !t->neighbour || !t->distance)
        return ts_out_of_memory(err, bytes + neighbours * 8);
    memset(t->count, 0, bytes);
    count_ids(t, tokens);
    return t->tokens ? list_most_used(t, err)
                     : ts_fail(err, TS_ERR_DATA, "there is not one token, so that no code was used");
}

void ts_code_table_clear(ts_code_table *t)
{
    ts_arena_clear(&t->arena);
    *t = (ts_code_table){0};
}

void ts_code_table_token(const ts_code_table *t, int64_t group, int32_t id, int32_t *ids)
{
    for (int64_t g = 0; g < t->groups; g++)
        ids[g] = g == group ? id : t->list[g * t->listed];
}

/* --- neighbours --------------------------------------------------------------------------------------------------- */

enum { BATCH = 1024 };

/* ids [BATCH, groups] -> codes [BATCH, width] */
typedef struct {
    ts_inference program;
    int64_t width;
    int32_t *ids;
    float *codes;
} decoder;

/* The codes of `count` of a group's ids: first, first + 1 ..., or of those at these places of its list. */
static ts_status decode(decoder *d, const ts_code_table *t, int64_t group, bool listed, int64_t first, int64_t count,
                        ts_error *err)
{
    for (int64_t i = 0; i < BATCH; i++) {
        int64_t k = first + at_most(i, count - 1);
        ts_code_table_token(t, group, listed ? t->list[group * t->listed + k] : (int32_t)k, d->ids + i * t->groups);
    }
    ts_program_set(d->program.program, d->program.ids, d->ids);
    TS_TRY(ts_program_run(d->program.program, err));
    ts_program_get(d->program.program, d->program.y, d->codes);
    return TS_OK;
}

static double distance_of(const float *x, const float *y, int64_t width)
{
    double sum = 0;
    for (int64_t i = 0; i < width; i++)
        sum += ((double)x[i] - y[i]) * ((double)x[i] - y[i]);
    return sqrt(sum);
}

/* Into the row of the nearest, which is sorted; ids come in rising order. */
static void consider(int32_t *neighbour, float *distance, int64_t near, int32_t id, float d)
{
    int64_t at = near;
    while (at > 0 && d < distance[at - 1])
        at--;
    if (at == near)
        return;
    memmove(neighbour + at + 1, neighbour + at, (size_t)(near - at - 1) * sizeof *neighbour);
    memmove(distance + at + 1, distance + at, (size_t)(near - at - 1) * sizeof *distance);
    neighbour[at] = id;
    distance[at] = d;
}

/* All codes of a group go by once, a batch at a time, before the listed ones, whose codes are `mine`. */
static ts_status pass_all(ts_code_table *t, decoder *d, int64_t group, const float *mine, ts_error *err)
{
    for (int64_t first = 0; first < t->codes; first += BATCH) {
        int64_t n = at_most(BATCH, t->codes - first);
        TS_TRY(decode(d, t, group, false, first, n, err));
        for (int64_t i = 0; i < t->listed; i++) {
            int64_t row = group * t->listed + i;
            for (int64_t k = 0; k < n; k++)
                if (first + k != t->list[row])
                    consider(t->neighbour + row * t->near, t->distance + row * t->near, t->near, (int32_t)(first + k),
                             (float)distance_of(mine + i * d->width, d->codes + k * d->width, d->width));
        }
    }
    return TS_OK;
}

static ts_status find_in_group(ts_code_table *t, decoder *d, int64_t group, float *mine, ts_error *err)
{
    for (int64_t first = 0; first < t->listed; first += BATCH) {
        int64_t n = at_most(BATCH, t->listed - first);
        TS_TRY(decode(d, t, group, true, first, n, err));
        memcpy(mine + first * d->width, d->codes, (size_t)(n * d->width) * sizeof *mine);
    }
    return pass_all(t, d, group, mine, err);
}

ts_status ts_code_table_find_near(ts_code_table *t, ts_experiment *e, bool ema, ts_error *err)
{
    decoder d = {.width = e->tokenizer.info.width};
    ts_arena arena = {0};
    size_t codes = (size_t)(BATCH * d.width) * sizeof *d.codes, bytes = (size_t)(t->listed * d.width) * sizeof(float);
    float *mine = ts_arena_alloc(&arena, bytes);
    d.codes = ts_arena_alloc(&arena, codes);
    d.ids = ts_arena_alloc(&arena, (size_t)(BATCH * t->groups) * sizeof *d.ids);
    ts_status status;
    if (!mine || !d.codes || !d.ids) {
        status = ts_out_of_memory(err, codes + bytes);
        goto out;
    }
    for (int64_t i = 0; i < t->groups * t->listed * t->near; i++) {
        t->neighbour[i] = -1;
        t->distance[i] = INFINITY;
    }
    TS_GO(ts_inference_open(&d.program, e, TS_CODES, BATCH, ema, err));
    for (int64_t g = 0; status == TS_OK && g < t->groups; g++)
        status = find_in_group(t, &d, g, mine, err);
out:
    ts_inference_close(&d.program);
    ts_arena_clear(&arena);
    return status;
}
