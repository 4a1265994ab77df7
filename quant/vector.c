#include "quant/vector.h"

#include <math.h>

#include "autograd/node.h"
#include "autograd/ops.h"

/* What all three kinds share: z [.., D] as rows, their nearest codes, and the straight-through output. */
typedef struct {
    ts_value rows;     /* [N, D] */
    ts_value ids;      /* [N]; -1 where a token does not count */
    ts_value code;     /* [N, D], the rows of the codebook */
    ts_value mask;     /* [N]: 1 where a token counts; absent where all do */
    ts_value codebook; /* [K, D] */
} lookup;

/* The scope's mask, a number for each row of z as rows; absent without one. */
static ts_value mask_of_rows(ts_scope s)
{
    return s.mask.graph ? ts_reshape(s.mask, ts_shape_of(-1)) : TS_ABSENT;
}

static bool look_up(ts_scope s, ts_value codebook, ts_value z, ts_quantized *out, lookup *l)
{
    *out = (ts_quantized){.codes = ts_poison(s.graph), .ids = ts_poison(s.graph)};
    if (!ts_present(z) || !ts_present(codebook))
        return false;
    if (ts_value_shape(z).rank < 1 || ts_dim(z, -1) != ts_dim(codebook, 1)) {
        ts_build_fail(s.graph, "nearest code", "z is %s, expected %lld channels, the codebook's dim",
                      ts_shape_print(ts_value_shape(z)).text, (long long)ts_dim(codebook, 1));
        return false;
    }
    l->codebook = codebook;
    l->rows = ts_rows(z);
    l->mask = mask_of_rows(s);
    l->ids = ts_nearest(ts_stop_gradient(l->rows), ts_stop_gradient(codebook));
    l->code = ts_gather(codebook, l->ids);
    ts_shape ids = ts_value_shape(z);
    ids.dim[ids.rank - 1] = 1;
    out->ids = ts_mask_ids(ts_reshape(l->ids, ids), s.mask);
    if (s.mask.graph)
        l->ids = ts_reshape(out->ids, ts_shape_of(-1));
    out->codes = ts_straight_through(ts_reshape(ts_stop_gradient(l->code), ts_value_shape(z)), z);
    out->codes = ts_mask_rows(out->codes, s.mask);
    return true;
}

static void commitment_loss(ts_quantized *q, const lookup *l, double weight)
{
    ts_quantized_loss(q, "commitment", ts_mse_masked(l->rows, ts_stop_gradient(l->code), l->mask), weight);
}

/* ids [.., 1] -> rows of the codebook [.., D] */
static ts_value code_rows(ts_value codebook, ts_value ids)
{
    ts_shape shape = ts_value_shape(ids);
    if (!ts_present(ids) || !ts_present(codebook))
        return ts_poison(ids.graph);
    if (ts_dim(ids, -1) != 1)
        return ts_build_fail(ids.graph, "code", "ids are %s, expected a last axis of 1", ts_shape_print(shape).text);
    shape.dim[shape.rank - 1] = ts_dim(codebook, 1);
    return ts_reshape(ts_gather(codebook, ts_reshape(ids, ts_shape_of(-1))), shape);
}

static ts_status vector_size(int64_t codes, int64_t dim, ts_quantizer_info *info)
{
    *info = (ts_quantizer_info){.codes = codes, .width = dim, .groups = 1};
    return TS_OK;
}

/* vector: the codebook is a parameter */

static const char *const inits[] = {"uniform", "normal", NULL};

#define CODES_AND_DIM(struct_)                                                                                         \
    {.name = "codes",                                                                                                  \
     .type = TS_OPTION_INT,                                                                                            \
     .offset = offsetof(struct_, codes),                                                                               \
     .fallback = "512",                                                                                                \
     .min = 1,                                                                                                         \
     .max = 1 << 24,                                                                                                   \
     .help = "codes in the codebook, K (up to 2^24: counts are exact)",                                                \
     .alias = "nb_code"},                                                                                              \
    {                                                                                                                  \
        .name = "dim", .type = TS_OPTION_INT, .offset = offsetof(struct_, dim), .fallback = "64", .min = 1,            \
        .max = 65536, .help = "width of a code, D", .alias = "code_dim"                                                \
    }
#define COMMITMENT(struct_, value)                                                                                     \
    {                                                                                                                  \
        .name = "commitment", .type = TS_OPTION_REAL, .offset = offsetof(struct_, commitment), .fallback = value,      \
        .min = 0, .max = 1e6, .help = "weight of the commitment loss mean((z - sg(e))^2)", .alias = "commitment_cost"  \
    }

#define FIELD(member) offsetof(ts_vector_options, member)
static const ts_option vector_options[] = {
    CODES_AND_DIM(ts_vector_options),
    COMMITMENT(ts_vector_options, "0.25"),
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
    return vector_size(o->codes, o->dim, info);
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
    lookup l;
    ts_enter(s);
    if (!look_up(s, vector_codebook(s, o), z, out, &l))
        return;
    ts_quantized_loss(out, "codebook", ts_mse_masked(l.code, ts_stop_gradient(l.rows), l.mask), o->codebook);
    commitment_loss(out, &l, o->commitment);
}

static ts_value vector_decode(ts_scope s, const void *options, ts_value ids)
{
    ts_enter(s);
    return code_rows(vector_codebook(s, options), ids);
}

const ts_quantizer_kind ts_vector_kind = {
    .name = "vector",
    .table = &vector_table,
    .info = vector_info,
    .build = vector_build,
    .decode = vector_decode,
    .formulas = "k = argmin |z - e_k|^2; out = z + sg(e_k - z)\n"
                "loss = codebook * mean((e_k - sg(z))^2) + commitment * mean((z - sg(e_k))^2)\n"
                "the codebook moves by the gradient of the first term only\n",
};

/* vector_ema: zalando's and sonnet's moving averages */

#define FIELD(member) offsetof(ts_vector_ema_options, member)
static const ts_option ema_options[] = {
    CODES_AND_DIM(ts_vector_ema_options),
    COMMITMENT(ts_vector_ema_options, "0.25"),
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
    {0},
};
#undef FIELD

static const ts_option_table ema_table = {.kind = "vector_ema",
                                          .help = "vector quantization, codebook by moving averages (zalando, sonnet)",
                                          .options = ema_options,
                                          .struct_bytes = sizeof(ts_vector_ema_options)};

static ts_status ema_info(const void *options, ts_quantizer_info *info, ts_error *err)
{
    const ts_vector_ema_options *o = options;
    (void)err;
    return vector_size(o->codes, o->dim, info);
}

typedef struct {
    ts_value codebook, count, sum; /* [K, D], [K], [K, D] */
} averages;

/* As in the notebook: codebook and sums start as two different draws, the counts at 0. */
static averages ema_state(ts_scope s, const ts_vector_ema_options *o)
{
    ts_dtype real = ts_graph_real(s.graph);
    ts_shape shape = ts_shape_of(o->codes, o->dim);
    return (averages){.codebook = ts_state(s, "codebook", real, shape, TS_NORMAL(0, 1)),
                      .count = ts_state(s, "count", real, ts_shape_of(o->codes), TS_ZEROS),
                      .sum = ts_state(s, "sum", real, shape, TS_NORMAL(0, 1))};
}

/* Rows per code and their sums: [K] and [K, D]. */
static void batch_statistics(ts_quantized *q, const lookup *l)
{
    int64_t codes = ts_dim(l->codebook, 0);
    ts_value rows = ts_stop_gradient(l->rows);
    ts_quantized_statistic(q, "count", ts_cast(ts_count(l->ids, codes), ts_type_of(rows).dtype), true);
    ts_quantized_statistic(q, "sum", ts_scatter_add(rows, l->ids, codes), true);
}

static void ema_build(ts_scope s, const void *options, ts_value z, ts_quantized *out)
{
    const ts_vector_ema_options *o = options;
    lookup l;
    ts_enter(s);
    averages state = ema_state(s, o);
    if (!look_up(s, state.codebook, z, out, &l))
        return;
    commitment_loss(out, &l, o->commitment);
    if (s.mode == TS_TRAIN)
        batch_statistics(out, &l);
}

static ts_value ema_decode(ts_scope s, const void *options, ts_value ids)
{
    ts_enter(s);
    return code_rows(ema_state(s, options).codebook, ids);
}

static ts_value moved(ts_value average, ts_value now, double decay)
{
    return ts_add(ts_scale(average, decay), ts_scale(now, 1 - decay));
}

/* ok, and 0 in a step in which no token counted: moving averages that have met nothing yet are 0/0. */
static ts_value ok_with_tokens(ts_value ok, ts_value count)
{
    ts_value any = ts_greater(ts_sum_all(count), ts_scalar(count.graph, 0));
    return ok.graph ? ts_mul(ok, any) : any;
}

/* v [K] as a column, to stand beside [K, D] */
static ts_value column(ts_value v)
{
    return ts_reshape(v, ts_shape_of(ts_dim(v, 0), 1));
}

/* n <- smooth(decay n + (1 - decay) c), where smooth(n) = (n + eps) / (sum n + K eps) * sum n is stored back, as
 * upstream does; m <- decay m + (1 - decay) S; e = m / n */
static void ema_update(ts_scope s, const void *options, const ts_value *statistics, ts_value ok)
{
    const ts_vector_ema_options *o = options;
    ts_enter(s);
    averages state = ema_state(s, o);
    ok = ok_with_tokens(ok, statistics[0]);
    ts_value count = moved(state.count, statistics[0], o->decay);
    ts_value total = ts_sum_all(count);
    ts_value smooth =
        ts_mul(ts_div(ts_affine(count, 1, o->epsilon), ts_affine(total, 1, (double)o->codes * o->epsilon)), total);
    ts_value sum = moved(state.sum, statistics[1], o->decay);
    ts_assign(state.codebook, ts_div(sum, column(smooth)), ok);
    ts_assign(state.count, smooth, ok);
    ts_assign(state.sum, sum, ok);
}

const ts_quantizer_kind ts_vector_ema_kind = {
    .name = "vector_ema",
    .table = &ema_table,
    .info = ema_info,
    .build = ema_build,
    .decode = ema_decode,
    .update = ema_update,
    .formulas = "k = argmin |z - e_k|^2; out = z + sg(e_k - z); loss = commitment * mean((z - sg(e_k))^2)\n"
                "after the step: n = decay*n + (1-decay)*count; n = (n + eps)/(sum n + K*eps) * sum n\n"
                "                m = decay*m + (1-decay)*sum of rows; e = m / n\n",
};

/* vector_reset: T2M-GPT's QuantizeEMAReset, QuantizeEMA (reset: false) and QuantizeReset (ema: false) */

#define FIELD(member) offsetof(ts_vector_reset_options, member)
static const ts_option reset_options[] = {
    CODES_AND_DIM(ts_vector_reset_options),
    COMMITMENT(ts_vector_reset_options, "0.02"),
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
    return vector_size(o->codes, o->dim, info);
}

/* The codebook is 0 until the first batch's rows are in it (init). */
static averages reset_state(ts_scope s, const ts_vector_reset_options *o)
{
    ts_dtype real = ts_graph_real(s.graph);
    ts_shape shape = ts_shape_of(o->codes, o->dim);
    averages a = {.codebook = ts_state(s, "codebook", real, shape, TS_ZEROS), .count = TS_ABSENT, .sum = TS_ABSENT};
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
    ts_value tiled = ts_tile_rows(ts_stop_gradient(rows), mask, codes);
    if (!ts_present(tiled) || (!mask.graph && ts_dim(rows, 0) >= codes))
        return tiled;
    if (!s.random.graph)
        return ts_build_fail(s.graph, "vector_reset",
                             "fewer rows than codes need random numbers, and the scope has none");
    ts_value noise = ts_scale(ts_rand_normal(s.random, ts_value_shape(tiled)), 0.01 / sqrt((double)ts_dim(rows, 1)));
    if (mask.graph)
        noise = ts_mul(noise, ts_greater(ts_scalar(s.graph, (double)codes), ts_sum_all(mask)));
    return ts_add(tiled, noise);
}

/* What dead codes become after the step: where no row of the micro-batch counts, what they are. */
static ts_value rows_for_dead(ts_scope s, const lookup *l, int64_t codes)
{
    ts_value rows = rows_for_codes(s, l->rows, l->mask, codes);
    return l->mask.graph ? ts_where(ts_sum_all(l->mask), rows, l->codebook) : rows;
}

static void reset_build(ts_scope s, const void *options, ts_value z, ts_quantized *out)
{
    const ts_vector_reset_options *o = options;
    lookup l;
    ts_enter(s);
    averages state = reset_state(s, o);
    if (!look_up(s, state.codebook, z, out, &l))
        return;
    commitment_loss(out, &l, o->commitment);
    if (s.mode != TS_TRAIN)
        return;
    batch_statistics(out, &l);
    if (o->reset)
        ts_quantized_statistic(out, "rows", rows_for_dead(s, &l, o->codes), false);
}

static ts_value reset_decode(ts_scope s, const void *options, ts_value ids)
{
    ts_enter(s);
    return code_rows(reset_state(s, options).codebook, ids);
}

static void reset_init(ts_scope s, const void *options, ts_value z)
{
    const ts_vector_reset_options *o = options;
    ts_enter(s);
    averages state = reset_state(s, o);
    ts_value first = rows_for_codes(s, ts_rows(z), mask_of_rows(s), o->codes);
    ts_assign(state.codebook, first, TS_ABSENT);
    if (o->ema)
        ts_assign(state.sum, first, TS_ABSENT);
}

/* Where nothing has used a code for so long that its average count is lost in underflow, m/n is 0/0 (with decay 0.99
 * after some 9000 steps): such a code stays what it was. */
static ts_value averaged(const averages *state, ts_value sum, ts_value count)
{
    ts_value known = ts_greater(count, ts_scalar(count.graph, 1e-20));
    return ts_where(column(known), ts_div(sum, column(count)), state->codebook);
}

/* n, m: moving averages; e = m/n where n >= threshold, else the code's row of the batch. The averages of a replaced
 * code are not reset, as upstream. Without ema: the counts of this batch alone, and a live code stays what it is. */
static void reset_update(ts_scope s, const void *options, const ts_value *statistics, ts_value ok)
{
    const ts_vector_reset_options *o = options;
    ts_enter(s);
    averages state = reset_state(s, o);
    ok = ok_with_tokens(ok, statistics[0]);
    ts_value count = statistics[0], live = state.codebook;
    if (o->ema) {
        ts_value sum = moved(state.sum, statistics[1], o->decay);
        count = moved(state.count, statistics[0], o->decay);
        live = averaged(&state, sum, count);
        ts_assign(state.count, count, ok);
        ts_assign(state.sum, sum, ok);
    }
    if (o->reset) {
        ts_value dead = ts_greater(ts_scalar(s.graph, o->threshold), count);
        live = ts_where(column(dead), statistics[2], live);
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
    .formulas = "k = argmin |z - e_k|^2; out = z + sg(e_k - z); loss = commitment * mean((z - sg(e_k))^2)\n"
                "first batch: e_i = row i (repeated with noise where there are fewer rows than codes)\n"
                "after the step: n = decay*n + (1-decay)*count; m = decay*m + (1-decay)*sum of rows\n"
                "                e_i = m_i / n_i where n_i >= threshold, else row i of the batch\n",
};
