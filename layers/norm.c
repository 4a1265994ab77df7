#include "layers/norm.h"

#include "autograd/elementwise.h"
#include "autograd/norm.h"
#include "autograd/optim.h"
#include "autograd/reduce.h"
#include "autograd/surrogate.h"

const char *const ts_norm_names[] = {"none", "LN", "GN", "BN", NULL};

typedef struct {
    ts_value weight, bias; /* [C] */
} affine;

/* running = (1 - momentum) running + momentum now */
static void follow(ts_value running, ts_value now, ts_value ok, double momentum)
{
    ts_assign(running, ts_add(ts_scale(running, 1 - momentum), ts_scale(now, momentum)), ok);
}

static ts_value batch_norm(ts_scope s, ts_value x, affine a, ts_norm_layer_opts o)
{
    ts_dtype real = ts_graph_real(s.graph);
    int64_t channels = ts_dim(x, -1);
    ts_value mean = ts_state(s, "running_mean", real, ts_shape_of(channels), TS_ZEROS);
    ts_value var = ts_state(s, "running_var", real, ts_shape_of(channels), TS_ONES);
    if (s.mode != TS_TRAIN)
        return ts_batch_norm_eval(x, mean, var, a.weight, a.bias, o.eps);
    ts_batch_stats batch = ts_batch_norm(x, a.weight, a.bias, o.eps);
    if (!ts_present(batch.y) || s.hold_state)
        return batch.y;
    double n = (double)ts_shape_count(ts_value_shape(x)) / (double)channels;
    ts_value now[2] = {ts_stop_gradient(batch.mean), ts_scale(ts_stop_gradient(batch.var), n / (n - 1))};
    ts_value ok = ts_all_finite(now, 2);
    if (s.live.graph)
        ok = ts_mul(ok, s.live);
    follow(mean, now[0], ok, o.momentum);
    follow(var, now[1], ok, o.momentum);
    return batch.y;
}

ts_value ts_norm_layer(ts_scope s, ts_value x, ts_norm_layer_opts o)
{
    if (o.kind == TS_NORM_NONE)
        return x;
    ts_enter(s);
    ts_shape shape = ts_shape_of(ts_dim(x, -1));
    affine a = {ts_param(s, "weight", shape, TS_ONES, TS_ROLE_NORM),
                ts_param(s, "bias", shape, TS_ZEROS, TS_ROLE_NORM)};
    if (o.kind == TS_NORM_BATCH)
        return batch_norm(s, x, a, o);
    return o.kind == TS_NORM_GROUP ? ts_group_norm(x, a.weight, a.bias, o.groups, o.eps)
                                   : ts_layer_norm(x, a.weight, a.bias, o.eps);
}
