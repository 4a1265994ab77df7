#define _GNU_SOURCE
#include "core/files/replace.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/memory.h"

/* ---- system calls that can be made to fail ---- */

static _Atomic uint64_t calls, fail_at;
static _Atomic int fail_error;

uint64_t ts_replace_fail_at(uint64_t n, int error)
{
    uint64_t before = atomic_exchange(&calls, 0);
    atomic_store(&fail_error, error);
    atomic_store(&fail_at, n);
    return before;
}

/* True where this call is to fail; errno is set. */
static bool injected(void)
{
    if (atomic_fetch_add(&calls, 1) + 1 != atomic_load(&fail_at))
        return false;
    errno = atomic_load(&fail_error);
    return errno != TS_REPLACE_SHORT;
}

static ssize_t try_write(int fd, const void *bytes, size_t count)
{
    errno = 0;
    if (injected())
        return -1;
    bool cut = errno == TS_REPLACE_SHORT && count > 1;
    return write(fd, bytes, cut ? count / 2 : count);
}

static int try_open(const char *path, int flags)
{
    int fd = -1;
    do
        fd = injected() ? -1 : open(path, flags | O_CLOEXEC, 0666);
    while (fd < 0 && errno == EINTR);
    return fd;
}

static int try_fsync(int fd)
{
    int result;
    do
        result = injected() ? -1 : fsync(fd);
    while (result < 0 && errno == EINTR);
    return result;
}

static int try_rename(const char *from, const char *to)
{
    int result;
    do
        result = injected() ? -1 : rename(from, to);
    while (result < 0 && errno == EINTR);
    return result;
}

static int try_link(const char *from, const char *to)
{
    int result;
    do
        result = injected() ? -1 : link(from, to);
    while (result < 0 && errno == EINTR);
    return result;
}

static ts_status fail(const ts_replace *r, const char *what, ts_error *err)
{
    return ts_fail(err, r->code, "%s: not saved: %s: %s%s", r->path, what, strerror(errno),
                   errno == ENOSPC || errno == EDQUOT ? "; free some space and try again" : "");
}

/* ---- names ---- */

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

/* "run/last.h5" -> "run", "last.h5" -> ".", "/x" -> "/" */
static char *folder_of(const char *path)
{
    size_t n = (size_t)(base_name(path) - path);
    return n == 0 ? ts_strdup(".") : ts_format("%.*s", (int)(n > 1 ? n - 1 : n), path);
}

char *ts_replace_previous_path(const char *path)
{
    const char *base = base_name(path), *dot = strrchr(base, '.');
    if (!dot || dot == base)
        return ts_format("%s.prev", path);
    return ts_format("%.*s.prev%s", (int)(dot - path), path, dot);
}

/* ---- what dead processes left ---- */

/* `base`.tmp.<pid>, also with .prev behind it: the pid, else 0. */
static pid_t pid_of_temporary(const char *name, const char *base)
{
    size_t n = strlen(base);
    if (strncmp(name, base, n) != 0 || strncmp(name + n, ".tmp.", 5) != 0 || !isdigit((unsigned char)name[n + 5]))
        return 0;
    char *end;
    long pid = strtol(name + n + 5, &end, 10);
    return (*end && strcmp(end, ".prev") != 0) || pid <= 0 || pid > INT32_MAX ? 0 : (pid_t)pid;
}

/* A live writer holds a lock on its file. The process number alone would not do: in another container or on another
 * machine it means another process, and it comes round again. */
static bool is_abandoned(int folder, const char *name, pid_t pid)
{
    if (pid != getpid() && (kill(pid, 0) == 0 || errno != ESRCH))
        return false;
    int fd = openat(folder, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    bool abandoned = fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0;
    if (fd >= 0)
        close(fd);
    return abandoned;
}

void ts_replace_sweep(const char *path)
{
    char *folder = folder_of(path);
    DIR *d = folder ? opendir(folder) : NULL;
    for (struct dirent *e; d && (e = readdir(d));) {
        pid_t pid = pid_of_temporary(e->d_name, base_name(path));
        if (pid && is_abandoned(dirfd(d), e->d_name, pid))
            unlinkat(dirfd(d), e->d_name, 0);
    }
    if (d)
        closedir(d);
    ts_free(folder);
}

/* ---- begin and write ---- */

/* A save through a symbolic link replaces the file and leaves the link. */
static char *resolve(const char *path)
{
    struct stat s;
    char *real = lstat(path, &s) == 0 && S_ISLNK(s.st_mode) ? realpath(path, NULL) : NULL;
    char *copy = ts_strdup(real ? real : path);
    free(real);
    return copy;
}

static ts_status open_temporary(ts_replace *r, ts_error *err)
{
    struct stat s;
    if (stat(r->path, &s) == 0 && !S_ISREG(s.st_mode))
        return ts_fail(err, r->code, "%s: not saved: it is there and not a regular file", r->path);
    ts_replace_sweep(r->path);
    r->fd = try_open(r->tmp_path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW);
    if (r->fd < 0 && errno == EEXIST)
        return ts_fail(err, r->code, "%s: not saved: %s is there; is another save of it under way?", r->path,
                       r->tmp_path);
    if (r->fd < 0)
        return fail(r, "its folder takes no new file", err);
    flock(r->fd, LOCK_EX | LOCK_NB); /* a file system without locks: then the process number has to do */
    return TS_OK;
}

ts_status ts_replace_begin(ts_replace *r, const char *path, ts_status code, ts_error *err)
{
    *r = (ts_replace){.path = resolve(path), .fd = -1, .code = code};
    r->tmp_path = r->path ? ts_format("%s.tmp.%ld", r->path, (long)getpid()) : NULL;
    ts_status status = r->tmp_path ? open_temporary(r, err) : ts_out_of_memory(err, strlen(path) + 16);
    if (status != TS_OK)
        ts_replace_end(r);
    return status;
}

ts_status ts_replace_write(ts_replace *r, const void *bytes, size_t count, ts_error *err)
{
    enum { PIECE_BYTES = 64 << 20 };
    const char *from = bytes;
    while (count) {
        ssize_t n = try_write(r->fd, from, count < PIECE_BYTES ? count : PIECE_BYTES);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return fail(r, "write", err);
        from += n;
        count -= (size_t)n;
    }
    return TS_OK;
}

/* ---- commit ---- */

/* The previous file gets a second name before the first is taken from it. Renaming one link of a file over another of
 * the same file does nothing, so the helper name may survive and is removed in any case. */
static int keep_by_link(const char *path, const char *helper, const char *previous)
{
    unlink(helper);
    int result = try_link(path, helper);
    if (result == 0)
        result = try_rename(helper, previous);
    int error = errno;
    unlink(helper);
    errno = error;
    return result;
}

static bool has_no_links(int error)
{
    return error == EPERM || error == EOPNOTSUPP || error == ENOSYS || error == EMLINK;
}

static ts_status keep_previous(ts_replace *r, ts_error *err)
{
    char *previous = ts_replace_previous_path(r->path), *helper = ts_format("%s.prev", r->tmp_path);
    ts_status status = TS_OK;
    if (!previous || !helper)
        status = ts_out_of_memory(err, strlen(r->path) + 16);
    else if (keep_by_link(r->path, helper, previous) != 0 && errno != ENOENT) {
        /* Without hard links the previous file is the complete one until the next rename. */
        if (!has_no_links(errno) || try_rename(r->path, previous) != 0)
            status = fail(r, "the previous file cannot be kept", err);
        else {
            r->moved_path = previous;
            previous = NULL;
        }
    }
    ts_free(previous);
    ts_free(helper);
    return status;
}

/* Some file systems (FUSE, CIFS) cannot sync a folder and say EINVAL. */
static ts_status sync_folder(ts_replace *r, ts_error *err)
{
    char *folder = folder_of(r->path);
    if (!folder)
        return ts_out_of_memory(err, strlen(r->path));
    int fd = try_open(folder, O_RDONLY | O_DIRECTORY);
    bool ok = fd >= 0 && (try_fsync(fd) == 0 || errno == EINVAL);
    ts_status status = TS_OK;
    if (!ok)
        status = ts_fail(err, r->code, "%s: saved, but a power cut may undo it: fsync of %s: %s", r->path, folder,
                         strerror(errno));
    if (fd >= 0)
        close(fd);
    ts_free(folder);
    return status;
}

/* The descriptor stays open, and with it the lock, until the file has its name; after fsync a close has nothing left to
 * report. */
ts_status ts_replace_commit(ts_replace *r, ts_replace_policy policy, ts_error *err)
{
    if (try_fsync(r->fd) != 0)
        return fail(r, "fsync", err);
    if (policy == TS_REPLACE_KEEP)
        TS_TRY(keep_previous(r, err));
    if (try_rename(r->tmp_path, r->path) != 0) {
        ts_status status = fail(r, "rename", err);
        if (r->moved_path)
            rename(r->moved_path, r->path);
        return status;
    }
    ts_free(r->tmp_path);
    r->tmp_path = NULL;
    return sync_folder(r, err);
}

void ts_replace_end(ts_replace *r)
{
    if (r->tmp_path && r->fd >= 0)
        unlink(r->tmp_path);
    if (r->fd >= 0)
        close(r->fd);
    ts_free(r->tmp_path);
    ts_free(r->moved_path);
    ts_free(r->path);
    *r = (ts_replace){.fd = -1};
}

ts_status ts_replace_file(const char *path, const void *bytes, size_t count, ts_replace_policy policy, ts_status code,
                          ts_error *err)
{
    ts_replace r;
    TS_TRY(ts_replace_begin(&r, path, code, err));
    ts_status status = ts_replace_write(&r, bytes, count, err);
    if (status == TS_OK)
        status = ts_replace_commit(&r, policy, err);
    ts_replace_end(&r);
    return status;
}
