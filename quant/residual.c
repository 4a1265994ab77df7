#include "quant/residual.h"

#include "autograd/elementwise.h"
#include "autograd/index.h"
#include "autograd/node.h"
#include "autograd/random.h"
#include "autograd/shape.h"

ts_status ts_residual_check(int64_t layers, int64_t dropout, ts_error *err)
{
    if (!dropout || dropout < layers)
        return TS_OK;
    return ts_fail(err, TS_ERR_USAGE,
                   "dropout is %lld and layers is %lld, so that no layer is ever left out; expected dropout from 1 to "
                   "layers - 1, or 0 for none",
                   (long long)dropout, (long long)layers);
}

ts_value ts_residual_in_use(ts_scope s, int64_t layers, int64_t dropout)
{
    if (!dropout || s.mode != TS_TRAIN)
        return TS_ABSENT;
    if (!s.random.graph)
        return ts_build_fail(s.graph, "residual", "dropout needs random numbers, and the scope has none");
    ts_value more = ts_rand_index(s.random, ts_shape_of(1), layers - dropout + 1);
    return ts_affine(ts_cast(ts_reshape(more, ts_shape_of()), ts_graph_real(s.graph)), 1, (double)dropout);
}

ts_value ts_residual_join(const ts_value *x, int count, int axis)
{
    ts_value part[TS_MAX_IN] = {x[0]};
    for (int next = 1, n = 1; next < count; part[0] = ts_concat(part, n, axis))
        for (n = 1; n < TS_MAX_IN && next < count; n++)
            part[n] = x[next++];
    return part[0];
}

ts_value ts_residual_present(ts_value codes, ts_value ids, int layer)
{
    ts_graph *g;
    if (ts_poisoned(&g, 2, (ts_value[]){codes, ids}))
        return ts_poison(g);
    if (layer == 0)
        return codes;
    ts_value there = ts_greater(ts_cast(ids, ts_graph_real(g)), ts_scalar(g, -0.5));
    return ts_where(there, codes, ts_scalar(g, 0));
}
