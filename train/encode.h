/* Encoding a whole input, for commands: what its two ways, items of one shape and whole clips, share. */
#ifndef TS_TRAIN_ENCODE_H
#define TS_TRAIN_ENCODE_H

#include "train/token_sink.h"
#include "train/trained.h"

typedef struct {
    ts_trained *trained;
    const ts_arguments *arguments; /* of a command with the words CHECKPOINT, INPUT, --split and --dataset */
    const char *output;            /* a file .h5, or a folder */
    ts_token_layout layout;        /* of the files in a folder */
    ts_token_sink sink;
    ts_hash_text weights;
    int64_t shard, shards; /* this run takes numbers shard, shard + shards ... */
    bool resume;
    int64_t of_all;                             /* items that there are for this shard */
    int64_t kept;                               /* found from a run before */
    int64_t skipped, too_short, pieces, frames; /* of clips: left out, too short among them, in pieces; encoded */
    double started, said;                       /* seconds */
} ts_encoding;

/* All of the input, without one of the config's data, by one of the two ways below; the sink is left open, to be
 * finished. Errors: data, usage. */
ts_status ts_encode(ts_encoding *encoding, ts_error *err);

/* Every item of the input, of the model's own shape. Errors: data. */
ts_status ts_encode_items(ts_encoding *encoding, ts_error *err);

/* Every clip of the input, of any length. Errors: data; none that can be encoded. */
ts_status ts_encode_clips(ts_encoding *encoding, ts_error *err);

/* Opens the sink. shape: of an item's tokens, rank 0 where they differ; extra: what must be the same in a folder that
 * the run goes on with, beside codes, groups and weights; taken over. */
ts_status ts_encoding_open(ts_encoding *encoding, ts_shape shape, json_t *extra, ts_error *err);

/* Puts an item; ids of -1 come from a value that is not finite. Errors: run-time, data. */
ts_status ts_encoding_put(ts_encoding *encoding, const char *name, int64_t place, const int32_t *ids, int64_t tokens,
                          ts_error *err);

/* Now and then says on standard error how far a long run is. */
void ts_encoding_progress(ts_encoding *encoding);

#endif
