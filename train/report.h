/* What a run shows and leaves behind: the run directory, metrics.jsonl, the log, the progress line, pictures.
 * docs/run-directory.md tells it to users. Thread: one at a time on a report. */
#ifndef TS_TRAIN_REPORT_H
#define TS_TRAIN_REPORT_H

#include "train/evaluate.h"

/* Metrics of one training step (or window). */
typedef struct {
    int64_t step, steps; /* after this step; of the whole run */
    double loss, lr, norm;
    const char *part_names[TS_MAX_PARTS];
    double parts[TS_MAX_PARTS];
    int part_count;
    ts_usage usage; /* of the window since the last line; tokens 0: not measured */
    double items_per_s, steps_per_s, seconds_left;
    int64_t skipped, rolled_back; /* so far */
} ts_step_metrics;

typedef struct ts_report ts_report;

/* Makes (or, resume, re-opens) the run directory: config.yaml, metrics.jsonl, log.txt, checkpoints/, pictures/,
 * env.json. A directory that already holds a run is refused without resume (usage error, says what to do), and so is
 * one that another process is writing. On resume the lines of metrics.jsonl after step `resume_step` are cut off; a
 * config.yaml or env.json that says something else now is kept as config.prev.yaml, env.prev.json.
 * quiet: nothing on the terminal but errors. json: the metrics lines also go to standard output.
 * Owner: ts_report_close. `e` is not needed after the call. */
ts_status ts_report_open(ts_report **report, const char *directory, const ts_experiment *e, bool resume,
                         int64_t resume_step, bool quiet, bool json, ts_error *err);
void ts_report_close(ts_report *report); /* NULL is fine */

/* Path of a file in the run directory ("checkpoints/last.h5"), in the report's memory. NULL when out of memory. */
const char *ts_report_path(ts_report *report, const char *name);

/* Every step: cheap; redraws the progress bar at most ten times a second on a terminal. A usage without tokens: the bar
 * shows the last one that was measured. */
void ts_report_progress(ts_report *report, const ts_step_metrics *m);
/* codes.npy, i64 [codes]: how often each code was used in the last evaluation; a histogram for TensorBoard. */
ts_status ts_report_codes(ts_report *report, int64_t step, const int64_t *counts, int64_t codes, ts_error *err);

/* A metrics line of a training step, of an evaluation; the log has the same for people, and so has the terminal: every
 * evaluation, and a step where there is no bar and the last is two seconds old.
 * Errors: a full disk is a run-time error that names the file; metrics.jsonl keeps its whole lines. */
ts_status ts_report_step(ts_report *report, const ts_step_metrics *m, ts_error *err);
ts_status ts_report_evaluation(ts_report *report, int64_t step, ts_split split, const ts_evaluation *v, bool best,
                               ts_error *err);
/* A line for the log and, unless quiet, the terminal. A log that cannot be written is what the next step or evaluation
 * fails with, or ts_report_check. */
void ts_report_note(ts_report *report, const char *format, ...) TS_PRINTF(2, 3);
ts_status ts_report_check(const ts_report *report, ts_error *err);

/* Pictures, as PNG under their name in the run directory ("pictures/first.png"): originals above their reconstructions,
 * [count, H, W, C]; how often each code is used. Items that are no images (rank other than 3) have no picture: TS_OK.
 * Errors: TS_ERR_RUNTIME. */
ts_status ts_report_reconstructions(ts_report *report, const char *name, const float *originals, const float *outputs,
                                    int64_t count, ts_shape item, ts_range range, ts_error *err);
ts_status ts_report_usage(ts_report *report, const char *name, const int64_t *counts, int64_t codes, ts_error *err);

/* A picture of the run directory, PNG or GIF, for TensorBoard; one that is not there is left out. */
ts_status ts_report_show(ts_report *report, int64_t step, const char *tag, const char *name, ts_error *err);

#endif
