/* Programs for sequences of any length: one for each length that comes, kept by what it does and how long it is. There
 * are at most TS_BY_LENGTH of them; then the least recently used one goes. A sequence that is longer than the longest
 * program runs in pieces: as few as that allows, of equal length to a token, each blind to its neighbours. */
#ifndef TS_MODELS_BY_LENGTH_H
#define TS_MODELS_BY_LENGTH_H

#include <stdint.h>

#include "core/status.h"

enum { TS_BY_LENGTH = 64 };

/* `{.open, .close, .owner}` has none yet. */
typedef struct {
    ts_status (*open)(void *owner, int kind, int64_t tokens, void **program, ts_error *err);
    void (*close)(void *program);
    void *owner;
    int64_t planned; /* programs that were opened so far */
    int64_t clock;
    struct {
        int64_t tokens; /* 0: the place is free */
        int64_t used;   /* when it last was, in calls */
        int kind;
        void *program;
    } slots[TS_BY_LENGTH];
} ts_by_length;

/* The program of this kind for `tokens` tokens, at least 1, opened where it is not there. It lives until
 * ts_by_length_clear, or until TS_BY_LENGTH others have been asked for. Errors: those of open. */
ts_status ts_by_length_find(ts_by_length *programs, int kind, int64_t tokens, void **program, ts_error *err);
void ts_by_length_clear(ts_by_length *programs);

/* Tokens first ... first + count - 1. */
typedef struct {
    int64_t first, count;
} ts_piece;

/* How many pieces, with at most `longest` tokens in one; the i-th of them. */
int64_t ts_pieces_of(int64_t tokens, int64_t longest);
ts_piece ts_piece_of(int64_t i, int64_t pieces, int64_t tokens);

#endif
