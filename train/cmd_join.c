/* tessera join: the files of all shards of an `encode` to the one that it writes without --shard. */
#include <inttypes.h>
#include <string.h>

#include "core/text.h"
#include "train/answer.h"
#include "train/commands.h"
#include "train/token_sink.h"

typedef struct {
    int64_t count;
    const char *const *path; /* [count] */
    ts_tokens *file;         /* [count] */
    ts_arena arena;
} shards;

static ts_status load(shards *all, const ts_arguments *a, ts_error *err)
{
    all->count = a->positional_count;
    all->path = (const char *const *)a->positionals;
    if (all->count == 0)
        return ts_fail(err, TS_ERR_USAGE, "join: expected the files of all shards, found none");
    all->file = ts_arena_alloc(&all->arena, (size_t)all->count * sizeof *all->file);
    if (!all->file)
        return ts_out_of_memory(err, (size_t)all->count * sizeof *all->file);
    for (int64_t i = 0; i < all->count; i++) {
        TS_TRY(ts_tokens_load(&all->file[i], all->path[i], &all->arena, err));
        if (all->file[i].shards < 1 || all->file[i].codes < 1)
            return ts_fail(err, TS_ERR_CHECKPOINT, "%s: is no shard: `tessera encode --shard` writes those",
                           all->path[i]);
    }
    return TS_OK;
}

/* Of one model, and of one division. */
static ts_status check_same(const shards *all, ts_error *err)
{
    const ts_tokens *a = &all->file[0];
    for (int64_t i = 1; i < all->count; i++) {
        const ts_tokens *b = &all->file[i];
        if (a->codes != b->codes || a->groups != b->groups || strcmp(a->weights, b->weights) != 0)
            return ts_fail(err, TS_ERR_CHECKPOINT,
                           "%s: %" PRId64 " groups of %" PRId64 " codes by the weights %s, %s has %" PRId64
                           " groups of %" PRId64 " codes by %s; they are of different models",
                           all->path[i], b->groups, b->codes, TS_SHOWN(b->weights), all->path[0], a->groups, a->codes,
                           TS_SHOWN(a->weights));
        if (a->shards != b->shards || !ts_shape_equal(a->shape, b->shape))
            return ts_fail(err, TS_ERR_CHECKPOINT,
                           "%s: is one of %" PRId64 " shards, %s one of %" PRId64 "; they do not belong together",
                           all->path[i], b->shards, all->path[0], a->shards);
    }
    return TS_OK;
}

/* Each exactly once. */
static ts_status check_complete(const shards *all, ts_error *err)
{
    int64_t wanted = all->file[0].shards;
    if (all->count != wanted)
        return ts_fail(err, TS_ERR_CHECKPOINT, "join: expected the files of all %" PRId64 " shards, found %" PRId64,
                       wanted, all->count);
    for (int64_t shard = 0; shard < wanted; shard++) {
        int64_t found = 0;
        for (int64_t i = 0; i < all->count; i++)
            found += all->file[i].shard == shard;
        if (found != 1)
            return ts_fail(err, TS_ERR_CHECKPOINT,
                           "join: expected every shard of %" PRId64 " once, found shard %" PRId64 " %" PRId64 " times",
                           wanted, shard, found);
    }
    return TS_OK;
}

static ts_status put_all(const shards *all, ts_token_sink *sink, ts_error *err)
{
    for (int64_t i = 0; i < all->count; i++) {
        const ts_tokens *t = &all->file[i];
        for (int64_t k = 0; k < t->items; k++)
            TS_TRY(ts_token_sink_put(sink, t->names[k], t->places[k], t->ids + k * t->longest * t->groups,
                                     t->lengths[k], err));
    }
    return ts_token_sink_finish(sink, 0, 1, err);
}

static ts_status answer(const ts_token_sink *s, bool json, ts_error *err)
{
    ts_usage u = ts_usage_of(s->count, s->kind.codes, 0);
    json_t *all = json_object();
    json_object_set_new(all, "file", json_string(s->path));
    json_object_set_new(all, "items", json_integer(s->items));
    json_object_set_new(all, "tokens", json_integer(u.tokens));
    json_object_set_new(all, "groups", json_integer(s->kind.groups));
    json_object_set_new(all, "codes", json_integer(u.codes));
    json_object_set_new(all, "used", json_integer(u.used));
    json_object_set_new(all, "perplexity", ts_answer_real(u.perplexity));
    json_object_set_new(all, "weights", json_string(s->kind.weights));
    return ts_answer_show(all, json, stdout, err);
}

ts_status ts_cmd_join(const ts_arguments *a, int *exit_code, ts_error *err)
{
    (void)exit_code;
    const char *output = ts_arguments_text(a, "output");
    shards all = {0};
    ts_token_sink sink = {0};
    ts_status status;
    if (!ts_ends_in_h5(output))
        return ts_fail(err, TS_ERR_USAGE,
                       "--output=%s: expected a name that ends in .h5; shards in a folder need no joining", output);
    TS_GO(load(&all, a, err));
    if (!all.file) { /* the checkers do not know that ts_fail returns what it is given */
        status = TS_ERR_USAGE;
        goto out;
    }
    TS_GO(check_same(&all, err));
    TS_GO(check_complete(&all, err));
    ts_token_kind kind = {.codes = all.file[0].codes,
                          .groups = all.file[0].groups,
                          .shape = all.file[0].shape,
                          .weights = all.file[0].weights};
    TS_GO(ts_token_sink_open(&sink, output, &kind, TS_TOKENS_T2M, err));
    TS_GO(put_all(&all, &sink, err));
    status = answer(&sink, ts_arguments_flag(a, "json"), err);
out:
    ts_token_sink_close(&sink);
    ts_arena_clear(&all.arena);
    return status;
}
