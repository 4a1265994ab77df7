/* The plots of the report: against the size of the codebook, and over the training. */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "train/ablation_page.h"
#include "train/plot.h"

enum { WIDE = 520, HIGH = 330, SMALL_HIGH = 270 };

static ts_status put_plot(const ablation_page *p, const ts_plot *plot, ts_error *err)
{
    char *svg;
    TS_TRY(ts_plot_svg(plot, &svg, err));
    fputs("<div class=\"card\">", p->out);
    page_svg(p, svg, plot->title);
    fputs("</div>\n", p->out);
    ts_free(svg);
    return TS_OK;
}

static ts_status put_legend(const ablation_page *p, ts_error *err)
{
    fputs("<ul class=\"legend\">", p->out);
    for (int i = 0; i < p->a->series_count; i++) {
        char *svg;
        TS_TRY(ts_plot_key(i, &svg, err));
        fputs("<li>", p->out);
        page_svg(p, svg, "");
        ts_free(svg);
        page_text(p, p->a->series[i]);
        fputs("</li>", p->out);
    }
    fputs("</ul>\n", p->out);
    return TS_OK;
}

/* ---- against the size ---- */

static ts_status plot_against_size(const ablation_page *p, const ablation_measure *m, ts_error *err)
{
    enum { SIZES = TS_MAX_INTS };
    ts_plot_point *point = ts_calloc((size_t)p->a->series_count * SIZES, sizeof *point);
    ts_plot_line *line = ts_calloc((size_t)p->a->series_count, sizeof *line);
    double ticks[SIZES];
    ts_status status = TS_OK;
    if (!point || !line) {
        status = ts_out_of_memory(err, 0);
        goto out;
    }
    for (int i = 0; i < p->a->series_count; i++) {
        line[i] = (ts_plot_line){.point = point + i * SIZES, .count = p->a->size_count, .style = i};
        for (int s = 0; s < p->a->size_count; s++) {
            ts_spread y = ts_ablation_spread(p->results, i, s, m->value);
            point[i * SIZES + s] =
                (ts_plot_point){ts_ablation_spread(p->results, i, s, ts_ablation_codes).mean, y.mean, y.low, y.high};
        }
    }
    for (int s = 0; s < p->a->size_count; s++)
        ticks[s] = (double)p->a->sizes[s];
    status = put_plot(p,
                      &(ts_plot){.title = m->title,
                                 .x_label = "codes (logarithmic)",
                                 .y_label = m->y_label,
                                 .log_x = true,
                                 .log_y = m->log_y,
                                 .percent = m->percent,
                                 .ticks = ticks,
                                 .tick_count = p->a->size_count,
                                 .line = line,
                                 .count = p->a->series_count,
                                 .width = WIDE,
                                 .height = HIGH},
                      err);
out:
    ts_free(line);
    ts_free(point);
    return status;
}

ts_status page_size_plots(const ablation_page *p, ts_error *err)
{
    const char *error = ts_ablation_error_name(p->results);
    const ablation_measure measures[] = {
        {"Reconstruction error", error, ts_ablation_error, false, true},
        {"Codes in use", "share of the codebook, in validation", ts_ablation_usage, true, false},
        {"Perplexity", "codes, as if used equally often", ts_ablation_perplexity, false, true},
        {"Perplexity, share of its ceiling", "perplexity / min(codes, tokens)", ts_ablation_perplexity_share, true,
         false},
    };
    if (!page_has_sizes(p))
        return TS_OK;
    fputs("<h2>Against the size of the codebook</h2>\n", p->out);
    TS_TRY(put_legend(p, err));
    fputs("<div class=\"grid\">\n", p->out);
    for (size_t i = 0; i < sizeof measures / sizeof *measures; i++)
        TS_TRY(plot_against_size(p, &measures[i], err));
    fputs("</div>\n", p->out);
    return TS_OK;
}

/* ---- over the training ---- */

typedef double at_step(const ts_ablation_measure *m);

static double loss_at(const ts_ablation_measure *m)
{
    return m->loss;
}

static double error_at(const ts_ablation_measure *m)
{
    return m->error;
}

static double unused_at(const ts_ablation_measure *m)
{
    return 1 - m->usage;
}

typedef struct {
    const char *title, *y_label;
    at_step *value;
    bool val, percent, log_y;
} curve;

static ts_status plot_curve(const ablation_page *p, int size, const curve *c, ts_error *err)
{
    ts_plot_line *line = ts_calloc((size_t)p->a->series_count, sizeof *line);
    ts_plot_point **points = ts_calloc((size_t)p->a->series_count, sizeof *points);
    ts_status status = TS_OK;
    if (!line || !points) {
        status = ts_out_of_memory(err, 0);
        goto out;
    }
    for (int i = 0; i < p->a->series_count; i++) {
        const ts_ablation_result *r = page_first_seed(p, i, size);
        int count = !r ? 0 : c->val ? r->val_count : r->train_count;
        if (!(points[i] = ts_calloc((size_t)count + 1, sizeof **points))) {
            status = ts_out_of_memory(err, 0);
            goto out;
        }
        for (int k = 0; k < count; k++) {
            const ts_ablation_measure *m = c->val ? &r->val[k] : &r->train[k];
            double y = c->value(m);
            points[i][k] = (ts_plot_point){m->step, y, y, y};
        }
        line[i] = (ts_plot_line){.point = points[i], .count = count, .style = i, .bare = true};
    }
    status = put_plot(p,
                      &(ts_plot){.title = c->title,
                                 .x_label = "step",
                                 .y_label = c->y_label,
                                 .log_y = c->log_y,
                                 .percent = c->percent,
                                 .line = line,
                                 .count = p->a->series_count,
                                 .width = WIDE,
                                 .height = SMALL_HIGH},
                      err);
out:
    for (int i = 0; points && i < p->a->series_count; i++)
        ts_free(points[i]);
    ts_free(points);
    ts_free(line);
    return status;
}

static int by_count(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x < y) - (x > y);
}

/* The share of the tokens that the code of each rank has, at ranks that are evenly spaced on a logarithmic axis.
 * Returns how many points; 0 where nothing was counted, -1 out of memory. */
static int rank_points(const ts_ablation_result *r, int most, ts_plot_point *point)
{
    size_t codes = (size_t)r->codes;
    int64_t *sorted = ts_calloc(codes, sizeof *sorted), total = 0, last = 0;
    int n = 0;
    if (!sorted)
        return -1;
    memcpy(sorted, r->counts, codes * sizeof *sorted);
    qsort(sorted, codes, sizeof *sorted, by_count);
    for (size_t i = 0; i < codes; i++)
        total += sorted[i];
    for (int i = 0; i < most && total; i++) {
        int64_t rank = (int64_t)round(pow((double)codes, (double)i / (most - 1)));
        if (rank <= last || sorted[rank - 1] == 0)
            continue;
        double share = (double)sorted[rank - 1] / (double)total;
        point[n++] = (ts_plot_point){(double)rank, share, share, share};
        last = rank;
    }
    ts_free(sorted);
    return n;
}

static ts_status plot_histogram(const ablation_page *p, int size, ts_error *err)
{
    enum { POINTS = 160 };
    ts_plot_line *line = ts_calloc((size_t)p->a->series_count, sizeof *line);
    ts_plot_point *point = ts_calloc((size_t)p->a->series_count * POINTS, sizeof *point);
    ts_status status = TS_OK;
    bool any = false;
    if (!line || !point) {
        status = ts_out_of_memory(err, 0);
        goto out;
    }
    for (int i = 0; i < p->a->series_count; i++) {
        const ts_ablation_result *r = page_first_seed(p, i, size);
        line[i] = (ts_plot_line){.point = point + i * POINTS, .style = i, .bare = true};
        if (!r || !r->counts)
            continue;
        any = true;
        line[i].count = rank_points(r, POINTS, point + i * POINTS);
        if (line[i].count < 0) {
            status = ts_out_of_memory(err, 0);
            goto out;
        }
    }
    if (any)
        status = put_plot(p,
                          &(ts_plot){.title = "How often codes are used",
                                     .x_label = "codes, the most used first (logarithmic)",
                                     .y_label = "share of the tokens (logarithmic)",
                                     .log_x = true,
                                     .log_y = true,
                                     .line = line,
                                     .count = p->a->series_count,
                                     .width = WIDE,
                                     .height = SMALL_HIGH},
                          err);
out:
    ts_free(point);
    ts_free(line);
    return status;
}

ts_status page_curves(const ablation_page *p, ts_error *err)
{
    const char *error = ts_ablation_error_name(p->results);
    const curve curves[] = {
        {"Loss in training", "loss (logarithmic)", loss_at, false, false, true},
        {"Error in validation", error, error_at, true, false, true},
        {"Codes not used", "share of the codebook, in training between two lines of metrics", unused_at, false, true,
         false},
    };
    fputs("<h2>Over the training</h2>\n<p class=\"small\">The first seed of each method.</p>\n", p->out);
    TS_TRY(put_legend(p, err));
    for (int s = p->a->size_count - 1; s >= 0; s--) {
        if (page_has_sizes(p))
            fprintf(p->out, "<details%s><summary><b>%" PRId64 " codes</b></summary>",
                    s == p->a->size_count - 1 ? " open" : "", p->a->sizes[s]);
        fputs("<div class=\"grid\">\n", p->out);
        for (size_t i = 0; i < sizeof curves / sizeof *curves; i++)
            TS_TRY(plot_curve(p, s, &curves[i], err));
        TS_TRY(plot_histogram(p, s, err));
        fputs(page_has_sizes(p) ? "</div></details>\n" : "</div>\n", p->out);
    }
    return TS_OK;
}
