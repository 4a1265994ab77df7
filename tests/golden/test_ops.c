/* Every case of ops.h5, the project's own and the shared one, on the reference loops and on the CPU kernels. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/memory.h"
#include "tests/golden/op_golden.h"
#include "tests/golden/walk.h"

static void check(golden_case *c, ts_device *device)
{
    const op_golden *op = op_golden_find(c->name);
    if (op)
        op_golden_check(c, op, device);
    else if (!op_golden_special(c, device))
        golden_fail(c, "the operation is not understood");
}

Test(golden_ops, shared_on_ref)
{
    golden_expect_shared("ops.h5", "ref", 65, check);
}

Test(golden_ops, shared_on_cpu)
{
    golden_expect_shared("ops.h5", "cpu", 65, check);
}

Test(golden_ops, own_on_ref)
{
    golden_expect_own("ops.h5", "ref", 210, check);
}

Test(golden_ops, own_on_cpu)
{
    golden_expect_own("ops.h5", "cpu", 210, check);
}

/* ---- the walk itself: what it must not pass ---- */

typedef struct {
    const char *path;
    float value;
} entry;

/* What the walk says about a file of scalars. */
static golden_verdict walk_of(const entry *entries, int count, const char *attribute_of)
{
    char folder[] = "/tmp/golden_ops_XXXXXX", path[64];
    cr_assert_not_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/ops.h5", folder);
    ts_error err = {0};
    ts_h5 *file;
    void *image;
    size_t bytes;
    cr_assert_eq(ts_h5_create(&file, path, 0, TS_ERR_DATA, &err), TS_OK, "%s", err.text);
    for (int i = 0; i < count; i++) {
        ts_named_tensor t = {entries[i].path, {TS_F32, {1, {1}}, (void *)&entries[i].value}};
        cr_assert_eq(ts_h5_write(file, &t, &err), TS_OK, "%s", err.text);
    }
    if (attribute_of)
        cr_assert_eq(ts_h5_write_text(file, attribute_of, "slope", "0.3", &err), TS_OK, "%s", err.text);
    cr_assert_eq(ts_h5_finish(file, &image, &bytes, &err), TS_OK, "%s", err.text);
    ts_h5_close(file);
    FILE *out = fopen(path, "wb");
    cr_assert(out && fwrite(image, 1, bytes, out) == bytes && fclose(out) == 0);
    ts_free(image);
    golden_verdict v = golden_walk(path, "ref", check);
    unlink(path);
    rmdir(folder);
    return v;
}

#define WALK_OF(attribute_of, ...)                                                                                     \
    walk_of((entry[]){__VA_ARGS__}, sizeof((entry[]){__VA_ARGS__}) / sizeof(entry), attribute_of)

static void expect_failure(golden_verdict v, const char *text)
{
    cr_expect_eq(v.failed, 1, "%lld cases fail, expected one", (long long)v.failed);
    cr_expect(strstr(v.first, text), "expected \"%s\" in: %s", text, v.first);
}

Test(golden_ops, a_right_case_passes)
{
    golden_verdict v = WALK_OF(NULL, {"relu/in/x", 3}, {"relu/in/r0", 2}, {"relu/out/0", 3}, {"relu/grad/x", 2});
    cr_assert_eq(v.cases, 1);
    cr_assert_eq(v.failed, 0, "%s", v.first);
}

Test(golden_ops, what_is_not_understood_fails_by_name)
{
    expect_failure(WALK_OF(NULL, {"frobnicate/in/x", 3}), "frobnicate: the operation is not understood");
    expect_failure(WALK_OF(NULL, {"relux/in/x", 3}), "relux: the operation is not understood");
    expect_failure(WALK_OF(NULL, {"relu/in/x", 3}, {"relu/in/r0", 2}, {"relu/out/0", 3}, {"relu/out/1", 3}),
                   "relu: out/1 is not understood");
    expect_failure(WALK_OF(NULL, {"relu/in/x", 3}, {"relu/in/y", 3}, {"relu/in/r0", 2}, {"relu/out/0", 3}),
                   "relu: in/y is not understood");
    expect_failure(WALK_OF(NULL, {"relu/in/r0", 2}, {"relu/out/0", 3}), "relu: in/x is missing");
    expect_failure(WALK_OF("relu", {"relu/in/x", 3}, {"relu/in/r0", 2}, {"relu/out/0", 3}),
                   "relu: attribute slope is not understood");
    expect_failure(WALK_OF("leaky_relu", {"leaky_relu/in/x", 3}, {"leaky_relu/in/r0", 2}, {"leaky_relu/out/0", 3}),
                   "leaky_relu: attribute slope is missing, or no number");
}

Test(golden_ops, a_wrong_number_fails)
{
    expect_failure(WALK_OF(NULL, {"relu/in/x", 3}, {"relu/in/r0", 2}, {"relu/out/0", 3.001f}), "relu: out/0[0] is 3");
    expect_failure(WALK_OF(NULL, {"relu/in/x", 3}, {"relu/in/r0", 2}, {"relu/out/0", 3}, {"relu/grad/x", -2}),
                   "relu: grad/x[0] is 2, expected -2");
    expect_failure(WALK_OF(NULL, {"relu/in/x", 3}, {"relu/in/r0", 2}, {"relu/out/0", 0.0f / 0.0f}),
                   "relu: out/0[0] is 3, expected ");
}
