/* encode for items of one shape: pictures, files of many, the data set of the config. */
#include <string.h>

#include "core/text.h"

#include "train/answer.h"
#include "train/encode.h"
#include "train/items.h"
#include "train/programs.h"

/* One batch: as many of the items that are still to be encoded as fit. */
typedef struct {
    ts_session *session;
    int64_t size, per_item; /* values of an item, ids of an item */
    int64_t room, count;
    int64_t *place; /* [room] */
    float *x;       /* [room, item] */
    int32_t *ids;   /* [room, tokens, groups] */
} batch;

static ts_status run_batch(ts_encoding *e, batch *b, const ts_items *items, ts_error *err)
{
    int64_t tokens = ts_shape_count(e->trained->experiment.tokenizer.tokens);
    for (int64_t i = 0; i < b->count; i++)
        TS_TRY(ts_items_read(items, b->place[i], b->x + i * b->size, err));
    TS_TRY(ts_session_encode(b->session, b->x, b->count, 0, b->ids, err));
    for (int64_t i = 0; i < b->count; i++)
        TS_TRY(ts_encoding_put(e, items->names[b->place[i]], b->place[i], b->ids + i * b->per_item, tokens, err));
    b->count = 0;
    ts_encoding_progress(e);
    return TS_OK;
}

static ts_status run_all(ts_encoding *e, batch *b, const ts_items *items, ts_error *err)
{
    int64_t tokens = ts_shape_count(e->trained->experiment.tokenizer.tokens);
    for (int64_t i = e->shard; i < items->count; i += e->shards) {
        bool has = false;
        if (e->resume)
            TS_TRY(ts_token_sink_has(&e->sink, items->names[i], tokens, &has, err));
        e->kept += has;
        if (has)
            continue;
        b->place[b->count++] = i;
        if (b->count == b->room)
            TS_TRY(run_batch(e, b, items, err));
    }
    return b->count ? run_batch(e, b, items, err) : TS_OK;
}

static ts_status encode(ts_encoding *e, const ts_items *items, ts_arena *arena, ts_error *err)
{
    ts_experiment *x = &e->trained->experiment;
    batch b = {.size = ts_shape_count(items->item), .room = ts_trained_batch(e->trained, items->count)};
    b.per_item = ts_shape_count(x->tokenizer.tokens) * x->tokenizer.info.groups;
    size_t bytes = (size_t)(b.room * b.size) * sizeof *b.x;
    b.x = ts_arena_alloc(arena, bytes);
    b.ids = ts_arena_alloc(arena, (size_t)(b.room * b.per_item) * sizeof *b.ids);
    b.place = ts_arena_alloc(arena, (size_t)b.room * sizeof *b.place);
    if (!b.x || !b.ids || !b.place)
        return ts_out_of_memory(err, bytes);
    TS_TRY(ts_experiment_session(x, b.room, e->trained->ema, &b.session, err));
    ts_status status = run_all(e, &b, items, err);
    ts_session_free(b.session);
    return status;
}

/* An input has no splits; the config's data, which stand in for one, have two. */
static ts_status check_split(const char *input, const char *split, ts_error *err)
{
    if (input && split)
        return ts_fail(err, TS_ERR_USAGE, "--split=%s: %s has no splits; without INPUT the config's data have",
                       TS_SHOWN(split), input);
    if (split && strcmp(split, "train") != 0 && strcmp(split, "val") != 0)
        return ts_fail(err, TS_ERR_USAGE, "--split=%s: the config's data have train and val", TS_SHOWN(split));
    return TS_OK;
}

static ts_status open_items(ts_encoding *e, ts_items *items, ts_error *err)
{
    ts_experiment *x = &e->trained->experiment;
    const char *input = ts_arguments_positional(e->arguments, 1), *split = ts_arguments_text(e->arguments, "split");
    if (input)
        return ts_items_open(items, input, ts_arguments_text(e->arguments, "dataset"), x->tokenizer.item, x->range,
                             err);
    bool train = split && strcmp(split, "train") == 0;
    TS_TRY(ts_experiment_open_data(x, train ? TS_SPLIT_TRAIN : TS_SPLIT_VAL, err));
    return ts_items_open_data(items, train ? x->train_data : x->val_data, err);
}

ts_status ts_encode_items(ts_encoding *e, ts_error *err)
{
    ts_items items = {0};
    ts_arena arena = {0};
    ts_shape tokens = e->trained->experiment.tokenizer.tokens;
    ts_status status;
    TS_GO(check_split(ts_arguments_positional(e->arguments, 1), ts_arguments_text(e->arguments, "split"), err));
    TS_GO(open_items(e, &items, err));
    e->of_all = items.count > e->shard ? (items.count - e->shard + e->shards - 1) / e->shards : 0;
    TS_GO(ts_encoding_open(e, tokens, json_pack("{so}", "shape", ts_answer_shape(tokens)), err));
    status = encode(e, &items, &arena, err);
out:
    ts_arena_clear(&arena);
    ts_items_close(&items);
    return status;
}
