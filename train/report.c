#define _GNU_SOURCE
#include "train/report.h"

#include <string.h>
#include <time.h>
#include <unistd.h>

#include "core/files/npy.h"
#include "core/memory.h"
#include "train/event_tags.h"
#include "train/metrics.h"
#include "train/picture.h"
#include "train/progress.h"
#include "train/report_text.h"
#include "train/run_dir.h"

struct ts_report {
    ts_run_dir dir;
    ts_progress progress;
    ts_arena arena; /* paths that were asked for */
    bool json;
    const char *items; /* what an item is called */
    int loss;          /* ts_loss_kind */
    ts_error failed;   /* the first line that the log did not take */
};

ts_status ts_report_open(ts_report **report, const char *directory, const ts_experiment *e, bool resume,
                         int64_t resume_step, bool quiet, bool json, ts_error *err)
{
    *report = NULL;
    ts_report *r = ts_calloc(1, sizeof *r);
    if (!r)
        return ts_out_of_memory(err, sizeof *r);
    ts_status status = ts_run_dir_open(&r->dir, directory, e, resume, resume_step, err);
    if (status != TS_OK) {
        ts_free(r);
        return status;
    }
    r->json = json;
    r->loss = ((const ts_train_options *)ts_config_options(e->config, "train"))->loss;
    r->items = e->tokenizer.item.rank == 3 ? "images" : "items";
    ts_progress_open(&r->progress, STDERR_FILENO, quiet, r->items);
    *report = r;
    return TS_OK;
}

void ts_report_close(ts_report *report)
{
    if (!report)
        return;
    ts_progress_close(&report->progress);
    ts_run_dir_close(&report->dir);
    ts_arena_clear(&report->arena);
    ts_free(report);
}

const char *ts_report_path(ts_report *report, const char *name)
{
    return ts_arena_format(&report->arena, "%s/%s", report->dir.path, name);
}

/* ---- lines ---- */

enum { TEXT_BYTES = 2048 };

static void write_log(ts_report *r, const char *text)
{
    char line[TEXT_BYTES + 32], when[32];
    time_t now = time(NULL);
    struct tm local;
    strftime(when, sizeof when, "%Y-%m-%d %H:%M:%S", localtime_r(&now, &local));
    int n = snprintf(line, sizeof line, "%s  %s\n", when, text);
    ts_error err = {0};
    if (ts_line_file_write(&r->dir.log, line, (size_t)n, &err) != TS_OK && r->failed.code == TS_OK)
        r->failed = err;
}

ts_status ts_report_check(const ts_report *report, ts_error *err)
{
    return report->failed.code == TS_OK ? TS_OK : ts_fail(err, report->failed.code, "%s", report->failed.text);
}

static bool has_events(const ts_report *r)
{
    return r->dir.events.file.fd >= 0;
}

/* The line once more, in the table of its split and for TensorBoard. */
static ts_status write_views(ts_report *r, ts_split split, const char *line, size_t bytes, ts_error *err)
{
    json_t *flat = ts_metrics_flat(line, bytes);
    if (!flat)
        return ts_out_of_memory(err, bytes);
    ts_status status = ts_metrics_csv_add(&r->dir.table[split], flat, err);
    if (status == TS_OK && has_events(r))
        status = ts_event_metrics(&r->dir.events, flat, split == TS_SPLIT_TRAIN, r->loss, err);
    json_decref(flat);
    return status;
}

static ts_status write_metrics(ts_report *r, ts_split split, const char *line, size_t bytes, ts_error *err)
{
    if (bytes == 0)
        return ts_out_of_memory(err, TS_METRICS_LINE_BYTES);
    TS_TRY(ts_line_file_write(&r->dir.metrics, line, bytes, err));
    TS_TRY(write_views(r, split, line, bytes, err));
    if (!r->json)
        return TS_OK;
    ts_progress_clear(&r->progress);
    return ts_write_all(STDOUT_FILENO, "standard output", line, bytes, err);
}

void ts_report_progress(ts_report *report, const ts_step_metrics *m)
{
    ts_progress_step(&report->progress, m);
}

ts_status ts_report_step(ts_report *report, const ts_step_metrics *m, ts_error *err)
{
    char line[TS_METRICS_LINE_BYTES], text[TEXT_BYTES];
    TS_TRY(write_metrics(report, TS_SPLIT_TRAIN, line, ts_metrics_step(m, line), err));
    ts_step_text(text, sizeof text, m, report->items);
    write_log(report, text);
    ts_progress_line(&report->progress, TS_LINE_NO_TERMINAL, text);
    return ts_report_check(report, err);
}

ts_status ts_report_evaluation(ts_report *report, int64_t step, ts_split split, const ts_evaluation *v, bool best,
                               ts_error *err)
{
    char line[TS_METRICS_LINE_BYTES], text[TEXT_BYTES];
    TS_TRY(write_metrics(report, split, line, ts_metrics_evaluation(step, split, v, best, line), err));
    ts_evaluation_text(text, sizeof text, step, split, v, best, report->items, false);
    write_log(report, text);
    if (report->progress.terminal)
        ts_evaluation_text(text, sizeof text, step, split, v, best, report->items, true);
    ts_progress_line(&report->progress, TS_LINE_ALWAYS, text);
    return ts_report_check(report, err);
}

void ts_report_note(ts_report *report, const char *format, ...)
{
    char text[TEXT_BYTES];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    write_log(report, text);
    ts_progress_line(&report->progress, TS_LINE_ALWAYS, text);
}

/* ---- pictures ---- */

/* Whatever went wrong is the run's problem, not the data's. */
static ts_status save(ts_report *r, const char *name, ts_image *picture, ts_error *err)
{
    char *path = ts_format("%s/%s", r->dir.path, name);
    ts_status status = path ? ts_image_write_png(path, picture, err) : ts_out_of_memory(err, strlen(name));
    ts_image_clear(picture);
    ts_free(path);
    if (status == TS_OK)
        return TS_OK;
    if (err)
        err->code = TS_ERR_RUNTIME;
    return TS_ERR_RUNTIME;
}

ts_status ts_report_reconstructions(ts_report *report, const char *name, const float *originals, const float *outputs,
                                    int64_t count, ts_shape item, ts_range range, ts_error *err)
{
    if (item.rank != 3 || count < 1)
        return TS_OK;
    ts_image picture;
    TS_TRY(ts_picture_pairs(&picture, originals, outputs, count, item, range, err));
    return save(report, name, &picture, err);
}

ts_status ts_report_usage(ts_report *report, const char *name, const int64_t *counts, int64_t codes, ts_error *err)
{
    ts_image picture;
    TS_TRY(ts_picture_usage(&picture, counts, codes, err));
    return save(report, name, &picture, err);
}

ts_status ts_report_show(ts_report *report, int64_t step, const char *tag, const char *name, ts_error *err)
{
    if (!has_events(report))
        return TS_OK;
    char *path = ts_format("%s/%s", report->dir.path, name);
    ts_status status = path ? ts_event_picture(&report->dir.events, step, tag, path, err) : ts_out_of_memory(err, 0);
    ts_free(path);
    return status;
}

ts_status ts_report_codes(ts_report *report, int64_t step, const int64_t *counts, int64_t codes, ts_error *err)
{
    char *path = ts_format("%s/codes.npy", report->dir.path);
    ts_tensor tensor = {TS_I64, ts_shape_of(codes), (void *)(uintptr_t)counts};
    ts_status status = path ? ts_npy_write(path, &tensor, err) : ts_out_of_memory(err, 0);
    ts_free(path);
    if (status != TS_OK && err) /* the run's problem, not the data's */
        err->code = TS_ERR_RUNTIME;
    if (status != TS_OK)
        return TS_ERR_RUNTIME;
    return has_events(report) ? ts_event_ids(&report->dir.events, step, "Test/codes", counts, codes, err) : TS_OK;
}
