/* The file that encode writes and decode reads: HDF5 with
 *
 *     /tokens   i32 [items, longest, groups]   ids; -1 behind an item's end
 *     /lengths  i32 [items]                    tokens of each item
 *     /names    strings [items]                where each came from: a path below the input folder, or a number
 *     /places   i64 [items]                    in a shard: the number of each among the items of all shards
 *
 * and, as text attributes of the root group: format ("tessera tokens 1"), codes (of one codebook), groups, shape (how
 * an item's tokens lie: "[7, 7]"; "[]" where items differ in length) and weights (ts_weights_hash of the checkpoint
 * that made them). Only the first three data sets must be there: a file made by other means may leave the attributes
 * out. */
#ifndef TS_TRAIN_TOKENS_H
#define TS_TRAIN_TOKENS_H

#include "core/memory.h"
#include "core/tensor.h"

typedef struct {
    int64_t items, longest, groups;
    int32_t *ids;             /* [items, longest, groups] */
    int32_t *lengths;         /* [items] */
    const char *const *names; /* [items] */
    const int64_t *places;    /* [items]; NULL: the file is not a shard */
    int64_t shard, shards;    /* number 1 of 4; 0 of 0 where the file is not a shard */
    int64_t codes;            /* 0: the file does not say */
    ts_shape shape;           /* rank 0: the file does not say */
    const char *weights;      /* 32 hexadecimal digits; "": the file does not say */
} ts_tokens;

/* "1/4": the second of four. False where it is none. */
bool ts_shard_parse(const char *text, int64_t *shard, int64_t *shards);

/* True where the file is HDF5 with a data set /tokens. */
bool ts_tokens_is_one(const char *path);

/* Durably and atomically. Errors: data, naming the file: no permission, a full disk. */
ts_status ts_tokens_save(const ts_tokens *tokens, const char *path, ts_error *err);

/* Reads and checks a whole file: shapes agree, lengths lie in 0 ... longest, ids below every length are at least 0, and
 * below `codes` where the file says it. Owner: the arena. Errors: checkpoint. */
ts_status ts_tokens_load(ts_tokens *tokens, const char *path, ts_arena *arena, ts_error *err);

#endif
