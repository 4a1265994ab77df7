#include "layers/attention.h"

#include <math.h>

#include "autograd/attention.h"
#include "autograd/elementwise.h"
#include "autograd/shape.h"
#include "layers/conv.h"

static ts_value project(ts_scope s, const char *name, ts_value x)
{
    return ts_conv1d_layer(ts_sub(s, name), x, ts_dim(x, -1), (ts_conv_layer){.kernel = 1});
}

/* [B, T, C] -> [B, 1, T, C], one head */
static ts_value as_head(ts_value x)
{
    return ts_reshape(x, ts_shape_of(ts_dim(x, 0), 1, ts_dim(x, 1), ts_dim(x, 2)));
}

ts_value ts_attention_layer(ts_scope s, ts_value x, ts_norm_layer_opts norm, bool causal)
{
    ts_value h = ts_norm_layer(ts_sub(s, "norm"), x, norm);
    ts_value q = project(s, "q", h), k = project(s, "k", h), v = project(s, "v", h);
    ts_enter(s);
    double scale = 1 / sqrt((double)(ts_present(x) ? ts_dim(x, -1) : 1));
    h = ts_attention(as_head(q), as_head(k), as_head(v), scale, causal);
    h = project(s, "out", ts_reshape(h, ts_value_shape(x)));
    return ts_add(x, h);
}
