/* tessera render: a motion, or a clip and its reconstruction, as an animation, a film or a strip of poses. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "core/files/npy.h"
#include "core/text.h"
#include "train/answer.h"
#include "train/commands.h"
#include "train/motion_pair.h"
#include "train/motion_tree.h"
#include "train/trained.h"

enum {
    WIDTH = 480,
    HEIGHT = 480,
    TWO_WIDTH = 640,
    TWO_HEIGHT = 400,
    POSE_WIDTH = 130,
    POSE_HEIGHT = 210,
    LEAST = 64,
    MOST = 4096
};

/* What was asked for: motions in files, or a clip and what a checkpoint makes of it. */
typedef struct {
    ts_skeleton_show show;
    ts_motion motion; /* of the files */
    ts_skeleton body[2];
    ts_trained trained;
    ts_motion_pair pair;
    ts_render_format format;
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

/* --- motions in files --------------------------------------------------------------------------------------------- */

static ts_status check_shape(const ts_npy *npy, const char *path, ts_error *err)
{
    const ts_shape shape = npy->tensor.shape;
    if (npy->tensor.dtype == TS_F32 && shape.rank == 2 && shape.dim[0] > 0)
        return TS_OK;
    return ts_fail(err, TS_ERR_DATA, "%s: expected floats [frames, columns], found %s %s", path,
                   ts_dtype_name(npy->tensor.dtype), ts_shape_print(shape).text);
}

/* The layout that was named, or the one with as many columns. */
static ts_status choose_layout(scene *s, const char *typed, int64_t columns, const char *path, ts_error *err)
{
    ts_status status = ts_motion_describe(&s->motion, typed ? typed : "auto", 0, columns, err);
    if (status == TS_ERR_DATA)
        ts_error_prefix(err, "%s", path);
    TS_TRY(status);
    if (!ts_motion_layout_known(&s->motion))
        return ts_fail(err, TS_ERR_USAGE,
                       "%s: no known motion has %" PRId64 " columns (humanml3d 263, kit 251, motionmillion 272); say "
                       "what they are with --layout",
                       path, columns);
    return TS_OK;
}

static ts_status same_columns(const scene *s, int64_t columns, const char *path, ts_error *err)
{
    return s->motion.columns == columns
               ? TS_OK
               : ts_fail(err, TS_ERR_DATA, "%s: %" PRId64 " columns, the first motion has %" PRId64, path, columns,
                         s->motion.columns);
}

/* One more body. The first one decides the layout and how turns are counted. */
static ts_status add_motion(scene *s, const char *path, const char *layout, ts_error *err)
{
    ts_npy npy;
    const bool first = s->show.count == 0;
    ts_skeleton *body = &s->body[s->show.count];
    TS_TRY(ts_npy_open(&npy, path, err));
    ts_status status = check_shape(&npy, path, err);
    const int64_t *dim = npy.tensor.shape.dim;
    if (status == TS_OK)
        status = first ? choose_layout(s, layout, dim[1], path, err) : same_columns(s, dim[1], path, err);
    if (status == TS_OK)
        status = ts_skeleton_of(body, &s->motion.layout, npy.tensor.data, dim[0], NULL, NULL,
                                first ? NULL : &s->body[0].yaw, path, err);
    if (status == TS_OK)
        s->show.body[s->show.count++] = body;
    ts_npy_close(&npy);
    return status;
}

static bool ends_in(const char *path, const char *ending)
{
    size_t n = strlen(path), m = strlen(ending);
    return n > m && strcasecmp(path + n - m, ending) == 0;
}

/* "walk" of "some/walk.npy" */
static char *clip_name(const char *path, ts_arena *arena)
{
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path, *dot = strrchr(name, '.');
    return ts_arena_format(arena, "%.*s", dot && dot > name ? (int)(dot - name) : (int)strlen(name), name);
}

static ts_status take_motions(scene *s, const ts_arguments *a, ts_error *err)
{
    const char *path = ts_arguments_positional(a, 0), *other = ts_arguments_text(a, "beside");
    if (a->override_count)
        return ts_fail(err, TS_ERR_USAGE, "%s: is for a checkpoint with a clip; here is a motion alone",
                       TS_SHOWN(a->overrides[0]));
    if (ends_in(path, ".h5"))
        return ts_fail(err, TS_ERR_USAGE, "%s: a checkpoint needs a clip to reconstruct: tessera render %s CLIP -o %s",
                       TS_SHOWN(path), TS_SHOWN(path), TS_SHOWN(ts_arguments_text(a, "output")));
    TS_TRY(add_motion(s, path, ts_arguments_text(a, "layout"), err));
    char *name = clip_name(path, &s->arena), *beside = other ? clip_name(other, &s->arena) : NULL;
    if (!name || (other && !beside))
        return ts_out_of_memory(err, strlen(path));
    s->show.title = name;
    if (!other)
        return TS_OK;
    TS_TRY(add_motion(s, other, NULL, err));
    const bool same = strcmp(name, beside) == 0;
    s->show.title = same ? name : NULL;
    s->show.label[0] = same ? "original" : name;
    s->show.label[1] = same ? "reconstruction" : beside;
    return TS_OK;
}

/* --- a clip and its reconstruction -------------------------------------------------------------------------------- */

/* The clip that the data call so. */
static ts_status take_named(scene *s, const char *id, ts_error *err)
{
    ts_clip_list clips;
    int64_t frames, place = 0;
    ts_experiment *e = &s->trained.experiment;
    ts_status status = ts_experiment_clips(e, "all", &clips, err);
    while (status == TS_OK && place < clips.files.count && strcmp(clips.files.name[place], id) != 0)
        place++;
    if (status == TS_OK && place == clips.files.count)
        status = ts_fail(err, TS_ERR_DATA,
                         "%s: the data have no clip of that name among their %" PRId64 ", the first of which is %s; a "
                         "file ends in .npy",
                         TS_SHOWN(id), clips.files.count, TS_SHOWN(clips.files.name[0]));
    if (status == TS_OK)
        status = ts_motion_pair_clip(&s->pair, e, s->trained.ema, &clips, place, 0, &frames, err);
    ts_file_list_clear(&clips.files);
    return status;
}

static ts_status take_file(scene *s, const char *path, ts_error *err)
{
    ts_npy clip;
    TS_TRY(ts_motion_file_open(&clip, path, s->trained.experiment.motion.columns, err));
    ts_status status = ts_motion_pair_make(&s->pair, &s->trained.experiment, s->trained.ema, path, clip.tensor.data,
                                           clip.tensor.shape.dim[0], 0, err);
    ts_npy_close(&clip);
    return status;
}

static ts_status take_clip(scene *s, const ts_arguments *a, ts_error *err)
{
    const char *typed = ts_arguments_positional(a, 1);
    const bool file = ends_in(typed, ".npy");
    if (ts_arguments_given(a, "layout") || ts_arguments_given(a, "beside"))
        return ts_fail(err, TS_ERR_USAGE,
                       "--layout and --beside are for a motion alone; a checkpoint knows what columns mean, and its "
                       "reconstruction is what is drawn beside a clip");
    TS_TRY(ts_trained_open(&s->trained, a, err));
    if (!ts_motion_layout_known(&s->trained.experiment.motion))
        return ts_fail(err, TS_ERR_USAGE, "%s: is no model of motion whose columns are known",
                       ts_arguments_positional(a, 0));
    TS_TRY(file ? take_file(s, typed, err) : take_named(s, typed, err));
    s->show.title = file ? clip_name(typed, &s->arena) : typed;
    ts_motion_pair_show(&s->pair, &s->show);
    return TS_OK;
}

/* --- the picture -------------------------------------------------------------------------------------------------- */

static ts_status crop(scene *s, const char *frames, ts_error *err)
{
    int64_t first = 0, last = ts_skeleton_show_frames(&s->show);
    if (frames)
        TS_TRY(parse_frames(frames, last, &first, &last, err));
    s->show.first = first;
    ts_skeleton *const all[] = {&s->body[0], &s->body[1], &s->pair.original, &s->pair.reconstruction};
    for (int i = 0; i < 4; i++)
        if (all[i]->frames)
            ts_skeleton_crop(all[i], first, last - first);
    return TS_OK;
}

static ts_status fill_show(scene *s, const ts_arguments *a, ts_error *err)
{
    const bool strip = s->format == TS_RENDER_PNG;
    s->show.fps = ts_arguments_given(a, "fps") ? ts_arguments_real(a, "fps") : s->show.body[0]->layout->fps;
    s->show.width = strip ? POSE_WIDTH : s->show.count > 1 ? TWO_WIDTH : WIDTH;
    s->show.height = strip ? POSE_HEIGHT : s->show.count > 1 ? TWO_HEIGHT : HEIGHT;
    return ts_arguments_given(a, "size") ? parse_size(ts_arguments_text(a, "size"), &s->show, err) : TS_OK;
}

static ts_status answer(const char *path, const scene *s, const ts_rendered *r, bool json, ts_error *err)
{
    json_t *all = json_object();
    json_object_set_new(all, "output", json_string(path));
    json_object_set_new(all, "format", json_string(ts_render_format_names[s->format]));
    json_object_set_new(all, "layout", json_string(s->show.body[0]->layout->name));
    json_object_set_new(all, "pictures", json_integer(r->pictures));
    json_object_set_new(all, "fps", r->fps > 0 ? json_real(r->fps) : json_null());
    json_object_set_new(all, "size", json_pack("[i, i]", r->width, r->height));
    if (s->pair.original.frames)
        json_object_set_new(all, "mpjpe_mm", ts_answer_real(s->pair.mpjpe_mm));
    return ts_answer_show(all, json, stdout, err);
}

static void close_scene(scene *s)
{
    ts_skeleton_clear(&s->body[0]);
    ts_skeleton_clear(&s->body[1]);
    ts_motion_pair_clear(&s->pair);
    ts_trained_close(&s->trained);
    ts_arena_clear(&s->arena);
}

ts_status ts_cmd_render(const ts_arguments *a, int *exit_code, ts_error *err)
{
    (void)exit_code;
    const char *output = ts_arguments_text(a, "output");
    scene s = {0};
    ts_rendered rendered;
    ts_status status = ts_render_format_of(output, &s.format, err);
    if (status == TS_OK)
        status = ts_arguments_positional(a, 1) ? take_clip(&s, a, err) : take_motions(&s, a, err);
    if (status == TS_OK)
        status = crop(&s, ts_arguments_text(a, "frames"), err);
    if (status == TS_OK)
        status = fill_show(&s, a, err);
    if (status == TS_OK)
        status = ts_motion_render(output, &s.show, &rendered, err);
    if (status == TS_OK)
        status = answer(output, &s, &rendered, ts_arguments_flag(a, "json"), err);
    close_scene(&s);
    return status;
}
