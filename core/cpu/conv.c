/* Convolutions by oneDNN, over channels-last images with weights packed as it likes them (at each run: under 2 % of the
 * time of the networks measured), and by our own kernels where few channels come out (thin.h). A transposed convolution
 * is the backward pass of a convolution, which costs the same as a forward one; oneDNN's own deconvolution takes 1.5 to
 * 2 times as long. Weight gradients are summed by oneDNN in parts, one per thread: the last bits depend on the thread
 * count, not on the run. */
#include <stddef.h>

#include "core/cpu/dnnl.h"
#include "core/cpu/ending.h"
#include "core/cpu/strided.h"
#include "core/cpu/thin.h"
#include "core/cpu/winograd.h"
#include "core/memory.h"
#include "core/widen.h"

static bool is_dense_f32(const ts_type *t)
{
    return !ts_type_present(t) || (t->dtype == TS_F32 && ts_shape_count(t->shape) > 0);
}

static bool accepts_f32(const ts_desc *d)
{
    for (int i = 0; i < d->in_count; i++)
        if (!is_dense_f32(&d->in[i]))
            return false;
    return is_dense_f32(&d->out[0]);
}

static bool has_bias(const ts_desc *d)
{
    return d->in_count > 2 && ts_type_present(&d->in[2]);
}

/* bf16 where the processor has instructions for it that are worth it; a bias where oneDNN's pass takes one. */
static bool accepts(const ts_desc *d)
{
    if (d->in[0].dtype != TS_BF16)
        return accepts_f32(d);
    const bool bias = !has_bias(d) || (d->op == TS_OP_conv && d->in[2].dtype == d->out[0].dtype);
    return ts_dnnl_multiplies_bf16() && d->in[1].dtype == TS_BF16 && bias && ts_shape_count(d->in[0].shape) > 0 &&
           ts_shape_count(d->in[1].shape) > 0 && ts_shape_count(d->out[0].shape) > 0;
}

/* x is the large image, y the small one, w the weights: see core/ref/conv.c. */
static ts_dnnl_conv geometry_of(const ts_desc *d, const ts_type *x_type, const ts_type *w_type, const ts_type *y_type)
{
    const ts_shape x = x_type->shape, w = w_type->shape, y = y_type->shape;
    ts_dnnl_conv g = {.x_type = x_type->dtype,
                      .w_type = w_type->dtype,
                      .y_type = y_type->dtype,
                      .B = x.dim[0],
                      .H = x.dim[1],
                      .W = x.dim[2],
                      .C = x.dim[3],
                      .P = y.dim[1],
                      .Q = y.dim[2],
                      .O = y.dim[3],
                      .R = w.dim[1],
                      .S = w.dim[2],
                      .groups = d->attr.conv.groups,
                      .relu = d->attr.conv.relu};
    for (int i = 0; i < 2; i++) {
        g.stride[i] = d->attr.conv.stride[i];
        g.pad[i] = d->attr.conv.pad[i];
        g.dilation[i] = d->attr.conv.dilation[i];
    }
    return g;
}

/* What a run needs to know. */
typedef struct {
    ts_dnnl_conv shape;
    ts_dnnl_pass pass;
    bool thin;             /* our own kernel for few channels */
    ts_winograd *winograd; /* our own of fewer products */
    ts_strided *strided;   /* our own weight gradient of a strided one */
    ts_dnnl *op;           /* else oneDNN's; NULL where that has only its reference loops, and then ours run */
    void *wide; /* bf16 operands are widened after all: for a thin pass, and where oneDNN has nothing for them */
} plan;

static void release(void *prepared)
{
    plan *p = prepared;
    ts_dnnl_free(p->op);
    ts_winograd_free(p->winograd);
    ts_strided_free(p->strided);
    if (p->wide)
        ts_widened.release(p->wide);
    ts_free(p);
}

static ts_status choose(plan *p, const ts_desc *d, ts_device *device, size_t *scratch_bytes, ts_error *err)
{
    p->thin = ts_thin_fits(&p->shape, p->pass);
    if (!p->thin && ts_winograd_fits(&p->shape, p->pass)) {
        TS_TRY(ts_winograd_new(&p->winograd, &p->shape, p->pass, device->threads, err));
        *scratch_bytes = ts_winograd_scratch_bytes(p->winograd);
        return TS_OK;
    }
    if (!p->thin && ts_strided_fits(&p->shape, p->pass)) {
        TS_TRY(ts_strided_new(&p->strided, &p->shape, device->threads, err));
        *scratch_bytes = ts_strided_scratch_bytes(p->strided);
        return TS_OK;
    }
    if (!p->thin)
        TS_TRY(ts_dnnl_conv_new(&p->op, &p->shape, p->pass, device->threads, err));
    if (d->in[0].dtype == TS_BF16 && !p->op)
        return ts_widened.prepare(d, device, &p->wide, scratch_bytes, err);
    *scratch_bytes = p->thin ? ts_thin_scratch_bytes(&p->shape, p->pass) : p->op ? ts_dnnl_scratch_bytes(p->op) : 0;
    return TS_OK;
}

static ts_status prepare(const ts_desc *d, const ts_dnnl_conv *shape, ts_dnnl_pass pass, ts_device *device,
                         void **prepared, size_t *scratch_bytes, ts_error *err)
{
    plan *p = ts_calloc(1, sizeof *p);
    if (!p)
        return ts_out_of_memory(err, sizeof *p);
    p->shape = *shape;
    p->pass = pass;
    ts_status status = choose(p, d, device, scratch_bytes, err);
    if (status != TS_OK)
        release(p);
    else
        *prepared = p;
    return status;
}

/* Multiply-adds below which the start of a second thread costs more than it brings. */
static int threads_of(const ts_call *call)
{
    return ts_desc_flops(call->desc) < 200e3 ? 1 : call->device->threads;
}

/* By oneDNN, or by our own that are made of its matrix products. */
static void run_planned(const ts_call *call, const plan *p, const ts_dnnl_operands *operands)
{
    if (!(p->winograd  ? ts_winograd_run(p->winograd, operands, call->scratch)
          : p->strided ? ts_strided_run(p->strided, operands, call->scratch)
                       : ts_dnnl_run(p->op, operands, call->scratch)))
        ts_device_fail(call->device, "oneDNN %s failed in %s (%s)", ts_dnnl_version(), ts_ops[call->desc->op].name,
                       p->op ? ts_dnnl_implementation(p->op) : "sgemm");
}

static const void *bias_of(const ts_call *call)
{
    return has_bias(call->desc) ? call->in[2] : NULL;
}

static void run_wide(const ts_call *call, void *wide)
{
    ts_call widened = *call;
    widened.prepared = wide;
    ts_widened.run(&widened);
}

static ts_status conv_prepare(const ts_desc *d, ts_device *device, void **prepared, size_t *scratch_bytes,
                              ts_error *err)
{
    ts_dnnl_conv g = geometry_of(d, &d->in[0], &d->in[1], &d->out[0]);
    g.bias = has_bias(d);
    return prepare(d, &g, TS_DNNL_FORWARD, device, prepared, scratch_bytes, err);
}

static void conv(const ts_call *call)
{
    const plan *p = call->prepared;
    const ts_dnnl_operands o = {.x = call->in[0], .w = call->in[1], .bias = bias_of(call), .y = call->out[0]};
    if (p->wide)
        run_wide(call, p->wide);
    else if (p->thin)
        ts_thin_forward(&p->shape, call->out[0], o.x, o.w, o.bias, threads_of(call));
    else if (p->op || p->winograd)
        run_planned(call, p, &o);
    else
        ts_ref_kernel(TS_OP_conv, false)->run(call);
    if (!p->wide && (p->thin || p->op))
        ts_cpu_end(call, NULL, p->shape.relu);
}

const ts_kernel ts_cpu_conv = {
    .name = "onednn", .accepts = accepts, .prepare = conv_prepare, .release = release, .run = conv, .bf16 = true};

static ts_status conv_transpose_prepare(const ts_desc *d, ts_device *device, void **prepared, size_t *scratch_bytes,
                                        ts_error *err)
{
    const ts_dnnl_conv g = geometry_of(d, &d->out[0], &d->in[1], &d->in[0]);
    return prepare(d, &g, TS_DNNL_BACKWARD_DATA, device, prepared, scratch_bytes, err);
}

/* A bias is of f32 (see accepts). oneDNN's backward pass knows none. */
static void conv_transpose(const ts_call *call)
{
    const plan *p = call->prepared;
    const ts_dnnl_operands o = {.x = call->out[0], .w = call->in[1], .bias = bias_of(call), .y = call->in[0]};
    if (p->wide)
        run_wide(call, p->wide);
    else if (p->thin)
        ts_thin_data(&p->shape, call->out[0], o.y, o.w, o.bias, call->scratch, threads_of(call));
    else if (p->op || p->winograd)
        run_planned(call, p, &o);
    else
        ts_ref_kernel(TS_OP_conv_transpose, false)->run(call);
    if (!p->wide && (p->thin || p->op))
        ts_cpu_end(call, p->thin ? NULL : o.bias, p->shape.relu);
}

const ts_kernel ts_cpu_conv_transpose = {.name = "onednn",
                                         .accepts = accepts,
                                         .prepare = conv_transpose_prepare,
                                         .release = release,
                                         .run = conv_transpose,
                                         .bf16 = true};

static ts_status conv_dw_prepare(const ts_desc *d, ts_device *device, void **prepared, size_t *scratch_bytes,
                                 ts_error *err)
{
    const ts_dnnl_conv g = geometry_of(d, &d->in[0], &d->out[0], &d->in[1]);
    return prepare(d, &g, TS_DNNL_BACKWARD_WEIGHTS, device, prepared, scratch_bytes, err);
}

static void conv_dw(const ts_call *call)
{
    const plan *p = call->prepared;
    const ts_dnnl_operands o = {.x = call->in[0], .w = call->out[0], .y = call->in[1]};
    if (p->wide)
        run_wide(call, p->wide);
    else if (p->thin)
        ts_thin_weights(&p->shape, call->out[0], o.x, o.y, call->scratch, threads_of(call));
    else if (p->op || p->winograd || p->strided)
        run_planned(call, p, &o);
    else
        ts_ref_kernel(TS_OP_conv_dw, false)->run(call);
}

const ts_kernel ts_cpu_conv_dw = {
    .name = "onednn", .accepts = accepts, .prepare = conv_dw_prepare, .release = release, .run = conv_dw, .bf16 = true};
