/* Tessera's side of quantizers.py: times a quantizer by itself and prints one JSON line.
 *
 *   tessera-bench-quantizer finite_scalar|vector_ema TOKENS DIM CODES DEVICE THREADS RUNS
 *
 * finite_scalar (levels [8, 5, 5, 5]; DIM and CODES are not looked at): codes, ids, counts of codes, and the gradient
 * of z. vector_ema: nearest code of each token, and the update of the codebook. Runs are timed in at most 5 windows,
 * from one synchronisation to the next, after a few that are not. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "autograd/node.h"
#include "autograd/ops.h"
#include "autograd/program.h"
#include "core/random.h"
#include "quant/quantizer.h"
#include "train/rates.h"

enum { WINDOWS = 5, WARM = 3 };

/* Milliseconds of a run, by window. */
typedef struct {
    double lowest, median, highest;
} times;

typedef struct {
    ts_device *device;
    ts_workspace *workspace;
    ts_store *store;
    ts_graph *graph;
    ts_program *program;
    const ts_quantizer_kind *kind;
    void *options;
    ts_value z, given; /* given: the gradient of the codes; absent for a codebook */
} bench;

static ts_status option(bench *b, const char *name, const char *text, ts_error *err)
{
    return ts_option_parse(ts_option_find(b->kind->table, name), text, b->options, &b->graph->arena, err);
}

static ts_status options(bench *b, const char *dim, const char *codes, ts_error *err)
{
    b->options = ts_arena_alloc(&b->graph->arena, b->kind->table->struct_bytes);
    if (!b->options)
        return ts_out_of_memory(err, b->kind->table->struct_bytes);
    TS_TRY(ts_options_default(b->kind->table, b->options, &b->graph->arena, err));
    if (strcmp(b->kind->name, "finite_scalar") == 0)
        return option(b, "levels", "[8, 5, 5, 5]", err);
    TS_TRY(option(b, "dim", dim, err));
    return option(b, "codes", codes, err);
}

/* Codes, the gradient of z, and counts that add up. The gradient of the codes is given, as a model gives it: its node
 * is what the rule of fsq makes. */
static void grid_outputs(bench *b, ts_scope s, const ts_quantized *q, const ts_quantizer_info *info)
{
    b->given = ts_input(b->graph, "gradient", TS_F32, ts_value_shape(b->z));
    ts_node_spec dx = {.op = TS_OP_fsq_dx,
                       .attr.fsq = {.count = 4, .level = {8, 5, 5, 5}},
                       .in_count = 2,
                       .in = {b->given, b->z},
                       .out = {ts_type_of(b->z)}};
    ts_output(ts_node_add(b->graph, &dx, NULL), "dz");
    ts_output(q->codes, "codes");
    ts_assign_add(ts_state(s, "usage", TS_I64, ts_shape_of(info->codes), TS_ZEROS), ts_count(q->ids, info->codes),
                  TS_ABSENT);
}

static ts_status build(bench *b, int64_t tokens, ts_error *err)
{
    ts_quantizer_info info;
    ts_quantized q;
    ts_value statistics[TS_MAX_STATISTICS];
    TS_TRY(b->kind->info(b->options, &info, err));
    ts_scope s = {.graph = b->graph, .store = b->store, .path = "", .mode = TS_TRAIN};
    s.random = ts_input(b->graph, "step", TS_I64, ts_shape_of(2));
    b->z = ts_input(b->graph, "z", TS_F32, ts_shape_of(tokens, info.width));
    b->given = TS_ABSENT;
    b->kind->build(s, b->options, b->z, &q);
    ts_output(q.ids, "ids");
    for (int i = 0; i < q.statistic_count; i++)
        statistics[i] = q.statistics[i].value;
    if (!b->kind->update)
        grid_outputs(b, s, &q, &info);
    TS_TRY(ts_graph_check(b->graph, err));
    TS_TRY(ts_store_seal(b->store, b->device, 1, err));
    if (b->kind->update)
        b->kind->update(s, b->options, statistics, TS_ABSENT);
    return ts_program_new(b->graph, b->workspace, &b->program, err);
}

static ts_status set_noise(bench *b, ts_value input, uint64_t seed, ts_error *err)
{
    int64_t n = ts_shape_count(ts_value_shape(input));
    float *x = ts_alloc((size_t)n * sizeof *x);
    if (!x)
        return ts_out_of_memory(err, (size_t)n * sizeof *x);
    ts_random_normals((ts_random_key){.seed = seed}, 0, 0, (uint64_t)n, x);
    ts_program_set(b->program, input, x);
    ts_free(x);
    return TS_OK;
}

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static ts_status measure(bench *b, int64_t runs, times *t, ts_error *err)
{
    double ms[WINDOWS];
    int windows = runs < WINDOWS ? (int)runs : WINDOWS;
    for (int i = 0; i < WARM && i < runs; i++)
        TS_TRY(ts_program_run(b->program, err));
    for (int w = 0; w < windows; w++) {
        TS_TRY(ts_device_check(b->device, err));
        double start = now_s();
        for (int64_t i = 0; i < runs / windows; i++)
            TS_TRY(ts_program_run(b->program, err));
        TS_TRY(ts_device_check(b->device, err));
        ms[w] = 1e3 * (now_s() - start) / (double)(runs / windows);
    }
    qsort(ms, (size_t)windows, sizeof *ms, by_value);
    *t = (times){ms[0], ms[windows / 2], ms[windows - 1]};
    return TS_OK;
}

static void show(const bench *b, const ts_rates *rates, const times *t)
{
    const ts_plan *plan = ts_program_plan(b->program);
    printf("{\"ms\": %.6g, \"lowest_ms\": %.6g, \"highest_ms\": %.6g, \"flops\": %.6g, \"moved_bytes\": %.6g, "
           "\"memory_mb\": %.4g, \"flops_per_s\": %.4g, \"bytes_per_s\": %.4g}\n",
           t->median, t->lowest, t->highest, plan->flops, plan->moved_bytes,
           (double)(plan->arena_bytes + ts_store_bytes(b->store)) / 1048576, rates->flops, rates->memory);
}

static ts_status run(bench *b, char **argv, ts_error *err)
{
    ts_rates rates;
    times t;
    int64_t runs = strtoll(argv[7], NULL, 10);
    b->kind = ts_quantizer_find(argv[1]);
    if (!b->kind)
        return ts_fail(err, TS_ERR_USAGE, "no quantizer '%s'", argv[1]);
    if (runs < 1)
        return ts_fail(err, TS_ERR_USAGE, "expected a number of runs of at least 1, found '%s'", argv[7]);
    TS_TRY(ts_device_open(argv[5], (int)strtol(argv[6], NULL, 10), &b->device, err));
    b->workspace = ts_workspace_new(b->device);
    b->store = ts_store_new(TS_F32);
    b->graph = ts_graph_new(TS_F32);
    if (!b->workspace || !b->store || !b->graph)
        return ts_out_of_memory(err, 0);
    TS_TRY(ts_rates_measure(b->device, &rates, err));
    TS_TRY(options(b, argv[3], argv[4], err));
    TS_TRY(build(b, strtoll(argv[2], NULL, 10), err));
    TS_TRY(set_noise(b, b->z, 1, err));
    if (ts_present(b->given))
        TS_TRY(set_noise(b, b->given, 2, err));
    TS_TRY(measure(b, runs, &t, err));
    show(b, &rates, &t);
    return TS_OK;
}

int main(int argc, char **argv)
{
    bench b = {0};
    ts_error err = {0};
    if (argc != 8) {
        fprintf(stderr, "usage: %s finite_scalar|vector_ema TOKENS DIM CODES DEVICE THREADS RUNS\n", argv[0]);
        return TS_ERR_USAGE;
    }
    ts_status status = run(&b, argv, &err);
    if (status != TS_OK)
        fprintf(stderr, "%s: %s\n", argv[0], err.text);
    ts_program_free(b.program);
    ts_graph_free(b.graph);
    ts_store_free(b.store);
    ts_workspace_free(b.workspace);
    if (b.device)
        ts_device_close(b.device);
    return (int)status;
}
