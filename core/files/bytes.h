/* Whole files into memory. To write one, ts_replace_file (replace.h). */
#ifndef TS_CORE_FILES_BYTES_H
#define TS_CORE_FILES_BYTES_H

#include <stddef.h>

#include "core/status.h"

typedef struct {
    unsigned char *data; /* [count], and a 0 behind them, so that a text can be used as one */
    size_t count;
} ts_bytes;

/* Reads a regular file of at most `max_bytes`.
 * Errors: `code` with the path: missing, a folder, larger than the limit, a failing disk.
 * Owner: the caller calls ts_bytes_clear after TS_OK; after an error there is nothing to clear. */
ts_status ts_bytes_read(ts_bytes *bytes, const char *path, size_t max_bytes, ts_status code, ts_error *err);

/* The same, and where the content is gzip (by its first bytes, whatever the name), unpacks it; the limit holds for what
 * comes out. Errors also: damaged or truncated gzip data. */
ts_status ts_bytes_read_gz(ts_bytes *bytes, const char *path, size_t max_bytes, ts_status code, ts_error *err);

void ts_bytes_clear(ts_bytes *bytes);

#endif
