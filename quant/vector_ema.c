#include "quant/vector.h"

#include <math.h>

#include "autograd/node.h"
#include "autograd/ops.h"
#include "quant/codebook.h"
#include "quant/kmeans.h"
#include "quant/rotation.h"

static const char *const inits[] = {"normal", "kmeans", NULL};
static const char *const conventions[] = {"zalando", "lucidrains", NULL};

#define FIELD(member) offsetof(ts_vector_ema_options, member)
static const ts_option ema_options[] = {
    TS_CODES_AND_DIM(ts_vector_ema_options),
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
     .help = "Laplace smoothing of the counts"},
    {.name = "averages",
     .type = TS_OPTION_CHOICE,
     .offset = FIELD(averages),
     .fallback = "zalando",
     .choices = conventions,
     .help =
         "zalando: counts from 0, smoothed ones are stored; lucidrains: from 1, sums from the codebook, not stored"},
    TS_ROTATION(ts_vector_ema_options),
    {.name = "cosine",
     .type = TS_OPTION_BOOL,
     .offset = FIELD(cosine),
     .fallback = "false",
     .help = "z and codes are brought to length 1 (lucidrains' use_cosine_sim)",
     .alias = "use_cosine_sim"},
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
    TS_KMEANS_ROUNDS_OPTION(ts_vector_ema_options),
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

static ts_status ema_info(const void *options, ts_quantizer_info *info, ts_error *err)
{
    const ts_vector_ema_options *o = options;
    TS_TRY(ts_kmeans_check("vector_ema", o->init == TS_FIRST_KMEANS, o->kmeans_rounds, err));
    if (o->expire > 0 && o->decay == 1)
        return ts_fail(err, TS_ERR_USAGE,
                       "vector_ema: decay is 1, so that no count ever moves, and expire is %g; set decay below 1, or "
                       "leave expire out",
                       o->expire);
    *info = (ts_quantizer_info){.codes = o->codes, .width = o->dim, .groups = 1};
    return TS_OK;
}

/* ts_averages says how they start. With cosine of about length 1. */
static ts_codebook_state ema_state(ts_scope s, const ts_vector_ema_options *o)
{
    ts_dtype real = ts_graph_real(s.graph);
    ts_shape shape = ts_shape_of(o->codes, o->dim);
    bool one = o->averages == TS_AVERAGES_LUCIDRAINS;
    ts_init first = TS_NORMAL(0, o->cosine ? 1 / sqrt((double)o->dim) : 1);
    ts_init sum = one ? TS_COPY_OF(ts_scope_path(s, "codebook")) : first;
    return (ts_codebook_state){.codebook = ts_state(s, "codebook", real, shape, first),
                               .count = ts_state(s, "count", real, ts_shape_of(o->codes), one ? TS_ONES : TS_ZEROS),
                               .sum = ts_state(s, "sum", real, shape, sum)};
}

/* Length 1 with cosine. */
static ts_value of_length(ts_value x, const ts_vector_ema_options *o)
{
    return o->cosine ? ts_l2_normalize(x, 1e-6) : x;
}

/* What dead codes become after the step: where no row of the micro-batch counts, what they are. */
static ts_value rows_for_dead(ts_scope s, const ts_lookup *l, const ts_vector_ema_options *o)
{
    ts_value rows = of_length(ts_drawn_rows(s, l->rows, l->mask, o->codes), o);
    return l->mask.graph ? ts_where(ts_sum_all(l->mask), rows, l->codebook) : rows;
}

static void ema_build(ts_scope s, const void *options, ts_value z, ts_quantized *out)
{
    const ts_vector_ema_options *o = options;
    ts_lookup l;
    ts_enter(s);
    ts_codebook_state state = ema_state(s, o);
    if (!ts_look_up(s, of_length(state.codebook, o), of_length(z, o), o->rotation, out, &l))
        return;
    ts_commitment_loss(out, &l, o->commitment);
    if (s.mode != TS_TRAIN)
        return;
    ts_batch_statistics(out, &l);
    if (o->expire > 0)
        ts_quantized_statistic(out, "rows", rows_for_dead(s, &l, o), false);
}

static void ema_init(ts_scope s, const void *options, ts_value z)
{
    const ts_vector_ema_options *o = options;
    ts_enter(s);
    if (o->init != TS_FIRST_KMEANS)
        return;
    ts_codebook_state state = ema_state(s, o);
    ts_value rows = of_length(ts_rows(z), o);
    ts_codebook_start(&state, ts_kmeans(s, rows, ts_mask_of_rows(s), o->codes, o->kmeans_rounds, o->cosine));
}

static ts_value ema_decode(ts_scope s, const void *options, ts_value ids)
{
    ts_enter(s);
    return ts_code_rows(of_length(ema_state(s, options).codebook, options), ids);
}

/* (n + eps) / (sum n + K eps) * sum n */
static ts_value smoothed(ts_value count, const ts_vector_ema_options *o)
{
    ts_value total = ts_sum_all(count), share = ts_affine(total, 1, (double)o->codes * o->epsilon);
    return ts_mul(ts_div(ts_affine(count, 1, o->epsilon), share), total);
}

/* A code with a count below the threshold becomes its row, and so do its averages: as if it had had that row so often.
 * Without that the next step would take the code back to where it was. */
static void expire(ts_codebook_state *next, const ts_value *statistics, const ts_vector_ema_options *o)
{
    ts_value rows = statistics[2], threshold = ts_scale(ts_sum_all(statistics[0]), o->expire / (double)o->codes);
    ts_value dead = ts_column(ts_greater(threshold, next->count));
    next->codebook = ts_where(dead, rows, next->codebook);
    next->sum = ts_where(dead, ts_mul(rows, threshold), next->sum);
    next->count = ts_maximum(next->count, threshold);
}

/* n <- decay n + (1 - decay) c; m <- decay m + (1 - decay) S; e = m / smoothed(n). Zalando's n is the smoothed one. */
static void ema_update(ts_scope s, const void *options, const ts_value *statistics, ts_value ok)
{
    const ts_vector_ema_options *o = options;
    ts_enter(s);
    ts_codebook_state state = ema_state(s, o);
    ok = ts_ok_with_tokens(ok, statistics[0]);
    ts_value count = ts_moved(state.count, statistics[0], o->decay), smooth = smoothed(count, o);
    ts_codebook_state next = {.count = o->averages == TS_AVERAGES_ZALANDO ? smooth : count,
                              .sum = ts_moved(state.sum, statistics[1], o->decay)};
    next.codebook = of_length(ts_div(next.sum, ts_column(smooth)), o);
    if (o->expire > 0)
        expire(&next, statistics, o);
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
    "@forward\n"
    "[cosine]z and e are brought to length 1 first\n"
    "k = argmin_k |z - e_k|^2, the lowest id on ties\n"
    "out = e_k\n"
    "@loss\n"
    "[commitment]total += {commitment} * commitment,  commitment = mean((z - sg(e_k))^2)\n" TS_FORMULA_ROTATION
    "no gradient reaches e\n"
    "@start\n"
    "[init=normal][!cosine]e = N(0, 1)\n"
    "[init=normal][cosine]e of random directions\n"
    "[init=normal][averages=zalando]n = 0, m drawn like e but apart from it\n"
    "[init=normal][averages=lucidrains]n = 1, m = e\n"
    "[init=kmeans]e = the centres of k-means over the first batch, {kmeans_rounds} rounds; n their counts, m = n "
    "e\n"
    "@update\n"
    "c, S = how many tokens chose each code, and the sum of their z\n"
    "n = {decay} n + (1 - {decay}) c;  m = {decay} m + (1 - {decay}) S\n"
    "s = (n + {epsilon}) / (sum n + {codes} * {epsilon}) * sum n;  e = m / s\n"
    "[averages=zalando]n = s\n"
    "[cosine]e is brought to length 1\n"
    "[expire]where n < t, t = {expire} * tokens / {codes}: e = a row of the batch, n = t, m = t e\n",
};
