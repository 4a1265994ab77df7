#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>

#include "autograd/elementwise.h"
#include "autograd/loss.h"
#include "autograd/program.h"
#include "tests/support/build_error.h"
#include "tests/support/op_case.h"
#include "tests/support/op_check.h"
#include "tests/support/thread_check.h"

static ts_value mse(const ts_value *in)
{
    return ts_mse(in[0], in[1]);
}

static ts_value l1(const ts_value *in) /* operands are multiples of 0.1: never equal with 0.03 added */
{
    return ts_l1(ts_affine(in[0], 1, 0.03), in[1]);
}

static ts_value smooth_l1(const ts_value *in)
{
    return ts_smooth_l1(in[0], in[1], 0.7);
}

static ts_value smooth_l1_of_1(const ts_value *in)
{
    return ts_smooth_l1(in[0], in[1], 1);
}

static ts_value mse_masked(const ts_value *in)
{
    return ts_mse_masked(in[0], in[1], in[2]);
}

static ts_value l1_masked(const ts_value *in)
{
    return ts_l1_masked(ts_affine(in[0], 1, 0.03), in[1], in[2]);
}

static ts_value smooth_l1_masked(const ts_value *in)
{
    return ts_smooth_l1_masked(in[0], in[1], 1, in[2]);
}

TS_CASES(mse) = {
    TS_CASE("mse", mse, TS_NORMAL(2, 3, 5), TS_NORMAL(2, 3, 5)),
    TS_CASE("mse of one", mse, TS_NORMAL(1), TS_NORMAL(1)),
    TS_CASE("mse of scalars", mse, {.dtype = TS_F32, .fill = TS_FILL_NORMAL},
            {.dtype = TS_F32, .fill = TS_FILL_NORMAL}),
    TS_CASE("mse over two runs", mse, TS_NORMAL(521), TS_NORMAL(521)),
    TS_CASE("l1", l1, TS_APART(3, 5), TS_APART(3, 5)),
    TS_CASE("smooth l1", smooth_l1, TS_NORMAL(3, 5), TS_NORMAL(3, 5)),
    TS_CASE("mse masked", mse_masked, TS_NORMAL(2, 3, 5), TS_NORMAL(2, 3, 5), TS_POSITIVE(2, 3)),
    TS_CASE("l1 masked", l1_masked, TS_APART(4, 3), TS_APART(4, 3), TS_POSITIVE(4)),
    TS_CASE("smooth l1 masked", smooth_l1_masked, TS_NORMAL(4, 3), TS_NORMAL(4, 3), TS_POSITIVE(4)),
    {0},
};
TS_COVERED_BY(mse_dx, mse);

static ts_value cross_entropy(const ts_value *in)
{
    return ts_cross_entropy(in[0], in[1], (ts_cross_entropy_opts){0});
}

static ts_value ignoring(const ts_value *in)
{
    return ts_cross_entropy(in[0], in[1], (ts_cross_entropy_opts){.ignore = true, .ignore_index = 1});
}

static ts_value smoothed(const ts_value *in)
{
    return ts_cross_entropy(in[0], in[1], (ts_cross_entropy_opts){.smoothing = 0.1});
}

static ts_value smoothed_ignoring(const ts_value *in)
{
    return ts_cross_entropy(in[0], in[1], (ts_cross_entropy_opts){.ignore = true, .ignore_index = 2, .smoothing = 0.3});
}

TS_CASES(cross_entropy) = {
    TS_CASE("7 of 9", cross_entropy, TS_NORMAL(7, 9), TS_BELOW(9, 7)),
    TS_CASE("one row", cross_entropy, TS_NORMAL(1, 5), TS_BELOW(5, 1)),
    TS_CASE("two classes", cross_entropy, TS_NORMAL(13, 2), TS_BELOW(2, 13)),
    TS_CASE("ignored", ignoring, TS_NORMAL(31, 3), TS_BELOW(3, 31)),
    TS_CASE("smoothed", smoothed, TS_NORMAL(7, 9), TS_BELOW(9, 7)),
    TS_CASE("smoothed and ignored", smoothed_ignoring, TS_NORMAL(31, 3), TS_BELOW(3, 31)),
    {0},
};
TS_COVERED_BY(cross_entropy_dx, cross_entropy);

static ts_value beta_of_zero(const ts_value *in)
{
    return ts_smooth_l1(in[0], in[1], 0);
}

static ts_value smoothing_of_one(const ts_value *in)
{
    return ts_cross_entropy(in[0], in[1], (ts_cross_entropy_opts){.smoothing = 1});
}

Test(autograd_loss, wrong_operands_are_named)
{
    EXPECT_BUILD_ERROR(mse, "mse", "x is f32 [2, 3] and y is f32 [2, 1]", F32(2, 3), F32(2, 1));
    EXPECT_BUILD_ERROR(mse, "mse", "x is f32 [0, 3]", F32(0, 3), F32(0, 3));
    EXPECT_BUILD_ERROR(l1, "l1", "y is f32 [3]", F32(2, 3), F32(3));
    EXPECT_BUILD_ERROR(smooth_l1, "smooth_l1", "y is f32 []", F32(2, 3), F32());
    EXPECT_BUILD_ERROR(beta_of_zero, "smooth_l1", "beta is 0", F32(2, 3), F32(2, 3));
    EXPECT_BUILD_ERROR(mse_masked, "mask", "is f32 [3] for f32 [2, 3]", F32(2, 3), F32(2, 3), F32(3));
    EXPECT_BUILD_ERROR(mse_masked, "mask", "is i32 [2]", F32(2, 3), F32(2, 3), I32(2));
    EXPECT_BUILD_ERROR(mse_masked, "mask", "is f32 []", F32(), F32(), F32());
    EXPECT_BUILD_ERROR(cross_entropy, "cross_entropy", "logits are f32 [7, 9] and targets i32 [9]", F32(7, 9), I32(9));
    EXPECT_BUILD_ERROR(cross_entropy, "cross_entropy", "targets f32 [7]", F32(7, 9), F32(7));
    EXPECT_BUILD_ERROR(cross_entropy, "cross_entropy", "logits are f32 [2, 7, 9]", F32(2, 7, 9), I32(2));
    EXPECT_BUILD_ERROR(smoothing_of_one, "cross_entropy", "smoothing is 1", F32(7, 9), I32(7));
}

/* The loss, on the reference device, of two inputs [N, C] and one [N]. */
static float value_of(ts_value (*build)(const ts_value *in), int count, const ts_tensor *operands)
{
    ts_error err = {0};
    ts_device *device;
    cr_assert_eq(ts_device_open("ref", 1, &device, &err), TS_OK, "%s", err.text);
    ts_graph *g = ts_graph_new(TS_F32);
    ts_value in[3];
    for (int i = 0; i < count; i++)
        in[i] = ts_input(g, "x", operands[i].dtype, operands[i].shape);
    ts_value loss = build(in);
    ts_output(loss, "loss");
    ts_workspace *workspace = ts_workspace_new(device);
    ts_program *program;
    cr_assert_eq(ts_program_new(g, workspace, &program, &err), TS_OK, "%s", err.text);
    for (int i = 0; i < count; i++)
        ts_program_set(program, in[i], operands[i].data);
    cr_assert_eq(ts_program_run(program, &err), TS_OK, "%s", err.text);
    float value;
    ts_program_get(program, loss, &value);
    ts_program_free(program);
    ts_workspace_free(workspace);
    ts_graph_free(g);
    ts_device_close(device);
    return value;
}

/* x - y is 1, 2 | 3, 4 | 5, 6 */
static ts_tensor pair_x = {TS_F32, {2, {3, 2}}, (float[]){1, 2, 3, 4, 5, 6}};
static ts_tensor pair_y = {TS_F32, {2, {3, 2}}, (float[]){0, 0, 0, 0, 0, 0}};

Test(autograd_loss, a_mask_leaves_rows_out)
{
    ts_tensor middle = {TS_F32, {1, {3}}, (float[]){0, 1, 0}}, ends = {TS_F32, {1, {3}}, (float[]){1, 0, 1}};
    cr_assert_float_eq(value_of(mse_masked, 3, (ts_tensor[]){pair_x, pair_y, middle}), 12.5, 1e-5);
    cr_assert_float_eq(value_of(mse_masked, 3, (ts_tensor[]){pair_x, pair_y, ends}), 16.5, 1e-5);
    cr_assert_float_eq(value_of(smooth_l1_masked, 3, (ts_tensor[]){pair_x, pair_y, ends}), 3.0, 1e-5);
}

Test(autograd_loss, a_mask_of_zeros_gives_zero)
{
    ts_tensor none = {TS_F32, {1, {3}}, (float[]){0, 0, 0}};
    cr_assert_eq(value_of(mse_masked, 3, (ts_tensor[]){pair_x, pair_y, none}), 0);
}

/* Whatever stands in the rows that do not count: the gradient there is 0 to the last bit, and the others' is that of
 * the rows that count alone. */
Test(autograd_loss, a_mask_lets_no_gradient_through)
{
    static const struct {
        ts_value (*masked)(const ts_value *in), (*plain)(const ts_value *in);
    } losses[] = {{mse_masked, mse}, {l1_masked, l1}, {smooth_l1_masked, smooth_l1_of_1}};
    static const char *const devices[] = {"ref", "cpu"};
    for (int k = 0; k < 6; k++) {
        ts_op_case some = TS_CASE("some", losses[k / 2].masked, TS_NORMAL(4, 3), TS_NORMAL(4, 3), TS_POSITIVE(4));
        ts_op_case all = TS_CASE("all", losses[k / 2].plain, TS_NORMAL(2, 3), TS_NORMAL(2, 3));
        ts_built_case a, b;
        int64_t n;
        built_case_open(&a, &some, devices[k % 2], TS_F32, true);
        built_case_open(&b, &all, devices[k % 2], TS_F32, true);
        for (int i = 0; i < 12; i++) {
            bool counts = i / 3 == 0 || i / 3 == 2;
            a.host[2][i / 3] = counts;
            if (!counts)
                a.host[0][i] = 1e9 * (i - 6);
            else
                for (int side = 0; side < 2; side++)
                    b.host[side][i / 6 * 3 + i % 3] = a.host[side][i];
        }
        built_case_run(&a);
        built_case_run(&b);
        for (int side = 0; side < 2; side++) {
            double *found = built_case_read(&a, a.gradient[side], &n),
                   *wanted = built_case_read(&b, b.gradient[side], &n);
            for (int i = 0; i < 12; i++) {
                bool counts = i / 3 == 0 || i / 3 == 2;
                double want = counts ? wanted[i / 6 * 3 + i % 3] : 0;
                cr_expect(counts ? fabs(found[i] - want) < 1e-6 : found[i] == 0, "loss %d, element %d: %g, wanted %g",
                          k / 2, i, found[i], want);
            }
            free(found);
            free(wanted);
        }
        built_case_close(&a);
        built_case_close(&b);
    }
}

Test(autograd_loss, a_target_that_is_no_class_gives_nan)
{
    ts_tensor above = {TS_I32, {1, {3}}, (int32_t[]){0, 2, 1}}, below = {TS_I32, {1, {3}}, (int32_t[]){0, -1, 1}};
    ts_tensor all_ignored = {TS_I32, {1, {3}}, (int32_t[]){1, 1, 1}};
    cr_assert(isnan(value_of(cross_entropy, 2, (ts_tensor[]){pair_x, above})));
    cr_assert(isnan(value_of(cross_entropy, 2, (ts_tensor[]){pair_x, below})));
    cr_assert(isnan(value_of(ignoring, 2, (ts_tensor[]){pair_x, all_ignored})));
}

Test(autograd_loss, large_ones_are_right_on_any_number_of_threads)
{
    const ts_op_case cases[] = {
        TS_CASE("mse", mse, TS_NORMAL(3, 33, 1021), TS_NORMAL(3, 33, 1021)),
        TS_CASE("cross entropy", smoothed_ignoring, TS_NORMAL(331, 203), TS_BELOW(203, 331)),
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        expect_thread_independent(&cases[i]);
        cr_expect_leq(compare_with_double(&cases[i], "cpu"), 1e-5, "%s", cases[i].label);
    }
}
