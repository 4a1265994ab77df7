/* What is drawn, pixel by pixel where it is decided. */
#include "train/picture.h"

#include <criterion/criterion.h>
#include <string.h>

#include "core/memory.h"

static const uint8_t *pixel(const ts_image *p, int64_t x, int64_t y)
{
    return p->pixels + (y * p->width + x) * p->channels;
}

/* Image i is filled with i / 32, its output with -i / 32; 2 x 3 x 1. */
static ts_image pairs_of(int64_t count)
{
    float originals[32 * 6], outputs[32 * 6];
    for (int64_t i = 0; i < count * 6; i++) {
        originals[i] = (float)(i / 6) / 32;
        outputs[i] = -originals[i];
    }
    ts_image picture;
    cr_assert_eq(ts_picture_pairs(&picture, originals, outputs, count, ts_shape_of(2, 3, 1), TS_RANGE_SIGNED, NULL),
                 TS_OK);
    return picture;
}

static int gray_of(double value)
{
    return (int)((value + 1) * 127.5 + 0.5);
}

Test(train_picture, pairs_stand_above_each_other)
{
    ts_image p = pairs_of(8); /* one row; 4 times as large: 12 x 8, gap 4, margin 8, 2 between a pair */
    cr_assert_eq(p.channels, 1);
    cr_assert_eq(p.width, 8 + 8 * 12 + 7 * 4 + 8);
    cr_assert_eq(p.height, 8 + 8 + 2 + 8 + 8);
    for (int64_t i = 0; i < 8; i++)
        for (int64_t y = 0; y < 8; y++)
            for (int64_t x = 0; x < 12; x++) {
                cr_assert_eq(*pixel(&p, 8 + i * 16 + x, 8 + y), gray_of((double)i / 32));
                cr_assert_eq(*pixel(&p, 8 + i * 16 + x, 18 + y), gray_of((double)-i / 32));
            }
    const int64_t between[][2] = {{0, 0}, {20, 10}, {10, 16}, {10, 17}, {10, 26}, {p.width - 1, p.height - 1}};
    for (int i = 0; i < 6; i++)
        cr_assert_eq(*pixel(&p, between[i][0], between[i][1]), 236, "%d", i);
    ts_image_clear(&p);
}

Test(train_picture, pairs_of_any_count)
{
    for (int64_t count = 1; count <= 32; count++) {
        ts_image p = pairs_of(count);
        int64_t columns = (p.width - 16 + 4) / 16, rows = (p.height - 16 + 10) / 28, last = count - 1;
        cr_assert(columns <= 16 && (columns >= 8 || columns == count), "%d: %d", (int)count, (int)columns);
        cr_assert(columns * rows >= count && columns * (rows - 1) < count);
        cr_assert_eq(*pixel(&p, 8 + last % columns * 16, 18 + last / columns * 28), gray_of((double)-last / 32));
        ts_image_clear(&p);
    }
}

Test(train_picture, pairs_in_colour)
{
    float image[70 * 50 * 4], output[70 * 50 * 4] = {0};
    for (int i = 0; i < 70 * 50 * 4; i++)
        image[i] = (float)(i % 4) / 4;
    ts_image p;
    cr_assert_eq(ts_picture_pairs(&p, image, output, 1, ts_shape_of(70, 50, 4), TS_RANGE_UNIT, NULL), TS_OK);
    cr_assert_eq(p.channels, 3);
    cr_assert_eq(p.width, 66);
    cr_assert_eq(p.height, 16 + 142);
    cr_assert_eq(memcmp(pixel(&p, 8, 8), "\x00\x40\x80", 3), 0);
    ts_image_clear(&p);
    cr_assert_eq(ts_picture_pairs(&p, image, output, 1, ts_shape_of(3, 3, 2), TS_RANGE_UNIT, NULL), TS_OK);
    cr_assert_eq(p.channels, 1);
    ts_image_clear(&p);
}

static bool is_colour(const uint8_t *p, int r, int g, int b)
{
    return p[0] == r && p[1] == g && p[2] == b;
}

/* Columns of the bar chart whose lowest pixel has the colour of bars, of unused codes. */
static void count_columns(const ts_image *p, int *bars, int *unused)
{
    *bars = *unused = 0;
    for (int64_t x = 84; x < 84 + 480; x++) {
        *bars += is_colour(pixel(p, x, 76 + 359), 52, 110, 168);
        *unused += is_colour(pixel(p, x, 76 + 359), 252, 222, 212);
    }
}

Test(train_picture, usage_shows_what_is_used)
{
    int64_t counts[480] = {0};
    for (int k = 0; k < 480; k += 4)
        counts[k] = 10 + k;
    ts_image p;
    cr_assert_eq(ts_picture_usage(&p, counts, 480, NULL), TS_OK);
    int bars, unused;
    count_columns(&p, &bars, &unused);
    cr_assert_eq(bars, 120, "one pixel for each used code");
    cr_assert_eq(unused, 360);
    for (int k = 0; k < 480; k++) { /* 22 in a row, 16 pixels each */
        const uint8_t *cell = pixel(&p, 616 + k % 22 * 16 + 5, 76 + k / 22 * 16 + 5);
        cr_assert_eq(is_colour(cell, 252, 222, 212), counts[k] == 0, "%d", k);
    }
    cr_assert(is_colour(pixel(&p, 616 + 476 % 22 * 16, 76 + 476 / 22 * 16), 10, 30, 92), "the most used is darkest");
    ts_image_clear(&p);
}

/* None, one code, all equal, far apart, more codes than pixels: nothing is drawn outside, nothing fails. */
Test(train_picture, usage_of_any_codebook)
{
    const int64_t sizes[] = {1, 2, 7, 240, 512, 1024, 32400, 32401, 100003};
    int64_t *counts = ts_calloc(100003, sizeof *counts);
    for (int kind = 0; kind < 4; kind++)
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
            for (int64_t k = 0; k < sizes[i]; k++)
                counts[k] = kind == 0 ? 0 : kind == 1 ? 3 : kind == 2 ? k % 5 : k == 0 ? (int64_t)1 << 40 : 1;
            ts_image p;
            cr_assert_eq(ts_picture_usage(&p, counts, sizes[i], NULL), TS_OK);
            int bars, unused;
            count_columns(&p, &bars, &unused);
            cr_assert_eq(bars == 0, kind == 0 || (kind == 2 && sizes[i] == 1), "%d: %d", kind, (int)sizes[i]);
            cr_assert(bars + unused > 0);
            for (int64_t y = 0; y < p.height; y++)
                cr_assert(is_colour(pixel(&p, p.width - 1, y), 255, 255, 255), "%d: %d", kind, (int)sizes[i]);
            ts_image_clear(&p);
        }
    ts_free(counts);
}

Test(train_picture, every_allocation_may_fail)
{
    int64_t counts[4] = {1};
    float image[4] = {0};
    for (int n = 1; n <= 2; n++) {
        ts_image p;
        ts_error err = {0};
        ts_alloc_fail_at((uint64_t)n);
        cr_assert_eq(ts_picture_usage(&p, counts, 4, &err), TS_ERR_RUNTIME);
        ts_alloc_fail_at((uint64_t)n);
        cr_assert_eq(ts_picture_pairs(&p, image, image, 1, ts_shape_of(2, 2, 1), TS_RANGE_UNIT, &err), TS_ERR_RUNTIME);
        ts_alloc_fail_at(0);
    }
}

Test(train_picture, letters)
{
    ts_image p;
    cr_assert_eq(ts_picture_new(&p, 9, 40, 3, NULL), TS_OK);
    cr_assert_eq(ts_picture_text(&p, 1, 0, 1, (ts_colour){0, 0, 0}, "1L_"), 18);
    const char *want = "  #    ##   "
                       " ##     #   "
                       "  #     #   "
                       "  #     #   "
                       "  #     #   "
                       "  #     #   "
                       " ###   ###  ";
    for (int y = 0; y < 7; y++)
        for (int x = 0; x < 12; x++)
            cr_assert_eq(pixel(&p, 1 + x, y)[0] == 0, want[y * 12 + x] == '#', "%d %d", x, y);
    for (int x = 13; x < 40; x++)
        cr_assert_eq(pixel(&p, x, 3)[0], 255, "no glyph");
    ts_image_clear(&p);
}
