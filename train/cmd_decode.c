/* tessera decode: tokens to pictures or motion, or to the values as they are. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "core/text.h"
#include "train/answer.h"
#include "train/clips.h"
#include "train/commands.h"
#include "train/decode_sink.h"
#include "train/trained.h"

static ts_status check_weights(const ts_token_source *s, const ts_trained *trained, bool force, ts_error *err)
{
    ts_hash_text have = ts_hash_print(trained->weights);
    if (!*s->weights || force || strcmp(s->weights, have.text) == 0)
        return TS_OK;
    return ts_fail(err, TS_ERR_CHECKPOINT,
                   "%s: was encoded with the weights %s, this checkpoint has %s; --force decodes all the same", s->path,
                   TS_SHOWN(s->weights), have.text);
}

/* --- images: batches of one shape --------------------------------------------------------------------------------- */

static ts_status decode_batch(ts_session *session, ts_token_source *s, int64_t first, int64_t n, int32_t *ids, float *y,
                              ts_decode_sink *sink, ts_error *err)
{
    int64_t used = ts_shape_count(s->model->tokens) * s->model->info.groups, size = ts_shape_count(s->model->item);
    for (int64_t i = 0; i < n; i++) {
        const int32_t *from;
        TS_TRY(ts_token_source_read(s, first + i, &from, err));
        memcpy(ids + i * used, from, (size_t)used * sizeof *ids);
    }
    TS_TRY(ts_session_decode(session, ids, n, 0, y, err));
    for (int64_t i = 0; i < n; i++)
        TS_TRY(ts_decode_sink_put(sink, first + i, y + i * size, err));
    return TS_OK;
}

static ts_status decode_images(ts_trained *trained, ts_token_source *s, ts_decode_sink *sink, ts_error *err)
{
    int64_t batch = ts_trained_batch(trained, s->count);
    size_t y_bytes = (size_t)(batch * ts_shape_count(s->model->item)) * sizeof(float);
    size_t ids_bytes = (size_t)(batch * ts_shape_count(s->model->tokens) * s->model->info.groups) * sizeof(int32_t);
    float *y = ts_arena_alloc(&s->arena, y_bytes);
    int32_t *ids = ts_arena_alloc(&s->arena, ids_bytes);
    ts_session *session;
    if (!y || !ids)
        return ts_out_of_memory(err, y_bytes + ids_bytes);
    TS_TRY(ts_experiment_session(&trained->experiment, batch, trained->ema, &session, err));
    ts_status status = TS_OK;
    for (int64_t i = 0; status == TS_OK && i < s->count; i += batch)
        status = decode_batch(session, s, i, s->count - i < batch ? s->count - i : batch, ids, y, sink, err);
    ts_session_free(session);
    return status;
}

/* --- motion: clips of any length, by length, so that a program is made once for each ------------------------------ */

typedef struct {
    int64_t item, tokens;
} entry;

static int by_length(const void *a, const void *b)
{
    const entry *x = a, *y = b;
    int longer = (x->tokens > y->tokens) - (x->tokens < y->tokens);
    return longer ? longer : (x->item > y->item) - (x->item < y->item);
}

static ts_status decode_all(ts_clips *clips, ts_token_source *s, const entry *order, ts_decode_sink *sink, float *y,
                            ts_error *err)
{
    for (int64_t i = 0; i < s->count; i++) {
        const int32_t *ids;
        TS_TRY(ts_token_source_read(s, order[i].item, &ids, err));
        TS_TRY(ts_clips_decode(clips, ids, order[i].tokens, y, err));
        TS_TRY(ts_decode_sink_put(sink, order[i].item, y, err));
    }
    return TS_OK;
}

static ts_status decode_clips(ts_trained *trained, ts_token_source *s, ts_decode_sink *sink, ts_error *err)
{
    ts_clips *clips;
    entry *order = ts_arena_alloc(&s->arena, (size_t)s->count * sizeof *order);
    float *y = ts_arena_alloc(&s->arena, (size_t)sink->values * sizeof *y);
    if (!order || !y)
        return ts_out_of_memory(err, (size_t)sink->values * sizeof *y);
    for (int64_t i = 0; i < s->count; i++)
        order[i] = (entry){i, s->tokens[i]};
    qsort(order, (size_t)s->count, sizeof *order, by_length);
    TS_TRY(ts_clips_open(&clips, &trained->experiment, trained->ema, err));
    ts_status status = decode_all(clips, s, order, sink, y, err);
    ts_clips_close(clips);
    return status;
}

/* --- the command -------------------------------------------------------------------------------------------------- */

static ts_status answer(const ts_decode_sink *s, bool json, ts_error *err)
{
    static const char *const formats[] = {"PNG", "npy", "HDF5"};
    int64_t frames = 0;
    json_t *all = json_object();
    json_object_set_new(all, "output", json_string(s->path));
    json_object_set_new(all, "items", json_integer(s->source->count));
    for (int64_t i = 0; i < s->source->count; i++)
        frames += ts_decode_sink_frames(s, i);
    if (frames) {
        json_object_set_new(all, "frames", json_integer(frames));
        json_object_set_new(all, "columns", json_integer(s->e->tokenizer.item.dim[1]));
    } else {
        json_object_set_new(all, "item", ts_answer_shape(s->e->tokenizer.item));
    }
    json_object_set_new(all, "format", json_string(formats[s->kind]));
    return ts_answer_show(all, json, stdout, err);
}

ts_status ts_cmd_decode(const ts_arguments *a, int *exit_code, ts_error *err)
{
    (void)exit_code;
    ts_trained trained;
    ts_token_source source = {0};
    ts_decode_sink sink = {0};
    ts_status status;
    TS_GO(ts_trained_open(&trained, a, err));
    ts_experiment *e = &trained.experiment;
    bool motion = e->tokenizer.item.rank == 2;
    TS_GO(ts_token_source_open(&source, ts_arguments_positional(a, 1), &e->tokenizer, err));
    TS_GO(check_weights(&source, &trained, ts_arguments_flag(a, "force"), err));
    if (motion)
        TS_GO(ts_experiment_need_motion(e, err));
    TS_GO(ts_decode_sink_open(&sink, ts_arguments_text(a, "output"), e, &source, err));
    TS_GO(motion ? decode_clips(&trained, &source, &sink, err) : decode_images(&trained, &source, &sink, err));
    TS_GO(ts_decode_sink_finish(&sink, err));
    status = answer(&sink, ts_arguments_flag(a, "json"), err);
out:
    ts_decode_sink_close(&sink);
    ts_token_source_close(&source);
    ts_trained_close(&trained);
    return status;
}
