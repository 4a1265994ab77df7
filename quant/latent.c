#include "quant/latent.h"

#include "autograd/node.h"
#include "autograd/ops.h"
#include "core/fsq.h"
#include "quant/finite_scalar.h"

#define FIELD(member) offsetof(ts_latent_options, member)
static const ts_option options_list[] = {
    {.name = "levels",
     .type = TS_OPTION_INTS,
     .offset = FIELD(levels),
     .fallback = "[8, 6, 5]",
     .min = 2,
     .max = 65536,
     .help = "values of each dim of a code; their product is the codebook's size"},
    {.name = "codebooks",
     .type = TS_OPTION_INT,
     .offset = FIELD(codebooks),
     .fallback = "1",
     .min = 1,
     .max = 1024,
     .help = "groups of dims with the same values; each gives an id",
     .alias = "num_codebooks"},
    TS_PROJECTION_OPTIONS,
    {.name = "commitment",
     .type = TS_OPTION_REAL,
     .offset = FIELD(commitment),
     .fallback = "0.1",
     .min = 0,
     .max = 1e6,
     .help = "weight of the commitment loss mean((z - sg(v))^2) (lucidrains 0.1)",
     .alias = "commitment_loss_weight"},
    {.name = "codebook",
     .type = TS_OPTION_REAL,
     .offset = FIELD(codebook),
     .fallback = "0.1",
     .min = 0,
     .max = 1e6,
     .help = "weight of the loss mean((v - sg(z))^2), which moves the values (lucidrains 0.1); 0: they stay",
     .alias = "quantization_loss_weight"},
    TS_GROUPS_OPTION,
    {0},
};
#undef FIELD

static const ts_option_table table = {.kind = "latent",
                                      .help = "latent quantization: each number to the nearest of its learned values",
                                      .options = options_list,
                                      .struct_bytes = sizeof(ts_latent_options)};

/* Ids are the digits of a grid of so many levels; the values are another matter. */
static ts_fsq_opts digits_of(const ts_latent_options *o)
{
    return ts_grid_of(&o->levels, TS_FSQ_SYMMETRIC);
}

static ts_status info(const void *options, ts_quantizer_info *out, ts_error *err)
{
    const ts_latent_options *o = options;
    ts_fsq_opts opts = digits_of(o);
    ts_fsq_table grid;
    TS_TRY(ts_fsq_table_init(&grid, &opts, err));
    *out = (ts_quantizer_info){.codes = grid.size, .width = o->codebooks * o->levels.count, .groups = o->codebooks};
    return TS_OK;
}

/* The values of dim i in force, [L, 1]: from -1/2, evenly, with 0 among them; and what has been learned. */
static ts_value values_of(ts_scope s, const ts_latent_options *o, int i)
{
    ts_graph *g = s.graph;
    int64_t levels = o->levels.value[i];
    const char *name = ts_arena_format(&g->arena, "offset.%d", i);
    ts_value ones = ts_broadcast(ts_scalar(g, 1), ts_shape_of(levels, 1));
    double step = 1 / (double)(levels % 2 ? levels - 1 : levels);
    ts_value even = ts_affine(ts_cumsum(ones, 0, false), step, -0.5 - step);
    return ts_add(even, ts_param(s, name ? name : "", ts_shape_of(levels, 1), TS_ZEROS, TS_ROLE_CODEBOOK));
}

/* Level index k, -1 for none, as the number of -1 ... 1 that ts_fsq_ids reads. */
static ts_value place_of(ts_value k, int64_t levels)
{
    ts_value index = ts_cast(ts_reshape(k, ts_shape_of(-1, 1)), ts_graph_real(k.graph));
    return ts_affine(index, 2 / (double)(levels - 1), -1);
}

static void build(ts_scope s, const void *options, ts_value z, ts_quantized *out)
{
    const ts_latent_options *o = options;
    ts_fsq_opts opts = digits_of(o);
    ts_shape shape = ts_value_shape(z);
    ts_value hard[TS_MAX_LEVELS], place[TS_MAX_LEVELS];
    ts_value mask = s.mask.graph ? ts_reshape(s.mask, ts_shape_of(-1)) : TS_ABSENT;
    ts_enter(s);
    ts_value rows = ts_reshape(z, ts_shape_of(-1, o->levels.count));
    for (int i = 0; i < o->levels.count; i++) {
        ts_value values = values_of(s, o, i);
        ts_value k = ts_nearest(ts_stop_gradient(ts_slice(rows, -1, i, 1)), ts_stop_gradient(values));
        hard[i] = ts_gather(values, k);
        place[i] = place_of(k, o->levels.value[i]);
    }
    ts_value code = ts_rows(ts_reshape(ts_quantizer_join(hard, o->levels.count, -1), shape));
    ts_value ids = ts_fsq_ids(ts_quantizer_join(place, o->levels.count, -1), &opts), fixed = ts_stop_gradient(code);
    *out = (ts_quantized){.ids = ts_mask_ids(ts_reshape(ids, ts_shape_with_last(shape, o->codebooks)), s.mask)};
    out->codes = ts_mask_rows(ts_straight_through(ts_reshape(fixed, shape), z), s.mask);
    ts_quantized_loss(out, "commitment", ts_mse_masked(ts_rows(z), fixed, mask), o->commitment);
    ts_quantized_loss(out, "codebook", ts_mse_masked(code, ts_stop_gradient(ts_rows(z)), mask), o->codebook);
}

static ts_value decode(ts_scope s, const void *options, ts_value ids)
{
    const ts_latent_options *o = options;
    ts_fsq_opts opts = digits_of(o);
    ts_value code[TS_MAX_LEVELS];
    ts_enter(s);
    ts_value levels = ts_fsq_levels(ts_reshape(ids, ts_shape_of(-1)), &opts);
    for (int i = 0; i < o->levels.count; i++)
        code[i] = ts_gather(values_of(s, o, i), ts_reshape(ts_slice(levels, -1, i, 1), ts_shape_of(-1)));
    ts_value codes = ts_quantizer_join(code, o->levels.count, -1);
    return ts_reshape(codes, ts_shape_with_last(ts_value_shape(ids), o->codebooks * o->levels.count));
}

const ts_quantizer_kind ts_latent_kind = {
    .name = "latent",
    .table = &table,
    .info = info,
    .build = build,
    .decode = decode,
    .formulas = "@forward\n"
                "[!groups=1]z is {groups} equal parts of the channels, each with quantizers of its own\n"
                "[dim]z = linear(z), where {dim} is not the number of levels and codebooks\n"
                "L = {levels} values v of each dim;  k = argmin_k |z - v_k|, the lowest on ties\n"
                "out = v_k\n"
                "id = k_0 + k_1 L_0 + k_2 L_0 L_1 + ...: the first dim is the least significant\n"
                "[dim]out = linear(out)\n"
                "@loss\n"
                "[commitment]total += {commitment} * commitment,  commitment = mean((z - sg(v_k))^2)\n"
                "[codebook]total += {codebook} * codebook,  codebook = mean((v_k - sg(z))^2)\n"
                "@gradient\n"
                "d out / d z = 1: straight-through\n"
                "[!codebook]nothing moves v\n"
                "@start\n"
                "v = k/L - 1/2 for an even L, k/(L-1) - 1/2 for an odd one\n",
};
