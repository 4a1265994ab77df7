#include "train/token_folder.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/files/bytes.h"
#include "core/files/npy.h"
#include "core/files/replace.h"
#include "core/text.h"

const char *const ts_token_layouts[] = {"t2m", "motionmillion", NULL};

static const char *const endings[] = {".npy", NULL};
const ts_file_kind ts_token_files = {.what = "tokens", .endings = endings, .bare = true, .code = TS_ERR_CHECKPOINT};

/* --- one file ----------------------------------------------------------------------------------------------------- */

ts_status ts_token_file_write(const char *path, ts_token_layout layout, const int32_t *ids, int64_t count,
                              ts_error *err)
{
    ts_tensor t = {TS_I32, ts_shape_of(1, count), (void *)ids};
    if (layout == TS_TOKENS_MOTIONMILLION)
        return ts_npy_write(path, &t, err);
    int64_t *wide = ts_calloc((size_t)count, sizeof *wide);
    if (!wide)
        return ts_out_of_memory(err, (size_t)count * sizeof *wide);
    for (int64_t i = 0; i < count; i++)
        wide[i] = ids[i];
    t.dtype = TS_I64;
    t.data = wide;
    ts_status status = ts_npy_write(path, &t, err);
    ts_free(wide);
    return status;
}

static ts_status check_type(const ts_npy *file, int64_t groups, const char *path, ts_error *err)
{
    ts_shape shape = file->tensor.shape;
    int64_t count = ts_shape_count(shape);
    bool row = shape.rank == 1 || (shape.rank == 2 && (shape.dim[0] == 1 || shape.dim[1] == groups));
    if (file->tensor.dtype != TS_I32 && file->tensor.dtype != TS_I64)
        return ts_fail(err, TS_ERR_CHECKPOINT, "%s: expected integers of 4 or 8 bytes, found %s", path,
                       ts_dtype_name(file->tensor.dtype));
    if (!row || count == 0 || count % groups)
        return ts_fail(err, TS_ERR_CHECKPOINT,
                       "%s: expected the ids of at least one token in %" PRId64 " groups, [1, tokens * %" PRId64
                       "], found %s",
                       path, groups, groups, ts_shape_print(shape).text);
    return TS_OK;
}

static ts_status copy_ids(const ts_tensor *t, int64_t codes, int32_t *ids, const char *path, ts_error *err)
{
    const int32_t *narrow = t->data;
    const int64_t *wide = t->data;
    for (int64_t i = 0; i < ts_shape_count(t->shape); i++) {
        int64_t id = t->dtype == TS_I64 ? wide[i] : narrow[i];
        if (id < 0 || id >= codes)
            return ts_fail(err, TS_ERR_CHECKPOINT,
                           "%s: place %" PRId64 ": expected an id from 0 to %" PRId64 ", found %" PRId64, path, i,
                           codes - 1, id);
        ids[i] = (int32_t)id;
    }
    return TS_OK;
}

ts_status ts_token_file_read(ts_token_row *row, const char *path, int64_t groups, int64_t codes, ts_error *err)
{
    ts_npy file;
    ts_error why = {0};
    *row = (ts_token_row){0};
    ts_status status = ts_npy_open(&file, path, &why);
    if (status == TS_ERR_DATA) /* for a reader of tokens it is a bad file of tokens */
        return ts_fail(err, TS_ERR_CHECKPOINT, "%s", why.text);
    if (status != TS_OK)
        return ts_fail(err, status, "%s", why.text);
    TS_GO(check_type(&file, groups, path, err));
    int64_t count = ts_shape_count(file.tensor.shape);
    if (!(row->ids = ts_calloc((size_t)count, sizeof *row->ids))) {
        status = ts_out_of_memory(err, (size_t)count * sizeof *row->ids);
        goto out;
    }
    row->tokens = count / groups;
    status = copy_ids(&file.tensor, codes, row->ids, path, err);
out:
    ts_npy_close(&file);
    if (status != TS_OK) {
        ts_free(row->ids);
        *row = (ts_token_row){0};
    }
    return status;
}

/* --- the manifest ------------------------------------------------------------------------------------------------- */

enum { MAX_MANIFEST_BYTES = 1 << 16 };

ts_status ts_token_manifest_read(json_t **manifest, const char *folder, ts_error *err)
{
    char path[PATH_MAX];
    ts_bytes bytes;
    *manifest = NULL;
    if (snprintf(path, sizeof path, "%s/" TS_TOKEN_MANIFEST, folder) >= (int)sizeof path || access(path, F_OK) != 0)
        return TS_OK;
    TS_TRY(ts_bytes_read(&bytes, path, MAX_MANIFEST_BYTES, TS_ERR_CHECKPOINT, err));
    json_error_t why;
    *manifest = json_loadb((char *)bytes.data, bytes.count, JSON_REJECT_DUPLICATES, &why);
    ts_bytes_clear(&bytes);
    if (json_is_object(*manifest))
        return TS_OK;
    json_decref(*manifest);
    *manifest = NULL;
    return ts_fail(err, TS_ERR_CHECKPOINT, "%s: expected one JSON object as `tessera encode` writes it, found: %s",
                   path, TS_SHOWN(why.text));
}

/* Sets *others where there are; its own and temporary files do not count. */
static ts_status has_other_files(const char *folder, bool *others, ts_error *err)
{
    DIR *d = opendir(folder);
    if (!d)
        return ts_fail(err, TS_ERR_DATA, "%s: cannot be read as a folder: %s", folder, strerror(errno));
    for (struct dirent *e; (e = readdir(d));)
        *others |= e->d_name[0] != '.' && strncmp(e->d_name, TS_TOKEN_MANIFEST, sizeof TS_TOKEN_MANIFEST - 1) != 0;
    closedir(d);
    return TS_OK;
}

static ts_status differs(const char *folder, const char *key, const json_t *there, const json_t *here, ts_error *err)
{
    char *a = there ? json_dumps(there, JSON_ENCODE_ANY) : NULL, *b = json_dumps(here, JSON_ENCODE_ANY);
    ts_status status = ts_fail(err, TS_ERR_USAGE,
                               "%s: holds tokens of another kind: %s is %s in its " TS_TOKEN_MANIFEST
                               ", and %s now; name another folder",
                               folder, key, a ? TS_SHOWN(a) : "missing", b ? TS_SHOWN(b) : "?");
    free(a);
    free(b);
    return status;
}

static ts_status check_same(const char *folder, const json_t *there, const json_t *here, ts_error *err)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)here, key, value)
    {
        const json_t *other = json_object_get(there, key);
        if (!json_equal(other, value))
            return differs(folder, key, other, value, err);
    }
    return TS_OK;
}

static ts_status write_manifest(const char *folder, const json_t *manifest, ts_error *err)
{
    char *path = ts_format("%s/" TS_TOKEN_MANIFEST, folder);
    char *text = json_dumps(manifest, JSON_INDENT(1));
    ts_status status = path && text ? ts_replace_file(path, text, strlen(text), TS_REPLACE_DROP, TS_ERR_DATA, err)
                                    : ts_out_of_memory(err, 0);
    ts_free(path);
    free(text);
    return status;
}

/* The files first and then the manifest: a process that has written a file has written the manifest before it. */
ts_status ts_token_folder_make(const char *folder, const json_t *manifest, ts_error *err)
{
    json_t *there;
    bool others = false;
    TS_TRY(ts_folder_make(folder, TS_ERR_DATA, err));
    TS_TRY(has_other_files(folder, &others, err));
    TS_TRY(ts_token_manifest_read(&there, folder, err));
    if (there) {
        ts_status status = check_same(folder, there, manifest, err);
        json_decref(there);
        return status;
    }
    if (others)
        return ts_fail(err, TS_ERR_USAGE,
                       "%s: holds files, but no " TS_TOKEN_MANIFEST " that says whose tokens they are; name an empty "
                       "folder or a new one",
                       folder);
    return write_manifest(folder, manifest, err);
}
