#include "quant/vector.h"

#include "autograd/node.h"
#include "autograd/ops.h"
#include "quant/codebook.h"
#include "quant/rotation.h"

static const char *const inits[] = {"uniform", "normal", NULL};

#define FIELD(member) offsetof(ts_vector_options, member)
static const ts_option vector_options[] = {
    TS_CODES_AND_DIM(ts_vector_options),
    TS_COMMITMENT(ts_vector_options, "0.25"),
    {.name = "codebook",
     .type = TS_OPTION_REAL,
     .offset = FIELD(codebook),
     .fallback = "1",
     .min = 0,
     .max = 1e6,
     .help = "weight of the codebook loss mean((e - sg(z))^2)"},
    {.name = "init",
     .type = TS_OPTION_CHOICE,
     .offset = FIELD(init),
     .fallback = "uniform",
     .choices = inits,
     .help = "first codebook: uniform in +-1/K (zalando), or N(0, 1)"},
    TS_ROTATION(ts_vector_options),
    TS_GROUPS_OPTION,
    TS_LAYERS_OPTIONS,
    TS_SHARED_OPTION,
    {0},
};
#undef FIELD

static const ts_option_table vector_table = {.kind = "vector",
                                             .help = "vector quantization (VQ), codebook by gradient",
                                             .options = vector_options,
                                             .struct_bytes = sizeof(ts_vector_options)};

static ts_status vector_info(const void *options, ts_quantizer_info *info, ts_error *err)
{
    const ts_vector_options *o = options;
    (void)err;
    *info = (ts_quantizer_info){.codes = o->codes, .width = o->dim, .groups = 1};
    return TS_OK;
}

static ts_value vector_codebook(ts_scope s, const ts_vector_options *o)
{
    double bound = 1 / (double)o->codes;
    ts_init init = o->init == TS_CODEBOOK_UNIFORM ? TS_UNIFORM(-bound, bound) : TS_NORMAL(0, 1);
    return ts_param(s, "codebook", ts_shape_of(o->codes, o->dim), init, TS_ROLE_CODEBOOK);
}

static void vector_build(ts_scope s, const void *options, ts_value z, ts_quantized *out)
{
    const ts_vector_options *o = options;
    ts_lookup l;
    ts_enter(s);
    if (!ts_look_up(s, vector_codebook(s, o), z, o->rotation, out, &l))
        return;
    ts_quantized_loss(out, "codebook", ts_mse_masked(l.code, ts_stop_gradient(l.rows), l.mask), o->codebook);
    ts_commitment_loss(out, &l, o->commitment);
}

static ts_value vector_decode(ts_scope s, const void *options, ts_value ids)
{
    ts_enter(s);
    return ts_code_rows(vector_codebook(s, options), ids);
}

const ts_quantizer_kind ts_vector_kind = {
    .name = "vector",
    .table = &vector_table,
    .info = vector_info,
    .build = vector_build,
    .decode = vector_decode,
    .formulas = TS_FORMULA_STACK TS_FORMULA_SHARED
    "@forward\n"
    "k = argmin_k |z - e_k|^2, the lowest id on ties\n"
    "out = e_k\n"
    "@loss\n"
    "[codebook]total += {codebook} * codebook,  codebook = mean((e_k - sg(z))^2)\n"
    "[commitment]total += {commitment} * commitment,  commitment = mean((z - sg(e_k))^2)\n" TS_FORMULA_ROTATION
    "[codebook]e moves by the gradient of the codebook term alone\n"
    "[!codebook]nothing moves e: the weight of its loss is 0\n"
    "@start\n"
    "[init=uniform]e uniform in -1/{codes} ... 1/{codes}\n"
    "[init=normal]e = N(0, 1)\n",
};
