/* What the numbers of an ablation say, in sentences. Two values differ clearly where their ranges over the seeds do not
 * overlap; with one seed there is no range, and the sentence says so. */
#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/text.h"
#include "train/ablation_results.h"

enum { SENTENCE = 2048, MOST_FINDINGS = 16 };

typedef struct {
    const ts_ablation_results *results;
    const ts_ablation *a;
    ts_findings *out;
    char text[SENTENCE];
    size_t used;
    bool full; /* out of memory */
} writer;

static void say(writer *w, const char *format, ...) TS_PRINTF(2, 3);
static void say(writer *w, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    size_t room = w->used < sizeof w->text ? sizeof w->text - w->used : 0;
    int n = vsnprintf(room ? w->text + w->used : NULL, room, format, args);
    va_end(args);
    w->used += n > 0 ? (size_t)n : 0;
}

/* What was said since the last finding answers this question; nothing said: there is no finding. */
static void answer(writer *w, const char *question)
{
    if (w->used && w->out->count < MOST_FINDINGS) {
        w->text[0] = (char)toupper((unsigned char)w->text[0]);
        char *text = ts_arena_strdup(&w->out->arena, w->text);
        w->full |= !text;
        w->out->finding[w->out->count++] = (ts_finding){question, text ? text : ""};
    }
    w->used = 0;
    w->text[0] = '\0';
}

typedef struct {
    char text[40];
} short_text;

static short_text whole(double value)
{
    short_text t;
    snprintf(t.text, sizeof t.text, "%.0f", value);
    return t;
}

static short_text percent(double part)
{
    short_text t;
    double value = 100 * part;
    snprintf(t.text, sizeof t.text,
             value >= 99.95 ? "%.0f %%"
             : value >= 10  ? "%.0f %%"
                            : "%.2g %%",
             value >= 99.5 && value < 99.95 ? 99 : value);
    return t;
}

static ts_spread spread(const writer *w, int series, int size, ts_ablation_value *value)
{
    return ts_ablation_spread(w->results, series, size, value);
}

/* Is x below y by more than seeds explain? */
static bool clearly_below(ts_spread x, ts_spread y)
{
    return x.count && y.count && x.high < y.low;
}

static const char *label(const writer *w, int series)
{
    return w->a->series[series];
}

/* ---- the questions ---- */

static void how_much_is_used(writer *w)
{
    int size = w->a->size_count - 1;
    for (int i = 0; i < w->a->series_count; i++) {
        ts_spread u = spread(w, i, size, ts_ablation_usage), k = spread(w, i, size, ts_ablation_codes);
        if (!u.count)
            continue;
        say(w, "%s%s uses %s of its %s codes", w->used ? "; " : "", label(w, i), percent(u.mean).text,
            whole(k.mean).text);
        if (u.count > 1)
            say(w, " (%s to %s over %d seeds)", percent(u.low).text, percent(u.high).text, u.count);
    }
    if (w->used)
        say(w, ".");
    answer(w, "How much of the largest codebook is used?");
}

static bool any_counts(const writer *w)
{
    for (int i = 0; i < w->a->cell_count; i++)
        if (w->results->result[i].finished && w->results->result[i].tokens > 0)
            return true;
    return false;
}

static void who_collapses(writer *w)
{
    int kept = 0;
    for (int i = 0; i < w->a->series_count; i++) {
        int first = -1, seen = 0;
        for (int s = 0; s < w->a->size_count; s++) {
            ts_spread u = spread(w, i, s, ts_ablation_usage);
            seen += u.count > 0;
            if (u.count && u.mean < 0.5 && first < 0)
                first = s;
        }
        if (first >= 0)
            say(w, "%sless than half of the codebook of %s is used from %s codes on (%s there)", w->used ? "; " : "",
                label(w, i), whole(spread(w, i, first, ts_ablation_codes).mean).text,
                percent(spread(w, i, first, ts_ablation_usage).mean).text);
        kept += first < 0 && seen;
    }
    if (w->used)
        say(w, ". %d of the methods keep more than half in use at every size.", kept);
    else if (any_counts(w))
        say(w, "None: every method has at least half of its codes in use at every size. The collapse that one may have "
               "expected of a plain codebook did not happen here.");
    answer(w, "Whose codebook collapses, and from what size on?");
}

static void does_it_pay(writer *w)
{
    for (int i = 0; i < w->a->series_count; i++) {
        ts_spread first = {0}, last = {0}, before = {0};
        double rises_at = NAN;
        int sizes = 0;
        for (int s = 0; s < w->a->size_count; s++) {
            ts_spread e = spread(w, i, s, ts_ablation_error);
            if (!e.count)
                continue;
            if (sizes++ == 0)
                first = e;
            else if (e.mean >= before.mean && isnan(rises_at))
                rises_at = spread(w, i, s, ts_ablation_codes).mean;
            before = last = e;
        }
        if (sizes < 2)
            continue;
        say(w, "%s%s: from %.4g to %.4g, ", w->used ? "; " : "", label(w, i), first.mean, last.mean);
        if (isnan(rises_at))
            say(w, "lower with every size");
        else
            say(w, "but not lower at %s codes than at the size before", whole(rises_at).text);
        if (!clearly_below(last, first))
            say(w, " (the whole change is within the spread of the seeds)");
    }
    if (w->used)
        say(w, ".");
    answer(w, "Does a larger codebook lower the error?");
}

static void who_is_best(writer *w)
{
    for (int s = 0; s < w->a->size_count; s++) {
        int best = -1;
        ts_spread lowest = {0};
        for (int i = 0; i < w->a->series_count; i++) {
            ts_spread e = spread(w, i, s, ts_ablation_error);
            if (e.count && (best < 0 || e.mean < lowest.mean)) {
                best = i;
                lowest = e;
            }
        }
        if (best < 0 || w->a->series_count < 2)
            continue;
        say(w, "%s", w->used ? "; " : "");
        if (w->a->sizes[s])
            say(w, "near %s codes ", whole((double)w->a->sizes[s]).text);
        say(w, "%s (%.4g)", label(w, best), lowest.mean);
        int close = 0;
        for (int i = 0; i < w->a->series_count; i++)
            if (i != best && spread(w, i, s, ts_ablation_error).count &&
                !clearly_below(lowest, spread(w, i, s, ts_ablation_error)))
                say(w, "%s%s", close++ ? ", " : ", no clear difference to ", label(w, i));
    }
    if (w->used)
        say(w, ".");
    answer(w, "Which method has the lowest error?");
}

/* Where the order of two methods turns, for neighbouring sizes. */
static void where_lines_cross(writer *w)
{
    for (int i = 0; i < w->a->series_count; i++)
        for (int k = i + 1; k < w->a->series_count; k++)
            for (int s = 1; s < w->a->size_count; s++) {
                ts_spread a = spread(w, i, s - 1, ts_ablation_error), b = spread(w, k, s - 1, ts_ablation_error);
                ts_spread c = spread(w, i, s, ts_ablation_error), d = spread(w, k, s, ts_ablation_error);
                bool turns =
                    (clearly_below(a, b) && clearly_below(d, c)) || (clearly_below(b, a) && clearly_below(c, d));
                if (!turns)
                    continue;
                int better_above = c.mean < d.mean ? i : k;
                say(w, "%s%s is better than %s from %s codes on, and worse below", w->used ? "; " : "",
                    label(w, better_above), label(w, better_above == i ? k : i), whole((double)w->a->sizes[s]).text);
            }
    if (w->used)
        say(w, ".");
    else if (w->a->series_count > 1 && w->a->size_count > 1)
        say(w, "No: between no two sizes does the order of two methods turn by more than the seeds differ.");
    answer(w, "Does the order change with the size?");
}

/* Usage cannot be more than tokens / K. */
static void what_limits(writer *w)
{
    for (int s = 0; s < w->a->size_count; s++) {
        double tokens = NAN, codes = 0;
        for (int i = 0; i < w->a->cell_count; i++) {
            const ts_ablation_result *r = &w->results->result[i];
            if (r->finished && r->cell->size == w->a->sizes[s] && r->tokens < 5 * r->codes && r->codes > codes) {
                tokens = r->tokens;
                codes = r->codes;
            }
        }
        if (isfinite(tokens))
            say(w, "%s%s tokens for %s codes",
                w->used ? ", " : "There are few tokens in the evaluation: ", whole(tokens).text, whole(codes).text);
    }
    if (w->used)
        say(w, ". A code that is not used in so few may still be in use elsewhere; train.eval_limit sets how many.");
    answer(w, "Are there enough tokens to tell?");
}

static void what_failed(writer *w)
{
    for (int i = 0; i < w->a->cell_count; i++)
        if (!w->results->result[i].finished)
            say(w, "%s%s", w->used ? ", " : "These cells are not trained to their end, and no figure holds them: ",
                w->a->cell[i].name);
    if (w->used)
        say(w, ".");
    answer(w, "What is missing?");
}

static void how_sure(writer *w)
{
    int seeds = 0;
    for (int i = 0; i < w->a->series_count; i++)
        for (int s = 0; s < w->a->size_count; s++) {
            int n = spread(w, i, s, ts_ablation_error).count;
            seeds = n > seeds ? n : seeds;
        }
    if (seeds == 1)
        say(w, "There is one seed: nothing here says how much of a difference is chance.");
    answer(w, "How sure is it?");
}

ts_status ts_ablation_findings(const ts_ablation_results *results, ts_findings *findings, ts_error *err)
{
    writer w = {.results = results, .a = results->ablation, .out = findings};
    *findings = (ts_findings){0};
    if (!(findings->finding = ts_arena_alloc(&findings->arena, MOST_FINDINGS * sizeof(ts_finding))))
        return ts_out_of_memory(err, MOST_FINDINGS * sizeof(ts_finding));
    how_much_is_used(&w);
    who_collapses(&w);
    does_it_pay(&w);
    who_is_best(&w);
    where_lines_cross(&w);
    what_limits(&w);
    how_sure(&w);
    what_failed(&w);
    if (!w.full)
        return TS_OK;
    ts_findings_clear(findings);
    return ts_out_of_memory(err, SENTENCE);
}

void ts_findings_clear(ts_findings *findings)
{
    ts_arena_clear(&findings->arena);
    *findings = (ts_findings){0};
}
