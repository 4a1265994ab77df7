/* Pictures of moving bodies, drawn with cairo: a skeleton on a floor with a grid, left limbs blue, right limbs orange,
 * the trunk dark; its shadow, the path of its root, marks where feet stand. Two bodies are drawn beside each other.
 *
 * cairo is optional: where the program was built without it, everything that draws answers TS_ERR_RUNTIME with a line
 * that says what to install. Thread: one at a time on a painter. */
#ifndef TS_TRAIN_SKELETON_PICTURE_H
#define TS_TRAIN_SKELETON_PICTURE_H

#include "train/picture.h"
#include "train/skeleton.h"

/* "cairo 1.16.0", or NULL: the program was built without it. */
const char *ts_skeleton_library(void);

/* What is to be seen. Nothing is copied: it must outlive the painter. */
typedef struct {
    const ts_skeleton *body[2];
    int count;            /* 1, or 2: an original and its reconstruction. Frames of both: those of the shorter one */
    const char *label[2]; /* "original", "reconstruction"; NULL: none */
    const char *title;    /* of the clip; NULL: none */
    double fps;
    int64_t first;     /* number of the first frame, for the text */
    int width, height; /* of a picture, in pixels; at least 64 */
} ts_skeleton_show;

int64_t ts_skeleton_show_frames(const ts_skeleton_show *show);

/* Owner: ts_skeleton_painter_close. */
typedef struct ts_skeleton_painter ts_skeleton_painter;
ts_status ts_skeleton_painter_open(ts_skeleton_painter **painter, const ts_skeleton_show *show, ts_error *err);
void ts_skeleton_painter_close(ts_skeleton_painter *painter); /* NULL is fine */

/* Frame t into `picture`, RGB, of the show's size (ts_picture_new makes one). */
ts_status ts_skeleton_paint(ts_skeleton_painter *painter, int64_t t, ts_image *picture, ts_error *err);

/* A strip of `poses` frames, evenly spaced in time from the first to the last, side by side; of two bodies the second
 * one below the first. Each pose has width x height pixels of the show. Fewer frames than poses: all of them.
 * Owner: ts_image_clear, after TS_OK. */
ts_status ts_skeleton_strip(ts_image *picture, const ts_skeleton_show *show, int poses, ts_error *err);

/* The colours that the pictures are made of: every other one lies between one of these and white. */
enum { TS_SKELETON_COLOURS = 4 };
extern const ts_colour ts_skeleton_colours[TS_SKELETON_COLOURS];

#endif
