/* tessera encode: images or motion to tokens. */
#include <inttypes.h>
#include <math.h>
#include <time.h>

#include "core/text.h"
#include "train/answer.h"
#include "train/commands.h"
#include "train/encode.h"
#include "train/report_text.h"

/* --- what both ways share ----------------------------------------------------------------------------------------- */

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

ts_status ts_encoding_open(ts_encoding *e, ts_shape shape, json_t *extra, ts_error *err)
{
    const ts_quantizer_info *info = &e->trained->experiment.tokenizer.info;
    e->weights = ts_hash_print(e->trained->weights);
    json_t *manifest = json_pack("{ss ss ss sb sI sI}", "format", "tessera tokens 1", "layout",
                                 ts_token_layouts[e->layout], "weights", e->weights.text, "ema", e->trained->ema,
                                 "codes", (json_int_t)info->codes, "groups", (json_int_t)info->groups);
    bool whole = manifest && extra && json_object_update(manifest, extra) == 0;
    ts_token_kind kind = {
        .codes = info->codes, .groups = info->groups, .shape = shape, .weights = e->weights.text, .manifest = manifest};
    ts_status status =
        whole ? ts_token_sink_open(&e->sink, e->output, &kind, e->layout, err) : ts_out_of_memory(err, 0);
    json_decref(manifest);
    json_decref(extra);
    return status;
}

ts_status ts_encoding_put(ts_encoding *e, const char *name, int64_t place, const int32_t *ids, int64_t tokens,
                          ts_error *err)
{
    for (int64_t i = 0; i < tokens * e->sink.kind.groups; i++)
        if (ids[i] < 0)
            return ts_fail(err, TS_ERR_RUNTIME, "%s: the encoder gives a value that is not finite", name);
    return ts_token_sink_put(&e->sink, name, place, ids, tokens, err);
}

void ts_encoding_progress(ts_encoding *e)
{
    enum { EVERY_S = 10 };
    double t = now();
    int64_t done = e->sink.items + e->skipped, made = e->sink.items - e->kept;
    if (t - e->said < EVERY_S)
        return;
    e->said = t;
    double rate = (double)made / (t - e->started);
    fprintf(stderr, "tessera: %" PRId64 " of %" PRId64 " encoded, %s/s, %s left\n", done, e->of_all,
            ts_rate_text(rate).text, ts_duration_text((double)(e->of_all - done) / rate).text);
}

/* Whole clips, where the model takes frames and there are clips to take them from. */
static bool takes_clips(const ts_encoding *e)
{
    const ts_experiment *x = &e->trained->experiment;
    return x->tokenizer.item.rank == 2 && (ts_arguments_positional(e->arguments, 1) || ts_experiment_has_clips(x));
}

ts_status ts_encode(ts_encoding *e, ts_error *err)
{
    e->started = e->said = now();
    return takes_clips(e) ? ts_encode_clips(e, err) : ts_encode_items(e, err);
}

/* --- the command -------------------------------------------------------------------------------------------------- */

static ts_status check(const ts_encoding *e, ts_error *err)
{
    const char *folder_only = e->resume ? "resume" : ts_arguments_given(e->arguments, "layout") ? "layout" : NULL;
    if (folder_only && ts_ends_in_h5(e->output))
        return ts_fail(err, TS_ERR_USAGE,
                       "--%s: %s is one HDF5 file, written whole at the end; give -o a folder, or leave it out",
                       folder_only, e->output);
    return TS_OK;
}

static void add_clips(json_t *all, const ts_encoding *e)
{
    json_object_set_new(all, "frames", json_integer(e->frames));
    json_object_set_new(all, "clips_in_pieces", json_integer(e->pieces));
    json_object_set_new(all, "clips_skipped", json_integer(e->skipped));
    json_object_set_new(all, "clips_too_short", json_integer(e->too_short));
}

static ts_status answer(const ts_encoding *e, ts_error *err)
{
    const ts_token_sink *s = &e->sink;
    ts_usage u = ts_usage_of(s->count, s->kind.codes, 0);
    json_t *all = json_object();
    json_object_set_new(all, s->folder ? "folder" : "file", json_string(s->path));
    json_object_set_new(all, "items", json_integer(s->items));
    json_object_set_new(all, "tokens", json_integer(u.tokens));
    if (s->kind.shape.rank)
        json_object_set_new(all, "shape", ts_answer_shape(s->kind.shape));
    else
        add_clips(all, e);
    if (e->resume)
        json_object_set_new(all, "kept", json_integer(e->kept));
    json_object_set_new(all, "groups", json_integer(s->kind.groups));
    json_object_set_new(all, "codes", json_integer(u.codes));
    json_object_set_new(all, "used", json_integer(u.used));
    json_object_set_new(all, "perplexity", ts_answer_real(u.perplexity));
    json_object_set_new(all, "weights", json_string(e->weights.text));
    return ts_answer_show(all, ts_arguments_flag(e->arguments, "json"), stdout, err);
}

ts_status ts_cmd_encode(const ts_arguments *a, int *exit_code, ts_error *err)
{
    (void)exit_code;
    ts_trained trained = {0};
    ts_encoding e = {.trained = &trained, .arguments = a, .shards = 1, .resume = ts_arguments_flag(a, "resume")};
    e.output = ts_arguments_text(a, "output");
    e.layout = (ts_token_layout)ts_arguments_choice(a, "layout");
    const char *shard = ts_arguments_text(a, "shard");
    ts_status status;
    if (shard && !ts_shard_parse(shard, &e.shard, &e.shards))
        return ts_fail(err, TS_ERR_USAGE, "--shard=%s: expected I/N with I from 0 to N - 1, such as 0/4",
                       TS_SHOWN(shard));
    TS_GO(ts_trained_open(&trained, a, err));
    TS_GO(check(&e, err));
    TS_GO(ts_encode(&e, err));
    TS_GO(ts_token_sink_finish(&e.sink, e.shard, e.shards, err));
    status = answer(&e, err);
out:
    ts_token_sink_close(&e.sink);
    ts_trained_close(&trained);
    return status;
}
