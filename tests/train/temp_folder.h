/* A folder of its own for one test, and files in it. */
#ifndef TS_TESTS_TEMP_FOLDER_H
#define TS_TESTS_TEMP_FOLDER_H

#include <stddef.h>

typedef struct {
    char path[512];
} temp_folder;

temp_folder temp_folder_make(void); /* under $TMPDIR or /tmp; fails the test where that cannot be done */
void temp_folder_remove(const temp_folder *folder);

/* folder/name, in one of eight static buffers that take turns. */
const char *temp_path(const temp_folder *folder, const char *name);

/* Writes folder/name, with the folders on its way, and returns its path as temp_path does. */
const char *temp_write(const temp_folder *folder, const char *name, const void *bytes, size_t count);

#endif
