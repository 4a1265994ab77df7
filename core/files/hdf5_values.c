/* Strings and attributes: small values, read whole. */
#include <string.h>

#include "core/files/hdf5_internal.h"

/* An attribute or a dataset: both hold `count` values of `type`. */
typedef struct {
    hid_t id;
    bool is_attribute;
    hid_t type, space;
    int64_t count;
} holder;

enum { MAX_TEXT_BYTES = 1 << 30 };

static herr_t fetch(const holder *h, hid_t type, void *values)
{
    return h->is_attribute ? H5Aread(h->id, type, values) : H5Dread(h->id, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, values);
}

/* ---- strings ---- */

static char *copy_fixed(ts_arena *arena, const char *text, size_t bytes, H5T_str_t padding)
{
    size_t length = strnlen(text, bytes);
    while (padding == H5T_STR_SPACEPAD && length && text[length - 1] == ' ')
        length--;
    char *copy = ts_arena_alloc(arena, length + 1);
    return copy ? memcpy(copy, text, length) : NULL;
}

static bool read_fixed(const holder *h, ts_arena *arena, const char **text)
{
    size_t bytes = H5Tget_size(h->type);
    char *values = (uint64_t)h->count * bytes <= MAX_TEXT_BYTES ? ts_calloc((size_t)h->count, bytes) : NULL;
    bool ok = values && fetch(h, h->type, values) >= 0;
    for (int64_t i = 0; ok && i < h->count; i++) {
        text[i] = copy_fixed(arena, values + (size_t)i * bytes, bytes, H5Tget_strpad(h->type));
        ok = text[i] != NULL;
    }
    ts_free(values);
    return ok;
}

static bool read_variable(const holder *h, ts_arena *arena, const char **text)
{
    char **values = ts_calloc((size_t)h->count, sizeof *values);
    bool ok = values && fetch(h, h->type, values) >= 0;
    for (int64_t i = 0; ok && i < h->count; i++) {
        text[i] = ts_arena_strdup(arena, values[i] ? values[i] : "");
        ok = text[i] != NULL;
    }
    if (values)
        H5Dvlen_reclaim(h->type, h->space, H5P_DEFAULT, values);
    ts_free(values);
    return ok;
}

/* NULL where they cannot be read. */
static const char **read_texts(const holder *h, ts_arena *arena)
{
    if (h->count < 0 || h->count > MAX_TEXT_BYTES)
        return NULL;
    const char **text = ts_arena_alloc(arena, (size_t)h->count * sizeof *text);
    if (!text)
        return NULL;
    bool ok = H5Tis_variable_str(h->type) ? read_variable(h, arena, text) : read_fixed(h, arena, text);
    return ok ? text : NULL;
}

static ts_status read_strings(ts_h5 *file, const char *path, ts_arena *arena, ts_h5_strings *strings, ts_error *err)
{
    hid_t dataset = -1;
    ts_h5_entry entry = {0};
    TS_TRY(ts_h5_open_dataset(file, path, TS_H5_STRINGS, &entry, &dataset, err));
    holder h = {dataset, false, H5Dget_type(dataset), H5Dget_space(dataset), ts_shape_count(entry.shape)};
    uint64_t bytes = (uint64_t)h.count * H5Tget_size(h.type);
    const char *const *text = ts_h5_claim_is_credible(dataset, bytes) ? read_texts(&h, arena) : NULL;
    ts_status status = text ? TS_OK : ts_h5_fail(file, path, "the strings cannot be read", err);
    if (text)
        *strings = (ts_h5_strings){h.count, text};
    H5Sclose(h.space);
    H5Tclose(h.type);
    H5Dclose(dataset);
    return status;
}

ts_status ts_h5_read_strings(ts_h5 *file, const char *path, ts_arena *arena, ts_h5_strings *strings, ts_error *err)
{
    *strings = (ts_h5_strings){0};
    ts_h5_enter();
    ts_status status = read_strings(file, ts_h5_rooted(path), arena, strings, err);
    ts_h5_leave();
    return status;
}

/* ---- attributes ---- */

static bool read_ints(const holder *h, ts_arena *arena, ts_h5_attribute *a)
{
    int64_t *ints = ts_arena_alloc(arena, (size_t)h->count * sizeof *ints);
    double *reals = ts_arena_alloc(arena, (size_t)h->count * sizeof *reals);
    if (!ints || !reals || fetch(h, H5T_NATIVE_INT64, ints) < 0)
        return false;
    for (int64_t i = 0; i < h->count; i++)
        reals[i] = (double)ints[i];
    a->kind = TS_H5_INT;
    a->ints = ints;
    a->reals = reals;
    return true;
}

static bool read_reals(const holder *h, ts_arena *arena, ts_h5_attribute *a)
{
    double *reals = ts_arena_alloc(arena, (size_t)h->count * sizeof *reals);
    if (!reals || fetch(h, H5T_NATIVE_DOUBLE, reals) < 0)
        return false;
    a->kind = TS_H5_REAL;
    a->reals = reals;
    return true;
}

static bool read_values(const holder *h, ts_arena *arena, ts_h5_attribute *a)
{
    a->kind = TS_H5_UNKNOWN;
    switch (H5Tget_class(h->type)) {
    case H5T_INTEGER:
    case H5T_ENUM:
        return read_ints(h, arena, a);
    case H5T_FLOAT:
        return read_reals(h, arena, a);
    case H5T_STRING:
        a->texts = read_texts(h, arena);
        a->kind = TS_H5_TEXT;
        return a->texts != NULL;
    default:
        return true;
    }
}

static bool read_attribute(hid_t id, ts_arena *arena, ts_h5_attribute *a)
{
    holder h = {id, true, H5Aget_type(id), H5Aget_space(id), 0};
    a->rank = H5Sget_simple_extent_ndims(h.space);
    h.count = a->count = H5Sget_simple_extent_npoints(h.space);
    ssize_t length = H5Aget_name(id, 0, NULL);
    char *name = length < 0 ? NULL : ts_arena_alloc(arena, (size_t)length + 1);
    bool ok = name && H5Aget_name(id, (size_t)length + 1, name) >= 0 && h.count >= 0 && h.count <= MAX_TEXT_BYTES &&
              read_values(&h, arena, a);
    a->name = name;
    H5Sclose(h.space);
    H5Tclose(h.type);
    return ok;
}

static ts_status read_attributes(ts_h5 *file, const char *path, ts_arena *arena, ts_h5_attributes *out, ts_error *err)
{
    hid_t object = H5Oopen(file->id, path, H5P_DEFAULT);
    H5O_info_t info;
    if (object < 0 || H5Oget_info(object, &info) < 0)
        return ts_h5_fail(file, path, "there is no such object in the file", err);
    ts_status status = TS_OK;
    ts_h5_attribute *attribute = ts_arena_alloc(arena, (size_t)info.num_attrs * sizeof *attribute);
    if (!attribute)
        status = ts_out_of_memory(err, (size_t)info.num_attrs * sizeof *attribute);
    for (hsize_t i = 0; attribute && status == TS_OK && i < info.num_attrs; i++) {
        hid_t id = H5Aopen_by_idx(object, ".", H5_INDEX_NAME, H5_ITER_INC, i, H5P_DEFAULT, H5P_DEFAULT);
        if (id < 0 || !read_attribute(id, arena, &attribute[i]))
            status = ts_h5_fail(file, path, "its attributes cannot be read", err);
        if (id >= 0)
            H5Aclose(id);
    }
    if (status == TS_OK)
        *out = (ts_h5_attributes){(int64_t)info.num_attrs, attribute};
    H5Oclose(object);
    return status;
}

ts_status ts_h5_read_attributes(ts_h5 *file, const char *path, ts_arena *arena, ts_h5_attributes *attributes,
                                ts_error *err)
{
    *attributes = (ts_h5_attributes){0};
    ts_h5_enter();
    ts_status status = read_attributes(file, ts_h5_rooted(path), arena, attributes, err);
    ts_h5_leave();
    return status;
}

const ts_h5_attribute *ts_h5_attribute_find(const ts_h5_attributes *attributes, const char *name)
{
    for (int64_t i = 0; i < attributes->count; i++)
        if (strcmp(attributes->attribute[i].name, name) == 0)
            return &attributes->attribute[i];
    return NULL;
}

int64_t ts_h5_attribute_int(const ts_h5_attributes *attributes, const char *name, int64_t fallback)
{
    const ts_h5_attribute *a = ts_h5_attribute_find(attributes, name);
    return a && a->kind == TS_H5_INT && a->count == 1 ? a->ints[0] : fallback;
}

double ts_h5_attribute_real(const ts_h5_attributes *attributes, const char *name, double fallback)
{
    const ts_h5_attribute *a = ts_h5_attribute_find(attributes, name);
    return a && a->reals && a->count == 1 ? a->reals[0] : fallback;
}

const char *ts_h5_attribute_text(const ts_h5_attributes *attributes, const char *name, const char *fallback)
{
    const ts_h5_attribute *a = ts_h5_attribute_find(attributes, name);
    return a && a->kind == TS_H5_TEXT && a->count == 1 ? a->texts[0] : fallback;
}
