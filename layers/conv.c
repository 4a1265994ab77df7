#include "layers/conv.h"

#include <math.h>

#include "autograd/conv.h"

static int64_t or_one(int64_t n)
{
    return n ? n : 1;
}

static double init_bound(int64_t taps, int64_t channels)
{
    int64_t fan_in = taps * channels;
    return fan_in > 0 ? 1 / sqrt((double)fan_in) : 0;
}

static ts_value bias_of(ts_scope s, int64_t out, double bound, bool none)
{
    return none ? TS_ABSENT : ts_param(s, "bias", ts_shape_of(out), TS_UNIFORM(-bound, bound), TS_ROLE_BIAS);
}

static ts_conv_opts both_axes(ts_conv_layer o)
{
    return (ts_conv_opts){.stride = {o.stride, o.stride},
                          .pad = {o.pad, o.pad},
                          .pad_after = {o.pad_after, o.pad_after},
                          .asymmetric = o.asymmetric,
                          .dilation = {o.dilation, o.dilation},
                          .groups = o.groups};
}

ts_value ts_conv2d_layer(ts_scope s, ts_value x, int64_t out, ts_conv_layer o)
{
    ts_enter(s);
    int64_t in = ts_dim(x, -1) / or_one(o.groups);
    double bound = init_bound(o.kernel * o.kernel, in);
    ts_value w = ts_conv_param(s, "weight", ts_shape_of(out, o.kernel, o.kernel, in), TS_UNIFORM(-bound, bound));
    return ts_conv2d(x, w, bias_of(s, out, bound, o.no_bias), both_axes(o));
}

ts_value ts_conv2d_transpose_layer(ts_scope s, ts_value x, int64_t out, ts_conv_layer o)
{
    ts_enter(s);
    int64_t per_group = out / or_one(o.groups);
    double bound = init_bound(o.kernel * o.kernel, per_group);
    ts_shape shape = ts_shape_of(ts_dim(x, -1), o.kernel, o.kernel, per_group);
    ts_value w = ts_conv_param(s, "weight", shape, TS_UNIFORM(-bound, bound));
    return ts_conv2d_transpose(x, w, bias_of(s, out, bound, o.no_bias), both_axes(o));
}

ts_value ts_conv1d_layer(ts_scope s, ts_value x, int64_t out, ts_conv_layer o)
{
    ts_enter(s);
    int64_t in = ts_dim(x, -1) / or_one(o.groups);
    double bound = init_bound(o.kernel, in);
    ts_value w = ts_conv_param(s, "weight", ts_shape_of(out, o.kernel, in), TS_UNIFORM(-bound, bound));
    ts_conv_opts opts = {.stride = {o.stride},
                         .pad = {o.pad},
                         .pad_after = {o.pad_after},
                         .asymmetric = o.asymmetric,
                         .dilation = {o.dilation},
                         .groups = o.groups};
    return ts_conv1d(x, w, bias_of(s, out, bound, o.no_bias), opts);
}
