#include "tests/support/shared.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

const char *shared_path(const char *name)
{
    static char path[4096];
    const char *root = getenv("TESSERA_SHARED");
    snprintf(path, sizeof path, "%s/%s", root && *root ? root : TESSERA_SHARED, name);
    return access(path, R_OK) == 0 ? path : NULL;
}

void skip_counted_at(const char *why, const char *file, int line)
{
    printf("SKIPPED %s:%d: %s\n", file, line, why);
    fflush(stdout);
    cr_skip_test("%s", why);
}
