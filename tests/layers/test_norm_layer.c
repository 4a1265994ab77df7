/* The norm layer's running statistics, and the patcher. Values of the norms themselves: tests/autograd/test_norm.c. */
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "autograd/program.h"
#include "layers/norm.h"
#include "layers/patch.h"

enum { B = 2, T = 3, C = 2, N = B * T };

static ts_error err;
static ts_device *device;
static ts_store *store;
static ts_workspace *workspace;

static void open_store(void)
{
    cr_assert_eq(ts_device_open("ref", 1, &device, &err), TS_OK, "%s", err.text);
    store = ts_store_new(TS_F32);
    workspace = ts_workspace_new(device);
}

static void close_store(void)
{
    ts_workspace_free(workspace);
    ts_store_free(store);
    ts_device_close(device);
}

TestSuite(layers_norm, .init = open_store, .fini = close_store);
TestSuite(layers_patch, .init = open_store, .fini = close_store);

/* One pass over x; the result to y where it is not NULL. */
static void pass(ts_mode mode, bool hold, const float *x, float *y)
{
    ts_graph *g = ts_graph_new(TS_F32);
    ts_program *program;
    ts_scope s = {.graph = g, .store = store, .path = "n", .mode = mode, .hold_state = hold};
    ts_value in = ts_input(g, "x", TS_F32, ts_shape_of(B, T, C));
    ts_value out = ts_norm_layer(s, in, (ts_norm_layer_opts){.kind = TS_NORM_BATCH, .eps = 1e-6, .momentum = 0.1});
    ts_output(out, "y");
    if (!ts_store_sealed(store))
        cr_assert_eq(ts_store_seal(store, device, 1, &err), TS_OK, "%s", err.text);
    cr_assert_eq(ts_program_new(g, workspace, &program, &err), TS_OK, "%s", err.text);
    ts_program_set(program, in, x);
    cr_assert_eq(ts_program_run(program, &err), TS_OK, "%s", err.text);
    if (y)
        ts_program_get(program, out, y);
    ts_program_free(program);
    ts_graph_free(g);
}

static void expect_running(const double mean[C], const double var[C])
{
    float found[C];
    ts_store_get(store, ts_store_find(store, "n.running_mean"), TS_BLOCK_STATE, found);
    for (int c = 0; c < C; c++)
        cr_assert_float_eq(found[c], mean[c], 1e-6, "mean %g, expected %g", found[c], mean[c]);
    ts_store_get(store, ts_store_find(store, "n.running_var"), TS_BLOCK_STATE, found);
    for (int c = 0; c < C; c++)
        cr_assert_float_eq(found[c], var[c], 1e-5, "variance %g, expected %g", found[c], var[c]);
}

static const float sample[N * C] = {1, 10, 2, 10, 3, 12, 4, 14, 5, 16, 9, 4};

Test(layers_norm, batch_statistics_run_in_training_alone)
{
    float y[N * C], again[N * C];
    pass(TS_TRAIN, true, sample, y); /* held */
    expect_running((double[]){0, 0}, (double[]){1, 1});
    pass(TS_EVAL, false, sample, again);
    expect_running((double[]){0, 0}, (double[]){1, 1});
    for (int i = 0; i < N * C; i++)
        cr_assert_float_eq(again[i], sample[i], 1e-4); /* mean 0, variance 1, and eps */
    pass(TS_TRAIN, false, sample, again);
    cr_assert_eq(memcmp(y, again, sizeof y), 0);
    /* means 4 and 11; unbiased variances 40/5 and 86/5 */
    expect_running((double[]){0.4, 1.1}, (double[]){0.9 + 0.8, 0.9 + 1.72});
    pass(TS_TRAIN, false, sample, NULL);
    expect_running((double[]){0.76, 2.09}, (double[]){0.9 * 1.7 + 0.8, 0.9 * 2.62 + 1.72});
    pass(TS_EVAL, false, sample, y);
    for (int i = 0; i < N * C; i++) {
        double mean = i % 2 ? 2.09 : 0.76, var = i % 2 ? 0.9 * 2.62 + 1.72 : 0.9 * 1.7 + 0.8;
        cr_assert_float_eq(y[i], (sample[i] - mean) / sqrt(var + 1e-6), 1e-5);
    }
}

Test(layers_norm, a_batch_that_is_not_finite_leaves_the_statistics)
{
    float broken[N * C];
    memcpy(broken, sample, sizeof broken);
    broken[3] = NAN;
    pass(TS_TRAIN, false, sample, NULL);
    pass(TS_TRAIN, false, broken, NULL);
    expect_running((double[]){0.4, 1.1}, (double[]){1.7, 2.62});
}

/* ---- patches ---- */

static ts_status patch_there_and_back(ts_patch_method method, int64_t size, int64_t frames, const float *x, float *y)
{
    ts_graph *g = ts_graph_new(TS_F32);
    ts_program *program = NULL;
    ts_value in = ts_input(g, "x", TS_F32, ts_shape_of(1, frames, 3));
    ts_value folded = ts_patch(in, method, size), out = ts_unpatch(folded, method, size);
    ts_output(out, "y");
    ts_status status = ts_graph_check(g, &err);
    if (status == TS_OK) {
        cr_assert(ts_shape_equal(ts_value_shape(folded), ts_shape_of(1, frames / size, 3 * size)));
        cr_assert_eq(ts_program_new(g, workspace, &program, &err), TS_OK, "%s", err.text);
        ts_program_set(program, in, x);
        cr_assert_eq(ts_program_run(program, &err), TS_OK, "%s", err.text);
        ts_program_get(program, out, y);
    }
    ts_program_free(program);
    ts_graph_free(g);
    return status;
}

Test(layers_patch, back_and_forth_is_the_identity)
{
    float x[72], y[72];
    for (int i = 0; i < 72; i++)
        x[i] = (float)(i * i % 31 - 15);
    for (int method = 0; method < 2; method++)
        for (int64_t size = 1; size <= 8; size *= 2) {
            cr_assert_eq(patch_there_and_back((ts_patch_method)method, size, 24, x, y), TS_OK, "%s", err.text);
            for (int i = 0; i < 72; i++)
                cr_assert_float_eq(y[i], x[i], 1e-4, "%s %d", ts_patch_names[method], (int)size);
        }
    cr_assert_eq(patch_there_and_back(TS_PATCH_REARRANGE, 3, 24, x, y), TS_OK, "%s", err.text);
    cr_assert_eq(memcmp(x, y, sizeof x), 0);
}

Test(layers_patch, what_does_not_fit_is_refused)
{
    float x[72] = {0}, y[72];
    cr_assert_neq(patch_there_and_back(TS_PATCH_HAAR, 3, 24, x, y), TS_OK);
    cr_assert_not_null(strstr(err.text, "[1, 24, 3] by 3"), "%s", err.text);
    cr_assert_neq(patch_there_and_back(TS_PATCH_REARRANGE, 5, 24, x, y), TS_OK);
    cr_assert_not_null(strstr(err.text, "[1, 24, 3] by 5"), "%s", err.text);
}
