#include "models/by_length.h"

/* The place of this program, or of the one that has waited longest: a free one has never been used. */
static int place_of(const ts_by_length *p, int kind, int64_t tokens)
{
    int oldest = 0;
    for (int i = 0; i < TS_BY_LENGTH; i++) {
        if (p->slots[i].tokens == tokens && p->slots[i].kind == kind)
            return i;
        if (p->slots[i].used < p->slots[oldest].used)
            oldest = i;
    }
    return oldest;
}

static void vacate(ts_by_length *p, int i)
{
    if (p->slots[i].tokens)
        p->close(p->slots[i].program);
    p->slots[i].tokens = 0;
}

ts_status ts_by_length_find(ts_by_length *p, int kind, int64_t tokens, void **program, ts_error *err)
{
    int i = place_of(p, kind, tokens);
    if (p->slots[i].tokens != tokens || p->slots[i].kind != kind) {
        vacate(p, i);
        TS_TRY(p->open(p->owner, kind, tokens, &p->slots[i].program, err));
        p->slots[i].kind = kind;
        p->slots[i].tokens = tokens;
        p->planned++;
    }
    p->slots[i].used = ++p->clock;
    *program = p->slots[i].program;
    return TS_OK;
}

void ts_by_length_clear(ts_by_length *p)
{
    for (int i = 0; i < TS_BY_LENGTH; i++)
        vacate(p, i);
}

int64_t ts_pieces_of(int64_t tokens, int64_t longest)
{
    return (tokens + longest - 1) / longest;
}

ts_piece ts_piece_of(int64_t i, int64_t pieces, int64_t tokens)
{
    int64_t first = i * tokens / pieces;
    return (ts_piece){first, (i + 1) * tokens / pieces - first};
}
