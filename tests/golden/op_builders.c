#include <string.h>

#include "autograd/ops.h"
#include "tests/golden/op_golden.h"

/* ---- elementwise ---- */

#define UNARY(name, expression)                                                                                        \
    static ts_value name(op_inputs *in)                                                                                \
    {                                                                                                                  \
        ts_value x = op_input(in, "x");                                                                                \
        return expression;                                                                                             \
    }
#define BINARY(name, expression)                                                                                       \
    static ts_value name(op_inputs *in)                                                                                \
    {                                                                                                                  \
        ts_value x = op_input(in, "x"), y = op_input(in, "y");                                                         \
        return expression;                                                                                             \
    }

UNARY(relu, ts_relu(x))
UNARY(leaky_relu, ts_leaky_relu(x, golden_real_or(in->c, "slope", 0.2)))
UNARY(elu, ts_elu(x, golden_real_or(in->c, "alpha", 1)))
UNARY(gelu_erf, ts_gelu(x))
UNARY(gelu_tanh, ts_gelu_tanh(x))
UNARY(silu, ts_silu(x))
UNARY(sigmoid, ts_sigmoid(x))
UNARY(tanh_, ts_tanh(x))
UNARY(softplus, ts_softplus(x))
UNARY(exp_, ts_exp(x))
UNARY(log_, ts_log(x))
UNARY(sqrt_, ts_sqrt(x))
UNARY(rsqrt, ts_div(ts_scalar(in->graph, 1), ts_sqrt(x)))
UNARY(square, ts_square(x))
UNARY(abs_, ts_abs(x))
UNARY(neg, ts_neg(x))
UNARY(smooth_abs, ts_smooth_abs(x, golden_real_or(in->c, "beta", 1)))
UNARY(clamp, ts_clamp(x, golden_real(in->c, "lo"), golden_real(in->c, "hi")))
BINARY(add, ts_add(x, y))
BINARY(sub, ts_subtract(x, y))
BINARY(mul, ts_mul(x, y))
BINARY(div_, ts_div(x, y))
BINARY(maximum, ts_maximum(x, y))
BINARY(minimum, ts_minimum(x, y))
BINARY(where, ts_where(ts_cast(op_input(in, "cond"), TS_F32), x, y))

/* ---- reductions and shapes ---- */

static uint32_t axes_of(op_inputs *in)
{
    const ts_h5_attribute *a = golden_attribute(in->c, "axes");
    uint32_t axes = 0;
    for (int64_t i = 0; a->ints && i < a->count; i++)
        axes |= 1u << a->ints[i];
    return axes;
}

static bool keep(op_inputs *in)
{
    return golden_int(in->c, "keepdim") != 0;
}

UNARY(sum, ts_sum(x, axes_of(in), keep(in)))
UNARY(mean, ts_mean(x, axes_of(in), keep(in)))
UNARY(max, ts_amax(x, axes_of(in), keep(in)))
UNARY(min, ts_neg(ts_amax(ts_neg(x), axes_of(in), keep(in))))
UNARY(cumsum, ts_cumsum(x, (int)golden_int_or(in->c, "axis", 1), false))
BINARY(concat, ts_concat(((ts_value[]){x, y}), 2, (int)golden_int(in->c, "axis")))
UNARY(pad_left, ts_pad(x, -1, golden_int(in->c, "left"), 0, 0))

static ts_value slice(op_inputs *in)
{
    int64_t start = golden_int(in->c, "start"), stop = golden_int(in->c, "stop");
    return ts_slice(op_input(in, "x"), (int)golden_int(in->c, "axis"), start, stop - start);
}

static ts_value permute(op_inputs *in)
{
    const ts_h5_attribute *a = golden_attribute(in->c, "order");
    int order[TS_MAX_RANK] = {0};
    for (int64_t i = 0; a->ints && i < a->count && i < TS_MAX_RANK; i++)
        order[i] = (int)a->ints[i];
    return ts_permute(op_input(in, "x"), order);
}

static ts_value reshape(op_inputs *in)
{
    const ts_h5_attribute *a = golden_attribute(in->c, "shape");
    return ts_reshape(op_input(in, "x"), ts_shape_from(a->count <= TS_MAX_RANK ? (int)a->count : 0, a->ints));
}

/* ---- products, convolutions, resampling ---- */

BINARY(matmul, ts_matmul(x, y, false, false))
UNARY(linear, ts_linear(x, op_input(in, "w"), op_input_or_absent(in, "b")))

static ts_conv_opts conv_opts(op_inputs *in, int axes, bool transposed)
{
    ts_conv_opts o = {.groups = golden_int(in->c, "groups")};
    for (int i = 0; i < axes; i++) {
        o.stride[i] = golden_int(in->c, "stride");
        o.pad[i] = golden_int(in->c, "padding");
        o.dilation[i] = golden_int(in->c, "dilation");
        o.output_pad[i] = transposed ? golden_int(in->c, "output_padding") : 0;
    }
    return o;
}

#define CONV(name, call, axes, transposed)                                                                             \
    UNARY(name, call(x, op_input(in, "w"), op_input_or_absent(in, "b"), conv_opts(in, axes, transposed)))

CONV(conv1d, ts_conv1d, 1, false)
CONV(conv2d, ts_conv2d, 2, false)
CONV(conv_transpose1d, ts_conv1d_transpose, 1, true)
CONV(conv_transpose2d, ts_conv2d_transpose, 2, true)

#define K          golden_int(in->c, "k")
#define PAIR(a, b) ((const int64_t[]){a, b})
UNARY(avg_pool1d, ts_avg_pool1d(x, K, K, 0))
UNARY(max_pool1d, ts_max_pool1d(x, K, K, 0))
UNARY(avg_pool2d, ts_avg_pool2d(x, PAIR(K, K), PAIR(K, K), PAIR(0, 0)))
UNARY(max_pool2d, ts_max_pool2d(x, PAIR(K, K), PAIR(K, K), PAIR(0, 0)))
UNARY(upsample_nearest1d, ts_upsample_nearest1d(x, golden_int(in->c, "scale")))
UNARY(upsample_nearest2d, ts_upsample_nearest2d(x, golden_int(in->c, "scale"), golden_int(in->c, "scale")))

/* ---- norms, softmax, attention, losses ---- */

#define EPS golden_real(in->c, "eps")
#define W   op_input_or_absent(in, "w")
#define B   op_input_or_absent(in, "b")

UNARY(softmax, ts_softmax_axis(x, (int)golden_int_or(in->c, "axis", -1)))
UNARY(softmax_dim1, ts_softmax_axis(x, 1))
UNARY(normalize, ts_l2_normalize(x, EPS))
UNARY(layer_norm, ts_layer_norm(x, W, B, EPS))
UNARY(rms_norm, ts_rms_norm(x, W, EPS))
UNARY(group_norm, ts_group_norm(x, W, B, golden_int(in->c, "groups"), EPS))
UNARY(batch_norm_eval, ts_batch_norm_eval(x, op_input(in, "running_mean"), op_input(in, "running_var"), W, B, EPS))

static ts_value log_softmax(op_inputs *in)
{
    ts_value x = op_input(in, "x");
    int rank = ts_value_shape(x).rank, axis = (int)golden_int_or(in->c, "axis", -1), order[TS_MAX_RANK];
    axis = axis < 0 ? axis + rank : axis;
    if (axis < 0 || axis >= rank) {
        golden_fail(in->c, "axis %d of %s", axis, ts_shape_print(ts_value_shape(x)).text);
        return TS_ABSENT;
    }
    for (int i = 0; i < rank; i++)
        order[i] = i;
    order[axis] = rank - 1;
    order[rank - 1] = axis;
    return ts_permute(ts_log_softmax(ts_permute(x, order)), order);
}

/* Running statistics that started at 0 and 1, after one step. */
static ts_value batch_norm_train(op_inputs *in)
{
    ts_value x = op_input(in, "x");
    ts_batch_stats s = ts_batch_norm(x, W, B, EPS);
    double momentum = golden_real(in->c, "momentum");
    double n = (double)ts_shape_count(ts_value_shape(x)) / (double)ts_dim(x, -1);
    in->extra[0].path = "out/running_mean";
    in->extra[0].value = ts_scale(s.mean, momentum);
    in->extra[1].path = "out/running_var";
    in->extra[1].value = ts_affine(s.var, momentum * n / (n - 1), 1 - momentum);
    return s.y;
}

static ts_value attention(op_inputs *in)
{
    return ts_attention(op_input(in, "q"), op_input(in, "k"), op_input(in, "v"), golden_real(in->c, "scale"),
                        golden_int(in->c, "causal") != 0);
}

BINARY(l1, ts_l1(x, y))
BINARY(mse, ts_mse(x, y))
BINARY(smooth_l1, ts_smooth_l1(x, y, golden_real(in->c, "beta")))

static ts_value cross_entropy(op_inputs *in)
{
    int64_t ignored = golden_int_or(in->c, "ignore_index", -100); /* torch's default */
    ts_cross_entropy_opts opts = {true, ignored, golden_real_or(in->c, "label_smoothing", 0)};
    return ts_cross_entropy(op_input(in, "x"), op_input(in, "target"), opts);
}

static ts_value embedding(op_inputs *in)
{
    return ts_gather(op_input(in, "w"), op_input(in, "idx"));
}

static const op_golden operations[] = {
    {"relu", relu, false, 0},
    {"leaky_relu", leaky_relu, false, 0},
    {"elu", elu, false, 0},
    {"gelu_erf", gelu_erf, false, 2e-6},
    {"gelu_tanh", gelu_tanh, false, 2e-6},
    {"silu", silu, false, 0},
    {"sigmoid", sigmoid, false, 0},
    {"tanh", tanh_, false, 2e-6},
    {"softplus", softplus, false, 2e-6},
    {"exp", exp_, false, 0},
    {"log", log_, false, 0},
    {"sqrt", sqrt_, false, 0},
    {"rsqrt", rsqrt, false, 0},
    {"square", square, false, 0},
    {"abs", abs_, false, 0},
    {"neg", neg, false, 0},
    {"smooth_abs", smooth_abs, false, 0},
    {"clamp", clamp, false, 0},
    {"add", add, false, 0},
    {"sub", sub, false, 0},
    {"mul", mul, false, 0},
    {"div", div_, false, 0},
    {"maximum", maximum, false, 0},
    {"minimum", minimum, false, 0},
    {"where", where, false, 0},
    {"sum", sum, false, 0},
    {"mean", mean, false, 0},
    {"max", max, false, 0},
    {"min", min, false, 0},
    {"cumsum", cumsum, false, 0},
    {"concat", concat, false, 0},
    {"slice", slice, false, 0},
    {"permute", permute, false, 0},
    {"reshape", reshape, false, 0},
    {"pad_left", pad_left, false, 0},
    {"matmul", matmul, false, 0},
    {"linear", linear, false, 0},
    {"conv1d", conv1d, true, 0},
    {"conv2d", conv2d, true, 0},
    {"conv_transpose1d", conv_transpose1d, true, 0},
    {"conv_transpose2d", conv_transpose2d, true, 0},
    {"avg_pool1d", avg_pool1d, true, 0},
    {"avg_pool2d", avg_pool2d, true, 0},
    {"max_pool1d", max_pool1d, true, 0},
    {"max_pool2d", max_pool2d, true, 0},
    {"upsample_nearest1d", upsample_nearest1d, true, 0},
    {"upsample_nearest2d", upsample_nearest2d, true, 0},
    {"softmax", softmax, false, 0},
    {"softmax_dim1", softmax_dim1, false, 0},
    {"log_softmax", log_softmax, false, 0},
    {"normalize", normalize, false, 0},
    {"layer_norm", layer_norm, false, 0},
    {"rms_norm", rms_norm, false, 0},
    {"group_norm", group_norm, true, 0},
    {"batch_norm_eval", batch_norm_eval, true, 0},
    {"batch_norm_train", batch_norm_train, true, 0},
    {"attention", attention, false, 0},
    {"embedding", embedding, false, 0},
    {"l1", l1, false, 0},
    {"mse", mse, false, 0},
    {"smooth_l1", smooth_l1, false, 0},
    {"cross_entropy", cross_entropy, false, 0},
};

const op_golden *op_golden_find(const char *case_name)
{
    const op_golden *best = NULL;
    for (size_t i = 0; i < sizeof operations / sizeof *operations; i++) {
        size_t length = strlen(operations[i].name);
        if (strncmp(case_name, operations[i].name, length) != 0 ||
            (case_name[length] != '\0' && case_name[length] != '_'))
            continue;
        if (!best || length > strlen(best->name))
            best = &operations[i];
    }
    return best;
}
