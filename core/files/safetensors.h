/* The safetensors format: named tensors in one file, as PyTorch, JAX and their tools exchange weights.
 *
 *     8 bytes   length of the header, little-endian
 *     header    JSON: {"__metadata__": {text: text}, name: {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}}
 *     data      the tensors, row-major, little-endian, without gaps
 *
 * Reading is as strict as the format's own implementation (safetensors 0.4 and later): a header of at most 100 MB that
 * begins with '{', keys and tensors once each, no other keys, known dtypes, sizes that are dtype times shape, and
 * ranges that cover the data from the first byte to the last of the file without overlap or gap.
 *
 * Errors: `code` with the path, one line for each cause. Thread: an open file may be read from several. */
#ifndef TS_CORE_FILES_SAFETENSORS_H
#define TS_CORE_FILES_SAFETENSORS_H

#include <stdbool.h>

#include "core/memory.h"
#include "core/tensor.h"

typedef struct {
    const char *name;
    const char *dtype; /* as the file has it: "F32", "F16", "BOOL" ... */
    bool readable;     /* as a ts_tensor: F64, F32, F16 and BF16, I64, I32, U8 are; others are only listed */
    ts_dtype type;     /* that ts_safetensors_load gives, where readable: F16 becomes f32 */
    ts_shape shape;
    const unsigned char *data; /* in the file, perhaps not aligned */
    size_t bytes;
} ts_safetensors_entry;

typedef struct ts_safetensors ts_safetensors;

enum { TS_SAFETENSORS_MAX_HEADER = 100000000 };

/* Opens the file; it is mapped, and must not be rewritten in place meanwhile. Owner: the caller closes. */
ts_status ts_safetensors_open(ts_safetensors **file, const char *path, ts_status code, ts_error *err);

/* The same for bytes in memory, which stay the caller's and must outlive it; `path` is for messages. */
ts_status ts_safetensors_parse(ts_safetensors **file, const void *bytes, size_t count, const char *path, ts_status code,
                               ts_error *err);
void ts_safetensors_close(ts_safetensors *file); /* NULL is fine */

/* Does the file begin like one (perhaps a damaged one)? For telling kinds of files apart. */
bool ts_safetensors_is_one(const char *path);

/* In the order of the data. */
int64_t ts_safetensors_count(const ts_safetensors *file);
const ts_safetensors_entry *ts_safetensors_at(const ts_safetensors *file, int64_t i);
const ts_safetensors_entry *ts_safetensors_find(const ts_safetensors *file, const char *name); /* NULL: none */
size_t ts_safetensors_header_bytes(const ts_safetensors *file);

/* The i-th text of __metadata__, sorted by key; false: there are no more. */
bool ts_safetensors_metadata(const ts_safetensors *file, int64_t i, const char **key, const char **text);

/* A copy in new memory of the arena. Errors also: the dtype is not readable. */
ts_status ts_safetensors_load(const ts_safetensors *file, const ts_safetensors_entry *entry, ts_arena *arena,
                              ts_tensor *tensor, ts_error *err);

/* Writes atomically (replace.h): tensors in the order of their names, the widest dtypes first, data on a multiple of 8.
 * metadata: pairs of key and text, NULL-terminated, or NULL.
 * Errors: TS_ERR_DATA with the path; TS_ERR_RUNTIME a name twice, out of memory. */
ts_status ts_safetensors_write(const char *path, const ts_named_tensor *tensors, int64_t count,
                               const char *const *metadata, ts_error *err);

#endif
