/* What image.c asks of the file that knows libpng and of the one that knows libjpeg. */
#ifndef TS_CORE_FILES_IMAGE_INTERNAL_H
#define TS_CORE_FILES_IMAGE_INTERNAL_H

#include <stdbool.h>

#include "core/files/bytes.h"
#include "core/files/image.h"

/* The picture as the file has it, gray or RGB. `path` and `code` are for errors. */
ts_status ts_png_decode(ts_image *image, const ts_bytes *bytes, const char *path, ts_status code, ts_error *err);
ts_status ts_jpeg_decode(ts_image *image, const ts_bytes *bytes, const char *path, ts_status code, ts_error *err);

/* The bytes of a PNG file. Owner: the caller calls ts_bytes_clear. */
ts_status ts_png_encode(ts_bytes *bytes, const ts_image *image, const char *path, ts_error *err);

/* Beyond the limit, or without pixels. */
bool ts_image_bad_size(uint64_t height, uint64_t width);

/* Takes memory for the pixels of a good size. False when out of memory. */
bool ts_image_allocate(ts_image *image, uint64_t height, uint64_t width, int channels);

#endif
