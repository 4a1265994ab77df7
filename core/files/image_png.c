/* The one file that knows libpng. It reports errors by longjmp: all that must survive one lives in a job, and the
 * function that calls setjmp has no locals of its own that change. */
#include <png.h>
#include <setjmp.h>
#include <stdio.h>
#include <string.h>

#include "core/files/image_internal.h"
#include "core/memory.h"

typedef struct {
    png_structp png;
    png_infop info;
    char why[128]; /* libpng's reason, once there is one */
    /* reading */
    const ts_bytes *from;
    size_t at; /* bytes of `from` that were read */
    ts_image image;
    /* writing */
    ts_bytes to;
    size_t capacity_bytes;
} job;

static void on_error(png_structp png, png_const_charp why)
{
    job *j = png_get_error_ptr(png);
    snprintf(j->why, sizeof j->why, "%s", why);
    png_longjmp(png, 1);
}

static void on_warning(png_structp png, png_const_charp why)
{
    (void)png;
    (void)why;
}

/* ---- reading ---- */

static void on_read(png_structp png, png_bytep bytes, size_t count)
{
    job *j = png_get_io_ptr(png);
    if (count > j->from->count - j->at)
        png_error(png, "truncated");
    memcpy(bytes, j->from->data + j->at, count);
    j->at += count;
}

static void ask_for_8_bit_gray_or_rgb(job *j)
{
    png_set_expand(j->png);
    png_set_scale_16(j->png);
    png_set_strip_alpha(j->png);
}

static void read_png(job *j)
{
    png_set_read_fn(j->png, j, on_read);
    png_set_user_limits(j->png, TS_IMAGE_MAX_PIXELS, TS_IMAGE_MAX_PIXELS);
    png_set_chunk_malloc_max(j->png, 64 << 20);
    png_read_info(j->png, j->info);
    ask_for_8_bit_gray_or_rgb(j);
    int passes = png_set_interlace_handling(j->png);
    png_read_update_info(j->png, j->info);
    int channels = png_get_channels(j->png, j->info);
    uint64_t height = png_get_image_height(j->png, j->info), width = png_get_image_width(j->png, j->info);
    if (channels != 1 && channels != 3)
        png_error(j->png, "neither gray nor colour");
    if (ts_image_bad_size(height, width))
        png_error(j->png, "larger than the limit of 2^28 pixels");
    if (!ts_image_allocate(&j->image, height, width, channels))
        png_error(j->png, "out of memory");
    for (int pass = 0; pass < passes; pass++)
        for (uint64_t y = 0; y < height; y++)
            png_read_row(j->png, j->image.pixels + y * width * (uint64_t)channels, NULL);
    png_read_end(j->png, NULL);
}

static bool try_read(job *j)
{
    if (setjmp(png_jmpbuf(j->png)))
        return false;
    read_png(j);
    return true;
}

ts_status ts_png_decode(ts_image *image, const ts_bytes *bytes, const char *path, ts_status code, ts_error *err)
{
    job j = {.from = bytes};
    j.png = png_create_read_struct(PNG_LIBPNG_VER_STRING, &j, on_error, on_warning);
    j.info = j.png ? png_create_info_struct(j.png) : NULL;
    ts_status status = TS_OK;
    if (!j.info)
        status = ts_out_of_memory(err, sizeof j);
    else if (!try_read(&j))
        status = ts_fail(err, code, "%s: the PNG picture cannot be read: %s", path, j.why);
    png_destroy_read_struct(&j.png, &j.info, NULL);
    if (status == TS_OK)
        *image = j.image;
    else
        ts_image_clear(&j.image);
    return status;
}

/* ---- writing ---- */

static void on_write(png_structp png, png_bytep bytes, size_t count)
{
    job *j = png_get_io_ptr(png);
    if (count > j->capacity_bytes - j->to.count) {
        size_t capacity = 2 * j->capacity_bytes + count + 4096;
        unsigned char *data = ts_realloc(j->to.data, capacity, 1);
        if (!data)
            png_error(png, "out of memory");
        j->to.data = data;
        j->capacity_bytes = capacity;
    }
    memcpy(j->to.data + j->to.count, bytes, count);
    j->to.count += count;
}

static void on_flush(png_structp png)
{
    (void)png;
}

static void write_png(job *j)
{
    const ts_image *image = &j->image;
    png_set_write_fn(j->png, j, on_write, on_flush);
    png_set_user_limits(j->png, TS_IMAGE_MAX_PIXELS, TS_IMAGE_MAX_PIXELS);
    png_set_IHDR(j->png, j->info, (png_uint_32)image->width, (png_uint_32)image->height, 8,
                 image->channels == 1 ? PNG_COLOR_TYPE_GRAY : PNG_COLOR_TYPE_RGB, PNG_INTERLACE_NONE,
                 PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
    png_write_info(j->png, j->info);
    for (int64_t y = 0; y < image->height; y++)
        png_write_row(j->png, image->pixels + y * image->width * image->channels);
    png_write_end(j->png, NULL);
}

static bool try_write(job *j)
{
    if (setjmp(png_jmpbuf(j->png)))
        return false;
    write_png(j);
    return true;
}

ts_status ts_png_encode(ts_bytes *bytes, const ts_image *image, const char *path, ts_error *err)
{
    *bytes = (ts_bytes){0};
    if (image->height < 1 || image->width < 1 || ts_image_bad_size((uint64_t)image->height, (uint64_t)image->width) ||
        (image->channels != 1 && image->channels != 3))
        return ts_fail(err, TS_ERR_DATA,
                       "%s: a picture of %lld x %lld pixels with %d channels cannot be written as PNG", path,
                       (long long)image->height, (long long)image->width, image->channels);
    job j = {.image = *image};
    j.png = png_create_write_struct(PNG_LIBPNG_VER_STRING, &j, on_error, on_warning);
    j.info = j.png ? png_create_info_struct(j.png) : NULL;
    ts_status status = TS_OK;
    if (!j.info)
        status = ts_out_of_memory(err, sizeof j);
    else if (!try_write(&j))
        status = ts_fail(err, TS_ERR_RUNTIME, "%s: the PNG picture cannot be written: %s", path, j.why);
    png_destroy_write_struct(&j.png, &j.info);
    if (status == TS_OK)
        *bytes = j.to;
    else
        ts_bytes_clear(&j.to);
    return status;
}
