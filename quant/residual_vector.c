#include "quant/residual_vector.h"

#include "autograd/elementwise.h"
#include "autograd/index.h"
#include "autograd/node.h"
#include "autograd/reduce.h"
#include "autograd/surrogate.h"
#include "quant/codebook.h"

/* z [.., D] through layers of a kind. What a layer leaves over is taken without its gradient, so that each layer passes
 * on its own part of it, and its commitment loss has a gradient. */
typedef struct {
    const ts_quantizer_kind *kind; /* of a layer */
    const void *options;           /* of a layer */
    ts_residual_options residual;
} stack;

static ts_status stack_info(stack k, ts_quantizer_info *info, ts_error *err)
{
    TS_TRY(ts_residual_check(k.residual.layers, k.residual.dropout, err));
    TS_TRY(k.kind->info(k.options, info, err));
    info->groups = k.residual.layers;
    return TS_OK;
}

/* Where no token counts, a layer gives codes of 0 and ids of -1, has no loss and learns nothing: so is one left out. */
static ts_scope layer_scope(ts_scope s, ts_value z, ts_value in_use, stack k, int layer)
{
    ts_scope scope = ts_sub_index(s, "layers", layer);
    ts_shape tokens = ts_value_shape(z);
    if (!in_use.graph || layer < k.residual.dropout)
        return scope;
    tokens.dim[--tokens.rank] = 0;
    ts_value use = ts_broadcast(ts_greater(in_use, ts_scalar(s.graph, layer)), tokens);
    scope.mask = s.mask.graph ? ts_mul(s.mask, use) : use;
    return scope;
}

/* Losses are summed over the layers; statistics stand one layer behind the other along their first axis. */
static void gather(ts_quantized *out, const ts_quantized *q, int layers)
{
    for (int i = 0; i < q[0].loss_count; i++) {
        ts_value total = q[0].losses[i].value;
        for (int l = 1; l < layers; l++)
            total = ts_add(total, q[l].losses[i].value);
        ts_quantized_loss(out, q[0].losses[i].name, total, q[0].losses[i].weight);
    }
    for (int i = 0; i < q[0].statistic_count; i++) {
        ts_value part[TS_MAX_RESIDUAL_LAYERS];
        for (int l = 0; l < layers; l++)
            part[l] = q[l].statistics[i].value;
        ts_quantized_statistic(out, q[0].statistics[i].name, ts_residual_join(part, layers, 0), q[0].statistics[i].sum);
    }
}

static void stack_build(ts_scope s, stack k, ts_value z, ts_quantized *out)
{
    ts_quantized q[TS_MAX_RESIDUAL_LAYERS];
    ts_value ids[TS_MAX_RESIDUAL_LAYERS], rest = z, codes = TS_ABSENT;
    *out = (ts_quantized){.codes = ts_poison(s.graph), .ids = ts_poison(s.graph)};
    ts_enter(s);
    ts_value in_use = ts_residual_in_use(s, k.residual.layers, k.residual.dropout);
    for (int i = 0; i < k.residual.layers; i++) {
        if (!ts_present(rest) || ts_value_shape(rest).rank < 1)
            return;
        k.kind->build(layer_scope(s, z, in_use, k, i), k.options, rest, &q[i]);
        ts_enter(s);
        codes = i ? ts_add(codes, q[i].codes) : q[i].codes;
        rest = ts_subtract(rest, ts_stop_gradient(q[i].codes));
        ids[i] = q[i].ids;
    }
    out->codes = codes;
    out->ids = ts_residual_join(ids, (int)k.residual.layers, -1);
    gather(out, q, (int)k.residual.layers);
}

static ts_value stack_decode(ts_scope s, stack k, ts_value ids)
{
    ts_shape shape = ts_value_shape(ids);
    ts_value codes = TS_ABSENT;
    if (!ts_present(ids))
        return ids;
    if (shape.rank < 1 || ts_dim(ids, -1) != k.residual.layers)
        return ts_build_fail(s.graph, "residual", "ids are %s, expected a last axis of %lld, one for each layer",
                             ts_shape_print(shape).text, (long long)k.residual.layers);
    for (int i = 0; i < k.residual.layers; i++) {
        ts_value own = ts_slice(ids, -1, i, 1);
        ts_value layer = ts_residual_present(k.kind->decode(ts_sub_index(s, "layers", i), k.options, own), own, i);
        codes = i ? ts_add(codes, layer) : layer;
    }
    return codes;
}

/* The statistics of one layer, for its update. */
static void stack_update(ts_scope s, stack k, const ts_value *statistics, int count, ts_value ok)
{
    for (int i = 0; i < k.residual.layers; i++) {
        ts_value own[TS_MAX_STATISTICS];
        for (int n = 0; n < count; n++) {
            int64_t codes = ts_dim(statistics[n], 0) / k.residual.layers;
            own[n] = ts_slice(statistics[n], 0, i * codes, codes);
        }
        k.kind->update(ts_sub_index(s, "layers", i), k.options, own, ok);
    }
}

/* Rows of the option tables; a layer's options have the offsets that they have in its own struct. */
#define LAYERS(struct_)                                                                                                \
    {.name = "layers",                                                                                                 \
     .type = TS_OPTION_INT,                                                                                            \
     .offset = offsetof(struct_, residual.layers),                                                                     \
     .fallback = "4",                                                                                                  \
     .min = 1,                                                                                                         \
     .max = TS_MAX_RESIDUAL_LAYERS,                                                                                    \
     .help = "layers with a codebook each, on what those before left over; each gives an id",                          \
     .alias = "num_quantizers"},                                                                                       \
    {                                                                                                                  \
        .name = "dropout", .type = TS_OPTION_INT, .offset = offsetof(struct_, residual.dropout), .fallback = "0",      \
        .min = 0, .max = TS_MAX_RESIDUAL_LAYERS,                                                                       \
        .help = "each training step uses a random number of layers from this one to all; 0: always all (lucidrains: "  \
                "quantize_dropout_cutoff_index + 1)"                                                                   \
    }
#define REAL(struct_, member, value, least, most, help_, alias_)                                                       \
    {                                                                                                                  \
        .name = #member, .type = TS_OPTION_REAL, .offset = offsetof(struct_, layer.member), .fallback = value,         \
        .min = least, .max = most, .help = help_, .alias = alias_                                                      \
    }
#define DECAY(struct_, alias_) REAL(struct_, decay, "0.99", 0, 1, "of the moving averages of counts and sums", alias_)

#define STACK(name_, struct_, kind_)                                                                                   \
    static stack name_##_stack(const void *options)                                                                    \
    {                                                                                                                  \
        const struct_ *o = options;                                                                                    \
        return (stack){.kind = &(kind_), .options = &o->layer, .residual = o->residual};                               \
    }                                                                                                                  \
    static void name_##_build(ts_scope s, const void *options, ts_value z, ts_quantized *out)                          \
    {                                                                                                                  \
        stack_build(s, name_##_stack(options), z, out);                                                                \
    }                                                                                                                  \
    static ts_value name_##_decode(ts_scope s, const void *options, ts_value ids)                                      \
    {                                                                                                                  \
        return stack_decode(s, name_##_stack(options), ids);                                                           \
    }

/* residual_vector: codebooks by gradient */

static const char *const inits[] = {"uniform", "normal", NULL};
static const ts_option vector_options[] = {
    LAYERS(ts_residual_vector_options),
    TS_CODES_AND_DIM(ts_vector_options),
    TS_COMMITMENT(ts_vector_options, "0.25"),
    REAL(ts_residual_vector_options, codebook, "1", 0, 1e6,
         "weight of the codebook loss mean((e - sg(r))^2), summed over layers", NULL),
    {.name = "init",
     .type = TS_OPTION_CHOICE,
     .offset = offsetof(ts_residual_vector_options, layer.init),
     .fallback = "uniform",
     .choices = inits,
     .help = "first codebooks: uniform in +-1/K, or N(0, 1)"},
    TS_ROTATION(ts_vector_options),
    {0},
};

static const ts_option_table vector_table = {.kind = "residual_vector",
                                             .help = "residual vector quantization (RVQ), codebooks by gradient",
                                             .options = vector_options,
                                             .struct_bytes = sizeof(ts_residual_vector_options)};

STACK(vector, ts_residual_vector_options, ts_vector_kind)

static ts_status vector_info(const void *options, ts_quantizer_info *info, ts_error *err)
{
    return stack_info(vector_stack(options), info, err);
}

#define FORMULAS                                                                                                       \
    "@forward\n"                                                                                                       \
    "r_0 = z;  layer i of {layers}: q_i = the code of its codebook nearest to r_i;  r_(i+1) = r_i - sg(q_i)\n"         \
    "out = sum_i q_i;  an id for each layer\n"                                                                         \
    "[dropout]in training, layers from a random one on give 0 and id -1\n"                                             \
    "@loss\n"                                                                                                          \
    "[commitment]total += {commitment} * commitment,  commitment = sum over layers of mean((r_i - sg(q_i))^2)\n"

const ts_quantizer_kind ts_residual_vector_kind = {
    .name = "residual_vector",
    .table = &vector_table,
    .info = vector_info,
    .build = vector_build,
    .decode = vector_decode,
    .formulas =
        FORMULAS "[codebook]total += {codebook} * codebook,  codebook = sum over layers of mean((q_i - sg(r_i))^2)\n",
};

/* residual_vector_ema: codebooks by moving averages */

static const char *const conventions[] = {"zalando", "lucidrains", NULL};
static const ts_option ema_options[] = {
    LAYERS(ts_residual_vector_ema_options),
    TS_CODES_AND_DIM(ts_vector_ema_options),
    TS_COMMITMENT(ts_vector_ema_options, "0.25"),
    DECAY(ts_residual_vector_ema_options, NULL),
    REAL(ts_residual_vector_ema_options, epsilon, "1e-5", 1e-12, 1, "Laplace smoothing of the counts", NULL),
    {.name = "averages",
     .type = TS_OPTION_CHOICE,
     .offset = offsetof(ts_residual_vector_ema_options, layer.averages),
     .fallback = "zalando",
     .choices = conventions,
     .help =
         "zalando: counts from 0, smoothed ones are stored; lucidrains: from 1, sums from the codebook, not stored"},
    TS_ROTATION(ts_vector_ema_options),
    REAL(ts_residual_vector_ema_options, expire, "0", 0, 1,
         "a code whose count falls below this share of the tokens per code takes a row of what is left over; 0: none",
         NULL),
    {0},
};

static const ts_option_table ema_table = {.kind = "residual_vector_ema",
                                          .help = "residual vector quantization (RVQ), codebooks by moving averages",
                                          .options = ema_options,
                                          .struct_bytes = sizeof(ts_residual_vector_ema_options)};

STACK(ema, ts_residual_vector_ema_options, ts_vector_ema_kind)

static ts_status ema_info(const void *options, ts_quantizer_info *info, ts_error *err)
{
    return stack_info(ema_stack(options), info, err);
}

static void ema_update(ts_scope s, const void *options, const ts_value *statistics, ts_value ok)
{
    const ts_residual_vector_ema_options *o = options;
    stack_update(s, ema_stack(options), statistics, o->layer.expire > 0 ? 3 : 2, ok);
}

const ts_quantizer_kind ts_residual_vector_ema_kind = {
    .name = "residual_vector_ema",
    .table = &ema_table,
    .info = ema_info,
    .build = ema_build,
    .decode = ema_decode,
    .update = ema_update,
    .formulas = FORMULAS "@update\neach layer as vector_ema\n",
};

/* residual_vector_reset: T2M-GPT's family, layer by layer */

static const ts_option reset_options[] = {
    LAYERS(ts_residual_vector_reset_options),
    TS_CODES_AND_DIM(ts_vector_reset_options),
    TS_COMMITMENT(ts_vector_reset_options, "0.02"),
    DECAY(ts_residual_vector_reset_options, "mu"),
    {.name = "ema",
     .type = TS_OPTION_BOOL,
     .offset = offsetof(ts_residual_vector_reset_options, layer.ema),
     .fallback = "true",
     .help = "the codebooks follow the moving averages; else only resets change them"},
    REAL(ts_residual_vector_reset_options, threshold, "1", 1e-6, 1e9,
         "a code with a (moving) count below this is dead and takes a row of what is left over, in tokens per step",
         NULL),
    TS_ROTATION(ts_vector_reset_options),
    {0},
};

static const ts_option_table reset_table = {
    .kind = "residual_vector_reset",
    .help = "residual vector quantization (RVQ) with moving averages and reset of dead codes",
    .options = reset_options,
    .struct_bytes = sizeof(ts_residual_vector_reset_options)};

/* Dead codes are always reset: that is how the layers behind the first come to their codes. */
static ts_vector_reset_options reset_layer(const void *options)
{
    ts_vector_reset_options o = ((const ts_residual_vector_reset_options *)options)->layer;
    o.reset = true;
    return o;
}

static stack reset_stack(const void *options, const ts_vector_reset_options *layer)
{
    const ts_residual_vector_reset_options *o = options;
    return (stack){.kind = &ts_vector_reset_kind, .options = layer, .residual = o->residual};
}

static ts_status reset_info(const void *options, ts_quantizer_info *info, ts_error *err)
{
    ts_vector_reset_options layer = reset_layer(options);
    return stack_info(reset_stack(options, &layer), info, err);
}

static void reset_build(ts_scope s, const void *options, ts_value z, ts_quantized *out)
{
    ts_vector_reset_options layer = reset_layer(options);
    stack_build(s, reset_stack(options, &layer), z, out);
}

static ts_value reset_decode(ts_scope s, const void *options, ts_value ids)
{
    ts_vector_reset_options layer = reset_layer(options);
    return stack_decode(s, reset_stack(options, &layer), ids);
}

/* The first layer takes rows of the first batch. What they leave over is 0 for those same rows, so the other layers
 * stay at 0: in the first step all tokens have their code 0, and every other code is dead and takes a row. */
static void reset_init(ts_scope s, const void *options, ts_value z)
{
    ts_vector_reset_options layer = reset_layer(options);
    ts_vector_reset_kind.init(ts_sub_index(s, "layers", 0), &layer, z);
}

static void reset_update(ts_scope s, const void *options, const ts_value *statistics, ts_value ok)
{
    ts_vector_reset_options layer = reset_layer(options);
    stack_update(s, reset_stack(options, &layer), statistics, 3, ok);
}

const ts_quantizer_kind ts_residual_vector_reset_kind = {
    .name = "residual_vector_reset",
    .table = &reset_table,
    .info = reset_info,
    .build = reset_build,
    .decode = reset_decode,
    .init = reset_init,
    .update = reset_update,
    .formulas = FORMULAS "@start\nlayer 0 as vector_reset, the others 0; their codes are rows of r_i by reset\n"
                         "@update\neach layer as vector_reset\n",
};
