/* Paths of the CUDA kernels that the cases of tests/autograd do not reach: sizes beyond one grid, vectors and their
 * tails, repeated operands of every kind, memory that is not aligned. */
#include <criterion/criterion.h>
#include <string.h>

#include "tests/cuda/direct.h"

Test(cuda_elementwise, repeated_operands)
{
    direct_case cases[] = {
        DIRECT("flat, beyond one grid", add, 0, F(70003), F(70003), F(70003)),
        DIRECT("scalar", mul, 0, F(4099), F(4099), F()),
        DIRECT("scalar first", subtract, 0, F(4099), F(), F(4099)),
        DIRECT("row of a multiple of 4", add, 0, F(1200, 64), F(1200, 64), F(64)),
        DIRECT("odd row", add, 0, F(301, 263), F(301, 263), F(263)),
        DIRECT("column, rows of a multiple of 4", mul, 0, F(211, 32), F(211, 32), F(211, 1)),
        DIRECT("column, odd rows", div, 1e-7, F(211, 31), F(211, 31), F(211, 1)),
        DIRECT("middle", maximum, 0, F(6, 7, 12), F(6, 7, 12), F(6, 1, 12)),
        DIRECT("both", minimum, 0, F(6, 7, 12), F(6, 7, 1), F(7, 12)),
        DIRECT("six axes", add, 0, F(2, 3, 2, 3, 2, 5), F(2, 1, 2, 1, 2, 1), F(1, 3, 1, 3, 1, 5)),
        DIRECT("nothing", add, 0, F(0, 4), F(0, 4), F(4)),
        DIRECT("three", where, 0, F(64, 36), F(64, 1), F(36), F()),
        DIRECT("of integers", where, 0, I32(64, 37), F(64, 1), I32(37), I32()),
    };
    for (int i = 0; i < 2; i++) { /* masks of 0 and 1; integers of all signs */
        direct_case *where = &cases[sizeof cases / sizeof *cases - 1 - i];
        where->below[0] = 2;
        where->from = i ? 0 : -1;
    }
    DIRECT_CHECK(cases);
}

Test(cuda_elementwise, flat)
{
    direct_case cases[] = {
        DIRECT("one operand", tanh, 3e-7, F(40003), F(40003)),
        DIRECT("with attributes", leaky_relu, 0, F(17), F(17)),
        DIRECT("gradient", silu_dx, 1e-6, F(40002), F(40002), F(40002)),
        DIRECT("fewer than four", exp, 3e-7, F(3), F(3)),
    };
    cases[1].desc.attr.scalar.a = 0.25;
    DIRECT_CHECK(cases);
}

#define H(...) OF(TS_BF16, __VA_ARGS__)

/* In bf16, by their own kernels: a result is the reference's, or its neighbour where the sums in f32 lie between two.
 */
Test(cuda_elementwise, bf16)
{
    direct_case cases[] = {
        DIRECT("sum, beyond one grid", add, 0, H(70003), H(70003), H(70003)),
        DIRECT("sum of a broadcast operand, widened", add, 0, H(300, 20), H(300, 20), H(20)),
        DIRECT("nothing", add, 0, H(0, 4), H(0, 4), H(0, 4)),
        DIRECT("relu", relu, 0, H(4099), H(4099)),
        DIRECT("relu's gradient", relu_dx, 0, H(4098), H(4098), H(4098)),
        DIRECT("fewer than four", leaky_relu, 0, H(3), H(3)),
        DIRECT("gelu", gelu, 0x1p-7, H(40001), H(40001)),
        DIRECT("gelu's gradient", gelu_dx, 0x1p-7, H(40002), H(40002), H(40002)),
        DIRECT("silu", silu, 0x1p-7, H(333), H(333)),
        DIRECT("tanh's gradient", tanh_dx, 0x1p-7, H(333), H(333), H(333)),
        DIRECT("without a kernel of its own: widened", sigmoid, 0x1p-7, H(4099), H(4099)),
    };
    cases[5].desc.attr.scalar.a = 0.125;
    DIRECT_CHECK(cases);
}

/* y0 = gelu(a + row), y1 = y0 * column, kept to itself; y2 = where(mask, y1, scalar): two results, every way to read.
 */
static direct_case chain_of(const char *label, int64_t rows, int64_t width)
{
    direct_case c = DIRECT("", chain, 3e-7, F(rows, width), F(rows, width), F(width), F(rows, 1), F(rows, width), F());
    c.label = label;
    c.desc.out_count = 2;
    c.desc.out[1] = c.desc.out[0];
    c.desc.attr.chain.count = 4;
    c.desc.attr.chain.slots = 5;
    for (int k = 0; k < 5; k++)
        c.desc.attr.chain.each[k] = k == 2 ? width : 1;
    const ts_chain_step steps[] = {{TS_OP_add, {0, 1}, 0, -1, 0, 0},
                                   {TS_OP_gelu, {0}, 1, 0, 0, 0},
                                   {TS_OP_mul, {1, 2}, 2, -1, 0, 0},
                                   {TS_OP_where, {3, 2, 4}, 3, 1, 0, 0}};
    memcpy(c.desc.attr.chain.step, steps, sizeof steps);
    return c;
}

Test(cuda_elementwise, chains)
{
    const direct_case cases[] = {chain_of("rows of a multiple of 4", 211, 64), chain_of("odd rows", 33, 263),
                                 chain_of("rows of 2", 1000, 2), chain_of("fewer than four", 1, 3),
                                 chain_of("beyond one grid", 700, 100)};
    DIRECT_CHECK(cases);
}

/* Every op that a chain can be made of, after another one: what its own kernel gives, to the bit. */
Test(cuda_elementwise, each_step_of_a_chain)
{
    int checked = 0;
    direct_emulated();
    for (int op = 1; op < TS_OP_COUNT; op++) {
        if (!ts_op_chains((ts_op)op))
            continue;
        for (int vector = 0; vector < 2; vector++) {
            const int64_t n = vector ? 1028 : 1027;
            const int operands = ts_ops[op].max_in;
            direct_case one = {.label = ts_ops[op].name,
                               .desc = {.op = (ts_op)op, .in_count = operands, .out_count = 1}};
            one.desc.out[0] = F(n);
            for (int k = 0; k < operands; k++)
                one.desc.in[k] = F(n);
            direct_case chain = one;
            one.desc.attr.scalar.a = 0.25;
            one.desc.attr.scalar.b = 0.75;
            chain.desc.op = TS_OP_chain;
            chain.desc.attr.chain.count = 1;
            chain.desc.attr.chain.slots = operands;
            chain.desc.attr.chain.step[0] = (ts_chain_step){(uint8_t)op, {0, 1, 2}, 0, 0, 0.25, 0.75};
            for (int k = 0; k < operands; k++)
                chain.desc.attr.chain.each[k] = 1;
            direct_result a = direct_run(&one, "cuda", 0, 3, false), b = direct_run(&chain, "cuda", 0, 3, false);
            cr_expect_eq(memcmp(a.out[0], b.out[0], (size_t)n * sizeof(float)), 0, "%s of %lld differs in a chain",
                         ts_ops[op].name, (long long)n);
            direct_free(&one, &a);
            direct_free(&chain, &b);
            checked++;
        }
    }
    cr_assert_geq(checked, 68);
}

Test(cuda_elementwise, every_cast)
{
    const ts_dtype dtypes[] = {TS_F32, TS_BF16, TS_I32, TS_I64, TS_U8};
    for (int to = 0; to < 5; to++)
        for (int from = 0; from < 5; from++) {
            const direct_case c = {.label = "cast",
                                   .below = {300},
                                   .from = dtypes[from] == TS_F32 || dtypes[from] == TS_U8 ? 0 : -300,
                                   .desc = {.op = TS_OP_cast,
                                            .in_count = 1,
                                            .out_count = 1,
                                            .in = {OF(dtypes[from], 1027)},
                                            .out = {OF(dtypes[to], 1027)}}};
            direct_check(&c, 1);
        }
}
