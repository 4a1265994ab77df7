#define _GNU_SOURCE
#include "core/files/replace.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/memory.h"
#include "tests/core/files/files_support.h"

TestSuite(core_files_replace, .init = scratch_make, .fini = scratch_remove);

static ts_error err;

static ts_status save(const char *path, const char *text, ts_replace_policy policy)
{
    return ts_replace_file(path, text, strlen(text), policy, TS_ERR_CHECKPOINT, &err);
}

static void holds(const char *path, const char *text)
{
    size_t count;
    char *found = read_bytes(path, &count);
    cr_assert_str_eq(found, text, "%s", path);
    free(found);
}

Test(core_files_replace, new_and_over_an_old_one)
{
    const char *path = scratch("a.h5");
    cr_assert_eq(save(path, "one", TS_REPLACE_KEEP), TS_OK, "%s", err.text);
    cr_assert_eq(files_in_scratch(), 1);
    cr_assert_eq(save(path, "two", TS_REPLACE_KEEP), TS_OK, "%s", err.text);
    cr_assert_eq(save(path, "three", TS_REPLACE_KEEP), TS_OK, "%s", err.text);
    holds(path, "three");
    holds(scratch("a.prev.h5"), "two");
    cr_assert_eq(save(path, "four", TS_REPLACE_DROP), TS_OK, "%s", err.text);
    holds(path, "four");
    holds(scratch("a.prev.h5"), "two");
    cr_assert_eq(files_in_scratch(), 2);
}

Test(core_files_replace, previous_path)
{
    static const char *const pairs[][2] = {{"run/last.h5", "run/last.prev.h5"},
                                           {"last", "last.prev"},
                                           {"a.b/last", "a.b/last.prev"},
                                           {".hidden", ".hidden.prev"}};
    for (int i = 0; i < 4; i++) {
        char *path = ts_replace_previous_path(pairs[i][0]);
        cr_assert_str_eq(path, pairs[i][1]);
        ts_free(path);
    }
}

/* Every write-side call fails once, in every way: the name holds the old or the new file, whole, and nothing is left
 * lying about. */
static void fail_every_call(int error, ts_replace_policy policy)
{
    const char *path = scratch("b.h5");
    cr_assert_eq(save(path, "oldest", TS_REPLACE_DROP), TS_OK);
    cr_assert_eq(save(path, "old", TS_REPLACE_KEEP), TS_OK);
    ts_replace_fail_at(0, 0);
    cr_assert_eq(save(path, "old", policy), TS_OK);
    int calls = (int)ts_replace_fail_at(0, 0);
    cr_assert_geq(calls, 6);
    for (int n = 1; n <= calls; n++) {
        cr_assert_eq(save(path, "old", TS_REPLACE_DROP), TS_OK);
        ts_replace_fail_at((uint64_t)n, error);
        ts_status status = save(path, "new", policy);
        ts_replace_fail_at(0, 0);
        bool harmless = error == EINTR || error == TS_REPLACE_SHORT;
        bool without_links = error == EPERM && policy == TS_REPLACE_KEEP && (n == 4 || n == 5);
        cr_assert_eq(status, harmless || without_links ? TS_OK : TS_ERR_CHECKPOINT, "call %d", n);
        bool durable = n < calls - 1; /* the last two open and sync the folder */
        holds(path, status == TS_OK || !durable ? "new" : "old");
        cr_assert_eq(files_in_scratch(), 2, "call %d left a file", n);
    }
}

Test(core_files_replace, failing_disk)
{
    static const int errors[] = {ENOSPC, EIO, EDQUOT, EPERM, EINTR, TS_REPLACE_SHORT};
    for (size_t i = 0; i < sizeof errors / sizeof *errors; i++) {
        fail_every_call(errors[i], TS_REPLACE_DROP);
        fail_every_call(errors[i], TS_REPLACE_KEEP);
    }
}

Test(core_files_replace, says_what_to_do_when_full)
{
    ts_replace_fail_at(2, ENOSPC);
    cr_assert_eq(save(scratch("c.h5"), "x", TS_REPLACE_DROP), TS_ERR_CHECKPOINT);
    cr_assert(strstr(err.text, "No space left") && strstr(err.text, "free some space"), "%s", err.text);
    cr_assert_eq(files_in_scratch(), 0);
}

Test(core_files_replace, refused_places)
{
    static const char *const places[] = {"/proc/no/a.h5", "/proc/a.h5", "/nonexistent/a.h5", "/tmp"};
    for (int i = 0; i < 4; i++) {
        cr_assert_eq(save(places[i], "x", TS_REPLACE_DROP), TS_ERR_CHECKPOINT, "%s", places[i]);
        cr_assert(strncmp(err.text, places[i], strlen(places[i])) == 0, "%s", err.text);
    }
}

Test(core_files_replace, sweeps_what_the_dead_left)
{
    pid_t child = fork();
    if (child == 0)
        _exit(0);
    waitpid(child, NULL, 0);
    char dead[64], dead_link[64], alive[64], own[64];
    snprintf(dead, sizeof dead, "d.h5.tmp.%d", (int)child);
    snprintf(dead_link, sizeof dead_link, "d.h5.tmp.%d.prev", (int)child);
    snprintf(alive, sizeof alive, "d.h5.tmp.%d", (int)getppid());
    snprintf(own, sizeof own, "d.h5.tmp.%d", (int)getpid());
    const char *const keep[] = {alive, "e.h5.tmp.1", "d.h5.tmp.x", "d.h5.tmp.", "d.h5.tmp.12x", "d.h5"};
    const char *const gone[] = {dead, dead_link, own};
    for (int i = 0; i < 6; i++)
        write_bytes(scratch(keep[i]), "k", 1);
    for (int i = 0; i < 3; i++)
        write_bytes(scratch(gone[i]), "g", 1);
    ts_replace_sweep(scratch("d.h5"));
    for (int i = 0; i < 6; i++)
        cr_assert_eq(access(scratch(keep[i]), F_OK), 0, "%s", keep[i]);
    for (int i = 0; i < 3; i++)
        cr_assert_eq(access(scratch(gone[i]), F_OK), -1, "%s", gone[i]);
}

Test(core_files_replace, two_saves_at_once_are_refused)
{
    ts_replace r;
    const char *path = scratch("f.h5");
    cr_assert_eq(ts_replace_begin(&r, path, TS_ERR_CHECKPOINT, &err), TS_OK, "%s", err.text);
    cr_assert_eq(save(path, "second", TS_REPLACE_DROP), TS_ERR_CHECKPOINT);
    cr_assert(strstr(err.text, "another save"), "%s", err.text);
    cr_assert_eq(ts_replace_write(&r, "first", 5, &err), TS_OK);
    cr_assert_eq(ts_replace_commit(&r, TS_REPLACE_DROP, &err), TS_OK, "%s", err.text);
    ts_replace_end(&r);
    holds(path, "first");
}

Test(core_files_replace, a_symbolic_link_stays_one)
{
    struct stat s;
    cr_assert_eq(save(scratch("real.h5"), "one", TS_REPLACE_DROP), TS_OK);
    cr_assert_eq(symlink("real.h5", scratch("link.h5")), 0);
    cr_assert_eq(save(scratch("link.h5"), "two", TS_REPLACE_DROP), TS_OK, "%s", err.text);
    cr_assert(lstat(scratch("link.h5"), &s) == 0 && S_ISLNK(s.st_mode));
    holds(scratch("real.h5"), "two");
}

/* A crash between the two renames leaves the previous name as a second link of the file itself. */
Test(core_files_replace, previous_that_is_the_same_file)
{
    const char *path = scratch("g.h5");
    cr_assert_eq(save(path, "one", TS_REPLACE_DROP), TS_OK);
    cr_assert_eq(link(path, scratch("g.prev.h5")), 0);
    cr_assert_eq(save(path, "two", TS_REPLACE_KEEP), TS_OK, "%s", err.text);
    holds(path, "two");
    holds(scratch("g.prev.h5"), "one");
    cr_assert_eq(files_in_scratch(), 2);
}
