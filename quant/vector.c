#include "quant/vector.h"

#include "autograd/node.h"
#include "autograd/ops.h"
#include "quant/code_losses.h"
#include "quant/code_options.h"
#include "quant/codebook.h"
#include "quant/kmeans.h"

static const char *const inits[] = {"uniform", "normal", "kmeans", NULL};

#define FIELD(member) offsetof(ts_vector_options, member)
static const ts_option vector_options[] = {
    TS_CODES_AND_DIM(ts_vector_options),
    TS_HEADS(ts_vector_options),
    TS_COMMITMENT(ts_vector_options, "0.25"),
    {.name = "codebook",
     .type = TS_OPTION_REAL,
     .offset = FIELD(codebook),
     .fallback = "1",
     .min = 0,
     .max = 1e6,
     .help = "weight of the codebook loss mean((e - sg(z))^2)"},
    TS_BETA_ON(ts_vector_options),
    {.name = "init",
     .type = TS_OPTION_CHOICE,
     .offset = FIELD(init),
     .fallback = "uniform",
     .choices = inits,
     .help = "first codebook: uniform in +-1/K (zalando), N(0, 1), or k-means on the first batch (lucidrains)"},
    TS_KMEANS(ts_vector_options),
    TS_ROTATION(ts_vector_options),
    TS_COSINE(ts_vector_options),
    TS_SAMPLING(ts_vector_options),
    TS_CODE_LOSSES(ts_vector_options),
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

static ts_search search_of(const ts_vector_options *o)
{
    return (ts_search){.shape = ts_code_shape_of(o->codes, o->dim, &o->heads),
                       .rotation = o->rotation,
                       .cosine = o->cosine,
                       .sampling = o->sampling};
}

static ts_status vector_info(const void *options, ts_quantizer_info *info, ts_error *err)
{
    const ts_vector_options *o = options;
    bool kmeans = o->init == TS_CODEBOOK_KMEANS;
    ts_search how = search_of(o);
    TS_TRY(ts_search_check("vector", &how, &o->heads, err));
    TS_TRY(ts_code_losses_check("vector", &o->losses, o->commitment, err));
    TS_TRY(ts_kmeans_check("vector", kmeans, &o->kmeans, err));
    if (o->beta_on == TS_BETA_ON_CODEBOOK && o->losses.cross_entropy)
        return ts_fail(err, TS_ERR_USAGE,
                       "vector: beta_on: codebook swaps the weights of two squared distances, and with cross_entropy "
                       "commitment is none; leave one of them out");
    *info = ts_info_of(&how);
    info->init_batches = ts_kmeans_batches(kmeans, &o->kmeans);
    return TS_OK;
}

static ts_value vector_codebook(ts_scope s, const ts_vector_options *o)
{
    double bound = 1 / (double)o->codes;
    ts_code_shape shape = ts_code_shape_of(o->codes, o->dim, &o->heads);
    ts_init init = o->init == TS_CODEBOOK_UNIFORM ? TS_UNIFORM(-bound, bound) : TS_NORMAL(0, 1);
    return ts_param(s, "codebook", ts_codebook_shape(&shape), init, TS_ROLE_CODEBOOK);
}

static void vector_build(ts_scope s, const void *options, ts_value z, ts_quantized *out)
{
    const ts_vector_options *o = options;
    bool swap = o->beta_on == TS_BETA_ON_CODEBOOK;
    double commitment = swap ? o->codebook : o->commitment, codebook = swap ? o->commitment : o->codebook;
    ts_search how = search_of(o);
    ts_lookup l;
    ts_enter(s);
    if (!ts_look_up(s, &how, vector_codebook(s, o), z, out, &l))
        return;
    ts_quantized_loss(out, "codebook", ts_mse_masked(l.code, ts_stop_gradient(l.rows), l.mask), codebook);
    if (o->losses.cross_entropy)
        ts_cross_entropy_commitment(out, &l, commitment, false);
    else
        ts_commitment_loss(out, &l, commitment, false);
    if (s.mode == TS_TRAIN && o->losses.diversity > 0)
        ts_diversity_loss(out, &l, o->losses.diversity, o->losses.diversity_temperature, true);
    if (s.mode == TS_TRAIN && o->losses.orthogonal > 0)
        ts_orthogonal_loss(s, out, &l, l.codebook, &o->losses);
}

static ts_value vector_decode(ts_scope s, const void *options, ts_value ids)
{
    ts_search how = search_of(options);
    ts_enter(s);
    return ts_tokens_of_ids(s, &how, vector_codebook(s, options), ids);
}

static void vector_init(ts_scope s, const void *options, ts_value z)
{
    const ts_vector_options *o = options;
    ts_search how = search_of(o);
    ts_enter(s);
    if (o->init != TS_CODEBOOK_KMEANS)
        return;
    ts_codebook_state state = {.codebook = vector_codebook(s, o), .count = TS_ABSENT, .sum = TS_ABSENT};
    ts_value rows = ts_rows_of_tokens(s, &how, z), mask = ts_mask_of_rows(s, &how.shape);
    ts_codebook_start(&state, ts_kmeans(s, &how.shape, rows, mask, o->kmeans.rounds, o->cosine));
}

const ts_quantizer_kind ts_vector_kind = {
    .name = "vector",
    .table = &vector_table,
    .info = vector_info,
    .build = vector_build,
    .decode = vector_decode,
    .init = vector_init,
    .formulas = TS_FORMULA_STACK TS_FORMULA_SHARED
    "@forward\n" TS_FORMULA_TOKENS TS_FORMULA_CODES TS_FORMULA_OUT "@loss\n"
    "[beta_on=commit][codebook]total += {codebook} * codebook,  codebook = mean((e_k - sg(z))^2)\n"
    "[beta_on=codebook][commitment]total += {commitment} * codebook,  codebook = mean((e_k - sg(z))^2)\n"
    "[beta_on=commit][commitment][!cross_entropy]total += {commitment} * commitment,  commitment = mean((z - "
    "sg(e_k))^2)\n"
    "[beta_on=commit][commitment][cross_entropy]total += {commitment} * commitment,  commitment = mean(-log "
    "softmax(-|z - sg(e)|)_k)\n"
    "[beta_on=codebook][codebook]total += {codebook} * commitment,  commitment = mean((z - "
    "sg(e_k))^2)\n" TS_FORMULA_LOSSES TS_FORMULA_GRADIENT
    "[beta_on=commit][codebook]e moves by the gradient of the codebook term\n"
    "[beta_on=codebook][commitment]e moves by the gradient of the codebook term\n"
    "[diversity]e moves by the gradient of diversity\n"
    "[orthogonal]e moves by the gradient of orthogonal\n"
    "@start\n"
    "[init=uniform]e uniform in -1/{codes} ... 1/{codes}\n"
    "[init=normal]e = N(0, 1)\n"
    "[init=kmeans]e = the centres of k-means over the first {kmeans_batches} batches, {kmeans_rounds} rounds\n",
};
