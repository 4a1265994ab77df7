/* Two programs over the same pasts, for many tokens and for one: any number of tokens is some runs of the first and
 * some of the second. Their graphs are built by the model's own code, so their layers come in the same order. */
#include "models/stream.h"

#include <string.h>

#include "autograd/precision.h"
#include "core/memory.h"
#include "layers/causal.h"

typedef struct {
    ts_graph *graph;
    ts_program *program;
    ts_pasts pasts;
    int64_t tokens;
    ts_value x, z, ids, y; /* those that the kind has */
} part;

struct ts_stream {
    ts_tokenizer tokenizer;
    ts_stream_kind kind;
    part parts[2]; /* the one for more tokens first */
    int part_count;
    int64_t per_token; /* frames */
    float *past;       /* of all layers, one after the other */
    size_t past_bytes;
    float *x;        /* [frames of parts[0], C]: what the next run takes */
    int64_t waiting; /* frames in x that are no whole token yet */
};

/* ---- programs ---- */

static void build(ts_stream *s, part *p, ts_store *store, int block)
{
    const ts_tokenizer *t = &s->tokenizer;
    ts_scope scope = {.graph = p->graph, .store = store, .path = "", .mode = TS_EVAL, .block = block};
    scope.pasts = &p->pasts;
    if (s->kind == TS_STREAM_DECODE) {
        p->ids = ts_input(p->graph, "ids", TS_I32, ts_shape_of(1, p->tokens, t->info.groups));
        p->y = ts_tokenizer_decode(scope, t, p->ids);
        ts_output(p->y, "y");
        return;
    }
    ts_quantized q;
    p->x = ts_input(p->graph, "x", TS_F32, ts_shape_of(1, p->tokens * s->per_token, t->item.dim[1]));
    p->z = ts_tokenizer_z(scope, t, p->x);
    ts_quantize(t->quantizer, ts_sub(scope, "quantizer"), t->quantizer_options, p->z, &q);
    p->ids = q.ids;
    ts_output(p->z, "z");
    ts_output(p->ids, "ids");
}

static ts_status open_part(ts_stream *s, int64_t tokens, ts_store *store, ts_workspace *workspace, ts_stream_options o,
                           ts_error *err)
{
    part *p = &s->parts[s->part_count++];
    *p = (part){.graph = ts_graph_new(TS_F32), .tokens = tokens};
    if (!p->graph)
        return ts_out_of_memory(err, 0);
    build(s, p, store, o.block);
    if (o.bf16)
        ts_round_products(p->graph);
    if (!p->ids.graph)
        return ts_fail(err, TS_ERR_USAGE, "the quantizer computes no ids (quantizer.indices is false)");
    return ts_program_new(p->graph, workspace, &p->program, err);
}

static size_t bytes_of(ts_value v)
{
    return (size_t)ts_shape_count(ts_value_shape(v)) * sizeof(float);
}

static ts_status allocate(ts_stream *s, ts_error *err)
{
    const part *p = &s->parts[0];
    for (int i = 0; i < p->pasts.count; i++)
        s->past_bytes += bytes_of(p->pasts.layer[i].before);
    size_t x_bytes = (size_t)(p->tokens * s->per_token * s->tokenizer.item.dim[1]) * sizeof *s->x;
    s->past = ts_calloc(1, s->past_bytes);
    s->x = ts_calloc(1, x_bytes);
    return s->past && s->x ? TS_OK : ts_out_of_memory(err, s->past_bytes + x_bytes);
}

static ts_status check(const ts_tokenizer *t, ts_error *err)
{
    if (!t->model->streams)
        return ts_fail(err, TS_ERR_USAGE, "%s: items are no sequences of frames; block by block goes motion_conv",
                       t->model->name);
    return t->model->streams(t->model_options, err);
}

static ts_status open_all(ts_stream *s, ts_store *store, ts_workspace *workspace, ts_stream_options o, ts_error *err)
{
    s->per_token = s->tokenizer.item.dim[0] / s->tokenizer.tokens.dim[0];
    if (o.tokens > 1)
        TS_TRY(open_part(s, o.tokens, store, workspace, o, err));
    TS_TRY(open_part(s, 1, store, workspace, o, err));
    return allocate(s, err);
}

ts_status ts_stream_new(ts_stream **stream, const ts_tokenizer *tokenizer, ts_store *store, ts_workspace *workspace,
                        ts_stream_options options, ts_error *err)
{
    *stream = NULL;
    TS_TRY(check(tokenizer, err));
    ts_stream *s = ts_calloc(1, sizeof *s);
    if (!s)
        return ts_out_of_memory(err, sizeof *s);
    s->tokenizer = *tokenizer;
    s->kind = options.kind;
    ts_status status = open_all(s, store, workspace, options, err);
    if (status == TS_OK)
        *stream = s;
    else
        ts_stream_free(s);
    return status;
}

void ts_stream_free(ts_stream *s)
{
    if (!s)
        return;
    for (int i = 0; i < s->part_count; i++) {
        ts_program_free(s->parts[i].program);
        ts_graph_free(s->parts[i].graph);
    }
    ts_free(s->past);
    ts_free(s->x);
    ts_free(s);
}

void ts_stream_reset(ts_stream *s)
{
    memset(s->past, 0, s->past_bytes);
    s->waiting = 0;
}

/* ---- runs ---- */

static ts_status run(ts_stream *s, const part *p, ts_error *err)
{
    float *past = s->past;
    for (int i = 0; i < p->pasts.count; past += bytes_of(p->pasts.layer[i++].before) / sizeof *past)
        ts_program_set(p->program, p->pasts.layer[i].before, past);
    TS_TRY(ts_program_run(p->program, err));
    past = s->past;
    for (int i = 0; i < p->pasts.count; past += bytes_of(p->pasts.layer[i++].after) / sizeof *past)
        ts_program_get(p->program, p->pasts.layer[i].after, past);
    return TS_OK;
}

/* For as many as fit in `tokens`; NULL for none. */
static const part *part_for(const ts_stream *s, int64_t tokens)
{
    for (int i = 0; i < s->part_count; i++)
        if (tokens >= s->parts[i].tokens)
            return &s->parts[i];
    return NULL;
}

int64_t ts_stream_frames_per_token(const ts_stream *s)
{
    return s->per_token;
}

int64_t ts_stream_tokens(const ts_stream *s, int64_t frames)
{
    return (s->waiting + frames) / s->per_token;
}

ts_status ts_stream_encode(ts_stream *s, const float *x, int64_t frames, int32_t *ids, float *z, ts_error *err)
{
    int64_t columns = s->tokenizer.item.dim[1];
    for (;;) {
        const part *p = part_for(s, ts_stream_tokens(s, frames));
        int64_t fresh = p ? p->tokens * s->per_token - s->waiting : frames;
        memcpy(s->x + s->waiting * columns, x, (size_t)(fresh * columns) * sizeof *x);
        x += fresh * columns;
        frames -= fresh;
        s->waiting = p ? 0 : s->waiting + fresh;
        if (!p)
            return TS_OK;
        ts_program_set(p->program, p->x, s->x);
        TS_TRY(run(s, p, err));
        ts_program_get(p->program, p->ids, ids);
        ids += p->tokens * s->tokenizer.info.groups;
        if (z) {
            ts_program_get(p->program, p->z, z);
            z += p->tokens * s->tokenizer.info.width;
        }
    }
}

ts_status ts_stream_decode(ts_stream *s, const int32_t *ids, int64_t tokens, float *y, ts_error *err)
{
    for (const part *p; (p = part_for(s, tokens)); tokens -= p->tokens) {
        ts_program_set(p->program, p->ids, ids);
        TS_TRY(run(s, p, err));
        ts_program_get(p->program, p->y, y);
        ids += p->tokens * s->tokenizer.info.groups;
        y += p->tokens * s->per_token * s->tokenizer.item.dim[1];
    }
    return TS_OK;
}
