/* Pictures: PNG and JPEG into bytes, bytes into PNG. The format is told by the content, not by the name. */
#ifndef TS_CORE_FILES_IMAGE_H
#define TS_CORE_FILES_IMAGE_H

#include <stdint.h>

#include "core/status.h"

/* Larger pictures are refused before memory is taken for them. */
enum { TS_IMAGE_MAX_PIXELS = 1 << 28, TS_IMAGE_MAX_FILE_BYTES = 1 << 30 };

typedef struct {
    int64_t height, width; /* pixels */
    int channels;          /* 1 gray, 3 RGB */
    uint8_t *pixels;       /* [height, width, channels], 0 to 255 as stored (sRGB, as a rule) */
} ts_image;

/* Reads a PNG (any type: gray, palette, RGB, with alpha, 1 to 16 bits, interlaced) or a JPEG (also progressive, CMYK).
 * `channels`: 1, 3, or 0 for what the file has. Alpha is dropped, 16 bits are scaled to 8, colour becomes gray as
 * (299 R + 587 G + 114 B) / 1000, all as Pillow's convert does; gamma, profiles and EXIF orientation are left alone.
 * Owner: the caller calls ts_image_clear after TS_OK; after an error there is nothing to clear.
 * Errors: `code` with the path: missing, empty, neither PNG nor JPEG, truncated or damaged, too large. */
ts_status ts_image_read(ts_image *image, const char *path, int channels, ts_status code, ts_error *err);
void ts_image_clear(ts_image *image);

/* Writes an 8-bit PNG, atomically (replace.h). Errors: TS_ERR_DATA with the path; TS_ERR_RUNTIME out of memory. */
ts_status ts_image_write_png(const char *path, const ts_image *image, ts_error *err);

#endif
