/* Signals, each in a process of its own: Criterion's handlers stay out of it. */
#include "train/signals.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

/* The wait status of a child that runs `body`; 0 where it returns. */
static int run_in_child(void (*body)(void))
{
    pid_t pid = fork();
    cr_assert(pid >= 0);
    if (pid == 0) {
        body();
        _exit(0);
    }
    int status;
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    return status;
}

static void need(int ok)
{
    if (!ok)
        _exit(1);
}

static void one_of_each_kind(void)
{
    ts_signals_install();
    need(ts_signals_received() == 0);
    raise(SIGTERM);
    need(ts_signals_received() == SIGTERM);
    ts_signals_install();
    need(ts_signals_received() == 0);
    raise(SIGINT);
    need(ts_signals_received() == SIGINT);
}

Test(train_signals, first_is_remembered)
{
    int status = run_in_child(one_of_each_kind);
    cr_assert(WIFEXITED(status));
    cr_assert_eq(WEXITSTATUS(status), 0);
}

static void interrupt_twice(void)
{
    ts_signals_install();
    raise(SIGINT);
    raise(SIGINT);
}

static void interrupt_then_terminate(void)
{
    ts_signals_install();
    raise(SIGINT);
    raise(SIGTERM);
}

Test(train_signals, second_ends_the_process)
{
    int status = run_in_child(interrupt_twice);
    cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 130, "status %#x", (unsigned)status);
    status = run_in_child(interrupt_then_terminate);
    cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 143, "status %#x", (unsigned)status);
}

static void write_to_nobody(void)
{
    ts_signals_install();
    int ends[2];
    need(pipe(ends) == 0);
    close(ends[0]);
    need(write(ends[1], "x", 1) == -1 && errno == EPIPE);
}

static void write_past_the_limit(void)
{
    ts_signals_install();
    char name[] = "/tmp/tessera-XXXXXX";
    int fd = mkstemp(name);
    need(fd >= 0);
    unlink(name);
    need(setrlimit(RLIMIT_FSIZE, &(struct rlimit){1, 1}) == 0);
    need(write(fd, "x", 1) == 1);
    need(write(fd, "x", 1) == -1 && errno == EFBIG);
}

Test(train_signals, failed_writes_are_errors_not_deaths)
{
    int status = run_in_child(write_to_nobody);
    cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0, "status %#x", (unsigned)status);
    status = run_in_child(write_past_the_limit);
    cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0, "status %#x", (unsigned)status);
}
