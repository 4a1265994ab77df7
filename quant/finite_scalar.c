#include "quant/finite_scalar.h"

#include <math.h>

#include "autograd/elementwise.h"
#include "autograd/index.h"
#include "autograd/mask.h"
#include "autograd/matmul.h"
#include "autograd/node.h"
#include "autograd/random.h"
#include "autograd/shape.h"
#include "autograd/surrogate.h"
#include "core/fsq.h"

/* lucidrains' preserve_symmetry. */
static const char *const symmetric_or_not[] = {"true", "false", NULL};
static const char *const symmetric_bounds[] = {"symmetric", "lucidrains", NULL};
static const char *const bounds[] = {"lucidrains", "google", "symmetric", NULL};

/* MotionMillion's nb_code is the name of a set of levels; how many codes they hold is another number. */
static const char *const nb_codes[] = {"256", "512", "1024", "2048", "4096", "16384", "65536", NULL};
static const char *const nb_code_levels[] = {"[8, 6, 5]",       "[8, 8, 8]",       "[8, 5, 5, 5]",       "[8, 8, 6, 5]",
                                             "[7, 5, 5, 5, 5]", "[8, 8, 8, 6, 5]", "[8, 8, 8, 5, 5, 5]", NULL};

#define FIELD(member) offsetof(ts_finite_scalar_options, member)
static const ts_option options_list[] = {
    {.name = "levels",
     .type = TS_OPTION_INTS,
     .offset = FIELD(levels),
     .fallback = "[8, 6, 5]",
     .min = 2,
     .max = 65536,
     .help = "levels of each dim of a code; their product is the codebook's size (nb_code: MotionMillion's sets, 256 "
             "to 65536)",
     .alias = "nb_code",
     .alias_choices = nb_codes,
     .alias_values = nb_code_levels},
    {.name = "codebooks",
     .type = TS_OPTION_INT,
     .offset = FIELD(codebooks),
     .fallback = "1",
     .min = 1,
     .max = 1024,
     .help = "independent groups of dims with the same levels; each gives an id",
     .alias = "num_codebooks"},
    TS_PROJECTION_OPTIONS,
    {.name = "bound",
     .type = TS_OPTION_CHOICE,
     .offset = FIELD(bound),
     .fallback = "lucidrains",
     .choices = bounds,
     .help = "how z is bounded: lucidrains (1+eps, atanh; also MotionMillion), google (1-eps, tan), symmetric (codes "
             "-1 to 1)",
     .alias = "preserve_symmetry",
     .alias_choices = symmetric_or_not,
     .alias_values = symmetric_bounds},
    {.name = "hard_clamp",
     .type = TS_OPTION_BOOL,
     .offset = FIELD(hard_clamp),
     .fallback = "false",
     .help = "clamp to [-1, 1] instead of tanh",
     .alias = "bound_hard_clamp"},
    {.name = "rotation",
     .type = TS_OPTION_BOOL,
     .offset = FIELD(rotation),
     .fallback = "false",
     .help = "rotate z by a fixed random orthogonal matrix before the grid, and the codes back after it",
     .alias = "orthogonal_rotation"},
    {.name = "noise_dropout",
     .type = TS_OPTION_REAL,
     .offset = FIELD(noise_dropout),
     .fallback = "0",
     .min = 0,
     .max = 1,
     .help =
         "in training each number of a code has noise of +-1/2 added with this probability; needs bound: symmetric"},
    {.name = "indices",
     .type = TS_OPTION_BOOL,
     .offset = FIELD(indices),
     .fallback = "true",
     .help = "compute ids; without them there is no usage and no encode",
     .alias = "return_indices"},
    {.name = "force_f32",
     .type = TS_OPTION_BOOL,
     .offset = FIELD(force_f32),
     .fallback = "true",
     .help = "quantize in f32 whatever the compute type",
     .alias = "force_quantization_f32"},
    TS_GROUPS_OPTION,
    TS_LAYERS_OPTIONS,
    {0},
};

static const ts_option_table table = {
    .kind = "finite_scalar",
    .help = "finite scalar quantization (FSQ): round a few bounded numbers; no codebook to collapse",
    .options = options_list,
    .struct_bytes = sizeof(ts_finite_scalar_options)};

ts_fsq_opts ts_grid_of(const ts_int_list *levels, ts_fsq_bound bound)
{
    ts_fsq_opts opts = {.count = levels->count, .bound = bound};
    for (int i = 0; i < levels->count; i++)
        opts.level[i] = (int32_t)levels->value[i];
    return opts;
}

static ts_fsq_opts grid_opts(const ts_finite_scalar_options *o)
{
    ts_fsq_opts opts = ts_grid_of(&o->levels, (ts_fsq_bound)o->bound);
    opts.hard_clamp = o->hard_clamp;
    return opts;
}

static int64_t grid_width(const ts_finite_scalar_options *o)
{
    return o->codebooks * o->levels.count;
}

/* Layers refine each other only where levels are even steps of the whole range. */
static ts_status check_layers(const ts_finite_scalar_options *o, ts_error *err)
{
    if (o->stack.layers > 1 && o->bound != TS_FSQ_SYMMETRIC)
        return ts_fail(err, TS_ERR_USAGE,
                       "finite_scalar: layers is %lld and bound is %s, whose levels do not divide into finer ones; set "
                       "bound: symmetric and hard_clamp: true",
                       (long long)o->stack.layers, bounds[o->bound]);
    for (int i = 0; i < o->levels.count && o->stack.layers > 1; i++)
        if ((double)o->stack.layers * log2((double)o->levels.value[i]) > 24)
            return ts_fail(err, TS_ERR_USAGE,
                           "finite_scalar: %lld layers of levels[%d] = %lld are more than the 2^24 steps that a 32-bit "
                           "number can hold; take fewer layers or fewer levels",
                           (long long)o->stack.layers, i, (long long)o->levels.value[i]);
    return TS_OK;
}

static ts_status info(const void *options, ts_quantizer_info *out, ts_error *err)
{
    const ts_finite_scalar_options *o = options;
    ts_fsq_opts opts = grid_opts(o);
    ts_fsq_table grid;
    TS_TRY(ts_fsq_table_init(&grid, &opts, err));
    TS_TRY(check_layers(o, err));
    if (o->noise_dropout > 0 && o->bound != TS_FSQ_SYMMETRIC)
        return ts_fail(err, TS_ERR_USAGE,
                       "finite_scalar: noise_dropout is %g and bound is %s, whose codes do not fill -1 to 1; set "
                       "bound: symmetric, or leave noise_dropout out",
                       o->noise_dropout, bounds[o->bound]);
    *out = (ts_quantizer_info){.codes = grid.size, .width = grid_width(o), .groups = o->codebooks};
    return TS_OK;
}

static ts_shape with_axis(ts_shape shape, int64_t last)
{
    shape.dim[shape.rank++] = last;
    return shape;
}

/* R [levels, levels], drawn once and never moved; absent where nothing is rotated. */
static ts_value rotation_of(ts_scope s, const ts_finite_scalar_options *o)
{
    ts_shape shape = ts_shape_of(o->levels.count, o->levels.count);
    return o->rotation ? ts_state(s, "rotation", ts_graph_real(s.graph), shape, TS_ORTHOGONAL) : TS_ABSENT;
}

/* x [.., levels] R, or x R^T. */
static ts_value rotate(ts_value x, ts_value rotation, bool back)
{
    return rotation.graph ? ts_matmul(x, rotation, false, back) : x;
}

/* A number per dim, [levels.count], of the real dtype. */
static ts_value per_dim(ts_graph *g, const ts_finite_scalar_options *o, const float *number)
{
    return ts_cast(ts_constant(g, TS_F32, ts_shape_of(o->levels.count), number), ts_graph_real(g));
}

/* x times L^layer, as wide as the first layer's z, or (back) divided by it: a layer's grid is as fine as that. */
static ts_value zoom(ts_value x, const ts_finite_scalar_options *o, bool back)
{
    float width[TS_MAX_LEVELS];
    if (o->stack.layer == 0 || !ts_present(x))
        return x;
    for (int i = 0; i < o->levels.count; i++)
        width[i] = (float)pow((double)o->levels.value[i], -o->stack.layer);
    ts_value scale = per_dim(x.graph, o, width);
    return back ? ts_mul(x, scale) : ts_div(x, scale);
}

/* c tanh(x / c) with c = L / (L - 1): as far as the outermost level reaches to its far side. */
static ts_value before_layers(const void *options, ts_value x)
{
    const ts_finite_scalar_options *o = options;
    float bound[TS_MAX_LEVELS];
    if (!o->hard_clamp || !ts_present(x))
        return x;
    for (int i = 0; i < o->levels.count; i++)
        bound[i] = 1 + 1 / (float)(o->levels.value[i] - 1);
    ts_shape shape = ts_value_shape(x);
    x = ts_reshape(x, ts_shape_of(-1, o->codebooks, o->levels.count));
    ts_value c = per_dim(x.graph, o, bound);
    return ts_reshape(ts_mul(ts_tanh(ts_div(x, c)), c), shape);
}

/* The id is that of the code without noise. */
static ts_value add_noise(ts_scope s, const ts_finite_scalar_options *o, ts_value codes)
{
    if (s.mode != TS_TRAIN || o->noise_dropout == 0 || !ts_present(codes))
        return codes;
    if (!s.random.graph)
        return ts_build_fail(s.graph, "finite_scalar", "noise_dropout needs random numbers, and the scope has none");
    ts_shape shape = ts_value_shape(codes);
    ts_value hit = ts_greater(ts_scalar(s.graph, o->noise_dropout), ts_rand_uniform(s.random, shape));
    ts_value noise = ts_affine(ts_rand_uniform(s.random, shape), 1, -0.5);
    return ts_clamp(ts_add(codes, ts_mul(hit, noise)), -1, 1);
}

/* The grid sees [.., c, levels]. */
static void build(ts_scope s, const void *options, ts_value z, ts_quantized *out)
{
    const ts_finite_scalar_options *o = options;
    ts_fsq_opts opts = grid_opts(o);
    ts_shape shape = ts_value_shape(z);
    ts_dtype real = ts_type_of(z).dtype;
    ts_enter(s);
    if (o->force_f32 && real == TS_BF16)
        z = ts_cast(z, TS_F32);
    ts_value rotation = rotation_of(s, o);
    z = rotate(ts_reshape(z, ts_shape_of(-1, o->codebooks, o->levels.count)), rotation, false);
    ts_fsq_result r = ts_fsq(zoom(z, o, false), &opts);
    ts_value codes = rotate(zoom(add_noise(s, o, r.codes), o, true), rotation, true);
    codes = ts_cast(ts_reshape(codes, shape), real);
    *out = (ts_quantized){.codes = ts_mask_rows(codes, s.mask), .ids = TS_ABSENT};
    if (o->indices)
        out->ids = ts_mask_ids(ts_reshape(r.ids, ts_shape_with_last(shape, o->codebooks)), s.mask);
}

static ts_value decode(ts_scope s, const void *options, ts_value ids)
{
    const ts_finite_scalar_options *o = options;
    ts_shape shape = ts_value_shape(ids);
    ts_enter(s);
    ts_value codes = zoom(ts_finite_scalar_grid(ts_reshape(ids, ts_shape_of(-1, o->codebooks)), o), o, true);
    return ts_reshape(rotate(codes, rotation_of(s, o), true), ts_shape_with_last(shape, grid_width(o)));
}

const ts_quantizer_kind ts_finite_scalar_kind = {
    .name = "finite_scalar",
    .table = &table,
    .info = info,
    .build = build,
    .decode = decode,
    .before_layers = before_layers,
    .formulas = TS_FORMULA_STACK
    "@forward\n"
    "[dim]z = linear(z), where {dim} is not the number of levels and codebooks\n"
    "[rotation]z = z R, R a fixed random orthogonal matrix\n"
    "L = {levels}\n"
    "[bound=lucidrains]width = (L-1) * 1.001 / 2;  offset = 1/2 for an even L, else 0\n"
    "[bound=lucidrains][!hard_clamp]shift = atanh(offset / width)\n"
    "[bound=google]width = (L-1) * 0.999 / 2;  offset = 1/2 for an even L, else 0\n"
    "[bound=google][!hard_clamp]shift = tan(offset / width)\n"
    "[!bound=symmetric][hard_clamp]shift = offset / width\n"
    "[bound=symmetric]width = (L-1) / 2;  offset = shift = 0\n"
    "[hard_clamp]t = clamp(z + shift, -1, 1)\n"
    "[!hard_clamp]t = tanh(z + shift)\n"
    "[!bound=symmetric]k = round(width t - offset) + floor(L/2), half to even;  out = (k - floor(L/2)) / "
    "floor(L/2)\n"
    "[bound=symmetric]k = floor(width (t + 1) + 1/2);  out = 2 k / (L-1) - 1\n"
    "id = k_0 + k_1 L_0 + k_2 L_0 L_1 + ...: the first dim is the least significant\n"
    "[!codebooks=1]{codebooks} groups of dims, with an id each\n"
    "[!layers=1][hard_clamp]r_0 = c tanh(z / c), c = L / (L-1)\n"
    "[!layers=1]layer i takes L^i r_i, and its out is L^-i of this: L times finer than the one before\n"
    "[noise_dropout]in training out = clamp(out + U(-1/2, 1/2), -1, 1) where U(0, 1) < {noise_dropout}; "
    "the id is without\n"
    "[rotation]out = out R^T\n"
    "[dim]out = linear(out)\n"
    "@gradient\n"
    "[!bound=symmetric][!hard_clamp]d out / d z = width (1 - t^2) / floor(L/2): only the rounding is "
    "straight-through\n"
    "[bound=symmetric][!hard_clamp]d out / d z = 1 - t^2: only the rounding is straight-through\n"
    "[!bound=symmetric][hard_clamp]d out / d z = width / floor(L/2) inside the clamp, 0 outside: only the "
    "rounding is straight-through\n"
    "[bound=symmetric][hard_clamp]d out / d z = 1 inside the clamp, 0 outside: only the rounding is "
    "straight-through\n",
};

/* The axis order that moves axis 1 to the end (true) or the last axis to place 1. */
static ts_value move_channels(ts_value x, bool to_last)
{
    int rank = ts_value_shape(x).rank, order[TS_MAX_RANK] = {0};
    for (int i = 1; i < rank; i++)
        order[i] = to_last ? (i + 1 < rank ? i + 1 : 1) : (i == 1 ? rank - 1 : i - 1);
    return rank > 2 ? ts_permute(x, order) : x;
}

ts_finite_scalar_result ts_finite_scalar(ts_scope s, ts_value z, const ts_finite_scalar_options *o)
{
    ts_quantized q;
    ts_quantize(&ts_finite_scalar_kind, s, o, o->channel_first ? move_channels(z, true) : z, &q);
    ts_finite_scalar_result result = {o->channel_first ? move_channels(q.codes, false) : q.codes, q.ids};
    if (q.ids.graph && ts_present(q.ids) && o->codebooks == 1 && !o->keep_codebooks_dim) {
        ts_shape shape = ts_value_shape(q.ids);
        shape.rank--;
        result.ids = ts_reshape(q.ids, shape);
    }
    return result;
}

ts_value ts_finite_scalar_codes(ts_scope s, ts_value ids, const ts_finite_scalar_options *o)
{
    if (ts_present(ids) && o->codebooks == 1 && !o->keep_codebooks_dim)
        ids = ts_reshape(ids, with_axis(ts_value_shape(ids), 1));
    ts_value codes = ts_dequantize(&ts_finite_scalar_kind, s, o, ids);
    return o->channel_first ? move_channels(codes, false) : codes;
}

ts_value ts_finite_scalar_levels(ts_value ids, const ts_finite_scalar_options *o)
{
    ts_fsq_opts opts = grid_opts(o);
    return ts_fsq_levels(ids, &opts);
}

ts_value ts_finite_scalar_ids(ts_value codes, const ts_finite_scalar_options *o)
{
    ts_fsq_opts opts = grid_opts(o);
    return ts_fsq_ids(codes, &opts);
}

ts_value ts_finite_scalar_grid(ts_value ids, const ts_finite_scalar_options *o)
{
    ts_fsq_opts opts = grid_opts(o);
    return ts_fsq_decode(ids, &opts);
}
