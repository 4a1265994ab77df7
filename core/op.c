#include "core/op.h"

const ts_op_info ts_ops[TS_OP_COUNT] = {
    [TS_OP_NONE] = {"leaf", "leaf", TS_CLASS_NONE, 0, 1, false, false},
#define FAST true
#define REF  false
#define TS_OP(name, family, class, inputs, outputs, in_place, cpu)                                                     \
    [TS_OP_##name] = {#name, #family, TS_CLASS_##class, inputs, outputs, in_place, cpu},
#include "core/ops.def"
#undef TS_OP
#undef FAST
#undef REF
};

bool ts_op_chains(ts_op op)
{
    switch (op) {
#define CASE(name) case TS_OP_##name:
        TS_CHAIN_ONE(CASE) TS_CHAIN_SLOPE(CASE) TS_CHAIN_TWO(CASE) case TS_OP_where : return true;
#undef CASE
    default:
        return false;
    }
}

static double count_of(const ts_type *t)
{
    return ts_type_present(t) ? (double)ts_shape_count(t->shape) : 0;
}

/* Multiply-adds per output position of a convolution: k_h * k_w * in / groups, over the weight [out, k, k, in/groups].
 */
static double conv_flops(const ts_type *weight, const ts_type *positions)
{
    double rows = count_of(positions) / (double)positions->shape.dim[positions->shape.rank - 1];
    return 2 * rows * count_of(weight);
}

double ts_desc_flops(const ts_desc *d)
{
    const ts_type *a = &d->in[0];
    switch (d->op) {
    case TS_OP_conv:
        return conv_flops(&d->in[1], &d->out[0]);
    case TS_OP_conv_transpose:
        return conv_flops(&d->in[1], a);
    case TS_OP_conv_dw:
        return conv_flops(&d->out[0], &d->in[1]);
    case TS_OP_matmul: {
        int64_t k = a->shape.dim[a->shape.rank - (d->attr.matmul.trans_a ? 2 : 1)];
        return 2 * count_of(&d->out[0]) * (double)k;
    }
    case TS_OP_nearest:
        return 2 * count_of(a) * (double)d->in[1].shape.dim[0];
    case TS_OP_attention:
        return 4 * count_of(a) * (double)d->in[1].shape.dim[d->in[1].shape.rank - 2];
    case TS_OP_attention_dx:
        return 10 * count_of(a) * (double)d->in[1].shape.dim[d->in[1].shape.rank - 2];
    case TS_OP_chain:
        return count_of(&d->out[0]) * d->attr.chain.count;
    default:
        return count_of(a);
    }
}

double ts_desc_bytes(const ts_desc *d)
{
    double bytes = 0;
    for (int i = 0; i < d->in_count; i++)
        bytes += count_of(&d->in[i]) * (double)ts_dtype_bytes(d->in[i].dtype);
    for (int i = 0; i < d->out_count; i++)
        bytes += count_of(&d->out[i]) * (double)ts_dtype_bytes(d->out[i].dtype);
    return bytes;
}
