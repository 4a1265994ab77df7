/* Matrix products by oneDNN, bias included. */
#include <stddef.h>

#include "core/cpu/dnnl.h"
#include "core/device.h"

static bool accepts(const ts_desc *d)
{
    for (int i = 0; i < d->in_count; i++)
        if (ts_type_present(&d->in[i]) && (d->in[i].dtype != TS_F32 || ts_shape_count(d->in[i].shape) == 0))
            return false;
    return d->out[0].dtype == TS_F32 && ts_shape_count(d->out[0].shape) > 0;
}

static bool has_bias(const ts_desc *d)
{
    return d->in_count > 2 && ts_type_present(&d->in[2]);
}

/* Leading dims are rows where b is one matrix and a is not transposed, else a batch. */
static ts_dnnl_product product_of(const ts_desc *d)
{
    const ts_shape a = d->in[0].shape, b = d->in[1].shape, c = d->out[0].shape;
    const bool ta = d->attr.matmul.trans_a;
    ts_dnnl_product p = {.M = c.dim[c.rank - 2],
                         .N = c.dim[c.rank - 1],
                         .K = a.dim[a.rank - (ta ? 2 : 1)],
                         .trans_a = ta,
                         .trans_b = d->attr.matmul.trans_b,
                         .one_b = b.rank == 2,
                         .bias = has_bias(d)};
    p.batch = ts_shape_count(c) / (p.M * p.N);
    if (p.one_b && !ta) {
        p.M *= p.batch;
        p.batch = 1;
    }
    return p;
}

static ts_status prepare(const ts_desc *d, ts_device *device, void **prepared, size_t *scratch_bytes, ts_error *err)
{
    const ts_dnnl_product p = product_of(d);
    ts_dnnl *op;
    TS_TRY(ts_dnnl_matmul_new(&op, &p, device->threads, err));
    *prepared = op;
    *scratch_bytes = op ? ts_dnnl_scratch_bytes(op) : 0;
    return TS_OK;
}

static void release(void *prepared)
{
    ts_dnnl_free(prepared);
}

static void run(const ts_call *call)
{
    const ts_dnnl_operands o = {
        .x = call->in[0], .w = call->in[1], .bias = has_bias(call->desc) ? call->in[2] : NULL, .y = call->out[0]};
    if (!call->prepared)
        ts_ref_kernel(TS_OP_matmul, false)->run(call);
    else if (!ts_dnnl_run(call->prepared, &o, call->scratch))
        ts_device_fail(call->device, "oneDNN %s failed in matmul (%s)", ts_dnnl_version(),
                       ts_dnnl_implementation(call->prepared));
}

const ts_kernel ts_cpu_matmul = {
    .name = "onednn", .accepts = accepts, .prepare = prepare, .release = release, .run = run};
