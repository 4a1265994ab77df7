/* The lines of metrics.jsonl of one split as a table, for spreadsheets: train.csv, val.csv. The first line names the
 * columns: the keys of the first line of metrics, `step` first; a list has a column for each value, "used_by_group/0".
 * A number that is not finite is an empty cell, true and false are 1 and 0.
 * Errors: TS_ERR_RUNTIME with the path and the reason. */
#ifndef TS_TRAIN_METRICS_CSV_H
#define TS_TRAIN_METRICS_CSV_H

#include <jansson.h>
#include <stdint.h>

#include "train/line_file.h"

typedef struct {
    ts_line_file file;
    json_t *columns; /* array of keys; NULL until there is a line */
} ts_metrics_csv;

/* SPLIT.csv in the folder, for appending; of what is there the lines up to `last_step` are kept.
 * Owner: ts_metrics_csv_close, also after a failure. */
ts_status ts_metrics_csv_open(ts_metrics_csv *table, const char *folder, const char *split, int64_t last_step,
                              ts_error *err);
void ts_metrics_csv_close(ts_metrics_csv *table); /* {.file.fd = -1} is fine */

/* flat: ts_metrics_flat of a line. */
ts_status ts_metrics_csv_add(ts_metrics_csv *table, const json_t *flat, ts_error *err);

#endif
