#include "train/clips.h"

#include "core/memory.h"

typedef struct {
    ts_inference_kind kind;
    int64_t tokens; /* 0: the place is free */
    int64_t used;   /* when it last was, in calls */
    ts_inference program;
} slot;

struct ts_clips {
    ts_experiment *e;
    bool ema;
    int64_t token_frames, columns, groups;
    int64_t piece; /* most tokens of one program */
    int64_t clock, planned;
    slot slots[TS_CLIP_PROGRAMS];
};

ts_status ts_clips_open(ts_clips **clips, ts_experiment *e, bool ema, ts_error *err)
{
    const ts_tokenizer *t = &e->tokenizer;
    *clips = NULL;
    if (t->item.rank != 2 || t->tokens.rank != 1)
        return ts_fail(err, TS_ERR_USAGE, "clips of motion are [frames, columns]; this model takes items of %s",
                       ts_shape_print(t->item).text);
    ts_clips *c = ts_calloc(1, sizeof *c);
    if (!c)
        return ts_out_of_memory(err, sizeof *c);
    c->e = e;
    c->ema = ema;
    c->token_frames = t->item.dim[0] / t->tokens.dim[0];
    c->columns = t->item.dim[1];
    c->groups = t->info.groups;
    c->piece = e->train->eval_frames / c->token_frames;
    c->piece = c->piece < 1 ? 1 : c->piece;
    *clips = c;
    return TS_OK;
}

static void vacate(slot *s)
{
    if (s->tokens)
        ts_inference_close(&s->program);
    s->tokens = 0;
}

void ts_clips_close(ts_clips *c)
{
    if (!c)
        return;
    for (int i = 0; i < TS_CLIP_PROGRAMS; i++)
        vacate(&c->slots[i]);
    ts_free(c);
}

int64_t ts_clips_token_frames(const ts_clips *c)
{
    return c->token_frames;
}

static int64_t pieces_of(const ts_clips *c, int64_t tokens)
{
    return (tokens + c->piece - 1) / c->piece;
}

ts_clip_cut ts_clips_cut(const ts_clips *c, int64_t frames)
{
    int64_t tokens = frames / c->token_frames;
    return (ts_clip_cut){tokens, tokens * c->token_frames, pieces_of(c, tokens)};
}

int64_t ts_clips_planned(const ts_clips *c)
{
    return c->planned;
}

/* The place of this program, or the one that has waited longest: a free one has never been used. */
static slot *find(ts_clips *c, ts_inference_kind kind, int64_t tokens)
{
    slot *oldest = &c->slots[0];
    for (slot *s = c->slots; s < c->slots + TS_CLIP_PROGRAMS; s++) {
        if (s->tokens == tokens && s->kind == kind)
            return s;
        if (s->used < oldest->used)
            oldest = s;
    }
    return oldest;
}

static ts_status program_for(ts_clips *c, ts_inference_kind kind, int64_t tokens, ts_inference **f, ts_error *err)
{
    slot *s = find(c, kind, tokens);
    if (s->tokens != tokens || s->kind != kind) {
        vacate(s);
        ts_shape item = ts_shape_of(tokens * c->token_frames, c->columns);
        TS_TRY(ts_inference_open_item(&s->program, c->e, kind, 1, item, c->ema, err));
        s->kind = kind;
        s->tokens = tokens;
        c->planned++;
    }
    s->used = ++c->clock;
    *f = &s->program;
    return TS_OK;
}

/* Tokens first ... first + count - 1: the i-th of `pieces` pieces as equal as whole tokens allow. */
typedef struct {
    int64_t first, count;
} stretch;

static stretch piece_of(int64_t i, int64_t pieces, int64_t tokens)
{
    int64_t first = i * tokens / pieces;
    return (stretch){first, (i + 1) * tokens / pieces - first};
}

static ts_status encode(ts_clips *c, const float *x, int64_t tokens, int32_t *ids, ts_error *err)
{
    ts_inference *f;
    TS_TRY(program_for(c, TS_ENCODE, tokens, &f, err));
    ts_program_set(f->program, f->x, x);
    TS_TRY(ts_program_run(f->program, err));
    ts_program_get(f->program, f->ids, ids);
    return TS_OK;
}

ts_status ts_clips_encode(ts_clips *c, const float *x, int64_t tokens, int32_t *ids, ts_error *err)
{
    int64_t n = pieces_of(c, tokens), values = c->token_frames * c->columns;
    for (int64_t i = 0; i < n; i++) {
        stretch p = piece_of(i, n, tokens);
        TS_TRY(encode(c, x + p.first * values, p.count, ids + p.first * c->groups, err));
    }
    return TS_OK;
}

static ts_status decode(ts_clips *c, const int32_t *ids, int64_t tokens, float *y, ts_error *err)
{
    ts_inference *f;
    TS_TRY(program_for(c, TS_DECODE, tokens, &f, err));
    ts_program_set(f->program, f->ids, ids);
    TS_TRY(ts_program_run(f->program, err));
    ts_program_get(f->program, f->y, y);
    return TS_OK;
}

ts_status ts_clips_decode(ts_clips *c, const int32_t *ids, int64_t tokens, float *y, ts_error *err)
{
    int64_t n = pieces_of(c, tokens), values = c->token_frames * c->columns;
    for (int64_t i = 0; i < n; i++) {
        stretch p = piece_of(i, n, tokens);
        TS_TRY(decode(c, ids + p.first * c->groups, p.count, y + p.first * values, err));
    }
    return TS_OK;
}

static void add_losses(ts_clip_losses *losses, const ts_inference *f, double part)
{
    losses->count = f->loss_count;
    for (int i = 0; i < f->loss_count; i++) {
        float mean;
        ts_program_get(f->program, f->losses[i].value, &mean);
        losses->term[i].name = f->losses[i].name;
        losses->term[i].weight = f->losses[i].weight;
        losses->term[i].value += (double)mean * part;
    }
}

/* Leaves the program that ran, for its losses. */
static ts_status forward(ts_clips *c, const float *x, int64_t tokens, float *y, int32_t *ids, ts_inference **f,
                         ts_error *err)
{
    TS_TRY(program_for(c, TS_FORWARD, tokens, f, err));
    ts_program_set((*f)->program, (*f)->x, x);
    TS_TRY(ts_program_run((*f)->program, err));
    ts_program_get((*f)->program, (*f)->y, y);
    if (ts_present((*f)->ids))
        ts_program_get((*f)->program, (*f)->ids, ids);
    return TS_OK;
}

ts_status ts_clips_forward(ts_clips *c, const float *x, int64_t tokens, float *y, int32_t *ids, ts_clip_losses *losses,
                           ts_error *err)
{
    int64_t n = pieces_of(c, tokens), values = c->token_frames * c->columns;
    *losses = (ts_clip_losses){0};
    for (int64_t i = 0; i < n; i++) {
        ts_inference *f;
        stretch p = piece_of(i, n, tokens);
        TS_TRY(forward(c, x + p.first * values, p.count, y + p.first * values, ids + p.first * c->groups, &f, err));
        add_losses(losses, f, (double)p.count / (double)tokens);
    }
    return TS_OK;
}
