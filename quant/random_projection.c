#include "quant/random_projection.h"

#include <math.h>

#include "autograd/node.h"
#include "autograd/ops.h"
#include "layers/linear.h"

#define FIELD(member) offsetof(ts_random_projection_options, member)
static const ts_option options_list[] = {
    {.name = "codes",
     .type = TS_OPTION_INT,
     .offset = FIELD(codes),
     .fallback = "8192",
     .min = 1,
     .max = 1 << 24,
     .help = "directions in a codebook, K (paper 8192; up to 2^24: counts are exact)",
     .alias = "codebook_size"},
    {.name = "dim",
     .type = TS_OPTION_INT,
     .offset = FIELD(dim),
     .fallback = "64",
     .min = 1,
     .max = 65536,
     .help = "channels in and out, D"},
    {.name = "code_dim",
     .type = TS_OPTION_INT,
     .offset = FIELD(code_dim),
     .fallback = "16",
     .min = 1,
     .max = 65536,
     .help = "what the frozen matrix projects to, and the width of a direction (paper 16)",
     .alias = "codebook_dim"},
    {.name = "codebooks",
     .type = TS_OPTION_INT,
     .offset = FIELD(codebooks),
     .fallback = "1",
     .min = 1,
     .max = 64,
     .help = "codebooks, each with a matrix of its own for all channels; each gives an id",
     .alias = "num_codebooks"},
    {.name = "norm",
     .type = TS_OPTION_BOOL,
     .offset = FIELD(norm),
     .fallback = "true",
     .help = "z has mean 0 and deviation 1 over its channels first (paper, lucidrains: true)"},
    TS_GROUPS_OPTION,
    {0},
};
#undef FIELD

static const ts_option_table table = {
    .kind = "random_projection",
    .help = "random projection (BEST-RQ): a frozen random matrix, and the nearest of frozen random directions",
    .options = options_list,
    .struct_bytes = sizeof(ts_random_projection_options)};

static ts_status info(const void *options, ts_quantizer_info *out, ts_error *err)
{
    const ts_random_projection_options *o = options;
    (void)err;
    *out = (ts_quantizer_info){.codes = o->codes, .width = o->dim, .groups = o->codebooks};
    return TS_OK;
}

/* z [.., D] -> [N, c * E]. Xavier's deviation, which directions do not depend on. */
static ts_value project(ts_scope s, const ts_random_projection_options *o, ts_value z)
{
    ts_init init = TS_NORMAL(0, sqrt(2 / (double)(o->dim + o->code_dim)));
    ts_shape shape = ts_shape_of(o->dim, o->codebooks * o->code_dim);
    ts_value matrix = ts_state(s, "projection", ts_graph_real(s.graph), shape, init), rows = ts_rows(z);
    return ts_matmul(o->norm ? ts_layer_norm(rows, TS_ABSENT, TS_ABSENT, 1e-5) : rows, matrix, false, false);
}

/* Of length 1, [c * K, E]. */
static ts_value directions_of(ts_scope s, const ts_random_projection_options *o)
{
    ts_shape shape = ts_shape_of(o->codebooks * o->codes, o->code_dim);
    return ts_l2_normalize(ts_state(s, "codebook", ts_graph_real(s.graph), shape, TS_NORMAL(0, 1)), 1e-6);
}

/* What the decoder gets: a learned matrix takes codes [.., c * E] back to D channels. */
static ts_value outward(ts_scope s, const ts_random_projection_options *o, ts_value codes, ts_shape shape)
{
    codes = ts_reshape(codes, ts_shape_with_last(shape, o->codebooks * o->code_dim));
    codes = ts_linear_layer(ts_sub(s, "project_out"), codes, o->dim, true);
    ts_enter(s);
    return codes;
}

static void build(ts_scope s, const void *options, ts_value z, ts_quantized *out)
{
    const ts_random_projection_options *o = options;
    ts_value code[64], ids[64];
    ts_enter(s);
    ts_value projected = project(s, o, z), all = directions_of(s, o);
    for (int i = 0; i < o->codebooks; i++) {
        ts_value own = ts_slice(all, 0, i * o->codes, o->codes);
        ts_value y = ts_l2_normalize(ts_slice(projected, -1, i * o->code_dim, o->code_dim), 1e-6);
        ts_value k = ts_nearest(ts_stop_gradient(y), own);
        code[i] = ts_straight_through(ts_gather(own, k), y);
        ids[i] = ts_reshape(k, ts_shape_with_last(ts_value_shape(z), 1));
    }
    ts_value codes = outward(s, o, ts_quantizer_join(code, (int)o->codebooks, -1), ts_value_shape(z));
    *out = (ts_quantized){.codes = ts_mask_rows(codes, s.mask)};
    out->ids = ts_mask_ids(ts_quantizer_join(ids, (int)o->codebooks, -1), s.mask);
}

static ts_value decode(ts_scope s, const void *options, ts_value ids)
{
    const ts_random_projection_options *o = options;
    ts_value code[64];
    ts_enter(s);
    ts_value all = directions_of(s, o), rows = ts_reshape(ids, ts_shape_of(-1, o->codebooks));
    for (int i = 0; i < o->codebooks; i++)
        code[i] =
            ts_gather(ts_slice(all, 0, i * o->codes, o->codes), ts_reshape(ts_slice(rows, -1, i, 1), ts_shape_of(-1)));
    return outward(s, o, ts_quantizer_join(code, (int)o->codebooks, -1), ts_value_shape(ids));
}

const ts_quantizer_kind ts_random_projection_kind = {
    .name = "random_projection",
    .table = &table,
    .info = info,
    .build = build,
    .decode = decode,
    .formulas = "@forward\n"
                "[!groups=1]z is {groups} equal parts of the channels, each with quantizers of its own\n"
                "[norm]z = (z - mean) / deviation, of its channels\n"
                "y = z P / |z P|, P [D, {code_dim}] frozen;  k = argmax_k y.e_k / |e_k|, e frozen\n"
                "out = linear(e_k / |e_k|), learned\n"
                "[!codebooks=1]{codebooks} of P and e; out is of all of them together\n"
                "@gradient\n"
                "d e_k / d y = 1: straight-through, and through P to z\n"
                "no gradient reaches P and e\n"
                "@start\n"
                "P = N(0, 2 / (D + {code_dim}));  e = N(0, 1)\n",
};
