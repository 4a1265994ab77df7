/* Convolution layers, channels last. Initial values as PyTorch's: uniform in +-1/sqrt(fan_in), where fan_in is
 * kernel * kernel * in/groups (for a transposed convolution, as there, kernel * kernel * out/groups). */
#ifndef TS_LAYERS_CONV_H
#define TS_LAYERS_CONV_H

#include "autograd/scope.h"

/* 0 means: stride 1, dilation 1, groups 1. The same in both directions. */
typedef struct {
    int64_t kernel, stride, pad, dilation, groups;
    bool no_bias;
    bool asymmetric; /* `pad` zeros before and `pad_after` behind, instead of `pad` on both sides */
    int64_t pad_after;
} ts_conv_layer;

/* x [B, H, W, in] -> [B, H', W', out]; weight [out, k, k, in/groups], bias [out]. torch.nn.Conv2d */
ts_value ts_conv2d_layer(ts_scope s, ts_value x, int64_t out, ts_conv_layer opts);

/* x [B, H, W, in] -> [B, H', W', out]; weight [in, k, k, out/groups], bias [out]. torch.nn.ConvTranspose2d */
ts_value ts_conv2d_transpose_layer(ts_scope s, ts_value x, int64_t out, ts_conv_layer opts);

/* x [B, T, in] -> [B, T', out]; weight [out, k, in/groups], bias [out]. torch.nn.Conv1d */
ts_value ts_conv1d_layer(ts_scope s, ts_value x, int64_t out, ts_conv_layer opts);

#endif
