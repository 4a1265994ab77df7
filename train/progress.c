#define _GNU_SOURCE
#include "train/progress.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "train/report_text.h"
#include "train/run_dir.h"

static const double redraw_s = 0.1, line_s = 2;

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static bool is_set(const char *name)
{
    const char *value = getenv(name);
    return value && *value;
}

static bool locale_is_utf8(void)
{
    const char *value = is_set("LC_ALL")     ? getenv("LC_ALL")
                        : is_set("LC_CTYPE") ? getenv("LC_CTYPE")
                        : is_set("LANG")     ? getenv("LANG")
                                             : "";
    return strcasestr(value, "UTF-8") || strcasestr(value, "utf8");
}

void ts_progress_open(ts_progress *p, int fd, bool quiet, const char *items)
{
    const char *term = getenv("TERM");
    *p = (ts_progress){.fd = fd, .quiet = quiet, .items = items, .last_redraw = -INFINITY, .last_line = -INFINITY};
    p->terminal = isatty(fd) && term && strcmp(term, "dumb") != 0;
    p->utf8 = locale_is_utf8();
    p->colour = !is_set("NO_COLOR");
}

static void put(const ts_progress *p, const char *text)
{
    ts_write_all(p->fd, "", text, strlen(text), NULL);
}

void ts_progress_clear(ts_progress *p)
{
    if (p->shown)
        put(p, "\r\033[K");
    p->shown = false;
}

void ts_progress_close(ts_progress *p)
{
    if (p->shown)
        put(p, "\n");
    p->shown = false;
}

static int columns(int fd)
{
    struct winsize size;
    return ioctl(fd, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

void ts_progress_step(ts_progress *p, const ts_step_metrics *m)
{
    if (m->usage.tokens)
        p->usage = m->usage;
    if (p->quiet || !p->terminal)
        return;
    double now = now_s();
    if (now - p->last_redraw < redraw_s && m->step < m->steps)
        return;
    char bar[2048], line[2100];
    ts_step_metrics shown = *m;
    shown.usage = p->usage;
    ts_bar_style style = {columns(p->fd), p->utf8, p->colour, p->items};
    ts_bar_text(bar, sizeof bar, &shown, &style);
    snprintf(line, sizeof line, "\r%s\033[K", bar);
    put(p, line);
    p->shown = true;
    p->last_redraw = now;
}

void ts_progress_line(ts_progress *p, ts_line_policy policy, const char *text)
{
    double now = now_s();
    if (p->quiet || (policy == TS_LINE_NO_TERMINAL && (p->terminal || now - p->last_line < line_s)))
        return;
    ts_progress_clear(p);
    put(p, text);
    put(p, "\n");
    if (policy == TS_LINE_NO_TERMINAL)
        p->last_line = now;
    p->last_redraw = -INFINITY;
}
