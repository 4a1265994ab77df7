/* tessera render: a motion as an animation, a film or a strip of poses. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/files/npy.h"
#include "core/text.h"
#include "train/answer.h"
#include "train/commands.h"
#include "train/motion_render.h"

enum { WIDTH = 480, HEIGHT = 480, TWO_WIDTH = 800, POSE_WIDTH = 130, POSE_HEIGHT = 210, LEAST = 64, MOST = 4096 };

/* What was asked for. */
typedef struct {
    const ts_motion_layout *layout;
    ts_skeleton body[2];
    int count;
    ts_render_format format;
    int64_t first; /* frame of the clip that is shown first */
    ts_arena arena;
} scene;

/* --- what was typed ----------------------------------------------------------------------------------------------- */

/* "480x360" */
static ts_status parse_size(const char *text, ts_skeleton_show *show, ts_error *err)
{
    char *end = NULL;
    long width = strtol(text, &end, 10), height = *end == 'x' ? strtol(end + 1, &end, 10) : 0;
    if (*end || width < LEAST || height < LEAST || width > MOST || height > MOST)
        return ts_fail(err, TS_ERR_USAGE, "--size %s: expected WIDTHxHEIGHT of %d to %d pixels, such as 480x360",
                       TS_SHOWN(text), LEAST, MOST);
    show->width = (int)width;
    show->height = (int)height;
    return TS_OK;
}

/* One end of a slice, or `fallback` where nothing stands there. */
static bool parse_end(const char **at, int64_t fallback, int64_t *value)
{
    char *end;
    *value = fallback;
    if (**at < '0' || **at > '9')
        return **at == '\0' || **at == ':';
    long long n = strtoll(*at, &end, 10);
    *value = n;
    *at = end;
    return true;
}

/* "10:50", ":50", "10:": from the first to the last, which is left out, as Python's slices. */
static ts_status parse_frames(const char *text, int64_t frames, int64_t *first, int64_t *last, ts_error *err)
{
    const char *at = text;
    bool good = parse_end(&at, 0, first) && *at++ == ':' && parse_end(&at, frames, last) && *at == '\0';
    if (!good)
        return ts_fail(err, TS_ERR_USAGE, "--frames %s: expected FIRST:END, such as 0:100", TS_SHOWN(text));
    if (*last > frames)
        *last = frames;
    if (*first >= *last)
        return ts_fail(err, TS_ERR_USAGE, "--frames %s: no frame is left; the motion has %" PRId64, TS_SHOWN(text),
                       frames);
    return TS_OK;
}

/* --- motions ------------------------------------------------------------------------------------------------------ */

static ts_status check_columns(const ts_npy *npy, const ts_motion_layout *layout, const char *path, ts_error *err)
{
    const ts_shape shape = npy->tensor.shape;
    if (npy->tensor.dtype != TS_F32 || shape.rank != 2 || shape.dim[0] < 1)
        return ts_fail(err, TS_ERR_DATA, "%s: expected floats [frames, columns], found %s %s", path,
                       ts_dtype_name(npy->tensor.dtype), ts_shape_print(shape).text);
    if (layout && layout->columns != shape.dim[1])
        return ts_fail(err, TS_ERR_DATA, "%s: %" PRId64 " columns, the layout %s has %" PRId64, path, shape.dim[1],
                       layout->name, layout->columns);
    return TS_OK;
}

/* The layout that was named, or the one with as many columns. */
static ts_status choose_layout(scene *s, const char *typed, const ts_npy *npy, const char *path, ts_error *err)
{
    s->layout = typed ? ts_motion_layout_find(typed) : NULL;
    if (typed && !s->layout)
        return ts_fail(err, TS_ERR_USAGE, "--layout %s: expected humanml3d, kit or motionmillion", TS_SHOWN(typed));
    TS_TRY(check_columns(npy, s->layout, path, err));
    if (!s->layout && !(s->layout = ts_motion_layout_of(npy->tensor.shape.dim[1])))
        return ts_fail(err, TS_ERR_USAGE,
                       "%s: no known motion has %" PRId64 " columns (humanml3d 263, kit 251, motionmillion 272); say "
                       "what they are with --layout",
                       path, npy->tensor.shape.dim[1]);
    return TS_OK;
}

/* One more body, from a file. The first one decides the layout and how turns are counted. */
static ts_status add_motion(scene *s, const char *path, const char *layout, ts_error *err)
{
    ts_npy npy;
    ts_skeleton *body = &s->body[s->count];
    TS_TRY(ts_npy_open(&npy, path, err));
    ts_status status = s->count ? check_columns(&npy, s->layout, path, err) : choose_layout(s, layout, &npy, path, err);
    if (status == TS_OK)
        status = ts_skeleton_of(body, s->layout, npy.tensor.data, npy.tensor.shape.dim[0], NULL, NULL,
                                s->count ? &s->body[0].yaw : NULL, path, err);
    s->count++;
    ts_npy_close(&npy);
    return status;
}

/* "walk" of "some/walk.npy" */
static char *clip_name(const char *path, ts_arena *arena)
{
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path, *dot = strrchr(name, '.');
    return ts_arena_format(arena, "%.*s", dot && dot > name ? (int)(dot - name) : (int)strlen(name), name);
}

/* --- the picture -------------------------------------------------------------------------------------------------- */

static ts_status crop(scene *s, const char *frames, ts_error *err)
{
    int64_t first = 0, last = s->body[0].frames;
    for (int i = 1; i < s->count; i++)
        last = s->body[i].frames < last ? s->body[i].frames : last;
    if (frames)
        TS_TRY(parse_frames(frames, last, &first, &last, err));
    s->first = first;
    for (int i = 0; i < s->count; i++)
        ts_skeleton_crop(&s->body[i], first, last - first);
    return TS_OK;
}

static ts_status fill_show(ts_skeleton_show *show, const scene *s, const ts_arguments *a, ts_error *err)
{
    bool strip = s->format == TS_RENDER_PNG;
    show->count = s->count;
    show->first = s->first;
    show->fps = ts_arguments_given(a, "fps") ? ts_arguments_real(a, "fps") : s->layout->fps;
    show->width = strip ? POSE_WIDTH : s->count > 1 ? TWO_WIDTH : WIDTH;
    show->height = strip ? POSE_HEIGHT : HEIGHT;
    for (int i = 0; i < s->count; i++)
        show->body[i] = &s->body[i];
    return ts_arguments_given(a, "size") ? parse_size(ts_arguments_text(a, "size"), show, err) : TS_OK;
}

static ts_status answer(const char *path, const scene *s, const ts_rendered *r, bool json, ts_error *err)
{
    json_t *all = json_object();
    json_object_set_new(all, "output", json_string(path));
    json_object_set_new(all, "format", json_string(ts_render_format_names[s->format]));
    json_object_set_new(all, "layout", json_string(s->layout->name));
    json_object_set_new(all, "pictures", json_integer(r->pictures));
    json_object_set_new(all, "fps", r->fps > 0 ? json_real(r->fps) : json_null());
    json_object_set_new(all, "size", json_pack("[i, i]", r->width, r->height));
    return ts_answer_show(all, json, stdout, err);
}

static ts_status render_motion(scene *s, const ts_arguments *a, ts_skeleton_show *show, ts_error *err)
{
    const char *path = ts_arguments_positional(a, 0), *other = ts_arguments_text(a, "beside");
    TS_TRY(add_motion(s, path, ts_arguments_text(a, "layout"), err));
    show->title = clip_name(path, &s->arena);
    if (!other)
        return TS_OK;
    TS_TRY(add_motion(s, other, NULL, err));
    show->label[0] = clip_name(path, &s->arena);
    show->label[1] = clip_name(other, &s->arena);
    if (!show->label[0] || !show->label[1])
        return ts_out_of_memory(err, strlen(other));
    if (strcmp(show->label[0], show->label[1]) == 0) {
        show->label[0] = "original";
        show->label[1] = "reconstruction";
    }
    return TS_OK;
}

ts_status ts_cmd_render(const ts_arguments *a, int *exit_code, ts_error *err)
{
    (void)exit_code;
    const char *output = ts_arguments_text(a, "output");
    scene s = {0};
    ts_skeleton_show show = {0};
    ts_rendered rendered;
    ts_status status = ts_render_format_of(output, &s.format, err);
    if (status == TS_OK)
        status = render_motion(&s, a, &show, err);
    if (status == TS_OK)
        status = crop(&s, ts_arguments_text(a, "frames"), err);
    if (status == TS_OK)
        status = fill_show(&show, &s, a, err);
    if (status == TS_OK)
        status = ts_motion_render(output, &show, &rendered, err);
    if (status == TS_OK)
        status = answer(output, &s, &rendered, ts_arguments_flag(a, "json"), err);
    for (int i = 0; i < s.count; i++)
        ts_skeleton_clear(&s.body[i]);
    ts_arena_clear(&s.arena);
    return status;
}
