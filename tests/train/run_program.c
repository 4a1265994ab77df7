#define _GNU_SOURCE
#include "tests/train/run_program.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { MOST_WORDS = 100, NOBODY = 65534 };

/* In the child: never returns. */
static void become_program(const char *const *arguments, const circumstances *c, int out, int err)
{
    const char *words[MOST_WORDS] = {TESSERA_PROGRAM};
    for (int i = 0; arguments[i] && i < MOST_WORDS - 2; i++)
        words[i + 1] = arguments[i];
    if (c->file_limit) {
        struct rlimit limit = {(rlim_t)c->file_limit, (rlim_t)c->file_limit};
        setrlimit(RLIMIT_FSIZE, &limit);
    }
    if (c->nobody && (setgroups(0, NULL) || setgid(NOBODY) || setuid(NOBODY)))
        _exit(126);
    dup2(out, 1);
    dup2(err, 2);
    signal(SIGXFSZ, SIG_DFL);
    execv(TESSERA_PROGRAM, (char *const *)words);
    _exit(127);
}

static void sleep_ms(long ms)
{
    nanosleep(&(struct timespec){0, ms * 1000000}, NULL);
}

/* At most a minute. */
static void wait_for_content(const char *path)
{
    struct stat st;
    for (int i = 0; i < 6000 && (stat(path, &st) != 0 || st.st_size == 0); i++)
        sleep_ms(10);
}

static char *take_all(int file, size_t *bytes)
{
    off_t end = lseek(file, 0, SEEK_END);
    char *text = calloc((size_t)end + 1, 1);
    cr_assert_not_null(text);
    *bytes = (size_t)pread(file, text, (size_t)end, 0);
    close(file);
    return text;
}

static int temporary_file(void)
{
    char path[] = "/tmp/tessera-output-XXXXXX";
    int file = mkstemp(path);
    cr_assert_geq(file, 0);
    unlink(path);
    return file;
}

outcome run_program(const char *const *arguments, circumstances c)
{
    outcome o = {0};
    size_t err_bytes;
    int status, err = temporary_file();
    int out = c.out ? open(c.out, O_RDWR | O_CREAT, 0600) : temporary_file();
    cr_assert_geq(out, 0, "%s", c.out);
    pid_t child = fork();
    cr_assert_geq(child, 0);
    if (child == 0)
        become_program(arguments, &c, out, err);
    if (c.signal) {
        wait_for_content(c.signal_when);
        kill(child, c.signal);
    }
    cr_assert_eq(waitpid(child, &status, 0), child);
    o.code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    if (c.out)
        close(out);
    else
        o.out = take_all(out, &o.out_bytes);
    o.err = take_all(err, &err_bytes);
    return o;
}

void outcome_free(outcome *o)
{
    free(o->out);
    free(o->err);
    *o = (outcome){0};
}

void expect_refusal(const char *const *arguments, circumstances c, int code, const char *text)
{
    char words[2000] = "";
    for (int i = 0; arguments[i]; i++) {
        strncat(words, " ", sizeof words - strlen(words) - 1);
        strncat(words, arguments[i], sizeof words - strlen(words) - 1);
    }
    outcome o = run_program(arguments, c);
    char *end = strchr(o.err, '\n');
    cr_expect_eq(o.code, code, "tessera%s: exit code %d, not %d: %s", words, o.code, code, o.err);
    cr_expect(end && end[1] == '\0' && strncmp(o.err, "tessera", 7) == 0, "tessera%s: not one line: '%s'", words,
              o.err);
    cr_expect(strstr(o.err, text), "tessera%s: '%s' is not in '%s'", words, text, o.err);
    outcome_free(&o);
}

char *output_of_program(const char *const *arguments)
{
    outcome o = run_program(arguments, (circumstances){0});
    cr_assert_eq(o.code, 0, "tessera %s: exit code %d: %s", arguments[0], o.code, o.err);
    free(o.err);
    return o.out;
}

const char *const tiny_yaml = "name: tiny\n"
                              "data: {kind: shapes, count: 32, val_count: 8, size: 8}\n"
                              "model: {kind: image_small, width: 2}\n"
                              "quantizer: {kind: finite_scalar, levels: [4, 4, 4]}\n"
                              "train: {steps: 4, batch: 4, log_every: 2, eval_every: 0, checkpoint_every: 0}\n";

const char *kept_path(const temp_folder *folder, const char *name)
{
    static char *kept[500]; /* of this process: a test is one */
    static size_t count;
    cr_assert_lt(count, sizeof kept / sizeof *kept);
    kept[count] = strdup(temp_path(folder, name));
    return kept[count++];
}

const char *kept_write(const temp_folder *folder, const char *name, const void *bytes, size_t count)
{
    temp_write(folder, name, bytes, count);
    return kept_path(folder, name);
}

const char *tiny_config(const temp_folder *folder)
{
    return kept_write(folder, "tiny.yaml", tiny_yaml, strlen(tiny_yaml));
}

double number_in_output(char *output, const char *key)
{
    char quoted[64];
    snprintf(quoted, sizeof quoted, "\"%s\": ", key);
    const char *at = strstr(output, quoted);
    cr_assert(at, "no %s in %s", key, output);
    const double value = strtod(at + strlen(quoted), NULL);
    free(output);
    return value;
}

const char *tiny_run(const temp_folder *folder)
{
    char run[600];
    snprintf(run, sizeof run, "%s/run", folder->path);
    outcome o = RUN("train", tiny_config(folder), "--run", run, "--quiet");
    cr_assert_eq(o.code, 0, "%s", o.err);
    outcome_free(&o);
    return kept_path(folder, "run/checkpoints/last.h5");
}

char *file_content(const char *path, size_t *bytes)
{
    int file = open(path, O_RDONLY);
    cr_assert_geq(file, 0, "%s", path);
    return take_all(file, bytes);
}
