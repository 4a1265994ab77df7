/* How a codebook is used, in two views: sorted bars show how even it is, a map by id where the holes are. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/memory.h"
#include "quant/stats.h"
#include "train/picture.h"
#include "train/report_text.h"

enum {
    WIDTH = 1000,
    HEIGHT = 500,
    DOT = 2, /* pixels of a letter's dot */
    LETTER = TS_LETTER_WIDTH * DOT,
    TOP = 76, /* of both plots */
    BARS_X = 84,
    BARS_WIDTH = 480,
    BARS_HEIGHT = 360,
    MAP_X = 616,
    MAP_SIDE = 360,
    MAX_CELLS = 180, /* in a row of the map: 2 pixels each */
    LABEL_Y = TOP + BARS_HEIGHT + 12,
};

static const ts_colour ink = {40, 40, 48}, faint = {226, 226, 230}, bar = {52, 110, 168}, even = {222, 110, 30},
                       unused = {252, 222, 212}, mild = {130, 130, 138};
static const ts_colour ramp[] = {{214, 236, 190}, {127, 205, 187}, {65, 170, 196}, {34, 94, 168}, {10, 30, 92}};

typedef struct {
    const int64_t *counts, *sorted; /* by id; from the most used to the least */
    ts_usage usage;
    double most;
    bool log; /* counts that lie far apart are told apart on a logarithmic scale only */
} usage_view;

/* 0 to 1; on the logarithmic scale 1 is clearly above 0. */
static double height_of(const usage_view *v, double count)
{
    if (!v->log)
        return count / v->most;
    return count <= 0.5 ? 0 : log(count / 0.5) / log(v->most / 0.5);
}

static int64_t pixel_y(const usage_view *v, double count)
{
    return TOP + BARS_HEIGHT - llround(height_of(v, count) * BARS_HEIGHT);
}

static double mean_of(const int64_t *counts, int64_t first, int64_t end)
{
    double sum = 0;
    for (int64_t k = first; k < end; k++)
        sum += (double)counts[k];
    return sum / (double)(end - first);
}

/* ---- bars ---- */

static void tick(ts_image *picture, const usage_view *v, double count)
{
    char text[32];
    if (count >= 1e6)
        snprintf(text, sizeof text, "%gm", count / 1e6);
    else
        snprintf(text, sizeof text, count >= 1e4 ? "%gk" : "%g", count >= 1e4 ? count / 1e3 : count);
    int64_t y = pixel_y(v, count);
    ts_picture_fill(picture, BARS_X, y, BARS_WIDTH, 1, faint);
    ts_picture_text(picture, BARS_X - 8 - (int64_t)strlen(text) * LETTER, y - 7, DOT, mild, text);
}

/* 1, 2 or 5 times a power of ten, so that there are two to five ticks. */
static double nice_step(double most)
{
    double power = pow(10, floor(log10(most / 2)));
    double step = power;
    for (int i = 0; i < 3 && most / step > 5; i++)
        step = power * (double[]){2, 5, 10}[i];
    return step < 1 ? 1 : step;
}

static void draw_ticks(ts_image *picture, const usage_view *v)
{
    double step = nice_step(v->most);
    for (int i = 0;; i++) {
        double count = v->log ? pow(10, i) : i * step;
        if (count > v->most)
            break;
        tick(picture, v, count);
    }
}

/* With fewer codes than pixels each has its own bar, with more each column is the mean of those that fall on it. */
static void draw_bars(ts_image *picture, const usage_view *v)
{
    int64_t codes = v->usage.codes, columns = codes < BARS_WIDTH ? codes : BARS_WIDTH;
    for (int64_t i = 0; i < columns; i++) {
        int64_t x = i * BARS_WIDTH / columns, end = (i + 1) * BARS_WIDTH / columns;
        int64_t y = pixel_y(v, mean_of(v->sorted, i * codes / columns, (i + 1) * codes / columns));
        ts_picture_fill(picture, BARS_X + x, y, end - x - (end - x >= 4), TOP + BARS_HEIGHT - y, bar);
    }
}

static void draw_even_line(ts_image *picture, const usage_view *v)
{
    int64_t y = pixel_y(v, (double)v->usage.tokens / (double)v->usage.codes);
    for (int64_t x = 0; x < BARS_WIDTH; x += 8)
        ts_picture_fill(picture, BARS_X + x, y - 1, 5, 2, even);
    ts_picture_text(picture, BARS_X + BARS_WIDTH - 7 * LETTER, y - 20, DOT, even, "uniform");
}

static void draw_bar_chart(ts_image *picture, const usage_view *v)
{
    int64_t used = v->usage.used * BARS_WIDTH / v->usage.codes;
    ts_picture_fill(picture, BARS_X + used, TOP, BARS_WIDTH - used, BARS_HEIGHT, unused);
    draw_ticks(picture, v);
    draw_bars(picture, v);
    draw_even_line(picture, v);
    ts_picture_fill(picture, BARS_X, TOP + BARS_HEIGHT, BARS_WIDTH, 2, ink);
    ts_picture_text(picture, BARS_X, TOP - 24, DOT, mild, v->log ? "times used (log scale)" : "times used");
    ts_picture_text(picture, BARS_X, LABEL_Y, DOT, mild, "codes, the most used first");
}

/* ---- map ---- */

static ts_colour shade(const usage_view *v, double count)
{
    if (count <= 0)
        return unused;
    double at = fmin(fmax(height_of(v, count), 0), 1) * 4;
    int i = at >= 4 ? 3 : (int)at;
    double t = at - i;
    return (ts_colour){(uint8_t)lround(ramp[i].r + t * (ramp[i + 1].r - ramp[i].r)),
                       (uint8_t)lround(ramp[i].g + t * (ramp[i + 1].g - ramp[i].g)),
                       (uint8_t)lround(ramp[i].b + t * (ramp[i + 1].b - ramp[i].b))};
}

static int64_t square_side(int64_t cells)
{
    int64_t side = (int64_t)sqrt((double)cells);
    while (side * side < cells)
        side++;
    return side;
}

static void draw_map(ts_image *picture, const usage_view *v)
{
    int64_t codes = v->usage.codes, per_cell = (codes + MAX_CELLS * MAX_CELLS - 1) / (MAX_CELLS * MAX_CELLS);
    int64_t cells = (codes + per_cell - 1) / per_cell, side = square_side(cells), size = MAP_SIDE / side;
    for (int64_t i = 0; i < cells; i++) {
        int64_t end = (i + 1) * per_cell < codes ? (i + 1) * per_cell : codes;
        ts_picture_fill(picture, MAP_X + i % side * size, TOP + i / side * size, size - (size >= 6), size - (size >= 6),
                        shade(v, mean_of(v->counts, i * per_cell, end)));
    }
    char text[64];
    snprintf(text, sizeof text, "%s", "codes by id");
    if (per_cell > 1)
        snprintf(text, sizeof text, "codes by id, %lld in a cell", (long long)per_cell);
    ts_picture_text(picture, MAP_X, TOP - 24, DOT, mild, text);
}

/* "unused [ ] 1 [====] 812" under the map. */
static void draw_legend(ts_image *picture, const usage_view *v)
{
    char most[32];
    snprintf(most, sizeof most, "%.0f", v->most);
    int64_t x = MAP_X + ts_picture_text(picture, MAP_X, LABEL_Y, DOT, mild, "unused") + 6;
    ts_picture_fill(picture, x, LABEL_Y, 16, 14, unused);
    x += 16 + 24;
    x += ts_picture_text(picture, x, LABEL_Y, DOT, mild, "1") + 2;
    int64_t width = MAP_X + MAP_SIDE - 8 - (int64_t)strlen(most) * LETTER - x;
    for (int64_t i = 0; i < width; i++) {
        double part = ((double)i + 0.5) / (double)width;
        double count = v->log ? pow(v->most, part) : 1 + part * (v->most - 1);
        ts_picture_fill(picture, x + i, LABEL_Y, 1, 14, shade(v, count));
    }
    ts_picture_text(picture, x + width + 8, LABEL_Y, DOT, mild, most);
}

/* ---- the whole ---- */

static void draw_title(ts_image *picture, const usage_view *v)
{
    char text[160];
    const ts_usage *u = &v->usage;
    snprintf(text, sizeof text, "%lld of %lld codes used (%s)  perplexity %s  %lld tokens", (long long)u->used,
             (long long)u->codes, ts_percent_text(u->usage).text, ts_number_text(u->perplexity).text,
             (long long)u->tokens);
    ts_picture_text(picture, 20, 18, DOT, ink, text);
}

static int descending(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x < y) - (x > y);
}

ts_status ts_picture_usage(ts_image *picture, const int64_t *counts, int64_t codes, ts_error *err)
{
    size_t bytes = (size_t)codes * sizeof *counts;
    int64_t *sorted = ts_alloc(bytes);
    if (!sorted)
        return ts_out_of_memory(err, bytes);
    memcpy(sorted, counts, bytes);
    qsort(sorted, (size_t)codes, sizeof *sorted, descending);
    usage_view v = {.counts = counts, .sorted = sorted, .usage = ts_usage_of(counts, codes, 0)};
    v.most = sorted[0] > 1 ? (double)sorted[0] : 1;
    v.log = v.most * (double)codes > 8 * (double)v.usage.tokens && v.most > 20;
    ts_status status = ts_picture_new(picture, HEIGHT, WIDTH, 3, err);
    if (status == TS_OK) {
        draw_title(picture, &v);
        draw_bar_chart(picture, &v);
        draw_map(picture, &v);
        draw_legend(picture, &v);
    }
    ts_free(sorted);
    return status;
}
