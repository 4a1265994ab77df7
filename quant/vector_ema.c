#include "quant/vector.h"

#include "autograd/node.h"
#include "autograd/ops.h"
#include "quant/codebook.h"

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
    (void)err;
    *info = (ts_quantizer_info){.codes = o->codes, .width = o->dim, .groups = 1};
    return TS_OK;
}

/* ts_averages says how they start. */
static ts_codebook_state ema_state(ts_scope s, const ts_vector_ema_options *o)
{
    ts_dtype real = ts_graph_real(s.graph);
    ts_shape shape = ts_shape_of(o->codes, o->dim);
    bool one = o->averages == TS_AVERAGES_LUCIDRAINS;
    ts_init sum = one ? TS_COPY_OF(ts_scope_path(s, "codebook")) : TS_NORMAL(0, 1);
    return (ts_codebook_state){.codebook = ts_state(s, "codebook", real, shape, TS_NORMAL(0, 1)),
                               .count = ts_state(s, "count", real, ts_shape_of(o->codes), one ? TS_ONES : TS_ZEROS),
                               .sum = ts_state(s, "sum", real, shape, sum)};
}

static void ema_build(ts_scope s, const void *options, ts_value z, ts_quantized *out)
{
    const ts_vector_ema_options *o = options;
    ts_lookup l;
    ts_enter(s);
    ts_codebook_state state = ema_state(s, o);
    if (!ts_look_up(s, state.codebook, z, o->rotation, out, &l))
        return;
    ts_commitment_loss(out, &l, o->commitment);
    if (s.mode == TS_TRAIN)
        ts_batch_statistics(out, &l);
}

static ts_value ema_decode(ts_scope s, const void *options, ts_value ids)
{
    ts_enter(s);
    return ts_code_rows(ema_state(s, options).codebook, ids);
}

/* (n + eps) / (sum n + K eps) * sum n */
static ts_value smoothed(ts_value count, const ts_vector_ema_options *o)
{
    ts_value total = ts_sum_all(count), share = ts_affine(total, 1, (double)o->codes * o->epsilon);
    return ts_mul(ts_div(ts_affine(count, 1, o->epsilon), share), total);
}

/* n <- decay n + (1 - decay) c; m <- decay m + (1 - decay) S; e = m / smoothed(n). Zalando's n is the smoothed one. */
static void ema_update(ts_scope s, const void *options, const ts_value *statistics, ts_value ok)
{
    const ts_vector_ema_options *o = options;
    ts_enter(s);
    ts_codebook_state state = ema_state(s, o);
    ok = ts_ok_with_tokens(ok, statistics[0]);
    ts_value count = ts_moved(state.count, statistics[0], o->decay), smooth = smoothed(count, o);
    ts_value sum = ts_moved(state.sum, statistics[1], o->decay);
    ts_assign(state.codebook, ts_div(sum, ts_column(smooth)), ok);
    ts_assign(state.count, o->averages == TS_AVERAGES_ZALANDO ? smooth : count, ok);
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
                "after the step: n = decay*n + (1-decay)*count; s = (n + eps)/(sum n + K*eps) * sum n\n"
                "                m = decay*m + (1-decay)*sum of rows; e = m / s; averages: zalando: n = s\n",
};
