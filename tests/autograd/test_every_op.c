/* Every op of core/ops.def, from the cases beside its family's tests (tests/support/op_case.h). */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "autograd/elementwise.h"
#include "autograd/node.h"
#include "autograd/precision.h"
#include "tests/support/op_check.h"

#define TS_OP(name, family, class, inputs, outputs, in_place, cpu) extern const ts_op_case ts_cases_##name[];
#include "core/ops.def"
#undef TS_OP

static const struct {
    const char *name;
    const ts_op_case *cases;
} every_op[] = {
#define TS_OP(op_, family, class, inputs, outputs, in_place, cpu) [TS_OP_##op_] = {#op_, ts_cases_##op_},
#include "core/ops.def"
#undef TS_OP
};

static bool has_node(const ts_op_case *cases, ts_op op)
{
    bool found = false;
    for (const ts_op_case *c = cases; c->label && !found; c++) {
        ts_built_case b;
        if (c->covered_by)
            continue;
        built_case_open(&b, c, "ref", TS_F32, true);
        for (int32_t i = 0; i < b.graph->node_count; i++)
            found |= b.graph->nodes[i].op == op;
        built_case_close(&b);
    }
    return found;
}

static const ts_op_case *cases_of(const char *name)
{
    for (int op = 1; op < TS_OP_COUNT; op++)
        if (strcmp(every_op[op].name, name) == 0)
            return every_op[op].cases;
    return NULL;
}

/* An op has cases in which it occurs, or names the op whose gradient builds it, or the test that it has to itself. */
Test(autograd_every_op, is_tested)
{
    for (int op = 1; op < TS_OP_COUNT; op++) {
        const ts_op_case *cases = every_op[op].cases;
        cr_assert(cases[0].label, "%s has no case", every_op[op].name);
        const char *by = cases[0].covered_by;
        if (by && by[0] == '=')
            continue;
        const ts_op_case *source = by ? cases_of(by) : cases;
        cr_assert(source, "%s: covered by %s, which is no op", every_op[op].name, by ? by : "");
        cr_assert(has_node(source, (ts_op)op), "%s: no case builds it", every_op[op].name);
    }
}

Test(autograd_every_op, gradients_are_right_in_double)
{
    int checked = 0;
    for (int op = 1; op < TS_OP_COUNT; op++)
        for (const ts_op_case *c = every_op[op].cases; c->label; c++) {
            bool exact =
                ts_ops[op].op_class == TS_CLASS_DIFF || (ts_ops[op].op_class == TS_CLASS_ALIAS && op == TS_OP_reshape);
            if (c->covered_by || !exact)
                continue;
            double excess = gradient_check(c);
            cr_expect_leq(excess, 0, "%s, %s: gradient is off by %g beyond the tolerance", every_op[op].name, c->label,
                          excess);
            checked++;
        }
    cr_assert_geq(checked, 60);
}

static void compare_one(int op, const ts_op_case *c, const char *device)
{
    double tolerance = c->tolerance > 0 ? c->tolerance : 1e-5, worst = compare_with_double(c, device);
    cr_expect_leq(worst, tolerance, "%s, %s: %s differs from double by %g of the maximum", every_op[op].name, c->label,
                  device, worst);
}

static void compare_all(const char *device, int least)
{
    int compared = 0;
    for (int op = 1; op < TS_OP_COUNT; op++)
        for (const ts_op_case *c = every_op[op].cases; c->label; c++) {
            if (c->covered_by)
                continue;
            compare_one(op, c, device);
            compared++;
        }
    cr_assert_geq(compared, least);
}

Test(autograd_every_op, reference_in_float_agrees_with_double)
{
    compare_all("ref", 80);
}

Test(autograd_every_op, cpu_agrees_with_double)
{
    compare_all("cpu", 80);
}

/* Cases that core/cuda has no kernel for, and why; every other one must run. */
static const struct {
    ts_op op;
    const char *label, *why;
} not_on_cuda[] = {{TS_OP_cast, "to f64", "f64 is the reference's alone"}};

static bool is_on_cuda(int op, const ts_op_case *c)
{
    for (size_t i = 0; i < sizeof not_on_cuda / sizeof *not_on_cuda; i++)
        if ((int)not_on_cuda[i].op == op && strcmp(not_on_cuda[i].label, c->label) == 0) {
            cr_log_info("cuda: %s, %s: left out, %s", every_op[op].name, c->label, not_on_cuda[i].why);
            return false;
        }
    return true;
}

/* The kernels of core/cuda: emulated on the CPU, or on a GPU by the module that TESSERA_CUDA_MODULE names. */
static int each_on_cuda(void (*check)(int op, const ts_op_case *c))
{
    int checked = 0, left_out = 0;
    setenv("TESSERA_CUDA_MODULE", TESSERA_CUDA_EMULATED, 0);
    for (int op = 1; op < TS_OP_COUNT; op++)
        for (const ts_op_case *c = every_op[op].cases; c->label; c++) {
            if (c->covered_by)
                continue;
            bool on = is_on_cuda(op, c);
            if (on)
                check(op, c);
            checked += on;
            left_out += !on;
        }
    cr_assert_eq(left_out, sizeof not_on_cuda / sizeof *not_on_cuda, "a case that is left out is no case any more");
    return checked;
}

static void agrees(int op, const ts_op_case *c)
{
    compare_one(op, c, "cuda");
}

static void repeats(int op, const ts_op_case *c)
{
    (void)op;
    expect_repeatable(c, "cuda", true);
}

Test(autograd_every_op, cuda_agrees_with_double)
{
    cr_assert_geq(each_on_cuda(agrees), 290);
}

Test(autograd_every_op, cuda_gives_the_same_bits_again)
{
    cr_assert_geq(each_on_cuda(repeats), 290);
}

static void fuses(int op, const ts_op_case *c)
{
    (void)op;
    expect_fusing_keeps_bits(c, "cuda", TS_F32);
}

Test(autograd_every_op, fusing_keeps_the_bits)
{
    int compared = 0;
    for (int op = 1; op < TS_OP_COUNT; op++)
        for (const ts_op_case *c = every_op[op].cases; c->label; c++) {
            if (c->covered_by)
                continue;
            expect_fusing_keeps_bits(c, "ref", TS_F32);
            expect_fusing_keeps_bits(c, "ref", TS_F64);
            expect_fusing_keeps_bits(c, "cpu", TS_F32);
            compared++;
        }
    cr_assert_geq(compared, 290);
    cr_assert_geq(each_on_cuda(fuses), 290);
}

/* Ops that ts_round_products computes in bf16, from bf16 operands. What comes out is rounded once, by 2^-8 of it at
 * most, and so is a gradient; where it passes through a second op it is rounded twice. */
static void compare_in_bf16(const char *device)
{
    const double tolerance = 0x1p-7;
    int compared = 0;
    for (int op = 1; op < TS_OP_COUNT; op++)
        for (const ts_op_case *c = every_op[op].cases; c->label && (ts_op_rounds(op) || ts_op_carries(op)); c++) {
            double worst = compare_bf16_with_double(c, device);
            cr_expect_leq(worst, tolerance, "%s, %s: %s in bf16 differs from double by %g of the maximum",
                          every_op[op].name, c->label, device, worst);
            compared++;
        }
    cr_assert_geq(compared, 100);
}

Test(autograd_every_op, bf16_of_the_reference_agrees_with_double)
{
    compare_in_bf16("ref");
}

Test(autograd_every_op, bf16_of_the_cpu_agrees_with_double)
{
    compare_in_bf16("cpu");
}

Test(autograd_every_op, bf16_of_cuda_agrees_with_double)
{
    setenv("TESSERA_CUDA_MODULE", TESSERA_CUDA_EMULATED, 0);
    compare_in_bf16("cuda");
}

/* The checker is checked: a rule with the wrong sign, one off by a factor, and one that forgets an operand must fail.
 */
static ts_rule_fn right_rule;

static void negated(ts_rule *r)
{
    right_rule(r);
    r->din[0] = ts_neg(r->din[0]);
}

static void doubled(ts_rule *r)
{
    right_rule(r);
    r->din[0] = ts_scale(r->din[0], 2);
}

static void forgetful(ts_rule *r)
{
    r->din[0] = TS_ABSENT;
}

static ts_value tanh_case(const ts_value *in)
{
    return ts_tanh(in[0]);
}

Test(autograd_every_op, checker_finds_a_wrong_rule)
{
    ts_op_case c = {
        .label = "tanh", .in_count = 1, .in = {{TS_F32, {1, {5}}, TS_FILL_NORMAL, 0, false}}, .build = tanh_case};
    cr_assert_leq(gradient_check(&c), 0);
    ts_rule_fn broken[] = {negated, doubled, forgetful};
    for (size_t i = 0; i < sizeof broken / sizeof *broken; i++) {
        right_rule = ts_rule_replace(TS_OP_tanh, broken[i]);
        double excess = gradient_check(&c);
        ts_rule_replace(TS_OP_tanh, right_rule);
        cr_assert_gt(excess, 1e-3, "broken rule %zu passes the check", i);
    }
}
