#define _GNU_SOURCE
#include "train/ablation_report.h"

#include <dirent.h>
#include <inttypes.h>
#include <math.h>
#include <string.h>
#include <time.h>

#include "train/ablation_page.h"
#include "train/ablation_run.h"
#include "train/report_text.h"

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
    "dd ul{margin:0;padding-left:1.1em}"
    "details{margin:.5em 0}summary{cursor:pointer}"
    "pre{overflow-x:auto;background:#fff;border:1px solid #e2e2de;border-radius:8px;padding:12px;font-size:.8rem;"
    "line-height:1.4}";

/* ---- head ---- */

static void put_head(const ablation_page *p)
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
    page_text(p, p->a->name);
    fprintf(p->out, "</title><style>%s</style></head>\n<body><main>\n<h1>", style);
    page_text(p, p->a->name);
    fputs("</h1>\n<p>", p->out);
    page_text(p, p->a->description);
    fprintf(
        p->out,
        "</p>\n<p class=\"small\">%d of %d trainings finished; made by tessera %s on %s. A point is the mean over the "
        "seeds, its bar goes from the smallest to the largest.</p>\n",
        finished, p->a->cell_count, TESSERA_VERSION, date);
}

/* An answer of several clauses, one to each method, is a list. */
static void put_answer(const ablation_page *p, const char *answer)
{
    static const char between[] = "; ";
    char *text = ts_format("%s", answer), *at = text, *next;
    if (!text || !strstr(text, between)) {
        page_text(p, answer);
        ts_free(text);
        return;
    }
    fputs("<ul>", p->out);
    for (; at; at = next) {
        next = strstr(at, between);
        if (next) {
            *next = '\0';
            next += sizeof between - 1;
        }
        fputs("<li>", p->out);
        page_text(p, at);
        fputs("</li>", p->out);
    }
    fputs("</ul>", p->out);
    ts_free(text);
}

static ts_status put_findings(const ablation_page *p, ts_error *err)
{
    ts_findings f;
    TS_TRY(ts_ablation_findings(p->results, &f, err));
    fputs("<h2>Findings</h2>\n<dl>\n", p->out);
    for (int i = 0; i < f.count; i++) {
        fputs("<dt>", p->out);
        page_text(p, f.finding[i].question);
        fputs("</dt><dd>", p->out);
        put_answer(p, f.finding[i].answer);
        fputs("</dd>\n", p->out);
    }
    fputs("</dl>\n", p->out);
    ts_findings_clear(&f);
    return TS_OK;
}

/* ---- the table ---- */

static void put_cell(const ablation_page *p, int series, int size, const ablation_measure *m, double best)
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

static double best_of(const ablation_page *p, int size, const ablation_measure *m)
{
    double best = NAN;
    for (int i = 0; i < p->a->series_count; i++) {
        ts_spread s = ts_ablation_spread(p->results, i, size, m->value);
        if (s.count && (isnan(best) || (m->percent ? s.mean > best : s.mean < best)))
            best = s.mean;
    }
    return best;
}

static void put_table(const ablation_page *p, const ablation_measure *m)
{
    fprintf(p->out, "<h3>%s (%s)</h3>\n<div class=\"scroll\"><table><thead><tr><th>method</th>", m->title, m->y_label);
    for (int s = 0; s < p->a->size_count; s++) {
        if (page_has_sizes(p))
            fprintf(p->out, "<th>%" PRId64 "</th>", p->a->sizes[s]);
        else
            fputs("<th></th>", p->out);
    }
    fputs("</tr></thead><tbody>\n", p->out);
    for (int i = 0; i < p->a->series_count; i++) {
        fputs("<tr><td>", p->out);
        page_text(p, p->a->series[i]);
        fputs("</td>", p->out);
        for (int s = 0; s < p->a->size_count; s++)
            put_cell(p, i, s, m, best_of(p, s, m));
        fputs("</tr>\n", p->out);
    }
    fputs("</tbody></table></div>\n", p->out);
}

static void put_tables(const ablation_page *p)
{
    fputs("<h2>Figures</h2>\n<p class=\"small\">Mean over the seeds, below it the smallest and the largest; the best "
          "of a "
          "column is bold. Validation data, after the last step.</p>\n",
          p->out);
    put_table(p, &(ablation_measure){"Reconstruction error", ts_ablation_error_name(p->results), ts_ablation_error,
                                     false, false});
    put_table(p, &(ablation_measure){"Codes in use", "share of the codebook", ts_ablation_usage, true, false});
    put_table(
        p, &(ablation_measure){"Perplexity", "share of min(codes, tokens)", ts_ablation_perplexity_share, true, false});
}

/* ---- pictures ---- */

/* The newest picture of a cell whose name starts so, for ts_free; NULL: there is none. */
static char *newest_picture(const ablation_page *p, const ts_ablation_cell *cell, const char *prefix)
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

static bool put_file(const ablation_page *p, const char *path, const char *about)
{
    FILE *file = fopen(path, "rb");
    if (!file)
        return false;
    fputs("<img loading=\"lazy\" alt=\"", p->out);
    page_text(p, about);
    fputs("\" src=\"data:image/png;base64,", p->out);
    unsigned char bytes[3 * 1024];
    for (size_t n; (n = fread(bytes, 1, sizeof bytes, file)) > 0;)
        page_base64(p, bytes, n);
    fputs("\">", p->out);
    fclose(file);
    return true;
}

static void put_picture(const ablation_page *p, const ts_ablation_result *r)
{
    char *path = newest_picture(p, r->cell, "reconstructions_");
    if (!path)
        path = newest_picture(p, r->cell, "step_");
    if (path) {
        fputs("<figure class=\"card pixels\"><figcaption>", p->out);
        page_text(p, p->a->series[r->cell->series]);
        fprintf(p->out, ": error %s</figcaption>", ts_number_text(r->last.error).text);
        put_file(p, path, p->a->series[r->cell->series]);
        fputs("</figure>\n", p->out);
    }
    ts_free(path);
}

static void put_pictures(const ablation_page *p)
{
    bool begun = false;
    for (int s = p->a->size_count - 1; s >= 0; s--) {
        bool open = false;
        for (int i = 0; i < p->a->series_count; i++) {
            const ts_ablation_result *r = page_first_seed(p, i, s);
            char *path = r && r->finished ? newest_picture(p, r->cell, "") : NULL;
            if (path && !begun)
                fputs(
                    "<h2>Reconstructions</h2>\n<p class=\"small\">Validation data above, what became of it below; the "
                    "first seed.</p>\n",
                    p->out);
            begun |= path != NULL;
            if (path && !open) {
                fprintf(p->out, "<details%s><summary><b>", s == p->a->size_count - 1 ? " open" : "");
                if (page_has_sizes(p))
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

static ts_status put_configs(const ablation_page *p, ts_error *err)
{
    fputs(
        "<h2>Configs</h2>\n<p class=\"small\">Every training by itself: <code>tessera train CONFIG KEY=VALUE ... --run "
        "DIR</code>. The hash is of the resolved config.</p>\n<div class=\"scroll\"><table><thead><tr><th>cell</th>"
        "<th>config</th><th style=\"text-align:left\">",
        p->out);
    page_text(p, p->a->base);
    fputs(" with</th></tr></thead><tbody>\n", p->out);
    for (int i = 0; i < p->a->cell_count; i++) {
        const ts_ablation_result *r = &p->results->result[i];
        fprintf(p->out, "<tr><td>%s</td><td><code>%s</code></td><td style=\"text-align:left\"><code>", r->cell->name,
                r->config_hash);
        for (const char *const *o = r->cell->override; *o; o++) {
            fputs(o == r->cell->override ? "" : " ", p->out);
            page_text(p, *o);
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
    page_text(p, text);
    ts_free(text);
    fputs("</pre></details>\n", p->out);
    return TS_OK;
}

ts_status ts_ablation_write_html(const ts_ablation_results *results, FILE *out, ts_error *err)
{
    ablation_page p = {.results = results, .a = results->ablation, .out = out};
    put_head(&p);
    TS_TRY(put_findings(&p, err));
    TS_TRY(page_size_plots(&p, err));
    put_tables(&p);
    TS_TRY(page_curves(&p, err));
    put_pictures(&p);
    TS_TRY(put_configs(&p, err));
    fputs("</main></body></html>\n", out);
    return ferror(out) ? ts_fail(err, TS_ERR_RUNTIME, "the report cannot be written") : TS_OK;
}
