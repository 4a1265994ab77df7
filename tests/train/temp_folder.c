#define _GNU_SOURCE
#include "tests/train/temp_folder.h"

#include <criterion/criterion.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

temp_folder temp_folder_make(void)
{
    temp_folder folder;
    const char *root = getenv("TMPDIR");
    snprintf(folder.path, sizeof folder.path, "%s/tessera-XXXXXX", root && *root ? root : "/tmp");
    cr_assert_not_null(mkdtemp(folder.path), "no temporary folder %s", folder.path);
    return folder;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *walk)
{
    (void)st, (void)type, (void)walk;
    return remove(path);
}

void temp_folder_remove(const temp_folder *folder)
{
    nftw(folder->path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

const char *temp_path(const temp_folder *folder, const char *name)
{
    static char path[8][1024];
    static int turn;
    turn = (turn + 1) % 8;
    snprintf(path[turn], sizeof path[turn], "%s/%s", folder->path, name);
    return path[turn];
}

static void make_folders(const temp_folder *folder, const char *name)
{
    char part[512];
    for (const char *slash = strchr(name, '/'); slash; slash = strchr(slash + 1, '/')) {
        snprintf(part, sizeof part, "%.*s", (int)(slash - name), name);
        mkdir(temp_path(folder, part), 0700);
    }
}

const char *temp_write(const temp_folder *folder, const char *name, const void *bytes, size_t count)
{
    make_folders(folder, name);
    const char *path = temp_path(folder, name);
    FILE *file = fopen(path, "wb");
    cr_assert_not_null(file, "%s", path);
    cr_assert_eq(fwrite(bytes, 1, count, file), count);
    cr_assert_eq(fclose(file), 0);
    return path;
}
