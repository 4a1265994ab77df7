#include "train/motion_render.h"

#include <string.h>
#include <strings.h>

#include "core/text.h"
#include "train/gif.h"
#include "train/video.h"

const char *const ts_render_format_names[] = {"GIF", "MP4", "PNG"};

ts_status ts_render_format_of(const char *path, ts_render_format *format, ts_error *err)
{
    static const char *const endings[] = {".gif", ".mp4", ".png"};
    const char *slash = strrchr(path, '/'), *dot = strrchr(slash ? slash : path, '.');
    for (int i = 0; dot && i < 3; i++)
        if (strcasecmp(dot, endings[i]) == 0) {
            *format = (ts_render_format)i;
            return TS_OK;
        }
    return ts_fail(err, TS_ERR_USAGE, "%s: expected a name that ends in .gif, .mp4 or .png", TS_SHOWN(path));
}

static ts_status write_strip(const char *path, const ts_skeleton_show *show, ts_rendered *r, ts_error *err)
{
    ts_image strip;
    TS_TRY(ts_skeleton_strip(&strip, show, TS_STRIP_POSES, err));
    int64_t frames = ts_skeleton_show_frames(show);
    *r = (ts_rendered){frames < TS_STRIP_POSES ? frames : TS_STRIP_POSES, 0, (int)strip.width, (int)strip.height};
    ts_status status = ts_image_write_png(path, &strip, err);
    ts_image_clear(&strip);
    return status;
}

/* ---- animations ---- */

/* Of the two kinds of file one is there. */
typedef struct {
    ts_gif *gif;
    ts_video *video;
} film;

static ts_status open_film(film *f, const char *path, ts_render_format format, const ts_rendered *r, ts_error *err)
{
    *f = (film){0};
    return format == TS_RENDER_GIF
               ? ts_gif_open(&f->gif, path, r->width, r->height, r->fps, ts_skeleton_colours, TS_SKELETON_COLOURS, err)
               : ts_video_open(&f->video, path, r->width, r->height, r->fps, err);
}

static ts_status add_frame(const film *f, const ts_image *frame, ts_error *err)
{
    return f->gif ? ts_gif_add(f->gif, frame, err) : ts_video_add(f->video, frame, err);
}

static ts_status close_film(const film *f, bool keep, ts_error *err)
{
    return f->gif ? ts_gif_close(f->gif, keep, err) : ts_video_close(f->video, keep, err);
}

static ts_status paint_all(ts_skeleton_painter *painter, const ts_skeleton_show *show, int every, const film *f,
                           ts_rendered *r, ts_error *err)
{
    ts_image picture;
    TS_TRY(ts_picture_new(&picture, r->height, r->width, 3, err));
    ts_status status = TS_OK;
    for (int64_t t = 0; status == TS_OK && t < ts_skeleton_show_frames(show); t += every) {
        status = ts_skeleton_paint(painter, t, &picture, err);
        if (status == TS_OK)
            status = add_frame(f, &picture, err);
        r->pictures++;
    }
    ts_image_clear(&picture);
    return status;
}

static ts_status write_film(const char *path, const ts_skeleton_show *show, ts_render_format format, ts_rendered *r,
                            ts_error *err)
{
    ts_skeleton_painter *painter;
    film f;
    int every = format == TS_RENDER_GIF ? ts_gif_every(show->fps) : 1;
    *r = (ts_rendered){0, show->fps / every, show->width, show->height};
    TS_TRY(ts_skeleton_painter_open(&painter, show, err));
    ts_status status = open_film(&f, path, format, r, err);
    if (status == TS_OK) {
        status = paint_all(painter, show, every, &f, r, err);
        ts_status closed = close_film(&f, status == TS_OK, err);
        status = status == TS_OK ? closed : status;
    }
    ts_skeleton_painter_close(painter);
    return status;
}

ts_status ts_motion_render(const char *path, const ts_skeleton_show *show, ts_rendered *rendered, ts_error *err)
{
    ts_render_format format;
    ts_skeleton_show even = *show;
    TS_TRY(ts_render_format_of(path, &format, err));
    if (format == TS_RENDER_PNG)
        return write_strip(path, show, rendered, err);
    if (format == TS_RENDER_MP4) {
        even.width += even.width % 2;
        even.height += even.height % 2;
    }
    return write_film(path, &even, format, rendered, err);
}
