#include "autograd/random.h"

#include <criterion/criterion.h>
#include <string.h>

#include "autograd/elementwise.h"
#include "autograd/node.h"
#include "autograd/program.h"
#include "autograd/shape.h"
#include "core/random.h"
#include "tests/support/build_error.h"
#include "tests/support/op_case.h"

TS_TESTED_IN(random_uniform, "autograd_random/draws_are_those_of_core");
TS_TESTED_IN(random_normal, "autograd_random/draws_are_those_of_core");
TS_TESTED_IN(random_index, "autograd_random/draws_are_those_of_core");

enum { N = 9001 }; /* more than two chunks of the kernels */

typedef struct {
    ts_graph *graph;
    ts_device *device;
    ts_workspace *workspace;
    ts_program *program;
    ts_value step;
} rig;

static ts_error err;

static rig open_rig(ts_dtype real)
{
    rig r = {.graph = ts_graph_new(real)};
    cr_assert_eq(ts_device_open("cpu", 2, &r.device, &err), TS_OK, "%s", err.text);
    r.workspace = ts_workspace_new(r.device);
    r.step = ts_input(r.graph, "step", TS_I64, ts_shape_of(2));
    return r;
}

static void run(rig *r, int64_t seed, int64_t step)
{
    if (!r->program)
        cr_assert_eq(ts_program_new(r->graph, r->workspace, &r->program, &err), TS_OK, "%s", err.text);
    ts_program_set(r->program, r->step, (int64_t[]){seed, step});
    cr_assert_eq(ts_program_run(r->program, &err), TS_OK, "%s", err.text);
}

static void close_rig(rig *r)
{
    ts_program_free(r->program);
    ts_workspace_free(r->workspace);
    ts_graph_free(r->graph);
    ts_device_close(r->device);
}

static ts_value shown(ts_value v, const char *name)
{
    ts_output(v, name);
    return v;
}

Test(autograd_random, draws_are_those_of_core)
{
    rig r = open_rig(TS_F32);
    ts_graph_set_path(r.graph, "quantizer.noise");
    ts_value u = shown(ts_rand_uniform(r.step, ts_shape_of(N)), "u");
    ts_graph_set_path(r.graph, "quantizer.normal");
    ts_value n = shown(ts_rand_normal(r.step, ts_shape_of(N)), "n");
    ts_graph_set_path(r.graph, "quantizer.rows");
    ts_value i = shown(ts_rand_index(r.step, ts_shape_of(N), 1000), "i");
    for (int64_t step = 0; step < 2; step++) {
        float uniform[N], normal[N];
        int32_t index[N];
        run(&r, 42, step);
        ts_program_get(r.program, u, uniform);
        ts_program_get(r.program, n, normal);
        ts_program_get(r.program, i, index);
        for (uint64_t k = 0; k < N; k++) {
            ts_random_key key = {42, ts_random_stream("quantizer.noise")};
            cr_assert_eq(uniform[k], ts_random_uniform(key, (uint64_t)step, k));
            key.stream = ts_random_stream("quantizer.normal");
            cr_assert_eq(normal[k], ts_random_normal(key, (uint64_t)step, k));
            key.stream = ts_random_stream("quantizer.rows");
            cr_assert_eq((uint64_t)index[k], ts_random_below(key, (uint64_t)step, k, 1000));
        }
    }
    close_rig(&r);
}

/* Two draws at one place are two draws; a graph in double sees the numbers of the one in float. */
Test(autograd_random, streams)
{
    rig a = open_rig(TS_F32), b = open_rig(TS_F64);
    ts_value a1 = shown(ts_rand_uniform(a.step, ts_shape_of(N)), "1"),
             a2 = shown(ts_rand_uniform(a.step, ts_shape_of(N)), "2");
    ts_value b1 = shown(ts_rand_uniform(b.step, ts_shape_of(N)), "1");
    float first[N], second[N];
    double wide[N];
    run(&a, 1, 2);
    run(&b, 1, 2);
    ts_program_get(a.program, a1, first);
    ts_program_get(a.program, a2, second);
    ts_program_get(b.program, b1, wide);
    int equal = 0;
    for (int i = 0; i < N; i++) {
        cr_assert_eq((double)first[i], wide[i]);
        equal += first[i] == second[i];
    }
    cr_assert_lt(equal, 20);
    close_rig(&a);
    close_rig(&b);
}

static ts_value uniform(const ts_value *in)
{
    return ts_rand_uniform(in[0], ts_shape_of(3));
}

Test(autograd_random, wrong_operands_are_named)
{
    EXPECT_BUILD_ERROR(uniform, "random_uniform", "i32 [2]; expected i64 [2]", I32(2));
    ts_graph *g = ts_graph_new(TS_F32);
    cr_assert_not(ts_present(ts_rand_index(ts_input(g, "step", TS_I64, ts_shape_of(2)), ts_shape_of(3), 0)));
    cr_assert_eq(ts_graph_check(g, &err), TS_ERR_USAGE);
    cr_assert(strstr(err.text, "random_index: the bound is 0"), "%s", err.text);
    ts_graph_free(g);
}

static void expect_numbers(rig *r, ts_value v, float a, float b)
{
    float found[2];
    ts_program_get(r->program, v, found);
    cr_assert(found[0] == a && found[1] == b, "%g %g, expected %g %g", found[0], found[1], a, b);
}

/* Draws are replaced one after the other, every reader of one at once; others stay as they are. */
Test(autograd_random, recorded_draws)
{
    rig r = open_rig(TS_F32);
    ts_shape two = ts_shape_of(2);
    ts_value kept = ts_rand_uniform(r.step, two), a = ts_rand_normal(r.step, two), b = ts_rand_normal(r.step, two);
    ts_value difference = shown(ts_subtract(a, b), "a - b"), sum = shown(ts_add(a, a), "a + a");
    ts_value same = shown(ts_reshape(kept, two), "kept");
    ts_value first = ts_replace_with_input(r.graph, TS_OP_random_normal, "a"),
             second = ts_replace_with_input(r.graph, TS_OP_random_normal, "b");
    cr_assert_eq(ts_program_new(r.graph, r.workspace, &r.program, &err), TS_OK, "%s", err.text);
    ts_program_set(r.program, first, (float[]){5, 7});
    ts_program_set(r.program, second, (float[]){1, 2});
    run(&r, 42, 0);
    expect_numbers(&r, difference, 4, 5);
    expect_numbers(&r, sum, 10, 14);
    ts_random_key key = {42, ts_random_stream("")};
    expect_numbers(&r, same, ts_random_uniform(key, 0, 0), ts_random_uniform(key, 0, 1));
    for (int32_t i = 0; i < ts_program_plan(r.program)->step_count; i++)
        cr_assert_neq(ts_program_plan(r.program)->steps[i].desc.op, TS_OP_random_normal);
    cr_assert_not(ts_present(ts_replace_with_input(r.graph, TS_OP_random_normal, "c")));
    cr_assert_eq(ts_graph_check(r.graph, &err), TS_ERR_USAGE);
    cr_assert(strstr(err.text, "random_normal: no draw to be replaced by c"), "%s", err.text);
    close_rig(&r);
}
