/* What the files hdf5*.c share; nobody else includes it. Every function here is called between ts_h5_enter and
 * ts_h5_leave, except ts_h5_new and ts_h5_rooted. */
#ifndef TS_CORE_FILES_HDF5_INTERNAL_H
#define TS_CORE_FILES_HDF5_INTERNAL_H

#define H5_USE_110_API /* later releases keep these signatures behind it */
#include <hdf5.h>

#include "core/files/hdf5.h"

struct ts_h5 {
    hid_t id;   /* of the file; negative while it is closed */
    char *path; /* as the user gave it */
    ts_status code;
    /* Of a file being written: its bytes, which libhdf5's core driver owns until the file is closed. */
    void *image;
    size_t image_capacity_bytes, image_bytes, user_block_bytes;
};

/* The one mutex; and the library made silent, without plugins, without links into other files. */
void ts_h5_enter(void);
void ts_h5_leave(void);

/* A file that is not open yet; NULL when out of memory. */
ts_h5 *ts_h5_new(const char *path, ts_status code);

/* "path: object: what (libhdf5: why)", with the file's code. */
ts_status ts_h5_fail(const ts_h5 *file, const char *object, const char *what, ts_error *err);

/* "" is the root group. */
const char *ts_h5_rooted(const char *path);

hid_t ts_h5_memory_type(ts_dtype dtype);

/* Opens a dataset that must be of that kind (TENSOR or STRINGS), and describes it. The caller closes *dataset. */
ts_status ts_h5_open_dataset(ts_h5 *file, const char *path, ts_h5_kind kind, ts_h5_entry *entry, hid_t *dataset,
                             ts_error *err);

/* A few damaged bytes can claim any shape: what is large must be backed by bytes in the file. */
bool ts_h5_claim_is_credible(hid_t dataset, uint64_t bytes);

#endif
