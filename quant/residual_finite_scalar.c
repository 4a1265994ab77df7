#include "quant/residual_finite_scalar.h"

#include <math.h>

#include "autograd/elementwise.h"
#include "autograd/fsq.h"
#include "autograd/index.h"
#include "autograd/mask.h"
#include "autograd/node.h"
#include "autograd/shape.h"
#include "autograd/surrogate.h"
#include "core/fsq.h"
#include "layers/linear.h"

#define FIELD(member) offsetof(ts_residual_finite_scalar_options, member)
static const ts_option options_list[] = {
    {.name = "levels",
     .type = TS_OPTION_INTS,
     .offset = FIELD(levels),
     .fallback = "[8, 5, 5, 5]",
     .min = 2,
     .max = 65536,
     .help = "levels of each dim of a code, the same in all layers; their product is the codebook's size"},
    {.name = "layers",
     .type = TS_OPTION_INT,
     .offset = FIELD(layers),
     .fallback = "4",
     .min = 1,
     .max = TS_MAX_RESIDUAL_LAYERS,
     .help = "layers, each on what those before it left over; each gives an id",
     .alias = "num_quantizers"},
    {.name = "dim",
     .type = TS_OPTION_INT,
     .offset = FIELD(dim),
     .fallback = "0",
     .min = 0,
     .max = 65536,
     .help = "channels in and out; 0: one per level; another number adds linear projections"},
    {.name = "hard_clamp",
     .type = TS_OPTION_BOOL,
     .offset = FIELD(hard_clamp),
     .fallback = "true",
     .help = "z is softly clamped once and every layer clamps to [-1, 1]; else every layer has a tanh",
     .alias = "bound_hard_clamp"},
    {.name = "dropout",
     .type = TS_OPTION_INT,
     .offset = FIELD(dropout),
     .fallback = "0",
     .min = 0,
     .max = TS_MAX_RESIDUAL_LAYERS,
     .help = "each training step uses a random number of layers from this one to all; 0: always all (lucidrains: "
             "quantize_dropout_cutoff_index + 1)"},
    {0},
};
#undef FIELD

static const ts_option_table table = {
    .kind = "residual_finite_scalar",
    .help = "residual FSQ: layers of finite scalar quantization, each on what the last one left over",
    .options = options_list,
    .struct_bytes = sizeof(ts_residual_finite_scalar_options)};

static ts_fsq_opts grid_opts(const ts_residual_finite_scalar_options *o)
{
    ts_fsq_opts opts = {.count = o->levels.count, .bound = TS_FSQ_SYMMETRIC, .hard_clamp = o->hard_clamp};
    for (int i = 0; i < o->levels.count; i++)
        opts.level[i] = (int32_t)o->levels.value[i];
    return opts;
}

static int64_t outer_width(const ts_residual_finite_scalar_options *o)
{
    return o->dim ? o->dim : o->levels.count;
}

static bool projects(const ts_residual_finite_scalar_options *o)
{
    return outer_width(o) != o->levels.count;
}

static ts_status info(const void *options, ts_quantizer_info *out, ts_error *err)
{
    const ts_residual_finite_scalar_options *o = options;
    ts_fsq_opts opts = grid_opts(o);
    ts_fsq_table grid;
    TS_TRY(ts_fsq_table_init(&grid, &opts, err));
    TS_TRY(ts_residual_check(o->layers, o->dropout, err));
    for (int i = 0; i < o->levels.count; i++)
        if ((double)o->layers * log2((double)o->levels.value[i]) > 24)
            return ts_fail(err, TS_ERR_USAGE,
                           "%lld layers of levels[%d] = %lld are more than the 2^24 steps that a 32-bit number can "
                           "hold; take fewer layers or fewer levels",
                           (long long)o->layers, i, (long long)o->levels.value[i]);
    *out = (ts_quantizer_info){.codes = grid.size, .width = outer_width(o), .groups = o->layers};
    return TS_OK;
}

static ts_shape with_last(ts_shape shape, int64_t last)
{
    shape.dim[shape.rank - 1] = last;
    return shape;
}

/* A number per dim, [levels.count], of x's dtype: L^-layer, the width of what the layers before leave over. */
static ts_value scale_of(ts_value x, const ts_residual_finite_scalar_options *o, int layer)
{
    float scale[TS_MAX_LEVELS];
    for (int i = 0; i < o->levels.count; i++)
        scale[i] = (float)pow((double)o->levels.value[i], -layer);
    return ts_cast(ts_constant(x.graph, TS_F32, ts_shape_of(o->levels.count), scale), ts_type_of(x).dtype);
}

/* c tanh(x / c) with c = L / (L - 1): as far as the outermost level reaches to its far side. */
static ts_value soft_clamp(ts_value x, const ts_residual_finite_scalar_options *o)
{
    float bound[TS_MAX_LEVELS];
    for (int i = 0; i < o->levels.count; i++)
        bound[i] = 1 + 1 / (float)(o->levels.value[i] - 1);
    ts_value c = ts_cast(ts_constant(x.graph, TS_F32, ts_shape_of(o->levels.count), bound), ts_type_of(x).dtype);
    return ts_mul(ts_tanh(ts_div(x, c)), c);
}

/* Codes 0 and ids -1 where `use` is 0. */
static void leave_out(ts_fsq_result *r, ts_value use)
{
    ts_graph *g = use.graph;
    r->codes = ts_where(use, r->codes, ts_cast(ts_scalar(g, 0), ts_type_of(r->codes).dtype));
    r->ids = ts_where(use, r->ids, ts_constant(g, TS_I32, ts_shape_of(), &(int32_t){-1}));
}

/* x [.., levels.count] -> codes of that shape, ids [.., layers]. What a layer leaves over is taken without its
 * gradient, so that each layer passes on its own part of it. */
static ts_fsq_result through_layers(ts_scope s, const ts_residual_finite_scalar_options *o, ts_value x)
{
    ts_fsq_opts opts = grid_opts(o);
    ts_value rest = x, codes = TS_ABSENT, ids[TS_MAX_RESIDUAL_LAYERS],
             in_use = ts_residual_in_use(s, o->layers, o->dropout);
    for (int i = 0; i < o->layers; i++) {
        ts_value scale = scale_of(x, o, i);
        ts_fsq_result r = ts_fsq(ts_div(rest, scale), &opts);
        r.codes = ts_mul(r.codes, scale);
        rest = ts_subtract(rest, ts_stop_gradient(r.codes));
        if (in_use.graph && i >= o->dropout)
            leave_out(&r, ts_greater(in_use, ts_scalar(s.graph, i)));
        codes = i ? ts_add(codes, r.codes) : r.codes;
        ids[i] = ts_reshape(r.ids, with_last(ts_value_shape(x), 1));
    }
    return (ts_fsq_result){codes, ts_residual_join(ids, (int)o->layers, -1)};
}

static void build(ts_scope s, const void *options, ts_value z, ts_quantized *out)
{
    const ts_residual_finite_scalar_options *o = options;
    *out = (ts_quantized){.codes = ts_poison(s.graph), .ids = ts_poison(s.graph)};
    if (!ts_present(z))
        return;
    if (ts_value_shape(z).rank < 1 || ts_dim(z, -1) != outer_width(o)) {
        ts_build_fail(s.graph, "residual_finite_scalar", "z is %s, expected %lld channels",
                      ts_shape_print(ts_value_shape(z)).text, (long long)outer_width(o));
        return;
    }
    ts_dtype real = ts_type_of(z).dtype;
    if (projects(o))
        z = ts_linear_layer(ts_sub(s, "project_in"), z, o->levels.count, true);
    ts_enter(s);
    ts_value x = real == TS_BF16 ? ts_cast(z, TS_F32) : z;
    ts_fsq_result r = through_layers(s, o, o->hard_clamp ? soft_clamp(x, o) : x);
    r.codes = ts_cast(r.codes, real);
    if (projects(o))
        r.codes = ts_linear_layer(ts_sub(s, "project_out"), r.codes, outer_width(o), true);
    out->codes = ts_mask_rows(r.codes, s.mask);
    out->ids = ts_mask_ids(r.ids, s.mask);
}

/* ids [.., 1] of a layer -> its codes [.., levels.count] */
static ts_value layer_codes(const ts_residual_finite_scalar_options *o, ts_value ids, int layer)
{
    ts_fsq_opts opts = grid_opts(o);
    ts_shape shape = ts_value_shape(ids);
    shape.rank--;
    ts_value codes = ts_fsq_decode(ts_reshape(ids, shape), &opts);
    return ts_residual_present(ts_mul(codes, scale_of(codes, o, layer)), ids, layer);
}

static ts_value decode(ts_scope s, const void *options, ts_value ids)
{
    const ts_residual_finite_scalar_options *o = options;
    ts_shape shape = ts_value_shape(ids);
    if (!ts_present(ids))
        return ids;
    if (shape.rank < 1 || ts_dim(ids, -1) != o->layers)
        return ts_build_fail(s.graph, "residual_finite_scalar",
                             "ids are %s, expected a last axis of %lld, one for each layer", ts_shape_print(shape).text,
                             (long long)o->layers);
    ts_enter(s);
    ts_value codes = layer_codes(o, ts_slice(ids, -1, 0, 1), 0);
    for (int i = 1; i < o->layers; i++)
        codes = ts_add(codes, layer_codes(o, ts_slice(ids, -1, i, 1), i));
    return projects(o) ? ts_linear_layer(ts_sub(s, "project_out"), codes, outer_width(o), true) : codes;
}

const ts_quantizer_kind ts_residual_finite_scalar_kind = {
    .name = "residual_finite_scalar",
    .table = &table,
    .info = info,
    .build = build,
    .decode = decode,
    .formulas = "@forward\n"
                "L = {levels}\n"
                "[hard_clamp]r_0 = c tanh(z / c), c = L / (L-1)\n"
                "[!hard_clamp]r_0 = z\n"
                "layer i of {layers}: q_i = L^-i grid(L^i r_i);  r_(i+1) = r_i - sg(q_i)\n"
                "out = sum_i q_i\n"
                "[hard_clamp]grid: clamp to [-1, 1], then to the nearest of L levels from -1 to 1\n"
                "[!hard_clamp]grid: tanh, then to the nearest of L levels from -1 to 1\n"
                "an id for each layer, as finite_scalar's with bound symmetric\n"
                "[dropout]in training, layers from a random one on, at least the {dropout}-th, give 0 and id -1\n"
                "@gradient\n"
                "only the rounding is straight-through\n",
};
