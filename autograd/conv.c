#include "autograd/conv.h"

#include "autograd/elementwise.h"
#include "autograd/node.h"
#include "autograd/reduce.h"
#include "autograd/shape.h"

/* One convolution to be built: `name` for errors, `axes` 1 or 2, both adjoints. */
typedef struct {
    const char *name;
    int axes;
    bool transposed;
} kind;

static const kind conv1d = {"conv1d", 1, false}, conv2d = {"conv2d", 2, false};
static const kind conv1d_transpose = {"conv1d_transpose", 1, true}, conv2d_transpose = {"conv2d_transpose", 2, true};

static int64_t or_one(int64_t v)
{
    return v ? v : 1;
}

/* Defaults filled in; 1-D options moved from [0] to the width. */
static ts_conv_opts complete(const kind *k, ts_conv_opts o)
{
    if (!o.asymmetric)
        for (int i = 0; i < 2; i++)
            o.pad_after[i] = o.pad[i];
    int64_t *pairs[] = {o.stride, o.pad, o.pad_after, o.dilation, o.output_pad};
    for (size_t i = 0; k->axes == 1 && i < sizeof pairs / sizeof *pairs; i++) {
        pairs[i][1] = pairs[i][0];
        pairs[i][0] = 0;
    }
    for (int i = 0; i < 2; i++) {
        o.stride[i] = or_one(o.stride[i]);
        o.dilation[i] = or_one(o.dilation[i]);
    }
    o.groups = or_one(o.groups);
    return o;
}

static bool within(int64_t v, int64_t least)
{
    return v >= least && v <= INT32_MAX; /* so that no product of two overflows */
}

/* Whether the completed options make sense by themselves; keeps the error. */
static bool options_valid(ts_graph *g, const kind *k, const ts_conv_opts *o, int i)
{
    if (!within(o->stride[i], 1) || !within(o->dilation[i], 1) || !within(o->groups, 1) || !within(o->pad[i], 0) ||
        !within(o->pad_after[i], 0)) {
        ts_build_fail(
            g, k->name,
            "stride %lld, dilation %lld, groups %lld, padding %lld and %lld: expected 1 or more, padding 0 or "
            "more, all below 2^31",
            (long long)o->stride[i], (long long)o->dilation[i], (long long)o->groups, (long long)o->pad[i],
            (long long)o->pad_after[i]);
        return false;
    }
    const int64_t most = k->transposed ? (o->stride[i] > o->dilation[i] ? o->stride[i] : o->dilation[i]) - 1 : 0;
    if (o->output_pad[i] < 0 || o->output_pad[i] > most) {
        ts_build_fail(g, k->name, "output_pad is %lld, expected 0 to %lld (%s)", (long long)o->output_pad[i],
                      (long long)most, k->transposed ? "below stride or dilation" : "it is for transposed ones");
        return false;
    }
    return true;
}

/* In 1-D the second element of an option has no meaning, so it must not be set; keeps the error. */
static bool second_unset(ts_graph *g, const kind *k, const ts_conv_opts *o)
{
    if (k->axes == 2 || !(o->stride[1] || o->pad[1] || o->pad_after[1] || o->dilation[1] || o->output_pad[1]))
        return true;
    ts_build_fail(g, k->name, "an option has a second element; in 1-D only the first counts");
    return false;
}

static bool dtypes_valid(ts_graph *g, const kind *k, ts_value x, ts_value w, ts_value bias)
{
    const ts_dtype dtype = ts_type_of(x).dtype;
    if (ts_dtype_is_real(dtype) && ts_type_of(w).dtype == dtype &&
        (!ts_present(bias) || ts_type_of(bias).dtype == dtype))
        return true;
    ts_build_fail(g, k->name, "input is %s, weight %s, bias %s; expected real numbers of one dtype",
                  ts_dtype_name(dtype), ts_dtype_name(ts_type_of(w).dtype),
                  ts_present(bias) ? ts_dtype_name(ts_type_of(bias).dtype) : "absent");
    return false;
}

/* Whether x, weight and bias fit together; keeps the error. `out` is the number of channels that come out. */
static bool operands_valid(ts_graph *g, const kind *k, ts_value x, ts_value w, ts_value bias, int64_t groups,
                           int64_t *out)
{
    const int rank = k->axes + 2;
    const ts_shape xs = ts_value_shape(x), ws = ts_value_shape(w), bs = ts_value_shape(bias);
    const ts_shape_text x_text = ts_shape_print(xs), w_text = ts_shape_print(ws);
    const char *xt = x_text.text, *wt = w_text.text;
    if (xs.rank != rank || ws.rank != rank) {
        ts_build_fail(g, k->name, "input is %s and weight %s, both need rank %d, channels last", xt, wt, rank);
        return false;
    }
    const int64_t have = xs.dim[rank - 1], inner = ws.dim[rank - 1] * groups;
    const int64_t expected = k->transposed ? ws.dim[0] : inner;
    *out = k->transposed ? inner : ws.dim[0];
    if (have != expected) {
        ts_build_fail(g, k->name, "input %s has %lld channels, weight %s with %lld groups expects %lld", xt,
                      (long long)have, wt, (long long)groups, (long long)expected);
        return false;
    }
    if (ws.dim[0] % groups != 0) {
        ts_build_fail(g, k->name, "weight %s: %lld groups do not divide its first dim", wt, (long long)groups);
        return false;
    }
    if (ts_present(bias) && (bs.rank != 1 || bs.dim[0] != *out)) {
        ts_build_fail(g, k->name, "bias is %s, weight %s with %lld groups expects [%lld]", ts_shape_print(bs).text, wt,
                      (long long)groups, (long long)*out);
        return false;
    }
    return dtypes_valid(g, k, x, w, bias);
}

static int64_t output_size(const kind *k, int64_t size, int64_t taps, const ts_conv_opts *o, int i)
{
    const int64_t reach = o->dilation[i] * (taps - 1) + 1, pads = o->pad[i] + o->pad_after[i];
    if (k->transposed)
        return (size - 1) * o->stride[i] - pads + reach + o->output_pad[i];
    return size + pads < reach ? 0 : (size + pads - reach) / o->stride[i] + 1;
}

static ts_value add_node(ts_graph *g, ts_op op, const ts_attr *attr, ts_value a, ts_value b, ts_value bias, ts_type out)
{
    ts_node_spec spec = {.op = op, .attr = *attr, .in_count = ts_present(bias) ? 3 : 2, .in = {a, b, bias}};
    spec.out[0] = out;
    return ts_node_add(g, &spec, NULL);
}

/* x and w of rank 4, checked; only the output's size may still be impossible. */
static ts_value build_2d(ts_graph *g, const kind *k, ts_value x, ts_value w, ts_value bias, const ts_conv_opts *o,
                         int64_t out_channels)
{
    const ts_shape xs = ts_value_shape(x), ws = ts_value_shape(w);
    ts_shape y = ts_shape_of(xs.dim[0], 0, 0, out_channels);
    ts_attr attr = {0};
    for (int i = 0; i < 2; i++) {
        y.dim[i + 1] = output_size(k, xs.dim[i + 1], ws.dim[i + 1], o, i);
        if (y.dim[i + 1] < 1)
            return ts_build_fail(g, k->name,
                                 "nothing comes out: input size %lld, kernel %lld, stride %lld, padding %lld+%lld, "
                                 "dilation %lld (input %s, weight %s)",
                                 (long long)xs.dim[i + 1], (long long)ws.dim[i + 1], (long long)o->stride[i],
                                 (long long)o->pad[i], (long long)o->pad_after[i], (long long)o->dilation[i],
                                 ts_shape_print(xs).text, ts_shape_print(ws).text);
        attr.conv.stride[i] = o->stride[i];
        attr.conv.pad[i] = o->pad[i];
        attr.conv.dilation[i] = o->dilation[i];
    }
    attr.conv.groups = o->groups;
    return add_node(g, k->transposed ? TS_OP_conv_transpose : TS_OP_conv, &attr, x, w, bias,
                    (ts_type){ts_type_of(x).dtype, y});
}

/* [A, n, C] -> [A, 1, n, C] */
static ts_value with_height(ts_value v)
{
    return ts_reshape(v, ts_shape_of(ts_dim(v, 0), 1, ts_dim(v, 1), ts_dim(v, 2)));
}

static ts_value build(const kind *k, ts_value x, ts_value w, ts_value bias, const ts_conv_opts *given)
{
    ts_graph *g;
    int64_t out_channels;
    if (ts_poisoned(&g, 3, (ts_value[]){x, w, bias}) || !second_unset(g, k, given))
        return ts_poison(g);
    const ts_conv_opts o = complete(k, *given);
    if (!options_valid(g, k, &o, 0) || !options_valid(g, k, &o, 1) ||
        !operands_valid(g, k, x, w, bias, o.groups, &out_channels))
        return ts_poison(g);
    if (k->axes == 2)
        return build_2d(g, k, x, w, bias, &o, out_channels);
    ts_value y = build_2d(g, k, with_height(x), with_height(w), bias, &o, out_channels);
    return ts_present(y) ? ts_reshape(y, ts_shape_of(ts_dim(y, 0), ts_dim(y, 2), ts_dim(y, 3))) : y;
}

ts_value ts_conv2d(ts_value x, ts_value weight, ts_value bias, ts_conv_opts opts)
{
    return build(&conv2d, x, weight, bias, &opts);
}

ts_value ts_conv1d(ts_value x, ts_value weight, ts_value bias, ts_conv_opts opts)
{
    return build(&conv1d, x, weight, bias, &opts);
}

ts_value ts_conv2d_transpose(ts_value x, ts_value weight, ts_value bias, ts_conv_opts opts)
{
    return build(&conv2d_transpose, x, weight, bias, &opts);
}

ts_value ts_conv1d_transpose(ts_value x, ts_value weight, ts_value bias, ts_conv_opts opts)
{
    return build(&conv1d_transpose, x, weight, bias, &opts);
}

/* Both adjoints at once: `back` is the other op, and the larger image (the convolution's input) comes first in dw. From
 * bf16 operands the weights' gradient is f32 all the same: it is a long sum, and goes to f32 weights. */
static void rule(ts_rule *r, ts_op back)
{
    ts_graph *g = r->dout[0].graph;
    ts_value x = r->in[0], w = r->in[1], dy = ts_cast(r->dout[0], ts_type_of(x).dtype);
    const bool forward = back == TS_OP_conv_transpose;
    const ts_dtype wide = ts_type_of(x).dtype == TS_BF16 ? TS_F32 : ts_type_of(x).dtype;
    if (r->wants[0])
        r->din[0] = add_node(g, back, r->attr, dy, w, TS_ABSENT, ts_type_of(x));
    if (r->wants[1])
        r->din[1] = add_node(g, TS_OP_conv_dw, r->attr, forward ? x : dy, forward ? dy : x, TS_ABSENT,
                             (ts_type){wide, ts_value_shape(w)});
    if (r->in_count > 2 && r->wants[2])
        r->din[2] = ts_sum_to(r->dout[0], ts_value_shape(r->in[2]));
}

void ts_rule_conv(ts_rule *r)
{
    rule(r, TS_OP_conv_transpose);
}

void ts_rule_conv_transpose(ts_rule *r)
{
    rule(r, TS_OP_conv);
}
