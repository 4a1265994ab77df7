#include "quant/codebook.h"

#include "autograd/node.h"
#include "autograd/ops.h"
#include "quant/rotation.h"

ts_value ts_mask_of_rows(ts_scope s)
{
    return s.mask.graph ? ts_reshape(s.mask, ts_shape_of(-1)) : TS_ABSENT;
}

static ts_value output(ts_value z, const ts_lookup *l, bool rotation)
{
    ts_shape shape = ts_value_shape(z);
    return rotation ? ts_reshape(ts_rotate_to(l->rows, l->code), shape)
                    : ts_straight_through(ts_reshape(ts_stop_gradient(l->code), shape), z);
}

bool ts_look_up(ts_scope s, ts_value codebook, ts_value z, bool rotation, ts_quantized *out, ts_lookup *l)
{
    *out = (ts_quantized){.codes = ts_poison(s.graph), .ids = ts_poison(s.graph)};
    if (!ts_present(z) || !ts_present(codebook))
        return false;
    if (ts_value_shape(z).rank < 1 || ts_dim(z, -1) != ts_dim(codebook, 1)) {
        ts_build_fail(s.graph, "nearest code", "z is %s, expected %lld channels, the codebook's dim",
                      ts_shape_print(ts_value_shape(z)).text, (long long)ts_dim(codebook, 1));
        return false;
    }
    l->codebook = codebook;
    l->rows = ts_rows(z);
    l->mask = ts_mask_of_rows(s);
    l->ids = ts_nearest(ts_stop_gradient(l->rows), ts_stop_gradient(codebook));
    l->code = ts_gather(codebook, l->ids);
    ts_shape ids = ts_value_shape(z);
    ids.dim[ids.rank - 1] = 1;
    out->ids = ts_mask_ids(ts_reshape(l->ids, ids), s.mask);
    if (s.mask.graph)
        l->ids = ts_reshape(out->ids, ts_shape_of(-1));
    out->codes = ts_mask_rows(output(z, l, rotation), s.mask);
    return true;
}

void ts_commitment_loss(ts_quantized *q, const ts_lookup *l, double weight)
{
    ts_quantized_loss(q, "commitment", ts_mse_masked(l->rows, ts_stop_gradient(l->code), l->mask), weight);
}

void ts_batch_statistics(ts_quantized *q, const ts_lookup *l)
{
    int64_t codes = ts_dim(l->codebook, 0);
    ts_value rows = ts_stop_gradient(l->rows);
    ts_quantized_statistic(q, "count", ts_cast(ts_count(l->ids, codes), ts_type_of(rows).dtype), true);
    ts_quantized_statistic(q, "sum", ts_scatter_add(rows, l->ids, codes), true);
}

ts_value ts_code_rows(ts_value codebook, ts_value ids)
{
    ts_shape shape = ts_value_shape(ids);
    if (!ts_present(ids) || !ts_present(codebook))
        return ts_poison(ids.graph);
    if (ts_dim(ids, -1) != 1)
        return ts_build_fail(ids.graph, "code", "ids are %s, expected a last axis of 1", ts_shape_print(shape).text);
    shape.dim[shape.rank - 1] = ts_dim(codebook, 1);
    return ts_reshape(ts_gather(codebook, ts_reshape(ids, ts_shape_of(-1))), shape);
}

ts_value ts_moved(ts_value average, ts_value now, double decay)
{
    return ts_add(ts_scale(average, decay), ts_scale(now, 1 - decay));
}

ts_value ts_column(ts_value v)
{
    return ts_reshape(v, ts_shape_of(ts_dim(v, 0), 1));
}

ts_value ts_ok_with_tokens(ts_value ok, ts_value count)
{
    ts_value any = ts_greater(ts_sum_all(count), ts_scalar(count.graph, 0));
    return ok.graph ? ts_mul(ok, any) : any;
}
