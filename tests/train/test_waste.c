/* Nothing is wasted while a training runs, the thread that reads its data included: no memory is asked for, and no page
 * is touched for the first time. (What oneDNN allocates for the arguments of a call is its own affair.) */
#include <criterion/criterion.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "core/memory.h"
#include "train/loader.h"
#include "train/steps.h"

enum { BATCH = 64, WARM = 6, STEPS = 12, WINDOWS = 4 };

static ts_error err;

typedef struct {
    ts_experiment e;
    ts_training programs;
    ts_steps *steps;
    ts_loader *loader;
} run;

static void open_run(run *r, const char *model)
{
    *r = (run){0};
    char yaml[512];
    ts_config *config;
    snprintf(yaml, sizeof yaml,
             "data: {kind: shapes, count: 512, size: 32}\n%s\ntrain: {batch: %d, clip: 1, ema: 0.99, steps: 100}\n",
             model, BATCH);
    cr_assert_eq(ts_config_parse(&config, ts_experiment_schema(), "test", yaml, strlen(yaml), NULL, &err), TS_OK, "%s",
                 err.text);
    cr_assert_eq(ts_experiment_open(&r->e, config, "cpu", 2, &err), TS_OK, "%s", err.text);
    cr_assert_eq(ts_experiment_open_data(&r->e, TS_SPLIT_TRAIN, &err), TS_OK, "%s", err.text);
    cr_assert_eq(ts_training_open(&r->programs, &r->e, &err), TS_OK, "%s", err.text);
    cr_assert_eq(ts_steps_open(&r->steps, &r->e, &r->programs, false, &err), TS_OK, "%s", err.text);
    ts_loader_options options = {.batch = BATCH, .train = true, .seed = 1};
    cr_assert_eq(ts_loader_open(&r->loader, r->e.train_data, options, &err), TS_OK, "%s", err.text);
}

static void close_run(run *r)
{
    ts_loader_close(r->loader);
    ts_steps_close(r->steps);
    ts_training_close(&r->programs);
    ts_experiment_close(&r->e);
}

/* The last step's loss. */
static double train(run *r, int64_t first, int64_t steps)
{
    double loss = 0;
    for (int64_t step = first; step < first + steps; step++) {
        ts_batch batch;
        ts_step_numbers numbers;
        cr_assert_eq(ts_loader_next(r->loader, &batch, &err), TS_OK, "%s", err.text);
        cr_assert_eq(ts_steps_give(r->steps, &batch, step, step, &err), TS_OK, "%s", err.text);
        cr_assert_eq(ts_steps_receive(r->steps, step, &numbers, &err), TS_OK, "%s", err.text);
        cr_assert(numbers.ok);
        loss = numbers.loss;
    }
    return loss;
}

static long page_faults(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_minflt + usage.ru_majflt;
}

/* The kernel may take a page away and give it back: what has to be free of faults is one of a few windows. */
static void expect_no_waste(const char *model)
{
    run r;
    long least = LONG_MAX;
    open_run(&r, model);
    train(&r, 0, WARM);
    ts_alloc_fail_at(0);
    for (int window = 0; window < WINDOWS && least > 0; window++) {
        long before = page_faults();
        train(&r, WARM + (int64_t)window * STEPS, STEPS);
        long faults = page_faults() - before;
        least = faults < least ? faults : least;
    }
    cr_expect_eq(ts_alloc_fail_at(0), 0, "%s: something was allocated", model);
#ifndef TS_SANITIZED /* the sanitizers' own memory grows */
    cr_expect_eq(least, 0, "%s: %ld page faults in %d steps", model, least, STEPS);
#endif
    close_run(&r);
}

static const char *const models[] = {
    "model: {kind: image_small}\nquantizer: {kind: finite_scalar, levels: [8, 6, 5]}",
    "model: {kind: image_classic, hidden: 32}\nquantizer: {kind: vector_ema, codes: 64, dim: 16}",
    "model: {kind: image_classic, hidden: 32}\nquantizer: {kind: vector_reset, codes: 64, dim: 16}",
    "model: {kind: image_small}\nquantizer: {kind: lookup_free, bits: 8}",
    "model: {kind: image_small}\nquantizer: {kind: vector, codes: 64, dim: 16, layers: 2}",
};
enum { MODELS = sizeof models / sizeof *models };

Test(train_waste, nothing_is_allocated_and_no_page_is_new_in_the_steady_state)
{
    for (int i = 0; i < MODELS; i++)
        expect_no_waste(models[i]);
    cr_assert_geq(MODELS, 5);
}

/* What is resident of this process, in bytes. */
static double resident(void)
{
    long pages = 0, skipped;
    FILE *f = fopen("/proc/self/statm", "r");
    cr_assert(f && fscanf(f, "%ld %ld", &skipped, &pages) == 2);
    fclose(f);
    return (double)pages * (double)sysconf(_SC_PAGESIZE);
}

/* As before a save, which holds a file in memory; the step behind it is the one that it would have been. */
Test(train_waste, what_programs_left_is_given_back)
{
    double loss[2];
    for (int forget = 0; forget < 2; forget++) {
        run r;
        open_run(&r, models[1]);
        train(&r, 0, WARM);
        const double before = resident(), bytes = (double)ts_workspace_bytes(r.e.workspace);
        cr_assert_geq(bytes, 8 << 20);
        if (forget) {
            ts_workspace_forget(r.e.workspace);
            cr_expect_geq(before - resident(), 0.9 * bytes);
        }
        loss[forget] = train(&r, WARM, 2);
        close_run(&r);
    }
    cr_expect_eq(loss[0], loss[1]);
}
