/* Named files, in an order: what encode and decode read. `{0}` is an empty list. */
#ifndef TS_TRAIN_FILE_LIST_H
#define TS_TRAIN_FILE_LIST_H

#include "core/memory.h"

typedef struct {
    int64_t count;
    const char **name; /* [count] what the file is called in tokens: "walk/a_01" */
    const char **path; /* [count] */
    ts_arena arena;    /* of all */
} ts_file_list;

/* Copies both texts. Errors: out of memory. */
ts_status ts_file_list_add(ts_file_list *list, const char *name, const char *path, ts_error *err);

typedef struct {
    const char *what;           /* "images": for messages */
    const char *const *endings; /* ".png", ... NULL; capitals do not matter */
    bool bare;                  /* names without their ending */
    ts_status code;             /* of errors */
} ts_file_kind;

/* Adds every such file below the folder, called by its path from there, in the order of the paths; names that start
 * with a dot are ignored. Errors: `code`: no folder, none in it, one that is too deep; out of memory. */
ts_status ts_file_list_walk(ts_file_list *list, const char *folder, const ts_file_kind *kind, ts_error *err);

/* Adds one file, called by the last part of its path. Errors: out of memory. */
ts_status ts_file_list_add_file(ts_file_list *list, const char *path, const ts_file_kind *kind, ts_error *err);

void ts_file_list_clear(ts_file_list *list);

/* The ending among `endings` that the name has, in it; NULL: none. */
const char *ts_file_ending(const char *name, const char *const *endings);

/* Can the name be a path below a folder, without leading out of it? No part of it is empty, "." or "..". */
bool ts_file_name_is_safe(const char *name);

/* Makes the folder, or the folders on the way to a file that lie below `root`. Errors: `code`, with the reason. */
ts_status ts_folder_make(const char *path, ts_status code, ts_error *err);
ts_status ts_folder_make_parents(const char *root, const char *file, ts_status code, ts_error *err);

#endif
