/* A run directory on disk:
 *     config.yaml     the resolved config
 *     env.json        what the run ran on: versions, processor, threads
 *     metrics.jsonl   a line per measurement
 *     train.csv val.csv, events.out.tfevents.*    the same as tables, and for TensorBoard
 *     log.txt         what was said, with the time; locked while a run writes here
 *     checkpoints/ pictures/
 * Errors of all functions that write: TS_ERR_RUNTIME with the path and the reason. */
#ifndef TS_TRAIN_RUN_DIR_H
#define TS_TRAIN_RUN_DIR_H

#include "train/event_file.h"
#include "train/experiment.h"
#include "train/metrics_csv.h"

enum { TS_SPLITS = 2 };

typedef struct {
    char *path;
    ts_line_file metrics, log;
    ts_metrics_csv table[TS_SPLITS];
    ts_event_file events; /* not open where train.tensorboard is false */
} ts_run_dir;

/* As ts_report_open. Owner: ts_run_dir_close, after TS_OK. */
ts_status ts_run_dir_open(ts_run_dir *dir, const char *path, const ts_experiment *e, bool resume, int64_t resume_step,
                          ts_error *err);
void ts_run_dir_close(ts_run_dir *dir);

/* env.json's text, for free with ts_free; NULL when out of memory. Reads /proc/cpuinfo. */
char *ts_environment_text(const ts_device *device);

#endif
