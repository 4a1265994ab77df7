#define _GNU_SOURCE
#include "train/ablation_report.h"

#include <dirent.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "train/ablation_run.h"
#include "train/plot.h"
#include "train/report_text.h"

enum { WIDE = 520, HIGH = 330, SMALL_HIGH = 270 };

typedef struct {
    const ts_ablation_results *results;
    const ts_ablation *a;
    FILE *out;
} page;

/* ---- HTML ---- */

static void escaped(FILE *out, const char *text)
{
    for (; *text; text++)
        switch (*text) {
        case '&':
            fputs("&amp;", out);
            break;
        case '<':
            fputs("&lt;", out);
            break;
        case '>':
            fputs("&gt;", out);
            break;
        case '"':
            fputs("&quot;", out);
            break;
        default:
            fputc(*text, out);
        }
}

static void base64(FILE *out, const unsigned char *bytes, size_t count)
{
    static const char digit[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t i = 0; i < count; i += 3) {
        unsigned v = (unsigned)bytes[i] << 16;
        v |= i + 1 < count ? (unsigned)bytes[i + 1] << 8 : 0;
        v |= i + 2 < count ? (unsigned)bytes[i + 2] : 0;
        fputc(digit[v >> 18 & 63], out);
        fputc(digit[v >> 12 & 63], out);
        fputc(i + 1 < count ? digit[v >> 6 & 63] : '=', out);
        fputc(i + 2 < count ? digit[v & 63] : '=', out);
    }
}

static const char style[] =
    ":root{color-scheme:light}"
    "*{box-sizing:border-box}"
    "body{margin:0;background:#f6f6f4;color:#1c1c1c;font:16px/1.55 system-ui,-apple-system,'Segoe UI',sans-serif}"
    "main{max-width:1160px;margin:0 auto;padding:28px 20px 60px}"
    "h1{font-size:1.9rem;line-height:1.2;margin:.2em 0 .3em}"
    "h2{font-size:1.25rem;margin:2.2em 0 .6em}"
    "h3{font-size:1rem;margin:1.4em 0 .5em}"
    "p{max-width:75ch}"
    ".small{color:#555;font-size:.9rem}"
    ".grid{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,440px),1fr));gap:16px}"
    ".card{background:#fff;border:1px solid #e2e2de;border-radius:8px;padding:12px}"
    ".card img{display:block;width:100%;height:auto}"
    ".legend{display:flex;flex-wrap:wrap;gap:4px 18px;margin:10px 0 14px;padding:0;list-style:none}"
    ".legend li{display:flex;align-items:center;gap:7px}"
    "dl{margin:0}dt{font-weight:600;margin-top:.9em}dd{margin:.1em 0 0;max-width:80ch}"
    ".scroll{overflow-x:auto;background:#fff;border:1px solid #e2e2de;border-radius:8px}"
    "table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}"
    "th,td{padding:7px 12px;text-align:right;white-space:nowrap;border-bottom:1px solid #ececea}"
    "th:first-child,td:first-child{text-align:left;position:sticky;left:0;background:#fff}"
    "thead th{background:#fafaf8;font-weight:600}thead th:first-child{background:#fafaf8}"
    "tr:last-child td{border-bottom:0}"
    "td span{display:block;color:#666;font-size:.8rem}"
    "td.best{font-weight:700}"
    ".pixels img{image-rendering:pixelated}"
    "figure{margin:0}figcaption{font-size:.9rem;margin-bottom:6px}"
    "details{margin:.5em 0}summary{cursor:pointer}"
    "pre{overflow-x:auto;background:#fff;border:1px solid #e2e2de;border-radius:8px;padding:12px;font-size:.8rem;"
    "line-height:1.4}";

/* An SVG as a picture of its own: the names inside do not meet those of the others. */
static void put_svg(page *p, const char *svg, const char *about)
{
    fputs("<img alt=\"", p->out);
    escaped(p->out, about);
    fputs("\" src=\"data:image/svg+xml;base64,", p->out);
    base64(p->out, (const unsigned char *)svg, strlen(svg));
    fputs("\">", p->out);
}

static ts_status put_plot(page *p, const ts_plot *plot, ts_error *err)
{
    char *svg;
    TS_TRY(ts_plot_svg(plot, &svg, err));
    fputs("<div class=\"card\">", p->out);
    put_svg(p, svg, plot->title);
    fputs("</div>\n", p->out);
    ts_free(svg);
    return TS_OK;
}

/* ---- head ---- */

static void put_head(page *p)
{
    char date[40];
    time_t now = time(NULL);
    struct tm when;
    int finished = 0;
    for (int i = 0; i < p->a->cell_count; i++)
        finished += p->results->result[i].finished;
    strftime(date, sizeof date, "%Y-%m-%d %H:%M", localtime_r(&now, &when));
    fputs("<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
          "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\"><title>",
          p->out);
    escaped(p->out, p->a->name);
    fprintf(p->out, "</title><style>%s</style></head>\n<body><main>\n<h1>", style);
    escaped(p->out, p->a->name);
    fputs("</h1>\n<p>", p->out);
    escaped(p->out, p->a->description);
    fprintf(
        p->out,
        "</p>\n<p class=\"small\">%d of %d trainings finished; made by tessera %s on %s. A point is the mean over the "
        "seeds, its bar goes from the smallest to the largest.</p>\n",
        finished, p->a->cell_count, TESSERA_VERSION, date);
}

static ts_status put_findings(page *p, ts_error *err)
{
    ts_findings f;
    TS_TRY(ts_ablation_findings(p->results, &f, err));
    fputs("<h2>Findings</h2>\n<dl>\n", p->out);
    for (int i = 0; i < f.count; i++) {
        fputs("<dt>", p->out);
        escaped(p->out, f.finding[i].question);
        fputs("</dt><dd>", p->out);
        escaped(p->out, f.finding[i].answer);
        fputs("</dd>\n", p->out);
    }
    fputs("</dl>\n", p->out);
    ts_findings_clear(&f);
    return TS_OK;
}

static ts_status put_legend(page *p, ts_error *err)
{
    fputs("<ul class=\"legend\">", p->out);
    for (int i = 0; i < p->a->series_count; i++) {
        char *svg;
        TS_TRY(ts_plot_key(i, &svg, err));
        fputs("<li>", p->out);
        put_svg(p, svg, "");
        ts_free(svg);
        escaped(p->out, p->a->series[i]);
        fputs("</li>", p->out);
    }
    fputs("</ul>\n", p->out);
    return TS_OK;
}

/* ---- against the size ---- */

static bool has_sizes(const page *p)
{
    return p->a->sizes[0] != 0;
}

typedef struct {
    const char *title, *y_label;
    ts_ablation_value *value;
    bool percent, log_y;
} measure;

static ts_status plot_against_size(page *p, const measure *m, ts_error *err)
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

static ts_status put_size_plots(page *p, ts_error *err)
{
    const char *error = ts_ablation_error_name(p->results);
    const measure measures[] = {
        {"Reconstruction error", error, ts_ablation_error, false, true},
        {"Codes in use", "share of the codebook, in validation", ts_ablation_usage, true, false},
        {"Perplexity", "codes, as if used equally often", ts_ablation_perplexity, false, true},
        {"Perplexity, share of its ceiling", "perplexity / min(codes, tokens)", ts_ablation_perplexity_share, true,
         false},
    };
    if (!has_sizes(p))
        return TS_OK;
    fputs("<h2>Against the size of the codebook</h2>\n", p->out);
    TS_TRY(put_legend(p, err));
    fputs("<div class=\"grid\">\n", p->out);
    for (size_t i = 0; i < sizeof measures / sizeof *measures; i++)
        TS_TRY(plot_against_size(p, &measures[i], err));
    fputs("</div>\n", p->out);
    return TS_OK;
}

/* ---- the table ---- */

static void put_cell(page *p, int series, int size, const measure *m, double best)
{
    ts_spread s = ts_ablation_spread(p->results, series, size, m->value);
    if (!s.count) {
        fputs("<td>-</td>", p->out);
        return;
    }
    const char *class = s.mean == best ? " class=\"best\"" : "";
    if (m->percent)
        fprintf(p->out, "<td%s>%s", class, ts_percent_text(s.mean).text);
    else
        fprintf(p->out, "<td%s>%s", class, ts_number_text(s.mean).text);
    if (s.count > 1 && m->percent)
        fprintf(p->out, "<span>%s&hairsp;&ndash;&hairsp;%s</span>", ts_percent_text(s.low).text,
                ts_percent_text(s.high).text);
    else if (s.count > 1)
        fprintf(p->out, "<span>%s&hairsp;&ndash;&hairsp;%s</span>", ts_number_text(s.low).text,
                ts_number_text(s.high).text);
    fputs("</td>", p->out);
}

static double best_of(const page *p, int size, const measure *m)
{
    double best = NAN;
    for (int i = 0; i < p->a->series_count; i++) {
        ts_spread s = ts_ablation_spread(p->results, i, size, m->value);
        if (s.count && (isnan(best) || (m->percent ? s.mean > best : s.mean < best)))
            best = s.mean;
    }
    return best;
}

static void put_table(page *p, const measure *m)
{
    fprintf(p->out, "<h3>%s (%s)</h3>\n<div class=\"scroll\"><table><thead><tr><th>method</th>", m->title, m->y_label);
    for (int s = 0; s < p->a->size_count; s++) {
        if (has_sizes(p))
            fprintf(p->out, "<th>%" PRId64 "</th>", p->a->sizes[s]);
        else
            fputs("<th></th>", p->out);
    }
    fputs("</tr></thead><tbody>\n", p->out);
    for (int i = 0; i < p->a->series_count; i++) {
        fputs("<tr><td>", p->out);
        escaped(p->out, p->a->series[i]);
        fputs("</td>", p->out);
        for (int s = 0; s < p->a->size_count; s++)
            put_cell(p, i, s, m, best_of(p, s, m));
        fputs("</tr>\n", p->out);
    }
    fputs("</tbody></table></div>\n", p->out);
}

static void put_tables(page *p)
{
    fputs("<h2>Figures</h2>\n<p class=\"small\">Mean over the seeds, below it the smallest and the largest; the best "
          "of a "
          "column is bold. Validation data, after the last step.</p>\n",
          p->out);
    put_table(p,
              &(measure){"Reconstruction error", ts_ablation_error_name(p->results), ts_ablation_error, false, false});
    put_table(p, &(measure){"Codes in use", "share of the codebook", ts_ablation_usage, true, false});
    put_table(p, &(measure){"Perplexity", "share of min(codes, tokens)", ts_ablation_perplexity_share, true, false});
}

/* ---- over the training ---- */

/* The first seed of a method at a size that has anything to show; NULL: none. */
static const ts_ablation_result *first_seed(const page *p, int series, int size)
{
    for (int i = 0; i < p->a->cell_count; i++) {
        const ts_ablation_result *r = &p->results->result[i];
        if (r->cell->series == series && r->cell->size == p->a->sizes[size] && r->train_count)
            return r;
    }
    return NULL;
}

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

static ts_status plot_curve(page *p, int size, const curve *c, ts_error *err)
{
    ts_plot_line *line = ts_calloc((size_t)p->a->series_count, sizeof *line);
    ts_plot_point **points = ts_calloc((size_t)p->a->series_count, sizeof *points);
    ts_status status = TS_OK;
    if (!line || !points) {
        status = ts_out_of_memory(err, 0);
        goto out;
    }
    for (int i = 0; i < p->a->series_count; i++) {
        const ts_ablation_result *r = first_seed(p, i, size);
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

static ts_status plot_histogram(page *p, int size, ts_error *err)
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
        const ts_ablation_result *r = first_seed(p, i, size);
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

static ts_status put_curves(page *p, ts_error *err)
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
        if (has_sizes(p))
            fprintf(p->out, "<details%s><summary><b>%" PRId64 " codes</b></summary>",
                    s == p->a->size_count - 1 ? " open" : "", p->a->sizes[s]);
        fputs("<div class=\"grid\">\n", p->out);
        for (size_t i = 0; i < sizeof curves / sizeof *curves; i++)
            TS_TRY(plot_curve(p, s, &curves[i], err));
        TS_TRY(plot_histogram(p, s, err));
        fputs(has_sizes(p) ? "</div></details>\n" : "</div>\n", p->out);
    }
    return TS_OK;
}

/* ---- pictures ---- */

/* The newest picture of a cell whose name starts so, for ts_free; NULL: there is none. */
static char *newest_picture(const page *p, const ts_ablation_cell *cell, const char *prefix)
{
    char *folder = ts_ablation_cell_path(p->results->directory, cell, "/pictures"), newest[256] = "", *path = NULL;
    DIR *dir = folder ? opendir(folder) : NULL;
    for (struct dirent *e; dir && (e = readdir(dir));) {
        size_t n = strlen(e->d_name);
        bool fits = strncmp(e->d_name, prefix, strlen(prefix)) == 0 && n > 4 && n < sizeof newest &&
                    strcmp(e->d_name + n - 4, ".png") == 0;
        if (fits && strcmp(e->d_name, newest) > 0)
            memcpy(newest, e->d_name, n + 1);
    }
    if (dir)
        closedir(dir);
    if (newest[0])
        path = ts_format("%s/%s", folder, newest);
    ts_free(folder);
    return path;
}

static bool put_file(page *p, const char *path, const char *about)
{
    FILE *file = fopen(path, "rb");
    if (!file)
        return false;
    fputs("<img loading=\"lazy\" alt=\"", p->out);
    escaped(p->out, about);
    fputs("\" src=\"data:image/png;base64,", p->out);
    unsigned char bytes[3 * 1024];
    for (size_t n; (n = fread(bytes, 1, sizeof bytes, file)) > 0;)
        base64(p->out, bytes, n);
    fputs("\">", p->out);
    fclose(file);
    return true;
}

static void put_picture(page *p, const ts_ablation_result *r)
{
    char *path = newest_picture(p, r->cell, "reconstructions_");
    if (!path)
        path = newest_picture(p, r->cell, "step_");
    if (path) {
        fputs("<figure class=\"card pixels\"><figcaption>", p->out);
        escaped(p->out, p->a->series[r->cell->series]);
        fprintf(p->out, ": error %s</figcaption>", ts_number_text(r->last.error).text);
        put_file(p, path, p->a->series[r->cell->series]);
        fputs("</figure>\n", p->out);
    }
    ts_free(path);
}

static void put_pictures(page *p)
{
    bool begun = false;
    for (int s = p->a->size_count - 1; s >= 0; s--) {
        bool open = false;
        for (int i = 0; i < p->a->series_count; i++) {
            const ts_ablation_result *r = first_seed(p, i, s);
            char *path = r && r->finished ? newest_picture(p, r->cell, "") : NULL;
            if (path && !begun)
                fputs(
                    "<h2>Reconstructions</h2>\n<p class=\"small\">Validation data above, what became of it below; the "
                    "first seed.</p>\n",
                    p->out);
            begun |= path != NULL;
            if (path && !open) {
                fprintf(p->out, "<details%s><summary><b>", s == p->a->size_count - 1 ? " open" : "");
                if (has_sizes(p))
                    fprintf(p->out, "%" PRId64 " codes", p->a->sizes[s]);
                else
                    fputs("all", p->out);
                fputs("</b></summary><div class=\"grid\">\n", p->out);
                open = true;
            }
            if (path)
                put_picture(p, r);
            ts_free(path);
        }
        if (open)
            fputs("</div></details>\n", p->out);
    }
}

/* ---- configs ---- */

static ts_status put_configs(page *p, ts_error *err)
{
    fputs(
        "<h2>Configs</h2>\n<p class=\"small\">Every training by itself: <code>tessera train CONFIG KEY=VALUE ... --run "
        "DIR</code>. The hash is of the resolved config.</p>\n<div class=\"scroll\"><table><thead><tr><th>cell</th>"
        "<th>config</th><th style=\"text-align:left\">",
        p->out);
    escaped(p->out, p->a->base);
    fputs(" with</th></tr></thead><tbody>\n", p->out);
    for (int i = 0; i < p->a->cell_count; i++) {
        const ts_ablation_result *r = &p->results->result[i];
        fprintf(p->out, "<tr><td>%s</td><td><code>%s</code></td><td style=\"text-align:left\"><code>", r->cell->name,
                r->config_hash);
        for (const char *const *o = r->cell->override; *o; o++) {
            fputs(o == r->cell->override ? "" : " ", p->out);
            escaped(p->out, *o);
        }
        fputs("</code></td></tr>\n", p->out);
    }
    fputs("</tbody></table></div>\n<details><summary>The first cell's config in full</summary><pre>", p->out);
    ts_config *config;
    char *text;
    TS_TRY(ts_ablation_config(p->a, &p->a->cell[0], &config, err));
    ts_status status = ts_config_print(config, false, &text, err);
    ts_config_free(config);
    TS_TRY(status);
    escaped(p->out, text);
    ts_free(text);
    fputs("</pre></details>\n", p->out);
    return TS_OK;
}

ts_status ts_ablation_write_html(const ts_ablation_results *results, FILE *out, ts_error *err)
{
    page p = {.results = results, .a = results->ablation, .out = out};
    put_head(&p);
    TS_TRY(put_findings(&p, err));
    TS_TRY(put_size_plots(&p, err));
    put_tables(&p);
    TS_TRY(put_curves(&p, err));
    put_pictures(&p);
    TS_TRY(put_configs(&p, err));
    fputs("</main></body></html>\n", out);
    return ferror(out) ? ts_fail(err, TS_ERR_RUNTIME, "the report cannot be written") : TS_OK;
}
