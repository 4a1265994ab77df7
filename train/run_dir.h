/* A run directory on disk:
 *     config.yaml     the resolved config
 *     env.json        what the run ran on: versions, processor, threads
 *     metrics.jsonl   a line per measurement
 *     log.txt         what was said, with the time; locked while a run writes here
 *     checkpoints/ pictures/
 * Errors of all functions that write: TS_ERR_RUNTIME with the path and the reason. */
#ifndef TS_TRAIN_RUN_DIR_H
#define TS_TRAIN_RUN_DIR_H

#include "train/experiment.h"

/* A file that grows by whole lines. */
typedef struct {
    char *path;
    int fd;
} ts_line_file;

/* One write at the end; where it fails, what came through of it is cut off again. */
ts_status ts_line_file_write(const ts_line_file *file, const char *line, size_t bytes, ts_error *err);

/* All of it to a descriptor; `name` is for the message. */
ts_status ts_write_all(int fd, const char *name, const char *bytes, size_t count, ts_error *err);

typedef struct {
    char *path;
    ts_line_file metrics, log;
} ts_run_dir;

/* As ts_report_open. Owner: ts_run_dir_close, after TS_OK. */
ts_status ts_run_dir_open(ts_run_dir *dir, const char *path, const ts_experiment *e, bool resume, int64_t resume_step,
                          ts_error *err);
void ts_run_dir_close(ts_run_dir *dir);

/* env.json's text, for free with ts_free; NULL when out of memory. Reads /proc/cpuinfo. */
char *ts_environment_text(const ts_device *device);

#endif
