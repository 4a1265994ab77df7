/* Animated GIF files, with giflib, which is optional: without it ts_gif_open answers TS_ERR_RUNTIME with a line that
 * says what to install. Thread: one at a time on a file. */
#ifndef TS_TRAIN_GIF_H
#define TS_TRAIN_GIF_H

#include "train/picture.h"

/* "giflib 5.2.1", or NULL: the program was built without it. */
const char *ts_gif_library(void);

/* Hundredths of a second that frame i is shown: frames begin at the hundredths nearest to i / fps, so that rounding
 * does not add up. */
int ts_gif_delay(int64_t i, double fps);

/* Programs that show GIF files take delays below 2 hundredths for 10: a faster motion is written with every second
 * frame, every third ... How many frames make one. */
int ts_gif_every(double fps);

/* A file of pictures of width x height, shown over and over, `fps` a second (at most 50: ts_gif_every). Its 255 colours
 * are even steps from each of the `count` colours to white, the first one's in more steps, and a few of all others; the
 * steps make smooth borders of what is drawn in those colours on white.
 * The path is written when the file is closed with `keep`, atomically (core/files/replace.h).
 * Owner: ts_gif_close. Errors: TS_ERR_DATA the path cannot be written, here and below. */
typedef struct ts_gif ts_gif;
ts_status ts_gif_open(ts_gif **gif, const char *path, int width, int height, double fps, const ts_colour *colours,
                      int count, ts_error *err);

/* One more frame: RGB, of the file's size. What did not change since the frame before takes no room. */
ts_status ts_gif_add(ts_gif *gif, const ts_image *frame, ts_error *err);

/* keep: puts the file in its place; otherwise nothing is left of it. Frees in any case; NULL is fine. */
ts_status ts_gif_close(ts_gif *gif, bool keep, ts_error *err);

#endif
