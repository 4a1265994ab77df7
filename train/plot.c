#define _GNU_SOURCE
#include "train/plot.h"

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "core/memory.h"
#include "core/text.h"

#ifdef TS_WITH_CAIRO

#include <cairo-svg.h>
#include <cairo.h>

/* Distinct also to eyes that mix up red and green (Okabe and Ito, then Tol's muted). */
static const unsigned colours[] = {0x0072b2, 0xd55e00, 0x009e73, 0xcc79a7, 0xe69f00, 0x56b4e9,
                                   0x882255, 0x332288, 0x999933, 0x44aa99, 0x661100, 0x6699cc};
enum { COLOURS = sizeof colours / sizeof *colours, MARKERS = 4 };

/* ---- SVG in memory ---- */

typedef struct {
    char *bytes;
    size_t used, room;
} memory;

static cairo_status_t grow(void *closure, const unsigned char *data, unsigned length)
{
    memory *m = closure;
    if (m->used + length + 1 > m->room) {
        size_t room = 2 * (m->used + length) + 4096;
        char *grown = ts_realloc(m->bytes, room, 1);
        if (!grown)
            return CAIRO_STATUS_NO_MEMORY;
        m->bytes = grown;
        m->room = room;
    }
    memcpy(m->bytes + m->used, data, length);
    m->used += length;
    m->bytes[m->used] = '\0';
    return CAIRO_STATUS_SUCCESS;
}

typedef void draw(cairo_t *cr, const void *what);

static ts_status draw_svg(double width, double height, draw *paint, const void *what, char **svg, ts_error *err)
{
    memory m = {0};
    cairo_surface_t *surface = cairo_svg_surface_create_for_stream(grow, &m, width, height);
    cairo_t *cr = cairo_create(surface);
    paint(cr, what);
    cairo_status_t failed = cairo_status(cr);
    cairo_destroy(cr);
    cairo_surface_finish(surface);
    if (!failed)
        failed = cairo_surface_status(surface);
    cairo_surface_destroy(surface);
    if (!failed && m.bytes) {
        *svg = m.bytes;
        return TS_OK;
    }
    ts_free(m.bytes);
    return ts_fail(err, TS_ERR_RUNTIME, "cannot draw a plot: cairo: %s", cairo_status_to_string(failed));
}

/* ---- axes ---- */

/* One axis: values from `low` to `high` go to positions from `from` to `to`. */
typedef struct {
    double low, high, from, to;
    bool log;
} axis;

static bool shown(const axis *a, double value)
{
    return isfinite(value) && (!a->log || value > 0);
}

static double place(const axis *a, double value)
{
    double x = a->log ? log(value / a->low) / log(a->high / a->low) : (value - a->low) / (a->high - a->low);
    return a->from + x * (a->to - a->from);
}

static void include(axis *a, double value)
{
    if (!shown(a, value))
        return;
    a->low = fmin(a->low, value);
    a->high = fmax(a->high, value);
}

/* 1, 2 or 5 times a power of ten, at least `least`. */
static double round_step(double least)
{
    double power = pow(10, floor(log10(least)));
    for (int i = 0; i < 3; i++) {
        static const double factor[] = {1, 2, 5};
        if (factor[i] * power >= least * (1 - 1e-9))
            return factor[i] * power;
    }
    return 10 * power;
}

enum { MAX_TICKS = 40 };

/* Round values from low to high, about `wanted` of them. */
static int linear_ticks(const axis *a, int wanted, double *tick)
{
    double step = round_step((a->high - a->low) / wanted);
    int n = 0;
    const double first = ceil(a->low / step - 1e-9);
    while (n < MAX_TICKS && (first + n) * step <= a->high + 1e-9 * step) {
        tick[n] = (first + n) * step;
        n++;
    }
    return n;
}

/* 1, 2, 5, 10, 20 ...; where that is more than seven, powers of ten; where fewer than two, linear ones. */
static int log_ticks(const axis *a, double *tick)
{
    static const double factor[] = {1, 2, 5};
    for (int per = 3; per >= 1; per -= 2) {
        int n = 0;
        for (int e = (int)floor(log10(a->low)); pow(10, e) <= a->high && n < MAX_TICKS - 3; e++)
            for (int i = 0; i < per; i++) {
                double value = factor[i] * pow(10, e);
                if (value >= a->low * (1 - 1e-9) && value <= a->high * (1 + 1e-9))
                    tick[n++] = value;
            }
        if (n < 2)
            return linear_ticks(a, 4, tick);
        if (n <= 7 || per == 1)
            return n;
    }
    return 0;
}

static axis x_axis(const ts_plot *p)
{
    axis a = {.low = INFINITY, .high = -INFINITY, .log = p->log_x};
    for (int i = 0; i < p->count; i++)
        for (int k = 0; k < p->line[i].count; k++)
            include(&a, p->line[i].point[k].x);
    for (int i = 0; i < p->tick_count; i++)
        include(&a, p->ticks[i]);
    if (!(a.low <= a.high))
        a = (axis){.low = 1, .high = 10, .log = p->log_x};
    if (a.low == a.high) { /* a single size in the middle */
        a.low = a.log ? a.low / 2 : a.low - 1;
        a.high = a.log ? a.high * 2 : a.high + 1;
    }
    if (a.log) {
        a.low /= 1.15;
        a.high *= 1.15;
    }
    return a;
}

static axis y_axis(const ts_plot *p)
{
    axis a = {.low = INFINITY, .high = -INFINITY, .log = p->log_y};
    for (int i = 0; i < p->count; i++)
        for (int k = 0; k < p->line[i].count; k++) {
            include(&a, p->line[i].point[k].y);
            include(&a, p->line[i].point[k].low);
            include(&a, p->line[i].point[k].high);
        }
    if (p->percent)
        return (axis){.low = 0, .high = 1};
    if (!(a.low <= a.high))
        return (axis){.low = 1, .high = 10, .log = p->log_y};
    if (a.log) {
        a.low /= 1.1;
        a.high *= 1.1;
        return a;
    }
    double room = fmax(0.06 * (a.high - a.low), 1e-9 * fmax(fabs(a.high), 1));
    a.low = a.low >= 0 && a.low < 0.4 * a.high ? 0 : a.low - room;
    a.high += room;
    return a;
}

/* ---- drawing ---- */

typedef enum { LEFT, MIDDLE, RIGHT } side;

static void text(cairo_t *cr, double x, double y, double size, side where, const char *what)
{
    cairo_text_extents_t e;
    cairo_set_font_size(cr, size);
    cairo_text_extents(cr, what, &e);
    cairo_move_to(cr, where == LEFT ? x : where == MIDDLE ? x - e.x_advance / 2 : x - e.x_advance, y);
    cairo_show_text(cr, what);
}

static void grey(cairo_t *cr, double level)
{
    cairo_set_source_rgb(cr, level, level, level);
}

static void colour(cairo_t *cr, int style, double alpha)
{
    unsigned rgb = colours[style % COLOURS];
    cairo_set_source_rgba(cr, (double)(rgb >> 16 & 255) / 255, (double)(rgb >> 8 & 255) / 255,
                          (double)(rgb & 255) / 255, alpha);
}

static void marker(cairo_t *cr, int style, double x, double y, double r)
{
    cairo_new_path(cr);
    switch (style % MARKERS) {
    case 0:
        cairo_arc(cr, x, y, r, 0, 2 * M_PI);
        break;
    case 1:
        cairo_rectangle(cr, x - 0.9 * r, y - 0.9 * r, 1.8 * r, 1.8 * r);
        break;
    case 2:
        cairo_move_to(cr, x, y - 1.2 * r);
        cairo_line_to(cr, x + 1.1 * r, y + 0.8 * r);
        cairo_line_to(cr, x - 1.1 * r, y + 0.8 * r);
        cairo_close_path(cr);
        break;
    default:
        cairo_move_to(cr, x, y - 1.25 * r);
        cairo_line_to(cr, x + 1.25 * r, y);
        cairo_line_to(cr, x, y + 1.25 * r);
        cairo_line_to(cr, x - 1.25 * r, y);
        cairo_close_path(cr);
    }
    cairo_fill(cr);
}

/* "0.05", "16384", "1e-5", "40 %" */
static void tick_text(char *out, size_t bytes, double value, bool percent)
{
    if (percent)
        snprintf(out, bytes, "%g %%", fabs(value) < 1e-9 ? 0 : round(1e6 * value) / 1e4);
    else
        snprintf(out, bytes, fabs(value) >= 1e6 ? "%.3g" : "%.7g", fabs(value) < 1e-12 ? 0 : value);
}

static void draw_x_axis(cairo_t *cr, const ts_plot *p, const axis *x, const axis *y)
{
    double tick[MAX_TICKS], last = -INFINITY;
    int n = p->tick_count < MAX_TICKS ? p->tick_count : MAX_TICKS;
    if (p->ticks)
        memcpy(tick, p->ticks, (size_t)n * sizeof *tick);
    else
        n = x->log ? log_ticks(x, tick) : linear_ticks(x, 5, tick);
    for (int i = 0; i < n; i++) {
        char label[32];
        cairo_text_extents_t e;
        double at = place(x, tick[i]);
        tick_text(label, sizeof label, tick[i], false);
        cairo_set_font_size(cr, 11);
        cairo_text_extents(cr, label, &e);
        grey(cr, 0.91);
        cairo_move_to(cr, at, y->from);
        cairo_line_to(cr, at, y->to);
        cairo_stroke(cr);
        if (at - e.x_advance / 2 < last + 6)
            continue;
        grey(cr, 0.35);
        text(cr, at, y->from + 16, 11, MIDDLE, label);
        last = at + e.x_advance / 2;
    }
    grey(cr, 0.35);
    text(cr, (x->from + x->to) / 2, y->from + 33, 12, MIDDLE, p->x_label);
}

static void draw_y_axis(cairo_t *cr, const ts_plot *p, const axis *x, const axis *y)
{
    double tick[MAX_TICKS];
    int n = y->log ? log_ticks(y, tick) : linear_ticks(y, 5, tick);
    for (int i = 0; i < n; i++) {
        char label[32];
        double at = place(y, tick[i]);
        tick_text(label, sizeof label, tick[i], p->percent);
        grey(cr, 0.91);
        cairo_move_to(cr, x->from, at);
        cairo_line_to(cr, x->to, at);
        cairo_stroke(cr);
        grey(cr, 0.35);
        text(cr, x->from - 7, at + 4, 11, RIGHT, label);
    }
}

/* The widest label of the y axis decides where the plot begins. */
static double label_width(cairo_t *cr, const ts_plot *p, const axis *y)
{
    double tick[MAX_TICKS], widest = 20;
    int n = y->log ? log_ticks(y, tick) : linear_ticks(y, 5, tick);
    cairo_set_font_size(cr, 11);
    for (int i = 0; i < n; i++) {
        char label[32];
        cairo_text_extents_t e;
        tick_text(label, sizeof label, tick[i], p->percent);
        cairo_text_extents(cr, label, &e);
        widest = fmax(widest, e.x_advance);
    }
    return widest;
}

static bool visible(const axis *x, const axis *y, const ts_plot_point *q)
{
    return shown(x, q->x) && shown(y, q->y);
}

static void draw_spread(cairo_t *cr, const axis *x, const axis *y, const ts_plot_line *line, double shift)
{
    colour(cr, line->style, 0.45);
    cairo_set_line_width(cr, 1.5);
    for (int i = 0; i < line->count; i++) {
        const ts_plot_point *q = &line->point[i];
        if (!visible(x, y, q) || !shown(y, q->low) || !shown(y, q->high) || q->low == q->high)
            continue;
        double at = place(x, q->x) + shift;
        cairo_move_to(cr, at, place(y, q->low));
        cairo_line_to(cr, at, place(y, q->high));
        cairo_stroke(cr);
    }
}

static void draw_line(cairo_t *cr, const axis *x, const axis *y, const ts_plot_line *line, double shift)
{
    colour(cr, line->style, line->bare ? 0.85 : 0.9);
    cairo_set_line_width(cr, line->bare ? 1.4 : 1.8);
    cairo_set_line_join(cr, CAIRO_LINE_JOIN_ROUND);
    cairo_new_path(cr);
    for (int i = 0; i < line->count; i++)
        if (visible(x, y, &line->point[i]))
            cairo_line_to(cr, place(x, line->point[i].x) + shift, place(y, line->point[i].y));
    cairo_stroke(cr);
    if (line->bare)
        return;
    colour(cr, line->style, 1);
    for (int i = 0; i < line->count; i++)
        if (visible(x, y, &line->point[i]))
            marker(cr, line->style, place(x, line->point[i].x) + shift, place(y, line->point[i].y), 3.6);
}

static void draw_plot(cairo_t *cr, const void *what)
{
    const ts_plot *p = what;
    axis x = x_axis(p), y = y_axis(p);
    cairo_select_font_face(cr, "sans-serif", CAIRO_FONT_SLANT_NORMAL, CAIRO_FONT_WEIGHT_NORMAL);
    x.from = 14 + label_width(cr, p, &y);
    x.to = p->width - 14;
    y.from = p->height - 42;
    y.to = 44;
    grey(cr, 0.1);
    cairo_select_font_face(cr, "sans-serif", CAIRO_FONT_SLANT_NORMAL, CAIRO_FONT_WEIGHT_BOLD);
    text(cr, 8, 17, 13.5, LEFT, p->title);
    cairo_select_font_face(cr, "sans-serif", CAIRO_FONT_SLANT_NORMAL, CAIRO_FONT_WEIGHT_NORMAL);
    grey(cr, 0.35);
    text(cr, 8, 34, 11.5, LEFT, p->y_label);
    cairo_set_line_width(cr, 1);
    draw_x_axis(cr, p, &x, &y);
    draw_y_axis(cr, p, &x, &y);
    for (int i = 0; i < p->count; i++) { /* beside each other by a little, so that equal values are all seen */
        double shift = p->line[i].bare ? 0 : 1.6 * (i - (p->count - 1) / 2.0);
        draw_spread(cr, &x, &y, &p->line[i], shift);
        draw_line(cr, &x, &y, &p->line[i], shift);
    }
}

static void draw_key(cairo_t *cr, const void *what)
{
    int style = *(const int *)what;
    colour(cr, style, 1);
    cairo_set_line_width(cr, 2);
    cairo_move_to(cr, 1, 7);
    cairo_line_to(cr, 27, 7);
    cairo_stroke(cr);
    marker(cr, style, 14, 7, 4.2);
}

ts_status ts_plot_svg(const ts_plot *plot, char **svg, ts_error *err)
{
    return draw_svg(plot->width, plot->height, draw_plot, plot, svg, err);
}

ts_status ts_plot_key(int style, char **svg, ts_error *err)
{
    return draw_svg(28, 14, draw_key, &style, svg, err);
}

#else

static ts_status missing(ts_error *err)
{
    return ts_fail(err, TS_ERR_RUNTIME,
                   "this program was built without cairo, which draws plots: install libcairo2-dev "
                   "and build again");
}

ts_status ts_plot_svg(const ts_plot *plot, char **svg, ts_error *err)
{
    (void)plot;
    (void)svg;
    return missing(err);
}

ts_status ts_plot_key(int style, char **svg, ts_error *err)
{
    (void)style;
    (void)svg;
    return missing(err);
}

#endif
