/* Pictures of a run, drawn into memory. Owner of the result of all: the caller calls ts_image_clear.
 * Errors: TS_ERR_RUNTIME out of memory. Thread: pure. */
#ifndef TS_TRAIN_PICTURE_H
#define TS_TRAIN_PICTURE_H

#include "core/files/image.h"
#include "core/tensor.h"
#include "models/pixels.h"

/* Originals [count, H, W, C] above their outputs, in 8 to 16 columns; small images enlarged, pixel by pixel. With two
 * channels the first is drawn, with more than three the first three. count is at least 1, item has rank 3. */
ts_status ts_picture_pairs(ts_image *picture, const float *originals, const float *outputs, int64_t count,
                           ts_shape item, ts_range range, ts_error *err);

/* How often each code was used: bars from the most used to the least, and a map in order of the ids. */
ts_status ts_picture_usage(ts_image *picture, const int64_t *counts, int64_t codes, ts_error *err);

/* ---- for those who draw ---- */

typedef struct {
    uint8_t r, g, b;
} ts_colour;

/* A white picture. */
ts_status ts_picture_new(ts_image *picture, int64_t height, int64_t width, int channels, ts_error *err);

/* A filled rectangle, cut at the borders of an RGB picture. */
void ts_picture_fill(ts_image *picture, int64_t x, int64_t y, int64_t width, int64_t height, ts_colour colour);

/* ASCII, its upper left corner at x, y; each letter is 5 x 7 dots of `dot` pixels in 6 x 9, letters without a glyph are
 * blank, capitals are small. Returns the width in pixels. */
enum { TS_LETTER_WIDTH = 6 };
int64_t ts_picture_text(ts_image *picture, int64_t x, int64_t y, int dot, ts_colour colour, const char *text);

#endif
