/* Layers are functions over a scope: they open their parameters under its path and build their ops. Initial values are
 * PyTorch's defaults: weight and bias uniform in +-1/sqrt(fan_in). */
#ifndef TS_LAYERS_LINEAR_H
#define TS_LAYERS_LINEAR_H

#include "autograd/scope.h"

/* x [.., in] -> [.., out]; parameters weight [out, in] and, where wanted, bias [out]. torch.nn.Linear */
ts_value ts_linear_layer(ts_scope s, ts_value x, int64_t out, bool bias);

#endif
