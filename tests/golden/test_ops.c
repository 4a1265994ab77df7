/* Every case of ops.h5, the project's own and the shared one, on the reference loops and on the CPU kernels. */
#include <criterion/criterion.h>

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

#define WALK_OF(...) GOLDEN_WALK_OF(check, __VA_ARGS__)

Test(golden_ops, a_right_case_passes)
{
    golden_verdict v = WALK_OF(GOLDEN_NUMBER("relu/in/x", 3), GOLDEN_NUMBER("relu/in/r0", 2),
                               GOLDEN_NUMBER("relu/out/0", 3), GOLDEN_NUMBER("relu/grad/x", 2));
    cr_assert_eq(v.cases, 1);
    cr_assert_eq(v.failed, 0, "%s", v.first);
}

Test(golden_ops, what_is_not_understood_fails_by_name)
{
    golden_expect_failure(WALK_OF(GOLDEN_NUMBER("frobnicate/in/x", 3)), "frobnicate: the operation is not understood");
    golden_expect_failure(WALK_OF(GOLDEN_NUMBER("relux/in/x", 3)), "relux: the operation is not understood");
    golden_expect_failure(WALK_OF(GOLDEN_NUMBER("relu/in/x", 3), GOLDEN_NUMBER("relu/in/r0", 2),
                                  GOLDEN_NUMBER("relu/out/0", 3), GOLDEN_NUMBER("relu/out/1", 3)),
                          "relu: out/1 is not understood");
    golden_expect_failure(WALK_OF(GOLDEN_NUMBER("relu/in/x", 3), GOLDEN_NUMBER("relu/in/y", 3),
                                  GOLDEN_NUMBER("relu/in/r0", 2), GOLDEN_NUMBER("relu/out/0", 3)),
                          "relu: in/y is not understood");
    golden_expect_failure(WALK_OF(GOLDEN_NUMBER("relu/in/r0", 2), GOLDEN_NUMBER("relu/out/0", 3)),
                          "relu: in/x is missing");
    golden_expect_failure(WALK_OF(GOLDEN_TEXT("relu", "slope", "0.3"), GOLDEN_NUMBER("relu/in/x", 3),
                                  GOLDEN_NUMBER("relu/in/r0", 2), GOLDEN_NUMBER("relu/out/0", 3)),
                          "relu: attribute slope is not understood");
    golden_expect_failure(WALK_OF(GOLDEN_TEXT("leaky_relu", "slope", "0.3"), GOLDEN_NUMBER("leaky_relu/in/x", 3),
                                  GOLDEN_NUMBER("leaky_relu/in/r0", 2), GOLDEN_NUMBER("leaky_relu/out/0", 3)),
                          "leaky_relu: attribute slope is missing, or no number");
}

Test(golden_ops, a_wrong_number_fails)
{
    golden_expect_failure(
        WALK_OF(GOLDEN_NUMBER("relu/in/x", 3), GOLDEN_NUMBER("relu/in/r0", 2), GOLDEN_NUMBER("relu/out/0", 3.001f)),
        "relu: out/0[0] is 3");
    golden_expect_failure(WALK_OF(GOLDEN_NUMBER("relu/in/x", 3), GOLDEN_NUMBER("relu/in/r0", 2),
                                  GOLDEN_NUMBER("relu/out/0", 3), GOLDEN_NUMBER("relu/grad/x", -2)),
                          "relu: grad/x[0] is 2, expected -2");
    golden_expect_failure(WALK_OF(GOLDEN_NUMBER("relu/in/x", 3), GOLDEN_NUMBER("relu/in/r0", 2),
                                  GOLDEN_NUMBER("relu/out/0", 0.0f / 0.0f)),
                          "relu: out/0[0] is 3, expected ");
}

Test(golden_ops, own_on_cuda)
{
    golden_expect_own("ops.h5", "cuda", 210, check);
}

Test(golden_ops, shared_on_cuda)
{
    golden_expect_shared("ops.h5", "cuda", 65, check);
}
