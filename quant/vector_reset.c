#include "quant/vector.h"

#include "autograd/node.h"
#include "autograd/ops.h"
#include "quant/codebook.h"
#include "quant/kmeans.h"
#include "quant/rotation.h"

/* T2M-GPT's QuantizeEMAReset, QuantizeEMA (reset: false) and QuantizeReset (ema: false). */

static const char *const inits[] = {"rows", "kmeans", NULL};

#define FIELD(member) offsetof(ts_vector_reset_options, member)
static const ts_option reset_options[] = {
    TS_CODES_AND_DIM(ts_vector_reset_options),
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
    TS_ROTATION(ts_vector_reset_options),
    {.name = "init",
     .type = TS_OPTION_CHOICE,
     .offset = FIELD(init),
     .fallback = "rows",
     .choices = inits,
     .help = "first codebook, from the first batch: its first rows (T2M-GPT), or k-means (lucidrains)"},
    TS_KMEANS_ROUNDS_OPTION(ts_vector_reset_options),
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

static ts_status reset_info(const void *options, ts_quantizer_info *info, ts_error *err)
{
    const ts_vector_reset_options *o = options;
    if (!o->ema && !o->reset)
        return ts_fail(err, TS_ERR_USAGE,
                       "vector_reset: ema and reset are both off, so that nothing would ever move the "
                       "codebook; switch one on, or use kind vector");
    if (o->stack.layers > 1 && o->init == TS_FIRST_ROWS && !(o->reset && o->threshold > 0))
        return ts_fail(err, TS_ERR_USAGE,
                       "vector_reset: layers is %lld, and what the first layer's rows leave over is 0, so that only "
                       "resets could bring the others to their codes; set reset: true and a threshold above 0, or "
                       "init: kmeans",
                       (long long)o->stack.layers);
    TS_TRY(ts_kmeans_check("vector_reset", o->init == TS_FIRST_KMEANS, o->kmeans_rounds, err));
    *info = (ts_quantizer_info){.codes = o->codes, .width = o->dim, .groups = 1};
    return TS_OK;
}

/* The codebook is 0 until the first batch's rows are in it (init). */
static ts_codebook_state reset_state(ts_scope s, const ts_vector_reset_options *o)
{
    ts_dtype real = ts_graph_real(s.graph);
    ts_shape shape = ts_shape_of(o->codes, o->dim);
    ts_codebook_state a = {
        .codebook = ts_state(s, "codebook", real, shape, TS_ZEROS), .count = TS_ABSENT, .sum = TS_ABSENT};
    if (o->ema) {
        a.count = ts_state(s, "count", real, ts_shape_of(o->codes), TS_ONES);
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

/* What dead codes become after the step: where no row of the micro-batch counts, what they are. */
static ts_value rows_for_dead(ts_scope s, const ts_lookup *l, int64_t codes)
{
    ts_value rows = rows_for_codes(s, l->rows, l->mask, codes);
    return l->mask.graph ? ts_where(ts_sum_all(l->mask), rows, l->codebook) : rows;
}

static void reset_build(ts_scope s, const void *options, ts_value z, ts_quantized *out)
{
    const ts_vector_reset_options *o = options;
    ts_lookup l;
    ts_enter(s);
    ts_codebook_state state = reset_state(s, o);
    if (!ts_look_up(s, state.codebook, z, o->rotation, out, &l))
        return;
    ts_commitment_loss(out, &l, o->commitment);
    if (s.mode != TS_TRAIN)
        return;
    ts_batch_statistics(out, &l);
    if (o->reset)
        ts_quantized_statistic(out, "rows", rows_for_dead(s, &l, o->codes), false);
}

static ts_value reset_decode(ts_scope s, const void *options, ts_value ids)
{
    ts_enter(s);
    return ts_code_rows(reset_state(s, options).codebook, ids);
}

static void reset_init(ts_scope s, const void *options, ts_value z)
{
    const ts_vector_reset_options *o = options;
    ts_enter(s);
    ts_codebook_state state = reset_state(s, o);
    ts_value rows = ts_rows(z), mask = ts_mask_of_rows(s);
    if (o->init == TS_FIRST_KMEANS) {
        ts_codebook_start(&state, ts_kmeans(s, rows, mask, o->codes, o->kmeans_rounds, false));
        return;
    }
    ts_value first = rows_for_codes(s, rows, mask, o->codes);
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

/* n, m: moving averages; e = m/n where n >= threshold, else the code's row of the batch. The averages of a replaced
 * code are not reset, as upstream. Without ema: the counts of this batch alone, and a live code stays what it is. */
static void reset_update(ts_scope s, const void *options, const ts_value *statistics, ts_value ok)
{
    const ts_vector_reset_options *o = options;
    ts_enter(s);
    ts_codebook_state state = reset_state(s, o);
    ok = ts_ok_with_tokens(ok, statistics[0]);
    ts_value count = statistics[0], live = state.codebook;
    if (o->ema) {
        ts_value sum = ts_moved(state.sum, statistics[1], o->decay);
        count = ts_moved(state.count, statistics[0], o->decay);
        live = averaged(&state, sum, count);
        ts_assign(state.count, count, ok);
        ts_assign(state.sum, sum, ok);
    }
    if (o->reset) {
        ts_value dead = ts_greater(ts_scalar(s.graph, o->threshold), count);
        live = ts_where(ts_column(dead), statistics[2], live);
    }
    ts_assign(state.codebook, live, ok);
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
    "@forward\n"
    "k = argmin_k |z - e_k|^2, the lowest id on ties\n"
    "out = e_k\n"
    "@loss\n"
    "[commitment]total += {commitment} * commitment,  commitment = mean((z - sg(e_k))^2)\n" TS_FORMULA_ROTATION
    "no gradient reaches e\n"
    "@start\n"
    "[init=rows]e_k = row k of the first batch; where it has fewer rows than codes, rows repeat with noise\n"
    "[init=kmeans]e = the centres of k-means over the first batch, {kmeans_rounds} rounds\n"
    "@update\n"
    "c, S = how many tokens chose each code, and the sum of their z\n"
    "[ema]n = {decay} n + (1 - {decay}) c;  m = {decay} m + (1 - {decay}) S;  e = m / n\n"
    "[!ema]n = c of this step alone\n"
    "[reset]where n < {threshold}: e_k = row k of the batch\n",
};
