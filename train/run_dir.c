#define _GNU_SOURCE
#include "train/run_dir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/files/bytes.h"
#include "core/files/replace.h"
#include "core/memory.h"
#include "train/metrics.h"

static const size_t max_metrics_bytes = (size_t)4 << 30, max_text_bytes = (size_t)16 << 20;

/* ---- is there a run? ---- */

static bool has_bytes(const char *path)
{
    struct stat s;
    return stat(path, &s) == 0 && s.st_size > 0;
}

static bool has_entries(const char *path)
{
    bool found = false;
    DIR *d = opendir(path);
    for (struct dirent *e; d && !found && (e = readdir(d));)
        found = strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0;
    if (d)
        closedir(d);
    return found;
}

/* A run that ended before its first measurement left a config and an empty metrics.jsonl: nothing to protect. A config
 * without metrics.jsonl is somebody's own. */
static bool holds_run(const char *metrics, const char *config, const char *checkpoints)
{
    return has_bytes(metrics) || has_entries(checkpoints) || (has_bytes(config) && access(metrics, F_OK) != 0);
}

static ts_status check_no_run(const char *path, ts_error *err)
{
    char *metrics = ts_format("%s/metrics.jsonl", path), *config = ts_format("%s/config.yaml", path);
    char *checkpoints = ts_format("%s/checkpoints", path);
    ts_status status = TS_OK;
    if (!metrics || !config || !checkpoints)
        status = ts_out_of_memory(err, strlen(path));
    else if (holds_run(metrics, config, checkpoints))
        status =
            ts_fail(err, TS_ERR_USAGE,
                    "%s: holds a run already; go on with it by --resume, or name another directory with --run", path);
    ts_free(metrics);
    ts_free(config);
    ts_free(checkpoints);
    return status;
}

/* ---- making ---- */

/* With the folders on its way. */
static ts_status make_folder(const char *path, ts_error *err)
{
    char *part = ts_strdup(path);
    if (!part)
        return ts_out_of_memory(err, strlen(path));
    ts_status status = TS_OK;
    struct stat s;
    for (char *slash = part; slash && status == TS_OK;) {
        slash = strchr(slash + 1, '/');
        if (slash)
            *slash = '\0';
        if (mkdir(part, 0777) != 0 && (errno != EEXIST || stat(part, &s) != 0 || !S_ISDIR(s.st_mode)))
            status = ts_fail(err, TS_ERR_RUNTIME, "%s: the folder cannot be made: %s", part,
                             errno == EEXIST ? "a file of that name is there" : strerror(errno));
        if (slash)
            *slash = '/';
    }
    ts_free(part);
    return status;
}

static ts_status make_inner_folder(const char *path, const char *name, ts_error *err)
{
    char *inner = ts_format("%s/%s", path, name);
    ts_status status = inner ? make_folder(inner, err) : ts_out_of_memory(err, strlen(path));
    ts_free(inner);
    return status;
}

static ts_status lock(const ts_run_dir *dir, ts_error *err)
{
    if (flock(dir->log.fd, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK) /* else: a file system without locks */
        return TS_OK;
    return ts_fail(err, TS_ERR_USAGE, "%s: another process is writing this run; wait for it, or name another directory",
                   dir->path);
}

/* Nothing is touched that already says so; what said something else is kept as name.prev. */
static ts_status write_text(const ts_run_dir *dir, const char *name, const char *text, ts_error *err)
{
    char *path = ts_format("%s/%s", dir->path, name);
    if (!text || !path) {
        ts_free(path);
        return ts_out_of_memory(err, strlen(name));
    }
    ts_bytes old = {0};
    bool same = ts_bytes_read(&old, path, max_text_bytes, TS_ERR_RUNTIME, NULL) == TS_OK && old.count == strlen(text) &&
                memcmp(old.data, text, old.count) == 0;
    ts_bytes_clear(&old);
    ts_status status = same ? TS_OK : ts_replace_file(path, text, strlen(text), TS_REPLACE_KEEP, TS_ERR_RUNTIME, err);
    ts_free(path);
    return status;
}

static ts_status write_config(const ts_run_dir *dir, const ts_config *config, ts_error *err)
{
    char *text = NULL;
    TS_TRY(ts_config_print(config, false, &text, err));
    ts_status status = write_text(dir, "config.yaml", text, err);
    ts_free(text);
    return status;
}

static ts_status write_environment(const ts_run_dir *dir, const ts_device *device, ts_error *err)
{
    char *text = ts_environment_text(device);
    ts_status status = write_text(dir, "env.json", text, err);
    ts_free(text);
    return status;
}

/* The file is as it was when `step` was saved: what came after is measured again. */
static ts_status cut_metrics(const ts_run_dir *dir, int64_t step, ts_error *err)
{
    char *path = ts_format("%s/metrics.jsonl", dir->path);
    if (!path)
        return ts_out_of_memory(err, strlen(dir->path));
    ts_status status = TS_OK;
    if (has_bytes(path)) {
        ts_bytes text = {0};
        status = ts_bytes_read(&text, path, max_metrics_bytes, TS_ERR_RUNTIME, err);
        size_t kept = status == TS_OK ? ts_metrics_cut((char *)text.data, text.count, step) : 0;
        if (status == TS_OK && kept < text.count)
            status = ts_replace_file(path, text.data, kept, TS_REPLACE_DROP, TS_ERR_RUNTIME, err);
        ts_bytes_clear(&text);
    }
    ts_free(path);
    return status;
}

static const ts_run_dir nothing_open = {
    .metrics.fd = -1, .log.fd = -1, .events.file.fd = -1, .table = {{.file.fd = -1}, {.file.fd = -1}}};

/* What else holds the lines of metrics. */
static ts_status open_views(ts_run_dir *dir, const ts_experiment *e, bool resume, int64_t resume_step, ts_error *err)
{
    const ts_train_options *o = ts_config_options(e->config, "train");
    for (int i = 0; i < TS_SPLITS; i++)
        TS_TRY(
            ts_metrics_csv_open(&dir->table[i], dir->path, ts_split_name((ts_split)i), resume ? resume_step : -1, err));
    return o->tensorboard ? ts_event_file_open(&dir->events, dir->path, resume ? resume_step + 1 : 0, err) : TS_OK;
}

static ts_status open_all(ts_run_dir *dir, const ts_experiment *e, bool resume, int64_t resume_step, ts_error *err)
{
    TS_TRY(make_folder(dir->path, err));
    if (!resume)
        TS_TRY(check_no_run(dir->path, err));
    TS_TRY(ts_line_file_open(&dir->log, dir->path, "log.txt", err));
    TS_TRY(lock(dir, err));
    if (resume)
        TS_TRY(cut_metrics(dir, resume_step, err));
    TS_TRY(ts_line_file_open(&dir->metrics, dir->path, "metrics.jsonl", err));
    TS_TRY(open_views(dir, e, resume, resume_step, err));
    TS_TRY(make_inner_folder(dir->path, "checkpoints", err));
    TS_TRY(make_inner_folder(dir->path, "pictures", err));
    TS_TRY(write_config(dir, e->config, err));
    return write_environment(dir, e->device, err);
}

ts_status ts_run_dir_open(ts_run_dir *dir, const char *path, const ts_experiment *e, bool resume, int64_t resume_step,
                          ts_error *err)
{
    *dir = nothing_open;
    dir->path = ts_strdup(path);
    ts_status status = dir->path ? open_all(dir, e, resume, resume_step, err) : ts_out_of_memory(err, strlen(path));
    if (status != TS_OK)
        ts_run_dir_close(dir);
    return status;
}

void ts_run_dir_close(ts_run_dir *dir)
{
    ts_line_file_close(&dir->metrics);
    ts_line_file_close(&dir->log);
    ts_event_file_close(&dir->events);
    for (int i = 0; i < TS_SPLITS; i++)
        ts_metrics_csv_close(&dir->table[i]);
    ts_free(dir->path);
    *dir = nothing_open;
}
