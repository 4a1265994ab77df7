/* Evaluation over whole clips: every frame weighs the same, whatever clip it is of. */
#include <stdio.h>
#include <string.h>

#include "core/memory.h"
#include "train/clip_reader.h"
#include "train/evaluate_sums.h"

typedef struct {
    ts_experiment *e;
    ts_clips *clips;
    ts_error_sums sums;
    ts_motion_sums motion;
    double parts[TS_MAX_TERMS], weights[TS_MAX_TERMS]; /* parts: summed over frames */
    float *y, *values;                                 /* [room]; two of these: the clip and its original, restored */
    int32_t *ids;
    int64_t room;
} evaluation;

/* Velocities and accelerations in the loss need so many frames. */
static int64_t least_frames(const ts_experiment *e)
{
    return ts_motion_weights_any(&e->train->motion) ? 3 : 1;
}

static ts_status make_room(evaluation *v, const ts_clip_cut *cut, ts_error *err)
{
    int64_t values = cut->frames * v->e->motion.columns, ids = cut->tokens * v->e->tokenizer.info.groups;
    if (values <= v->room)
        return TS_OK;
    float *y = ts_realloc(v->y, (size_t)(3 * values), sizeof *y);
    v->y = y ? y : v->y;
    int32_t *more = ts_realloc(v->ids, (size_t)ids, sizeof *more);
    v->ids = more ? more : v->ids;
    if (!y || !more)
        return ts_out_of_memory(err, (size_t)(3 * values) * sizeof *y);
    v->values = y + values;
    v->room = values;
    return TS_OK;
}

static ts_status add_clip(evaluation *v, const ts_clip *clip, ts_evaluation *result, ts_error *err)
{
    const ts_tokenizer *t = &v->e->tokenizer;
    ts_clip_losses losses;
    TS_TRY(make_room(v, &clip->cut, err));
    memset(v->ids, -1, (size_t)(clip->cut.tokens * t->info.groups) * sizeof *v->ids);
    TS_TRY(ts_clips_forward(v->clips, clip->x, clip->cut.tokens, v->y, v->ids, &losses, err));
    ts_error_sums_add(&v->sums, v->e, clip->x, v->y, clip->cut.frames * v->e->motion.columns);
    ts_motion_sums_add_restored(&v->motion, &v->e->motion, v->y, clip->x, clip->cut.frames, v->values);
    ts_evaluation_count(result, &t->info, v->ids, clip->cut.tokens * t->info.groups);
    result->part_count = losses.count;
    for (int i = 0; i < losses.count; i++) {
        result->part_names[i] = losses.term[i].name;
        v->weights[i] = losses.term[i].weight;
        v->parts[i] += losses.term[i].value * (double)clip->cut.frames;
    }
    result->items++;
    result->frames += clip->cut.frames;
    result->in_pieces += clip->cut.pieces > 1;
    return TS_OK;
}

static ts_status add_all(evaluation *v, ts_clip_reader *reader, ts_evaluation *result, ts_error *err)
{
    ts_clip clip;
    for (;;) {
        TS_TRY(ts_clip_reader_next(reader, &clip, err));
        if (!clip.name)
            return TS_OK;
        TS_TRY(ts_clip_reader_load(reader, &clip, err));
        if (clip.x)
            TS_TRY(add_clip(v, &clip, result, err));
    }
}

/* A line more; where there is no memory for it, the count must do. */
static void note_skip(void *context, const char *line)
{
    ts_evaluation *result = context;
    char *longer = ts_format("%s%s%s", result->skips ? result->skips : "", result->skips ? "\n" : "", line);
    if (!longer)
        return;
    ts_free(result->skips);
    result->skips = longer;
}

static ts_status finish(evaluation *v, const ts_clip_reader *reader, int64_t clips, ts_evaluation *result,
                        ts_error *err)
{
    result->clips = result->items;
    result->skipped = reader->skipped;
    if (result->items == 0)
        return ts_fail(err, TS_ERR_DATA, "none of the %lld clips can be evaluated; the first: %s", (long long)clips,
                       reader->first.text);
    for (int i = 0; i < result->part_count; i++)
        result->parts[i] = v->parts[i] / (double)result->frames;
    ts_evaluation_finish(result, v->e, &v->sums, v->weights);
    result->motion = ts_motion_metrics_of(&v->motion);
    return TS_OK;
}

ts_status ts_evaluate_clips(ts_experiment *e, ts_split split, bool ema, ts_evaluation *result, ts_error *err)
{
    evaluation v = {.e = e};
    ts_clip_list list = {0};
    ts_clip_reader reader = {0};
    ts_clip_reader_options options = {.list = &list, .of = 1, .least_frames = least_frames(e)};
    ts_status status;
    TS_TRY(ts_evaluation_make_counts(result, &e->tokenizer.info, err));
    TS_GO(ts_experiment_clips(e, ts_split_name(split), &list, err));
    if (e->train->eval_limit && e->train->eval_limit < list.files.count)
        list.files.count = e->train->eval_limit;
    memcpy(result->note, list.note, sizeof result->note);
    options.stop = list.stop;
    options.say = note_skip;
    options.context = result;
    TS_GO(ts_clips_open(&v.clips, e, ema, err));
    TS_GO(ts_clip_reader_open(&reader, v.clips, &e->motion, options, err));
    TS_GO(add_all(&v, &reader, result, err));
    status = finish(&v, &reader, list.files.count, result, err);
out:
    ts_clip_reader_close(&reader);
    ts_clips_close(v.clips);
    ts_file_list_clear(&list.files);
    ts_free(v.y);
    ts_free(v.ids);
    return status;
}
