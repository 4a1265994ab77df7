/* Matrix products by oneDNN, bias included. */
#include <stddef.h>

#include "core/cpu/dnnl.h"
#include "core/cpu/ending.h"
#include "core/device.h"
#include "core/memory.h"
#include "core/widen.h"

static bool has_bias(const ts_desc *d)
{
    return d->in_count > 2 && ts_type_present(&d->in[2]);
}

/* bf16 where the processor has instructions for it that are worth it. */
static bool accepts(const ts_desc *d)
{
    const ts_dtype in = d->in[0].dtype, out = d->out[0].dtype;
    for (int i = 0; i < d->in_count; i++)
        if (ts_type_present(&d->in[i]) && ts_shape_count(d->in[i].shape) == 0)
            return false;
    if (ts_shape_count(d->out[0].shape) == 0 || d->in[1].dtype != in || (has_bias(d) && d->in[2].dtype != out))
        return false;
    return in == TS_F32 ? out == TS_F32 : in == TS_BF16 && ts_dnnl_multiplies_bf16();
}

/* Leading dims are rows where b is one matrix and a is not transposed, else a batch. */
static ts_dnnl_product product_of(const ts_desc *d)
{
    const ts_shape a = d->in[0].shape, b = d->in[1].shape, c = d->out[0].shape;
    const bool ta = d->attr.matmul.trans_a;
    ts_dnnl_product p = {.in = d->in[0].dtype,
                         .out = d->out[0].dtype,
                         .M = c.dim[c.rank - 2],
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

typedef struct {
    ts_dnnl *op; /* NULL: oneDNN has nothing for it */
    void *wide;  /* then bf16 operands are widened */
} plan;

static void release(void *prepared)
{
    plan *p = prepared;
    ts_dnnl_free(p->op);
    if (p->wide)
        ts_widened.release(p->wide);
    ts_free(p);
}

static ts_status choose(plan *p, const ts_desc *d, ts_device *device, size_t *scratch_bytes, ts_error *err)
{
    const ts_dnnl_product product = product_of(d);
    TS_TRY(ts_dnnl_matmul_new(&p->op, &product, device->threads, err));
    if (!p->op && product.in == TS_BF16)
        return ts_widened.prepare(d, device, &p->wide, scratch_bytes, err);
    *scratch_bytes = p->op ? ts_dnnl_scratch_bytes(p->op) : 0;
    return TS_OK;
}

static ts_status prepare(const ts_desc *d, ts_device *device, void **prepared, size_t *scratch_bytes, ts_error *err)
{
    plan *p = ts_calloc(1, sizeof *p);
    if (!p)
        return ts_out_of_memory(err, sizeof *p);
    ts_status status = choose(p, d, device, scratch_bytes, err);
    if (status != TS_OK)
        release(p);
    else
        *prepared = p;
    return status;
}

static void run(const ts_call *call)
{
    const plan *p = call->prepared;
    const ts_dnnl_operands o = {
        .x = call->in[0], .w = call->in[1], .bias = has_bias(call->desc) ? call->in[2] : NULL, .y = call->out[0]};
    if (p->wide) {
        ts_call widened = *call;
        widened.prepared = p->wide;
        ts_widened.run(&widened);
    } else if (!p->op) {
        ts_ref_kernel(TS_OP_matmul, false)->run(call);
    } else if (!ts_dnnl_run(p->op, &o, call->scratch)) {
        ts_device_fail(call->device, "oneDNN %s failed in matmul (%s)", ts_dnnl_version(),
                       ts_dnnl_implementation(p->op));
    } else {
        ts_cpu_end(call, NULL, call->desc->attr.matmul.relu);
    }
}

const ts_kernel ts_cpu_matmul = {
    .name = "onednn", .accepts = accepts, .prepare = prepare, .release = release, .run = run, .bf16 = true};
