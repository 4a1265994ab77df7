/* The one file that knows libjpeg (libjpeg-turbo's). Like libpng it reports errors by longjmp; what would leave gray
 * areas in a picture is only a warning to it, and an error here. */
#include <setjmp.h>
#include <stdio.h>
#include <string.h>

#include <jpeglib.h>

#include <jerror.h>

#include "core/files/image_internal.h"
#include "core/memory.h"

typedef struct {
    struct jpeg_error_mgr errors; /* first, so that a pointer to it is one to the job */
    struct jpeg_decompress_struct jpeg;
    struct jpeg_progress_mgr progress;
    jmp_buf escape;
    char why[JMSG_LENGTH_MAX];
    const ts_bytes *from;
    ts_image image;
    uint8_t *row; /* [width, 4], for CMYK */
} job;

static void give_up(job *j, const char *why)
{
    snprintf(j->why, sizeof j->why, "%s", why);
    longjmp(j->escape, 1);
}

static void on_error(j_common_ptr jpeg)
{
    job *j = (job *)jpeg->err;
    jpeg->err->format_message(jpeg, j->why);
    longjmp(j->escape, 1);
}

static void on_message(j_common_ptr jpeg, int level)
{
    int code = jpeg->err->msg_code;
    bool harmless = code == JWRN_EXTRANEOUS_DATA || code == JWRN_JFIF_MAJOR || code == JWRN_ADOBE_XFORM;
    if (level < 0 && !harmless)
        on_error(jpeg);
}

/* A few kilobytes can hold a thousand scans over a huge picture. */
static void on_progress(j_common_ptr jpeg)
{
    if (((j_decompress_ptr)jpeg)->input_scan_number > 500)
        give_up((job *)jpeg->err, "more than 500 scans");
}

/* Adobe stores the inverse of CMYK, others CMYK itself. */
static void cmyk_to_rgb(const job *j, uint8_t *rgb)
{
    for (int64_t x = 0; x < j->image.width; x++)
        for (int c = 0; c < 3; c++) {
            int ink = j->row[4 * x + c], black = j->row[4 * x + 3];
            if (!j->jpeg.saw_Adobe_marker) {
                ink = 255 - ink;
                black = 255 - black;
            }
            rgb[3 * x + c] = (uint8_t)((ink * black + 127) / 255);
        }
}

static void choose_colours(struct jpeg_decompress_struct *jpeg)
{
    if (jpeg->jpeg_color_space == JCS_GRAYSCALE)
        jpeg->out_color_space = JCS_GRAYSCALE;
    else if (jpeg->jpeg_color_space == JCS_CMYK || jpeg->jpeg_color_space == JCS_YCCK)
        jpeg->out_color_space = JCS_CMYK;
    else
        jpeg->out_color_space = JCS_RGB;
    jpeg->dct_method = JDCT_ISLOW; /* the exact one: the same pixels on every machine */
}

static void read_rows(job *j)
{
    struct jpeg_decompress_struct *jpeg = &j->jpeg;
    bool cmyk = jpeg->out_color_space == JCS_CMYK;
    while (jpeg->output_scanline < jpeg->output_height) {
        uint8_t *to =
            j->image.pixels + (uint64_t)jpeg->output_scanline * jpeg->output_width * (uint64_t)j->image.channels;
        JSAMPROW row = cmyk ? j->row : to;
        jpeg_read_scanlines(jpeg, &row, 1);
        if (cmyk)
            cmyk_to_rgb(j, to);
    }
}

static void read_jpeg(job *j)
{
    struct jpeg_decompress_struct *jpeg = &j->jpeg;
    jpeg_create_decompress(jpeg);
    j->progress.progress_monitor = on_progress;
    jpeg->progress = &j->progress;
    jpeg_mem_src(jpeg, j->from->data, j->from->count);
    jpeg_read_header(jpeg, TRUE);
    choose_colours(jpeg);
    if (ts_image_bad_size(jpeg->image_height, jpeg->image_width))
        give_up(j, "larger than the limit of 2^28 pixels");
    jpeg_start_decompress(jpeg);
    bool gray = jpeg->out_color_space == JCS_GRAYSCALE;
    if (!ts_image_allocate(&j->image, jpeg->output_height, jpeg->output_width, gray ? 1 : 3) ||
        !(j->row = ts_alloc((size_t)jpeg->output_width * 4)))
        give_up(j, "out of memory");
    read_rows(j);
    jpeg_finish_decompress(jpeg);
}

static bool try_read(job *j)
{
    if (setjmp(j->escape))
        return false;
    read_jpeg(j);
    return true;
}

ts_status ts_jpeg_decode(ts_image *image, const ts_bytes *bytes, const char *path, ts_status code, ts_error *err)
{
    job *j = ts_calloc(1, sizeof *j);
    if (!j)
        return ts_out_of_memory(err, sizeof *j);
    j->from = bytes;
    j->jpeg.err = jpeg_std_error(&j->errors);
    j->errors.error_exit = on_error;
    j->errors.emit_message = on_message;
    ts_status status = TS_OK;
    if (!try_read(j))
        status = ts_fail(err, code, "%s: the JPEG picture cannot be read: %s", path, j->why);
    jpeg_destroy_decompress(&j->jpeg);
    if (status == TS_OK)
        *image = j->image;
    else
        ts_image_clear(&j->image);
    ts_free(j->row);
    ts_free(j);
    return status;
}
