/* Lines of metrics.jsonl: one flat JSON object each. Keys and units: docs/run-directory.md. A number that is not finite
 * is null. */
#ifndef TS_TRAIN_METRICS_H
#define TS_TRAIN_METRICS_H

#include <jansson.h>

#include "train/report.h"

enum { TS_METRICS_LINE_BYTES = 4096 };

/* The line, with its newline. Returns its length; 0: out of memory. */
size_t ts_metrics_step(const ts_step_metrics *m, char line[TS_METRICS_LINE_BYTES]);
size_t ts_metrics_evaluation(int64_t step, ts_split split, const ts_evaluation *v, bool best,
                             char line[TS_METRICS_LINE_BYTES]);

/* A line's numbers one by one, "step" first: a list has an entry for each value, "used_by_group/0"; texts are left out.
 * Owner: json_decref. NULL: out of memory. */
json_t *ts_metrics_flat(const char *line, size_t bytes);

/* The step of a line, a torn one excepted: -1. */
int64_t ts_metrics_line_step(const char *line, size_t bytes);

/* Of a whole file: moves the lines up to `last_step` to the front. Returns how many bytes they are. */
size_t ts_metrics_cut(char *text, size_t bytes, int64_t last_step);

#endif
