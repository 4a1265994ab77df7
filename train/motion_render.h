/* Moving bodies into a file, whose ending says what it becomes:
 *     .gif   an animation (train/gif.h)
 *     .mp4   a film (train/video.h)
 *     .png   a strip of poses (train/skeleton_picture.h) */
#ifndef TS_TRAIN_MOTION_RENDER_H
#define TS_TRAIN_MOTION_RENDER_H

#include "train/skeleton_picture.h"

typedef enum { TS_RENDER_GIF, TS_RENDER_MP4, TS_RENDER_PNG } ts_render_format;

extern const char *const ts_render_format_names[]; /* "GIF", "MP4", "PNG" */

/* Errors: TS_ERR_USAGE another ending. */
ts_status ts_render_format_of(const char *path, ts_render_format *format, ts_error *err);

/* What was written. */
typedef struct {
    int64_t pictures; /* frames of the animation, poses of the strip */
    double fps;       /* of the animation; below the show's where every second frame was left out ... (train/gif.h) */
    int width, height;
} ts_rendered;

enum { TS_STRIP_POSES = 8 };

/* Writes the show to `path`, atomically. A show's width and height are those of the animation, or of one pose in a
 * strip of TS_STRIP_POSES; a film has even ones, the next larger. Errors: TS_ERR_USAGE the ending; TS_ERR_DATA the
 * path; TS_ERR_RUNTIME a library or program that is missing or fails. */
ts_status ts_motion_render(const char *path, const ts_skeleton_show *show, ts_rendered *rendered, ts_error *err);

#endif
