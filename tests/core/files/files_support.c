#define _GNU_SOURCE
#include "tests/core/files/files_support.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static char folder[512];

void scratch_make(void)
{
    const char *root = getenv("TMPDIR");
    snprintf(folder, sizeof folder, "%s/tessera-files-XXXXXX", root && *root ? root : "/tmp");
    cr_assert(mkdtemp(folder), "no temporary folder %s", folder);
}

static int remove_one(const char *path, const struct stat *s, int kind, struct FTW *at)
{
    (void)s;
    (void)kind;
    (void)at;
    return remove(path);
}

void scratch_remove(void)
{
    nftw(folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

const char *scratch(const char *name)
{
    static char paths[256][640];
    char path[640];
    int i = 0;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    while (*paths[i] && strcmp(paths[i], path) != 0)
        cr_assert_lt(++i, 256, "too many scratch names");
    memcpy(paths[i], path, sizeof path);
    return paths[i];
}

void write_bytes(const char *path, const void *bytes, size_t count)
{
    FILE *f = fopen(path, "wb");
    cr_assert(f && fwrite(bytes, 1, count, f) == count, "cannot write %s", path);
    cr_assert(fclose(f) == 0);
}

void *read_bytes(const char *path, size_t *count)
{
    FILE *f = fopen(path, "rb");
    cr_assert(f, "cannot read %s", path);
    fseek(f, 0, SEEK_END);
    *count = (size_t)ftell(f);
    rewind(f);
    char *bytes = malloc(*count + 1);
    cr_assert(bytes && fread(bytes, 1, *count, f) == *count);
    bytes[*count] = '\0';
    fclose(f);
    return bytes;
}

int files_in_scratch(void)
{
    int count = 0;
    DIR *d = opendir(folder);
    for (struct dirent *e; (e = readdir(d));)
        count += e->d_name[0] != '.';
    closedir(d);
    return count;
}

static int run(char *const argv[])
{
    pid_t child = fork();
    if (child == 0) {
        execv(argv[0], argv);
        _exit(127);
    }
    int status = -1;
    waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

int run_python(const char *script, const char *first, const char *second)
{
    char path[1024];
    snprintf(path, sizeof path, "%s/tests/interop/%s", TESSERA_SOURCE, script);
    return run((char *[]){"/usr/bin/python3", path, (char *)first, (char *)second, NULL});
}

bool python_has(const char *module)
{
    char code[128];
    snprintf(code, sizeof code, "import importlib.util as u, sys; sys.exit(u.find_spec('%s') is None)", module);
    return run((char *[]){"/usr/bin/python3", "-c", code, NULL}) == 0;
}
