/* Where encode puts tokens, item by item: one HDF5 file (train/tokens.h), written whole at the end, or a folder of .npy
 * (train/token_folder.h), written as they come, so that a run that was interrupted can go on. */
#ifndef TS_TRAIN_TOKEN_SINK_H
#define TS_TRAIN_TOKEN_SINK_H

#include "quant/stats.h"
#include "train/token_folder.h"
#include "train/tokens.h"

/* What the tokens are of: the same for all of them. Texts are the caller's. */
typedef struct {
    int64_t codes, groups;
    ts_shape shape;      /* of an item's tokens; rank 0: items differ in length */
    const char *weights; /* ts_weights_hash, printed */
    json_t *manifest;    /* of a folder: codes, groups, weights and what else must be the same to go on; borrowed */
} ts_token_kind;

typedef struct {
    ts_token_kind kind;
    ts_token_layout layout;
    const char *path;
    bool folder;             /* else HDF5: where the path does not end in .h5 or .hdf5 */
    int64_t items;           /* put so far, those that were there already included */
    int64_t *count;          /* [codes] how often each code was put */
    struct ts_put_item *put; /* HDF5: [items], room for put_room */
    int32_t *ids;            /* of all of them, one behind the other: `used` of `room` */
    int64_t put_room, used, room;
    ts_arena arena; /* of their names */
} ts_token_sink;

/* path stays the caller's. Owner: ts_token_sink_close, also after a failure.
 * Errors: data (the folder cannot be made), usage (it holds other files, or tokens of another kind). */
ts_status ts_token_sink_open(ts_token_sink *sink, const char *path, const ts_token_kind *kind, ts_token_layout layout,
                             ts_error *err);
void ts_token_sink_close(ts_token_sink *sink);

/* Is the item there, whole, from a run before? Then it is counted as put. Only a folder can say so. */
ts_status ts_token_sink_has(ts_token_sink *sink, const char *name, int64_t tokens, bool *has, ts_error *err);

/* Puts an item: `tokens` tokens, ids [tokens, groups]; `place` is its number among all items, of other shards too. They
 * may come in any order: the file has them by their places.
 * Errors: data: it cannot be written, or the name leads out of the folder; out of memory. */
ts_status ts_token_sink_put(ts_token_sink *sink, const char *name, int64_t place, const int32_t *ids, int64_t tokens,
                            ts_error *err);

/* After the last item. shards > 1: an HDF5 file says that it is number `shard` of so many, and where its items belong.
 */
ts_status ts_token_sink_finish(ts_token_sink *sink, int64_t shard, int64_t shards, ts_error *err);

/* Does the path name an HDF5 file? */
bool ts_ends_in_h5(const char *path);

#endif
