#define _GNU_SOURCE
#include "train/rates.h"

#include <time.h>

#include "autograd/elementwise.h"
#include "autograd/matmul.h"
#include "autograd/program.h"

enum { REPEATS = 5 };

/* A device that is done with a size sooner than this is asked for a larger one: a launch would be what is measured. */
static const double SHORTEST = 1e-3;

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static ts_value product(ts_graph *g, int64_t side)
{
    ts_value a = ts_input(g, "a", TS_F32, ts_shape_of(side, side));
    return ts_matmul(a, ts_input(g, "b", TS_F32, ts_shape_of(side, side)), false, false);
}

static ts_value sum(ts_graph *g, int64_t count)
{
    ts_value x = ts_input(g, "x", TS_F32, ts_shape_of(count));
    return ts_add(x, x);
}

/* The shortest of a few runs after a first one that touches the memory. */
static ts_status fastest_run(ts_graph *g, ts_workspace *workspace, double *seconds, ts_error *err)
{
    ts_program *program = NULL;
    TS_TRY(ts_program_new(g, workspace, &program, err));
    ts_status status = ts_program_run(program, err);
    *seconds = 1e9;
    for (int i = 0; status == TS_OK && i < REPEATS; i++) {
        double start = now();
        status = ts_program_run(program, err);
        double taken = now() - start;
        *seconds = taken < *seconds ? taken : *seconds;
    }
    ts_program_free(program);
    return status;
}

static ts_status time_of(ts_device *device, ts_value (*build)(ts_graph *, int64_t), int64_t size, double *seconds,
                         ts_error *err)
{
    ts_workspace *workspace = ts_workspace_new(device);
    ts_graph *g = ts_graph_new(TS_F32);
    ts_status status = workspace && g ? TS_OK : ts_out_of_memory(err, 0);
    if (status == TS_OK) {
        ts_output(build(g, size), "y");
        status = fastest_run(g, workspace, seconds, err);
    }
    ts_workspace_free(workspace);
    ts_graph_free(g);
    return status;
}

ts_status ts_rates_measure(ts_device *device, ts_rates *rates, ts_error *err)
{
    double multiply = 0, add = 0, side = 384, count = 1 << 21;
    while (multiply < SHORTEST && side < 8192)
        TS_TRY(time_of(device, product, (int64_t)(side *= 2), &multiply, err));
    while (add < SHORTEST && count < 1 << 29)
        TS_TRY(time_of(device, sum, (int64_t)(count *= 4), &add, err));
    rates->flops = 2 * side * side * side / multiply;
    rates->memory = 2 * count * sizeof(float) / add;
    return TS_OK;
}

double ts_rates_seconds(const ts_rates *rates, const ts_plan *plan)
{
    double seconds = 0;
    for (int32_t i = 0; i < plan->step_count; i++) {
        double arithmetic = ts_desc_flops(&plan->steps[i].desc) / rates->flops;
        double memory = ts_desc_bytes(&plan->steps[i].desc) / rates->memory;
        seconds += arithmetic > memory ? arithmetic : memory;
    }
    return seconds;
}
