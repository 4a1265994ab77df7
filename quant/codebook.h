/* What the kinds share whose codes are the rows of a codebook (vector.c, vector_ema.c, vector_reset.c): tokens as rows,
 * a code for each, the output with its gradient, counts and sums of the rows of each code.
 *
 * H heads make H rows of a token. One codebook [K, W] serves them all, or each head has its own: then the codebooks lie
 * one behind the other, [H K, W], head h's code k in row h K + k. Ids that are handed out are 0 ... K-1 in any case. */
#ifndef TS_QUANT_CODEBOOK_H
#define TS_QUANT_CODEBOOK_H

#include "quant/vector.h"

enum { TS_MAX_HEADS = 64 };

typedef struct {
    int64_t dim;   /* channels of a token */
    int64_t heads; /* H */
    int64_t books; /* codebooks: 1 or H */
    int64_t codes; /* of each, K */
    int64_t width; /* of a code, W */
} ts_code_shape;

ts_code_shape ts_code_shape_of(int64_t codes, int64_t dim, const ts_heads_options *heads);

/* Of all codebooks together: [books K, W]. */
ts_shape ts_codebook_shape(const ts_code_shape *shape);

/* How a code is found, and what its gradient is. */
typedef struct {
    ts_code_shape shape;
    bool rotation, cosine;
    ts_sampling_options sampling; /* heeded in training alone */
} ts_search;

typedef struct {
    ts_search how;
    bool train;        /* the scope's mode: there will be gradients */
    int64_t items;     /* of the batch: the first axis of z */
    ts_value rows;     /* [R, W], R = tokens H, the heads of a token one behind the other */
    ts_value own;      /* [R] ids in the head's codebook, whether the row counts or not */
    ts_value ids;      /* [R] rows of `codebook`; -1 where a token does not count */
    ts_value code;     /* [R, W], the rows of the codebook */
    ts_value mask;     /* [R]: 1 where a row counts; absent where all do */
    ts_value codebook; /* [books K, W], of length 1 with cosine */
    ts_value moved;    /* [books K, W] at which gradients of logits are taken (code_sample.h); absent: codebook */
} ts_lookup;

/* A codebook that changes, and what it is made of; absent where it is not made of them. */
typedef struct {
    ts_value codebook, count, sum; /* [books K, W], [books K], [books K, W] */
} ts_codebook_state;

/* Fills codes and ids of *out. Opens project_in and project_out where they are needed. Returns false where there is
 * nothing to go on with: z does not fit, an error of the graph. */
bool ts_look_up(ts_scope s, const ts_search *how, ts_value codebook, ts_value z, ts_quantized *out, ts_lookup *l);

/* z [.., dim] -> rows [R, W], of length 1 with cosine. */
ts_value ts_rows_of_tokens(ts_scope s, const ts_search *how, ts_value z);

/* ids [.., H] -> tokens [.., dim]; NaN where an id names no code. Errors: another last axis. */
ts_value ts_tokens_of_ids(ts_scope s, const ts_search *how, ts_value codebook, ts_value ids);

/* Any number of values one behind the other along an axis. */
ts_value ts_join(const ts_value *x, int count, int axis);

/* x, or with cosine its rows at length 1. */
ts_value ts_of_length(ts_value x, bool cosine);

/* Of R rows those that look up codebook `book`: [R / books, W]; the same of anything [R], and of codebooks. */
ts_value ts_rows_of_book(const ts_code_shape *shape, ts_value rows, int64_t book);
ts_value ts_entries_of_book(const ts_code_shape *shape, ts_value entries, int64_t book);
ts_value ts_book(const ts_code_shape *shape, ts_value codebook, int64_t book);

/* The scope in which codebook `book` draws: what one draws does not depend on what the others have drawn. */
ts_scope ts_scope_of_book(ts_scope s, const ts_code_shape *shape, int64_t book);

/* A row of the batch for each code, drawn by `draw` from those of its codebook: [books K, W]. */
typedef ts_value (*ts_draw_rows)(ts_scope s, ts_value rows, ts_value mask, int64_t codes);
ts_value ts_rows_for_codes(ts_scope s, const ts_code_shape *shape, ts_value rows, ts_value mask, ts_draw_rows draw);

/* What dead codes become after the step: where no row of the micro-batch counts, what they are. */
ts_value ts_rows_for_dead(ts_scope s, const ts_lookup *l, ts_draw_rows draw);

/* mean((z - sg(e))^2); with a gradient to e where `both`. */
void ts_commitment_loss(ts_quantized *q, const ts_lookup *l, double weight, bool both);

/* Statistics: rows of each code, "count" [books K], and their sums, "sum" [books K, W]. */
void ts_batch_statistics(ts_quantized *q, const ts_lookup *l);

/* The scope's mask, a number for each row of a token; absent without one. */
ts_value ts_mask_of_rows(ts_scope s, const ts_code_shape *shape);

/* decay * average + (1 - decay) * now */
ts_value ts_moved(ts_value average, ts_value now, double decay);

/* v [K] as a column [K, 1], to stand beside [K, D] */
ts_value ts_column(ts_value v);

/* ok, and 0 in a step in which no token counted: moving averages that have met nothing yet are 0/0. */
ts_value ts_ok_with_tokens(ts_value ok, ts_value count);

/* share * (rows that were counted) / (codes there are): what counts are measured by that should not be in tokens. */
ts_value ts_share_of_count(ts_value count, double share);

#endif
