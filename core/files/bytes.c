#define _GNU_SOURCE
#include "core/files/bytes.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include "core/memory.h"

void ts_bytes_clear(ts_bytes *bytes)
{
    ts_free(bytes->data);
    *bytes = (ts_bytes){0};
}

/* Bytes that arrive in pieces, up to a limit. */
typedef struct {
    ts_bytes bytes;
    size_t capacity, limit;
    const char *path;
    ts_status code;
} collector;

/* Room for at least one more byte than the limit allows tells "as large" from "larger". */
static ts_status make_room(collector *c, ts_error *err)
{
    if (c->bytes.count > c->limit)
        return ts_fail(err, c->code, "%s: larger than the limit of %zu bytes", c->path, c->limit);
    if (c->bytes.count + 1 < c->capacity)
        return TS_OK;
    size_t capacity = c->capacity < 4096 ? 4096 : 2 * c->capacity;
    if (capacity < c->capacity || capacity - 2 > c->limit)
        capacity = c->limit + 2;
    unsigned char *data = ts_realloc(c->bytes.data, capacity, 1);
    if (!data)
        return ts_out_of_memory(err, capacity);
    c->bytes.data = data;
    c->capacity = capacity;
    return TS_OK;
}

static ts_status hand_out(collector *c, ts_status status, ts_bytes *bytes)
{
    if (status == TS_OK && c->bytes.data) {
        c->bytes.data[c->bytes.count] = 0;
        *bytes = c->bytes;
    } else
        ts_bytes_clear(&c->bytes);
    return status;
}

static ts_status read_all(collector *c, int fd, ts_error *err)
{
    struct stat s;
    if (fstat(fd, &s) != 0 || !S_ISREG(s.st_mode))
        return ts_fail(err, c->code, "%s: not a regular file", c->path);
    if (s.st_size > 0 && (uint64_t)s.st_size > c->limit)
        return ts_fail(err, c->code, "%s: %lld bytes, larger than the limit of %zu", c->path, (long long)s.st_size,
                       c->limit);
    if (!(c->bytes.data = ts_alloc((size_t)s.st_size + 2)))
        return ts_out_of_memory(err, (size_t)s.st_size + 2);
    c->capacity = (size_t)s.st_size + 2;
    for (;;) {
        TS_TRY(make_room(c, err));
        ssize_t n = read(fd, c->bytes.data + c->bytes.count, c->capacity - 1 - c->bytes.count);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return ts_fail(err, c->code, "%s: cannot be read: %s", c->path, strerror(errno));
        if (n == 0)
            return TS_OK;
        c->bytes.count += (size_t)n;
    }
}

ts_status ts_bytes_read(ts_bytes *bytes, const char *path, size_t max_bytes, ts_status code, ts_error *err)
{
    *bytes = (ts_bytes){0};
    collector c = {.limit = max_bytes < SIZE_MAX / 4 ? max_bytes : SIZE_MAX / 4, .path = path, .code = code};
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return ts_fail(err, code, "%s: %s", path, strerror(errno));
    ts_status status = hand_out(&c, read_all(&c, fd, err), bytes);
    close(fd);
    return status;
}

/* One gzip member or several in a row; zeros may follow, as tapes and block devices leave them. */
static ts_status inflate_all(collector *c, z_stream *z, ts_error *err)
{
    for (;;) {
        TS_TRY(make_room(c, err));
        size_t room = c->capacity - 1 - c->bytes.count;
        z->next_out = c->bytes.data + c->bytes.count;
        z->avail_out = room < UINT_MAX ? (uInt)room : UINT_MAX;
        uInt before = z->avail_out;
        int result = inflate(z, Z_NO_FLUSH);
        c->bytes.count += before - z->avail_out;
        if (result == Z_STREAM_END) {
            while (z->avail_in && *z->next_in == 0)
                z->next_in++, z->avail_in--;
            if (z->avail_in == 0)
                return make_room(c, err);
            inflateReset(z);
        } else if (result == Z_MEM_ERROR)
            return ts_out_of_memory(err, 1 << 16);
        else if (result == Z_BUF_ERROR && z->avail_out)
            return ts_fail(err, c->code, "%s: the gzip data is truncated", c->path);
        else if (result != Z_OK && result != Z_BUF_ERROR)
            return ts_fail(err, c->code, "%s: the gzip data is damaged: %s", c->path, z->msg ? z->msg : "unknown");
    }
}

static ts_status gunzip(ts_bytes *out, const ts_bytes *packed, size_t limit, const char *path, ts_status code,
                        ts_error *err)
{
    collector c = {.limit = limit, .path = path, .code = code};
    z_stream z = {.next_in = packed->data, .avail_in = (uInt)packed->count};
    if (packed->count > UINT_MAX)
        return ts_fail(err, code, "%s: a gzip file of more than 4 GiB; unpack it first", path);
    if (inflateInit2(&z, MAX_WBITS + 16) != Z_OK)
        return ts_out_of_memory(err, 1 << 16);
    ts_status status = hand_out(&c, inflate_all(&c, &z, err), out);
    inflateEnd(&z);
    return status;
}

ts_status ts_bytes_read_gz(ts_bytes *bytes, const char *path, size_t max_bytes, ts_status code, ts_error *err)
{
    TS_TRY(ts_bytes_read(bytes, path, max_bytes, code, err));
    if (bytes->count < 2 || bytes->data[0] != 0x1f || bytes->data[1] != 0x8b)
        return TS_OK;
    ts_bytes packed = *bytes;
    *bytes = (ts_bytes){0};
    size_t limit = max_bytes < SIZE_MAX / 4 ? max_bytes : SIZE_MAX / 4;
    ts_status status = gunzip(bytes, &packed, limit, path, code, err);
    ts_bytes_clear(&packed);
    return status;
}
