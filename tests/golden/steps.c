#include "tests/golden/steps.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>

#include "autograd/differentiate.h"
#include "autograd/ops.h"
#include "tests/support/fusion.h"

static golden_case *case_of(const golden_steps *t)
{
    return t->graph->bench->c;
}

void golden_steps_read(golden_steps *t)
{
    golden_case *c = case_of(t);
    t->lr = golden_real(c, "lr");
    t->beta1 = golden_real(c, "beta1");
    t->beta2 = golden_real(c, "beta2");
    t->eps = golden_real(c, "adam_eps");
}

/* Into the gradient block, as in training. */
static void build_gradients(golden_steps *t, ts_value loss)
{
    enum { MOST = 512 };
    ts_store *store = t->graph->bench->store;
    static ts_value wrt[MOST], gradient[MOST];
    static const ts_variable *variable[MOST];
    int count = 0;
    for (int i = 0; i < ts_store_count(store); i++) {
        const ts_variable *v = ts_store_at(store, i);
        if (v->role == TS_ROLE_STATE)
            continue;
        cr_assert_lt(count, MOST);
        variable[count] = v;
        wrt[count++] = golden_graph_variable(t->graph, v->path);
    }
    ts_differentiate(loss, count, wrt, gradient);
    for (int i = 0; i < count; i++) {
        if (!gradient[i].graph)
            golden_fail(case_of(t), "no gradient arrives at %s", variable[i]->path);
        ts_bind(gradient[i], store, variable[i], TS_BLOCK_GRAD);
    }
}

static void build_adam(golden_steps *t)
{
    ts_graph *graph = t->graph->scope.graph;
    ts_store *store = t->graph->bench->store;
    ts_value block[4];
    ts_error err = {0};
    static const int blocks[4] = {TS_BLOCK_VALUE, TS_BLOCK_GRAD, TS_BLOCK_M, TS_BLOCK_V};
    for (int i = 0; i < 4; i++) {
        cr_assert_eq(ts_store_need(store, blocks[i], &err), TS_OK, "%s", err.text);
        block[i] = ts_block_value(graph, store, blocks[i], 0, ts_store_trainable_count(store));
    }
    t->norm = ts_global_norm(block[1]);
    ts_output(t->norm, "norm");
    t->corrections = ts_input(graph, "corrections", TS_F32, ts_shape_of(2));
    ts_adamw(&(ts_adamw_operands){.value = block[0],
                                  .grad = block[1],
                                  .m = block[2],
                                  .v = block[3],
                                  .lr = ts_scalar(graph, t->lr),
                                  .corrections = t->corrections,
                                  .grad_scale = TS_ABSENT,
                                  .ok = TS_ABSENT},
             (ts_adamw_opts){.beta1 = t->beta1,
                             .beta2 = t->beta2,
                             .eps = t->eps,
                             .weight_decay = t->weight_decay,
                             .coupled = t->coupled});
}

void golden_steps_build(golden_steps *t, ts_value loss)
{
    golden_bench *b = t->graph->bench;
    fold_unless_told(t->graph->scope.graph);
    build_gradients(t, loss);
    build_adam(t);
    for (int i = 0; i < ts_store_count(b->store); i++) {
        const ts_variable *v = ts_store_at(b->store, i);
        const char *path = t->path_of(t->user, v, GOLDEN_BEFORE, 0);
        if (path)
            golden_bench_load(b, v->path, path);
    }
}

static double largest(const ts_tensor *t)
{
    double most = 0;
    for (int64_t i = 0; i < ts_shape_count(t->shape); i++)
        most = fmax(most, fabs((double)((const float *)t->data)[i]));
    return most;
}

/* Below 1e-7 a gradient is rounding noise of an exact 0. */
static void compare_gradient(golden_steps *t, const ts_variable *v)
{
    const char *path = t->path_of(t->user, v, GOLDEN_GRADIENT, 0);
    const ts_tensor *expected = golden_tensor(case_of(t), path);
    ts_tensor found = golden_bench_read(t->graph->bench, v, TS_BLOCK_GRAD);
    if (largest(expected) >= 1e-7)
        golden_compare(case_of(t), path, &found, expected, 5e-5, 0);
}

/* Adam normalises: an entry whose gradient is rounding noise moves by up to the rate in any direction. */
static void compare_after(golden_steps *t, const ts_variable *v, const char *path, int step)
{
    golden_case *c = case_of(t);
    const ts_tensor *expected = golden_tensor(c, path), *gradient = NULL;
    if (v->role != TS_ROLE_STATE)
        gradient = golden_tensor(c, t->path_of(t->user, v, GOLDEN_GRADIENT, 0));
    ts_tensor found = golden_bench_read(t->graph->bench, v, TS_BLOCK_VALUE);
    int64_t n = ts_shape_count(found.shape);
    if (!ts_shape_equal(found.shape, expected->shape)) {
        golden_fail(c, "%s is %s, expected %s", path, ts_shape_print(found.shape).text,
                    ts_shape_print(expected->shape).text);
        return;
    }
    double most = gradient ? largest(gradient) : 0;
    for (int64_t i = 0; i < n; i++) {
        double a = (double)((float *)found.data)[i], b = (double)((float *)expected->data)[i];
        bool moved = !gradient || (most >= 1e-7 && fabs((double)((float *)gradient->data)[i]) > 1e-5 * most);
        double allowed = moved ? 2e-5 * fmax(1, fabs(b)) : 2 * t->lr * (step + 1);
        if (!(fabs(a - b) <= allowed)) {
            golden_fail(c, "%s[%lld] is %.9g, expected %.9g (within %.3g)", path, (long long)i, a, b, allowed);
            return;
        }
    }
}

void golden_steps_compare(golden_steps *t, int step)
{
    ts_store *store = t->graph->bench->store;
    for (int i = 0; i < ts_store_count(store); i++) {
        const ts_variable *v = ts_store_at(store, i);
        const char *path = t->path_of(t->user, v, GOLDEN_AFTER, step);
        if (step == 0 && v->role != TS_ROLE_STATE)
            compare_gradient(t, v);
        if (path)
            compare_after(t, v, path, step);
    }
}

void golden_steps_run(golden_steps *t, int step)
{
    char prefix[16];
    float corrections[2] = {(float)(1 - pow(t->beta1, step + 1)), (float)(1 - pow(t->beta2, step + 1))};
    ts_program_set(t->graph->program, t->corrections, corrections);
    t->graph->tolerance = step == 0 ? 5e-5 : 5e-4;
    snprintf(prefix, sizeof prefix, "step%d/", step);
    golden_graph_run(t->graph, prefix);
    golden_steps_compare(t, step);
}
