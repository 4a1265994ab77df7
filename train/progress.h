/* What a run shows on standard error: on a terminal a bar that is redrawn in place, with lines above it; elsewhere
 * plain lines. Failed writes are let pass: the same is in the log. */
#ifndef TS_TRAIN_PROGRESS_H
#define TS_TRAIN_PROGRESS_H

#include "train/report.h"

typedef struct {
    int fd;
    bool quiet, terminal, utf8, colour;
    bool shown;         /* the bar stands in the current line */
    const char *items;  /* what an item is called */
    double last_redraw; /* seconds of the monotonic clock */
    double last_line;
    ts_usage usage; /* the last one that was measured */
} ts_progress;

/* Looks at the descriptor and at TERM, NO_COLOR, LC_ALL, LC_CTYPE and LANG. */
void ts_progress_open(ts_progress *p, int fd, bool quiet, const char *items);
void ts_progress_close(ts_progress *p); /* the bar stays, and the line is ended */

/* Redraws the bar, at most ten times a second and at the last step; nothing without a terminal. */
void ts_progress_step(ts_progress *p, const ts_step_metrics *m);

typedef enum {
    TS_LINE_ALWAYS,     /* an evaluation, a note */
    TS_LINE_NO_TERMINAL /* a step: only where there is no bar, and at most one in two seconds */
} ts_line_policy;
void ts_progress_line(ts_progress *p, ts_line_policy policy, const char *text);

/* Takes the bar away, for somebody else's output. */
void ts_progress_clear(ts_progress *p);

#endif
