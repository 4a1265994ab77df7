/* Every number of dims, beyond one block, aligned or not. */
#include <criterion/criterion.h>
#include <math.h>

#include "tests/cuda/direct.h"

enum { N = 3001 };

static int dims;

/* Multiples of 1/64, which no boundary between levels is within a rounding of tanh of; and what is not finite. */
static void put_numbers(int k, void *x)
{
    (void)k;
    for (int i = 0; i < N * dims; i++)
        ((float *)x)[i] /= 64;
    ((float *)x)[7 * dims] = NAN;
    ((float *)x)[9 * dims + dims - 1] = INFINITY;
}

static direct_case quantizer(ts_op op, int D, ts_fsq_bound bound, bool hard)
{
    direct_case c = {.label = "fsq", .desc = {.op = op, .in_count = 1, .out_count = 1}};
    c.desc.attr.fsq = (ts_fsq_opts){.count = D, .bound = bound, .hard_clamp = hard};
    for (int i = 0; i < D; i++)
        c.desc.attr.fsq.level[i] = D > 8 ? 3 : 3 + (i + D) % 6;
    return c;
}

/* z [N, D] -> codes [N, D], ids [N] */
static void check_forward(int D, ts_fsq_bound bound, bool hard)
{
    direct_case c = quantizer(TS_OP_fsq, D, bound, hard);
    dims = D;
    c.from = -256;
    c.below[0] = 256;
    c.spoil = put_numbers;
    c.desc.in[0] = F(N, D);
    c.desc.out_count = 2;
    c.desc.out[0] = F(N, D);
    c.desc.out[1] = I32(N);
    direct_check(&c, 1);
}

static void check_others(int D)
{
    direct_case c[] = {quantizer(TS_OP_fsq_decode, D, TS_FSQ_LUCIDRAINS, false),
                       quantizer(TS_OP_fsq_levels, D, TS_FSQ_LUCIDRAINS, false),
                       quantizer(TS_OP_fsq_ids, D, TS_FSQ_SYMMETRIC, false)};
    for (int k = 0; k < 3; k++) {
        c[k].from = -3;
        c[k].below[0] = 1100;
        c[k].desc.in[0] = I32(N);
        c[k].desc.out[0] = k ? I32(N, D) : F(N, D);
    }
    c[2].below[0] = c[2].from = 0;
    c[2].desc.in[0] = F(N, D);
    c[2].desc.out[0] = I32(N);
    DIRECT_CHECK(c);
}

Test(cuda_fsq, forward)
{
    for (int D = 1; D <= 9; D++) {
        check_forward(D, (ts_fsq_bound)(D % 3), false);
        check_forward(D, (ts_fsq_bound)(D % 3), true);
    }
    check_forward(TS_MAX_LEVELS, TS_FSQ_GOOGLE, false);
}

Test(cuda_fsq, other_directions)
{
    for (int D = 1; D <= 6; D++)
        check_others(D);
    check_others(TS_MAX_LEVELS);
}

Test(cuda_fsq, gradient)
{
    for (int D = 1; D <= 7; D++) {
        direct_case c = quantizer(TS_OP_fsq_dx, D, (ts_fsq_bound)(D % 3), D % 2);
        c.desc.in_count = 2;
        c.desc.in[0] = c.desc.in[1] = c.desc.out[0] = F(N, D);
        c.tolerance = 1e-6;
        direct_check(&c, 1);
    }
}
