#include "train/motion_pair.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "core/memory.h"
#include "models/motion_metrics.h"
#include "train/clip_list.h"
#include "train/clips.h"

/* A limit is at least a token long. */
static ts_status cut_to_tokens(ts_clip_cut *cut, const ts_clips *clips, const char *name, int64_t frames, int64_t limit,
                               ts_error *err)
{
    const int64_t token = ts_clips_token_frames(clips), most = limit > token ? limit : token;
    *cut = ts_clips_cut(clips, limit && most < frames ? most : frames);
    return cut->tokens ? TS_OK
                       : ts_fail(err, TS_ERR_DATA, "%s: %" PRId64 " frames, too short: a token has %" PRId64, name,
                                 frames, token);
}

/* x, y [frames of the cut, columns], normalised. */
static ts_status run_model(const ts_experiment *e, ts_clips *clips, const ts_clip_cut *cut, const float *x, float *y,
                           ts_error *err)
{
    ts_clip_losses losses;
    size_t bytes = (size_t)(cut->tokens * e->tokenizer.info.groups) * sizeof(int32_t);
    int32_t *ids = ts_alloc(bytes);
    if (!ids)
        return ts_out_of_memory(err, bytes);
    ts_status status = ts_clips_forward(clips, x, cut->tokens, y, ids, &losses, err);
    ts_free(ids);
    return status;
}

static ts_status make_bodies(ts_motion_pair *pair, const ts_experiment *e, const char *name, const float *x,
                             const float *y, int64_t frames, ts_error *err)
{
    const ts_motion *m = &e->motion;
    const ts_motion_layout *layout = ts_motion_layout_known(m);
    TS_TRY(ts_skeleton_of(&pair->original, layout, x, frames, m->mean, m->std, NULL, name, err));
    ts_status status = ts_skeleton_of(&pair->reconstruction, layout, y, frames, m->mean, m->std, &pair->original.yaw,
                                      "the model's reconstruction", err);
    pair->mpjpe_mm = ts_motion_mpjpe(layout, y, x, frames, m->mean, m->std);
    snprintf(pair->label, sizeof pair->label, "reconstruction, MPJPE %.*f mm", pair->mpjpe_mm < 100 ? 1 : 0,
             pair->mpjpe_mm);
    return status;
}

ts_status ts_motion_pair_make(ts_motion_pair *pair, ts_experiment *e, bool ema, const char *name, const float *values,
                              int64_t frames, int64_t limit, ts_error *err)
{
    *pair = (ts_motion_pair){0};
    if (!ts_motion_layout_known(&e->motion))
        return ts_fail(err, TS_ERR_USAGE,
                       "%s: the model was trained on columns whose meaning nobody knows, so that there is nothing to "
                       "draw",
                       name);
    const int64_t columns = e->motion.columns;
    ts_clip_cut cut;
    ts_clips *clips = NULL;
    float *x = NULL;
    ts_status status;
    TS_GO(ts_clips_open(&clips, e, ema, err));
    TS_GO(cut_to_tokens(&cut, clips, name, frames, limit, err));
    x = ts_alloc(2 * (size_t)(cut.frames * columns) * sizeof *x);
    if (!x) {
        status = ts_out_of_memory(err, 2 * (size_t)(cut.frames * columns) * sizeof *x);
        goto out;
    }
    memcpy(x, values, (size_t)(cut.frames * columns) * sizeof *x);
    ts_motion_normalize(&e->motion, cut.frames, x);
    TS_GO(run_model(e, clips, &cut, x, x + cut.frames * columns, err));
    status = make_bodies(pair, e, name, x, x + cut.frames * columns, cut.frames, err);
out:
    ts_clips_close(clips);
    ts_free(x);
    return status;
}

ts_status ts_motion_pair_clip(ts_motion_pair *pair, ts_experiment *e, bool ema, const ts_clip_list *clips,
                              int64_t place, int64_t limit, int64_t *frames, ts_error *err)
{
    const int64_t columns = e->motion.columns;
    *pair = (ts_motion_pair){0};
    TS_TRY(ts_clip_list_frames(frames, clips, place, columns, err));
    size_t bytes = (size_t)(*frames * columns) * sizeof(float);
    float *values = ts_alloc(bytes);
    if (!values)
        return ts_out_of_memory(err, bytes);
    ts_status status = ts_clip_list_read(values, clips, place, *frames, columns, err);
    if (status == TS_OK)
        status = ts_motion_pair_make(pair, e, ema, clips->files.name[place], values, *frames, limit, err);
    ts_free(values);
    return status;
}

void ts_motion_pair_clear(ts_motion_pair *pair)
{
    ts_skeleton_clear(&pair->original);
    ts_skeleton_clear(&pair->reconstruction);
    *pair = (ts_motion_pair){0};
}

void ts_motion_pair_show(const ts_motion_pair *pair, ts_skeleton_show *show)
{
    show->body[0] = &pair->original;
    show->body[1] = &pair->reconstruction;
    show->count = 2;
    show->label[0] = "original";
    show->label[1] = pair->label;
    show->fps = pair->original.layout->fps;
}
