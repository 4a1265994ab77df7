#include "autograd/nearest.h"

#include "autograd/node.h"

ts_value ts_nearest(ts_value x, ts_value codebook)
{
    ts_graph *g;
    if (ts_poisoned(&g, 2, (ts_value[]){x, codebook}))
        return ts_poison(g);
    ts_type a = ts_type_of(x), b = ts_type_of(codebook);
    bool fits = a.dtype == ts_graph_real(g) && a.dtype == b.dtype && a.shape.rank >= 1 && b.shape.rank == 2;
    if (!fits || ts_dim(x, -1) != b.shape.dim[1] || b.shape.dim[0] < 1 || b.shape.dim[0] > INT32_MAX)
        return ts_build_fail(
            g, "nearest", "the rows are %s %s and the codebook %s %s; expected real [.., D] and [K, D], K at least 1",
            ts_dtype_name(a.dtype), ts_shape_print(a.shape).text, ts_dtype_name(b.dtype), ts_shape_print(b.shape).text);
    ts_shape ids = a.shape;
    ids.dim[--ids.rank] = 0;
    ts_node_spec spec = {.op = TS_OP_nearest, .in_count = 2, .in = {x, codebook}, .out = {{TS_I32, ids}}};
    return ts_node_add(g, &spec, NULL);
}
