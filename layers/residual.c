#include "layers/residual.h"

#include "autograd/elementwise.h"
#include "layers/conv.h"

static ts_value block(ts_scope s, ts_value x, int64_t hidden)
{
    ts_value r = ts_relu(x);
    ts_value h =
        ts_conv2d_layer(ts_sub(s, "conv1"), r, hidden, (ts_conv_layer){.kernel = 3, .pad = 1, .no_bias = true});
    h = ts_conv2d_layer(ts_sub(s, "conv2"), ts_relu(h), ts_dim(x, -1), (ts_conv_layer){.kernel = 1, .no_bias = true});
    return ts_add(r, h);
}

ts_value ts_relu_residual_stack(ts_scope s, ts_value x, int count, int64_t hidden)
{
    for (int i = 0; i < count; i++)
        x = block(ts_sub_index(s, "block", i), x, hidden);
    return ts_relu(x);
}
