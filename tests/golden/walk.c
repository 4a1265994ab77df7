#include "tests/golden/walk.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/support/shared.h"

static bool is_named(const char *name, const char *const *names)
{
    for (; names && *names; names++)
        if (strcmp(name, *names) == 0)
            return true;
    return !names;
}

/* The cases of these names, NULL: all. */
static golden_verdict walk(const char *path, const char *device_name, const char *const *names, golden_check check)
{
    golden_verdict v = {0};
    ts_error err = {0};
    ts_device *device;
    golden_file file;
    golden_case *c = ts_alloc(sizeof *c);
    setenv("TESSERA_CUDA_MODULE", TESSERA_CUDA_EMULATED, 0);
    cr_assert_eq(ts_device_open(device_name, 2, &device, &err), TS_OK, "%s", err.text);
    golden_file_open(&file, path);
    for (int64_t i = 0; i < file.cases.count; i++) {
        if (!is_named(file.cases.entry[i].name, names))
            continue;
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

golden_verdict golden_walk(const char *path, const char *device, golden_check check)
{
    return walk(path, device, NULL, check);
}

static void expect(golden_verdict v, const char *path, const char *device, int64_t least)
{
    cr_expect_eq(v.failed, 0, "%lld of %lld cases of %s fail on %s, first %s", (long long)v.failed, (long long)v.cases,
                 path, device, v.first);
    cr_expect_geq(v.cases, least, "%s holds %lld cases, expected at least %lld", path, (long long)v.cases,
                  (long long)least);
}

void golden_expect(const char *path, const char *device, int64_t least, golden_check check)
{
    expect(golden_walk(path, device, check), path, device, least);
}

static const char *shared_file(const char *name)
{
    char relative[256];
    snprintf(relative, sizeof relative, "golden/%s", name);
    const char *path = shared_path(relative);
    if (!path)
        skip_counted("no such golden file in the shared folder");
    return path;
}

void golden_expect_shared(const char *name, const char *device, int64_t least, golden_check check)
{
    const char *path = shared_file(name);
    if (path)
        golden_expect(path, device, least, check);
}

void golden_expect_shared_cases(const char *name, const char *device, const char *const *cases, golden_check check)
{
    const char *path = shared_file(name);
    int64_t least = 0;
    while (cases[least])
        least++;
    if (path)
        expect(walk(path, device, cases, check), path, device, least);
}

void golden_expect_own(const char *name, const char *device, int64_t least, golden_check check)
{
    char path[1024];
    snprintf(path, sizeof path, "%s/tests/golden/%s", TESSERA_SOURCE, name);
    golden_expect(path, device, least, check);
}

/* By 1 % of its greatest magnitude, or of 1; integers by 1. */
static void disturb(const ts_tensor *t)
{
    if (t->dtype == TS_I32) {
        *(int32_t *)t->data += 1;
        return;
    }
    float *x = t->data, largest = 1;
    for (int64_t i = 0; i < ts_shape_count(t->shape); i++)
        largest = fmaxf(largest, fabsf(x[i]));
    x[0] += 0.01f * largest;
}

/* Of case i: how many results were disturbed, one at a time. */
static int64_t disturb_each(golden_case *c, golden_file *file, int64_t i, ts_device *device, golden_is_result is_result,
                            golden_check check)
{
    int64_t disturbed = 0;
    golden_case_open(c, file, i);
    int count = c->count;
    for (int k = 0; k < count; k++) {
        if (is_result(c, c->tensor[k].path)) {
            disturb(&c->tensor[k].tensor);
            check(c, device);
            cr_expect(c->failure[0], "%s: nothing depends on %s", c->name, c->tensor[k].path);
            disturbed++;
            golden_case_close(c);
            golden_case_open(c, file, i);
        }
    }
    golden_case_close(c);
    return disturbed;
}

void golden_expect_no_blind_spot(const char *name, int64_t least, golden_is_result is_result, golden_check check)
{
    char path[1024];
    ts_error err = {0};
    ts_device *device;
    golden_file file;
    golden_case *c = ts_alloc(sizeof *c);
    int64_t disturbed = 0;
    snprintf(path, sizeof path, "%s/tests/golden/%s", TESSERA_SOURCE, name);
    cr_assert_eq(ts_device_open("cpu", 1, &device, &err), TS_OK, "%s", err.text);
    golden_file_open(&file, path);
    for (int64_t i = 0; i < file.cases.count; i++)
        disturbed += disturb_each(c, &file, i, device, is_result, check);
    cr_expect_geq(disturbed, least, "%lld results were disturbed, expected at least %lld", (long long)disturbed,
                  (long long)least);
    golden_file_close(&file);
    ts_free(c);
    ts_device_close(device);
}

/* The tensors first, so that the groups exist. */
static void write_entries(ts_h5 *file, const golden_entry *entries, int count)
{
    ts_error err = {0};
    for (int i = 0; i < count; i++) {
        ts_named_tensor t = {entries[i].path, {TS_F32, {1, {1}}, (void *)&entries[i].value}};
        if (!entries[i].attribute)
            cr_assert_eq(ts_h5_write(file, &t, &err), TS_OK, "%s", err.text);
    }
    for (int i = 0; i < count; i++) {
        const golden_entry *e = &entries[i];
        if (e->attribute)
            cr_assert_eq(ts_h5_write_text(file, e->path, e->attribute, e->text, &err), TS_OK, "%s", err.text);
    }
}

golden_verdict golden_walk_of(const golden_entry *entries, int count, golden_check check)
{
    char folder[] = "/tmp/golden_XXXXXX", path[64];
    cr_assert_not_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/made_up.h5", folder);
    ts_error err = {0};
    ts_h5 *file;
    cr_assert_eq(ts_h5_create(&file, path, 0, TS_ERR_DATA, &err), TS_OK, "%s", err.text);
    write_entries(file, entries, count);
    cr_assert_eq(ts_h5_save(file, &err), TS_OK, "%s", err.text);
    ts_h5_close(file);
    golden_verdict v = golden_walk(path, "ref", check);
    unlink(path);
    rmdir(folder);
    return v;
}

void golden_expect_failure(golden_verdict v, const char *text)
{
    cr_expect_eq(v.failed, 1, "%lld cases fail, expected one", (long long)v.failed);
    cr_expect(strstr(v.first, text), "expected \"%s\" in: %s", text, v.first);
}
