#include "train/tokens.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/files/hdf5.h"

static const char format[] = "tessera tokens 1";

/* --- saving ------------------------------------------------------------------------------------------------------- */

static ts_status write_numbers(ts_h5 *file, const char *name, ts_dtype dtype, const void *data, ts_shape shape,
                               ts_error *err)
{
    ts_named_tensor tensor = {name, {dtype, shape, (void *)data}};
    return ts_h5_write(file, &tensor, err);
}

static ts_status write_number_text(ts_h5 *file, const char *name, int64_t value, ts_error *err)
{
    char text[32];
    snprintf(text, sizeof text, "%" PRId64, value);
    return ts_h5_write_text(file, "/", name, text, err);
}

static ts_status write_shard(ts_h5 *file, const ts_tokens *t, ts_error *err)
{
    char text[64];
    if (!t->places)
        return TS_OK;
    snprintf(text, sizeof text, "%" PRId64 "/%" PRId64, t->shard, t->shards);
    TS_TRY(write_numbers(file, "/places", TS_I64, t->places, ts_shape_of(t->items), err));
    return ts_h5_write_text(file, "/", "shard", text, err);
}

static ts_status write_all(ts_h5 *file, const ts_tokens *t, ts_error *err)
{
    TS_TRY(write_numbers(file, "/tokens", TS_I32, t->ids, ts_shape_of(t->items, t->longest, t->groups), err));
    TS_TRY(write_numbers(file, "/lengths", TS_I32, t->lengths, ts_shape_of(t->items), err));
    TS_TRY(ts_h5_write_strings(file, "/names", t->names, t->items, err));
    TS_TRY(ts_h5_write_text(file, "/", "format", format, err));
    TS_TRY(write_number_text(file, "codes", t->codes, err));
    TS_TRY(write_number_text(file, "groups", t->groups, err));
    TS_TRY(ts_h5_write_text(file, "/", "shape", ts_shape_print(t->shape).text, err));
    TS_TRY(write_shard(file, t, err));
    return ts_h5_write_text(file, "/", "weights", t->weights, err);
}

ts_status ts_tokens_save(const ts_tokens *tokens, const char *path, ts_error *err)
{
    ts_h5 *file;
    TS_TRY(ts_h5_create(&file, path, 0, TS_ERR_DATA, err));
    ts_status status = write_all(file, tokens, err);
    if (status == TS_OK)
        status = ts_h5_save(file, err);
    ts_h5_close(file);
    return status;
}

bool ts_shard_parse(const char *text, int64_t *shard, int64_t *shards)
{
    char *slash, *end;
    *shard = strtoll(text, &slash, 10);
    if (slash == text || *slash != '/')
        return false;
    *shards = strtoll(slash + 1, &end, 10);
    return end > slash + 1 && *end == '\0' && *shards >= 1 && *shard >= 0 && *shard < *shards;
}

/* --- loading ------------------------------------------------------------------------------------------------------ */

bool ts_tokens_is_one(const char *path)
{
    ts_h5 *file;
    if (ts_h5_open(&file, path, TS_ERR_CHECKPOINT, NULL) != TS_OK)
        return false;
    bool is_one = ts_h5_exists(file, "/tokens");
    ts_h5_close(file);
    return is_one;
}

static ts_status read_numbers(ts_h5 *file, const char *path, const char *name, ts_dtype dtype, int rank,
                              ts_arena *arena, ts_tensor *tensor, ts_error *err)
{
    if (!ts_h5_exists(file, name))
        return ts_fail(err, TS_ERR_CHECKPOINT, "%s: has no data set %s; expected a file that `tessera encode` wrote",
                       path, name);
    TS_TRY(ts_h5_read(file, name, arena, tensor, err));
    if (tensor->dtype != dtype || tensor->shape.rank != rank)
        return ts_fail(err, TS_ERR_CHECKPOINT, "%s: %s is %s %s, expected %s of rank %d", path, name,
                       ts_dtype_name(tensor->dtype), ts_shape_print(tensor->shape).text, ts_dtype_name(dtype), rank);
    return TS_OK;
}

/* "[7, 7]" */
static ts_shape parse_shape(const char *text)
{
    ts_shape shape = {0};
    if (*text != '[')
        return shape;
    for (const char *at = text + 1; shape.rank < TS_MAX_RANK;) {
        char *end;
        int64_t dim = strtoll(at, &end, 10);
        if (end == at || dim < 1)
            return (ts_shape){0};
        shape.dim[shape.rank++] = dim;
        if (*end != ',')
            return *end == ']' ? shape : (ts_shape){0};
        at = end + 1;
    }
    return (ts_shape){0};
}

static ts_status read_attributes(ts_tokens *t, ts_h5 *file, ts_arena *arena, ts_error *err)
{
    ts_h5_attributes all;
    TS_TRY(ts_h5_read_attributes(file, "/", arena, &all, err));
    t->codes = strtoll(ts_h5_attribute_text(&all, "codes", "0"), NULL, 10);
    t->shape = parse_shape(ts_h5_attribute_text(&all, "shape", ""));
    t->weights = ts_h5_attribute_text(&all, "weights", "");
    if (t->places && !ts_shard_parse(ts_h5_attribute_text(&all, "shard", ""), &t->shard, &t->shards))
        t->shard = t->shards = 0;
    return TS_OK;
}

static ts_status read_all(ts_tokens *t, ts_h5 *file, const char *path, ts_arena *arena, ts_error *err)
{
    ts_tensor ids = {0}, lengths = {0}, places = {0};
    ts_h5_strings names;
    TS_TRY(read_numbers(file, path, "/tokens", TS_I32, 3, arena, &ids, err));
    TS_TRY(read_numbers(file, path, "/lengths", TS_I32, 1, arena, &lengths, err));
    if (!ts_h5_exists(file, "/names"))
        return ts_fail(err, TS_ERR_CHECKPOINT, "%s: has no data set /names", path);
    TS_TRY(ts_h5_read_strings(file, "/names", arena, &names, err));
    if (ts_h5_exists(file, "/places"))
        TS_TRY(read_numbers(file, path, "/places", TS_I64, 1, arena, &places, err));
    *t = (ts_tokens){.items = ids.shape.dim[0],
                     .longest = ids.shape.dim[1],
                     .groups = ids.shape.dim[2],
                     .ids = ids.data,
                     .lengths = lengths.data,
                     .names = names.text,
                     .places = places.data};
    if (lengths.shape.dim[0] != t->items || names.count != t->items || (t->places && places.shape.dim[0] != t->items))
        return ts_fail(err, TS_ERR_CHECKPOINT,
                       "%s: /tokens has %" PRId64 " items, /lengths %" PRId64 ", /names %" PRId64
                       "; they and /places must agree",
                       path, t->items, lengths.shape.dim[0], names.count);
    return read_attributes(t, file, arena, err);
}

static ts_status check_ids(const ts_tokens *t, const char *path, int64_t item, ts_error *err)
{
    const int32_t *ids = t->ids + item * t->longest * t->groups;
    int64_t largest = t->codes > 0 ? t->codes - 1 : INT32_MAX;
    for (int64_t i = 0; i < t->lengths[item] * t->groups; i++)
        if (ids[i] < 0 || ids[i] > largest)
            return ts_fail(err, TS_ERR_CHECKPOINT,
                           "%s: item %" PRId64 ", token %" PRId64 ": expected an id from 0 to %" PRId64 ", found %d",
                           path, item, i / t->groups, largest, ids[i]);
    return TS_OK;
}

static ts_status check(const ts_tokens *t, const char *path, ts_error *err)
{
    for (int64_t i = 0; i < t->items; i++) {
        if (t->lengths[i] < 0 || t->lengths[i] > t->longest)
            return ts_fail(err, TS_ERR_CHECKPOINT,
                           "%s: item %" PRId64 ": expected a length from 0 to %" PRId64 ", found %d", path, i,
                           t->longest, t->lengths[i]);
        TS_TRY(check_ids(t, path, i, err));
    }
    return TS_OK;
}

ts_status ts_tokens_load(ts_tokens *tokens, const char *path, ts_arena *arena, ts_error *err)
{
    ts_h5 *file;
    TS_TRY(ts_h5_open(&file, path, TS_ERR_CHECKPOINT, err));
    ts_status status = read_all(tokens, file, path, arena, err);
    ts_h5_close(file);
    return status == TS_OK ? check(tokens, path, err) : status;
}
