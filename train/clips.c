#include "train/clips.h"

#include "core/memory.h"
#include "models/by_length.h"

struct ts_clips {
    ts_experiment *e;
    bool ema;
    int64_t token_frames, columns, groups;
    int64_t piece; /* most tokens of one program */
    ts_session *session;
    ts_by_length forward;
};

static ts_status open_forward(void *owner, int kind, int64_t tokens, void **program, ts_error *err)
{
    const ts_clips *c = owner;
    ts_inference *f = ts_calloc(1, sizeof *f);
    if (!f)
        return ts_out_of_memory(err, sizeof *f);
    ts_shape item = ts_shape_of(tokens * c->token_frames, c->columns);
    ts_status status = ts_inference_open_item(f, c->e, (ts_inference_kind)kind, 1, item, c->ema, err);
    if (status == TS_OK)
        *program = f;
    else
        ts_free(f);
    return status;
}

static void close_forward(void *program)
{
    ts_inference_close(program);
    ts_free(program);
}

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
    c->forward = (ts_by_length){.open = open_forward, .close = close_forward, .owner = c};
    ts_status status = ts_experiment_session(e, 1, ema, &c->session, err);
    if (status == TS_OK)
        *clips = c;
    else
        ts_free(c);
    return status;
}

void ts_clips_close(ts_clips *c)
{
    if (!c)
        return;
    ts_by_length_clear(&c->forward);
    ts_session_free(c->session);
    ts_free(c);
}

int64_t ts_clips_token_frames(const ts_clips *c)
{
    return c->token_frames;
}

ts_clip_cut ts_clips_cut(const ts_clips *c, int64_t frames)
{
    int64_t tokens = frames / c->token_frames;
    return (ts_clip_cut){tokens, tokens * c->token_frames, ts_pieces_of(tokens, c->piece)};
}

int64_t ts_clips_planned(const ts_clips *c)
{
    return ts_session_planned(c->session) + c->forward.planned;
}

ts_status ts_clips_encode(ts_clips *c, const float *x, int64_t tokens, int32_t *ids, ts_error *err)
{
    return ts_session_encode(c->session, x, 1, tokens * c->token_frames, ids, err);
}

ts_status ts_clips_decode(ts_clips *c, const int32_t *ids, int64_t tokens, float *y, ts_error *err)
{
    return ts_session_decode(c->session, ids, 1, tokens, y, err);
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
    void *program;
    TS_TRY(ts_by_length_find(&c->forward, TS_FORWARD, tokens, &program, err));
    *f = program;
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
    int64_t n = ts_pieces_of(tokens, c->piece), values = c->token_frames * c->columns;
    *losses = (ts_clip_losses){0};
    for (int64_t i = 0; i < n; i++) {
        ts_inference *f;
        ts_piece p = ts_piece_of(i, n, tokens);
        TS_TRY(forward(c, x + p.first * values, p.count, y + p.first * values, ids + p.first * c->groups, &f, err));
        add_losses(losses, f, (double)p.count / (double)tokens);
    }
    return TS_OK;
}
