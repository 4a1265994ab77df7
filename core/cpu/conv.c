/* Convolutions by oneDNN, over channels-last images with weights packed as it likes them (at each run: under 2 % of the
 * time of the networks measured). A transposed convolution is the backward pass of a convolution, which costs the same
 * as a forward one; oneDNN's own deconvolution takes 1.5 to 2 times as long. Weight gradients are summed by oneDNN in
 * parts, one per thread: the last bits depend on the thread count, not on the run. */
#include <stddef.h>

#include "core/cpu/dnnl.h"
#include "core/cpu/simd.h"

static bool is_dense_f32(const ts_type *t)
{
    return !ts_type_present(t) || (t->dtype == TS_F32 && ts_shape_count(t->shape) > 0);
}

static bool accepts(const ts_desc *d)
{
    for (int i = 0; i < d->in_count; i++)
        if (!is_dense_f32(&d->in[i]))
            return false;
    return is_dense_f32(&d->out[0]);
}

/* x is the large image, y the small one, w the weights: see core/ref/conv.c. */
static ts_dnnl_conv geometry_of(const ts_desc *d, ts_shape x, ts_shape w, ts_shape y)
{
    ts_dnnl_conv g = {.B = x.dim[0],
                      .H = x.dim[1],
                      .W = x.dim[2],
                      .C = x.dim[3],
                      .P = y.dim[1],
                      .Q = y.dim[2],
                      .O = y.dim[3],
                      .R = w.dim[1],
                      .S = w.dim[2],
                      .groups = d->attr.conv.groups};
    for (int i = 0; i < 2; i++) {
        g.stride[i] = d->attr.conv.stride[i];
        g.pad[i] = d->attr.conv.pad[i];
        g.dilation[i] = d->attr.conv.dilation[i];
    }
    return g;
}

/* *prepared stays NULL where oneDNN has only its reference loops; then run uses ours. */
static ts_status prepare(const ts_dnnl_conv *g, ts_dnnl_pass pass, ts_device *device, void **prepared,
                         size_t *scratch_bytes, ts_error *err)
{
    ts_dnnl *op;
    TS_TRY(ts_dnnl_conv_new(&op, g, pass, device->threads, err));
    *prepared = op;
    *scratch_bytes = op ? ts_dnnl_scratch_bytes(op) : 0;
    return TS_OK;
}

static void release(void *prepared)
{
    ts_dnnl_free(prepared);
}

/* False where there is no operation: the caller falls back. */
static bool run(const ts_call *call, const ts_dnnl_operands *operands)
{
    if (!call->prepared)
        return false;
    if (!ts_dnnl_run(call->prepared, operands, call->scratch))
        ts_device_fail(call->device, "oneDNN %s failed in %s (%s)", ts_dnnl_version(), ts_ops[call->desc->op].name,
                       ts_dnnl_implementation(call->prepared));
    return true;
}

static bool has_bias(const ts_desc *d)
{
    return d->in_count > 2 && ts_type_present(&d->in[2]);
}

static ts_status conv_prepare(const ts_desc *d, ts_device *device, void **prepared, size_t *scratch_bytes,
                              ts_error *err)
{
    ts_dnnl_conv g = geometry_of(d, d->in[0].shape, d->in[1].shape, d->out[0].shape);
    g.bias = has_bias(d);
    return prepare(&g, TS_DNNL_FORWARD, device, prepared, scratch_bytes, err);
}

static void conv(const ts_call *call)
{
    const ts_dnnl_operands o = {
        .x = call->in[0], .w = call->in[1], .bias = has_bias(call->desc) ? call->in[2] : NULL, .y = call->out[0]};
    if (!run(call, &o))
        ts_ref_kernel(TS_OP_conv, false)->run(call);
}

const ts_kernel ts_cpu_conv = {
    .name = "onednn", .accepts = accepts, .prepare = conv_prepare, .release = release, .run = conv};

static ts_status conv_transpose_prepare(const ts_desc *d, ts_device *device, void **prepared, size_t *scratch_bytes,
                                        ts_error *err)
{
    const ts_dnnl_conv g = geometry_of(d, d->out[0].shape, d->in[1].shape, d->in[0].shape);
    return prepare(&g, TS_DNNL_BACKWARD_DATA, device, prepared, scratch_bytes, err);
}

/* y [rows, C] += bias [C] */
TS_SIMD static void add_bias_rows(float *restrict y, const float *restrict bias, int64_t rows, int64_t C)
{
    for (int64_t i = 0; i < rows; i++)
        for (int64_t c = 0; c < C; c++)
            y[i * C + c] += bias[c];
}

/* The backward pass knows no bias: a pass of its own. */
static void add_bias(const ts_call *call)
{
    enum { CHUNK = 256 };
    const ts_shape shape = call->desc->out[0].shape;
    const int64_t C = shape.dim[3], rows = ts_shape_count(shape) / C;
    float *y = call->out[0];
#pragma omp parallel for schedule(static) num_threads(ts_cpu_threads(call, rows *C))
    for (int64_t i = 0; i < rows; i += CHUNK)
        add_bias_rows(y + i * C, call->in[2], rows - i < CHUNK ? rows - i : CHUNK, C);
}

static void conv_transpose(const ts_call *call)
{
    const ts_dnnl_operands o = {.x = call->out[0], .w = call->in[1], .y = call->in[0]};
    if (!run(call, &o))
        ts_ref_kernel(TS_OP_conv_transpose, false)->run(call);
    else if (has_bias(call->desc))
        add_bias(call);
}

const ts_kernel ts_cpu_conv_transpose = {
    .name = "onednn", .accepts = accepts, .prepare = conv_transpose_prepare, .release = release, .run = conv_transpose};

static ts_status conv_dw_prepare(const ts_desc *d, ts_device *device, void **prepared, size_t *scratch_bytes,
                                 ts_error *err)
{
    const ts_dnnl_conv g = geometry_of(d, d->in[0].shape, d->out[0].shape, d->in[1].shape);
    return prepare(&g, TS_DNNL_BACKWARD_WEIGHTS, device, prepared, scratch_bytes, err);
}

static void conv_dw(const ts_call *call)
{
    const ts_dnnl_operands o = {.x = call->in[0], .w = call->out[0], .y = call->in[1]};
    if (!run(call, &o))
        ts_ref_kernel(TS_OP_conv_dw, false)->run(call);
}

const ts_kernel ts_cpu_conv_dw = {
    .name = "onednn", .accepts = accepts, .prepare = conv_dw_prepare, .release = release, .run = conv_dw};
