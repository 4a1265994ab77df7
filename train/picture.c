#include "train/picture.h"

#include <math.h>
#include <string.h>

#include "core/memory.h"

ts_status ts_picture_new(ts_image *picture, int64_t height, int64_t width, int channels, ts_error *err)
{
    size_t bytes = (size_t)(height * width * channels);
    *picture = (ts_image){height, width, channels, ts_alloc(bytes)};
    if (!picture->pixels)
        return ts_out_of_memory(err, bytes);
    memset(picture->pixels, 255, bytes);
    return TS_OK;
}

static int64_t clamp(int64_t x, int64_t low, int64_t high)
{
    return x < low ? low : x > high ? high : x;
}

void ts_picture_fill(ts_image *picture, int64_t x, int64_t y, int64_t width, int64_t height, ts_colour colour)
{
    int64_t x_end = clamp(x + width, 0, picture->width), y_end = clamp(y + height, 0, picture->height);
    for (int64_t row = clamp(y, 0, y_end); row < y_end; row++)
        for (int64_t column = clamp(x, 0, x_end); column < x_end; column++)
            memcpy(picture->pixels + (row * picture->width + column) * 3, &colour, 3);
}

/* ---- originals above reconstructions ---- */

enum {
    BACKGROUND = 236, /* neither a white nor a black image runs into it */
    MARGIN = 8,       /* pixels around everything */
    PAIR_GAP = 2,     /* between an original and its reconstruction */
    COLUMN_GAP = 4,   /* between neighbours */
    ROW_GAP = 10,     /* between rows of pairs */
    WANTED_SIDE = 96, /* small images are enlarged towards it */
    MAX_ENLARGED = 4,
    MIN_COLUMNS = 8,
    MAX_COLUMNS = 16,
};

typedef struct {
    int64_t height, width, channels; /* of an image as it comes */
    int64_t scale, columns, rows;    /* rows of pairs */
    int shown;                       /* channels in the picture */
    ts_range range;
} layout;

static int64_t grid_height(const layout *l)
{
    return 2 * MARGIN + l->rows * (2 * l->height * l->scale + PAIR_GAP) + (l->rows - 1) * ROW_GAP;
}

static int64_t grid_width(const layout *l)
{
    return 2 * MARGIN + l->columns * l->width * l->scale + (l->columns - 1) * COLUMN_GAP;
}

/* Few empty places, and a shape that fits a screen. */
static double badness(const layout *l, int64_t count)
{
    double empty = (double)(l->columns * l->rows - count) / (double)count;
    return 2 * empty + fabs(log((double)grid_width(l) / (double)grid_height(l) / 1.8));
}

static void choose_columns(layout *l, int64_t count)
{
    layout best = *l;
    best.columns = 1;
    best.rows = count;
    double least = INFINITY;
    for (l->columns = count < MIN_COLUMNS ? count : MIN_COLUMNS; l->columns <= MAX_COLUMNS && l->columns <= count;
         l->columns++) {
        l->rows = (count + l->columns - 1) / l->columns;
        if (badness(l, count) < least) {
            least = badness(l, count);
            best = *l;
        }
    }
    *l = best;
}

static void place(ts_image *picture, const layout *l, const uint8_t *image, int64_t x, int64_t y)
{
    for (int64_t row = 0; row < l->height * l->scale; row++)
        for (int64_t column = 0; column < l->width * l->scale; column++) {
            const uint8_t *from = image + (row / l->scale * l->width + column / l->scale) * l->channels;
            memcpy(picture->pixels + ((y + row) * picture->width + x + column) * l->shown, from, (size_t)l->shown);
        }
}

static void place_pair(ts_image *picture, const layout *l, int64_t index, const float *original, const float *output,
                       uint8_t *pixels)
{
    int64_t size = l->height * l->width * l->channels, side = l->height * l->scale;
    int64_t x = MARGIN + index % l->columns * (l->width * l->scale + COLUMN_GAP);
    int64_t y = MARGIN + index / l->columns * (2 * side + PAIR_GAP + ROW_GAP);
    ts_pixels_from_float(l->range, original, size, pixels);
    place(picture, l, pixels, x, y);
    ts_pixels_from_float(l->range, output, size, pixels);
    place(picture, l, pixels, x, y + side + PAIR_GAP);
}

ts_status ts_picture_pairs(ts_image *picture, const float *originals, const float *outputs, int64_t count,
                           ts_shape item, ts_range range, ts_error *err)
{
    layout l = {.height = item.dim[0], .width = item.dim[1], .channels = item.dim[2], .range = range};
    int64_t side = l.height > l.width ? l.height : l.width, size = ts_shape_count(item);
    l.scale = clamp(WANTED_SIDE / side, 1, MAX_ENLARGED);
    l.shown = l.channels < 3 ? 1 : 3;
    choose_columns(&l, count);
    uint8_t *pixels = ts_alloc((size_t)size);
    if (!pixels)
        return ts_out_of_memory(err, (size_t)size);
    ts_status status = ts_picture_new(picture, grid_height(&l), grid_width(&l), l.shown, err);
    if (status == TS_OK) {
        memset(picture->pixels, BACKGROUND, (size_t)(picture->height * picture->width * l.shown));
        for (int64_t i = 0; i < count; i++)
            place_pair(picture, &l, i, originals + i * size, outputs + i * size, pixels);
    }
    ts_free(pixels);
    return status;
}
