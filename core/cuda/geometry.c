#include "core/cuda/geometry.h"

/* Of a tensor [n, h, w, c] that lies in this order. */
static ts_image_layout channels_last(const ts_type *t)
{
    int64_t n = t->shape.dim[0], h = t->shape.dim[1], w = t->shape.dim[2], c = t->shape.dim[3];
    return (ts_image_layout){{n, c, h, w}, {h * w * c, 1, w * c, c}, t->dtype};
}

ts_conv_layout ts_conv_layout_of(const ts_desc *d)
{
    const ts_type *in0 = &d->in[0], *in1 = &d->in[1], *out = &d->out[0];
    const bool back = d->op == TS_OP_conv_transpose, weights = d->op == TS_OP_conv_dw;
    ts_conv_layout l = {.x = channels_last(back ? out : in0),
                        .w = channels_last(weights ? out : in1),
                        .y = channels_last(back      ? in0
                                           : weights ? in1
                                                     : out)};
    for (int i = 0; i < 2; i++) {
        l.stride[i] = d->attr.conv.stride[i];
        l.dilation[i] = d->attr.conv.dilation[i];
        l.pad_before[i] = d->attr.conv.pad[i];
        int64_t read = (l.y.dim[2 + i] - 1) * l.stride[i] + l.dilation[i] * (l.w.dim[2 + i] - 1) + 1;
        int64_t after = read - l.x.dim[2 + i] - l.pad_before[i];
        l.pad_after[i] = after > 0 ? after : 0; /* less: the last rows of x are not read */
    }
    return l;
}

ts_product_layout ts_product_layout_of(const ts_desc *d)
{
    const ts_shape a = d->in[0].shape, b = d->in[1].shape, c = d->out[0].shape;
    const bool ta = d->attr.matmul.trans_a, tb = d->attr.matmul.trans_b, one_b = b.rank == 2;
    int64_t M = c.dim[c.rank - 2], N = c.dim[c.rank - 1], K = a.dim[a.rank - (ta ? 2 : 1)], batch = 1;
    for (int i = 0; i < c.rank - 2; i++)
        batch *= c.dim[i];
    if (one_b && !ta) { /* leading dims are rows */
        M *= batch;
        batch = 1;
    }
    return (ts_product_layout){.in = d->in[0].dtype,
                               .out = d->out[0].dtype,
                               .m = N,
                               .n = M,
                               .k = K,
                               .batch = batch,
                               .trans_first = tb,
                               .trans_second = ta,
                               .bias = d->in_count > 2 && ts_type_present(&d->in[2]),
                               .relu = d->attr.matmul.relu,
                               .ld_first = tb ? K : N,
                               .ld_second = ta ? M : K,
                               .ld_out = N,
                               .step_first = one_b ? 0 : K * N,
                               .step_second = M * K,
                               .step_out = M * N};
}

bool ts_library_dtypes(const ts_desc *d)
{
    const ts_dtype in = d->in[0].dtype, out = d->out[0].dtype;
    bool full = ts_shape_count(d->out[0].shape) > 0;
    for (int i = 0; i < d->in_count; i++)
        full = full && (!ts_type_present(&d->in[i]) || ts_shape_count(d->in[i].shape) > 0);
    const bool bias = d->in_count < 3 || !ts_type_present(&d->in[2]) || d->in[2].dtype == out;
    const bool real = in == TS_F32 ? out == TS_F32 : in == TS_BF16 && (out == TS_F32 || out == TS_BF16);
    return full && bias && real && d->in[1].dtype == in;
}
