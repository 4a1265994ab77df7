/* The checkpoint container: named tensors and texts in one file that is either whole or refused.
 *
 *     byte 0      user block, 512 bytes, little-endian:
 *                   0  8  magic 89 54 53 52 0d 0a 1a 0a ("\x89TSR\r\n\x1a\n")
 *                   8  4  format version
 *                  12  4  bytes of the user block (512)
 *                  16  8  bytes of the file
 *                  24 16  XXH3-128 of all that follows the user block
 *                  40     zeros
 *                 496 16  XXH3-128 of bytes 0 to 495
 *     byte 512    HDF5, 1.10 format: a chunked dataset with Fletcher-32 for each tensor ("model/conv1.weight" is
 * dataset conv1.weight in group model), an attribute of the root group for each text, and the dataset `manifest` (u8,
 * JSON): dtype, shape and XXH3-128 of every tensor, length and XXH3-128 of every text
 *
 * The user block is checked before libhdf5 sees the file (which crashes on damaged ones; Fletcher-32 takes 0x0000 for
 * 0xffff), the tensor's own hash when it is read. h5py opens the file as it is. Integers and floats are little-endian.
 *
 * Errors: TS_ERR_CHECKPOINT with the path, one line for each cause: missing, empty, truncated (bytes expected and
 * found), damaged, not a Tessera checkpoint, newer version; TS_ERR_RUNTIME when out of memory. Thread: one at a time on
 * one object; different objects in different threads are fine. */
#ifndef TS_CORE_FILES_CONTAINER_H
#define TS_CORE_FILES_CONTAINER_H

#include <stdbool.h>
#include <stdint.h>

#include "core/files/hash.h"
#include "core/files/replace.h"
#include "core/memory.h"
#include "core/status.h"
#include "core/tensor.h"

enum { TS_CONTAINER_VERSION = 1 };

/* ---- writing ---- */

typedef struct ts_container_writer ts_container_writer;

/* A container that will be saved at `path`. It is built in memory: its size is what a save costs beside the tensors.
 * Owner: the caller frees with ts_container_writer_free, committed or not. */
ts_status ts_container_writer_new(ts_container_writer **writer, const char *path, ts_error *err);
void ts_container_writer_free(ts_container_writer *writer);

/* Copies a tensor in host memory. Errors: a name that is taken, "manifest", or has an empty, "." or ".." part. */
ts_status ts_container_add(ts_container_writer *writer, const ts_named_tensor *tensor, ts_error *err);

/* Adds a text: the config, the state of the trainer as JSON ... of any length. Errors: the name is taken or empty. */
ts_status ts_container_add_text(ts_container_writer *writer, const char *name, const char *text, ts_error *err);

/* Writes a temporary file, reads it back, compares every hash, and puts it in place as replace.h describes. Where this
 * fails the old file stays. Only once on a writer. */
ts_status ts_container_commit(ts_container_writer *writer, ts_replace_policy policy, ts_error *err);

/* ---- reading ---- */

typedef struct ts_container ts_container;

typedef struct {
    const char *name; /* "model/encoder.conv1.weight" */
    ts_dtype dtype;
    ts_shape shape;
    ts_hash hash; /* of the bytes of the tensor */
} ts_container_entry;

typedef struct {
    const char *name;
    const char *text;
} ts_container_text_entry;

/* Opens a file whose every byte has been verified. Owner: the caller closes. */
ts_status ts_container_open(ts_container **container, const char *path, ts_error *err);
void ts_container_close(ts_container *container);

/* True where the file begins like a container (perhaps a damaged one): for telling kinds of files apart. */
bool ts_container_is_one(const char *path);

/* Entries and texts are sorted by name (bytewise) and live as long as the container. */
int64_t ts_container_count(const ts_container *container);
const ts_container_entry *ts_container_at(const ts_container *container, int64_t i);
const ts_container_entry *ts_container_find(const ts_container *container, const char *name); /* NULL: none */
int64_t ts_container_text_count(const ts_container *container);
const ts_container_text_entry *ts_container_text_at(const ts_container *container, int64_t i);
const char *ts_container_text(const ts_container *container, const char *name); /* NULL: none */

/* Reads a tensor into the caller's memory; dtype and shape must be those of the entry. Its hash is checked. */
ts_status ts_container_read(ts_container *container, const char *name, const ts_tensor *tensor, ts_error *err);

/* The same into new memory of the arena, aligned to 64 bytes. */
ts_status ts_container_load(ts_container *container, const char *name, ts_arena *arena, ts_tensor *tensor,
                            ts_error *err);

/* Reads every tensor, in pieces, and checks its hash. */
ts_status ts_container_verify(ts_container *container, ts_error *err);

#endif
