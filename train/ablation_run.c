#define _GNU_SOURCE
#include "train/ablation_run.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "train/experiment.h"
#include "train/report_text.h"
#include "train/run_dir.h"
#include "train/signals.h"

typedef enum { WAITING, RUNNING, DONE, FAILED } cell_state;

typedef struct {
    const ts_ablation *a;
    const ts_ablation_options *o;
    cell_state *state; /* [cells] */
    pid_t *process;    /* [cells] */
    int threads;
    double started;
    int64_t steps_before; /* that were already trained when this began */
} session;

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

char *ts_ablation_cell_path(const char *directory, const ts_ablation_cell *cell, const char *file)
{
    return ts_format("%s/cells/%s%s", directory, cell->name, file);
}

/* ---- what is there ---- */

/* The last whole line of the cell's metrics, for ts_free; NULL where there is none. */
static char *last_line(const char *directory, const ts_ablation_cell *cell)
{
    enum { TAIL = 1 << 16 };
    char *path = ts_ablation_cell_path(directory, cell, "/metrics.jsonl"), *text = ts_calloc(TAIL + 1, 1), *line = NULL;
    FILE *file = path && text ? fopen(path, "rb") : NULL;
    if (file) {
        if (fseek(file, -TAIL, SEEK_END) != 0)
            rewind(file);
        size_t n = fread(text, 1, TAIL, file);
        while (n && text[n - 1] != '\n')
            n--;
        if (n)
            text[n - 1] = '\0';
        char *start = n ? memrchr(text, '\n', n - 1) : NULL;
        line = n ? ts_strdup(start ? start + 1 : text) : NULL;
        fclose(file);
    }
    ts_free(text);
    ts_free(path);
    return line;
}

static int64_t step_of(const char *line)
{
    static const char start[] = "{\"step\": ";
    return line && strncmp(line, start, sizeof start - 1) == 0 ? strtoll(line + sizeof start - 1, NULL, 10) : -1;
}

int64_t ts_ablation_cell_step(const char *directory, const ts_ablation_cell *cell)
{
    char *line = last_line(directory, cell);
    int64_t step = step_of(line);
    ts_free(line);
    return step;
}

bool ts_ablation_cell_finished(const char *directory, const ts_ablation_cell *cell)
{
    char *line = last_line(directory, cell);
    bool finished = step_of(line) == cell->steps && strstr(line, "\"split\": \"val\"");
    ts_free(line);
    return finished;
}

/* A finished cell must be what the spec says now. */
static ts_status check_same(const session *s, const ts_ablation_cell *cell, ts_error *err)
{
    ts_config *made = NULL, *wanted = NULL;
    char *path = ts_ablation_cell_path(s->o->directory, cell, "/config.yaml"), *text = NULL;
    size_t bytes;
    ts_status status;
    if (!path)
        return ts_out_of_memory(err, 0);
    TS_GO(ts_config_load(&made, ts_experiment_schema(), path, NULL, err));
    TS_GO(ts_ablation_config(s->a, cell, &wanted, err));
    FILE *differences = open_memstream(&text, &bytes);
    int count = differences ? ts_config_diff(made, wanted, differences) : -1;
    if (differences)
        fclose(differences);
    if (count < 0)
        status = ts_out_of_memory(err, 0);
    else if (count > 0)
        status = ts_fail(err, TS_ERR_USAGE,
                         "%s/cells/%s was trained with another config (%.*s%s): choose another --run, or remove that "
                         "folder",
                         s->o->directory, cell->name, (int)strcspn(text, "\n"), text, count > 1 ? " ..." : "");
out:
    free(text);
    ts_config_free(made);
    ts_config_free(wanted);
    ts_free(path);
    return status;
}

/* ---- folders ---- */

static ts_status make_folder(const char *path, ts_error *err)
{
    if (mkdir(path, 0777) == 0 || errno == EEXIST)
        return TS_OK;
    return ts_fail(err, TS_ERR_RUNTIME, "%s: cannot make this folder: %s", path, strerror(errno));
}

static ts_status copy_spec(const session *s, ts_error *err)
{
    char *to = ts_format("%s/spec.yaml", s->o->directory), bytes[1 << 12];
    FILE *in = fopen(s->a->path, "rb"), *out = to ? fopen(to, "wb") : NULL;
    bool ok = in && out;
    for (size_t n; ok && (n = fread(bytes, 1, sizeof bytes, in)) > 0;)
        ok = fwrite(bytes, 1, n, out) == n;
    if (in)
        fclose(in);
    if (out && fclose(out) != 0)
        ok = false;
    if (!ok)
        ts_fail(err, TS_ERR_RUNTIME, "%s/spec.yaml: cannot be written: %s", s->o->directory, strerror(errno));
    ts_free(to);
    return ok ? TS_OK : TS_ERR_RUNTIME;
}

static ts_status make_folders(const session *s, ts_error *err)
{
    char *cells = ts_format("%s/cells", s->o->directory);
    ts_status status = cells ? make_folder(s->o->directory, err) : ts_out_of_memory(err, 0);
    if (status == TS_OK)
        status = make_folder(cells, err);
    ts_free(cells);
    return status == TS_OK ? copy_spec(s, err) : status;
}

/* ---- processes ---- */

/* A run that ended before its first checkpoint cannot go on: it begins anew, and what it left is kept beside it. */
static ts_status set_aside(const char *run, ts_error *err)
{
    char *old = ts_format("%s.before", run);
    ts_status status = old ? TS_OK : ts_out_of_memory(err, 0);
    for (int i = 2; old && access(old, F_OK) == 0; i++) {
        ts_free(old);
        old = ts_format("%s.before-%d", run, i);
    }
    if (old && rename(run, old) != 0)
        status = ts_fail(err, TS_ERR_RUNTIME, "%s: cannot be renamed to %s: %s", run, old, strerror(errno));
    ts_free(old);
    return status;
}

static ts_status spawn(session *s, int i, const char *const *arguments, ts_error *err)
{
    char *log = ts_ablation_cell_path(s->o->directory, &s->a->cell[i], ".log");
    posix_spawn_file_actions_t actions;
    if (!log || posix_spawn_file_actions_init(&actions) != 0) {
        ts_free(log);
        return ts_out_of_memory(err, 0);
    }
    posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, log, O_WRONLY | O_CREAT | O_TRUNC, 0666);
    posix_spawn_file_actions_adddup2(&actions, STDOUT_FILENO, STDERR_FILENO);
    int error = posix_spawn(&s->process[i], "/proc/self/exe", &actions, NULL, (char *const *)arguments, environ);
    posix_spawn_file_actions_destroy(&actions);
    ts_free(log);
    if (error)
        return ts_fail(err, TS_ERR_RUNTIME, "cannot start a process for %s: %s", s->a->cell[i].name, strerror(error));
    s->state[i] = RUNNING;
    return TS_OK;
}

static ts_status start(session *s, int i, ts_error *err)
{
    enum { FIXED = 12, MOST = FIXED + 64 };
    const ts_ablation_cell *cell = &s->a->cell[i];
    const char *arguments[MOST];
    char threads[32];
    int n = 0;
    char *run = ts_ablation_cell_path(s->o->directory, cell, "");
    char *last = ts_ablation_cell_path(s->o->directory, cell, "/checkpoints/last.h5");
    ts_status status = run && last ? TS_OK : ts_out_of_memory(err, 0);
    if (status == TS_OK && access(run, F_OK) == 0 && access(last, F_OK) != 0)
        status = set_aside(run, err);
    if (status == TS_OK) {
        snprintf(threads, sizeof threads, "%d", s->threads);
        const char *const fixed[] = {"tessera", "train",     s->a->base, "--run",    run,
                                     "--quiet", "--threads", threads,    "--device", s->o->device};
        for (; n < (int)(sizeof fixed / sizeof *fixed); n++)
            arguments[n] = fixed[n];
        if (access(last, F_OK) == 0)
            arguments[n++] = "--resume";
        for (const char *const *o = cell->override; *o && n < MOST - 1; o++)
            arguments[n++] = *o;
        arguments[n] = NULL;
        status = spawn(s, i, arguments, err);
    }
    ts_free(run);
    ts_free(last);
    return status;
}

/* ---- what is said ---- */

static void count(const session *s, ts_ablation_outcome *o)
{
    o->done = o->failed = 0;
    for (int i = 0; i < s->a->cell_count; i++) {
        o->done += s->state[i] == DONE;
        o->failed += s->state[i] == FAILED;
    }
}

static int64_t steps_trained(const session *s)
{
    int64_t sum = 0;
    for (int i = 0; i < s->a->cell_count; i++) {
        int64_t step =
            s->state[i] == DONE ? s->a->cell[i].steps : ts_ablation_cell_step(s->o->directory, &s->a->cell[i]);
        sum += step > 0 ? step : 0;
    }
    return sum;
}

/* By the steps that are left of cells that have not failed, at the rate since the beginning; NAN is printed as "?". */
static double seconds_left(const session *s)
{
    int64_t trained = steps_trained(s), left = 0;
    for (int i = 0; i < s->a->cell_count; i++) {
        int64_t step = ts_ablation_cell_step(s->o->directory, &s->a->cell[i]);
        if (s->state[i] == WAITING || s->state[i] == RUNNING)
            left += s->a->cell[i].steps - (step > 0 ? step : 0);
    }
    int64_t since = trained - s->steps_before;
    return since > 0 ? (double)left / (double)since * (now() - s->started) : (double)NAN;
}

/* The last line of the cell's log: why it failed. */
static void reason(const session *s, int i, char *text, size_t bytes)
{
    char *path = ts_ablation_cell_path(s->o->directory, &s->a->cell[i], ".log"), line[1200];
    FILE *log = path ? fopen(path, "r") : NULL;
    text[0] = '\0';
    while (log && fgets(line, sizeof line, log))
        if (line[0] != '\n')
            snprintf(text, bytes, "%.*s", (int)strcspn(line, "\n"), line);
    if (log)
        fclose(log);
    ts_free(path);
}

static void say(const session *s, int i, int status)
{
    char why[1200];
    ts_ablation_outcome o;
    if (s->o->quiet)
        return;
    count(s, &o);
    if (s->state[i] == DONE) {
        fprintf(stderr, "[%d/%d] %s is trained; %s left\n", o.done + o.failed, s->a->cell_count, s->a->cell[i].name,
                ts_duration_text(seconds_left(s)).text);
        return;
    }
    reason(s, i, why, sizeof why);
    if (WIFSIGNALED(status))
        fprintf(stderr, "[%d/%d] %s failed: its process was ended by signal %d\n", o.done + o.failed, s->a->cell_count,
                s->a->cell[i].name, WTERMSIG(status));
    else
        fprintf(stderr, "[%d/%d] %s failed: %s\n", o.done + o.failed, s->a->cell_count, s->a->cell[i].name, why);
}

/* ---- the loop ---- */

static int running(const session *s)
{
    int n = 0;
    for (int i = 0; i < s->a->cell_count; i++)
        n += s->state[i] == RUNNING;
    return n;
}

/* The first that waits, -1: none. */
static int next(const session *s)
{
    for (int i = 0; i < s->a->cell_count; i++)
        if (s->state[i] == WAITING)
            return i;
    return -1;
}

static void collect(session *s, bool stopped)
{
    int status;
    for (int i = 0; i < s->a->cell_count; i++) {
        if (s->state[i] != RUNNING || waitpid(s->process[i], &status, WNOHANG) != s->process[i])
            continue;
        bool finished = ts_ablation_cell_finished(s->o->directory, &s->a->cell[i]);
        s->state[i] = finished ? DONE : stopped ? WAITING : FAILED;
        if (s->state[i] != WAITING)
            say(s, i, status);
    }
}

static void stop_all(const session *s, int signal)
{
    for (int i = 0; i < s->a->cell_count; i++)
        if (s->state[i] == RUNNING)
            kill(s->process[i], signal);
}

static void wait_a_little(void)
{
    nanosleep(&(struct timespec){.tv_nsec = 50 * 1000 * 1000}, NULL);
}

static ts_status train_all(session *s, int *signal, ts_error *err)
{
    ts_status status = TS_OK;
    for (*signal = 0; status == TS_OK && (next(s) >= 0 || running(s));) {
        if ((*signal = ts_signals_received()))
            break;
        if (next(s) >= 0 && running(s) < s->o->jobs) {
            status = start(s, next(s), err);
            continue;
        }
        wait_a_little();
        collect(s, false);
    }
    stop_all(s, SIGTERM); /* they save and leave */
    while (running(s)) {
        wait_a_little();
        collect(s, true);
    }
    return status;
}

static ts_status look(session *s, ts_error *err)
{
    for (int i = 0; i < s->a->cell_count; i++)
        if (ts_ablation_cell_finished(s->o->directory, &s->a->cell[i])) {
            TS_TRY(check_same(s, &s->a->cell[i], err));
            s->state[i] = DONE;
        }
    s->steps_before = steps_trained(s);
    return TS_OK;
}

static int threads_of(const ts_ablation_options *o)
{
    long machine = sysconf(_SC_NPROCESSORS_ONLN);
    int share = (int)(machine / o->jobs);
    return o->threads > 0 ? o->threads : share > 1 ? share : 1;
}

ts_status ts_ablation_train(const ts_ablation *a, const ts_ablation_options *options, ts_ablation_outcome *outcome,
                            ts_error *err)
{
    session s = {.a = a, .o = options, .threads = threads_of(options), .started = now()};
    ts_status status;
    *outcome = (ts_ablation_outcome){0};
    s.state = ts_calloc((size_t)a->cell_count, sizeof *s.state);
    s.process = ts_calloc((size_t)a->cell_count, sizeof *s.process);
    if (!s.state || !s.process) {
        status = ts_out_of_memory(err, (size_t)a->cell_count * sizeof *s.process);
        goto out;
    }
    TS_GO(look(&s, err));
    TS_GO(make_folders(&s, err));
    ts_signals_install();
    TS_GO(train_all(&s, &outcome->signal, err));
    count(&s, outcome);
out:
    ts_free(s.state);
    ts_free(s.process);
    return status;
}
