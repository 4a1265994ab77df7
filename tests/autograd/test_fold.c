/* The pass that takes upsampling into convolutions: what it makes is held against the same layers as they were built,
 * in one graph, so that value and gradients of the difference are 0. */
#include "autograd/fold.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>

#include "autograd/ops.h"
#include "autograd/precision.h"
#include "autograd/program.h"
#include "tests/support/graph.h"
#include "tests/support/op_check.h"
#include "tests/support/worst.h"

/* A layer: factors of the upsampling, options of the convolution. */
typedef struct {
    int64_t factor[2];
    ts_conv_opts opts;
} layer;

static const layer *built; /* by the functions below */

static ts_value layer_of(const ts_value *in)
{
    return ts_conv2d(ts_upsample_nearest2d(in[0], built->factor[0], built->factor[1]), in[1],
                     in[2].graph ? in[2] : TS_ABSENT, built->opts);
}

/* The folded layer; how it was built does not take part any more. */
static ts_value folded(const ts_value *in)
{
    ts_value y = layer_of(in);
    ts_fold_upsampling(in[0].graph);
    cr_assert_eq(count_nodes(in[0].graph, TS_OP_conv_transpose), 1, "it is folded");
    cr_assert_eq(count_nodes(in[0].graph, TS_OP_conv), 0);
    return y;
}

static ts_value error_of(const ts_value *in)
{
    ts_value y = folded(in);
    return ts_subtract(y, layer_of(in));
}

static double largest(ts_built_case *b, ts_value v)
{
    int64_t n;
    double most = 0, *x = built_case_read(b, v, &n);
    for (int64_t i = 0; i < n; i++)
        most = worst_of(most, fabs(x[i]));
    free(x);
    return most;
}

/* Of value and gradients, against the largest of what they are without the difference. */
static void expect_equal(const ts_op_case *c, const char *device, ts_dtype real, double tolerance)
{
    ts_op_case plain = *c, difference = *c;
    ts_built_case p, d;
    plain.build = layer_of;
    difference.build = error_of;
    built_case_open(&p, &plain, device, real, true);
    built_case_open(&d, &difference, device, real, true);
    built_case_run(&p);
    built_case_run(&d);
    cr_expect_leq(largest(&d, d.y), tolerance * largest(&p, p.y), "%s: y on %s", c->label, device);
    for (int k = 0; k < c->in_count; k++)
        cr_expect_leq(largest(&d, d.gradient[k]), tolerance * largest(&p, p.gradient[k]), "%s: gradient %d on %s",
                      c->label, k, device);
    built_case_close(&p);
    built_case_close(&d);
}

#define BY(h, w)  .factor = {h, w}
#define PAD(h, w) .opts = {.pad = {h, w}}

static const struct {
    layer layer;
    ts_op_case c;
} layers[] = {
    {{BY(2, 2), PAD(1, 1)}, TS_CASE("3x3 by 2", NULL, TS_NORMAL(2, 5, 4, 3), TS_NORMAL(6, 3, 3, 3), TS_NORMAL(6))},
    {{BY(2, 2), PAD(1, 1)}, TS_CASE("to one", NULL, TS_NORMAL(3, 7, 7, 16), TS_NORMAL(1, 3, 3, 16), TS_NORMAL(1))},
    {{BY(2, 2), PAD(1, 1)}, TS_CASE("32 to 16", NULL, TS_NORMAL(2, 6, 8, 32), TS_NORMAL(16, 3, 3, 32), TS_NORMAL(16))},
    {{BY(3, 2), PAD(0, 2)}, TS_CASE("pads apart", NULL, TS_NORMAL(2, 4, 5, 3), TS_NORMAL(4, 3, 3, 3), TS_NORMAL(4))},
    {{BY(2, 4), PAD(1, 4)}, TS_CASE("2x5 by 2, 4", NULL, TS_NORMAL(2, 3, 2, 4), TS_NORMAL(3, 2, 5, 4), TS_NORMAL(3))},
    {{BY(2, 3), .opts = {.pad = {0, 2}, .asymmetric = true, .pad_after = {2, 0}}},
     TS_CASE("one side", NULL, TS_NORMAL(2, 4, 3, 2), TS_NORMAL(5, 3, 3, 2), TS_NORMAL(5))},
    {{BY(2, 2), PAD(1, 1)}, TS_CASE("no bias", NULL, TS_NORMAL(1, 4, 4, 3), TS_NORMAL(2, 4, 4, 3))},
};

Test(autograd_fold, is_the_layer_as_it_was_built)
{
    for (size_t i = 0; i < sizeof layers / sizeof *layers; i++) {
        built = &layers[i].layer;
        expect_equal(&layers[i].c, "ref", TS_F64, 1e-13);
        expect_equal(&layers[i].c, "ref", TS_F32, 1e-5);
        expect_equal(&layers[i].c, "cpu", TS_F32, 1e-5);
    }
}

/* Of value and gradients: sums of weights are rounded once more than the weights were. */
Test(autograd_fold, rounds_no_worse_than_the_layer_as_it_was_built)
{
    for (size_t i = 0; i < sizeof layers / sizeof *layers; i++) {
        ts_op_case plain = layers[i].c, other = layers[i].c;
        plain.build = layer_of;
        other.build = folded;
        built = &layers[i].layer;
        const double as_built = compare_with_double(&plain, "cpu"), error = compare_with_double(&other, "cpu");
        cr_log_info("%s: %.2g as built, %.2g folded", plain.label, as_built, error);
        cr_expect_lt(error, 2e-6, "%s: %g, as built %g", plain.label, error, as_built);
    }
}

/* ---- what stays ---- */

static void expect_left(const char *what, int64_t fh, int64_t fw, ts_shape weight, ts_conv_opts opts)
{
    ts_graph *g = ts_graph_new(TS_F32);
    ts_value x = ts_input(g, "x", TS_F32, ts_shape_of(1, 4, 4, 6)), w = ts_input(g, "w", TS_F32, weight);
    ts_value y = ts_conv2d(ts_upsample_nearest2d(x, fh, fw), w, TS_ABSENT, opts);
    cr_assert(ts_present(y), "%s", what);
    ts_fold_upsampling(g);
    cr_expect_eq(g->node_count, 2, "%s: %d nodes", what, (int)g->node_count);
    cr_expect_eq(count_nodes(g, TS_OP_conv), 1, "%s", what);
    ts_graph_free(g);
}

Test(autograd_fold, leaves_what_is_no_transposed_convolution_or_saves_nothing)
{
    const ts_shape w = ts_shape_of(4, 3, 3, 6);
    expect_left("one axis", 1, 2, w, (ts_conv_opts){.pad = {1, 1}});
    expect_left("one tap", 2, 2, ts_shape_of(4, 3, 1, 6), (ts_conv_opts){.pad = {1, 0}});
    expect_left("a stride", 2, 2, w, (ts_conv_opts){.pad = {1, 1}, .stride = {1, 2}});
    expect_left("a dilation", 2, 2, w, (ts_conv_opts){.pad = {1, 1}, .dilation = {2, 1}});
    expect_left("groups", 2, 2, ts_shape_of(4, 3, 3, 3), (ts_conv_opts){.pad = {1, 1}, .groups = 2});
    expect_left("zeros beyond the taps", 2, 2, w, (ts_conv_opts){.pad = {3, 1}});
    expect_left("zeros behind beyond the taps", 2, 2, w,
                (ts_conv_opts){.pad = {1, 1}, .asymmetric = true, .pad_after = {1, 3}});
}

/* Somebody else reads the enlarged image: it is there for him. An activation between them keeps both. */
Test(autograd_fold, other_readers_keep_the_upsampling)
{
    ts_graph *g = ts_graph_new(TS_F32);
    ts_value x = ts_input(g, "x", TS_F32, ts_shape_of(1, 4, 4, 6)),
             w = ts_input(g, "w", TS_F32, ts_shape_of(6, 3, 3, 6));
    const ts_conv_opts same = {.pad = {1, 1}};
    ts_value up = ts_upsample_nearest2d(x, 2, 2);
    ts_value y = ts_add(ts_conv2d(up, w, TS_ABSENT, same), ts_conv2d(ts_relu(up), w, TS_ABSENT, same));
    ts_output(y, "y");
    ts_fold_upsampling(g);
    cr_expect_eq(count_nodes(g, TS_OP_upsample_nearest), 1);
    cr_expect_eq(count_nodes(g, TS_OP_conv_transpose), 1);
    cr_expect_eq(count_nodes(g, TS_OP_conv), 1);
    ts_graph_free(g);
}

/* Whatever cannot be had: a sticky error, nothing lost. */
Test(autograd_fold, out_of_memory_is_an_error)
{
    ts_error err;
    int failures = 0;
    for (ts_status status = TS_ERR_RUNTIME; status != TS_OK; failures++) {
        ts_graph *g = ts_graph_new(TS_F32);
        ts_value x = ts_input(g, "x", TS_F32, ts_shape_of(1, 4, 4, 6));
        ts_value w = ts_input(g, "w", TS_F32, ts_shape_of(6, 3, 3, 6));
        ts_conv2d(ts_upsample_nearest2d(x, 2, 2), w, TS_ABSENT, (ts_conv_opts){.pad = {1, 1}});
        ts_alloc_fail_at((uint64_t)failures + 1);
        ts_fold_upsampling(g);
        ts_alloc_fail_at(0);
        status = ts_graph_check(g, &err);
        cr_expect(status == TS_OK || status == TS_ERR_RUNTIME, "%s", err.text);
        ts_graph_free(g);
    }
    cr_expect_geq(failures, 3);
}

/* ---- with the other passes ---- */

/* Weights are summed in f32, and then rounded once; image and activations are bf16 as they would be. */
Test(autograd_fold, weights_are_rounded_after_they_were_summed)
{
    ts_graph *g = ts_graph_new(TS_F32);
    ts_value x = ts_input(g, "x", TS_F32, ts_shape_of(1, 4, 4, 6)),
             w = ts_input(g, "w", TS_F32, ts_shape_of(6, 3, 3, 6));
    ts_graph_set_path(g, "decoder.conv1");
    ts_graph_set_rounding(g, true);
    ts_output(ts_conv2d(ts_upsample_nearest2d(x, 2, 2), w, TS_ABSENT, (ts_conv_opts){.pad = {1, 1}}), "y");
    ts_graph_set_rounding(g, false);
    ts_graph_set_path(g, "loss");
    ts_fold_upsampling(g);
    ts_round_products(g);
    cr_expect_str_eq(ts_graph_path(g), "loss");
    for (int32_t i = 0; i < g->node_count; i++) {
        const ts_node *node = &g->nodes[i];
        cr_expect_str_eq(node->path, "decoder.conv1");
        for (int k = 0; node->op == TS_OP_conv_transpose && k < 2; k++)
            cr_expect_eq(g->values[node->in[k]].type.dtype, TS_BF16);
        for (int k = 0; node->op == TS_OP_matmul && k < 2; k++)
            cr_expect_eq(g->values[node->in[k]].type.dtype, TS_F32);
    }
    cr_expect_eq(count_nodes(g, TS_OP_cast), 2);
    ts_graph_free(g);
}
