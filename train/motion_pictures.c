#include "train/motion_pictures.h"

#include <inttypes.h>

#include "core/memory.h"
#include "train/motion_pair.h"

enum { WIDTH = 560, HEIGHT = 320, POSE_WIDTH = 110, POSE_HEIGHT = 170 };

bool ts_has_motion_pictures(const ts_experiment *e)
{
    return ts_motion_layout_known(&e->motion) && ts_experiment_has_clips(e);
}

static ts_status draw_as(const char *stem, const char *ending, int width, int height, ts_skeleton_show *show,
                         ts_error *err)
{
    ts_rendered rendered;
    char *path = ts_format("%s%s", stem, ending);
    if (!path)
        return ts_out_of_memory(err, 0);
    show->width = width;
    show->height = height;
    ts_status status = ts_motion_render(path, show, &rendered, err);
    ts_free(path);
    return status;
}

/* Strip first: it is there where giflib is not. */
static ts_status draw(const ts_motion_pair *pair, const char *stem, const char *title, ts_error *err)
{
    ts_skeleton_show show = {.title = title};
    ts_motion_pair_show(pair, &show);
    TS_TRY(draw_as(stem, ".png", POSE_WIDTH, POSE_HEIGHT, &show, err));
    return draw_as(stem, ".gif", WIDTH, HEIGHT, &show, err);
}

/* "walk/a_01, step 500, the first 120 of 258 frames" */
static ts_status draw_titled(const ts_motion_pair *pair, const char *name, const char *about, int64_t frames,
                             const char *stem, ts_error *err)
{
    const int64_t shown = pair->original.frames;
    char *title = shown < frames
                      ? ts_format("%s, %s, the first %" PRId64 " of %" PRId64 " frames", name, about, shown, frames)
                      : ts_format("%s, %s", name, about);
    ts_status status = title ? draw(pair, stem, title, err) : ts_out_of_memory(err, 0);
    ts_free(title);
    return status;
}

/* The first clip that data and model do not refuse. */
static ts_status draw_clip(ts_experiment *e, bool ema, const ts_clip_list *clips, int64_t limit, const char *stem,
                           const char *about, ts_error *err)
{
    ts_motion_pair pair;
    ts_status status = TS_ERR_DATA;
    int64_t frames = 0, next = 0;
    while (status == TS_ERR_DATA && next < clips->files.count) {
        status = ts_motion_pair_clip(&pair, e, ema, clips, next++, limit, &frames, err);
        if (status != TS_OK)
            ts_motion_pair_clear(&pair);
    }
    TS_TRY(status);
    status = draw_titled(&pair, clips->files.name[next - 1], about, frames, stem, err);
    ts_motion_pair_clear(&pair);
    return status;
}

ts_status ts_motion_pictures(ts_experiment *e, bool ema, int64_t frames, const char *stem, const char *about,
                             ts_error *err)
{
    ts_clip_list clips;
    ts_status status = ts_experiment_clips(e, ts_split_name(TS_SPLIT_VAL), &clips, err);
    if (status == TS_OK)
        status = draw_clip(e, ema, &clips, frames, stem, about, err);
    ts_file_list_clear(&clips.files);
    return status;
}
