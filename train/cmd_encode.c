/* tessera encode: images to a file of tokens. */
#include <inttypes.h>
#include <string.h>

#include "quant/stats.h"
#include "train/answer.h"
#include "train/commands.h"
#include "train/items.h"
#include "train/programs.h"
#include "train/tokens.h"
#include "train/trained.h"

/* Memory for the ids of all items, and every item's length: all of the model's grid. */
static ts_status make_tokens(ts_tokens *t, const ts_trained *trained, const ts_items *items, ts_arena *arena,
                             ts_error *err)
{
    const ts_tokenizer *tokenizer = &trained->experiment.tokenizer;
    int64_t per_item = ts_shape_count(tokenizer->tokens), bytes;
    *t = (ts_tokens){.items = items->count,
                     .longest = per_item,
                     .groups = tokenizer->info.groups,
                     .names = (const char *const *)items->names,
                     .codes = tokenizer->info.codes,
                     .shape = tokenizer->tokens,
                     .weights = ts_arena_strdup(arena, ts_hash_print(trained->weights).text)};
    if (__builtin_mul_overflow(items->count, per_item * t->groups * (int64_t)sizeof *t->ids, &bytes))
        return ts_out_of_memory(err, SIZE_MAX);
    t->ids = ts_arena_alloc(arena, (size_t)bytes);
    t->lengths = ts_arena_alloc(arena, (size_t)items->count * sizeof *t->lengths);
    if (!t->ids || !t->lengths || !t->weights)
        return ts_out_of_memory(err, (size_t)bytes);
    for (int64_t i = 0; i < items->count; i++)
        t->lengths[i] = (int32_t)per_item;
    return TS_OK;
}

static ts_status check_ids(const int32_t *ids, int64_t count, const char *name, ts_error *err)
{
    for (int64_t i = 0; i < count; i++)
        if (ids[i] < 0)
            return ts_fail(err, TS_ERR_RUNTIME, "%s: the encoder gives a value that is not finite", name);
    return TS_OK;
}

/* Items first ... first + n - 1, n at most `batch`; what is left of the batch stays as it is and is not looked at. */
static ts_status encode_batch(ts_inference *f, const ts_items *items, int64_t first, int64_t n, float *x, int32_t *ids,
                              ts_tokens *t, ts_error *err)
{
    int64_t size = ts_shape_count(items->item), per_item = t->longest * t->groups;
    for (int64_t i = 0; i < n; i++)
        TS_TRY(ts_items_read(items, first + i, x + i * size, err));
    ts_program_set(f->program, f->x, x);
    TS_TRY(ts_program_run(f->program, err));
    ts_program_get(f->program, f->ids, ids);
    for (int64_t i = 0; i < n; i++)
        TS_TRY(check_ids(ids + i * per_item, per_item, items->names[first + i], err));
    memcpy(t->ids + first * per_item, ids, (size_t)(n * per_item) * sizeof *ids);
    return TS_OK;
}

static ts_status encode_all(ts_trained *trained, const ts_items *items, ts_tokens *t, ts_arena *arena, ts_error *err)
{
    int64_t batch = ts_trained_batch(trained, items->count);
    size_t x_bytes = (size_t)(batch * ts_shape_count(items->item)) * sizeof(float);
    size_t ids_bytes = (size_t)(batch * t->longest * t->groups) * sizeof(int32_t);
    float *x = ts_arena_alloc(arena, x_bytes);
    int32_t *ids = ts_arena_alloc(arena, ids_bytes);
    ts_inference f;
    if (!x || !ids)
        return ts_out_of_memory(err, x_bytes + ids_bytes);
    TS_TRY(ts_inference_open(&f, &trained->experiment, TS_ENCODE, batch, trained->ema, err));
    ts_status status = TS_OK;
    for (int64_t i = 0; status == TS_OK && i < items->count; i += batch)
        status = encode_batch(&f, items, i, items->count - i < batch ? items->count - i : batch, x, ids, t, err);
    ts_inference_close(&f);
    return status;
}

static ts_status answer(const ts_tokens *t, const char *path, bool json, ts_error *err)
{
    int64_t count = t->items * t->longest * t->groups;
    int64_t *counts = ts_calloc((size_t)t->codes, sizeof *counts);
    if (!counts)
        return ts_out_of_memory(err, (size_t)t->codes * sizeof *counts);
    for (int64_t i = 0; i < count; i++)
        counts[t->ids[i]]++;
    ts_usage u = ts_usage_of(counts, t->codes, 0);
    ts_free(counts);
    json_t *all = json_object();
    json_object_set_new(all, "file", json_string(path));
    json_object_set_new(all, "items", json_integer(t->items));
    json_object_set_new(all, "tokens", json_integer(u.tokens));
    json_object_set_new(all, "shape", ts_answer_shape(t->shape));
    json_object_set_new(all, "groups", json_integer(t->groups));
    json_object_set_new(all, "codes", json_integer(u.codes));
    json_object_set_new(all, "used", json_integer(u.used));
    json_object_set_new(all, "perplexity", ts_answer_real(u.perplexity));
    json_object_set_new(all, "weights", json_string(t->weights));
    return ts_answer_show(all, json, stdout, err);
}

ts_status ts_cmd_encode(const ts_arguments *a, int *exit_code, ts_error *err)
{
    (void)exit_code;
    ts_trained trained;
    ts_items items = {0};
    ts_tokens tokens;
    ts_arena arena = {0};
    const char *output = ts_arguments_text(a, "output");
    ts_status status = ts_trained_open(&trained, a, err);
    const ts_experiment *e = &trained.experiment;
    if (status == TS_OK)
        status = ts_items_open(&items, ts_arguments_positional(a, 1), ts_arguments_text(a, "dataset"),
                               e->tokenizer.item, e->range, err);
    if (status == TS_OK)
        status = make_tokens(&tokens, &trained, &items, &arena, err);
    if (status == TS_OK)
        status = encode_all(&trained, &items, &tokens, &arena, err);
    if (status == TS_OK)
        status = ts_tokens_save(&tokens, output, err);
    if (status == TS_OK)
        status = answer(&tokens, output, ts_arguments_flag(a, "json"), err);
    ts_arena_clear(&arena);
    ts_items_close(&items);
    ts_trained_close(&trained);
    return status;
}
