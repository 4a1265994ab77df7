#include "train/clip_reader.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "core/memory.h"
#include "train/clip_list.h"

enum { STRETCH = 4096 };

struct ts_clip_length {
    int64_t place, frames;
};

ts_status ts_clip_reader_open(ts_clip_reader *r, const ts_clips *clips, const ts_motion *motion,
                              ts_clip_reader_options options, ts_error *err)
{
    *r = (ts_clip_reader){.options = options, .clips = clips, .motion = motion, .begin = options.first};
    r->stretch = ts_calloc(STRETCH, sizeof *r->stretch);
    return r->stretch ? TS_OK : ts_out_of_memory(err, STRETCH * sizeof *r->stretch);
}

void ts_clip_reader_close(ts_clip_reader *r)
{
    ts_free(r->stretch);
    ts_free(r->x);
    *r = (ts_clip_reader){0};
}

static void leave_out(ts_clip_reader *r, const ts_error *why)
{
    if (r->skipped++ == 0)
        r->first = *why;
    if (r->options.say)
        r->options.say(r->options.context, why->text);
}

/* Broken: the end where broken clips stop a run, else left out. */
static ts_status handle_broken(ts_clip_reader *r, ts_status status, const ts_error *why, ts_error *err)
{
    if (status == TS_ERR_DATA && !r->options.stop) {
        leave_out(r, why);
        return TS_OK;
    }
    if (err)
        *err = *why;
    return status;
}

static ts_status look_at(ts_clip_reader *r, int64_t place, ts_error *err)
{
    int64_t frames;
    ts_error why = {0};
    ts_status status = ts_clip_list_frames(&frames, r->options.list, place, r->motion->columns, &why);
    if (status != TS_OK)
        return handle_broken(r, status, &why, err);
    ts_clip_cut cut = ts_clips_cut(r->clips, frames);
    if (cut.tokens == 0 || cut.frames < r->options.least_frames) {
        ts_fail(&why, TS_ERR_DATA, "clip %s: %" PRId64 " frames, too short: a token has %" PRId64 "%s",
                r->options.list->files.name[place], frames, ts_clips_token_frames(r->clips),
                cut.tokens ? ", and the loss needs at least 3" : "");
        leave_out(r, &why);
        r->too_short++;
        return TS_OK;
    }
    r->stretch[r->count++] = (struct ts_clip_length){place, frames};
    return TS_OK;
}

static int by_length(const void *a, const void *b)
{
    const struct ts_clip_length *x = a, *y = b;
    int longer = (x->frames > y->frames) - (x->frames < y->frames);
    return longer ? longer : (x->place > y->place) - (x->place < y->place);
}

static ts_status next_stretch(ts_clip_reader *r, ts_error *err)
{
    r->at = r->count = 0;
    for (; r->begin < r->options.list->files.count && r->count < STRETCH; r->begin += r->options.of)
        TS_TRY(look_at(r, r->begin, err));
    qsort(r->stretch, (size_t)r->count, sizeof *r->stretch, by_length);
    return TS_OK;
}

ts_status ts_clip_reader_next(ts_clip_reader *r, ts_clip *clip, ts_error *err)
{
    *clip = (ts_clip){0};
    if (r->at == r->count)
        TS_TRY(next_stretch(r, err));
    if (r->at == r->count)
        return TS_OK;
    const struct ts_clip_length *next = &r->stretch[r->at++];
    clip->place = next->place;
    clip->name = r->options.list->files.name[next->place];
    clip->frames = next->frames;
    clip->cut = ts_clips_cut(r->clips, next->frames);
    return TS_OK;
}

static ts_status make_room(ts_clip_reader *r, int64_t values, ts_error *err)
{
    if (values <= r->room)
        return TS_OK;
    float *larger = ts_realloc(r->x, (size_t)values, sizeof *larger);
    if (!larger)
        return ts_out_of_memory(err, (size_t)values * sizeof *larger);
    r->x = larger;
    r->room = values;
    return TS_OK;
}

ts_status ts_clip_reader_load(ts_clip_reader *r, ts_clip *clip, ts_error *err)
{
    ts_error why = {0};
    TS_TRY(make_room(r, clip->frames * r->motion->columns, err));
    ts_status status = ts_clip_list_read(r->x, r->options.list, clip->place, clip->frames, r->motion->columns, &why);
    if (status != TS_OK)
        return handle_broken(r, status, &why, err);
    ts_motion_normalize(r->motion, clip->cut.frames, r->x);
    clip->x = r->x;
    return TS_OK;
}
