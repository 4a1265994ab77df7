#include "train/report_text.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/text.h"

/* ---- numbers ---- */

ts_short_text ts_number_text(double value)
{
    ts_short_text t;
    double size = fabs(value);
    if (size == 0)
        snprintf(t.text, sizeof t.text, "0");
    else if (!isfinite(value) || size < 1e-4 || size >= 999950)
        snprintf(t.text, sizeof t.text, "%.2e", value);
    else {
        int decimals = 3 - (int)floor(log10(size));
        snprintf(t.text, sizeof t.text, "%.*f", decimals < 0 ? 0 : decimals, value);
    }
    return t;
}

ts_short_text ts_rate_text(double value)
{
    ts_short_text t;
    if (!(value >= 0) || isinf(value))
        snprintf(t.text, sizeof t.text, "?");
    else if (value < 99.95)
        snprintf(t.text, sizeof t.text, "%.3g", value);
    else if (value < 9999.5)
        snprintf(t.text, sizeof t.text, "%.0f", value);
    else if (value < 999500)
        snprintf(t.text, sizeof t.text, value < 99950 ? "%.1fk" : "%.0fk", value / 1e3);
    else
        snprintf(t.text, sizeof t.text, "%.2fM", value / 1e6);
    return t;
}

ts_short_text ts_percent_text(double part)
{
    ts_short_text t;
    double percent = 100 * part;
    int decimals = percent == 0 || percent >= 99.95 ? 0 : percent >= 1 ? 1 : percent >= 0.1 ? 2 : 3;
    if (percent < 100 && percent >= 99.95) /* not all is not 100% */
        percent = 99.9, decimals = 1;
    snprintf(t.text, sizeof t.text, "%.*f%%", decimals, percent);
    return t;
}

ts_short_text ts_duration_text(double seconds)
{
    ts_short_text t;
    if (!(seconds >= 0) || seconds > 1e9) {
        snprintf(t.text, sizeof t.text, "?");
        return t;
    }
    long long s = llround(seconds);
    if (s < 3600)
        snprintf(t.text, sizeof t.text, "%lld:%02lld", s / 60, s % 60);
    else if (s < 48 * 3600)
        snprintf(t.text, sizeof t.text, "%lld:%02lld:%02lld", s / 3600, s / 60 % 60, s % 60);
    else
        snprintf(t.text, sizeof t.text, "%lldd %02lldh", s / 86400, s / 3600 % 24);
    return t;
}

/* ---- lines ---- */

static size_t add_usage(char *out, size_t bytes, size_t n, const ts_usage *u, bool brief)
{
    if (u->tokens == 0)
        return n;
    n = ts_text_append(out, bytes, n, "  usage %s", ts_percent_text(u->usage).text);
    if (!brief)
        n = ts_text_append(out, bytes, n, " (%lld of %lld)", (long long)u->used, (long long)u->codes);
    n = ts_text_append(out, bytes, n, "  perplexity %s", ts_number_text(u->perplexity).text);
    if (u->ceiling < (double)u->codes && !brief)
        n = ts_text_append(out, bytes, n, " of at most %.0f", u->ceiling);
    return n;
}

static size_t add_losses(char *out, size_t bytes, size_t n, double loss, const char *const *names, const double *parts,
                         int count)
{
    n = ts_text_append(out, bytes, n, "  loss %s", ts_number_text(loss).text);
    for (int i = 0; i < count; i++)
        n = ts_text_append(out, bytes, n, "  %s %s", names[i], ts_number_text(parts[i]).text);
    return n;
}

void ts_step_text(char *out, size_t bytes, const ts_step_metrics *m, const char *items)
{
    size_t n = ts_text_append(out, bytes, 0, "step %lld/%lld", (long long)m->step, (long long)m->steps);
    n = add_losses(out, bytes, n, m->loss, m->part_names, m->parts, m->part_count);
    n = ts_text_append(out, bytes, n, "  lr %s  grad norm %s", ts_number_text(m->lr).text,
                       ts_number_text(m->norm).text);
    n = add_usage(out, bytes, n, &m->usage, false);
    n = ts_text_append(out, bytes, n, "  %s %s/s", ts_rate_text(m->items_per_s).text, items);
    if (m->skipped)
        n = ts_text_append(out, bytes, n, "  skipped %lld", (long long)m->skipped);
    if (m->rolled_back)
        n = ts_text_append(out, bytes, n, "  rolled back %lld", (long long)m->rolled_back);
    ts_text_append(out, bytes, n, "  %s left", ts_duration_text(m->seconds_left).text);
}

static size_t add_motion(char *out, size_t bytes, size_t n, const ts_evaluation *v, bool brief)
{
    ts_metric metric[TS_MOTION_METRICS];
    ts_evaluation_motion(v, metric);
    for (int i = 0; i < (brief ? 1 : TS_MOTION_METRICS); i++)
        if (!isnan(metric[i].value))
            n = ts_text_append(out, bytes, n, "  %s %.2f %s", metric[i].label, metric[i].value, metric[i].unit);
    return n;
}

void ts_evaluation_text(char *out, size_t bytes, int64_t step, ts_split split, const ts_evaluation *v, bool best,
                        const char *items, bool brief)
{
    size_t n = ts_text_append(out, bytes, 0, "step %lld, %s", (long long)step, ts_split_name(split));
    n = add_losses(out, bytes, n, v->loss, v->part_names, v->parts, brief ? 0 : v->part_count);
    n = ts_text_append(out, bytes, n, "  mse %s", ts_number_text(v->mse).text);
    if (!brief)
        n = ts_text_append(out, bytes, n, "  l1 %s", ts_number_text(v->l1).text);
    if (!v->frames)
        n = ts_text_append(out, bytes, n, "  psnr %.2f dB", v->psnr);
    if (!isnan(v->ssim))
        n = ts_text_append(out, bytes, n, "  ssim %.4f", v->ssim);
    n = add_motion(out, bytes, n, v, brief);
    n = add_usage(out, bytes, n, &v->usage, brief);
    if (!brief)
        n = ts_text_append(out, bytes, n, "  %lld %s", (long long)v->items, v->clips ? "clips" : items);
    if (!brief && v->frames)
        n = ts_text_append(out, bytes, n, ", %lld frames", (long long)v->frames);
    if (!brief && v->skipped)
        n = ts_text_append(out, bytes, n, ", %lld skipped", (long long)v->skipped);
    ts_text_append(out, bytes, n, "%s", best ? "  best" : "");
}

/* ---- the bar ---- */

enum { MAX_PIECES = 8 + TS_MAX_PARTS, MIN_BAR = 8, MAX_BAR = 32, GAP = 2 };

/* A part of the line; of those that do not fit, the highest rank goes first. The bar is one without a text. */
typedef struct {
    char text[64];
    int rank, columns;
} piece;

typedef struct {
    piece piece[MAX_PIECES];
    int count;
} pieces;

static void add(pieces *p, int rank, const char *format, ...) TS_PRINTF(3, 4);
static void add(pieces *p, int rank, const char *format, ...)
{
    piece *new = &p->piece[p->count++];
    va_list args;
    va_start(args, format);
    vsnprintf(new->text, sizeof new->text, format, args);
    va_end(args);
    new->rank = rank;
    new->columns = (int)strlen(new->text);
}

static double part_done(const ts_step_metrics *m)
{
    return m->steps > 0 ? fmin((double)m->step / (double)m->steps, 1) : 0;
}

static void collect(pieces *p, const ts_step_metrics *m, const char *items)
{
    enum { STEP, LOSS, LEFT, USAGE, PERPLEXITY, BAR, PERCENT, SPEED, PARTS };
    add(p, STEP, "%lld/%lld", (long long)m->step, (long long)m->steps);
    add(p, BAR, "%s", "");
    p->piece[p->count - 1].columns = MIN_BAR;
    add(p, PERCENT, "%.0f%%", floor(100 * part_done(m)));
    add(p, LOSS, "loss %s", ts_number_text(m->loss).text);
    for (int i = 0; i < m->part_count && m->part_count > 1; i++)
        add(p, PARTS + i, "%s %s", m->part_names[i], ts_number_text(m->parts[i]).text);
    if (m->usage.tokens) {
        add(p, USAGE, "usage %s", ts_percent_text(m->usage.usage).text);
        add(p, PERPLEXITY, "ppl %s", ts_number_text(m->usage.perplexity).text);
    }
    add(p, SPEED, "%s %s/s", ts_rate_text(m->items_per_s).text, items);
    add(p, LEFT, "%s left", ts_duration_text(m->seconds_left).text);
}

static int columns_of(const pieces *p)
{
    int n = 0;
    for (int i = 0; i < p->count; i++)
        n += p->piece[i].columns + (i ? GAP : 0);
    return n;
}

static void drop_least(pieces *p)
{
    int least = 0;
    for (int i = 1; i < p->count; i++)
        least = p->piece[i].rank > p->piece[least].rank ? i : least;
    memmove(&p->piece[least], &p->piece[least + 1], sizeof(piece) * (size_t)(p->count - least - 1));
    p->count--;
}

static size_t draw_bar(char *out, size_t bytes, size_t n, int columns, double part, const ts_bar_style *style)
{
    const char *full = style->utf8 ? "\u2501" : "#", *half = style->utf8 ? "\u2578" : "-";
    const char *rest = style->utf8 ? (style->colour ? "\u2501" : "\u2500") : "-";
    int halves = (int)floor(2 * columns * part), done = halves / 2;
    n = ts_text_append(out, bytes, n, "%s", style->colour ? "\033[36m" : "");
    for (int i = 0; i < done; i++)
        n = ts_text_append(out, bytes, n, "%s", full);
    if (halves % 2)
        n = ts_text_append(out, bytes, n, "%s", half);
    n = ts_text_append(out, bytes, n, "%s", style->colour ? "\033[0;90m" : "");
    for (int i = done + halves % 2; i < columns; i++)
        n = ts_text_append(out, bytes, n, "%s", rest);
    return ts_text_append(out, bytes, n, "%s", style->colour ? "\033[0m" : "");
}

void ts_bar_text(char *out, size_t bytes, const ts_step_metrics *m, const ts_bar_style *style)
{
    pieces p = {.count = 0};
    collect(&p, m, style->items);
    while (p.count > 1 && columns_of(&p) > style->columns - 1)
        drop_least(&p);
    int room = style->columns - 1 - columns_of(&p);
    if (room < 0) /* the step alone is too long */
        bytes = style->columns < 1 ? 1 : (size_t)style->columns < bytes ? (size_t)style->columns : bytes;
    size_t n = 0;
    for (int i = 0; i < p.count; i++) {
        n = ts_text_append(out, bytes, n, "%s", i ? "  " : "");
        if (p.piece[i].text[0])
            n = ts_text_append(out, bytes, n, "%s", p.piece[i].text);
        else
            n = draw_bar(out, bytes, n, MIN_BAR + (room < MAX_BAR - MIN_BAR ? room : MAX_BAR - MIN_BAR), part_done(m),
                         style);
    }
}
