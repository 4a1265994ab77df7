#define _GNU_SOURCE
#include "train/file_list.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "core/text.h"

enum { MAX_DEPTH = 32 };

/* --- the list ----------------------------------------------------------------------------------------------------- */

/* Twice as long, copied: the arena gives nothing back. */
static ts_status grow(ts_file_list *list, ts_error *err)
{
    int64_t n = list->count;
    size_t bytes = (size_t)(n ? 2 * n : 1) * sizeof(char *);
    const char **name = ts_arena_alloc(&list->arena, bytes), **path = ts_arena_alloc(&list->arena, bytes);
    if (!name || !path)
        return ts_out_of_memory(err, bytes);
    if (n) {
        memcpy(name, list->name, (size_t)n * sizeof *name);
        memcpy(path, list->path, (size_t)n * sizeof *path);
    }
    list->name = name;
    list->path = path;
    return TS_OK;
}

static ts_status add(ts_file_list *list, const char *name, size_t name_bytes, const char *path, ts_error *err)
{
    int64_t n = list->count;
    if ((n & (n - 1)) == 0) /* 0, 1, 2, 4, 8 ... are full */
        TS_TRY(grow(list, err));
    list->name[n] = ts_arena_format(&list->arena, "%.*s", (int)name_bytes, name);
    list->path[n] = ts_arena_strdup(&list->arena, path);
    if (!list->name[n] || !list->path[n])
        return ts_out_of_memory(err, strlen(path));
    list->count++;
    return TS_OK;
}

ts_status ts_file_list_add(ts_file_list *list, const char *name, const char *path, ts_error *err)
{
    return add(list, name, strlen(name), path, err);
}

void ts_file_list_clear(ts_file_list *list)
{
    ts_arena_clear(&list->arena);
    *list = (ts_file_list){0};
}

/* --- folders ------------------------------------------------------------------------------------------------------ */

const char *ts_file_ending(const char *name, const char *const *endings)
{
    const char *dot = strrchr(name, '.');
    for (; dot && dot != name && *endings; endings++)
        if (strcasecmp(dot, *endings) == 0)
            return dot;
    return NULL;
}

typedef struct {
    ts_file_list *list;
    const ts_file_kind *kind;
    size_t root; /* bytes of a path before the names */
} walker;

static ts_status take(const walker *w, const char *path, ts_error *err)
{
    const char *name = path + w->root, *ending = ts_file_ending(name, w->kind->endings);
    if (!ending)
        return TS_OK;
    return add(w->list, name, w->kind->bare ? (size_t)(ending - name) : strlen(name), path, err);
}

static ts_status walk(const walker *w, const char *path, int depth, ts_error *err);

static ts_status visit(const walker *w, const char *path, const char *name, int depth, ts_error *err)
{
    char full[PATH_MAX];
    struct stat st;
    if (snprintf(full, sizeof full, "%s/%s", path, name) >= (int)sizeof full)
        return ts_fail(err, w->kind->code, "%s: a path below it is longer than %d bytes", path, PATH_MAX);
    if (stat(full, &st) == 0 && S_ISDIR(st.st_mode))
        return walk(w, full, depth + 1, err);
    return take(w, full, err);
}

/* In the order of the names, so that the order of the files is that of their paths on every file system. */
static ts_status walk(const walker *w, const char *path, int depth, ts_error *err)
{
    struct dirent **entries;
    if (depth > MAX_DEPTH)
        return ts_fail(err, w->kind->code, "%s: more than %d folders deep; is there a link to a folder above?", path,
                       MAX_DEPTH);
    int n = scandir(path, &entries, NULL, alphasort);
    if (n < 0)
        return ts_fail(err, w->kind->code, "%s: expected a folder of %s: %s", path, w->kind->what, strerror(errno));
    ts_status status = TS_OK;
    for (int i = 0; i < n; i++) {
        if (status == TS_OK && entries[i]->d_name[0] != '.')
            status = visit(w, path, entries[i]->d_name, depth, err);
        free(entries[i]);
    }
    free(entries);
    return status;
}

/* ".png, .jpg or .jpeg" */
static ts_status nothing_found(const char *folder, const ts_file_kind *kind, ts_error *err)
{
    char all[128] = "";
    size_t n = 0;
    for (int i = 0; kind->endings[i]; i++)
        n = ts_text_append(all, sizeof all, n, "%s%s",
                           i == 0                 ? ""
                           : kind->endings[i + 1] ? ", "
                                                  : " or ",
                           kind->endings[i]);
    return ts_fail(err, kind->code, "%s: expected %s files in this folder, found none", folder, all);
}

ts_status ts_file_list_walk(ts_file_list *list, const char *folder, const ts_file_kind *kind, ts_error *err)
{
    size_t bytes = strlen(folder);
    int64_t before = list->count;
    while (bytes > 1 && folder[bytes - 1] == '/')
        bytes--;
    char *root = ts_arena_format(&list->arena, "%.*s", (int)bytes, folder);
    if (!root)
        return ts_out_of_memory(err, bytes);
    walker w = {list, kind, bytes + 1};
    TS_TRY(walk(&w, root, 0, err));
    return list->count > before ? TS_OK : nothing_found(folder, kind, err);
}

ts_status ts_file_list_add_file(ts_file_list *list, const char *path, const ts_file_kind *kind, ts_error *err)
{
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    const char *ending = kind->bare ? ts_file_ending(name, kind->endings) : NULL;
    return add(list, name, ending ? (size_t)(ending - name) : strlen(name), path, err);
}

/* --- writing below a folder --------------------------------------------------------------------------------------- */

bool ts_file_name_is_safe(const char *name)
{
    for (const char *part = name;;) {
        size_t n = strcspn(part, "/");
        if (n == 0 || (part[0] == '.' && (n == 1 || (n == 2 && part[1] == '.'))))
            return false;
        if (!part[n])
            return true;
        part += n + 1;
    }
}

ts_status ts_folder_make(const char *path, ts_status code, ts_error *err)
{
    struct stat st;
    if (mkdir(path, 0777) == 0)
        return TS_OK;
    int why = errno;
    if (why == EEXIST && stat(path, &st) == 0 && S_ISDIR(st.st_mode))
        return TS_OK;
    return ts_fail(err, code, "%s: cannot be made as a folder: %s", path, strerror(why));
}

ts_status ts_folder_make_parents(const char *root, const char *file, ts_status code, ts_error *err)
{
    char path[PATH_MAX];
    if (snprintf(path, sizeof path, "%s", file) >= (int)sizeof path)
        return ts_fail(err, code, "%s: a path below it is longer than %d bytes", root, PATH_MAX);
    for (char *slash = strchr(path + strlen(root) + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        TS_TRY(ts_folder_make(path, code, err));
        *slash = '/';
    }
    return TS_OK;
}
