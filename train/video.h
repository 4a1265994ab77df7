/* MP4 files, by the program ffmpeg, which is given raw frames. Thread: one at a time on a file. */
#ifndef TS_TRAIN_VIDEO_H
#define TS_TRAIN_VIDEO_H

#include "core/files/image.h"

/* "ffmpeg version 5.1.9 ...", its first line, or NULL: there is none that can be started. In a static buffer. */
const char *ts_video_program(void);

/* A file of pictures of width x height, both even, `fps` a second. The path is written when the file is closed with
 * `keep`, atomically (core/files/replace.h).
 * Owner: ts_video_close. Errors: TS_ERR_DATA the path cannot be written; TS_ERR_RUNTIME ffmpeg is not installed, or
 * failed, with its own first line. Where it ends early there is an error and no signal. */
typedef struct ts_video ts_video;
ts_status ts_video_open(ts_video **video, const char *path, int width, int height, double fps, ts_error *err);

/* One more frame: RGB, of the file's size. */
ts_status ts_video_add(ts_video *video, const ts_image *frame, ts_error *err);

/* keep: waits for ffmpeg and puts the file in its place; otherwise nothing is left of it. Frees in any case; NULL is
 * fine. */
ts_status ts_video_close(ts_video *video, bool keep, ts_error *err);

#endif
