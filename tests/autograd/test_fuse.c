/* The pass that makes chains: what it joins, what it leaves alone, and that no bit changes, on any device. */
#include "autograd/fuse.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "autograd/differentiate.h"
#include "autograd/node.h"
#include "autograd/ops.h"
#include "autograd/program.h"
#include "autograd/store.h"
#include "core/random.h"
#include "tests/support/graph.h"

static ts_error err;

/* The only chain. */
static const ts_node *chain_of(const ts_graph *g)
{
    const ts_node *chain = NULL;
    for (int32_t i = 0; i < g->node_count; i++)
        if (g->nodes[i].op == TS_OP_chain) {
            cr_assert_null(chain, "two chains");
            chain = &g->nodes[i];
        }
    cr_assert(chain, "no chain");
    return chain;
}

static void expect_steps(const ts_graph *g, int operands, int results, int steps, int slots)
{
    const ts_node *c = chain_of(g);
    cr_expect_eq(c->in_count, operands, "%d operands", c->in_count);
    cr_expect_eq(c->out_count, results, "%d results", c->out_count);
    cr_expect_eq(c->attr.chain.count, steps, "%d steps", c->attr.chain.count);
    cr_expect_eq(c->attr.chain.slots, slots, "%d slots", c->attr.chain.slots);
}

/* Operands exist before they are read, and values know their nodes. */
static void expect_well_formed(const ts_graph *g)
{
    cr_assert_eq(ts_graph_check(g, &err), TS_OK, "%s", err.text);
    for (int32_t i = 0; i < g->node_count; i++) {
        const ts_node *node = &g->nodes[i];
        for (int k = 0; k < node->in_count; k++) {
            if (node->in[k] < 0)
                continue;
            const ts_value_info *in = &g->values[node->in[k]];
            cr_assert(in->node < i && (in->node >= 0 || in->kind != TS_KIND_RESULT), "node %d reads what nobody gives",
                      (int)i);
        }
        for (int k = 0; k < node->out_count; k++)
            cr_assert(g->values[node->out[k]].node == i && g->values[node->out[k]].out_index == k);
    }
}

static ts_value input(ts_graph *g, const char *name, ts_shape shape)
{
    return ts_input(g, name, TS_F32, shape);
}

static ts_value product(ts_value x, ts_value w)
{
    return ts_linear(x, w, TS_ABSENT);
}

/* ---- what is joined ---- */

/* h = a + b is read by a product too: it is a result of the chain. */
Test(autograd_fuse, a_sum_and_its_activation_are_one_pass)
{
    ts_graph *g = ts_graph_new(TS_F32);
    ts_value h = ts_add(input(g, "a", ts_shape_of(6, 8)), input(g, "b", ts_shape_of(6, 8))), r = ts_relu(h);
    ts_output(product(h, input(g, "w", ts_shape_of(8, 8))), "y");
    ts_output(r, "r");
    ts_fuse(g);
    expect_well_formed(g);
    cr_expect_eq(g->node_count, 2);
    expect_steps(g, 2, 2, 2, 2);
    ts_graph_free(g);
}

/* A reader between them needs the first result before the second op can run. */
Test(autograd_fuse, nothing_waits_for_a_reader_of_its_own)
{
    ts_graph *g = ts_graph_new(TS_F32);
    ts_value h = ts_gelu(input(g, "a", ts_shape_of(6, 8)));
    ts_output(ts_add(product(h, input(g, "w", ts_shape_of(8, 8))), h), "y");
    ts_fuse(g);
    expect_well_formed(g);
    cr_expect_eq(count_nodes(g, TS_OP_chain), 0);
    ts_graph_free(g);
}

/* Rows, columns and scalars, each read as what it is; the same bias twice is one operand. */
Test(autograd_fuse, operands_that_repeat)
{
    ts_graph *g = ts_graph_new(TS_F32);
    ts_value x = input(g, "x", ts_shape_of(3, 4, 5)), row = input(g, "row", ts_shape_of(5));
    ts_value middle = input(g, "middle", ts_shape_of(1, 4, 1)), column = input(g, "column", ts_shape_of(3, 4, 1));
    ts_value y = ts_mul(ts_add(ts_mul(ts_add(x, row), column), row), middle);
    ts_output(ts_affine(y, 2, 1), "y");
    ts_fuse(g);
    expect_well_formed(g);
    expect_steps(g, 4, 1, 5, 4);
    const ts_node *c = chain_of(g);
    for (int k = 0; k < c->in_count; k++) {
        const ts_shape s = g->values[c->in[k]].type.shape;
        cr_expect_eq(c->attr.chain.each[k], s.rank == 3 && s.dim[2] == 1 ? 5 : 1);
    }
    ts_graph_free(g);
}

/* [2, 1, 3] in [2, 4, 3] repeats in a way that is no row and no column. */
Test(autograd_fuse, an_operand_with_a_gap_is_left_alone)
{
    ts_graph *g = ts_graph_new(TS_F32);
    ts_value y = ts_add(input(g, "x", ts_shape_of(2, 4, 3)), input(g, "gap", ts_shape_of(2, 1, 3)));
    ts_output(ts_relu(y), "y");
    ts_fuse(g);
    cr_expect_eq(count_nodes(g, TS_OP_chain), 0);
    ts_graph_free(g);
}

/* Other shapes of the same memory are no obstacle; what is behind them is an alias still. */
Test(autograd_fuse, goes_through_aliases)
{
    ts_graph *g = ts_graph_new(TS_F32);
    ts_value a = ts_relu(input(g, "a", ts_shape_of(4, 6)));
    ts_value b = ts_tanh(ts_reshape(a, ts_shape_of(2, 2, 6)));
    ts_value shown = ts_reshape(b, ts_shape_of(24));
    ts_output(ts_square(ts_straight_through(b, ts_exp(b))), "y");
    ts_output(shown, "shown");
    ts_fuse(g);
    expect_well_formed(g);
    expect_steps(g, 1, 2, 3, 1);
    cr_expect_eq(count_nodes(g, TS_OP_exp), 0, "only a gradient went there");
    cr_expect_eq(count_nodes(g, TS_OP_reshape), 1);
    ts_graph_free(g);
}

/* Both operands of the sum end there. If it waited for the last op, two tensors would lie where now is one. */
Test(autograd_fuse, nothing_waits_that_keeps_memory)
{
    for (int kept = 0; kept < 2; kept++) {
        ts_graph *g = ts_graph_new(TS_F32);
        ts_value w = input(g, "w", ts_shape_of(8, 8)), x = input(g, "x", ts_shape_of(6, 8));
        ts_value a = product(x, w), b = product(a, w), sum = ts_add(a, b);
        ts_value c = product(ts_softmax(x), w);
        ts_output(ts_add(sum, c), "y");
        if (kept)
            ts_output(a, "a");
        ts_fuse(g);
        expect_well_formed(g);
        cr_expect_eq(count_nodes(g, TS_OP_chain), kept, "a %s", kept ? "stays anyway" : "ends at the sum");
        ts_graph_free(g);
    }
}

/* What is bound to the store, and reads of a block that something is bound to, stay where they are. */
Test(autograd_fuse, gradients_in_the_store_keep_their_time)
{
    ts_graph *g = ts_graph_new(TS_F32);
    ts_store *store = ts_store_new(TS_F32);
    ts_device *device;
    const ts_variable w = {.path = "w", .role = TS_ROLE_WEIGHT, .type = {TS_F32, ts_shape_of(8)}, .init = TS_ZEROS};
    const ts_variable *v = ts_store_add(store, &w, &err);
    cr_assert_not_null(v);
    cr_assert_eq(ts_device_open("ref", 1, &device, &err), TS_OK);
    cr_assert_eq(ts_store_seal(store, device, 1, &err), TS_OK, "%s", err.text);
    ts_value x = input(g, "x", ts_shape_of(8));
    ts_bind(ts_square(ts_exp(x)), store, v, TS_BLOCK_GRAD);
    ts_value gradient = ts_block_value(g, store, TS_BLOCK_GRAD, 0, 8);
    ts_output(ts_tanh(ts_abs(ts_scale(gradient, 2))), "y");
    ts_fuse(g);
    expect_well_formed(g);
    cr_expect_eq(count_nodes(g, TS_OP_square), 1, "bound");
    cr_expect_eq(count_nodes(g, TS_OP_affine), 1, "reads the block");
    expect_steps(g, 1, 1, 2, 1);
    ts_graph_free(g);
    ts_store_free(store);
    ts_device_close(device);
}

/* 40 in a row are more than one chain holds, and nine operands more than it takes. */
Test(autograd_fuse, keeps_its_bounds)
{
    ts_graph *g = ts_graph_new(TS_F32);
    ts_value y = input(g, "x", ts_shape_of(3, 4)), sum = input(g, "s", ts_shape_of(3, 4));
    for (int i = 0; i < 40; i++)
        y = ts_affine(y, 1.1, -0.1);
    for (int i = 0; i < 9; i++)
        sum = ts_mul(ts_add(sum, input(g, (const char[2]){(char)('a' + i)}, ts_shape_of(3, 4))), y);
    ts_output(sum, "sum");
    ts_fuse(g);
    expect_well_formed(g);
    cr_expect_geq(count_nodes(g, TS_OP_chain), 4);
    for (int32_t i = 0; i < g->node_count; i++)
        cr_expect(g->nodes[i].op != TS_OP_chain ||
                  (g->nodes[i].attr.chain.count <= TS_CHAIN_STEPS && g->nodes[i].attr.chain.slots <= TS_CHAIN_SLOTS));
    ts_graph_free(g);
}

/* Integers, and what a chain has no step for, go by themselves. */
Test(autograd_fuse, other_types_are_left_alone)
{
    ts_graph *g = ts_graph_new(TS_F32);
    ts_value ids = ts_input(g, "ids", TS_I32, ts_shape_of(6)), mask = input(g, "mask", ts_shape_of(6));
    ts_output(ts_where(mask, ids, ts_cast(ts_scalar(g, -1), TS_I32)), "ids");
    ts_output(ts_cast(ts_relu(mask), TS_BF16), "half");
    ts_output(ts_relu(ts_cast(mask, TS_BF16)), "half relu");
    ts_fuse(g);
    expect_well_formed(g);
    cr_expect_eq(count_nodes(g, TS_OP_chain), 0);
    ts_graph_free(g);
}

/* ---- no bit changes ---- */

enum { POOL = 48, MADE = 40, SHAPES = 5 };

/* A graph of `MADE` ops over values of a few shapes of [4, width] that repeat to it: elementwise ones for the most
 * part, with sums, products and aliases between them. Every fifth value is an output. */
typedef struct {
    ts_graph *g;
    ts_random_key key;
    uint64_t drawn;
    int64_t width;
    ts_value value[POOL];
    int values;
    ts_value out[POOL];
    int outs;
} random_graph;

static int draw(random_graph *r, int below)
{
    return (int)ts_random_below(r->key, 0, r->drawn++, (uint64_t)below);
}

static ts_value any(random_graph *r)
{
    const int near = draw(r, 3) ? 6 : r->values; /* most of the time a late one */
    const int from = r->values - near < 0 ? 0 : r->values - near;
    return r->value[from + draw(r, r->values - from)];
}

/* One that a dx, or a product, takes: of the full shape. */
static ts_value whole(random_graph *r)
{
    ts_value v = any(r);
    return ts_add(v, ts_broadcast(ts_scalar(r->g, 0.125), ts_shape_of(4, r->width)));
}

static ts_value one_of(random_graph *r)
{
    static ts_value (*const ones[])(ts_value) = {ts_relu,   ts_gelu, ts_silu, ts_tanh,     ts_sigmoid,
                                                 ts_square, ts_abs,  ts_neg,  ts_softplus, ts_gelu_tanh};
    ts_value x = any(r);
    switch (draw(r, 6)) {
    case 0:
        return ts_affine(x, 0.75, -0.25);
    case 1:
        return ts_clamp(x, -0.5, 0.75);
    case 2:
        return ts_leaky_relu(x, 0.2);
    default:
        return ones[draw(r, (int)(sizeof ones / sizeof *ones))](x);
    }
}

static ts_value next_value(random_graph *r)
{
    static ts_value (*const twos[])(ts_value, ts_value) = {ts_add,     ts_subtract, ts_mul,
                                                           ts_maximum, ts_minimum,  ts_greater};
    switch (draw(r, 12)) {
    case 0:
        return ts_softmax(whole(r));
    case 1:
        return product(whole(r), ts_input(r->g, "w", TS_F32, ts_shape_of(r->width, r->width)));
    case 2:
        return ts_stop_gradient(ts_reshape(ts_reshape(whole(r), ts_shape_of(4 * r->width)), ts_shape_of(4, r->width)));
    case 3:
        return ts_where(ts_greater(any(r), ts_scalar(r->g, 0)), any(r), any(r));
    case 4:
        return ts_straight_through(whole(r), whole(r));
    case 5:
    case 6:
    case 7:
        return one_of(r);
    default:
        return twos[draw(r, (int)(sizeof twos / sizeof *twos))](any(r), any(r));
    }
}

static random_graph random_graph_of(int seed)
{
    static const char *const names[SHAPES] = {"whole", "row", "column", "scalar", "other"};
    random_graph r = {.g = ts_graph_new(TS_F32), .key = {(uint64_t)seed, 7}};
    r.width = seed % 3 ? 300 + seed : 4 * (seed + 1);
    const ts_shape shapes[SHAPES] = {ts_shape_of(4, r.width), ts_shape_of(r.width), ts_shape_of(4, 1), ts_shape_of(),
                                     ts_shape_of(4, r.width)};
    for (int i = 0; i < SHAPES; i++)
        r.value[r.values++] = input(r.g, names[i], shapes[i]);
    for (int i = 0; i < MADE; i++) {
        const ts_value v = next_value(&r);
        r.value[r.values++] = v;
        if (i % 5 == 4)
            r.out[r.outs++] = v;
    }
    if (seed % 2) /* gradients too: their readers lie far behind */
        for (int i = 0; i < SHAPES; i += SHAPES - 1) {
            ts_value d;
            ts_differentiate(ts_mean_all(ts_square(whole(&r))), 1, &r.value[i], &d);
            if (ts_present(d))
                r.out[r.outs++] = d;
        }
    for (int i = 0; i < r.outs; i++)
        ts_output(r.out[i], "out");
    return r;
}

static float drawn(int32_t v, int64_t i, int64_t n)
{
    (void)n;
    return ts_random_normal((ts_random_key){3, (uint64_t)v}, 0, (uint64_t)i);
}

/* Steps and peak of a random graph, and its outputs one behind the other. */
static float *run_random(int seed, const char *spec, bool fused, int64_t *floats, int *steps, size_t *peak)
{
    random_graph r = random_graph_of(seed);
    ts_device *device;
    ts_program *p;
    cr_assert_eq(ts_device_open(spec, 2, &device, &err), TS_OK, "%s", err.text);
    ts_workspace *workspace = ts_workspace_new(device);
    if (fused)
        ts_fuse(r.g);
    expect_well_formed(r.g);
    cr_assert_eq(ts_program_new(r.g, workspace, &p, &err), TS_OK, "seed %d: %s", seed, err.text);
    feed_inputs(p, r.g, drawn);
    cr_assert_eq(ts_program_run(p, &err), TS_OK, "%s", err.text);
    *floats = 0;
    for (int i = 0; i < r.outs; i++)
        *floats += ts_shape_count(ts_value_shape(r.out[i]));
    float *out = malloc((size_t)(*floats + 1) * sizeof *out), *at = out;
    for (int i = 0; i < r.outs; i++) {
        ts_program_get(p, r.out[i], at);
        at += ts_shape_count(ts_value_shape(r.out[i]));
    }
    *steps = ts_program_plan(p)->step_count;
    *peak = ts_program_plan(p)->arena_bytes;
    ts_program_free(p);
    ts_workspace_free(workspace);
    ts_graph_free(r.g);
    ts_device_close(device);
    return out;
}

static void check_random(const char *spec, int graphs)
{
    int fewer = 0, larger = 0;
    for (int seed = 0; seed < graphs; seed++) {
        int64_t n, m;
        int plain_steps, fused_steps;
        size_t plain_peak, fused_peak;
        float *plain = run_random(seed, spec, false, &n, &plain_steps, &plain_peak);
        float *fused = run_random(seed, spec, true, &m, &fused_steps, &fused_peak);
        cr_assert_eq(n, m);
        for (int64_t i = 0; i < n; i++)
            cr_assert(memcmp(&plain[i], &fused[i], sizeof *plain) == 0, "%s, seed %d: float %lld is %.9g, fused %.9g",
                      spec, seed, (long long)i, (double)plain[i], (double)fused[i]);
        cr_expect_leq(fused_steps, plain_steps);
        fewer += 4 * fused_steps <= 3 * plain_steps;
        larger += fused_peak > plain_peak;
        if (fused_peak > plain_peak)
            cr_log_info("seed %d: peak %zu, fused %zu", seed, plain_peak, fused_peak);
        free(plain);
        free(fused);
    }
    cr_expect_geq(2 * fewer, graphs, "three steps are left of four in %d of %d graphs only", fewer, graphs);
    cr_expect_eq(larger, 0, "%d of %d graphs need more memory", larger, graphs);
}

Test(autograd_fuse, random_graphs_keep_their_bits)
{
    check_random("ref", 60);
    check_random("cpu", 120);
}

Test(autograd_fuse, random_graphs_keep_their_bits_on_cuda)
{
    setenv("TESSERA_CUDA_MODULE", TESSERA_CUDA_EMULATED, 0);
    check_random("cuda", 20);
}
