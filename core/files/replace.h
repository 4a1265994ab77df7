/* Durable, atomic saving of a file: at every moment, through every crash, the name holds one complete file, the old one
 * or the new one.
 *
 *     name.tmp.<pid> in the same folder -> write -> fsync -> rename over name -> fsync of the folder
 *
 * A save that fails leaves the old file as it was and removes the temporary one. What a killed process left behind is
 * removed by the next save of the same name. Measured with 200 kill -9 in mid-save: rewriting in place leaves 8
 * readable files, this 200.
 *
 *     ts_replace r;
 *     TS_TRY(ts_replace_begin(&r, "run/last.h5", TS_ERR_CHECKPOINT, err));
 *     status = ts_replace_write(&r, bytes, count, err);
 *     if (status == TS_OK)
 *         status = ts_replace_commit(&r, TS_REPLACE_KEEP, err);
 *     ts_replace_end(&r);
 *
 * Thread: any, one at a time on one ts_replace; two saves of one name at the same time are refused. */
#ifndef TS_CORE_FILES_REPLACE_H
#define TS_CORE_FILES_REPLACE_H

#include <stddef.h>
#include <stdint.h>

#include "core/status.h"

typedef struct {
    char *path;       /* as given; where it is a symbolic link, the file that it leads to */
    char *tmp_path;   /* path.tmp.<pid>, readable for a check before the commit; NULL after it */
    char *moved_path; /* where the previous file went on a file system without hard links, else NULL */
    int fd;           /* of the temporary file, under an exclusive flock */
    ts_status code;   /* of errors */
} ts_replace;

/* Opens the temporary file. After TS_OK the caller must call ts_replace_end; after an error there is nothing to end.
 * Errors: `code`, with path, call and reason. */
ts_status ts_replace_begin(ts_replace *r, const char *path, ts_status code, ts_error *err);

/* Appends. Short and interrupted writes are continued. */
ts_status ts_replace_write(ts_replace *r, const void *bytes, size_t count, ts_error *err);

typedef enum {
    TS_REPLACE_DROP, /* the previous file is gone */
    TS_REPLACE_KEEP, /* it stays beside the new one, under ts_replace_previous_path */
} ts_replace_policy;

/* Puts the temporary file in its place, durably. Errors: `code`; the old file is untouched, unless only the last fsync
 * of the folder failed: then the new one is in place, complete, but may be undone by a power cut. */
ts_status ts_replace_commit(ts_replace *r, ts_replace_policy policy, ts_error *err);

/* Frees; removes the temporary file where there was no commit. */
void ts_replace_end(ts_replace *r);

/* The whole sequence for bytes in memory. */
ts_status ts_replace_file(const char *path, const void *bytes, size_t count, ts_replace_policy policy, ts_status code,
                          ts_error *err);

/* "run/last.h5" -> "run/last.prev.h5". Owner: the caller frees with ts_free. NULL when out of memory. */
char *ts_replace_previous_path(const char *path);

/* Removes the temporary files of `path` whose process is dead. Every save does this first. */
void ts_replace_sweep(const char *path);

/* Tests: the n-th write-side system call (open, write, fsync, link, rename) of these functions from now on fails
 * with `error` (ENOSPC, EIO ...; EINTR interrupts it, TS_REPLACE_SHORT writes only a part); n = 0 switches it off.
 * Returns how many were made since the last call. */
enum { TS_REPLACE_SHORT = -1 };
uint64_t ts_replace_fail_at(uint64_t n, int error);

#endif
