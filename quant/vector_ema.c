#include "quant/vector.h"

#include <math.h>

#include "autograd/node.h"
#include "autograd/ops.h"
#include "quant/code_losses.h"
#include "quant/code_options.h"
#include "quant/codebook.h"
#include "quant/kmeans.h"

static const char *const inits[] = {"normal", "kmeans", NULL};
static const char *const conventions[] = {"zalando", "lucidrains", NULL};

#define FIELD(member) offsetof(ts_vector_ema_options, member)
static const ts_option ema_options[] = {
    TS_CODES_AND_DIM(ts_vector_ema_options),
    TS_HEADS(ts_vector_ema_options),
    TS_COMMITMENT(ts_vector_ema_options, "0.25"),
    {.name = "decay",
     .type = TS_OPTION_REAL,
     .offset = FIELD(decay),
     .fallback = "0.99",
     .min = 0,
     .max = 1,
     .help = "of the moving averages of counts and sums"},
    {.name = "epsilon",
     .type = TS_OPTION_REAL,
     .offset = FIELD(epsilon),
     .fallback = "1e-5",
     .min = 1e-12, /* without smoothing a code that nothing has used yet is x/0 */
     .max = 1,
     .help = "Laplace smoothing of the counts",
     .alias = "eps"},
    {.name = "averages",
     .type = TS_OPTION_CHOICE,
     .offset = FIELD(averages),
     .fallback = "zalando",
     .choices = conventions,
     .help =
         "zalando: counts from 0, smoothed ones are stored; lucidrains: from 1, sums from the codebook, not stored"},
    TS_ROTATION(ts_vector_ema_options),
    TS_COSINE(ts_vector_ema_options),
    {.name = "expire",
     .type = TS_OPTION_REAL,
     .offset = FIELD(expire),
     .fallback = "0",
     .min = 0,
     .max = 1,
     .help = "a code whose count falls below this share of the tokens per code takes a row of the batch; 0: none does"},
    {.name = "init",
     .type = TS_OPTION_CHOICE,
     .offset = FIELD(init),
     .fallback = "normal",
     .choices = inits,
     .help = "first codebook: N(0, 1), or k-means on the first batch (lucidrains' kmeans_init)"},
    TS_KMEANS(ts_vector_ema_options),
    {.name = "learnable",
     .type = TS_OPTION_BOOL,
     .offset = FIELD(learnable),
     .fallback = "false",
     .help = "the codebook is a parameter, too: the losses' gradients move it beside the averages (lucidrains)",
     .alias = "learnable_codebook"},
    TS_SAMPLING(ts_vector_ema_options),
    TS_CODE_LOSSES(ts_vector_ema_options),
    TS_GROUPS_OPTION,
    TS_LAYERS_OPTIONS,
    TS_SHARED_OPTION,
    {0},
};
#undef FIELD

static const ts_option_table ema_table = {
    .kind = "vector_ema",
    .help = "vector quantization, codebook by moving averages (zalando, sonnet, lucidrains)",
    .options = ema_options,
    .struct_bytes = sizeof(ts_vector_ema_options)};

static ts_search search_of(const ts_vector_ema_options *o)
{
    return (ts_search){.shape = ts_code_shape_of(o->codes, o->dim, &o->heads),
                       .rotation = o->rotation,
                       .cosine = o->cosine,
                       .sampling = o->sampling};
}

static ts_status ema_info(const void *options, ts_quantizer_info *info, ts_error *err)
{
    const ts_vector_ema_options *o = options;
    bool kmeans = o->init == TS_FIRST_KMEANS;
    ts_search how = search_of(o);
    TS_TRY(ts_search_check("vector_ema", &how, &o->heads, err));
    TS_TRY(ts_code_losses_check("vector_ema", &o->losses, o->commitment, err));
    TS_TRY(ts_kmeans_check("vector_ema", kmeans, &o->kmeans, err));
    if (o->expire > 0 && o->decay == 1)
        return ts_fail(err, TS_ERR_USAGE,
                       "vector_ema: decay is 1, so that no count ever moves, and expire is %g; set decay below 1, or "
                       "leave expire out",
                       o->expire);
    *info = ts_info_of(&how);
    info->init_batches = ts_kmeans_batches(kmeans, &o->kmeans);
    return TS_OK;
}

/* Does a gradient move the codebook beside the averages? */
static bool is_parameter(const ts_vector_ema_options *o)
{
    return o->learnable || o->losses.orthogonal > 0;
}

/* ts_averages says how they start. With cosine of about length 1. */
static ts_codebook_state ema_state(ts_scope s, const ts_vector_ema_options *o)
{
    ts_dtype real = ts_graph_real(s.graph);
    ts_code_shape code = ts_code_shape_of(o->codes, o->dim, &o->heads);
    ts_shape shape = ts_codebook_shape(&code);
    bool one = o->averages == TS_AVERAGES_LUCIDRAINS;
    ts_init first = TS_NORMAL(0, o->cosine ? 1 / sqrt((double)code.width) : 1);
    ts_init sum = one ? TS_COPY_OF(ts_scope_path(s, "codebook")) : first;
    ts_codebook_state state = {.count = ts_state(s, "count", real, ts_shape_of(shape.dim[0]), one ? TS_ONES : TS_ZEROS),
                               .sum = ts_state(s, "sum", real, shape, sum)};
    state.codebook = is_parameter(o) ? ts_param(s, "codebook", shape, first, TS_ROLE_CODEBOOK)
                                     : ts_state(s, "codebook", real, shape, first);
    return state;
}

/* (n + eps) / (sum n + K eps) * sum n, in each codebook */
static ts_value smoothed(ts_value count, const ts_vector_ema_options *o)
{
    ts_value n = ts_reshape(count, ts_shape_of(-1, o->codes)), total = ts_sum(n, 2u, true);
    ts_value share = ts_affine(total, 1, (double)o->codes * o->epsilon);
    return ts_reshape(ts_mul(ts_div(ts_affine(n, 1, o->epsilon), share), total), ts_shape_of(-1));
}

/* A code with a count below the threshold becomes its row, and so do its averages: as if it had had that row so often.
 * Without that the next step would take the code back to where it was. */
static void expire(ts_codebook_state *next, const ts_value *statistics, const ts_vector_ema_options *o)
{
    ts_value rows = statistics[2], threshold = ts_share_of_count(statistics[0], o->expire);
    ts_value dead = ts_column(ts_greater(threshold, next->count));
    next->codebook = ts_where(dead, rows, next->codebook);
    next->sum = ts_where(dead, ts_mul(rows, threshold), next->sum);
    next->count = ts_maximum(next->count, threshold);
}

/* n <- decay n + (1 - decay) c; m <- decay m + (1 - decay) S; e = m / smoothed(n). Zalando's n is the smoothed one. */
static ts_codebook_state moved(const ts_codebook_state *state, const ts_value *statistics,
                               const ts_vector_ema_options *o)
{
    ts_value count = ts_moved(state->count, statistics[0], o->decay), smooth = smoothed(count, o);
    ts_codebook_state next = {.count = o->averages == TS_AVERAGES_ZALANDO ? smooth : count,
                              .sum = ts_moved(state->sum, statistics[1], o->decay)};
    next.codebook = ts_of_length(ts_div(next.sum, ts_column(smooth)), o->cosine);
    if (o->expire > 0)
        expire(&next, statistics, o);
    return next;
}

/* The codebook as this batch leaves it. */
static ts_value after_batch(const ts_quantized *out, const ts_codebook_state *state, const ts_vector_ema_options *o)
{
    ts_value statistics[TS_MAX_STATISTICS];
    for (int i = 0; i < out->statistic_count; i++)
        statistics[i] = out->statistics[i].value;
    ts_value any = ts_greater(ts_sum_all(statistics[0]), ts_scalar(statistics[0].graph, 0));
    return ts_stop_gradient(ts_where(any, moved(state, statistics, o).codebook, state->codebook));
}

/* Upstream forms them when it has moved the codebook: the orthogonal loss is of what it is then, and gradients of
 * distances are in part taken there. */
static void ema_losses(ts_scope s, ts_quantized *out, ts_lookup *l, const ts_codebook_state *state,
                       const ts_vector_ema_options *o)
{
    bool train = s.mode == TS_TRAIN, tables = o->losses.cross_entropy || o->losses.diversity > 0;
    ts_value next = train && (tables || o->losses.orthogonal > 0) ? after_batch(out, state, o) : TS_ABSENT;
    if (tables && o->averages == TS_AVERAGES_LUCIDRAINS)
        l->moved = next;
    if (o->losses.cross_entropy)
        ts_cross_entropy_commitment(out, l, o->commitment, o->learnable);
    else
        ts_commitment_loss(out, l, o->commitment, o->learnable);
    if (train && o->losses.diversity > 0)
        ts_diversity_loss(out, l, o->losses.diversity, o->losses.diversity_temperature, o->learnable);
    if (train && o->losses.orthogonal > 0)
        ts_orthogonal_loss(s, out, l, ts_straight_through(next, state->codebook), &o->losses);
}

static void ema_build(ts_scope s, const void *options, ts_value z, ts_quantized *out)
{
    const ts_vector_ema_options *o = options;
    ts_search how = search_of(o);
    ts_lookup l;
    ts_enter(s);
    ts_codebook_state state = ema_state(s, o);
    if (!ts_look_up(s, &how, state.codebook, z, out, &l))
        return;
    if (s.mode == TS_TRAIN) {
        ts_batch_statistics(out, &l);
        if (o->expire > 0)
            ts_quantized_statistic(out, "rows", ts_rows_for_dead(s, &l, ts_drawn_rows), false);
    }
    ema_losses(s, out, &l, &state, o);
}

static void ema_init(ts_scope s, const void *options, ts_value z)
{
    const ts_vector_ema_options *o = options;
    ts_search how = search_of(o);
    ts_enter(s);
    if (o->init != TS_FIRST_KMEANS)
        return;
    ts_codebook_state state = ema_state(s, o);
    ts_value rows = ts_rows_of_tokens(s, &how, z), mask = ts_mask_of_rows(s, &how.shape);
    ts_codebook_start(&state, ts_kmeans(s, &how.shape, rows, mask, o->kmeans.rounds, o->cosine));
}

static ts_value ema_decode(ts_scope s, const void *options, ts_value ids)
{
    ts_search how = search_of(options);
    ts_enter(s);
    return ts_tokens_of_ids(s, &how, ema_state(s, options).codebook, ids);
}

/* A codebook that is a parameter has had its optimizer's step by now, and keeps it until the next batch: what is
 * written is how far the averages move it. */
static void ema_update(ts_scope s, const void *options, const ts_value *statistics, ts_value ok)
{
    const ts_vector_ema_options *o = options;
    ts_enter(s);
    ts_codebook_state state = ema_state(s, o), next = moved(&state, statistics, o);
    ok = ts_ok_with_tokens(ok, statistics[0]);
    if (is_parameter(o))
        ts_assign_add(state.codebook, ts_subtract(next.codebook, state.codebook), ok);
    else
        ts_assign(state.codebook, next.codebook, ok);
    ts_assign(state.count, next.count, ok);
    ts_assign(state.sum, next.sum, ok);
}

const ts_quantizer_kind ts_vector_ema_kind = {
    .name = "vector_ema",
    .table = &ema_table,
    .info = ema_info,
    .build = ema_build,
    .decode = ema_decode,
    .init = ema_init,
    .update = ema_update,
    .formulas = TS_FORMULA_STACK TS_FORMULA_SHARED
    "@forward\n" TS_FORMULA_TOKENS TS_FORMULA_CODES TS_FORMULA_OUT "@loss\n"
    "[commitment][!cross_entropy][!learnable]total += {commitment} * commitment,  commitment = mean((z - sg(e_k))^2)\n"
    "[commitment][!cross_entropy][learnable]total += {commitment} * commitment,  commitment = mean((z - e_k)^2)\n"
    "[commitment][cross_entropy]total += {commitment} * commitment,  commitment = mean(-log softmax(-|z - "
    "e|)_k)\n" TS_FORMULA_LOSSES TS_FORMULA_GRADIENT "[!learnable][!orthogonal]no gradient reaches e\n"
    "[!learnable][orthogonal]no gradient but that of orthogonal reaches e\n"
    "[learnable]the gradient of all of them reaches e: its optimizer's step lasts until the averages' next\n"
    "@start\n"
    "[init=normal][!cosine]e = N(0, 1)\n"
    "[init=normal][cosine]e of random directions\n"
    "[init=normal][averages=zalando]n = 0, m drawn like e but apart from it\n"
    "[init=normal][averages=lucidrains]n = 1, m = e\n"
    "[init=kmeans]e = the centres of k-means over the first {kmeans_batches} batches, {kmeans_rounds} rounds; n "
    "their counts, m = n e\n"
    "@update\n"
    "c, S = how many tokens chose each code, and the sum of their z\n"
    "n = {decay} n + (1 - {decay}) c;  m = {decay} m + (1 - {decay}) S\n"
    "s = (n + {epsilon}) / (sum n + {codes} * {epsilon}) * sum n;  e = m / s\n"
    "[averages=zalando]n = s\n"
    "[cosine]e is brought to length 1\n"
    "[expire]where n < t, t = {expire} * tokens / {codes}: e = a row of the batch, n = t, m = t e\n",
};
