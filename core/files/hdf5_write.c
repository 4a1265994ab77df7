/* Writing. The file grows in memory (libhdf5's core driver, fed by our allocator) and reaches the disk in one piece, by
 * calls of ours: after a failed write libhdf5 cannot close a file and complains until the process ends. */
#include <stdio.h>
#include <string.h>

#include "core/files/hdf5_internal.h"
#include "core/files/replace.h"

enum { CHUNK_BYTES = 1 << 20, GROWTH_BYTES = 1 << 20 };

/* ---- the file in memory ---- */

static void *image_realloc(void *old, size_t bytes, H5FD_file_image_op_t op, void *context)
{
    (void)op;
    ts_h5 *file = context;
    void *image = ts_realloc(old, bytes, 1);
    if (image) {
        file->image = image;
        file->image_capacity_bytes = bytes;
    }
    return image;
}

static void *image_malloc(size_t bytes, H5FD_file_image_op_t op, void *context)
{
    return image_realloc(NULL, bytes, op, context);
}

static void *image_copy(void *to, const void *from, size_t bytes, H5FD_file_image_op_t op, void *context)
{
    (void)op;
    (void)context;
    return memcpy(to, from, bytes);
}

/* Closing the file hands its bytes to us. */
static herr_t image_keep(void *image, H5FD_file_image_op_t op, void *context)
{
    (void)image;
    (void)op;
    (void)context;
    return 0;
}

static void *context_copy(void *context)
{
    return context;
}

static herr_t context_free(void *context)
{
    (void)context;
    return 0;
}

static hid_t memory_access(ts_h5 *file)
{
    H5FD_file_image_callbacks_t callbacks = {
        .image_malloc = image_malloc,
        .image_memcpy = image_copy,
        .image_realloc = image_realloc,
        .image_free = image_keep,
        .udata_copy = context_copy,
        .udata_free = context_free,
        .udata = file,
    };
    hid_t access = H5Pcreate(H5P_FILE_ACCESS);
    H5Pset_fapl_core(access, GROWTH_BYTES, 0);
    H5Pset_libver_bounds(access, H5F_LIBVER_V110, H5F_LIBVER_V110);
    H5Pset_file_image_callbacks(access, &callbacks);
    return access;
}

/* Without times the same content makes the same bytes. */
static hid_t timeless(hid_t class)
{
    hid_t creation = H5Pcreate(class);
    H5Pset_obj_track_times(creation, 0);
    return creation;
}

ts_status ts_h5_create(ts_h5 **out, const char *path, size_t user_block_bytes, ts_status code, ts_error *err)
{
    *out = NULL;
    ts_h5 *file = ts_h5_new(path, code);
    if (!file)
        return ts_out_of_memory(err, sizeof *file);
    file->user_block_bytes = user_block_bytes;
    char name[32]; /* the core driver tells its files apart by name */
    snprintf(name, sizeof name, "%p", (void *)file);
    ts_h5_enter();
    hid_t access = memory_access(file), creation = timeless(H5P_FILE_CREATE);
    H5Pset_userblock(creation, user_block_bytes);
    file->id = H5Fcreate(name, H5F_ACC_TRUNC, creation, access);
    ts_status status = file->id < 0 ? ts_h5_fail(file, "/", "the file cannot be made", err) : TS_OK;
    H5Pclose(creation);
    H5Pclose(access);
    ts_h5_leave();
    if (status == TS_OK)
        *out = file;
    else
        ts_h5_close(file);
    return status;
}

static ts_status finish(ts_h5 *file, ts_error *err)
{
    ssize_t bytes = H5Fflush(file->id, H5F_SCOPE_LOCAL) < 0 ? -1 : H5Fget_file_image(file->id, NULL, 0);
    if (bytes < 0 || H5Fclose(file->id) < 0)
        return ts_h5_fail(file, "/", "the file cannot be completed", err);
    file->id = -1;
    file->image_bytes = (size_t)bytes + file->user_block_bytes; /* libhdf5 counts from where its part begins */
    if (!TS_ASSERT(file->image_bytes <= file->image_capacity_bytes))
        return ts_fail(err, TS_ERR_RUNTIME, "%s: internal error: the file image is short", file->path);
    return TS_OK;
}

ts_status ts_h5_finish(ts_h5 *file, void **image, size_t *bytes, ts_error *err)
{
    *image = NULL;
    ts_h5_enter();
    ts_status status = finish(file, err);
    ts_h5_leave();
    TS_TRY(status);
    *image = file->image;
    *bytes = file->image_bytes;
    file->image = NULL;
    return TS_OK;
}

ts_status ts_h5_save(ts_h5 *file, ts_error *err)
{
    void *image;
    size_t bytes;
    TS_TRY(ts_h5_finish(file, &image, &bytes, err));
    ts_status status = ts_replace_file(file->path, image, bytes, TS_REPLACE_DROP, file->code, err);
    ts_free(image);
    return status;
}

/* ---- what goes into it ---- */

/* Makes the groups above the last part of `path`. */
static ts_status make_groups(ts_h5 *file, const char *path, ts_error *err)
{
    ts_status status = TS_OK;
    char *prefix = ts_strdup(path);
    if (!prefix)
        return ts_out_of_memory(err, strlen(path) + 1);
    hid_t creation = timeless(H5P_GROUP_CREATE);
    for (char *slash = strchr(prefix + 1, '/'); slash && status == TS_OK; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        if (H5Lexists(file->id, prefix, H5P_DEFAULT) <= 0) {
            hid_t group = H5Gcreate2(file->id, prefix, H5P_DEFAULT, creation, H5P_DEFAULT);
            if (group < 0)
                status = ts_h5_fail(file, prefix, "the group cannot be made", err);
            else
                H5Gclose(group);
        }
        *slash = '/';
    }
    H5Pclose(creation);
    ts_free(prefix);
    return status;
}

static ts_status check_name(ts_h5 *file, const char *path, ts_error *err)
{
    const char *part = path + (*path == '/');
    for (;;) {
        size_t n = strcspn(part, "/");
        if (n == 0 || (n <= 2 && strncmp(part, "..", n) == 0))
            return ts_fail(err, file->code, "%s: \"%s\" cannot name a dataset: it has an empty part, \".\" or \"..\"",
                           file->path, path);
        if (!part[n])
            break;
        part += n + 1;
    }
    return TS_OK;
}

/* Chunks of at most 1 MiB, whole in the last axes. */
static void chunk_of(int rank, const hsize_t *dim, size_t item_bytes, hsize_t *chunk)
{
    hsize_t room = item_bytes && item_bytes < CHUNK_BYTES ? CHUNK_BYTES / item_bytes : 1; /* elements */
    for (int i = rank - 1; i >= 0; i--) {
        chunk[i] = dim[i] < room ? dim[i] : room;
        if (chunk[i] == 0)
            chunk[i] = 1;
        room = room / chunk[i] ? room / chunk[i] : 1;
    }
}

/* A new chunked dataset with Fletcher-32, filled with `data` of `memory`. Returns its id, or a negative number. */
static hid_t write_dataset(ts_h5 *file, const char *path, hid_t type, hid_t memory, ts_shape shape, const void *data)
{
    hsize_t dim[TS_MAX_RANK] = {1}, limit[TS_MAX_RANK] = {1}, chunk[TS_MAX_RANK];
    int rank = shape.rank ? shape.rank : 1;
    for (int i = 0; i < shape.rank; i++) {
        dim[i] = (hsize_t)shape.dim[i];
        limit[i] = dim[i] ? dim[i] : 1; /* a chunk has at least one element and at most the limit */
    }
    chunk_of(rank, dim, H5Tget_size(type), chunk);
    hid_t space = H5Screate_simple(rank, dim, limit), creation = timeless(H5P_DATASET_CREATE);
    H5Pset_chunk(creation, rank, chunk);
    H5Pset_fletcher32(creation);
    hid_t dataset = H5Dcreate2(file->id, path, type, space, H5P_DEFAULT, creation, H5P_DEFAULT);
    bool failed =
        dataset >= 0 && ts_shape_count(shape) && H5Dwrite(dataset, memory, H5S_ALL, H5S_ALL, H5P_DEFAULT, data) < 0;
    H5Pclose(creation);
    H5Sclose(space);
    if (!failed)
        return dataset;
    H5Dclose(dataset);
    return -1;
}

static hid_t file_type(ts_dtype dtype)
{
    switch (dtype) {
    case TS_F32:
        return H5T_IEEE_F32LE;
    case TS_F64:
        return H5T_IEEE_F64LE;
    case TS_BF16:
        return H5T_STD_U16LE;
    case TS_I32:
        return H5T_STD_I32LE;
    case TS_I64:
        return H5T_STD_I64LE;
    default:
        return H5T_STD_U8LE;
    }
}

static hid_t text_type(size_t bytes)
{
    hid_t type = H5Tcopy(H5T_C_S1);
    H5Tset_size(type, bytes);
    H5Tset_cset(type, H5T_CSET_UTF8);
    return type;
}

static bool write_text(hid_t object, const char *name, const char *text)
{
    hid_t type = text_type(strlen(text) + 1), space = H5Screate(H5S_SCALAR);
    hid_t attribute = H5Acreate2(object, name, type, space, H5P_DEFAULT, H5P_DEFAULT);
    bool ok = attribute >= 0 && H5Awrite(attribute, type, text) >= 0;
    if (attribute >= 0)
        H5Aclose(attribute);
    H5Sclose(space);
    H5Tclose(type);
    return ok;
}

static ts_status write_tensor(ts_h5 *file, const ts_named_tensor *t, ts_error *err)
{
    TS_TRY(check_name(file, t->name, err));
    TS_TRY(make_groups(file, t->name, err));
    ts_dtype dtype = t->tensor.dtype;
    hid_t dataset =
        write_dataset(file, t->name, file_type(dtype), ts_h5_memory_type(dtype), t->tensor.shape, t->tensor.data);
    if (dataset < 0)
        return ts_h5_fail(file, t->name, "the dataset cannot be written", err);
    bool ok = dtype != TS_BF16 || write_text(dataset, "dtype", "bf16");
    H5Dclose(dataset);
    return ok ? TS_OK : ts_h5_fail(file, t->name, "the attribute dtype cannot be written", err);
}

ts_status ts_h5_write(ts_h5 *file, const ts_named_tensor *tensor, ts_error *err)
{
    ts_h5_enter();
    ts_status status = write_tensor(file, tensor, err);
    ts_h5_leave();
    return status;
}

static ts_status write_strings(ts_h5 *file, const char *path, const char *const *text, int64_t count, ts_error *err)
{
    size_t longest = 0;
    for (int64_t i = 0; i < count; i++)
        longest = strlen(text[i]) > longest ? strlen(text[i]) : longest;
    char *table = ts_calloc((size_t)count, longest + 1);
    if (!table)
        return ts_out_of_memory(err, (size_t)count * (longest + 1));
    for (int64_t i = 0; i < count; i++)
        memcpy(table + (size_t)i * (longest + 1), text[i], strlen(text[i]));
    hid_t type = text_type(longest + 1);
    hid_t dataset = write_dataset(file, path, type, type, ts_shape_of(count), table);
    ts_status status = dataset < 0 ? ts_h5_fail(file, path, "the strings cannot be written", err) : TS_OK;
    if (dataset >= 0)
        H5Dclose(dataset);
    H5Tclose(type);
    ts_free(table);
    return status;
}

ts_status ts_h5_write_strings(ts_h5 *file, const char *path, const char *const *text, int64_t count, ts_error *err)
{
    ts_h5_enter();
    ts_status status = check_name(file, path, err);
    if (status == TS_OK)
        status = make_groups(file, path, err);
    if (status == TS_OK)
        status = write_strings(file, path, text, count, err);
    ts_h5_leave();
    return status;
}

ts_status ts_h5_write_text(ts_h5 *file, const char *path, const char *name, const char *text, ts_error *err)
{
    ts_h5_enter();
    hid_t object = H5Oopen(file->id, ts_h5_rooted(path), H5P_DEFAULT);
    bool ok = object >= 0 && write_text(object, name, text);
    ts_status status = ok ? TS_OK : ts_h5_fail(file, path, "the attribute cannot be written", err);
    if (object >= 0)
        H5Oclose(object);
    ts_h5_leave();
    return status;
}
