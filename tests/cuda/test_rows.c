/* Kernels over rows and columns (core/cuda/rows.cuh, columns.cuh) on shapes that reach each way through them: groups of
 * 8 and 32 lanes and of a block, columns in several blocks and chunks. Gradients come from an op's own rule, through a
 * loss whose kernels are of this kind too. */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "autograd/differentiate.h"
#include "autograd/elementwise.h"
#include "autograd/loss.h"
#include "autograd/node.h"
#include "autograd/norm.h"
#include "autograd/softmax.h"
#include "tests/support/op_check.h"

typedef ts_value function(const ts_value *in);

/* What the case in hand builds: the function of the first operands, or the gradient of n * mse(function, the last
 * operand), or of a scalar itself, in operand `wrt`. */
static struct {
    function *f;
    int operands, wrt; /* -1: the value */
} now;

static ts_value value_or_gradient(const ts_value *in)
{
    ts_value y = now.f(in), gradient;
    if (now.wrt < 0)
        return y;
    ts_shape shape = ts_value_shape(y);
    if (shape.rank > 0)
        y = ts_mul(ts_mse(y, in[now.operands]), ts_scalar(y.graph, (double)ts_shape_count(shape)));
    ts_differentiate(y, 1, &in[now.wrt], &gradient);
    return gradient;
}

static ts_value softmax(const ts_value *in)
{
    return ts_softmax(in[0]);
}

static ts_value log_softmax(const ts_value *in)
{
    return ts_log_softmax(in[0]);
}

static ts_value unit(const ts_value *in)
{
    return ts_l2_normalize(in[0], 1e-12);
}

static ts_value layer(const ts_value *in)
{
    return ts_layer_norm(in[0], in[1], in[2], 1e-5);
}

static ts_value rms(const ts_value *in)
{
    return ts_rms_norm(in[0], in[1], 1e-5);
}

static ts_value group(const ts_value *in)
{
    return ts_group_norm(in[0], in[1], in[2], ts_dim(in[0], -1) / 3, 1e-5);
}

static ts_value batch(const ts_value *in)
{
    return ts_batch_norm(in[0], in[1], in[2], 1e-5).y;
}

static ts_value mse(const ts_value *in)
{
    return ts_mse(in[0], in[1]);
}

static ts_value cross_entropy(const ts_value *in)
{
    return ts_cross_entropy(in[0], in[1], (ts_cross_entropy_opts){.ignore = true, .ignore_index = 1, .smoothing = 0.2});
}

/* Operands of the function; a target of y's shape follows them where y is no scalar. */
static const struct {
    const char *label;
    function *f;
    int operands, gradients;
    ts_case_input in[4];
} cases[] = {
    {"softmax, 8 lanes", softmax, 1, 1, {TS_NORMAL(37, 16), TS_NORMAL(37, 16)}},
    {"softmax, a warp", softmax, 1, 1, {TS_NORMAL(9, 65), TS_NORMAL(9, 65)}},
    {"softmax, a block", softmax, 1, 1, {TS_NORMAL(2, 1031), TS_NORMAL(2, 1031)}},
    {"log softmax, 8 lanes", log_softmax, 1, 1, {TS_NORMAL(33, 7), TS_NORMAL(33, 7)}},
    {"log softmax, a warp", log_softmax, 1, 1, {TS_NORMAL(9, 17), TS_NORMAL(9, 17)}},
    {"log softmax, a block", log_softmax, 1, 1, {TS_NORMAL(2, 1025), TS_NORMAL(2, 1025)}},
    {"unit, 8 lanes", unit, 1, 1, {TS_NORMAL(65, 3), TS_NORMAL(65, 3)}},
    {"unit, a warp", unit, 1, 1, {TS_NORMAL(9, 33), TS_NORMAL(9, 33)}},
    {"unit, a block", unit, 1, 1, {TS_NORMAL(2, 1100), TS_NORMAL(2, 1100)}},
    {"layer, 8 lanes", layer, 3, 3, {TS_NORMAL(300, 5), TS_NORMAL(5), TS_NORMAL(5), TS_NORMAL(300, 5)}},
    {"layer, a warp", layer, 3, 3, {TS_NORMAL(70, 33), TS_NORMAL(33), TS_NORMAL(33), TS_NORMAL(70, 33)}},
    {"layer, a block", layer, 3, 3, {TS_NORMAL(3, 1031), TS_NORMAL(1031), TS_NORMAL(1031), TS_NORMAL(3, 1031)}},
    {"rms, 8 lanes", rms, 2, 2, {TS_NORMAL(1100, 1), TS_NORMAL(1), TS_NORMAL(1100, 1)}},
    {"rms, a warp", rms, 2, 2, {TS_NORMAL(70, 40), TS_NORMAL(40), TS_NORMAL(70, 40)}},
    {"rms, a block", rms, 2, 2, {TS_NORMAL(2, 1030), TS_NORMAL(1030), TS_NORMAL(2, 1030)}},
    {"group, narrow", group, 3, 3, {TS_NORMAL(2, 300, 6), TS_NORMAL(6), TS_NORMAL(6), TS_NORMAL(2, 300, 6)}},
    {"group, wide", group, 3, 3, {TS_NORMAL(2, 70, 66), TS_NORMAL(66), TS_NORMAL(66), TS_NORMAL(2, 70, 66)}},
    {"batch, narrow", batch, 3, 3, {TS_NORMAL(1030, 1), TS_NORMAL(1), TS_NORMAL(1), TS_NORMAL(1030, 1)}},
    {"batch, wide", batch, 3, 3, {TS_NORMAL(2, 35, 65), TS_NORMAL(65), TS_NORMAL(65), TS_NORMAL(2, 35, 65)}},
    {"mse in chunks", mse, 2, 2, {TS_NORMAL(3, 6007), TS_NORMAL(3, 6007)}},
    {"cross entropy in chunks", cross_entropy, 2, 1, {TS_NORMAL(8200, 3), TS_BELOW(3, 8200)}},
    {"cross entropy, a warp", cross_entropy, 2, 1, {TS_NORMAL(40, 67), TS_BELOW(67, 40)}},
    {"cross entropy, a block", cross_entropy, 2, 1, {TS_NORMAL(3, 1100), TS_BELOW(1100, 3)}},
};

Test(cuda_rows, agree_on_every_path)
{
    int compared = 0;
    setenv("TESSERA_CUDA_MODULE", TESSERA_CUDA_EMULATED, 0);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (int wrt = -1; wrt < cases[i].gradients; wrt++) {
            ts_op_case c = {.label = cases[i].label, .in_count = 0, .build = value_or_gradient};
            for (int k = 0; k < 4 && cases[i].in[k].shape.rank; k++)
                c.in[c.in_count++] = cases[i].in[k];
            now.f = cases[i].f;
            now.operands = cases[i].operands;
            now.wrt = wrt;
            double worst = compare_value_with_double(&c, "cuda");
            cr_expect_leq(worst, 1e-5, "%s, gradient %d: off by %g of the maximum", c.label, wrt, worst);
            compared++;
        }
    cr_assert_geq(compared, 60);
}
