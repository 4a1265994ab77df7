/* Line plots with a spread, as SVG, drawn with cairo; where the program was built without it, TS_ERR_RUNTIME with a
 * line that says what to install. Thread: any. */
#ifndef TS_TRAIN_PLOT_H
#define TS_TRAIN_PLOT_H

#include <stdbool.h>
#include <stddef.h>

#include "core/status.h"

/* A point that is not finite is left out, and the line goes on behind it. */
typedef struct {
    double x, y;
    double low, high; /* the spread, drawn as a bar; equal to y: none */
} ts_plot_point;

/* Colour and marker are those of style `style`, 0, 1, ...; the same style is the same method in every plot. */
typedef struct {
    const ts_plot_point *point;
    int count, style;
    bool bare; /* no markers: a curve of many points */
} ts_plot_line;

typedef struct {
    const char *title, *x_label, *y_label;
    bool log_x, log_y;
    bool percent;        /* y is a part of one, from 0 to 1 */
    const double *ticks; /* where x has marks; NULL: wherever it is round */
    int tick_count;
    const ts_plot_line *line;
    int count;
    int width, height; /* in points; at least 200 x 120 */
} ts_plot;

/* The SVG as text, in memory that the caller frees with ts_free. */
ts_status ts_plot_svg(const ts_plot *plot, char **svg, ts_error *err);

/* A style's marker alone, for a legend: SVG as above, 28 x 14. */
ts_status ts_plot_key(int style, char **svg, ts_error *err);

#endif
