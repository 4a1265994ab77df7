/* Measurements as text for people: the line of the log, and the bar of the terminal. */
#ifndef TS_TRAIN_REPORT_TEXT_H
#define TS_TRAIN_REPORT_TEXT_H

#include "train/report.h"

typedef struct {
    char text[32];
} ts_short_text;

/* Four significant digits where that is readable: "0.02341", "1.500", "1234", "2.31e-07", "nan". */
ts_short_text ts_number_text(double value);
/* A rate: "7.25", "1234", "12.3k", "1.20M". */
ts_short_text ts_rate_text(double value);
/* A part of one: "87.5%", "100%", "0.042%". */
ts_short_text ts_percent_text(double part);
/* "0:42", "3:12", "1:02:03", "2d 04h"; "?" where it is not known. */
ts_short_text ts_duration_text(double seconds);

/* Lines for the log, without newline; cut at `bytes`. `items`: what an item is called ("images"). brief: what fits on a
 * line of most terminals. */
void ts_step_text(char *out, size_t bytes, const ts_step_metrics *m, const char *items);
void ts_evaluation_text(char *out, size_t bytes, int64_t step, ts_split split, const ts_evaluation *v, bool best,
                        const char *items, bool brief);

typedef struct {
    int columns;       /* of the terminal */
    bool utf8, colour; /* what it can show */
    const char *items;
} ts_bar_style;

/* One line of at most `columns` - 1 columns: step, a bar, and as much of what is measured as there is room for. */
void ts_bar_text(char *out, size_t bytes, const ts_step_metrics *m, const ts_bar_style *style);

#endif
