#include "core/files/hdf5_internal.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

enum { MAX_DEPTH = 32, MAX_ENTRIES = 1 << 20 };

/* ---- the library: one caller at a time, silent, no foreign code, no other files ---- */

static pthread_mutex_t one_caller = PTHREAD_MUTEX_INITIALIZER;

void ts_h5_enter(void)
{
    pthread_mutex_lock(&one_caller);
    H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
    H5PLset_loading_state(0);
    if (H5Lis_registered(H5L_TYPE_EXTERNAL) > 0)
        H5Lunregister(H5L_TYPE_EXTERNAL);
}

void ts_h5_leave(void)
{
    pthread_mutex_unlock(&one_caller);
}

const char *ts_h5_version(void)
{
    static char text[32];
    unsigned major = 0, minor = 0, release = 0;
    ts_h5_enter();
    H5get_libversion(&major, &minor, &release);
    snprintf(text, sizeof text, "%u.%u.%u", major, minor, release);
    ts_h5_leave();
    return text;
}

static herr_t keep_innermost(unsigned n, const H5E_error2_t *frame, void *text)
{
    if (n == 0)
        snprintf(text, 128, " (libhdf5: %s)", frame->desc);
    return 0;
}

/* "path: object: what (libhdf5: why)" */
ts_status ts_h5_fail(const ts_h5 *file, const char *object, const char *what, ts_error *err)
{
    char why[128] = "";
    H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, keep_innermost, why);
    H5Eclear2(H5E_DEFAULT);
    return ts_fail(err, file->code, "%s: %s: %s%s", file->path, object, what, why);
}

const char *ts_h5_rooted(const char *path)
{
    return *path ? path : "/";
}

/* ---- open and close ---- */

ts_h5 *ts_h5_new(const char *path, ts_status code)
{
    ts_h5 *file = ts_calloc(1, sizeof *file);
    if (!file)
        return NULL;
    *file = (ts_h5){.id = -1, .path = ts_strdup(path), .code = code};
    if (!file->path) {
        ts_free(file);
        return NULL;
    }
    return file;
}

static ts_status check_regular(const ts_h5 *file, ts_error *err)
{
    struct stat s;
    if (stat(file->path, &s) != 0)
        return ts_fail(err, file->code, "%s: %s", file->path, strerror(errno));
    if (!S_ISREG(s.st_mode))
        return ts_fail(err, file->code, "%s: not a regular file", file->path);
    if (s.st_size == 0)
        return ts_fail(err, file->code, "%s: the file is empty (0 bytes); an HDF5 file was expected", file->path);
    return TS_OK;
}

static ts_status open_file(ts_h5 *file, ts_error *err)
{
    TS_TRY(check_regular(file, err));
    if (H5Fis_hdf5(file->path) == 0)
        return ts_fail(err, file->code, "%s: not an HDF5 file", file->path);
    hid_t access = H5Pcreate(H5P_FILE_ACCESS);
#if H5_VERSION_GE(1, 10, 7)
    H5Pset_file_locking(access, 0, 1); /* reading needs no lock, and network file systems may have none */
#endif
    file->id = H5Fopen(file->path, H5F_ACC_RDONLY, access);
    H5Pclose(access);
    return file->id < 0 ? ts_h5_fail(file, "/", "the HDF5 file cannot be opened", err) : TS_OK;
}

ts_status ts_h5_open(ts_h5 **out, const char *path, ts_status code, ts_error *err)
{
    *out = NULL;
    ts_h5 *file = ts_h5_new(path, code);
    if (!file)
        return ts_out_of_memory(err, sizeof *file);
    ts_h5_enter();
    ts_status status = open_file(file, err);
    ts_h5_leave();
    if (status == TS_OK)
        *out = file;
    else
        ts_h5_close(file);
    return status;
}

void ts_h5_close(ts_h5 *file)
{
    if (!file)
        return;
    ts_h5_enter();
    if (file->id >= 0)
        H5Fclose(file->id);
    ts_h5_leave();
    ts_free(file->image);
    ts_free(file->path);
    ts_free(file);
}

/* ---- what an object is ---- */

static bool is_text(hid_t object, const char *name, const char *want)
{
    char text[16] = "";
    hid_t attribute = H5Aexists(object, name) > 0 ? H5Aopen(object, name, H5P_DEFAULT) : -1;
    hid_t type = attribute >= 0 ? H5Aget_type(attribute) : -1;
    bool fixed = type >= 0 && H5Tget_class(type) == H5T_STRING && !H5Tis_variable_str(type);
    bool same = fixed && H5Tget_size(type) < sizeof text && H5Aread(attribute, type, text) >= 0 && !strcmp(text, want);
    if (type >= 0)
        H5Tclose(type);
    if (attribute >= 0)
        H5Aclose(attribute);
    return same;
}

static bool dtype_of(hid_t dataset, hid_t type, ts_dtype *dtype)
{
    size_t bytes = H5Tget_size(type);
    switch (H5Tget_class(type)) {
    case H5T_FLOAT:
        *dtype = bytes <= 4 ? TS_F32 : TS_F64;
        return bytes <= 8;
    case H5T_ENUM: /* h5py's bool */
        *dtype = TS_U8;
        return bytes == 1;
    case H5T_INTEGER: {
        bool is_signed = H5Tget_sign(type) == H5T_SGN_2;
        *dtype = bytes == 1 && !is_signed ? TS_U8 : bytes + !is_signed <= 4 ? TS_I32 : TS_I64;
        if (bytes == 2 && !is_signed && is_text(dataset, "dtype", "bf16"))
            *dtype = TS_BF16;
        return bytes <= 8;
    }
    default:
        return false;
    }
}

static bool shape_of(hid_t dataset, ts_shape *shape)
{
    hid_t space = H5Dget_space(dataset);
    int rank = H5Sget_simple_extent_ndims(space);
    bool fits = H5Sget_simple_extent_type(space) != H5S_NULL && rank >= 0 && rank <= TS_MAX_RANK;
    hsize_t dim[TS_MAX_RANK] = {0};
    *shape = (ts_shape){.rank = fits ? rank : 0};
    if (fits)
        H5Sget_simple_extent_dims(space, dim, NULL);
    for (int i = 0; i < shape->rank; i++)
        shape->dim[i] = (int64_t)dim[i];
    H5Sclose(space);
    int64_t count;
    return fits && ts_shape_count_checked(*shape, &count) && count <= INT64_MAX / 8;
}

/* Data that lies in other files is not ours to read. */
static bool stored_inside(hid_t dataset)
{
    hid_t creation = H5Dget_create_plist(dataset);
    bool inside = H5Pget_layout(creation) != H5D_VIRTUAL && H5Pget_external_count(creation) == 0;
    H5Pclose(creation);
    return inside;
}

static void describe_dataset(hid_t dataset, ts_h5_entry *entry)
{
    hid_t type = H5Dget_type(dataset);
    entry->kind = TS_H5_OTHER;
    if (shape_of(dataset, &entry->shape) && stored_inside(dataset)) {
        if (H5Tget_class(type) == H5T_STRING)
            entry->kind = TS_H5_STRINGS;
        else if (dtype_of(dataset, type, &entry->dtype))
            entry->kind = TS_H5_TENSOR;
    }
    H5Tclose(type);
}

static ts_status describe(ts_h5 *file, const char *path, ts_h5_entry *entry, ts_error *err)
{
    hid_t object = H5Oopen(file->id, path, H5P_DEFAULT);
    if (object < 0)
        return ts_h5_fail(file, path, "there is no such object in the file", err);
    H5I_type_t type = H5Iget_type(object);
    *entry = (ts_h5_entry){.path = path, .name = strrchr(path, '/') ? strrchr(path, '/') + 1 : path};
    entry->kind = type == H5I_GROUP ? TS_H5_GROUP : TS_H5_OTHER;
    if (type == H5I_DATASET)
        describe_dataset(object, entry);
    H5Oclose(object);
    return TS_OK;
}

ts_status ts_h5_info(ts_h5 *file, const char *path, ts_arena *arena, ts_h5_entry *entry, ts_error *err)
{
    char *copy = ts_arena_strdup(arena, ts_h5_rooted(path));
    if (!copy)
        return ts_out_of_memory(err, strlen(path) + 1);
    ts_h5_enter();
    ts_status status = describe(file, copy, entry, err);
    ts_h5_leave();
    return status;
}

bool ts_h5_exists(ts_h5 *file, const char *path)
{
    ts_h5_entry entry;
    ts_h5_enter();
    ts_status status = describe(file, ts_h5_rooted(path), &entry, NULL);
    ts_h5_leave();
    return status == TS_OK;
}

/* ---- lists ---- */

typedef struct {
    ts_h5 *file;
    ts_arena *arena;
    const char *group; /* whose links are being visited */
    bool deep;
    int depth;
    ts_h5_entry *entry;
    int64_t count, capacity;
    ts_status status;
    ts_error *err;
} walk;

static void walk_group(walk *w, const char *group);

static ts_status append(walk *w, const char *path)
{
    if (w->count == MAX_ENTRIES)
        return ts_h5_fail(w->file, w->group, "more than 1048576 objects; is a group linked into itself?", w->err);
    if (w->count == w->capacity) {
        int64_t capacity = w->capacity ? 2 * w->capacity : 64;
        ts_h5_entry *entry = ts_realloc(w->entry, (size_t)capacity, sizeof *entry);
        if (!entry)
            return ts_out_of_memory(w->err, (size_t)capacity * sizeof *entry);
        w->entry = entry;
        w->capacity = capacity;
    }
    return describe(w->file, path, &w->entry[w->count++], w->err);
}

static herr_t visit_link(hid_t group, const char *name, const H5L_info_t *link, void *context)
{
    (void)group;
    walk *w = context;
    if (link->type != H5L_TYPE_HARD)
        return 0;
    char *path = ts_arena_format(w->arena, "%s/%s", strcmp(w->group, "/") ? w->group : "", name);
    w->status = path ? append(w, path) : ts_out_of_memory(w->err, strlen(name));
    if (w->status == TS_OK && w->deep && w->entry[w->count - 1].kind == TS_H5_GROUP)
        walk_group(w, path);
    return w->status == TS_OK ? 0 : -1;
}

static void walk_group(walk *w, const char *group)
{
    const char *outer = w->group;
    if (w->depth == MAX_DEPTH) {
        w->status = ts_h5_fail(w->file, group, "groups more than 32 deep; is one linked into itself?", w->err);
        return;
    }
    w->group = group;
    w->depth++;
    hid_t id = H5Gopen2(w->file->id, group, H5P_DEFAULT);
    if (id < 0)
        w->status = ts_h5_fail(w->file, group, "there is no such group in the file", w->err);
    else if (H5Literate(id, H5_INDEX_NAME, H5_ITER_INC, NULL, visit_link, w) < 0 && w->status == TS_OK)
        w->status = ts_h5_fail(w->file, group, "the group cannot be listed", w->err);
    if (id >= 0)
        H5Gclose(id);
    w->depth--;
    w->group = outer;
}

static ts_status list(walk *w, const char *group, ts_h5_entries *entries)
{
    *entries = (ts_h5_entries){0};
    const char *root = ts_arena_strdup(w->arena, ts_h5_rooted(group));
    if (!root)
        return ts_out_of_memory(w->err, strlen(group) + 1);
    ts_h5_enter();
    walk_group(w, root);
    ts_h5_leave();
    if (w->status == TS_OK && w->count) {
        size_t bytes = (size_t)w->count * sizeof *w->entry;
        ts_h5_entry *entry = ts_arena_alloc(w->arena, bytes);
        if (entry)
            *entries = (ts_h5_entries){w->count, memcpy(entry, w->entry, bytes)};
        else
            w->status = ts_out_of_memory(w->err, bytes);
    }
    ts_free(w->entry);
    return w->status;
}

ts_status ts_h5_list(ts_h5 *file, const char *group, ts_arena *arena, ts_h5_entries *entries, ts_error *err)
{
    return list(&(walk){.file = file, .arena = arena, .err = err}, group, entries);
}

ts_status ts_h5_walk(ts_h5 *file, const char *group, ts_arena *arena, ts_h5_entries *entries, ts_error *err)
{
    return list(&(walk){.file = file, .arena = arena, .err = err, .deep = true}, group, entries);
}

/* ---- reading tensors ---- */

hid_t ts_h5_memory_type(ts_dtype dtype)
{
    switch (dtype) {
    case TS_F32:
        return H5T_NATIVE_FLOAT;
    case TS_F64:
        return H5T_NATIVE_DOUBLE;
    case TS_BF16:
        return H5T_NATIVE_UINT16;
    case TS_I32:
        return H5T_NATIVE_INT32;
    case TS_I64:
        return H5T_NATIVE_INT64;
    default:
        return H5T_NATIVE_UINT8;
    }
}

/* deflate packs at most 1032 to 1. */
bool ts_h5_claim_is_credible(hid_t dataset, uint64_t bytes)
{
    return bytes <= (uint64_t)64 << 20 || bytes / 1100 <= H5Dget_storage_size(dataset);
}

ts_status ts_h5_open_dataset(ts_h5 *file, const char *path, ts_h5_kind kind, ts_h5_entry *entry, hid_t *dataset,
                             ts_error *err)
{
    *entry = (ts_h5_entry){0};
    TS_TRY(describe(file, path, entry, err));
    if (entry->kind != kind)
        return ts_h5_fail(file, path,
                          kind == TS_H5_TENSOR ? "not a dataset of numbers that can be read here"
                                               : "not a dataset of strings that can be read here",
                          err);
    *dataset = H5Dopen2(file->id, path, H5P_DEFAULT);
    return *dataset < 0 ? ts_h5_fail(file, path, "the dataset cannot be opened", err) : TS_OK;
}

static ts_status read_new(ts_h5 *file, const char *path, ts_arena *arena, ts_tensor *tensor, ts_error *err)
{
    enum { ALIGN = 64 };
    hid_t dataset = -1;
    ts_h5_entry entry = {0};
    TS_TRY(ts_h5_open_dataset(file, path, TS_H5_TENSOR, &entry, &dataset, err));
    ts_status status = TS_OK;
    ts_tensor t = {.dtype = entry.dtype, .shape = entry.shape};
    size_t bytes = ts_tensor_bytes(&t);
    char *memory = NULL;
    if (!ts_h5_claim_is_credible(dataset, bytes))
        status = ts_h5_fail(file, path, "the shape claims far more than the file holds: damaged?", err);
    else if (!(memory = ts_arena_alloc(arena, bytes + ALIGN)))
        status = ts_out_of_memory(err, bytes);
    else {
        t.data = memory + (ALIGN - (uintptr_t)memory % ALIGN) % ALIGN;
        if (H5Dread(dataset, ts_h5_memory_type(t.dtype), H5S_ALL, H5S_ALL, H5P_DEFAULT, t.data) < 0)
            status = ts_h5_fail(file, path, "the data cannot be read", err);
    }
    H5Dclose(dataset);
    if (status == TS_OK)
        *tensor = t;
    return status;
}

ts_status ts_h5_read(ts_h5 *file, const char *path, ts_arena *arena, ts_tensor *tensor, ts_error *err)
{
    *tensor = (ts_tensor){0};
    ts_h5_enter();
    ts_status status = read_new(file, ts_h5_rooted(path), arena, tensor, err);
    ts_h5_leave();
    return status;
}

static bool rows_fit(ts_shape whole, int64_t first, ts_shape rows)
{
    if (whole.rank == 0 || whole.rank != rows.rank || first < 0 || rows.dim[0] > whole.dim[0] - first)
        return false;
    whole.dim[0] = rows.dim[0];
    return ts_shape_equal(whole, rows);
}

static ts_status read_rows(ts_h5 *file, const char *path, int64_t first, const ts_tensor *tensor, ts_error *err)
{
    hid_t dataset = -1;
    ts_h5_entry entry = {0};
    TS_TRY(ts_h5_open_dataset(file, path, TS_H5_TENSOR, &entry, &dataset, err));
    ts_shape rows = tensor->shape.rank == 0 ? ts_shape_of(1) : tensor->shape;
    ts_shape whole = entry.shape.rank == 0 ? ts_shape_of(1) : entry.shape;
    hsize_t start[TS_MAX_RANK] = {(hsize_t)first}, count[TS_MAX_RANK];
    for (int i = 0; i < rows.rank; i++)
        count[i] = (hsize_t)rows.dim[i];
    hid_t from = H5Dget_space(dataset), to = H5Screate_simple(rows.rank, count, NULL);
    ts_status status = TS_OK;
    if (!rows_fit(whole, first, rows))
        status = ts_fail(err, file->code, "%s: %s: expected shape %s from row %lld on, found %s", file->path, path,
                         ts_shape_print(tensor->shape).text, (long long)first, ts_shape_print(entry.shape).text);
    else if ((entry.dtype == TS_BF16) != (tensor->dtype == TS_BF16))
        status = ts_fail(err, file->code, "%s: %s: expected %s, found %s", file->path, path,
                         ts_dtype_name(tensor->dtype), ts_dtype_name(entry.dtype));
    else if (ts_tensor_bytes(tensor) == 0)
        status = TS_OK;
    else if ((entry.shape.rank && H5Sselect_hyperslab(from, H5S_SELECT_SET, start, NULL, count, NULL) < 0) ||
             H5Dread(dataset, ts_h5_memory_type(tensor->dtype), to, from, H5P_DEFAULT, tensor->data) < 0)
        status = ts_h5_fail(file, path, "the data cannot be read", err);
    H5Sclose(to);
    H5Sclose(from);
    H5Dclose(dataset);
    return status;
}

ts_status ts_h5_read_rows(ts_h5 *file, const char *path, int64_t first, const ts_tensor *tensor, ts_error *err)
{
    ts_h5_enter();
    ts_status status = read_rows(file, ts_h5_rooted(path), first, tensor, err);
    ts_h5_leave();
    return status;
}

ts_status ts_h5_read_into(ts_h5 *file, const char *path, const ts_tensor *tensor, ts_error *err)
{
    ts_arena arena = {0};
    ts_h5_entry entry = {0};
    ts_status status = ts_h5_info(file, path, &arena, &entry, err);
    bool fewer =
        status == TS_OK && entry.shape.rank && tensor->shape.rank && tensor->shape.dim[0] != entry.shape.dim[0];
    if (fewer)
        status = ts_fail(err, file->code, "%s: %s: expected shape %s, found %s", file->path, path,
                         ts_shape_print(tensor->shape).text, ts_shape_print(entry.shape).text);
    ts_arena_clear(&arena);
    return status == TS_OK ? ts_h5_read_rows(file, path, 0, tensor, err) : status;
}
