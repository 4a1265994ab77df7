#define _GNU_SOURCE
#include "core/files/safetensors.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/files/half.h"
#include "core/files/replace.h"
#include "core/text.h"

/* Every dtype of the format. A half-precision number is read as f32. */
static const struct dtype {
    const char *name;
    int bytes;
    bool readable;
    ts_dtype type;
} dtypes[] = {
    {"F64", 8, true, TS_F64}, {"F32", 4, true, TS_F32},  {"F16", 2, true, TS_F32},     {"BF16", 2, true, TS_BF16},
    {"I64", 8, true, TS_I64}, {"I32", 4, true, TS_I32},  {"U8", 1, true, TS_U8},       {"I16", 2, false, TS_U8},
    {"I8", 1, false, TS_U8},  {"U16", 2, false, TS_U8},  {"U32", 4, false, TS_U8},     {"U64", 8, false, TS_U8},
    {"C64", 8, false, TS_U8}, {"BOOL", 1, false, TS_U8}, {"F8_E4M3", 1, false, TS_U8}, {"F8_E5M2", 1, false, TS_U8},
};

struct ts_safetensors {
    ts_safetensors_entry *entry; /* [count], by their place in the data */
    int64_t count;
    json_t *header;
    size_t header_bytes;
    const char **key; /* [texts] of __metadata__, sorted */
    int64_t texts;
    ts_arena arena;
    void *map; /* of the whole file; NULL: the bytes are the caller's */
    size_t map_bytes;
    ts_status code;
    const char *path;
};

/* ---- the header ---- */

static ts_status damaged(const ts_safetensors *f, ts_error *err, const char *format, ...) TS_PRINTF(3, 4);
static ts_status damaged(const ts_safetensors *f, ts_error *err, const char *format, ...)
{
    char text[256];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    ts_fail(err, f->code, "%s: no sound safetensors file: %s", f->path, text);
    return f->code;
}

static const struct dtype *dtype_named(const char *name)
{
    for (size_t i = 0; name && i < sizeof dtypes / sizeof *dtypes; i++)
        if (strcmp(dtypes[i].name, name) == 0)
            return &dtypes[i];
    return NULL;
}

static ts_status read_shape(const ts_safetensors *f, const char *name, const json_t *list, ts_shape *shape,
                            ts_error *err)
{
    if (!json_is_array(list))
        return damaged(f, err, "tensor '%s' has no shape", TS_SHOWN(name));
    if (json_array_size(list) > TS_MAX_RANK)
        return damaged(f, err, "tensor '%s' has %zu dimensions; at most %d can be read", TS_SHOWN(name),
                       json_array_size(list), TS_MAX_RANK);
    *shape = (ts_shape){.rank = (int)json_array_size(list)};
    for (int i = 0; i < shape->rank; i++) {
        const json_t *dim = json_array_get(list, (size_t)i);
        if (!json_is_integer(dim) || json_integer_value(dim) < 0)
            return damaged(f, err, "tensor '%s': a dimension that is no number from 0 on", TS_SHOWN(name));
        shape->dim[i] = json_integer_value(dim);
    }
    return TS_OK;
}

static bool read_range(const json_t *list, int64_t *begin, int64_t *end)
{
    const json_t *first = json_array_get(list, 0), *last = json_array_get(list, 1);
    if (json_array_size(list) != 2 || !json_is_integer(first) || !json_is_integer(last))
        return false;
    *begin = json_integer_value(first);
    *end = json_integer_value(last);
    return 0 <= *begin && *begin <= *end;
}

/* One tensor; its data is still the offset. */
static ts_status read_entry(const ts_safetensors *f, const char *name, const json_t *value, const unsigned char *data,
                            size_t data_bytes, ts_safetensors_entry *e, ts_error *err)
{
    int64_t begin, end, values, bytes;
    const struct dtype *type = dtype_named(json_string_value(json_object_get(value, "dtype")));
    if (!json_is_object(value) || json_object_size(value) != 3 || !json_object_get(value, "data_offsets"))
        return damaged(f, err, "'%s' is not described by dtype, shape and data_offsets alone", TS_SHOWN(name));
    if (!type)
        return damaged(f, err, "tensor '%s' has a dtype that the format does not know", TS_SHOWN(name));
    TS_TRY(read_shape(f, name, json_object_get(value, "shape"), &e->shape, err));
    if (!read_range(json_object_get(value, "data_offsets"), &begin, &end) || (uint64_t)end > data_bytes)
        return damaged(f, err, "tensor '%s' lies outside of the %zu bytes of data", TS_SHOWN(name), data_bytes);
    if (!ts_shape_count_checked(e->shape, &values) || __builtin_mul_overflow(values, type->bytes, &bytes))
        return damaged(f, err, "tensor '%s': its size overflows", TS_SHOWN(name));
    if (bytes != end - begin)
        return damaged(f, err, "tensor '%s' is %s %s, %" PRId64 " bytes, and has %" PRId64, TS_SHOWN(name), type->name,
                       ts_shape_print(e->shape).text, bytes, end - begin);
    e->name = name;
    e->dtype = type->name;
    e->readable = type->readable;
    e->type = type->type;
    e->data = data + begin;
    e->bytes = (size_t)bytes;
    return TS_OK;
}

/* Empty tensors before others at the same place. */
static int by_place(const void *a, const void *b)
{
    const ts_safetensors_entry *x = a, *y = b;
    if (x->data != y->data)
        return x->data < y->data ? -1 : 1;
    if (x->bytes != y->bytes)
        return x->bytes < y->bytes ? -1 : 1;
    return strcmp(x->name, y->name);
}

/* No overlap, no gap, nothing behind: bytes that belong to no tensor could be another file. */
static ts_status check_cover(const ts_safetensors *f, const unsigned char *data, size_t data_bytes, ts_error *err)
{
    const unsigned char *at = data;
    for (int64_t i = 0; i < f->count; i++) {
        const ts_safetensors_entry *e = &f->entry[i];
        if (e->data != at)
            return damaged(f, err, "tensor '%s' begins at byte %zu of the data, where %zu was expected",
                           TS_SHOWN(e->name), (size_t)(e->data - data), (size_t)(at - data));
        at += e->bytes;
    }
    if (at != data + data_bytes)
        return damaged(f, err, "the tensors have %zu bytes, the file has %zu for them", (size_t)(at - data),
                       data_bytes);
    return TS_OK;
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static ts_status read_metadata(ts_safetensors *f, json_t *metadata, ts_error *err)
{
    const char *key;
    json_t *value;
    if (!json_is_object(metadata))
        return damaged(f, err, "__metadata__ is no object of texts");
    size_t bytes = json_object_size(metadata) * sizeof *f->key;
    f->key = ts_arena_alloc(&f->arena, bytes + 1);
    if (!f->key)
        return ts_out_of_memory(err, bytes);
    json_object_foreach(metadata, key, value)
    {
        if (!json_is_string(value))
            return damaged(f, err, "__metadata__: '%s' is no text", TS_SHOWN(key));
        f->key[f->texts++] = key;
    }
    qsort(f->key, (size_t)f->texts, sizeof *f->key, by_text);
    return TS_OK;
}

static ts_status read_entries(ts_safetensors *f, const unsigned char *data, size_t data_bytes, ts_error *err)
{
    const char *name;
    json_t *value;
    size_t bytes = json_object_size(f->header) * sizeof *f->entry;
    f->entry = ts_arena_alloc(&f->arena, bytes + 1);
    if (!f->entry)
        return ts_out_of_memory(err, bytes);
    json_object_foreach(f->header, name, value)
    {
        if (strcmp(name, "__metadata__") == 0)
            TS_TRY(read_metadata(f, value, err));
        else
            TS_TRY(read_entry(f, name, value, data, data_bytes, &f->entry[f->count++], err));
    }
    qsort(f->entry, (size_t)f->count, sizeof *f->entry, by_place);
    return check_cover(f, data, data_bytes, err);
}

static ts_status read_all(ts_safetensors *f, const unsigned char *bytes, size_t count, ts_error *err)
{
    uint64_t length = 0;
    json_error_t why;
    if (count < 10)
        return damaged(f, err, "%zu bytes, too short for a header", count);
    for (int i = 7; i >= 0; i--)
        length = length << 8 | bytes[i];
    if (length > TS_SAFETENSORS_MAX_HEADER || length > count - 8)
        return damaged(f, err, "a header of %" PRIu64 " bytes, where %zu are in the file and %d are the most", length,
                       count - 8, TS_SAFETENSORS_MAX_HEADER);
    if (bytes[8] != '{')
        return damaged(f, err, "the header does not begin with '{'");
    f->header_bytes = (size_t)length;
    f->header = json_loadb((const char *)bytes + 8, f->header_bytes, JSON_REJECT_DUPLICATES, &why);
    if (!f->header)
        return damaged(f, err, "the header is no JSON object, byte %d: %s", why.position, TS_SHOWN(why.text));
    return read_entries(f, bytes + 8 + length, count - 8 - (size_t)length, err);
}

/* ---- opening ---- */

/* NULL: out of memory. */
static ts_safetensors *begin(const char *path, ts_status code)
{
    ts_safetensors *f = ts_calloc(1, sizeof *f);
    if (!f)
        return NULL;
    f->code = code;
    f->path = ts_arena_format(&f->arena, "%s", path);
    if (f->path)
        return f;
    ts_safetensors_close(f);
    return NULL;
}

static ts_status end(ts_safetensors **file, ts_safetensors *f, ts_status status)
{
    if (status != TS_OK)
        ts_safetensors_close(f);
    *file = status == TS_OK ? f : NULL;
    return status;
}

ts_status ts_safetensors_parse(ts_safetensors **file, const void *bytes, size_t count, const char *path, ts_status code,
                               ts_error *err)
{
    ts_safetensors *f = *file = begin(path, code);
    return f ? end(file, f, read_all(f, bytes, count, err)) : ts_out_of_memory(err, sizeof *f);
}

static ts_status map_file(ts_safetensors *f, ts_error *err)
{
    struct stat st;
    int fd = open(f->path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) != 0) {
        ts_fail(err, f->code, "%s: cannot be read: %s", f->path, strerror(errno));
        if (fd >= 0)
            close(fd);
        return f->code;
    }
    bool regular = S_ISREG(st.st_mode) && st.st_size > 0;
    void *map = regular ? mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0) : MAP_FAILED;
    int why = errno;
    close(fd);
    if (!regular)
        return damaged(f, err, S_ISREG(st.st_mode) ? "the file is empty" : "it is no file");
    if (map == MAP_FAILED)
        return damaged(f, err, "it cannot be mapped: %s", strerror(why));
    f->map = map;
    f->map_bytes = (size_t)st.st_size;
    return TS_OK;
}

ts_status ts_safetensors_open(ts_safetensors **file, const char *path, ts_status code, ts_error *err)
{
    ts_safetensors *f = *file = begin(path, code);
    if (!f)
        return ts_out_of_memory(err, sizeof *f);
    ts_status status = map_file(f, err);
    if (status == TS_OK)
        status = read_all(f, f->map, f->map_bytes, err);
    return end(file, f, status);
}

void ts_safetensors_close(ts_safetensors *f)
{
    if (!f)
        return;
    if (f->map)
        munmap(f->map, f->map_bytes);
    json_decref(f->header);
    ts_arena_clear(&f->arena);
    ts_free(f);
}

bool ts_safetensors_is_one(const char *path)
{
    unsigned char first[9] = {0};
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    bool is = fd >= 0 && read(fd, first, sizeof first) == (ssize_t)sizeof first && first[8] == '{' && !first[5] &&
              !first[6] && !first[7];
    if (fd >= 0)
        close(fd);
    return is;
}

/* ---- looking ---- */

int64_t ts_safetensors_count(const ts_safetensors *f)
{
    return f->count;
}

const ts_safetensors_entry *ts_safetensors_at(const ts_safetensors *f, int64_t i)
{
    return &f->entry[i];
}

const ts_safetensors_entry *ts_safetensors_find(const ts_safetensors *f, const char *name)
{
    for (int64_t i = 0; i < f->count; i++)
        if (strcmp(f->entry[i].name, name) == 0)
            return &f->entry[i];
    return NULL;
}

size_t ts_safetensors_header_bytes(const ts_safetensors *f)
{
    return f->header_bytes;
}

bool ts_safetensors_metadata(const ts_safetensors *f, int64_t i, const char **key, const char **text)
{
    if (i < 0 || i >= f->texts)
        return false;
    *key = f->key[i];
    *text = json_string_value(json_object_get(json_object_get(f->header, "__metadata__"), *key));
    return true;
}

ts_status ts_safetensors_load(const ts_safetensors *f, const ts_safetensors_entry *e, ts_arena *arena,
                              ts_tensor *tensor, ts_error *err)
{
    if (!e->readable) {
        ts_fail(err, f->code, "%s: tensor '%s' is %s; expected F64, F32, F16, BF16, I64, I32 or U8", f->path,
                TS_SHOWN(e->name), e->dtype);
        return f->code;
    }
    *tensor = (ts_tensor){.dtype = e->type, .shape = e->shape};
    size_t bytes = ts_tensor_bytes(tensor);
    tensor->data = ts_arena_alloc(arena, bytes + 1);
    if (!tensor->data)
        return ts_out_of_memory(err, bytes);
    if (strcmp(e->dtype, "F16") != 0) {
        memcpy(tensor->data, e->data, e->bytes);
        return TS_OK;
    }
    for (size_t i = 0; i < e->bytes / 2; i++)
        ((float *)tensor->data)[i] = ts_f32_from_f16((uint16_t)(e->data[2 * i] | e->data[2 * i + 1] << 8));
    return TS_OK;
}

/* ---- writing ---- */

static const char *name_of_dtype(ts_dtype type)
{
    for (size_t i = 0; i < sizeof dtypes / sizeof *dtypes; i++)
        if (dtypes[i].readable && dtypes[i].type == type && (size_t)dtypes[i].bytes == ts_dtype_bytes(type))
            return dtypes[i].name;
    return NULL;
}

static int by_width_and_name(const void *a, const void *b)
{
    const ts_named_tensor *const *x = a, *const *y = b;
    size_t m = ts_dtype_bytes((*x)->tensor.dtype), n = ts_dtype_bytes((*y)->tensor.dtype);
    return m != n ? (m > n ? -1 : 1) : strcmp((*x)->name, (*y)->name);
}

/* The header's JSON, to be freed with free(); NULL: out of memory, or a name twice. */
static char *header_of(const ts_named_tensor *const *order, int64_t count, const char *const *metadata)
{
    json_t *header = json_object(), *texts = json_object();
    bool whole = header && texts;
    json_int_t at = 0;
    for (; whole && metadata && metadata[0]; metadata += 2)
        whole = json_object_set_new(texts, metadata[0], json_string(metadata[1])) == 0;
    if (whole && json_object_size(texts))
        whole = json_object_set(header, "__metadata__", texts) == 0;
    for (int64_t i = 0; whole && i < count; i++) {
        if (json_object_get(header, order[i]->name)) {
            whole = false;
            break;
        }
        const ts_tensor *t = &order[i]->tensor;
        json_int_t bytes = (json_int_t)ts_tensor_bytes(t);
        json_t *shape = json_array();
        for (int k = 0; k < t->shape.rank; k++)
            json_array_append_new(shape, json_integer(t->shape.dim[k]));
        json_t *entry = json_pack("{ss so s[II]}", "dtype", name_of_dtype(t->dtype), "shape", shape, "data_offsets", at,
                                  at + bytes);
        whole = json_object_set_new(header, order[i]->name, entry) == 0;
        at += bytes;
    }
    char *text = whole ? json_dumps(header, JSON_COMPACT) : NULL;
    json_decref(texts);
    json_decref(header);
    return text;
}

static ts_status write_parts(const char *path, const char *header, const ts_named_tensor *const *order, int64_t count,
                             ts_error *err)
{
    size_t used = strlen(header), padded = (used + 7) / 8 * 8;
    unsigned char length[8];
    ts_replace r;
    for (int i = 0; i < 8; i++)
        length[i] = (unsigned char)((uint64_t)padded >> (8 * i));
    TS_TRY(ts_replace_begin(&r, path, TS_ERR_DATA, err));
    ts_status status = ts_replace_write(&r, length, sizeof length, err);
    if (status == TS_OK)
        status = ts_replace_write(&r, header, used, err);
    if (status == TS_OK)
        status = ts_replace_write(&r, "       ", padded - used, err);
    for (int64_t i = 0; status == TS_OK && i < count; i++)
        status = ts_replace_write(&r, order[i]->tensor.data, ts_tensor_bytes(&order[i]->tensor), err);
    if (status == TS_OK)
        status = ts_replace_commit(&r, TS_REPLACE_DROP, err);
    ts_replace_end(&r);
    return status;
}

ts_status ts_safetensors_write(const char *path, const ts_named_tensor *tensors, int64_t count,
                               const char *const *metadata, ts_error *err)
{
    size_t bytes = (size_t)count * sizeof(ts_named_tensor *);
    const ts_named_tensor **order = ts_alloc(bytes + 1);
    if (!order)
        return ts_out_of_memory(err, bytes);
    for (int64_t i = 0; i < count; i++)
        order[i] = &tensors[i];
    qsort((void *)order, (size_t)count, sizeof *order, by_width_and_name);
    char *header = header_of(order, count, metadata);
    ts_status status = header ? write_parts(path, header, order, count, err)
                              : ts_fail(err, TS_ERR_RUNTIME, "%s: a name twice, or out of memory", path);
    free(header);
    ts_free((void *)order);
    return status;
}
