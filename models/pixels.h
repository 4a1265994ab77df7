/* 8-bit pixels to floats and back, and the two things that images need on the way: a mirror and a resize. Images are
 * [H, W, C] row-major. */
#ifndef TS_MODELS_PIXELS_H
#define TS_MODELS_PIXELS_H

#include <stdint.h>

#include "core/status.h"

/* What 0..255 maps to: [-1, 1], [0, 1] or [-0.5, 0.5]. */
typedef enum { TS_RANGE_SIGNED, TS_RANGE_UNIT, TS_RANGE_CENTERED } ts_range;

extern const char *const ts_range_names[]; /* "[-1,1]", "[0,1]", "[-0.5,0.5]", NULL: in the order of ts_range */

float ts_range_width(ts_range range); /* 2, 1, 1: the peak of PSNR */
float ts_range_low(ts_range range);   /* -1, 0, -0.5 */

/* n pixels. Each float is the exact quotient rounded once, so the ends are exact, and there and back is the identity.
 * Back: rounded to nearest, ties up; clamped; NaN gives 0. */
void ts_pixels_to_float(ts_range range, const uint8_t *pixels, int64_t n, float *out);
void ts_pixels_from_float(ts_range range, const float *values, int64_t n, uint8_t *out);

/* Mirrors an image [h, w, c] left to right in place. */
void ts_pixels_mirror(float *image, int64_t h, int64_t w, int64_t c);

/* Resamples in [in_h, in_w, c] to out [out_h, out_w, c] with a triangle filter that widens when it shrinks (what PIL
 * calls antialiased bilinear); pixel centres are at half integers. All sizes are at least 1; c is at most 4.
 * Errors: out of memory. */
ts_status ts_pixels_resize(const uint8_t *in, int64_t in_h, int64_t in_w, int64_t c, uint8_t *out, int64_t out_h,
                           int64_t out_w, ts_error *err);

#endif
