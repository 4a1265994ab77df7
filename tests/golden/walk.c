#include "tests/golden/walk.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "tests/support/shared.h"

golden_verdict golden_walk(const char *path, const char *device_name, golden_check check)
{
    golden_verdict v = {0};
    ts_error err = {0};
    ts_device *device;
    golden_file file;
    golden_case *c = ts_alloc(sizeof *c);
    cr_assert_eq(ts_device_open(device_name, 2, &device, &err), TS_OK, "%s", err.text);
    golden_file_open(&file, path);
    for (int64_t i = 0; i < file.cases.count; i++) {
        golden_case_open(c, &file, i);
        check(c, device);
        v.cases++;
        if (golden_case_close(c))
            continue;
        if (v.failed++ == 0)
            memcpy(v.first, c->failure, sizeof v.first);
        printf("%s: %s\n", device_name, c->failure);
    }
    golden_file_close(&file);
    ts_free(c);
    ts_device_close(device);
    return v;
}

void golden_expect(const char *path, const char *device, int64_t least, golden_check check)
{
    golden_verdict v = golden_walk(path, device, check);
    cr_expect_eq(v.failed, 0, "%lld of %lld cases of %s fail on %s, first %s", (long long)v.failed, (long long)v.cases,
                 path, device, v.first);
    cr_expect_geq(v.cases, least, "%s holds %lld cases, expected at least %lld", path, (long long)v.cases,
                  (long long)least);
}

void golden_expect_shared(const char *name, const char *device, int64_t least, golden_check check)
{
    char relative[256];
    snprintf(relative, sizeof relative, "golden/%s", name);
    const char *path = shared_path(relative);
    if (path)
        golden_expect(path, device, least, check);
    else
        skip_counted("no such golden file in the shared folder");
}

void golden_expect_own(const char *name, const char *device, int64_t least, golden_check check)
{
    char path[1024];
    snprintf(path, sizeof path, "%s/tests/golden/%s", TESSERA_SOURCE, name);
    golden_expect(path, device, least, check);
}
