/* The program. What it does is in commands.c; here a status becomes a line on standard error and an exit code. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "train/commands.h"
#include "train/help.h"

#ifdef TS_SANITIZED
/* fontconfig, which cairo asks for the fonts of plots, keeps what it knows until the process ends. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
    return "leak:libfontconfig\n";
}

const char *__lsan_default_options(void);
const char *__lsan_default_options(void)
{
    return "print_suppressions=0";
}
#endif

static ts_status run_command(const ts_arguments *a, int *exit_code, ts_error *err)
{
    ts_status status = a->command->run(a, exit_code, err);
    if (status == TS_ERR_USAGE)
        ts_arguments_explain(a, err);
    return status;
}

static ts_status do_what_was_asked(const ts_arguments *a, int *exit_code, ts_error *err)
{
    if (a->asked == TS_ASKED_VERSION)
        ts_help_version(a->program, stdout);
    else if (a->asked == TS_ASKED_HELP && a->command)
        ts_help_command(a->program, a->command, stdout);
    else if (a->asked == TS_ASKED_HELP)
        ts_help_program(a->program, stdout);
    else
        return run_command(a, exit_code, err);
    return TS_OK;
}

/* What was written is only written once it has left the buffer: a full disk behind a pipe shows here. */
static ts_status flush_output(ts_error *err)
{
    bool bad = ferror(stdout) != 0;
    if (fflush(stdout) != 0 || bad)
        return ts_fail(err, TS_ERR_RUNTIME, "standard output: cannot be written: %s", strerror(errno));
    return TS_OK;
}

/* Messages about the command line name program and command already. */
static void complain(const ts_error *err, bool parsed)
{
    bool named = !parsed && strncmp(err->text, ts_tessera.name, strlen(ts_tessera.name)) == 0;
    fprintf(stderr, "%s%s%s\n", named ? "" : ts_tessera.name, named ? "" : ": ", err->text);
}

/* Workers of libgomp spin for milliseconds before they sleep, which costs a factor of several where anything else wants
 * the cores. It reads its settings before main, so the program starts itself again, once, with a short spin, unless
 * the user has chosen. Where that is not possible it goes on as it is. */
static void shorten_spinning(char **argv)
{
    if (getenv("GOMP_SPINCOUNT") || getenv("OMP_WAIT_POLICY") || setenv("GOMP_SPINCOUNT", "10000", 1) != 0)
        return;
    execv("/proc/self/exe", argv);
}

int main(int argc, char **argv)
{
    shorten_spinning(argv);
    int exit_code = 0;
    ts_arguments arguments;
    ts_error err = {0};
    signal(SIGXFSZ, SIG_IGN); /* a file that may not grow is an error with a message, not the end */
    ts_status status = ts_arguments_parse(&arguments, &ts_tessera, argc, (const char *const *)argv, &err);
    bool parsed = status == TS_OK;
    if (parsed)
        status = do_what_was_asked(&arguments, &exit_code, &err);
    if (status == TS_OK)
        status = flush_output(&err);
    if (status != TS_OK)
        complain(&err, parsed);
    ts_arguments_clear(&arguments);
    exit(status == TS_OK ? exit_code : (int)status);
}
