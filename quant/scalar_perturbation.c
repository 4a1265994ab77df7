#include "quant/scalar_perturbation.h"

#include <math.h>

#include "autograd/node.h"
#include "autograd/ops.h"
#include "core/fsq.h"
#include "quant/finite_scalar.h"

enum { TANH, SIGMOID, NORMAL, LAPLACE };
static const char *const activations[] = {"tanh", "sigmoid", "normal", "laplace", NULL};

/* Upstream's sets: the weight of the mean (target 0), target and weight of the variance, weights of skewness and excess
 * kurtosis (targets 0). The variances are those that make the function's result even. */
static const char *const norms[] = {"none", "var", "kurt", "var_tanh", "var_sigmoid", "var_laplace", NULL};
static const struct {
    double mean, target, variance, skewness, kurtosis;
} moments[] = {{0, 0, 0, 0, 0},           {0.1, 1, 0.07, 0, 0},    {0.1, 1, 0.07, 0.06, 0.05},
               {0.1, 0.8225, 0.07, 0, 0}, {0.1, 3.29, 0.07, 0, 0}, {0.1, 2, 0.07, 0, 0}};

enum { VAR = 1, KURT, VAR_TANH, VAR_SIGMOID, VAR_LAPLACE };
static const int norm_of[] = {[TANH] = VAR_TANH, [SIGMOID] = VAR_SIGMOID, [NORMAL] = VAR, [LAPLACE] = VAR_LAPLACE};

static const double deviation = 0.28867513459481287; /* of U(0, 1): codes have variance 1 where bins are used alike */

#define FIELD(member) offsetof(ts_scalar_perturbation_options, member)
static const ts_option options_list[] = {
    {.name = "levels",
     .type = TS_OPTION_INTS,
     .offset = FIELD(levels),
     .fallback = "[8, 6, 5]",
     .min = 2,
     .max = 65536,
     .help = "bins of each dim of a code; their product is the codebook's size"},
    TS_PROJECTION_OPTIONS,
    {.name = "activation",
     .type = TS_OPTION_CHOICE,
     .offset = FIELD(activation),
     .fallback = "tanh",
     .choices = activations,
     .help = "what brings z to 0 ... 1: (tanh + 1)/2, or the function of a distribution (lucidrains tanh)",
     .alias = "act_name"},
    {.name = "quantize_rate",
     .type = TS_OPTION_REAL,
     .offset = FIELD(quantize_rate),
     .fallback = "0",
     .min = 0,
     .max = 1,
     .help = "share of numbers that training quantizes; the others are moved by up to half a bin (lucidrains 0)"},
    {.name = "norm",
     .type = TS_OPTION_CHOICE,
     .offset = FIELD(norm),
     .fallback = "var_tanh",
     .choices = norms,
     .help = "what the moments of z are drawn to; var_* belongs to the activation (lucidrains var_tanh)",
     .alias = "vector_norm"},
    {.name = "norm_weight",
     .type = TS_OPTION_REAL,
     .offset = FIELD(norm_weight),
     .fallback = "1",
     .min = 0,
     .max = 1e6,
     .help = "weight of the loss of the moments"},
    TS_GROUPS_OPTION,
    {0},
};
#undef FIELD

static const ts_option_table table = {
    .kind = "scalar_perturbation",
    .help = "finite scalar perturbation (FSP): even bins of a distribution function; training moves, not rounds",
    .options = options_list,
    .struct_bytes = sizeof(ts_scalar_perturbation_options)};

static ts_status info(const void *options, ts_quantizer_info *out, ts_error *err)
{
    const ts_scalar_perturbation_options *o = options;
    ts_fsq_opts opts = ts_grid_of(&o->levels, TS_FSQ_SYMMETRIC);
    ts_fsq_table grid;
    TS_TRY(ts_fsq_table_init(&grid, &opts, err));
    if (o->norm > KURT && o->norm != norm_of[o->activation])
        return ts_fail(err, TS_ERR_USAGE,
                       "scalar_perturbation: norm is %s and activation is %s: z of that variance would leave bins "
                       "unused; set norm: %s, or none",
                       norms[o->norm], activations[o->activation], norms[norm_of[o->activation]]);
    *out = (ts_quantizer_info){.codes = grid.size, .width = o->levels.count, .groups = 1};
    return TS_OK;
}

/* L of each dim, [levels.count], of the real dtype. */
static ts_value levels_of(ts_graph *g, const ts_scalar_perturbation_options *o)
{
    int32_t level[TS_MAX_LEVELS];
    for (int i = 0; i < o->levels.count; i++)
        level[i] = (int32_t)o->levels.value[i];
    return ts_cast(ts_constant(g, TS_I32, ts_shape_of(o->levels.count), level), ts_graph_real(g));
}

/* The normal distribution's function, as gelu(x) / x; its density is the gradient. */
static ts_value normal_function(ts_value x)
{
    ts_graph *g = x.graph;
    const double peak = 0.3989422804014327;
    ts_value at = ts_stop_gradient(x), far = ts_greater(ts_abs(at), ts_scalar(g, 1e-4));
    ts_value safe = ts_where(far, at, ts_scalar(g, 1));
    ts_value value = ts_where(far, ts_div(ts_gelu(safe), safe), ts_affine(at, peak, 0.5));
    ts_value density = ts_scale(ts_exp(ts_scale(ts_square(at), -0.5)), peak);
    return ts_straight_through(ts_stop_gradient(value), ts_mul(ts_stop_gradient(density), x));
}

static ts_value bring_to_one(const ts_scalar_perturbation_options *o, ts_value z)
{
    switch (o->activation) {
    case SIGMOID:
        return ts_sigmoid(z);
    case NORMAL:
        return normal_function(z);
    case LAPLACE:
        return ts_affine(ts_mul(ts_sign(z), ts_affine(ts_exp(ts_neg(ts_abs(z))), -1, 1)), 0.5, 0.5);
    default:
        return ts_affine(ts_tanh(z), 0.5, 0.5);
    }
}

/* 1 where training moves a number; absent where it moves none. */
static ts_value moved_ones(ts_scope s, const ts_scalar_perturbation_options *o, ts_shape shape)
{
    if (s.mode != TS_TRAIN || o->quantize_rate == 1)
        return TS_ABSENT;
    if (!s.random.graph)
        return ts_build_fail(s.graph, "scalar_perturbation", "moving needs random numbers, and the scope has none");
    return ts_greater(ts_rand_uniform(s.random, shape), ts_scalar(s.graph, o->quantize_rate));
}

/* u + U(-1/2L, 1/2L) where that is within 0 ... 1, else u. */
static ts_value move(ts_scope s, ts_value u, ts_value levels)
{
    ts_value noise = ts_div(ts_affine(ts_rand_uniform(s.random, ts_value_shape(u)), 1, -0.5), levels);
    ts_value there = ts_add(u, noise), zero = ts_scalar(s.graph, 0), one = ts_scalar(s.graph, 1);
    ts_value inside = ts_mul(ts_greater(there, zero), ts_greater(one, there));
    return ts_add(u, ts_mul(inside, noise));
}

/* mean over dims of (moment - target)^2 */
static ts_value off_target(ts_value moment, double target)
{
    return ts_mean_all(ts_square(ts_affine(moment, 1, -target)));
}

/* Of rows [N, D] that count: weighted distances of their moments from their targets, dim by dim. 0 where none counts.
 */
static ts_value norm_loss(const ts_scalar_perturbation_options *o, ts_value rows, ts_value mask)
{
    ts_graph *g = rows.graph;
    ts_value one = ts_scalar(g, 1), n = mask.graph ? ts_sum_all(mask) : ts_scalar(g, (double)ts_dim(rows, 0));
    ts_value share = mask.graph ? ts_reshape(mask, ts_shape_of(-1, 1)) : one, count = ts_maximum(n, one);
    ts_value mean = ts_div(ts_sum(ts_mul(rows, share), 1u, false), count), off = ts_subtract(rows, mean);
    ts_value sum = ts_sum(ts_mul(ts_square(off), share), 1u, false);
    ts_value variance = ts_div(sum, ts_maximum(ts_affine(n, 1, -1), one));
    ts_value loss = ts_add(ts_scale(off_target(mean, 0), moments[o->norm].mean),
                           ts_scale(off_target(variance, moments[o->norm].target), moments[o->norm].variance));
    if (moments[o->norm].kurtosis > 0) {
        ts_value z = ts_div(off, ts_sqrt(ts_maximum(variance, ts_scalar(g, 1e-16)))), square = ts_square(z);
        ts_value third = ts_div(ts_sum(ts_mul(ts_mul(square, z), share), 1u, false), count);
        ts_value fourth = ts_div(ts_sum(ts_mul(ts_square(square), share), 1u, false), count);
        loss = ts_add(loss, ts_scale(off_target(third, 0), moments[o->norm].skewness));
        loss = ts_add(loss, ts_scale(off_target(fourth, 3), moments[o->norm].kurtosis));
    }
    return mask.graph ? ts_mul(loss, ts_greater(n, ts_scalar(g, 0))) : loss;
}

/* Bins k [.., D], of the real dtype -> what the decoder gets for their middles. */
static ts_value middles(ts_value k, ts_value levels)
{
    return ts_div(ts_affine(k, 1, 0.5), levels);
}

static ts_value spread(ts_value u)
{
    return ts_affine(u, 1 / deviation, -0.5 / deviation);
}

/* Moments are a number of a batch, not of tokens: the loss is of training alone. */
static void build(ts_scope s, const void *options, ts_value z, ts_quantized *out)
{
    const ts_scalar_perturbation_options *o = options;
    ts_fsq_opts opts = ts_grid_of(&o->levels, TS_FSQ_SYMMETRIC);
    ts_shape shape = ts_value_shape(z), ids = ts_shape_with_last(shape, 1);
    ts_enter(s);
    ts_value levels = levels_of(s.graph, o), rows = ts_rows(z), u = bring_to_one(o, rows);
    ts_value at = ts_clamp(ts_stop_gradient(u), 0, 1 - 0x1p-23); /* 1 is in the last bin */
    ts_value k = ts_floor(ts_mul(at, levels)), moved = moved_ones(s, o, ts_value_shape(rows));
    ts_value codes = ts_straight_through(middles(k, levels), u);
    if (moved.graph)
        codes = ts_where(moved, move(s, u, levels), codes);
    ts_value place = ts_affine(ts_div(k, ts_affine(levels, 1, -1)), 2, -1);
    *out = (ts_quantized){.ids = ts_mask_ids(ts_reshape(ts_fsq_ids(place, &opts), ids), s.mask)};
    out->codes = ts_mask_rows(ts_reshape(spread(codes), shape), s.mask);
    ts_value mask = s.mask.graph ? ts_reshape(s.mask, ts_shape_of(-1)) : TS_ABSENT;
    if (s.mode == TS_TRAIN && o->norm > 0)
        ts_quantized_loss(out, "norm", norm_loss(o, rows, mask), o->norm_weight);
}

static ts_value decode(ts_scope s, const void *options, ts_value ids)
{
    const ts_scalar_perturbation_options *o = options;
    ts_fsq_opts opts = ts_grid_of(&o->levels, TS_FSQ_SYMMETRIC);
    ts_shape shape = ts_shape_with_last(ts_value_shape(ids), o->levels.count);
    ts_enter(s);
    ts_value k = ts_cast(ts_fsq_levels(ts_reshape(ids, ts_shape_of(-1)), &opts), ts_graph_real(s.graph));
    ts_value codes = spread(middles(k, levels_of(s.graph, o)));
    ts_value known = ts_greater(k, ts_scalar(s.graph, -0.5));
    return ts_reshape(ts_where(known, codes, ts_scalar(s.graph, NAN)), shape);
}

const ts_quantizer_kind ts_scalar_perturbation_kind = {
    .name = "scalar_perturbation",
    .table = &table,
    .info = info,
    .build = build,
    .decode = decode,
    .formulas = "@forward\n"
                "[!groups=1]z is {groups} equal parts of the channels, each with quantizers of its own\n"
                "[dim]z = linear(z), where {dim} is not the number of levels\n"
                "L = {levels}\n"
                "[activation=tanh]u = (tanh(z) + 1) / 2\n"
                "[!activation=tanh]u = the {activation} distribution's function of z\n"
                "k = floor(u L);  out = ((k + 1/2) / L - 1/2) * sqrt(12)\n"
                "[!quantize_rate=1]in training, but where U(0, 1) <= {quantize_rate}: out = (u + U(-1/2, 1/2) / L - "
                "1/2) * sqrt(12), without the noise where it leads out of 0 ... 1\n"
                "id = k_0 + k_1 L_0 + k_2 L_0 L_1 + ...: the first dim is the least significant\n"
                "[dim]out = linear(out)\n"
                "@loss\n"
                "[!norm=none]total += {norm_weight} * norm,  norm = weighted squares of what the moments of z are off "
                "those of {norm}; of training alone\n"
                "@gradient\n"
                "d out / d z = sqrt(12) du/dz: only the rounding is straight-through\n",
};
