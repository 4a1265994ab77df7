/* tessera bench: how fast a config trains here, and where the time of a step goes. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "core/random.h"
#include "train/answer.h"
#include "train/commands.h"
#include "train/item_shape.h"
#include "train/rates.h"
#include "train/steps.h"

enum { WARM = 3 }; /* steps that are not counted: libraries choose, memory is touched */

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

/* A batch of normal noise: no op's time depends on the values, but for denormals, which there are none of. */
static float *noise(const ts_experiment *e)
{
    int64_t n = e->train->batch * ts_shape_count(e->tokenizer.item);
    float *x = ts_alloc((size_t)n * sizeof *x);
    if (x)
        ts_random_normals((ts_random_key){.seed = 1}, 0, 0, (uint64_t)n, x);
    return x;
}

/* Full items, where the programs ask. */
static int32_t *full_lengths(const ts_experiment *e)
{
    int32_t *lengths = ts_alloc((size_t)e->train->batch * sizeof *lengths);
    for (int64_t i = 0; lengths && i < e->train->batch; i++)
        lengths[i] = (int32_t)e->tokenizer.item.dim[0];
    return lengths;
}

typedef struct {
    ts_experiment *e;
    ts_training training;
    ts_steps *steps;
    ts_batch batch;
    int64_t given;         /* steps so far */
    double started, first; /* when the command began, later by the time that noise takes; when a step was made */
} bench;

/* One step, waited for. A step that is not finite does not count as work less: it is made all the same. */
static ts_status one_step(bench *b, double *seconds, ts_error *err)
{
    ts_step_numbers numbers;
    double start = now_s();
    TS_TRY(ts_steps_give(b->steps, &b->batch, b->given, b->given, err));
    TS_TRY(ts_steps_receive(b->steps, b->given++, &numbers, err));
    *seconds = now_s() - start;
    if (!numbers.ok)
        ts_steps_revive(b->steps);
    return TS_OK;
}

/* ---- where the time goes ---- */

typedef struct {
    const char *op;
    double ms, floor_ms, flops, bytes; /* of a step */
    int64_t count;
} row;

static int by_time(const void *a, const void *b)
{
    double x = ((const row *)a)->ms, y = ((const row *)b)->ms;
    return (x < y) - (x > y);
}

static void add_program(row rows[TS_OP_COUNT], const ts_program *program, const ts_rates *rates, double times)
{
    const ts_plan *plan = program ? ts_program_plan(program) : NULL;
    for (int32_t i = 0; plan && i < plan->step_count; i++) {
        const ts_desc *desc = &plan->steps[i].desc;
        row *r = &rows[desc->op];
        double flops = ts_desc_flops(desc), bytes = ts_desc_bytes(desc);
        r->op = ts_ops[desc->op].name;
        r->count++;
        r->flops += times * flops;
        r->bytes += times * bytes;
        r->ms += times * ts_program_step_ms(program, i);
        r->floor_ms += times * 1e3 * fmax(flops / rates->flops, bytes / rates->memory);
    }
}

static json_t *ops_json(const bench *b, const ts_rates *rates)
{
    row rows[TS_OP_COUNT] = {0};
    double sum = 0;
    add_program(rows, b->training.step, rates, (double)b->e->train->accumulate);
    add_program(rows, b->training.apply, rates, 1);
    for (int i = 0; i < TS_OP_COUNT; i++)
        sum += rows[i].ms;
    qsort(rows, TS_OP_COUNT, sizeof *rows, by_time);
    json_t *all = json_object();
    for (int i = 0; i < TS_OP_COUNT && rows[i].op; i++) {
        json_t *one = json_object();
        json_object_set_new(one, "count", json_integer(rows[i].count));
        json_object_set_new(one, "share", ts_answer_real(rows[i].ms / sum));
        json_object_set_new(one, "time_ms", ts_answer_real(rows[i].ms));
        json_object_set_new(one, "floor_ms", ts_answer_real(rows[i].floor_ms));
        json_object_set_new(one, "flops", ts_answer_real(rows[i].flops));
        json_object_set_new(one, "moved_bytes", ts_answer_real(rows[i].bytes));
        json_object_set_new(all, rows[i].op, one);
    }
    return all;
}

/* The same as a table. */
static void show_ops(const json_t *ops)
{
    const char *name;
    json_t *one;
    printf("\n%-22s %6s %9s %7s %10s %9s\n", "op", "count", "ms", "share", "floor, ms", "of floor");
    json_object_foreach((json_t *)(uintptr_t)ops, name, one)
    {
        double ms = json_number_value(json_object_get(one, "time_ms"));
        double least = json_number_value(json_object_get(one, "floor_ms"));
        printf("%-22s %6d %9.3f %6.1f%% %10.3f %8.1fx\n", name, (int)json_integer_value(json_object_get(one, "count")),
               ms, 100 * json_number_value(json_object_get(one, "share")), least, ms / least);
    }
    printf("\nThe floor is what an op takes at least at the measured rates of arithmetic and memory; data that stay in "
           "the "
           "cache can be faster.\n");
}

static ts_status show(json_t *answer, bool json, ts_error *err)
{
    if (json)
        return ts_answer_show(answer, true, stdout, err);
    json_t *ops = json_incref(json_object_get(answer, "ops"));
    json_object_del(answer, "ops");
    ts_status status = ts_answer_show(answer, false, stdout, err);
    if (status == TS_OK)
        show_ops(ops);
    json_decref(ops);
    return status;
}

/* ---- the answer ---- */

static void put_times(json_t *all, const bench *b, double *seconds, int64_t count)
{
    qsort(seconds, (size_t)count, sizeof *seconds, by_value);
    double median = count % 2 ? seconds[count / 2] : (seconds[count / 2 - 1] + seconds[count / 2]) / 2;
    json_t *step = json_object();
    json_object_set_new(step, "measured", json_integer(count));
    json_object_set_new(step, "median_ms", ts_answer_real(1e3 * median));
    json_object_set_new(step, "lowest_ms", ts_answer_real(1e3 * seconds[0]));
    json_object_set_new(step, "highest_ms", ts_answer_real(1e3 * seconds[count - 1]));
    json_object_set_new(all, "step", step);
    json_object_set_new(all, "steps_per_s", ts_answer_real(1 / median));
    json_object_set_new(all, "items_per_s", ts_answer_real((double)b->e->train->batch / median));
}

static double floor_seconds(const bench *b, const ts_rates *rates)
{
    double seconds = (double)b->e->train->accumulate * ts_rates_seconds(rates, ts_program_plan(b->training.step));
    return seconds + (b->training.apply ? ts_rates_seconds(rates, ts_program_plan(b->training.apply)) : 0);
}

static json_t *machine_json(const ts_device *device, const ts_rates *rates)
{
    json_t *all = json_object();
    json_object_set_new(all, "device", json_string(device->backend->name));
    json_object_set_new(all, "threads", json_integer(device->threads));
    json_object_set_new(all, "measured_flops_per_s", ts_answer_real(rates->flops));
    json_object_set_new(all, "measured_bytes_per_s", ts_answer_real(rates->memory));
    return all;
}

static json_t *memory_json(const ts_experiment *e)
{
    struct rusage usage;
    json_t *all = json_object();
    getrusage(RUSAGE_SELF, &usage);
    json_object_set_new(all, "arena_bytes", ts_answer_real((double)ts_workspace_bytes(e->workspace)));
    json_object_set_new(all, "store_bytes", ts_answer_real((double)ts_store_bytes(e->store)));
    json_object_set_new(all, "process_peak_bytes", ts_answer_real(1024.0 * (double)usage.ru_maxrss));
    return all;
}

/* Whole steps as they run in training, then as many with each op timed by itself. */
static ts_status measure(bench *b, int64_t count, json_t **answer, ts_error *err)
{
    ts_rates rates;
    double unused, *seconds = ts_calloc((size_t)count, sizeof *seconds);
    ts_status status;
    if (!seconds)
        return ts_out_of_memory(err, (size_t)count * sizeof *seconds);
    TS_GO(one_step(b, &unused, err));
    b->first = now_s();
    TS_GO(ts_rates_measure(b->e->device, &rates, err));
    for (int i = 1; i < WARM; i++)
        TS_GO(one_step(b, &unused, err));
    for (int64_t i = 0; i < count; i++)
        TS_GO(one_step(b, &seconds[i], err));
    ts_program_profile(b->training.step, true);
    if (b->training.apply)
        ts_program_profile(b->training.apply, true);
    for (int64_t i = 0; i < (count + 1) / 2; i++)
        TS_GO(one_step(b, &unused, err));
    json_t *all = *answer = json_object();
    json_object_set_new(all, "model", json_string(b->e->tokenizer.model->name));
    json_object_set_new(all, "quantizer", json_string(b->e->tokenizer.quantizer->name));
    json_object_set_new(all, "batch", json_integer(b->e->train->batch));
    json_object_set_new(all, "item", ts_answer_shape(b->e->tokenizer.item));
    json_object_set_new(all, "machine", machine_json(b->e->device, &rates));
    json_object_set_new(all, "first_step_ms", ts_answer_real(1e3 * (b->first - b->started)));
    put_times(all, b, seconds, count);
    json_object_set_new(all, "floor_ms", ts_answer_real(1e3 * floor_seconds(b, &rates)));
    json_object_set_new(all, "memory", memory_json(b->e));
    json_object_set_new(all, "ops", ops_json(b, &rates));
out:
    ts_free(seconds);
    return status;
}

static ts_status run(ts_experiment *e, const ts_arguments *a, double started, ts_error *err)
{
    bench b = {.e = e, .started = started};
    json_t *answer = NULL;
    const char *source;
    TS_TRY(ts_item_find(e, ts_arguments_text(a, "item"), &source, err));
    TS_TRY(ts_training_open(&b.training, e, err));
    double before = now_s();
    float *x = noise(e);
    int32_t *lengths = full_lengths(e);
    b.started += now_s() - before;
    b.batch = (ts_batch){.data = x, .lengths = lengths};
    ts_status status = x && lengths ? TS_OK : ts_out_of_memory(err, 0);
    if (status == TS_OK)
        status = ts_steps_open(&b.steps, e, &b.training, false, err);
    if (status == TS_OK)
        status = measure(&b, ts_arguments_int(a, "steps"), &answer, err);
    if (status == TS_OK)
        status = show(answer, ts_arguments_flag(a, "json"), err);
    ts_steps_close(b.steps);
    ts_training_close(&b.training);
    ts_free(x);
    ts_free(lengths);
    return status;
}

ts_status ts_cmd_bench(const ts_arguments *a, int *exit_code, ts_error *err)
{
    (void)exit_code;
    ts_config *config;
    ts_experiment e;
    double started = now_s();
    TS_TRY(ts_config_load(&config, ts_experiment_schema(), ts_arguments_positional(a, 0),
                          (const char *const *)a->overrides, err));
    ts_status status =
        ts_experiment_open(&e, config, ts_arguments_text(a, "device"), (int)ts_arguments_int(a, "threads"), err);
    if (status == TS_OK)
        status = run(&e, a, started, err);
    ts_experiment_close(&e);
    return status;
}
