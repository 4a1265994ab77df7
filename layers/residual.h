/* Residual blocks. */
#ifndef TS_LAYERS_RESIDUAL_H
#define TS_LAYERS_RESIDUAL_H

#include "autograd/scope.h"

/* The classic image VQ-VAE's stack: `count` times r = relu(x); x = r + conv1x1(relu(conv3x3(r))), then relu.
 * The skip carries relu(x), not x: the published code's ReLU works in place, and its weights are trained that way.
 *   x [B, H, W, C] -> [B, H, W, C]; parameters block.0.conv1 [hidden, 3, 3, C], block.0.conv2 [C, 1, 1, hidden], no
 * biases */
ts_value ts_relu_residual_stack(ts_scope s, ts_value x, int count, int64_t hidden);

#endif
