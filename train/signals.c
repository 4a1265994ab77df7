#define _GNU_SOURCE
#include "train/signals.h"

#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <unistd.h>

static atomic_int received;

static void on_signal(int signal)
{
    int none = 0;
    if (!atomic_compare_exchange_strong(&received, &none, signal))
        _exit(128 + signal);
}

/* Calls that wait (a write to a slow disk, the loader's locks) go on after the first signal. */
static void handle(int signal, void (*handler)(int))
{
    struct sigaction action = {.sa_handler = handler, .sa_flags = SA_RESTART};
    sigemptyset(&action.sa_mask);
    sigaction(signal, &action, NULL);
}

void ts_signals_install(void)
{
    atomic_store(&received, 0);
    handle(SIGPIPE, SIG_IGN);
    handle(SIGXFSZ, SIG_IGN);
    handle(SIGINT, on_signal);
    handle(SIGTERM, on_signal);
}

int ts_signals_received(void)
{
    return atomic_load(&received);
}
