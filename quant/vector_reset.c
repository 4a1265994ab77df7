#include "quant/vector.h"

#include "autograd/node.h"
#include "autograd/ops.h"
#include "quant/code_options.h"
#include "quant/codebook.h"
#include "quant/kmeans.h"

/* T2M-GPT's QuantizeEMAReset, QuantizeEMA (reset: false) and QuantizeReset (ema: false). */

static const char *const inits[] = {"rows", "kmeans", NULL};

#define FIELD(member) offsetof(ts_vector_reset_options, member)
static const ts_option reset_options[] = {
    TS_CODES_AND_DIM(ts_vector_reset_options),
    TS_HEADS(ts_vector_reset_options),
    TS_COMMITMENT(ts_vector_reset_options, "0.02"),
    {.name = "decay",
     .type = TS_OPTION_REAL,
     .offset = FIELD(decay),
     .fallback = "0.99",
     .min = 0,
     .max = 1,
     .help = "of the moving averages of counts and sums",
     .alias = "mu"},
    {.name = "ema",
     .type = TS_OPTION_BOOL,
     .offset = FIELD(ema),
     .fallback = "true",
     .help = "the codebook follows the moving averages; else only resets change it"},
    {.name = "reset",
     .type = TS_OPTION_BOOL,
     .offset = FIELD(reset),
     .fallback = "true",
     .help = "dead codes take rows of the batch"},
    {.name = "threshold",
     .type = TS_OPTION_REAL,
     .offset = FIELD(threshold),
     .fallback = "1",
     .min = 0,
     .max = 1e9,
     .help = "a code with a (moving) count below this is dead, in tokens per step"},
    {.name = "expire",
     .type = TS_OPTION_REAL,
     .offset = FIELD(expire),
     .fallback = "0",
     .min = 0,
     .max = 1,
     .help = "the threshold as a share of the tokens per code, which fits any batch and K; 0: as threshold says"},
    {.name = "reset_averages",
     .type = TS_OPTION_BOOL,
     .offset = FIELD(reset_averages),
     .fallback = "false",
     .help = "the averages of a replaced code start again at its row (T2M-GPT: they go on, false)"},
    TS_ROTATION(ts_vector_reset_options),
    TS_COSINE(ts_vector_reset_options),
    {.name = "init",
     .type = TS_OPTION_CHOICE,
     .offset = FIELD(init),
     .fallback = "rows",
     .choices = inits,
     .help = "first codebook, from the first batch: its first rows (T2M-GPT), or k-means (lucidrains)"},
    TS_KMEANS(ts_vector_reset_options),
    TS_GROUPS_OPTION,
    TS_LAYERS_OPTIONS,
    TS_SHARED_OPTION,
    {0},
};
#undef FIELD

static const ts_option_table reset_table = {
    .kind = "vector_reset",
    .help = "vector quantization with moving averages and reset of dead codes (T2M-GPT)",
    .options = reset_options,
    .struct_bytes = sizeof(ts_vector_reset_options)};

static ts_search search_of(const ts_vector_reset_options *o)
{
    return (ts_search){
        .shape = ts_code_shape_of(o->codes, o->dim, &o->heads), .rotation = o->rotation, .cosine = o->cosine};
}

static ts_status check_resets(const ts_vector_reset_options *o, ts_error *err)
{
    if (!o->ema && !o->reset)
        return ts_fail(err, TS_ERR_USAGE,
                       "vector_reset: ema and reset are both off, so that nothing would ever move the "
                       "codebook; switch one on, or use kind vector");
    if (o->stack.layers > 1 && o->init == TS_FIRST_ROWS && !(o->reset && (o->threshold > 0 || o->expire > 0)))
        return ts_fail(err, TS_ERR_USAGE,
                       "vector_reset: layers is %lld, and what the first layer's rows leave over is 0, so that only "
                       "resets could bring the others to their codes; set reset: true and a threshold above 0, or "
                       "init: kmeans",
                       (long long)o->stack.layers);
    if (o->expire > 0 && !o->reset)
        return ts_fail(
            err, TS_ERR_USAGE,
            "vector_reset: expire is %g, and reset is false, so that no code is replaced; set reset to true, "
            "or leave expire out",
            o->expire);
    if (o->reset_averages && !(o->ema && o->reset))
        return ts_fail(err, TS_ERR_USAGE,
                       "vector_reset: reset_averages is true, and %s is false, so that there are none; leave it out",
                       o->ema ? "reset" : "ema");
    return TS_OK;
}

static ts_status reset_info(const void *options, ts_quantizer_info *info, ts_error *err)
{
    const ts_vector_reset_options *o = options;
    bool kmeans = o->init == TS_FIRST_KMEANS;
    ts_search how = search_of(o);
    TS_TRY(check_resets(o, err));
    TS_TRY(ts_search_check("vector_reset", &how, &o->heads, err));
    TS_TRY(ts_kmeans_check("vector_reset", kmeans, &o->kmeans, err));
    *info = ts_info_of(&how);
    info->init_batches = kmeans ? ts_kmeans_batches(true, &o->kmeans) : 1;
    return TS_OK;
}

/* The codebook is 0 until the first batch's rows are in it (init). */
static ts_codebook_state reset_state(ts_scope s, const ts_vector_reset_options *o)
{
    ts_dtype real = ts_graph_real(s.graph);
    ts_code_shape code = ts_code_shape_of(o->codes, o->dim, &o->heads);
    ts_shape shape = ts_codebook_shape(&code);
    ts_codebook_state a = {
        .codebook = ts_state(s, "codebook", real, shape, TS_ZEROS), .count = TS_ABSENT, .sum = TS_ABSENT};
    if (o->ema) {
        a.count = ts_state(s, "count", real, ts_shape_of(shape.dim[0]), TS_ONES);
        a.sum = ts_state(s, "sum", real, shape, TS_ZEROS);
    }
    return a;
}

/* K rows of the batch: row i for code i. With fewer rows than codes the batch is repeated, and every copy gets noise of
 * deviation 0.01/sqrt(D), so that no two codes are the same. With a mask, rows are those that count, and how many they
 * are is known only when the graph is run. */
static ts_value rows_for_codes(ts_scope s, ts_value rows, ts_value mask, int64_t codes)
{
    return ts_rows_apart(s, ts_tile_rows(ts_stop_gradient(rows), mask, codes), rows, mask);
}

static void reset_build(ts_scope s, const void *options, ts_value z, ts_quantized *out)
{
    const ts_vector_reset_options *o = options;
    ts_search how = search_of(o);
    ts_lookup l;
    ts_enter(s);
    ts_codebook_state state = reset_state(s, o);
    if (!ts_look_up(s, &how, state.codebook, z, out, &l))
        return;
    ts_commitment_loss(out, &l, o->commitment, false);
    if (s.mode != TS_TRAIN)
        return;
    /* the rows first: what draws them is gone when the sums are made, and with many codes these are the peak */
    ts_value rows = o->reset ? ts_rows_for_dead(s, &l, rows_for_codes) : TS_ABSENT;
    ts_batch_statistics(out, &l);
    if (o->reset)
        ts_quantized_statistic(out, "rows", rows, false);
}

static ts_value reset_decode(ts_scope s, const void *options, ts_value ids)
{
    ts_search how = search_of(options);
    ts_enter(s);
    return ts_tokens_of_ids(s, &how, reset_state(s, options).codebook, ids);
}

static void reset_init(ts_scope s, const void *options, ts_value z)
{
    const ts_vector_reset_options *o = options;
    ts_search how = search_of(o);
    ts_enter(s);
    ts_codebook_state state = reset_state(s, o);
    ts_value rows = ts_rows_of_tokens(s, &how, z), mask = ts_mask_of_rows(s, &how.shape);
    if (o->init == TS_FIRST_KMEANS) {
        ts_codebook_start(&state, ts_kmeans(s, &how.shape, rows, mask, o->kmeans.rounds, o->cosine));
        return;
    }
    ts_value first = ts_of_length(ts_rows_for_codes(s, &how.shape, rows, mask, rows_for_codes), o->cosine);
    ts_assign(state.codebook, first, TS_ABSENT);
    if (o->ema)
        ts_assign(state.sum, first, TS_ABSENT);
}

/* Where nothing has used a code for so long that its average count is lost in underflow, m/n is 0/0 (with decay 0.99
 * after some 9000 steps): such a code stays what it was. */
static ts_value averaged(const ts_codebook_state *state, ts_value sum, ts_value count)
{
    ts_value known = ts_greater(count, ts_scalar(count.graph, 1e-20));
    return ts_where(ts_column(known), ts_div(sum, ts_column(count)), state->codebook);
}

/* Counts below it are those of dead codes. */
static ts_value threshold_of(ts_scope s, const ts_value *statistics, const ts_vector_reset_options *o)
{
    return o->expire > 0 ? ts_share_of_count(statistics[0], o->expire) : ts_scalar(s.graph, o->threshold);
}

/* Dead codes take their rows; their averages go on, as upstream, or stand for so many of those rows. */
static void reset_dead(ts_scope s, ts_codebook_state *next, const ts_value *statistics,
                       const ts_vector_reset_options *o)
{
    ts_value threshold = threshold_of(s, statistics, o), rows = statistics[2];
    ts_value dead = ts_column(ts_greater(threshold, next->count));
    next->codebook = ts_where(dead, rows, next->codebook);
    if (!o->reset_averages)
        return;
    next->sum = ts_where(dead, ts_mul(rows, threshold), next->sum);
    next->count = ts_maximum(next->count, threshold);
}

/* n, m: moving averages; e = m/n where n >= threshold, else the code's row of the batch. Without ema: the counts of
 * this batch alone, and a live code stays what it is. */
static void reset_update(ts_scope s, const void *options, const ts_value *statistics, ts_value ok)
{
    const ts_vector_reset_options *o = options;
    ts_enter(s);
    ts_codebook_state state = reset_state(s, o), next = {.codebook = state.codebook, .count = statistics[0]};
    ok = ts_ok_with_tokens(ok, statistics[0]);
    if (o->ema) {
        next.sum = ts_moved(state.sum, statistics[1], o->decay);
        next.count = ts_moved(state.count, statistics[0], o->decay);
        next.codebook = ts_of_length(averaged(&state, next.sum, next.count), o->cosine);
    }
    if (o->reset)
        reset_dead(s, &next, statistics, o);
    ts_assign(state.codebook, next.codebook, ok);
    if (!o->ema)
        return;
    ts_assign(state.count, next.count, ok);
    ts_assign(state.sum, next.sum, ok);
}

const ts_quantizer_kind ts_vector_reset_kind = {
    .name = "vector_reset",
    .table = &reset_table,
    .info = reset_info,
    .build = reset_build,
    .decode = reset_decode,
    .init = reset_init,
    .update = reset_update,
    .formulas = TS_FORMULA_STACK TS_FORMULA_SHARED
    "@forward\n" TS_FORMULA_TOKENS "k = argmin_k |z - e_k|^2, the lowest id on ties\n" TS_FORMULA_OUT "@loss\n"
    "[commitment]total += {commitment} * commitment,  commitment = mean((z - sg(e_k))^2)\n" TS_FORMULA_ROTATION
    "no gradient reaches e\n"
    "@start\n"
    "[init=rows]e_k = row k of the first batch; where it has fewer rows than codes, rows repeat with noise\n"
    "[init=kmeans]e = the centres of k-means over the first {kmeans_batches} batches, {kmeans_rounds} rounds\n"
    "@update\n"
    "c, S = how many tokens chose each code, and the sum of their z\n"
    "[ema]n = {decay} n + (1 - {decay}) c;  m = {decay} m + (1 - {decay}) S;  e = m / n\n"
    "[!ema]n = c of this step alone\n"
    "[cosine]e is brought to length 1\n"
    "[reset][!expire]t = {threshold}\n"
    "[reset][expire]t = {expire} * tokens / {codes}\n"
    "[reset]where n < t: e_k = row k of the batch\n"
    "[reset_averages]     and n = t, m = t e_k\n",
};
