/* For the tests of core/files: a folder of their own, whole files, and Python where it is. */
#ifndef TS_TESTS_FILES_SUPPORT_H
#define TS_TESTS_FILES_SUPPORT_H

#include <stdbool.h>
#include <stddef.h>

/* Criterion fixtures: make a folder and remove it with all in it. */
void scratch_make(void);
void scratch_remove(void);

/* The path of `name` in that folder, in static memory. */
const char *scratch(const char *name);

void write_bytes(const char *path, const void *bytes, size_t count);
void *read_bytes(const char *path, size_t *count); /* the caller frees with free() */
int files_in_scratch(void);

/* Runs /usr/bin/python3 with a script of tests/interop and up to two arguments; its exit status. */
int run_python(const char *script, const char *first, const char *second);
bool python_has(const char *module);

#endif
