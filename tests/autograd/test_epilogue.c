/* Activations in the product before them: which are taken there, and which not. That no bit changes is shown by
 * autograd_every_op/fusing_keeps_the_bits over the cases "then relu" of test_conv.c and test_matmul.c. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "autograd/differentiate.h"
#include "autograd/fuse.h"
#include "autograd/node.h"
#include "autograd/ops.h"
#include "autograd/program.h"
#include "autograd/store.h"
#include "tests/cuda/direct.h"
#include "tests/support/graph.h"

static ts_value input(ts_graph *g, ts_shape shape)
{
    return ts_input(g, "x", TS_F32, shape);
}

static ts_value conv(ts_graph *g)
{
    return ts_conv2d(input(g, ts_shape_of(2, 5, 5, 3)), input(g, ts_shape_of(4, 3, 3, 3)), input(g, ts_shape_of(4)),
                     (ts_conv_opts){0});
}

static ts_value conv_over_time(ts_graph *g)
{
    return ts_conv1d(input(g, ts_shape_of(2, 5, 3)), input(g, ts_shape_of(4, 3, 3)), TS_ABSENT, (ts_conv_opts){0});
}

static ts_value transposed(ts_graph *g)
{
    return ts_conv2d_transpose(input(g, ts_shape_of(2, 5, 5, 3)), input(g, ts_shape_of(3, 4, 4, 4)),
                               input(g, ts_shape_of(4)), (ts_conv_opts){.stride = {2, 2}});
}

static ts_value linear(ts_graph *g)
{
    return ts_linear(input(g, ts_shape_of(2, 5, 3)), input(g, ts_shape_of(4, 3)), input(g, ts_shape_of(4)));
}

static ts_value sum(ts_graph *g)
{
    return ts_add(input(g, ts_shape_of(2, 3)), input(g, ts_shape_of(2, 3)));
}

static void note_ending(void *user, const char *text)
{
    *(int *)user += strstr(text, "[relu]") != NULL;
}

static int endings(const ts_graph *g)
{
    int n = 0;
    ts_graph_print(g, note_ending, &n);
    return n;
}

Test(autograd_epilogue, of_every_product)
{
    const struct {
        ts_value (*product)(ts_graph *);
        int taken;
    } cases[] = {{conv, 1}, {conv_over_time, 1}, {transposed, 1}, {linear, 1}, {sum, 0}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        ts_graph *g = ts_graph_new(TS_F32);
        ts_output(ts_scale(ts_relu(cases[i].product(g)), 2), "y");
        ts_fuse(g);
        cr_expect_eq(endings(g), cases[i].taken, "case %zu", i);
        cr_expect_eq(count_nodes(g, TS_OP_relu), 0);
        cr_expect_eq(count_nodes(g, TS_OP_chain), !cases[i].taken, "case %zu: what is not taken is a chain", i);
        ts_graph_free(g);
    }
}

/* The gradient of relu asks for its result, so that the product's is not kept. */
Test(autograd_epilogue, of_a_graph_with_gradients)
{
    ts_graph *g = ts_graph_new(TS_F32);
    ts_value w = input(g, ts_shape_of(4, 3)), dw = TS_ABSENT;
    ts_value y = ts_relu(ts_linear(input(g, ts_shape_of(5, 3)), w, TS_ABSENT));
    ts_differentiate(ts_mean_all(ts_square(y)), 1, &w, &dw);
    ts_output(dw, "dw");
    ts_fuse(g);
    cr_expect_eq(endings(g), 1);
    cr_expect_eq(count_nodes(g, TS_OP_relu), 0);
    ts_graph_free(g);
}

static ts_value read_too(ts_value product)
{
    return ts_mul(ts_relu(product), ts_sum_to(product, ts_shape_of(1)));
}

static ts_value shown(ts_value product)
{
    ts_output(ts_reshape(product, ts_shape_of(ts_shape_count(ts_value_shape(product)))), "before");
    return ts_relu(product);
}

static ts_value twice(ts_value product)
{
    return ts_mul(ts_relu(product), ts_sum_to(ts_relu(product), ts_shape_of(1)));
}

static ts_value another_activation(ts_value product)
{
    return ts_silu(product);
}

static ts_value leaky(ts_value product)
{
    return ts_leaky_relu(product, 0.1);
}

Test(autograd_epilogue, stays_where_it_is)
{
    ts_value (*const cases[])(ts_value) = {read_too, shown, twice, another_activation, leaky};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        ts_graph *g = ts_graph_new(TS_F32);
        ts_output(cases[i](linear(g)), "y");
        ts_fuse(g);
        cr_expect_eq(endings(g), 0, "case %zu", i);
        ts_graph_free(g);
    }
}

/* What nobody needs is no reader. */
Test(autograd_epilogue, is_taken_past_what_nobody_needs)
{
    ts_graph *g = ts_graph_new(TS_F32);
    ts_value y = linear(g);
    ts_exp(y);
    ts_output(ts_relu(y), "y");
    ts_fuse(g);
    cr_expect_eq(endings(g), 1);
    ts_graph_free(g);
}

/* NaN at the end of each. */
static float ones(int32_t v, int64_t i, int64_t n)
{
    (void)v;
    return i == n - 1 ? NAN : 1;
}

static int64_t count_nan(ts_value (*product)(ts_graph *), const char *spec, bool fused)
{
    ts_error err;
    ts_device *device;
    ts_program *p;
    ts_graph *g = ts_graph_new(TS_F32);
    ts_value y = ts_relu(product(g));
    ts_output(y, "y");
    if (fused)
        ts_fuse(g);
    cr_assert_eq(endings(g), fused);
    cr_assert_eq(ts_device_open(spec, 2, &device, &err), TS_OK, "%s", err.text);
    ts_workspace *workspace = ts_workspace_new(device);
    cr_assert_eq(ts_program_new(g, workspace, &p, &err), TS_OK, "%s", err.text);
    feed_inputs(p, g, ones);
    cr_assert_eq(ts_program_run(p, &err), TS_OK, "%s", err.text);
    const int64_t n = ts_shape_count(ts_value_shape(y));
    float *out = malloc((size_t)n * sizeof *out);
    int64_t nans = 0;
    ts_program_get(p, y, out);
    for (int64_t i = 0; i < n; i++)
        nans += isnan(out[i]) != 0;
    free(out);
    ts_program_free(p);
    ts_workspace_free(workspace);
    ts_graph_free(g);
    ts_device_close(device);
    return nans;
}

static void expect_nan_stays(const char *spec)
{
    ts_value (*const products[])(ts_graph *) = {conv, conv_over_time, transposed, linear};
    for (size_t i = 0; i < sizeof products / sizeof *products; i++) {
        const int64_t plain = count_nan(products[i], spec, false);
        cr_expect_gt(plain, 0);
        cr_expect_eq(count_nan(products[i], spec, true), plain, "%s, product %zu", spec, i);
    }
}

Test(autograd_epilogue, nan_stays)
{
    expect_nan_stays("ref");
    expect_nan_stays("cpu");
}

Test(autograd_epilogue, nan_stays_on_cuda)
{
    direct_emulated();
    expect_nan_stays("cuda");
}

Test(autograd_epilogue, what_is_bound_keeps_its_place)
{
    ts_error err;
    ts_device *device;
    ts_graph *g = ts_graph_new(TS_F32);
    ts_store *store = ts_store_new(TS_F32);
    const ts_variable w = {.path = "w", .role = TS_ROLE_WEIGHT, .type = {TS_F32, ts_shape_of(5, 4)}, .init = TS_ZEROS};
    const ts_variable *v = ts_store_add(store, &w, &err);
    cr_assert_eq(ts_device_open("ref", 1, &device, &err), TS_OK);
    cr_assert_eq(ts_store_seal(store, device, 1, &err), TS_OK, "%s", err.text);
    ts_bind(ts_relu(ts_linear(input(g, ts_shape_of(5, 3)), input(g, ts_shape_of(4, 3)), TS_ABSENT)), store, v,
            TS_BLOCK_GRAD);
    ts_fuse(g);
    cr_expect_eq(endings(g), 0);
    cr_expect_eq(count_nodes(g, TS_OP_relu), 1);
    ts_graph_free(g);
    ts_store_free(store);
    ts_device_close(device);
}
