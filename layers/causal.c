#include "layers/causal.h"

#include "autograd/index.h"
#include "autograd/node.h"

static int64_t or_one(int64_t n)
{
    return n ? n : 1;
}

/* The past, then x; what is to be the past of the next block is noted. */
static ts_value with_past(ts_scope s, ts_value x, int64_t frames)
{
    if (!ts_present(x) || frames == 0)
        return x;
    if (s.pasts->count == TS_MAX_PASTS)
        return ts_build_fail(s.graph, "past", "more than %d causal layers", TS_MAX_PASTS);
    ts_value before = ts_input(s.graph, ts_scope_path(s, "past"), ts_type_of(x).dtype,
                               ts_shape_of(ts_dim(x, 0), frames, ts_dim(x, 2)));
    ts_value both = ts_concat((ts_value[]){before, x}, 2, 1);
    ts_value after = ts_slice(both, 1, ts_dim(x, 1), frames);
    ts_output(after, ts_scope_path(s, "past"));
    s.pasts->layer[s.pasts->count].before = before;
    s.pasts->layer[s.pasts->count++].after = after;
    return both;
}

ts_value ts_causal_conv1d_layer(ts_scope s, ts_value x, int64_t out, ts_conv_layer o)
{
    ts_enter(s);
    int64_t frames = (o.kernel - 1) * or_one(o.dilation) + 1 - or_one(o.stride);
    if (ts_present(x) && ts_dim(x, 1) % or_one(o.stride))
        return ts_build_fail(s.graph, "causal conv", "%lld frames, expected a multiple of the stride, %lld",
                             (long long)ts_dim(x, 1), (long long)o.stride);
    o.asymmetric = true;
    o.pad = s.pasts ? 0 : frames;
    return ts_conv1d_layer(s, s.pasts ? with_past(s, x, frames) : x, out, o);
}
