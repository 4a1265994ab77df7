/* Writing: tensors are copied into the HDF5 image as they come, the manifest and the user block at the end. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "core/files/container.h"
#include "core/files/container_internal.h"
#include "core/files/hdf5.h"

struct ts_container_writer {
    char *path;
    ts_h5 *file;
    json_t *tensors, *texts; /* of the manifest, by name */
};

ts_status ts_container_writer_new(ts_container_writer **out, const char *path, ts_error *err)
{
    *out = NULL;
    ts_container_writer *w = ts_calloc(1, sizeof *w);
    if (!w)
        return ts_out_of_memory(err, sizeof *w);
    *w = (ts_container_writer){.path = ts_strdup(path), .tensors = json_object(), .texts = json_object()};
    ts_status status = w->path && w->tensors && w->texts ? TS_OK : ts_out_of_memory(err, sizeof *w);
    if (status == TS_OK)
        status = ts_h5_create(&w->file, path, TS_USER_BLOCK_BYTES, TS_ERR_CHECKPOINT, err);
    if (status == TS_OK)
        *out = w;
    else
        ts_container_writer_free(w);
    return status;
}

void ts_container_writer_free(ts_container_writer *w)
{
    if (!w)
        return;
    ts_h5_close(w->file);
    json_decref(w->tensors);
    json_decref(w->texts);
    ts_free(w->path);
    ts_free(w);
}

static ts_status check_name(const ts_container_writer *w, const json_t *taken, const char *name, ts_error *err)
{
    if (!*name || *name == '/' || strcmp(name, TS_CONTAINER_MANIFEST) == 0)
        return ts_fail(err, TS_ERR_CHECKPOINT, "%s: \"%s\" cannot be a name in a checkpoint", w->path, name);
    if (json_object_get(taken, name))
        return ts_fail(err, TS_ERR_CHECKPOINT, "%s: %s was given twice", w->path, name);
    return TS_OK;
}

static json_t *shape_json(ts_shape shape)
{
    json_t *array = json_array();
    for (int i = 0; i < shape.rank; i++)
        json_array_append_new(array, json_integer(shape.dim[i]));
    return array;
}

/* Only a name that is not UTF-8, or memory, can fail here. */
static ts_status note(const ts_container_writer *w, json_t *manifest, const char *name, json_t *entry, ts_error *err)
{
    if (json_object_set_new(manifest, name, entry) == 0)
        return TS_OK;
    return ts_fail(err, TS_ERR_CHECKPOINT, "%s: the name \"%s\" is not UTF-8, or memory is out", w->path, name);
}

ts_status ts_container_add(ts_container_writer *w, const ts_named_tensor *t, ts_error *err)
{
    TS_TRY(check_name(w, w->tensors, t->name, err));
    TS_TRY(ts_h5_write(w->file, t, err));
    ts_hash_text hash = ts_hash_print(ts_hash_bytes(t->tensor.data, ts_tensor_bytes(&t->tensor)));
    json_t *entry = json_pack("{s:s, s:o, s:s}", "dtype", ts_dtype_name(t->tensor.dtype), "shape",
                              shape_json(t->tensor.shape), "xxh3", hash.text);
    return note(w, w->tensors, t->name, entry, err);
}

ts_status ts_container_add_text(ts_container_writer *w, const char *name, const char *text, ts_error *err)
{
    TS_TRY(check_name(w, w->texts, name, err));
    TS_TRY(ts_h5_write_text(w->file, "/", name, text, err));
    ts_hash_text hash = ts_hash_print(ts_hash_bytes(text, strlen(text)));
    json_t *entry = json_pack("{s:I, s:s}", "bytes", (json_int_t)strlen(text), "xxh3", hash.text);
    return note(w, w->texts, name, entry, err);
}

/* ---- commit ---- */

/* Canonical: sorted keys, no spaces; the same content makes the same bytes. */
static ts_status add_manifest(ts_container_writer *w, ts_error *err)
{
    json_t *root =
        json_pack("{s:i, s:O, s:O}", "format", TS_CONTAINER_VERSION, "tensors", w->tensors, "texts", w->texts);
    char *text = json_dumps(root, JSON_SORT_KEYS | JSON_COMPACT);
    json_decref(root);
    if (!text)
        return ts_out_of_memory(err, 1);
    ts_named_tensor t = {TS_CONTAINER_MANIFEST, {TS_U8, ts_shape_of((int64_t)strlen(text)), text}};
    ts_status status = ts_h5_write(w->file, &t, err);
    free(text);
    return status;
}

static void fill_user_block(unsigned char *image, size_t bytes)
{
    ts_user_block block = {
        .version = TS_CONTAINER_VERSION,
        .block_bytes = TS_USER_BLOCK_BYTES,
        .file_bytes = bytes,
        .content = ts_hash_bytes(image + TS_USER_BLOCK_BYTES, bytes - TS_USER_BLOCK_BYTES),
    };
    ts_user_block_encode(&block, image);
}

static ts_status read_back(const ts_container_writer *w, const char *tmp_path, ts_error *err)
{
    ts_container *c;
    ts_status status = ts_container_open(&c, tmp_path, err);
    if (status == TS_OK)
        status = ts_container_verify(c, err);
    ts_container_close(c);
    if (status != TS_OK)
        ts_error_prefix(err, "%s: not saved: what was written does not read back", w->path);
    return status;
}

ts_status ts_container_commit(ts_container_writer *w, ts_replace_policy policy, ts_error *err)
{
    void *image;
    size_t bytes;
    ts_replace r;
    TS_TRY(add_manifest(w, err));
    TS_TRY(ts_h5_finish(w->file, &image, &bytes, err));
    fill_user_block(image, bytes);
    ts_status status = ts_replace_begin(&r, w->path, TS_ERR_CHECKPOINT, err);
    if (status != TS_OK) {
        ts_free(image);
        return status;
    }
    status = ts_replace_write(&r, image, bytes, err);
    ts_free(image);
    if (status == TS_OK)
        status = read_back(w, r.tmp_path, err);
    if (status == TS_OK)
        status = ts_replace_commit(&r, policy, err);
    ts_replace_end(&r);
    return status;
}
