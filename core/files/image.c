#include "core/files/image.h"

#include <string.h>

#include "core/files/image_internal.h"
#include "core/files/replace.h"
#include "core/memory.h"

void ts_image_clear(ts_image *image)
{
    ts_free(image->pixels);
    *image = (ts_image){0};
}

bool ts_image_bad_size(uint64_t height, uint64_t width)
{
    return height == 0 || width == 0 || height > TS_IMAGE_MAX_PIXELS / width;
}

bool ts_image_allocate(ts_image *image, uint64_t height, uint64_t width, int channels)
{
    *image = (ts_image){(int64_t)height, (int64_t)width, channels, ts_alloc(height * width * (uint64_t)channels)};
    return image->pixels != NULL;
}

/* In place, so that a large picture is in memory once: to gray from the front ... */
static void to_gray(ts_image *image)
{
    const uint8_t *rgb = image->pixels;
    for (int64_t i = 0; i < image->height * image->width; i++, rgb += 3) /* Pillow's 16-bit weights */
        image->pixels[i] = (uint8_t)((rgb[0] * 19595u + rgb[1] * 38470u + rgb[2] * 7471u + 0x8000u) >> 16);
    image->channels = 1;
}

/* ... and to RGB from the back. */
static ts_status to_rgb(ts_image *image, ts_error *err)
{
    size_t count = (size_t)(image->height * image->width);
    uint8_t *pixels = ts_realloc(image->pixels, count, 3);
    if (!pixels)
        return ts_out_of_memory(err, count * 3);
    for (size_t i = count; i-- > 0;)
        memset(pixels + 3 * i, pixels[i], 3);
    image->pixels = pixels;
    image->channels = 3;
    return TS_OK;
}

static ts_status decode(ts_image *image, const ts_bytes *bytes, const char *path, ts_status code, ts_error *err)
{
    static const unsigned char png[8] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'}, jpeg[3] = {0xff, 0xd8, 0xff};
    if (bytes->count == 0)
        return ts_fail(err, code, "%s: the file is empty (0 bytes); a PNG or JPEG picture was expected", path);
    if (bytes->count >= sizeof png && memcmp(bytes->data, png, sizeof png) == 0)
        return ts_png_decode(image, bytes, path, code, err);
    if (bytes->count >= sizeof jpeg && memcmp(bytes->data, jpeg, sizeof jpeg) == 0)
        return ts_jpeg_decode(image, bytes, path, code, err);
    return ts_fail(err, code, "%s: neither a PNG nor a JPEG picture", path);
}

ts_status ts_image_read(ts_image *image, const char *path, int channels, ts_status code, ts_error *err)
{
    ts_bytes bytes;
    *image = (ts_image){0};
    TS_TRY(ts_bytes_read(&bytes, path, TS_IMAGE_MAX_FILE_BYTES, code, err));
    ts_status status = decode(image, &bytes, path, code, err);
    ts_bytes_clear(&bytes);
    if (status == TS_OK && channels == 1 && image->channels == 3)
        to_gray(image);
    else if (status == TS_OK && channels == 3 && image->channels == 1)
        status = to_rgb(image, err);
    if (status != TS_OK)
        ts_image_clear(image);
    return status;
}

ts_status ts_image_write_png(const char *path, const ts_image *image, ts_error *err)
{
    ts_bytes bytes;
    TS_TRY(ts_png_encode(&bytes, image, path, err));
    ts_status status = ts_replace_file(path, bytes.data, bytes.count, TS_REPLACE_DROP, TS_ERR_DATA, err);
    ts_bytes_clear(&bytes);
    return status;
}
