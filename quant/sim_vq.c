#include "quant/sim_vq.h"

#include <math.h>

#include "autograd/index.h"
#include "autograd/loss.h"
#include "autograd/mask.h"
#include "autograd/nearest.h"
#include "autograd/node.h"
#include "autograd/shape.h"
#include "autograd/surrogate.h"
#include "layers/linear.h"
#include "quant/code_options.h"
#include "quant/rotation.h"

#define FIELD(member) offsetof(ts_sim_vq_options, member)
static const ts_option options_list[] = {
    {.name = "codes",
     .type = TS_OPTION_INT,
     .offset = FIELD(codes),
     .fallback = "512",
     .min = 1,
     .max = 1 << 24,
     .help = "codes in the codebook, K (up to 2^24: counts are exact)",
     .alias = "codebook_size"},
    {.name = "dim",
     .type = TS_OPTION_INT,
     .offset = FIELD(dim),
     .fallback = "64",
     .min = 1,
     .max = 65536,
     .help = "width of a code, D",
     .alias = "code_dim"},
    {.name = "frozen_dim",
     .type = TS_OPTION_INT,
     .offset = FIELD(frozen_dim),
     .fallback = "0",
     .min = 0,
     .max = 65536,
     .help = "width of the frozen codebook, which the matrix takes to dim; 0: dim",
     .alias = "frozen_codebook_dim"},
    {.name = "bias",
     .type = TS_OPTION_BOOL,
     .offset = FIELD(bias),
     .fallback = "false",
     .help = "the matrix has a bias (the paper's code has one, lucidrains has none)"},
    {.name = "rotation",
     .type = TS_OPTION_BOOL,
     .offset = FIELD(rotation),
     .fallback = "true",
     .help = "rotation trick: the gradient to z is turned as the code is; else straight-through (lucidrains: true)",
     .alias = "rotation_trick"},
    {.name = "commitment",
     .type = TS_OPTION_REAL,
     .offset = FIELD(commitment),
     .fallback = "0.25",
     .min = 0,
     .max = 1e6,
     .help = "weight of the commitment loss mean((z - sg(e))^2)",
     .alias = "input_to_quantize_commit_loss_weight"},
    {.name = "codebook",
     .type = TS_OPTION_REAL,
     .offset = FIELD(codebook),
     .fallback = "1",
     .min = 0,
     .max = 1e6,
     .help = "weight of the codebook loss mean((e - sg(z))^2), which moves the matrix"},
    TS_BETA_ON(ts_sim_vq_options),
    TS_GROUPS_OPTION,
    TS_LAYERS_OPTIONS,
    TS_SHARED_OPTION,
    {0},
};
#undef FIELD

static const ts_option_table table = {
    .kind = "sim_vq",
    .help = "SimVQ: a frozen random codebook times a learned matrix; every step moves all codes",
    .options = options_list,
    .struct_bytes = sizeof(ts_sim_vq_options)};

/* Weights of the two terms. */
typedef struct {
    double codebook, commitment;
} weights;

static weights weights_of(const ts_sim_vq_options *o)
{
    bool swap = o->beta_on == TS_BETA_ON_CODEBOOK;
    return swap ? (weights){.codebook = o->commitment, .commitment = o->codebook}
                : (weights){.codebook = o->codebook, .commitment = o->commitment};
}

static ts_status info(const void *options, ts_quantizer_info *out, ts_error *err)
{
    const ts_sim_vq_options *o = options;
    bool swap = o->beta_on == TS_BETA_ON_CODEBOOK;
    if (weights_of(o).codebook == 0)
        return ts_fail(err, TS_ERR_USAGE,
                       "sim_vq: %s is 0, so that nothing would ever move the codes; set it above 0 (%s)",
                       swap ? "commitment, the codebook's weight with beta_on: codebook," : "codebook",
                       swap ? "0.25 in the authors' code" : "1 in the paper");
    *out = (ts_quantizer_info){.codes = o->codes, .width = o->dim, .groups = 1};
    return TS_OK;
}

/* The codes in force, [K, D]: C W^T (+ b), C drawn once. */
static ts_value codebook_of(ts_scope s, const ts_sim_vq_options *o)
{
    int64_t width = o->frozen_dim ? o->frozen_dim : o->dim;
    ts_enter(s);
    ts_value frozen = ts_state(s, "frozen_codebook", ts_graph_real(s.graph), ts_shape_of(o->codes, width),
                               TS_NORMAL(0, 1 / sqrt((double)width)));
    ts_value codes = ts_linear_layer(ts_sub(s, "code_transform"), frozen, o->dim, o->bias);
    ts_enter(s);
    return codes;
}

static void build(ts_scope s, const void *options, ts_value z, ts_quantized *out)
{
    const ts_sim_vq_options *o = options;
    ts_shape shape = ts_value_shape(z), one = shape;
    ts_value codebook = codebook_of(s, o), mask = s.mask.graph ? ts_reshape(s.mask, ts_shape_of(-1)) : TS_ABSENT;
    *out = (ts_quantized){.codes = ts_poison(s.graph), .ids = ts_poison(s.graph)};
    if (!ts_present(codebook))
        return;
    ts_value rows = ts_rows(z), ids = ts_nearest(ts_stop_gradient(rows), ts_stop_gradient(codebook));
    ts_value code = ts_gather(codebook, ids), fixed = ts_stop_gradient(code);
    one.dim[one.rank - 1] = 1;
    out->ids = ts_mask_ids(ts_reshape(ids, one), s.mask);
    out->codes = o->rotation ? ts_rotate_to(rows, code) : ts_straight_through(fixed, rows);
    out->codes = ts_mask_rows(ts_reshape(out->codes, shape), s.mask);
    ts_quantized_loss(out, "codebook", ts_mse_masked(code, ts_stop_gradient(rows), mask), weights_of(o).codebook);
    ts_quantized_loss(out, "commitment", ts_mse_masked(rows, fixed, mask), weights_of(o).commitment);
}

static ts_value decode(ts_scope s, const void *options, ts_value ids)
{
    const ts_sim_vq_options *o = options;
    ts_shape shape = ts_value_shape(ids);
    ts_value codes = ts_gather(codebook_of(s, o), ts_reshape(ids, ts_shape_of(-1)));
    shape.dim[shape.rank - 1] = o->dim;
    return ts_reshape(codes, shape);
}

const ts_quantizer_kind ts_sim_vq_kind = {
    .name = "sim_vq",
    .table = &table,
    .info = info,
    .build = build,
    .decode = decode,
    .formulas = TS_FORMULA_STACK TS_FORMULA_SHARED
    "@forward\n"
    "[bias]e = C W^T + b, C frozen\n"
    "[!bias]e = C W^T, C frozen\n"
    "k = argmin_k |z - e_k|^2, the lowest id on ties\n"
    "out = e_k\n"
    "@loss\n"
    "[beta_on=commit][codebook]total += {codebook} * codebook,  codebook = mean((e_k - sg(z))^2)\n"
    "[beta_on=codebook][commitment]total += {commitment} * codebook,  codebook = mean((e_k - sg(z))^2)\n"
    "[beta_on=commit][commitment]total += {commitment} * commitment,  commitment = mean((z - sg(e_k))^2)\n"
    "[beta_on=codebook][codebook]total += {codebook} * commitment,  commitment = mean((z - sg(e_k))^2)"
    "\n" TS_FORMULA_ROTATION "the codebook term moves W, and with it every code\n"
    "@start\n"
    "C = N(0, 1/d), d its width; W as a linear layer's\n",
};
