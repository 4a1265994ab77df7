#include "models/session.h"

#include <inttypes.h>
#include <string.h>

#include "autograd/fold.h"
#include "autograd/fuse.h"
#include "autograd/precision.h"
#include "core/memory.h"
#include "models/by_length.h"

enum { ENCODE, DECODE };

typedef struct {
    ts_graph *graph;
    ts_program *program;
    ts_value in, out;
} part;

/* Items and ids are both made of units: an image is one, motion has one for each token. Values of x, y and ids have 4
 * bytes each. */
struct ts_session {
    ts_session_options o;
    int64_t frames;  /* of a token; 0: items are images */
    int64_t unit[2]; /* values of a unit of what goes into ENCODE and DECODE: of items, of ids */
    int64_t longest; /* units in one run */
    ts_by_length programs;
    char *in, *out;  /* of one run */
    int64_t room[2]; /* bytes in them */
};

void ts_rows_normalize(const float *mean, const float *std, int64_t columns, int64_t rows, float *x)
{
    for (int64_t t = 0; mean && t < rows; t++, x += columns)
        for (int64_t i = 0; i < columns; i++)
            x[i] = (x[i] - mean[i]) / std[i];
}

void ts_rows_restore(const float *mean, const float *std, int64_t columns, int64_t rows, float *x)
{
    for (int64_t t = 0; mean && t < rows; t++, x += columns)
        for (int64_t i = 0; i < columns; i++)
            x[i] = x[i] * std[i] + mean[i];
}

/* ---- programs ---- */

static void close_part(void *program)
{
    part *p = program;
    ts_program_free(p->program);
    ts_graph_free(p->graph);
    ts_free(p);
}

static ts_shape batch_of(ts_shape item, int64_t batch)
{
    ts_shape shape = {.rank = item.rank + 1, .dim = {batch}};
    memcpy(shape.dim + 1, item.dim, (size_t)item.rank * sizeof *item.dim);
    return shape;
}

static void build(const ts_session *s, part *p, const ts_tokenizer *t, int kind)
{
    ts_scope scope = {.graph = p->graph, .store = s->o.store, .path = "", .mode = TS_EVAL, .block = s->o.block};
    ts_shape ids = batch_of(t->tokens, s->o.batch);
    ids.dim[ids.rank++] = t->info.groups;
    p->in = kind == ENCODE ? ts_input(p->graph, "x", TS_F32, batch_of(t->item, s->o.batch))
                           : ts_input(p->graph, "ids", TS_I32, ids);
    p->out = kind == ENCODE ? ts_tokenizer_encode(scope, t, p->in) : ts_tokenizer_decode(scope, t, p->in);
    ts_output(p->out, kind == ENCODE ? "ids" : "y");
    if (s->o.fold)
        ts_fold_upsampling(p->graph);
    if (s->o.bf16)
        ts_round_products(p->graph);
    if (s->o.fuse)
        ts_fuse(p->graph);
}

static ts_status plan(const ts_session *s, part *p, int kind, int64_t units, ts_error *err)
{
    ts_tokenizer t = *s->o.tokenizer;
    if (s->frames)
        t.item.dim[0] = units * s->frames;
    TS_TRY(ts_tokenizer_check(&t, err));
    if (!(p->graph = ts_graph_new(TS_F32)))
        return ts_out_of_memory(err, 0);
    build(s, p, &t, kind);
    if (!p->out.graph)
        return ts_fail(err, TS_ERR_USAGE, "the quantizer computes no ids (quantizer.indices is false)");
    return ts_program_new(p->graph, s->o.workspace, &p->program, err);
}

static ts_status open_part(void *owner, int kind, int64_t units, void **program, ts_error *err)
{
    part *p = ts_calloc(1, sizeof *p);
    if (!p)
        return ts_out_of_memory(err, sizeof *p);
    ts_status status = plan(owner, p, kind, units, err);
    if (status == TS_OK)
        *program = p;
    else
        close_part(p);
    return status;
}

/* ---- life ---- */

static void release_device(const ts_session_options *o)
{
    if (!o->owns_device)
        return;
    ts_workspace_free(o->workspace);
    ts_device_close(o->device);
}

ts_status ts_session_new(ts_session **session, const ts_session_options *options, ts_error *err)
{
    const ts_tokenizer *t = options->tokenizer;
    ts_session *s = *session = ts_calloc(1, sizeof *s);
    if (!s) {
        release_device(options);
        return ts_out_of_memory(err, sizeof *s);
    }
    bool motion = t->item.rank == 2 && t->tokens.rank == 1;
    s->o = *options;
    s->programs = (ts_by_length){.open = open_part, .close = close_part, .owner = s};
    s->frames = motion ? t->item.dim[0] / t->tokens.dim[0] : 0;
    s->unit[ENCODE] = motion ? s->frames * t->item.dim[1] : ts_shape_count(t->item);
    s->unit[DECODE] = (motion ? 1 : ts_shape_count(t->tokens)) * t->info.groups;
    s->longest = motion && options->longest ? options->longest / s->frames : INT64_MAX / 2;
    s->longest = s->longest < 1 ? 1 : s->longest;
    return TS_OK;
}

void ts_session_free(ts_session *s)
{
    if (!s)
        return;
    ts_by_length_clear(&s->programs);
    release_device(&s->o);
    ts_free(s->in);
    ts_free(s->out);
    ts_free(s);
}

int64_t ts_session_tokens(const ts_session *s, int64_t frames)
{
    return frames && s->frames ? frames / s->frames : ts_shape_count(s->o.tokenizer->tokens);
}

int64_t ts_session_frames(const ts_session *s, int64_t tokens)
{
    return s->frames ? (tokens ? tokens : s->o.tokenizer->tokens.dim[0]) * s->frames : 0;
}

int64_t ts_session_planned(const ts_session *s)
{
    return s->programs.planned;
}

/* ---- runs ---- */

/* Between the caller's memory and a program. */
typedef struct {
    int kind;
    const char *in;
    char *out;
    int64_t items, units;
    int64_t in_item; /* values from one item to the next: an item that is cropped has more than its units */
} job;

static ts_status grow(char **memory, int64_t *room, int64_t values, ts_error *err)
{
    int64_t bytes = values * (int64_t)sizeof(float);
    if (bytes <= *room)
        return TS_OK;
    ts_free(*memory);
    *room = 0;
    if (!(*memory = ts_calloc(1, (size_t)bytes)))
        return ts_out_of_memory(err, (size_t)bytes);
    *room = bytes;
    return TS_OK;
}

/* One piece of items first, first + 1 ...: together, run, apart. */
static ts_status run_piece(ts_session *s, const job *j, int64_t first, int64_t count, ts_piece piece, ts_error *err)
{
    enum { VALUE = sizeof(float) };
    void *found;
    int64_t in = s->unit[j->kind], out = s->unit[1 - j->kind], columns = s->o.tokenizer->item.dim[1];
    int64_t rows = piece.count * s->frames;
    TS_TRY(ts_by_length_find(&s->programs, j->kind, piece.count, &found, err));
    TS_TRY(grow(&s->in, &s->room[0], s->o.batch * piece.count * in, err));
    TS_TRY(grow(&s->out, &s->room[1], s->o.batch * piece.count * out, err));
    for (int64_t i = 0; i < count; i++)
        memcpy(s->in + i * piece.count * in * VALUE, j->in + ((first + i) * j->in_item + piece.first * in) * VALUE,
               (size_t)(piece.count * in * VALUE));
    if (j->kind == ENCODE)
        ts_rows_normalize(s->o.mean, s->o.std, columns, count * rows, (float *)(void *)s->in);
    const part *p = found;
    ts_program_set(p->program, p->in, s->in);
    TS_TRY(ts_program_run(p->program, err));
    ts_program_get(p->program, p->out, s->out);
    if (j->kind == DECODE)
        ts_rows_restore(s->o.mean, s->o.std, columns, count * rows, (float *)(void *)s->out);
    for (int64_t i = 0; i < count; i++)
        memcpy(j->out + ((first + i) * j->units + piece.first) * out * VALUE, s->out + i * piece.count * out * VALUE,
               (size_t)(piece.count * out * VALUE));
    return ts_device_check(s->o.device, err);
}

static ts_status run_all(ts_session *s, const job *j, ts_error *err)
{
    int64_t pieces = ts_pieces_of(j->units, s->longest);
    for (int64_t first = 0; first < j->items; first += s->o.batch) {
        int64_t left = j->items - first, count = left < s->o.batch ? left : s->o.batch;
        for (int64_t i = 0; i < pieces; i++)
            TS_TRY(run_piece(s, j, first, count, ts_piece_of(i, pieces, j->units), err));
    }
    return TS_OK;
}

static ts_status run(ts_session *s, const job *j, ts_error *err)
{
    ts_thread_state before = ts_device_enter(s->o.device);
    ts_status status = run_all(s, j, err);
    ts_thread_leave(before);
    return status;
}

/* How many units `length` is; images have no length but their own. */
static ts_status units_of(const ts_session *s, const char *what, int64_t length, int64_t own, int64_t of_unit,
                          int64_t *units, ts_error *err)
{
    if (!s->frames && length)
        return ts_fail(err, TS_ERR_USAGE, "%" PRId64 " %s: items are images %s, which have one size; give 0", length,
                       what, ts_shape_print(s->o.tokenizer->item).text);
    *units = s->frames ? (length ? length : own) / of_unit : 1;
    if (*units < 1 || length < 0)
        return ts_fail(err, TS_ERR_DATA, "%" PRId64 " %s, too short: a token has %" PRId64, length, what, s->frames);
    return TS_OK;
}

ts_status ts_session_encode(ts_session *s, const float *x, int64_t items, int64_t frames, int32_t *ids, ts_error *err)
{
    job j = {.kind = ENCODE, .in = (const char *)x, .out = (char *)ids, .items = items};
    const ts_tokenizer *t = s->o.tokenizer;
    TS_TRY(units_of(s, "frames", frames, t->item.dim[0], s->frames, &j.units, err));
    j.in_item = s->frames ? (frames ? frames : t->item.dim[0]) * t->item.dim[1] : s->unit[ENCODE];
    return run(s, &j, err);
}

ts_status ts_session_decode(ts_session *s, const int32_t *ids, int64_t items, int64_t tokens, float *y, ts_error *err)
{
    job j = {.kind = DECODE, .in = (const char *)ids, .out = (char *)y, .items = items};
    const ts_tokenizer *t = s->o.tokenizer;
    TS_TRY(units_of(s, "tokens", tokens, t->tokens.dim[0], 1, &j.units, err));
    j.in_item = j.units * s->unit[DECODE];
    for (int64_t i = 0; i < items * j.in_item; i++)
        if (ids[i] < 0 || ids[i] >= t->info.codes)
            return ts_fail(err, TS_ERR_DATA, "item %" PRId64 ": id %" PRId64 " is %" PRId32 ", expected 0 to %" PRId64,
                           i / j.in_item, i % j.in_item, ids[i], t->info.codes - 1);
    return run(s, &j, err);
}
