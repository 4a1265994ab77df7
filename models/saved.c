#include "models/saved.h"

#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <string.h>

#include "core/files/layout.h"
#include "core/memory.h"

/* The blocks that go into a file, and under which name. */
static const struct {
    int block;
    const char *prefix;
} parts[] = {{TS_BLOCK_VALUE, "model"}, {TS_BLOCK_EMA, "ema"}, {TS_BLOCK_M, "m"}, {TS_BLOCK_V, "v"}};

static char *entry_name(const char *prefix, const ts_variable *v)
{
    return ts_format("%s/%s", v->role == TS_ROLE_STATE ? "state" : prefix, v->path);
}

/* The variable's tensor as files hold it: PyTorch's shape. */
static ts_tensor file_tensor(const ts_variable *v, void *data)
{
    ts_tensor t = {v->type.dtype, v->type.shape, data};
    if (v->conv_layout)
        t.shape = ts_layout_torch_shape(v->type.shape);
    return t;
}

/* One variable of one block between the device and a container; `buffer` has room for it twice. */
static ts_status add_variable(ts_container_writer *w, const ts_store *store, const ts_variable *v, int block,
                              const char *prefix, void *buffer, size_t half, ts_error *err)
{
    ts_store_get(store, v, block, buffer);
    void *data = buffer;
    if (v->conv_layout) {
        data = (char *)buffer + half;
        ts_layout_to_torch(v->type.dtype, v->type.shape, buffer, data);
    }
    char *name = entry_name(prefix, v);
    if (!name)
        return ts_out_of_memory(err, strlen(v->path));
    ts_named_tensor named = {name, file_tensor(v, data)};
    ts_status status = ts_container_add(w, &named, err);
    ts_free(name);
    return status;
}

static size_t largest_bytes(const ts_store *store)
{
    size_t largest = 64;
    for (int i = 0; i < ts_store_count(store); i++) {
        ts_tensor t = file_tensor(ts_store_at(store, i), NULL);
        size_t bytes = (ts_tensor_bytes(&t) + 63) / 64 * 64;
        largest = bytes > largest ? bytes : largest;
    }
    return largest;
}

ts_status ts_saved_add(ts_container_writer *w, const ts_store *store, ts_error *err)
{
    size_t half = largest_bytes(store);
    void *buffer = ts_alloc(2 * half);
    ts_status status = buffer ? TS_OK : ts_out_of_memory(err, 2 * half);
    for (int i = 0; status == TS_OK && i < ts_store_count(store); i++) {
        const ts_variable *v = ts_store_at(store, i);
        if (v->transient)
            continue;
        int blocks = v->role == TS_ROLE_STATE ? 1 : (int)(sizeof parts / sizeof *parts);
        for (int b = 0; status == TS_OK && b < blocks; b++)
            if (ts_store_has(store, parts[b].block))
                status = add_variable(w, store, v, parts[b].block, parts[b].prefix, buffer, half, err);
    }
    ts_free(buffer);
    return status;
}

/* ---- reading ---- */

/* Reads one variable's tensor into `buffer` in the store's layout (buffer: twice `half` bytes). */
static ts_status read_variable(ts_container *c, const ts_variable *v, const char *name, void *buffer, size_t half,
                               ts_error *err)
{
    ts_tensor t = file_tensor(v, v->conv_layout ? (char *)buffer + half : buffer);
    TS_TRY(ts_container_read(c, name, &t, err));
    if (v->conv_layout)
        ts_layout_from_torch(v->type.dtype, v->type.shape, t.data, buffer);
    return TS_OK;
}

/* Is the variable's tensor in the file, and does it fit? */
static ts_status check_variable(ts_container *c, const char *path, const ts_variable *v, const char *name,
                                ts_error *err)
{
    ts_tensor t = file_tensor(v, NULL);
    const ts_container_entry *entry = ts_container_find(c, name);
    if (!entry)
        return ts_fail(err, TS_ERR_CHECKPOINT,
                       "%s: has no tensor %s, which this model needs; it is of another model or config", path, name);
    if (entry->dtype != t.dtype || !ts_shape_equal(entry->shape, t.shape))
        return ts_fail(err, TS_ERR_CHECKPOINT,
                       "%s: %s is %s %s, this model expects %s %s; it is of another model or config", path, name,
                       ts_dtype_name(entry->dtype), ts_shape_print(entry->shape).text, ts_dtype_name(t.dtype),
                       ts_shape_print(t.shape).text);
    return TS_OK;
}

static bool wanted(ts_restore_kind kind, const ts_store *store, const ts_variable *v, int part)
{
    if (v->transient || !ts_store_has(store, v->role == TS_ROLE_STATE ? TS_BLOCK_STATE : parts[part].block))
        return false;
    if (kind == TS_RESTORE_RESUME)
        return true;
    bool trainers = strncmp(v->path, "trainer.", 8) == 0;
    return parts[part].block == TS_BLOCK_VALUE ? !trainers
                                               : kind == TS_RESTORE_INFER && parts[part].block == TS_BLOCK_EMA;
}

/* Every tensor twice: first all are checked, then all are read, so that a file that does not fit changes nothing. */
static ts_status restore_variables(ts_store *store, ts_container *c, const char *path, ts_restore_kind kind, bool write,
                                   ts_error *err)
{
    size_t half = largest_bytes(store);
    void *buffer = ts_alloc(2 * half);
    ts_status status = buffer ? TS_OK : ts_out_of_memory(err, 2 * half);
    for (int i = 0; status == TS_OK && i < ts_store_count(store); i++) {
        const ts_variable *v = ts_store_at(store, i);
        int blocks = v->role == TS_ROLE_STATE ? 1 : (int)(sizeof parts / sizeof *parts);
        for (int b = 0; status == TS_OK && b < blocks; b++) {
            if (!wanted(kind, store, v, b))
                continue;
            char *name = entry_name(parts[b].prefix, v);
            if (!name)
                status = ts_out_of_memory(err, strlen(v->path));
            else if (!write)
                status = check_variable(c, path, v, name, err);
            else if ((status = read_variable(c, v, name, buffer, half, err)) == TS_OK)
                ts_store_set(store, v, parts[b].block, buffer);
            ts_free(name);
        }
    }
    ts_free(buffer);
    return status;
}

/* With averages in the file, the store gets the block that an evaluation reads. */
static ts_status make_room(ts_store *store, ts_container *c, ts_restore_kind kind, ts_error *err)
{
    bool averages = false;
    for (int64_t i = 0; kind == TS_RESTORE_INFER && i < ts_container_count(c); i++)
        averages |= strncmp(ts_container_at(c, i)->name, "ema/", 4) == 0;
    return averages ? ts_store_need(store, TS_BLOCK_EMA, err) : TS_OK;
}

ts_status ts_saved_restore(ts_store *store, ts_container *c, const char *path, ts_restore_kind kind, ts_error *err)
{
    TS_TRY(make_room(store, c, kind, err));
    TS_TRY(restore_variables(store, c, path, kind, false, err));
    TS_TRY(ts_container_verify(c, err));
    return restore_variables(store, c, path, kind, true, err);
}

/* ---- what else must be known ---- */

ts_status ts_saved_text(const ts_container *c, const char *path, const char *name, const char **text, ts_error *err)
{
    *text = ts_container_text(c, name);
    return *text ? TS_OK
                 : ts_fail(err, TS_ERR_CHECKPOINT,
                           "%s: has no '%s'; it is a container of tensors, but no checkpoint of a run", path, name);
}

static bool read_item(const json_t *root, ts_shape *shape, ts_range *known)
{
    const json_t *item = json_object_get(root, "item");
    const char *range = json_string_value(json_object_get(root, "range"));
    size_t rank = json_array_size(item);
    if (rank < 1 || rank > TS_MAX_RANK - 1 || !range)
        return false;
    *shape = (ts_shape){.rank = (int)rank};
    for (size_t i = 0; i < rank; i++)
        if ((shape->dim[i] = json_integer_value(json_array_get(item, i))) < 1)
            return false;
    for (int r = 0; ts_range_names[r]; r++)
        if (strcmp(ts_range_names[r], range) == 0) {
            *known = (ts_range)r;
            return true;
        }
    return false;
}

ts_status ts_saved_item(const ts_container *c, const char *path, ts_shape *shape, ts_range *range, ts_error *err)
{
    const char *text;
    TS_TRY(ts_saved_text(c, path, "trainer", &text, err));
    json_t *root = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
    bool sound = root && read_item(root, shape, range);
    json_decref(root);
    return sound ? TS_OK
                 : ts_fail(err, TS_ERR_CHECKPOINT, "%s: the trainer's state is not what this version writes", path);
}

/* Two rows of floats of one length, finite, the deviations above 0. */
static bool is_sound(int64_t columns, const float *mean, const float *std)
{
    for (int64_t i = 0; i < columns; i++)
        if (!isfinite(mean[i]) || !isfinite(std[i]) || !(std[i] > 0))
            return false;
    return true;
}

static ts_status not_sound(const char *path, ts_error *err)
{
    return ts_fail(err, TS_ERR_CHECKPOINT,
                   "%s: expected motion/mean and motion/std, finite floats [columns], the deviations above 0", path);
}

static ts_status read_row(const float **row, ts_container *c, const char *name, ts_arena *arena, ts_error *err)
{
    ts_tensor t;
    TS_TRY(ts_container_load(c, name, arena, &t, err));
    *row = t.data;
    return TS_OK;
}

ts_status ts_saved_rows(ts_container *c, const char *path, ts_arena *arena, int64_t *columns, const float **mean,
                        const float **std, ts_error *err)
{
    const ts_container_entry *m = ts_container_find(c, "motion/mean"), *s = ts_container_find(c, "motion/std");
    *columns = 0;
    *mean = *std = NULL;
    if (!m && !s)
        return TS_OK;
    if (!m || !s || m->dtype != TS_F32 || s->dtype != TS_F32 || m->shape.rank != 1 ||
        !ts_shape_equal(m->shape, s->shape))
        return not_sound(path, err);
    *columns = m->shape.dim[0];
    TS_TRY(read_row(mean, c, m->name, arena, err));
    TS_TRY(read_row(std, c, s->name, arena, err));
    return is_sound(*columns, *mean, *std) ? TS_OK : not_sound(path, err);
}

ts_status ts_saved_fits(const char *path, ts_shape item, int64_t columns, ts_error *err)
{
    if (item.rank == 2 && item.dim[1] == columns)
        return TS_OK;
    return ts_fail(err, TS_ERR_CHECKPOINT, "%s: items are %s, but its motion has %" PRId64 " columns", path,
                   ts_shape_print(item).text, columns);
}

ts_status ts_weights_hash(const ts_container *container, ts_hash *hash, ts_error *err)
{
    ts_hasher hasher;
    TS_TRY(ts_hasher_init(&hasher, err));
    for (int64_t i = 0; i < ts_container_count(container); i++) {
        const ts_container_entry *entry = ts_container_at(container, i);
        if (strncmp(entry->name, "model/", 6) != 0 && strncmp(entry->name, "state/", 6) != 0)
            continue;
        ts_hasher_add(&hasher, entry->name, strlen(entry->name) + 1);
        ts_hasher_add(&hasher, entry->hash.byte, sizeof entry->hash.byte);
    }
    *hash = ts_hasher_result(&hasher);
    ts_hasher_clear(&hasher);
    return TS_OK;
}
