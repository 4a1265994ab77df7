/* HDF5: groups, attributes and tensors of any file (read), and files of our own making (write). The one place that
 * knows libhdf5. For checkpoints see container.h, which adds hashes, a manifest and an atomic save.
 *
 * Written files are pinned to the 1.10 format (checksums on all metadata), every dataset is chunked with Fletcher-32
 * and built in memory: libhdf5 never meets a failing disk. Soft and external links are not followed.
 *
 * A path is "/group/sub/name"; the leading slash may be left out; "/" is the root group.
 * Errors: in reading, the code that the file was opened with and one line with path and object; TS_ERR_RUNTIME when out
 *         of memory.
 * Thread: libhdf5 is not thread-safe as Debian builds it. One internal mutex serialises the calls of this library; a
 *         program that also calls libhdf5 itself must do so from one thread at a time with these.
 * Trust:  libhdf5 is not safe against files made to harm. Open only what its owner trusts, or what container.h has
 *         verified. */
#ifndef TS_CORE_FILES_HDF5_H
#define TS_CORE_FILES_HDF5_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/memory.h"
#include "core/status.h"
#include "core/tensor.h"

typedef struct ts_h5 ts_h5;

/* "1.10.8" of the library that runs. */
const char *ts_h5_version(void);

/* ---- reading ---- */

/* Opens a file for reading. `code` is what an error in this file is called: TS_ERR_DATA or TS_ERR_CHECKPOINT.
 * Owner: the caller closes with ts_h5_close. */
ts_status ts_h5_open(ts_h5 **file, const char *path, ts_status code, ts_error *err);

/* Closes and frees, whichever way the file was made. NULL is fine. */
void ts_h5_close(ts_h5 *file);

typedef enum {
    TS_H5_GROUP,
    TS_H5_TENSOR,  /* a dataset of numbers */
    TS_H5_STRINGS, /* a dataset of strings */
    TS_H5_OTHER,   /* compound, reference ...: listed, not readable */
} ts_h5_kind;

typedef struct {
    const char *path; /* "/plain_865/in/z" */
    const char *name; /* the last part of path: "z" */
    ts_h5_kind kind;
    ts_dtype dtype; /* TENSOR: what ts_h5_read returns, the narrowest of ours that holds the stored type */
    ts_shape shape; /* TENSOR, STRINGS */
} ts_h5_entry;

typedef struct {
    int64_t count;
    const ts_h5_entry *entry; /* [count], by name (bytewise), a group before what it holds */
} ts_h5_entries;

/* The members of a group; with everything below them for ts_h5_walk. Owner: the arena. */
ts_status ts_h5_list(ts_h5 *file, const char *group, ts_arena *arena, ts_h5_entries *entries, ts_error *err);
ts_status ts_h5_walk(ts_h5 *file, const char *group, ts_arena *arena, ts_h5_entries *entries, ts_error *err);

bool ts_h5_exists(ts_h5 *file, const char *path);

/* One object: kind, dtype, shape. Strings belong to the arena. Errors: there is none. */
ts_status ts_h5_info(ts_h5 *file, const char *path, ts_arena *arena, ts_h5_entry *entry, ts_error *err);

/* A whole dataset into new memory of the arena, aligned to 64 bytes. Types that we lack are widened: 8- and 16-bit
 * integers to i32, unsigned 32-bit and 64-bit to i64, half floats to f32; h5py's bool and u8 are u8. */
ts_status ts_h5_read(ts_h5 *file, const char *path, ts_arena *arena, ts_tensor *tensor, ts_error *err);

/* A whole dataset into the caller's tensor, converted to its dtype where the file's differs. Errors: the shapes differ
 * (a [1] in the file fits a scalar), or exactly one of the two is bf16. */
ts_status ts_h5_read_into(ts_h5 *file, const char *path, const ts_tensor *tensor, ts_error *err);

/* Rows first .. first + tensor->shape.dim[0] - 1 of a dataset, for what is larger than memory. */
ts_status ts_h5_read_rows(ts_h5 *file, const char *path, int64_t first, const ts_tensor *tensor, ts_error *err);

/* A dataset of strings, fixed or variable length, of any shape. Owner: the arena. */
typedef struct {
    int64_t count;
    const char *const *text; /* [count] */
} ts_h5_strings;
ts_status ts_h5_read_strings(ts_h5 *file, const char *path, ts_arena *arena, ts_h5_strings *strings, ts_error *err);

typedef enum { TS_H5_INT, TS_H5_REAL, TS_H5_TEXT, TS_H5_UNKNOWN } ts_h5_value_kind;

/* An attribute: one value (rank 0, count 1) or an array of them. */
typedef struct {
    const char *name;
    ts_h5_value_kind kind;
    int rank;
    int64_t count;
    const int64_t *ints;      /* INT: [count] */
    const double *reals;      /* INT, REAL: [count] */
    const char *const *texts; /* TEXT: [count] */
} ts_h5_attribute;

typedef struct {
    int64_t count;
    const ts_h5_attribute *attribute; /* [count], by name */
} ts_h5_attributes;

/* All attributes of an object. Owner: the arena. */
ts_status ts_h5_read_attributes(ts_h5 *file, const char *path, ts_arena *arena, ts_h5_attributes *attributes,
                                ts_error *err);

/* Look-ups in what was read; `fallback` where there is no such attribute or it is of another kind (a real accepts an
 * integer). */
const ts_h5_attribute *ts_h5_attribute_find(const ts_h5_attributes *attributes, const char *name);
int64_t ts_h5_attribute_int(const ts_h5_attributes *attributes, const char *name, int64_t fallback);
double ts_h5_attribute_real(const ts_h5_attributes *attributes, const char *name, double fallback);
const char *ts_h5_attribute_text(const ts_h5_attributes *attributes, const char *name, const char *fallback);

/* ---- writing ---- */

/* A new file in memory. `user_block_bytes` (0, or 512, 1024 ...) are left free before the HDF5 part. `path` is only for
 * messages; errors carry `code`. */
ts_status ts_h5_create(ts_h5 **file, const char *path, size_t user_block_bytes, ts_status code, ts_error *err);

/* Adds a dataset; groups on its path are made as needed. A scalar is stored as [1], bf16 as u16 with the attribute
 * dtype = "bf16". Errors: a name that is taken, empty, or has an empty, "." or ".." part. */
ts_status ts_h5_write(ts_h5 *file, const ts_named_tensor *tensor, ts_error *err);

/* Adds a dataset [count] of fixed-length UTF-8 strings. */
ts_status ts_h5_write_strings(ts_h5 *file, const char *path, const char *const *text, int64_t count, ts_error *err);

/* Adds a string attribute to an object that exists. */
ts_status ts_h5_write_text(ts_h5 *file, const char *path, const char *name, const char *text, ts_error *err);

/* Ends a file that was made with ts_h5_create, and hands out its bytes; ts_h5_close stays to be called.
 * Owner: the caller frees *image with ts_free. */
ts_status ts_h5_finish(ts_h5 *file, void **image, size_t *bytes, ts_error *err);

/* The same, durably and atomically at the path of ts_h5_create (replace.h). */
ts_status ts_h5_save(ts_h5 *file, ts_error *err);

#endif
