#include "layers/linear.h"

#include <math.h>

#include "autograd/matmul.h"

ts_value ts_linear_layer(ts_scope s, ts_value x, int64_t out, bool bias)
{
    ts_enter(s);
    int64_t in = ts_dim(x, -1);
    double bound = in > 0 ? 1 / sqrt((double)in) : 0;
    ts_value w = ts_param(s, "weight", ts_shape_of(out, in), TS_UNIFORM(-bound, bound), TS_ROLE_WEIGHT);
    ts_value b = bias ? ts_param(s, "bias", ts_shape_of(out), TS_UNIFORM(-bound, bound), TS_ROLE_BIAS) : TS_ABSENT;
    return ts_linear(x, w, b);
}
