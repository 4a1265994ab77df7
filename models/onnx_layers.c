/* Families matmul, conv, resample, norm, softmax and attention. */
#include <math.h>

#include "models/onnx_walk_internal.h"

/* ---- matmul ---- */

/* The last two axes swapped. */
static const char *swapped(ts_onnx_walk *w, const char *x, int rank)
{
    int64_t order[TS_MAX_RANK];
    for (int i = 0; i < rank; i++)
        order[i] = i < rank - 2 ? i : 2 * rank - 3 - i;
    const char *y = SAY(w, "Transpose", x);
    ts_onnx_set_ints(w, "perm", order, (size_t)rank);
    return y;
}

static const char *factor(ts_onnx_walk *w, int i, bool transposed)
{
    const char *x = ts_onnx_operand(w, i, TS_LAST);
    return transposed ? swapped(w, x, ts_onnx_shape(w, ts_onnx_in(w, i)).rank) : x;
}

static void say_matmul(ts_onnx_walk *w)
{
    const char *a = factor(w, 0, w->node->attr.matmul.trans_a), *b = factor(w, 1, w->node->attr.matmul.trans_b);
    const char *c = SAY(w, "MatMul", a, b);
    if (w->node->in_count > 2 && ts_onnx_in(w, 2) >= 0)
        c = SAY(w, "Add", c, ts_onnx_operand(w, 2, TS_LAST));
    ts_onnx_give(w, TS_LAST, c);
}

/* ---- conv ---- */

static int64_t taps(const ts_onnx_walk *w, int i)
{
    return ts_onnx_shape(w, ts_onnx_in(w, 1)).dim[1 + i];
}

/* Zeros behind axis i that the result's size needs, or (a transposed one) rows that are cut off there. */
static int64_t behind(const ts_onnx_walk *w, int build, int i)
{
    int64_t before = w->node->attr.conv.pad[i], stride = w->node->attr.conv.stride[i];
    int64_t reach = w->node->attr.conv.dilation[i] * (taps(w, i) - 1) + 1;
    int64_t x = ts_onnx_dim_in(w, build, ts_onnx_in(w, 0), 1 + i), y = ts_onnx_dim_in(w, build, ts_onnx_out(w), 1 + i);
    if (w->node->op == TS_OP_conv_transpose)
        return (x - 1) * stride + reach - before - y;
    int64_t more = (y - 1) * stride + reach - x - before;
    return more > 0 ? more : 0;
}

static void set_conv(ts_onnx_walk *w)
{
    int64_t kernel[2] = {taps(w, 0), taps(w, 1)}, pads[4], more[2] = {0};
    for (int i = 0; i < 2; i++) {
        pads[i] = w->node->attr.conv.pad[i];
        pads[2 + i] = ts_onnx_constant(w, behind, i, "padding");
        if (pads[2 + i] < 0) { /* a transposed one that gives more rows */
            more[i] = -pads[2 + i];
            pads[2 + i] = 0;
        }
    }
    ts_onnx_set_ints(w, "kernel_shape", kernel, 2);
    ts_onnx_set_ints(w, "strides", w->node->attr.conv.stride, 2);
    ts_onnx_set_ints(w, "pads", pads, 4);
    ts_onnx_set_ints(w, "dilations", w->node->attr.conv.dilation, 2);
    ts_onnx_set_int(w, "group", w->node->attr.conv.groups);
    if (more[0] || more[1])
        ts_onnx_set_ints(w, "output_padding", more, 2);
}

static void say_conv(ts_onnx_walk *w)
{
    bool biased = w->node->in_count > 2 && ts_onnx_in(w, 2) >= 0;
    const char *op = w->node->op == TS_OP_conv ? "Conv" : "ConvTranspose";
    const char *x = ts_onnx_operand(w, 0, TS_FIRST), *weight = ts_onnx_operand(w, 1, TS_FIRST);
    ts_onnx_give(w, TS_FIRST, biased ? SAY(w, op, x, weight, ts_onnx_operand(w, 2, TS_LAST)) : SAY(w, op, x, weight));
    set_conv(w);
}

/* ---- resample ---- */

static void say_upsample(ts_onnx_walk *w)
{
    const float scales[4] = {1, 1, (float)w->node->attr.pool.size[0], (float)w->node->attr.pool.size[1]};
    ts_onnx_give(w, TS_FIRST, SAY(w, "Resize", ts_onnx_operand(w, 0, TS_FIRST), "", ts_onnx_reals(w, scales, 4)));
    ts_onnx_set_text(w, "mode", "nearest");
    ts_onnx_set_text(w, "coordinate_transformation_mode", "asymmetric");
    ts_onnx_set_text(w, "nearest_mode", "floor");
}

static void say_max_pool(ts_onnx_walk *w)
{
    const int64_t *pad = w->node->attr.pool.pad, pads[4] = {pad[0], pad[1], pad[0], pad[1]};
    ts_onnx_give(w, TS_FIRST, SAY(w, "MaxPool", ts_onnx_operand(w, 0, TS_FIRST)));
    ts_onnx_set_ints(w, "kernel_shape", w->node->attr.pool.size, 2);
    ts_onnx_set_ints(w, "strides", w->node->attr.pool.stride, 2);
    ts_onnx_set_ints(w, "pads", pads, 4);
}

/* ---- norm ---- */

static const char *scaled(ts_onnx_walk *w, const char *y, int weight, int bias)
{
    if (weight < w->node->in_count && ts_onnx_in(w, weight) >= 0)
        y = SAY(w, "Mul", y, ts_onnx_operand(w, weight, TS_LAST));
    if (bias < w->node->in_count && ts_onnx_in(w, bias) >= 0)
        y = SAY(w, "Add", y, ts_onnx_operand(w, bias, TS_LAST));
    return y;
}

static const char *mean_of(ts_onnx_walk *w, const char *x, int64_t axis)
{
    const char *y = SAY(w, "ReduceMean", x);
    ts_onnx_set_ints(w, "axes", &axis, 1);
    ts_onnx_set_int(w, "keepdims", 1);
    return y;
}

/* x / sqrt(mean(x^2) + eps) over an axis */
static const char *of_unit_power(ts_onnx_walk *w, const char *x, int64_t axis)
{
    const char *power = mean_of(w, SAY(w, "Mul", x, x), axis);
    return SAY(w, "Div", x, SAY(w, "Sqrt", SAY(w, "Add", power, ts_onnx_real(w, w->node->attr.norm.eps))));
}

static const char *centred(ts_onnx_walk *w, const char *x, int64_t axis)
{
    return SAY(w, "Sub", x, mean_of(w, x, axis));
}

static void say_layer_norm(ts_onnx_walk *w)
{
    const char *x = centred(w, ts_onnx_operand(w, 0, TS_LAST), -1);
    ts_onnx_give(w, TS_LAST, scaled(w, of_unit_power(w, x, -1), 1, 2));
}

/* With channels first a group is what lies in one piece: [B, C, ..] as [B, groups, all of it] and back. */
static void say_group_norm(ts_onnx_walk *w)
{
    const int64_t pieces[3] = {0, w->node->attr.norm.groups, -1};
    const char *first = ts_onnx_operand(w, 0, TS_FIRST);
    const char *x = centred(w, SAY(w, "Reshape", first, ts_onnx_longs(w, pieces, 3)), -1);
    const char *y = SAY(w, "Reshape", of_unit_power(w, x, -1), SAY(w, "Shape", first));
    ts_onnx_give(w, TS_FIRST, y);
    y = scaled(w, ts_onnx_called(w, ts_onnx_out(w), TS_LAST), 1, 2);
    w->name[ts_onnx_out(w)] = (ts_onnx_name){.form = {y}, .leaf = -1};
}

/* x / max(|x|, eps); ours multiplies by the reciprocal. */
static void say_l2_normalize(ts_onnx_walk *w)
{
    const int64_t last = -1;
    const char *x = ts_onnx_operand(w, 0, TS_LAST), *length = SAY(w, "ReduceL2", x);
    ts_onnx_set_ints(w, "axes", &last, 1);
    ts_onnx_set_int(w, "keepdims", 1);
    const char *most = SAY(w, "Max", length, ts_onnx_real(w, w->node->attr.norm.eps));
    ts_onnx_give(w, TS_LAST, SAY(w, "Div", x, most));
}

/* ---- attention ---- */

/* Keys that the first query sees behind its own: Tk - Tq. */
static int64_t keys_more(const ts_onnx_walk *w, int build, int i)
{
    (void)i;
    return ts_onnx_dim_in(w, build, ts_onnx_in(w, 1), 2) - ts_onnx_dim_in(w, build, ts_onnx_in(w, 0), 2);
}

/* -inf where a query must not look, 0 elsewhere: [Tq, Tk], as large as the scores. */
static const char *mask_of(ts_onnx_walk *w, const char *scores)
{
    int64_t more = ts_onnx_constant(w, keys_more, 0, "number of keys less that of queries");
    const char *size = SAY(w, "Shape", scores);
    ts_onnx_set_int(w, "start", 2);
    const char *all = SAY(w, "Expand", ts_onnx_real(w, -INFINITY), size);
    const char *mask = SAY(w, "Trilu", all, ts_onnx_number(w, more + 1));
    ts_onnx_set_int(w, "upper", 1);
    return mask;
}

static void say_attention(ts_onnx_walk *w)
{
    const char *keys = swapped(w, ts_onnx_operand(w, 1, TS_LAST), 4);
    const char *scores = SAY(w, "MatMul", ts_onnx_operand(w, 0, TS_LAST), keys);
    scores = SAY(w, "Mul", scores, ts_onnx_real(w, w->node->attr.attention.scale));
    if (w->node->attr.attention.causal)
        scores = SAY(w, "Add", scores, mask_of(w, scores));
    const char *shares = SAY(w, "Softmax", scores);
    ts_onnx_set_int(w, "axis", -1);
    ts_onnx_give(w, TS_LAST, SAY(w, "MatMul", shares, ts_onnx_operand(w, 2, TS_LAST)));
}

const ts_onnx_say ts_onnx_layers[TS_OP_COUNT] = {
    [TS_OP_matmul] = say_matmul,         [TS_OP_conv] = say_conv,
    [TS_OP_conv_transpose] = say_conv,   [TS_OP_upsample_nearest] = say_upsample,
    [TS_OP_max_pool] = say_max_pool,     [TS_OP_layer_norm] = say_layer_norm,
    [TS_OP_group_norm] = say_group_norm, [TS_OP_l2_normalize] = say_l2_normalize,
    [TS_OP_attention] = say_attention,
};
