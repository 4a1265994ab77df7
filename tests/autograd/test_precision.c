/* The pass that puts products into bf16: what it changes, what it leaves alone, and what that does to gradients. */
#include "autograd/precision.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "autograd/differentiate.h"
#include "autograd/node.h"
#include "autograd/ops.h"
#include "autograd/program.h"
#include "core/random.h"
#include "tests/support/op_check.h"

static ts_error err;

static ts_value input(ts_graph *g, const char *name, ts_shape shape)
{
    return ts_input(g, name, TS_F32, shape);
}

/* How many nodes of an op give a result of this dtype. */
static int count(const ts_graph *g, ts_op op, ts_dtype dtype)
{
    int n = 0;
    for (int32_t i = 0; i < g->node_count; i++)
        n += g->nodes[i].op == op && g->values[g->nodes[i].out[0]].type.dtype == dtype;
    return n;
}

static const ts_conv_opts same = {.pad = {1, 1}};

/* Operands exist before they are read, and values know their nodes. */
static void expect_well_formed(const ts_graph *g)
{
    cr_assert_eq(ts_graph_check(g, &err), TS_OK, "%s", err.text);
    for (int32_t i = 0; i < g->node_count; i++) {
        const ts_node *node = &g->nodes[i];
        for (int k = 0; k < node->in_count; k++)
            cr_assert(node->in[k] < 0 || g->values[node->in[k]].node < i, "node %d reads a later result", (int)i);
        for (int k = 0; k < node->out_count; k++) {
            cr_assert_eq(g->values[node->out[k]].node, i);
            cr_assert_eq(g->values[node->out[k]].out_index, k);
        }
    }
}

/* x, w1, w2, bias -> relu(conv) twice with the same weights, then a last convolution. */
typedef struct {
    ts_graph *g;
    ts_value x, w, bias, a, b, y;
} stack;

static stack stack_of(bool allowed)
{
    stack s = {.g = ts_graph_new(TS_F32)};
    s.x = input(s.g, "x", ts_shape_of(2, 5, 5, 4));
    s.w = input(s.g, "w", ts_shape_of(4, 3, 3, 4));
    s.bias = input(s.g, "bias", ts_shape_of(4));
    ts_graph_set_rounding(s.g, allowed);
    s.a = ts_relu(ts_conv2d(s.x, s.w, s.bias, same));
    s.b = ts_add(s.a, ts_relu(ts_conv2d(s.a, s.w, s.bias, same)));
    s.y = ts_conv2d(s.b, s.w, TS_ABSENT, same);
    ts_graph_set_rounding(s.g, false);
    return s;
}

Test(autograd_precision, stores_what_lies_between_products_as_bf16)
{
    stack s = stack_of(true);
    ts_round_products(s.g);
    expect_well_formed(s.g);
    cr_expect_eq(count(s.g, TS_OP_conv, TS_BF16), 2);
    cr_expect_eq(count(s.g, TS_OP_conv, TS_F32), 1, "the last one: nobody reads it as bf16");
    cr_expect_eq(count(s.g, TS_OP_relu, TS_BF16), 2);
    cr_expect_eq(count(s.g, TS_OP_add, TS_BF16), 1);
    cr_expect_eq(count(s.g, TS_OP_cast, TS_BF16), 3, "x, w and bias, each once");
    ts_value held[] = {s.x, s.w, s.a, s.b, s.y};
    for (int i = 0; i < 5; i++)
        cr_expect_eq(ts_type_of(held[i]).dtype, TS_F32, "a handle has changed its dtype");
    ts_graph_free(s.g);
}

Test(autograd_precision, leaves_a_graph_alone_that_allows_nothing)
{
    stack s = stack_of(false);
    int32_t nodes = s.g->node_count, values = s.g->value_count;
    ts_round_products(s.g);
    expect_well_formed(s.g);
    cr_expect_eq(s.g->node_count, nodes);
    cr_expect_eq(s.g->value_count, values);
    ts_graph_free(s.g);
}

/* Norms and what they alone read stay f32, and so does a carried op one of whose operands is no product's. */
Test(autograd_precision, rounds_nothing_that_only_f32_reads)
{
    ts_graph *g = ts_graph_new(TS_F32);
    ts_value x = input(g, "x", ts_shape_of(6, 8)), w = input(g, "w", ts_shape_of(8, 8));
    ts_graph_set_rounding(g, true);
    ts_value h = ts_gelu(ts_linear(x, w, TS_ABSENT));
    ts_value n = ts_layer_norm(h, TS_ABSENT, TS_ABSENT, 1e-5);
    ts_value sum = ts_add(n, ts_linear(n, w, TS_ABSENT));
    ts_linear(sum, w, TS_ABSENT);
    ts_graph_set_rounding(g, false);
    ts_round_products(g);
    expect_well_formed(g);
    cr_expect_eq(count(g, TS_OP_matmul, TS_F32), 3);
    cr_expect_eq(count(g, TS_OP_gelu, TS_F32), 1);
    cr_expect_eq(count(g, TS_OP_layer_norm, TS_F32), 1);
    cr_expect_eq(count(g, TS_OP_add, TS_F32), 1);
    cr_expect_eq(count(g, TS_OP_cast, TS_BF16), 4, "x, w, the norm's result, the sum");
    ts_graph_free(g);
}

/* ---- operands that are widened slice by slice, with a last slice of another size ---- */

static ts_value pointwise(const ts_value *in)
{
    return ts_conv2d(in[0], in[1], in[2], (ts_conv_opts){0});
}

static ts_value doubled_size(const ts_value *in)
{
    return ts_conv2d_transpose(in[0], in[1], in[2], (ts_conv_opts){.stride = {2, 2}});
}

static ts_value linear(const ts_value *in)
{
    return ts_linear(in[0], in[1], in[2]);
}

static ts_value each_its_own(const ts_value *in)
{
    return ts_matmul(in[0], in[1], false, false);
}

static ts_value halves(const ts_value *in)
{
    return ts_upsample_nearest2d(ts_max_pool2d(in[0], (int64_t[]){2, 2}, (int64_t[]){2, 2}, (int64_t[]){0, 0}), 2, 2);
}

static ts_value activation(const ts_value *in)
{
    return ts_gelu(ts_add(in[0], in[1]));
}

static ts_value columns(const ts_value *in)
{
    return ts_sum(in[0], 1u, false);
}

static ts_value lines(const ts_value *in)
{
    return ts_sum(in[0], 2u, false);
}

/* What of a plan's steps is widened in slices takes less scratch than the whole would. */
Test(autograd_precision, large_operands_go_in_slices)
{
    static const ts_op_case cases[] = {
        TS_CASE("conv", pointwise, TS_NORMAL(37, 32, 32, 16), TS_NORMAL(16, 1, 1, 16), TS_NORMAL(16)),
        TS_CASE("conv_transpose", doubled_size, TS_NORMAL(37, 16, 16, 16), TS_NORMAL(16, 2, 2, 16), TS_NORMAL(16)),
        TS_CASE("linear", linear, TS_NORMAL(70001, 8), TS_NORMAL(8, 8), TS_NORMAL(8)),
        TS_CASE("batched matmul", each_its_own, TS_NORMAL(1033, 8, 100), TS_NORMAL(1033, 100, 8)),
        TS_CASE("pool and upsample", halves, TS_NORMAL(29, 32, 32, 16)),
        TS_CASE("add and gelu", activation, TS_NORMAL(300007), TS_NORMAL(300007)),
        TS_CASE("sum of columns", columns, TS_NORMAL(70001, 8)),
        TS_CASE("sum of lines", lines, TS_NORMAL(301, 1001)),
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        double worst = compare_bf16_with_double(&cases[i], "cpu");
        cr_expect_leq(worst, 0x1p-7, "%s differs from double by %g of the maximum", cases[i].label, worst);
    }
}

/* ---- gradients ---- */

enum { MAX_WRT = 5 };

typedef struct {
    ts_value x, wrt[MAX_WRT], gradient[MAX_WRT], loss;
    int count;
} network;

/* An encoder and a decoder in small, with everything that is carried. */
static ts_value images(network *n, ts_graph *g)
{
    n->x = input(g, "x", ts_shape_of(2, 8, 8, 3));
    n->wrt[0] = input(g, "w0", ts_shape_of(16, 3, 3, 3)), n->wrt[1] = input(g, "b0", ts_shape_of(16));
    n->wrt[2] = input(g, "w1", ts_shape_of(16, 3, 3, 16)), n->wrt[3] = input(g, "w2", ts_shape_of(16, 4, 4, 3));
    n->count = 4;
    ts_graph_set_rounding(g, true);
    ts_value h = ts_gelu(ts_max_pool2d(ts_conv2d(n->x, n->wrt[0], n->wrt[1], same), (int64_t[]){2, 2},
                                       (int64_t[]){2, 2}, (int64_t[]){0, 0}));
    h = ts_add(h, ts_conv2d(ts_relu(h), n->wrt[2], TS_ABSENT, same));
    h = ts_conv2d(ts_upsample_nearest2d(h, 2, 2), n->wrt[2], TS_ABSENT, same);
    return ts_conv2d_transpose(ts_silu(h), n->wrt[3], TS_ABSENT, (ts_conv_opts){.stride = {2, 2}, .pad = {1, 1}});
}

static ts_value rows(network *n, ts_graph *g)
{
    n->x = input(g, "x", ts_shape_of(3, 7, 12));
    n->wrt[0] = input(g, "w0", ts_shape_of(24, 12)), n->wrt[1] = input(g, "b0", ts_shape_of(24));
    n->wrt[2] = input(g, "w1", ts_shape_of(24, 24)), n->wrt[3] = input(g, "b1", ts_shape_of(24));
    n->wrt[4] = input(g, "w2", ts_shape_of(5, 3, 24));
    n->count = 5;
    ts_graph_set_rounding(g, true);
    ts_value h = ts_tanh(ts_linear(n->x, n->wrt[0], n->wrt[1]));
    h = ts_layer_norm(ts_linear(h, n->wrt[2], n->wrt[3]), TS_ABSENT, TS_ABSENT, 1e-5);
    return ts_conv1d(ts_pad(ts_leaky_relu(ts_linear(h, n->wrt[2], TS_ABSENT), 0.1), 1, 2, 0, 0), n->wrt[4], TS_ABSENT,
                     (ts_conv_opts){0});
}

static void fill(ts_program *p, ts_value v, uint64_t stream, float scale)
{
    int64_t n = ts_shape_count(ts_value_shape(v));
    float *x = malloc((size_t)n * sizeof *x);
    for (int64_t i = 0; i < n; i++)
        x[i] = scale * ts_random_normal((ts_random_key){11, stream}, 0, (uint64_t)i);
    ts_program_set(p, v, x);
    free(x);
}

static float *read_back(ts_program *p, ts_value v, int64_t *n)
{
    cr_assert_eq(ts_type_of(v).dtype, TS_F32, "a gradient of an f32 value is f32");
    *n = ts_shape_count(ts_value_shape(v));
    float *x = malloc((size_t)*n * sizeof *x);
    ts_program_get(p, v, x);
    return x;
}

typedef struct {
    float loss, *gradient[MAX_WRT];
    int64_t size[MAX_WRT];
    int count;
} outcome;

static outcome run(ts_value (*build)(network *n, ts_graph *g), const char *spec, bool bf16)
{
    network n = {0};
    outcome o = {0};
    ts_device *device;
    ts_program *p;
    ts_graph *g = ts_graph_new(TS_F32);
    cr_assert_eq(ts_device_open(spec, 2, &device, &err), TS_OK, "%s", err.text);
    ts_workspace *workspace = ts_workspace_new(device);
    ts_value y = build(&n, g);
    ts_graph_set_rounding(g, false);
    n.loss = ts_mean_all(ts_square(y));
    ts_output(n.loss, "loss");
    if (bf16)
        ts_round_products(g);
    ts_differentiate(n.loss, n.count, n.wrt, n.gradient);
    for (int i = 0; i < n.count; i++)
        ts_output(n.gradient[i], "gradient");
    expect_well_formed(g);
    cr_assert_eq(ts_program_new(g, workspace, &p, &err), TS_OK, "%s", err.text);
    fill(p, n.x, 1, 1);
    for (int i = 0; i < n.count; i++)
        fill(p, n.wrt[i], (uint64_t)i + 2, 0.2f);
    cr_assert_eq(ts_program_run(p, &err), TS_OK, "%s", err.text);
    ts_program_get(p, n.loss, &o.loss);
    o.count = n.count;
    for (int i = 0; i < n.count; i++)
        o.gradient[i] = read_back(p, n.gradient[i], &o.size[i]);
    ts_program_free(p);
    ts_graph_free(g);
    ts_workspace_free(workspace);
    ts_device_close(device);
    return o;
}

/* |a - b| / |a|, of vectors */
static double distance(const float *a, const float *b, int64_t n)
{
    double d = 0, s = 0;
    for (int64_t i = 0; i < n; i++) {
        d += ((double)a[i] - (double)b[i]) * ((double)a[i] - (double)b[i]);
        s += (double)a[i] * (double)a[i];
    }
    return sqrt(d / s);
}

static void expect_close(const outcome *a, const outcome *b, double loss, double gradient, const char *what)
{
    cr_expect_lt(fabs((double)a->loss - (double)b->loss), loss * (double)a->loss, "%s: loss %g and %g", what,
                 (double)a->loss, (double)b->loss);
    for (int i = 0; i < a->count; i++) {
        double d = distance(a->gradient[i], b->gradient[i], a->size[i]);
        cr_expect_lt(d, gradient, "%s: gradient %d is off by %g of its length", what, i, d);
    }
}

static void outcome_free(outcome *o)
{
    for (int i = 0; i < o->count; i++)
        free(o->gradient[i]);
}

/* In bf16 a number is off by at most 2^-8 of it, on average by a quarter of that; through the 10 roundings between here
 * and there a gradient comes out within a hundredth of its length. The devices round the same numbers at the same
 * places; where their f32 sums differ in the last bit, a number may fall to the other side. */
static void check_gradients(ts_value (*build)(network *n, ts_graph *g))
{
    static const char *const devices[] = {"ref", "cpu", "cuda"};
    setenv("TESSERA_CUDA_MODULE", TESSERA_CUDA_EMULATED, 0);
    outcome exact = run(build, "ref", false), reference = run(build, "ref", true);
    cr_expect_gt(distance(exact.gradient[0], reference.gradient[0], exact.size[0]), 1e-4, "nothing was rounded");
    for (int i = 0; i < 3; i++) {
        outcome o = run(build, devices[i], true);
        expect_close(&exact, &o, 0.005, 0.015, devices[i]);
        expect_close(&reference, &o, 0.001, 0.004, devices[i]);
        outcome_free(&o);
    }
    outcome_free(&exact);
    outcome_free(&reference);
}

Test(autograd_precision, gradients_of_convolutions_are_close_to_f32)
{
    check_gradients(images);
}

Test(autograd_precision, gradients_of_products_are_close_to_f32)
{
    check_gradients(rows);
}
