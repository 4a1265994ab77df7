/* The codes of a tokenizer: how often each was used in a set of tokens, and which codes are near each other. */
#ifndef TS_TRAIN_CODE_TABLE_H
#define TS_TRAIN_CODE_TABLE_H

#include "train/experiment.h"
#include "train/tokens.h"

enum { TS_MAX_NEIGHBOURS = 64 };

/* Ids of a token are told apart by their place, its group: each has codes of its own. */
typedef struct {
    int64_t codes, groups, tokens; /* tokens that were counted */
    int64_t listed;                /* codes of a group that are looked at closely: the most used first */
    int64_t near;                  /* neighbours of each of these */
    int64_t *count;                /* [groups, codes] */
    int32_t *list;                 /* [groups, listed]; of equal use the lower id first */
    int32_t *neighbour;            /* [groups, listed, near], the nearest first; of equal distance the lower id */
    float *distance;               /* [groups, listed, near] */
    ts_arena arena;
} ts_code_table;

/* Counts the ids; at most `listed` and `near` of what there is. Owner: ts_code_table_clear, also after a failure.
 * Errors: TS_ERR_DATA no tokens; out of memory. */
ts_status ts_code_table_count(ts_code_table *table, const ts_tokens *tokens, int64_t codes, int64_t listed,
                              int64_t near, ts_error *err);
void ts_code_table_clear(ts_code_table *table);

/* Fills neighbour and distance: Euclidean, between what the decoder gets for a token of one code and of another, the
 * token's other ids being the most used of their groups. ema as ts_inference_open; the store is sealed.
 * Errors: of the device; out of memory. */
ts_status ts_code_table_find_near(ts_code_table *table, ts_experiment *e, bool ema, ts_error *err);

/* ids [groups] of a token that has code `id` in `group`, and the most used ones elsewhere. */
void ts_code_table_token(const ts_code_table *table, int64_t group, int32_t id, int32_t *ids);

#endif
