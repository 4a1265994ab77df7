/* A file that grows by whole pieces. Errors: TS_ERR_RUNTIME with the path and the reason. */
#ifndef TS_TRAIN_LINE_FILE_H
#define TS_TRAIN_LINE_FILE_H

#include <stddef.h>

#include "core/status.h"

typedef struct {
    char *path;
    int fd;
} ts_line_file;

/* folder/name, for appending. Owner: ts_line_file_close, also after a failure. */
ts_status ts_line_file_open(ts_line_file *file, const char *folder, const char *name, ts_error *err);
void ts_line_file_close(ts_line_file *file); /* {.fd = -1} is fine */

/* One write at the end; where it fails, what came through of it is cut off again. */
ts_status ts_line_file_write(const ts_line_file *file, const char *line, size_t bytes, ts_error *err);

/* All of it to a descriptor; `name` is for the message. */
ts_status ts_write_all(int fd, const char *name, const char *bytes, size_t count, ts_error *err);

#endif
