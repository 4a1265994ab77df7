#define _GNU_SOURCE
#include "train/line_file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "core/memory.h"

ts_status ts_write_all(int fd, const char *name, const char *bytes, size_t count, ts_error *err)
{
    while (count) {
        ssize_t n = write(fd, bytes, count);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return ts_fail(err, TS_ERR_RUNTIME, "%s: cannot be written: %s%s", name, strerror(errno),
                           errno == ENOSPC || errno == EDQUOT ? "; free some space and go on with --resume" : "");
        bytes += n;
        count -= (size_t)n;
    }
    return TS_OK;
}

ts_status ts_line_file_write(const ts_line_file *file, const char *line, size_t bytes, ts_error *err)
{
    off_t end = lseek(file->fd, 0, SEEK_END);
    ts_status status = ts_write_all(file->fd, file->path, line, bytes, err);
    if (status != TS_OK && end >= 0 && ftruncate(file->fd, end) != 0)
        return status; /* a device: it holds no half lines */
    return status;
}

ts_status ts_line_file_open(ts_line_file *file, const char *folder, const char *name, ts_error *err)
{
    *file = (ts_line_file){ts_format("%s/%s", folder, name), -1};
    if (!file->path)
        return ts_out_of_memory(err, strlen(folder));
    file->fd = open(file->path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    return file->fd >= 0 ? TS_OK
                         : ts_fail(err, TS_ERR_RUNTIME, "%s: cannot be opened: %s", file->path, strerror(errno));
}

void ts_line_file_close(ts_line_file *file)
{
    if (file->fd >= 0)
        close(file->fd);
    ts_free(file->path);
    *file = (ts_line_file){.fd = -1};
}
