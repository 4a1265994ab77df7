#include "train/token_sink.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/text.h"

bool ts_ends_in_h5(const char *path)
{
    static const char *const endings[] = {".h5", ".hdf5", NULL};
    return ts_file_ending(path, endings) != NULL;
}

ts_status ts_token_sink_open(ts_token_sink *s, const char *path, const ts_token_kind *kind, ts_token_layout layout,
                             ts_error *err)
{
    *s = (ts_token_sink){.kind = *kind, .layout = layout, .path = path, .folder = !ts_ends_in_h5(path)};
    s->count = ts_calloc((size_t)kind->codes, sizeof *s->count);
    if (!s->count)
        return ts_out_of_memory(err, (size_t)kind->codes * sizeof *s->count);
    return s->folder ? ts_token_folder_make(path, kind->manifest, err) : TS_OK;
}

void ts_token_sink_close(ts_token_sink *s)
{
    ts_free(s->count);
    ts_free(s->put);
    ts_free(s->ids);
    ts_arena_clear(&s->arena);
    *s = (ts_token_sink){0};
}

static void count_ids(ts_token_sink *s, const int32_t *ids, int64_t tokens)
{
    for (int64_t i = 0; i < tokens * s->kind.groups; i++)
        s->count[ids[i]]++;
    s->items++;
}

/* --- a folder ----------------------------------------------------------------------------------------------------- */

static ts_status file_of(const ts_token_sink *s, const char *name, char path[PATH_MAX], ts_error *err)
{
    if (!ts_file_name_is_safe(name))
        return ts_fail(err, TS_ERR_DATA, "the name '%s' of a clip is no path below a folder", TS_SHOWN(name));
    if (snprintf(path, PATH_MAX, "%s/%s.npy", s->path, name) >= PATH_MAX)
        return ts_fail(err, TS_ERR_DATA, "%s: a path below it is longer than %d bytes", s->path, PATH_MAX);
    return TS_OK;
}

ts_status ts_token_sink_has(ts_token_sink *s, const char *name, int64_t tokens, bool *has, ts_error *err)
{
    char path[PATH_MAX];
    ts_token_row row;
    *has = false;
    if (!s->folder)
        return TS_OK;
    TS_TRY(file_of(s, name, path, err));
    if (access(path, F_OK) != 0)
        return TS_OK;
    ts_status status = ts_token_file_read(&row, path, s->kind.groups, s->kind.codes, err);
    if (status == TS_ERR_CHECKPOINT) /* damaged: made again */
        return TS_OK;
    TS_TRY(status);
    *has = row.tokens == tokens;
    if (*has)
        count_ids(s, row.ids, tokens);
    ts_free(row.ids);
    return TS_OK;
}

static ts_status put_file(const ts_token_sink *s, const char *name, const int32_t *ids, int64_t tokens, ts_error *err)
{
    char path[PATH_MAX];
    TS_TRY(file_of(s, name, path, err));
    TS_TRY(ts_folder_make_parents(s->path, path, TS_ERR_DATA, err));
    return ts_token_file_write(path, s->layout, ids, tokens * s->kind.groups, err);
}

/* --- one HDF5 file ------------------------------------------------------------------------------------------------ */

struct ts_put_item {
    const char *name;
    int64_t tokens, place;
    int64_t first; /* of its ids */
};

static ts_status make_room(ts_token_sink *s, int64_t ids, ts_error *err)
{
    if (s->used + ids > s->room) {
        int64_t room = 2 * (s->used + ids);
        int32_t *larger = ts_realloc(s->ids, (size_t)room, sizeof *larger);
        if (!larger)
            return ts_out_of_memory(err, (size_t)room * sizeof *larger);
        s->ids = larger;
        s->room = room;
    }
    if (s->items == s->put_room) {
        int64_t room = s->items ? 2 * s->items : 64;
        struct ts_put_item *larger = ts_realloc(s->put, (size_t)room, sizeof *larger);
        if (!larger)
            return ts_out_of_memory(err, (size_t)room * sizeof *larger);
        s->put = larger;
        s->put_room = room;
    }
    return TS_OK;
}

static ts_status keep(ts_token_sink *s, const char *name, int64_t place, const int32_t *ids, int64_t tokens,
                      ts_error *err)
{
    int64_t n = tokens * s->kind.groups;
    TS_TRY(make_room(s, n, err));
    s->put[s->items] = (struct ts_put_item){ts_arena_strdup(&s->arena, name), tokens, place, s->used};
    if (!s->put[s->items].name)
        return ts_out_of_memory(err, strlen(name));
    memcpy(s->ids + s->used, ids, (size_t)n * sizeof *ids);
    s->used += n;
    return TS_OK;
}

ts_status ts_token_sink_put(ts_token_sink *s, const char *name, int64_t place, const int32_t *ids, int64_t tokens,
                            ts_error *err)
{
    TS_TRY(s->folder ? put_file(s, name, ids, tokens, err) : keep(s, name, place, ids, tokens, err));
    count_ids(s, ids, tokens);
    return TS_OK;
}

static int by_place(const void *a, const void *b)
{
    int64_t x = ((const struct ts_put_item *)a)->place, y = ((const struct ts_put_item *)b)->place;
    return (x > y) - (x < y);
}

typedef struct {
    int32_t *ids, *lengths;
    const char **names;
    int64_t *places;
} arrays;

static ts_status allocate(arrays *to, int64_t items, int64_t ids, ts_arena *arena, ts_error *err)
{
    size_t n = (size_t)items;
    *to = (arrays){.ids = ts_arena_alloc(arena, (size_t)ids * sizeof *to->ids),
                   .lengths = ts_arena_alloc(arena, n * sizeof *to->lengths),
                   .names = ts_arena_alloc(arena, n * sizeof *to->names),
                   .places = ts_arena_alloc(arena, n * sizeof *to->places)};
    return to->ids && to->lengths && to->names && to->places ? TS_OK
                                                             : ts_out_of_memory(err, (size_t)ids * sizeof *to->ids);
}

/* `all` ids each; -1 behind an item's end. */
static void fill(const ts_token_sink *s, const arrays *to, int64_t all)
{
    for (int64_t i = 0; i < s->items; i++) {
        const struct ts_put_item *item = &s->put[i];
        int64_t n = item->tokens * s->kind.groups;
        to->names[i] = item->name;
        to->places[i] = item->place;
        to->lengths[i] = (int32_t)item->tokens;
        memcpy(to->ids + i * all, s->ids + item->first, (size_t)n * sizeof *s->ids);
        memset(to->ids + i * all + n, -1, (size_t)(all - n) * sizeof *s->ids);
    }
}

static ts_status save(ts_token_sink *s, int64_t shard, int64_t shards, ts_arena *arena, ts_error *err)
{
    int64_t longest = 0, ids;
    arrays to;
    for (int64_t i = 0; i < s->items; i++)
        longest = s->put[i].tokens > longest ? s->put[i].tokens : longest;
    if (__builtin_mul_overflow(s->items, longest * s->kind.groups, &ids) || ids > INT64_MAX / 8)
        return ts_out_of_memory(err, SIZE_MAX);
    TS_TRY(allocate(&to, s->items, ids, arena, err));
    if (s->items)
        qsort(s->put, (size_t)s->items, sizeof *s->put, by_place);
    fill(s, &to, longest * s->kind.groups);
    ts_tokens t = {.items = s->items,
                   .longest = longest,
                   .groups = s->kind.groups,
                   .ids = to.ids,
                   .lengths = to.lengths,
                   .names = to.names,
                   .places = shards > 1 ? to.places : NULL,
                   .shard = shard,
                   .shards = shards,
                   .codes = s->kind.codes,
                   .shape = s->kind.shape,
                   .weights = s->kind.weights};
    return ts_tokens_save(&t, s->path, err);
}

ts_status ts_token_sink_finish(ts_token_sink *s, int64_t shard, int64_t shards, ts_error *err)
{
    ts_arena arena = {0};
    ts_status status = s->folder ? TS_OK : save(s, shard, shards, &arena, err);
    ts_arena_clear(&arena);
    return status;
}
