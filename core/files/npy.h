/* NumPy's .npy files: one array. Versions 1 to 3, C and Fortran order. Strict: the header holds exactly the three keys
 * that NumPy writes, and the file exactly the bytes that its shape asks for. Format: numpy.lib.format. */
#ifndef TS_CORE_FILES_NPY_H
#define TS_CORE_FILES_NPY_H

#include "core/memory.h"
#include "core/tensor.h"

/* What a file says about itself, read without its data. */
typedef struct {
    ts_shape shape;
    ts_dtype dtype;     /* of the tensor that ts_npy_open gives: f2, f4 and f8 are f32; i4, i8 and u1 stay */
    int value_bytes;    /* of one value in the file: 2, 4 or 8 for floats */
    bool fortran_order; /* the first axis runs fastest in the file */
    int64_t data_start; /* bytes before the values */
} ts_npy_info;

/* An open file. Row-major f32, in C order and on a 4-byte boundary, is mapped and not copied; the same for i4, i8, u1.
 * A mapped file that another program cuts short meanwhile ends this one (SIGBUS), so data sets are not rewritten in
 * place. */
typedef struct {
    ts_tensor tensor; /* row-major, read-only */
    ts_npy_info info;
    void *map; /* of the whole file, or NULL where the values were converted */
    size_t map_bytes;
} ts_npy;

/* Opens the file; ts_npy_read_info looks at its header and size alone.
 * Owner: the caller calls ts_npy_close after TS_OK; after an error there is nothing to close.
 * Errors: TS_ERR_DATA with the path: missing, no .npy, header damaged or hostile, big-endian, objects, structures,
 * other types, a size that does not fit the shape. TS_ERR_RUNTIME out of memory. */
ts_status ts_npy_open(ts_npy *npy, const char *path, ts_error *err);
ts_status ts_npy_read_info(ts_npy_info *info, const char *path, ts_error *err);
void ts_npy_close(ts_npy *npy);

/* Parses the first bytes of a file (`count` of them, as many as there are up to TS_NPY_MAX_HEADER) that is `file_bytes`
 * long. `path` is for messages. */
enum { TS_NPY_MAX_HEADER = 1 << 16 };
ts_status ts_npy_parse(ts_npy_info *info, const unsigned char *bytes, size_t count, uint64_t file_bytes,
                       const char *path, ts_error *err);

/* Writes version 1.0, C order, atomically (replace.h). Types: f32, f64, i32, i64, u8.
 * Errors: TS_ERR_DATA with the path. */
ts_status ts_npy_write(const char *path, const ts_tensor *tensor, ts_error *err);

#endif
