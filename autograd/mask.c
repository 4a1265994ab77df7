#include "autograd/mask.h"

#include "autograd/elementwise.h"
#include "autograd/node.h"
#include "autograd/reduce.h"
#include "autograd/shape.h"

ts_value ts_length_mask(ts_value lengths, int64_t n, int64_t size)
{
    ts_graph *g;
    if (ts_poisoned(&g, 1, &lengths))
        return ts_poison(g);
    ts_type t = ts_type_of(lengths);
    if (t.dtype != TS_I32 || t.shape.rank != 1 || n < 0 || size < 1)
        return ts_build_fail(g, "length_mask",
                             "lengths are %s %s for %lld parts of %lld; expected i32 [B], 0 and 1 or more",
                             ts_dtype_name(t.dtype), ts_shape_print(t.shape).text, (long long)n, (long long)size);
    ts_value ends = ts_cumsum(ts_broadcast(ts_scalar(g, (double)size), ts_shape_of(n)), 0, false);
    ts_value have = ts_cast(ts_reshape(lengths, ts_shape_of(t.shape.dim[0], 1)), ts_graph_real(g));
    return ts_greater(have, ts_affine(ends, 1, -0.5));
}

/* mask [..] as [.., 1], to stand beside x [.., C]; poison, with the error kept, where it does not fit. */
static ts_value column(ts_graph *g, ts_value mask, ts_value x)
{
    ts_shape rows = ts_value_shape(x), shape = rows;
    if (rows.rank > 0) {
        shape.dim[rows.rank - 1] = 1;
        rows.dim[--rows.rank] = 0;
    }
    if (shape.rank > 0 && ts_type_of(mask).dtype == ts_graph_real(g) && ts_shape_equal(ts_value_shape(mask), rows))
        return ts_reshape(mask, shape);
    return ts_build_fail(g, "mask", "is %s %s for %s %s, expected %s of that shape without its last axis",
                         ts_dtype_name(ts_type_of(mask).dtype), ts_shape_print(ts_value_shape(mask)).text,
                         ts_dtype_name(ts_type_of(x).dtype), ts_shape_print(ts_value_shape(x)).text,
                         ts_dtype_name(ts_graph_real(g)));
}

ts_value ts_mask_rows(ts_value x, ts_value mask)
{
    ts_graph *g;
    if (!mask.graph)
        return x;
    if (ts_poisoned(&g, 2, (ts_value[]){x, mask}))
        return ts_poison(g);
    return ts_mul(x, column(g, mask, x));
}

ts_value ts_mask_ids(ts_value ids, ts_value mask)
{
    ts_graph *g;
    if (!mask.graph || !ids.graph)
        return ids;
    if (ts_poisoned(&g, 2, (ts_value[]){ids, mask}))
        return ts_poison(g);
    return ts_where(column(g, mask, ids), ids, ts_constant(g, TS_I32, ts_shape_of(), &(int32_t){-1}));
}
