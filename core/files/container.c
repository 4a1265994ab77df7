/* Reading. Nothing of a file is believed before its bytes have been hashed, and nothing of its manifest before it has
 * the expected form. */
#define _GNU_SOURCE
#include "core/files/container.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/files/container_internal.h"
#include "core/files/hdf5.h"

struct ts_container {
    char *path;
    ts_h5 *file;
    ts_arena arena; /* of everything below */
    int64_t count, text_count;
    ts_container_entry *entry;
    ts_container_text_entry *text;
};

/* ---- the user block ---- */

const unsigned char ts_user_block_magic[TS_USER_BLOCK_MAGIC_BYTES] = {0x89, 'T', 'S', 'R', '\r', '\n', 0x1a, '\n'};

static void put_little(unsigned char *at, uint64_t value, int bytes)
{
    for (int i = 0; i < bytes; i++)
        at[i] = (unsigned char)(value >> (8 * i));
}

static uint64_t get_little(const unsigned char *at, int bytes)
{
    uint64_t value = 0;
    for (int i = 0; i < bytes; i++)
        value |= (uint64_t)at[i] << (8 * i);
    return value;
}

void ts_user_block_encode(const ts_user_block *block, unsigned char *bytes)
{
    memset(bytes, 0, TS_USER_BLOCK_BYTES);
    memcpy(bytes, ts_user_block_magic, TS_USER_BLOCK_MAGIC_BYTES);
    put_little(bytes + 8, block->version, 4);
    put_little(bytes + 12, block->block_bytes, 4);
    put_little(bytes + 16, block->file_bytes, 8);
    memcpy(bytes + 24, block->content.byte, 16);
    ts_hash own = ts_hash_bytes(bytes, TS_USER_BLOCK_CHECKED_BYTES);
    memcpy(bytes + TS_USER_BLOCK_CHECKED_BYTES, own.byte, 16);
}

void ts_user_block_decode(const unsigned char *bytes, ts_user_block *block)
{
    block->version = (uint32_t)get_little(bytes + 8, 4);
    block->block_bytes = (uint32_t)get_little(bytes + 12, 4);
    block->file_bytes = get_little(bytes + 16, 8);
    memcpy(block->content.byte, bytes + 24, 16);
    memcpy(block->own.byte, bytes + TS_USER_BLOCK_CHECKED_BYTES, 16);
}

static bool same(ts_hash a, ts_hash b)
{
    return memcmp(a.byte, b.byte, sizeof a.byte) == 0;
}

/* ---- the file, before libhdf5 sees it ---- */

/* The number of bytes read; fewer than asked for only at the end of the file; negative with errno. */
static ssize_t read_fully(int fd, void *bytes, size_t count)
{
    size_t done = 0;
    while (done < count) {
        ssize_t n = read(fd, (char *)bytes + done, count - done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -1;
        if (n == 0)
            break;
        done += (size_t)n;
    }
    return (ssize_t)done;
}

/* A refusal, with what the user can turn to. */
static ts_status refuse(const char *path, ts_error *err, const char *format, ...) TS_PRINTF(3, 4);
static ts_status refuse(const char *path, ts_error *err, const char *format, ...)
{
    char *previous = ts_replace_previous_path(path);
    bool has_previous = previous && access(previous, R_OK) == 0;
    va_list args;
    va_start(args, format);
    char why[256];
    vsnprintf(why, sizeof why, format, args);
    va_end(args);
    ts_status status = ts_fail(err, TS_ERR_CHECKPOINT, "%s: %s%s%s", path, why,
                               has_previous ? "; the save before it is " : "", has_previous ? previous : "");
    ts_free(previous);
    return status;
}

static ts_status check_user_block(const char *path, const unsigned char *bytes, size_t count, uint64_t file_bytes,
                                  ts_user_block *block, ts_error *err)
{
    size_t magic = count < TS_USER_BLOCK_MAGIC_BYTES ? count : TS_USER_BLOCK_MAGIC_BYTES;
    if (count == 0)
        return refuse(path, err, "the file is empty (0 bytes); a Tessera checkpoint was expected");
    if (memcmp(bytes, ts_user_block_magic, magic) != 0)
        return refuse(path, err, "not a Tessera checkpoint (its first bytes are not those of one)");
    if (count < TS_USER_BLOCK_BYTES)
        return refuse(path, err, "truncated: %zu bytes are there, the header alone has 512", count);
    ts_user_block_decode(bytes, block);
    if (!same(block->own, ts_hash_bytes(bytes, TS_USER_BLOCK_CHECKED_BYTES)))
        return refuse(path, err, "damaged: the header fails its checksum");
    if (block->version > TS_CONTAINER_VERSION)
        return refuse(path, err,
                      "written by a newer version of Tessera (format %u; this one reads up to %d): update it",
                      block->version, TS_CONTAINER_VERSION);
    if (block->version == 0 || block->block_bytes != TS_USER_BLOCK_BYTES)
        return refuse(path, err, "damaged: the header makes no sense");
    if (file_bytes < block->file_bytes)
        return refuse(path, err, "truncated: %llu of %llu bytes are there", (unsigned long long)file_bytes,
                      (unsigned long long)block->file_bytes);
    if (file_bytes > block->file_bytes)
        return refuse(path, err, "damaged: %llu bytes are there, %llu were written", (unsigned long long)file_bytes,
                      (unsigned long long)block->file_bytes);
    return TS_OK;
}

static ts_status check_content(const char *path, int fd, const ts_user_block *block, ts_error *err)
{
    enum { PIECE_BYTES = 1 << 20 };
    ts_hasher hasher;
    ssize_t n = 0;
    ts_status status = ts_hasher_init(&hasher, err);
    void *piece = ts_alloc(PIECE_BYTES);
    if (status == TS_OK && !piece)
        status = ts_out_of_memory(err, PIECE_BYTES);
    while (status == TS_OK && (n = read_fully(fd, piece, PIECE_BYTES)) > 0)
        ts_hasher_add(&hasher, piece, (size_t)n);
    if (status == TS_OK && n < 0)
        status = refuse(path, err, "cannot be read: %s", strerror(errno));
    else if (status == TS_OK && !same(ts_hasher_result(&hasher), block->content))
        status = refuse(path, err, "damaged: its bytes are not those that were written (XXH3-128 differs)");
    ts_free(piece);
    ts_hasher_clear(&hasher);
    return status;
}

static ts_status check_descriptor(const char *path, int fd, ts_error *err)
{
    struct stat s;
    unsigned char bytes[TS_USER_BLOCK_BYTES];
    ts_user_block block;
    if (fstat(fd, &s) != 0 || !S_ISREG(s.st_mode))
        return ts_fail(err, TS_ERR_CHECKPOINT, "%s: not a regular file; a Tessera checkpoint was expected", path);
    ssize_t count = read_fully(fd, bytes, sizeof bytes);
    if (count < 0)
        return refuse(path, err, "cannot be read: %s", strerror(errno));
    TS_TRY(check_user_block(path, bytes, (size_t)count, (uint64_t)s.st_size, &block, err));
    return check_content(path, fd, &block, err);
}

static ts_status check_file(const char *path, ts_error *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return refuse(path, err, "%s", strerror(errno));
    ts_status status = check_descriptor(path, fd, err);
    close(fd);
    return status;
}

bool ts_container_is_one(const char *path)
{
    unsigned char magic[TS_USER_BLOCK_MAGIC_BYTES];
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    bool is = fd >= 0 && read_fully(fd, magic, sizeof magic) == (ssize_t)sizeof magic &&
              memcmp(magic, ts_user_block_magic, sizeof magic) == 0;
    if (fd >= 0)
        close(fd);
    return is;
}

/* ---- the manifest ---- */

static bool parse_hash(const json_t *json, ts_hash *hash)
{
    const char *text = json_string_value(json);
    if (!text || strlen(text) != 32 || strspn(text, "0123456789abcdef") != 32)
        return false;
    for (int i = 0; i < 16; i++) {
        char pair[3] = {text[2 * i], text[2 * i + 1], 0};
        hash->byte[i] = (uint8_t)strtoul(pair, NULL, 16);
    }
    return true;
}

static bool parse_dtype(const json_t *json, ts_dtype *dtype)
{
    const char *name = json_string_value(json);
    for (int d = 0; name && d < TS_DTYPE_COUNT; d++)
        if (strcmp(name, ts_dtype_name((ts_dtype)d)) == 0) {
            *dtype = (ts_dtype)d;
            return true;
        }
    return false;
}

static bool parse_shape(const json_t *json, ts_shape *shape)
{
    int64_t count;
    if (!json_is_array(json) || json_array_size(json) > TS_MAX_RANK)
        return false;
    *shape = (ts_shape){.rank = (int)json_array_size(json)};
    for (int i = 0; i < shape->rank; i++) {
        const json_t *dim = json_array_get(json, (size_t)i);
        if (!json_is_integer(dim))
            return false;
        shape->dim[i] = json_integer_value(dim);
    }
    return ts_shape_count_checked(*shape, &count) && count <= INT64_MAX / 8;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const ts_container_entry *)a)->name, ((const ts_container_entry *)b)->name);
}

static int text_by_name(const void *a, const void *b)
{
    return strcmp(((const ts_container_text_entry *)a)->name, ((const ts_container_text_entry *)b)->name);
}

static ts_status parse_tensors(ts_container *c, json_t *tensors, ts_error *err)
{
    const char *name;
    json_t *json;
    size_t bytes = (json_object_size(tensors) + 1) * sizeof *c->entry;
    if (!(c->entry = ts_arena_alloc(&c->arena, bytes)))
        return ts_out_of_memory(err, bytes);
    json_object_foreach(tensors, name, json)
    {
        ts_container_entry *e = &c->entry[c->count++];
        e->name = ts_arena_strdup(&c->arena, name);
        if (!e->name)
            return ts_out_of_memory(err, strlen(name) + 1);
        if (!parse_dtype(json_object_get(json, "dtype"), &e->dtype) ||
            !parse_shape(json_object_get(json, "shape"), &e->shape) ||
            !parse_hash(json_object_get(json, "xxh3"), &e->hash))
            return refuse(c->path, err, "damaged: the manifest's entry of %s makes no sense", name);
    }
    qsort(c->entry, (size_t)c->count, sizeof *c->entry, by_name);
    return TS_OK;
}

static ts_status parse_texts(ts_container *c, json_t *texts, const ts_h5_attributes *attributes, ts_error *err)
{
    const char *name;
    json_t *json;
    size_t bytes = (json_object_size(texts) + 1) * sizeof *c->text;
    if (!(c->text = ts_arena_alloc(&c->arena, bytes)))
        return ts_out_of_memory(err, bytes);
    json_object_foreach(texts, name, json)
    {
        ts_container_text_entry *e = &c->text[c->text_count++];
        ts_hash hash;
        e->name = ts_arena_strdup(&c->arena, name);
        e->text = ts_h5_attribute_text(attributes, name, NULL);
        if (!e->name)
            return ts_out_of_memory(err, strlen(name) + 1);
        if (!e->text || !parse_hash(json_object_get(json, "xxh3"), &hash) ||
            !same(hash, ts_hash_bytes(e->text, strlen(e->text))))
            return refuse(c->path, err, "damaged: the text %s is not the one that was written", name);
    }
    qsort(c->text, (size_t)c->text_count, sizeof *c->text, text_by_name);
    return TS_OK;
}

static ts_status read_manifest(ts_container *c, ts_error *err)
{
    ts_tensor manifest;
    ts_h5_attributes attributes;
    TS_TRY(ts_h5_read(c->file, TS_CONTAINER_MANIFEST, &c->arena, &manifest, err));
    TS_TRY(ts_h5_read_attributes(c->file, "/", &c->arena, &attributes, err));
    json_t *root = json_loadb(manifest.data, ts_tensor_bytes(&manifest), JSON_REJECT_DUPLICATES, NULL);
    json_t *tensors = json_object_get(root, "tensors"), *texts = json_object_get(root, "texts");
    ts_status status;
    if (!json_is_object(tensors) || !json_is_object(texts))
        status = refuse(c->path, err, "damaged: the manifest makes no sense");
    else
        status = parse_tensors(c, tensors, err);
    if (status == TS_OK)
        status = parse_texts(c, texts, &attributes, err);
    json_decref(root);
    return status;
}

/* ---- open, look up ---- */

ts_status ts_container_open(ts_container **out, const char *path, ts_error *err)
{
    *out = NULL;
    TS_TRY(check_file(path, err));
    ts_container *c = ts_calloc(1, sizeof *c);
    if (!c || !(c->path = ts_strdup(path))) {
        ts_free(c);
        return ts_out_of_memory(err, sizeof *c);
    }
    ts_status status = ts_h5_open(&c->file, path, TS_ERR_CHECKPOINT, err);
    if (status == TS_OK)
        status = read_manifest(c, err);
    if (status == TS_OK)
        *out = c;
    else
        ts_container_close(c);
    return status;
}

void ts_container_close(ts_container *c)
{
    if (!c)
        return;
    ts_h5_close(c->file);
    ts_arena_clear(&c->arena);
    ts_free(c->path);
    ts_free(c);
}

int64_t ts_container_count(const ts_container *c)
{
    return c->count;
}

const ts_container_entry *ts_container_at(const ts_container *c, int64_t i)
{
    return &c->entry[i];
}

const ts_container_entry *ts_container_find(const ts_container *c, const char *name)
{
    ts_container_entry key = {.name = name};
    return bsearch(&key, c->entry, (size_t)c->count, sizeof key, by_name);
}

int64_t ts_container_text_count(const ts_container *c)
{
    return c->text_count;
}

const ts_container_text_entry *ts_container_text_at(const ts_container *c, int64_t i)
{
    return &c->text[i];
}

const char *ts_container_text(const ts_container *c, const char *name)
{
    ts_container_text_entry key = {.name = name};
    const ts_container_text_entry *e = bsearch(&key, c->text, (size_t)c->text_count, sizeof key, text_by_name);
    return e ? e->text : NULL;
}

/* ---- tensors ---- */

static ts_status wrong_hash(const ts_container *c, const char *name, ts_error *err)
{
    return refuse(c->path, err, "damaged: the tensor %s is not the one that was written (XXH3-128 differs)", name);
}

ts_status ts_container_read(ts_container *c, const char *name, const ts_tensor *tensor, ts_error *err)
{
    const ts_container_entry *e = ts_container_find(c, name);
    if (!e)
        return ts_fail(err, TS_ERR_CHECKPOINT, "%s: there is no tensor %s in the checkpoint", c->path, name);
    if (e->dtype != tensor->dtype || !ts_shape_equal(e->shape, tensor->shape))
        return ts_fail(err, TS_ERR_CHECKPOINT, "%s: %s: expected %s %s, found %s %s", c->path, name,
                       ts_dtype_name(tensor->dtype), ts_shape_print(tensor->shape).text, ts_dtype_name(e->dtype),
                       ts_shape_print(e->shape).text);
    TS_TRY(ts_h5_read_into(c->file, name, tensor, err));
    return same(e->hash, ts_hash_bytes(tensor->data, ts_tensor_bytes(tensor))) ? TS_OK : wrong_hash(c, name, err);
}

/* A forged manifest can claim any shape: before memory is taken for it, the file must have it. */
static ts_status check_claim(ts_container *c, const ts_container_entry *e, ts_error *err)
{
    ts_arena arena = {0};
    ts_h5_entry found = {0};
    ts_status status = ts_h5_info(c->file, e->name, &arena, &found, err);
    ts_arena_clear(&arena);
    ts_shape stored = e->shape.rank ? e->shape : ts_shape_of(1);
    if (status == TS_OK && (found.kind != TS_H5_TENSOR || !ts_shape_equal(found.shape, stored)))
        return refuse(c->path, err, "damaged: the tensor %s is %s, and %s in the manifest", e->name,
                      ts_shape_print(found.shape).text, ts_shape_print(e->shape).text);
    return status;
}

ts_status ts_container_load(ts_container *c, const char *name, ts_arena *arena, ts_tensor *tensor, ts_error *err)
{
    enum { ALIGN = 64 };
    *tensor = (ts_tensor){0};
    const ts_container_entry *e = ts_container_find(c, name);
    if (e)
        TS_TRY(check_claim(c, e, err));
    ts_tensor t = e ? (ts_tensor){e->dtype, e->shape, NULL} : (ts_tensor){0};
    size_t bytes = ts_tensor_bytes(&t);
    char *memory = ts_arena_alloc(arena, bytes + ALIGN);
    if (!memory)
        return ts_out_of_memory(err, bytes);
    t.data = memory + (ALIGN - (uintptr_t)memory % ALIGN) % ALIGN;
    TS_TRY(ts_container_read(c, name, &t, err));
    *tensor = t;
    return TS_OK;
}

/* Rows of about this many bytes are read at a time. */
enum { SLAB_BYTES = 16 << 20 };

static int64_t rows_of_slab(const ts_tensor *whole)
{
    int64_t rows = whole->shape.dim[0];
    size_t row_bytes = rows ? ts_tensor_bytes(whole) / (size_t)rows : 0;
    int64_t fit = row_bytes > SLAB_BYTES ? 1 : row_bytes ? (int64_t)(SLAB_BYTES / row_bytes) : rows;
    return fit < rows ? fit : rows;
}

static ts_status verify_tensor(ts_container *c, const ts_container_entry *e, ts_hasher *hasher, ts_error *err)
{
    ts_tensor slab = {e->dtype, e->shape.rank ? e->shape : ts_shape_of(1), NULL};
    int64_t rows = slab.shape.dim[0], first = 0;
    TS_TRY(check_claim(c, e, err));
    slab.shape.dim[0] = rows_of_slab(&slab);
    size_t bytes = ts_tensor_bytes(&slab);
    if (!(slab.data = ts_alloc(bytes)))
        return ts_out_of_memory(err, bytes);
    ts_status status;
    do { /* also once for a tensor without rows */
        if (slab.shape.dim[0] > rows - first)
            slab.shape.dim[0] = rows - first;
        status = ts_h5_read_rows(c->file, e->name, first, &slab, err);
        if (status == TS_OK)
            ts_hasher_add(hasher, slab.data, ts_tensor_bytes(&slab));
        first += slab.shape.dim[0];
    } while (status == TS_OK && first < rows);
    ts_free(slab.data);
    return status == TS_OK && !same(ts_hasher_result(hasher), e->hash) ? wrong_hash(c, e->name, err) : status;
}

ts_status ts_container_verify(ts_container *c, ts_error *err)
{
    for (int64_t i = 0; i < c->count; i++) {
        ts_hasher hasher;
        TS_TRY(ts_hasher_init(&hasher, err));
        ts_status status = verify_tensor(c, &c->entry[i], &hasher, err);
        ts_hasher_clear(&hasher);
        TS_TRY(status);
    }
    return TS_OK;
}
