#include "autograd/precision.h"

#include "autograd/node.h"

bool ts_op_rounds(ts_op op)
{
    return op == TS_OP_conv || op == TS_OP_conv_transpose || op == TS_OP_matmul;
}

bool ts_op_carries(ts_op op)
{
    switch (op) {
    case TS_OP_add:
    case TS_OP_relu:
    case TS_OP_leaky_relu:
    case TS_OP_elu:
    case TS_OP_silu:
    case TS_OP_gelu:
    case TS_OP_gelu_tanh:
    case TS_OP_tanh:
    case TS_OP_upsample_nearest:
    case TS_OP_avg_pool:
    case TS_OP_max_pool:
    case TS_OP_reshape:
    case TS_OP_slice:
    case TS_OP_pad:
    case TS_OP_concat:
    case TS_OP_permute:
        return true;
    default:
        return false;
    }
}

typedef struct {
    ts_graph *g;
    bool *possible; /* per value: it comes from a product, through carried ops alone */
    bool *wanted;   /* per value: a node that computes in bf16 reads it */
    int32_t *half;  /* per value: the value that is its bf16 form, or -1 */
} pass;

static bool is_f32(const pass *p, int32_t v)
{
    return v >= 0 && p->g->values[v].type.dtype == TS_F32;
}

static bool is_product(const pass *p, const ts_node *node)
{
    return node->rounds && ts_op_rounds(node->op) && is_f32(p, node->in[0]) && is_f32(p, node->in[1]);
}

/* Could the node carry bf16, for its operands' sake? */
static bool could_carry(const pass *p, const ts_node *node)
{
    bool all = node->rounds && ts_op_carries(node->op);
    for (int k = 0; all && k < node->in_count; k++)
        all = node->in[k] >= 0 && p->possible[node->in[k]];
    if (all && node->op == TS_OP_add)
        all = ts_shape_equal(p->g->values[node->in[0]].type.shape, p->g->values[node->in[1]].type.shape);
    return all;
}

static bool carries(const pass *p, const ts_node *node)
{
    return could_carry(p, node) && p->wanted[node->out[0]];
}

static void look(pass *p)
{
    const ts_graph *g = p->g;
    for (int32_t i = 0; i < g->node_count; i++) {
        const ts_node *node = &g->nodes[i];
        if (is_product(p, node) || could_carry(p, node))
            p->possible[node->out[0]] = true;
    }
    for (int32_t i = g->node_count - 1; i >= 0; i--) {
        const ts_node *node = &g->nodes[i];
        int reads = is_product(p, node) ? 2 : carries(p, node) ? node->in_count : 0;
        for (int k = 0; k < reads; k++)
            p->wanted[node->in[k]] = true;
    }
}

static int32_t new_half(pass *p, int32_t v)
{
    ts_value u = ts_result_add(p->g, (ts_type){TS_BF16, p->g->values[v].type.shape});
    p->half[v] = u.id;
    return u.id;
}

/* from -> to, two forms of one value */
static void add_cast(pass *p, const ts_node *beside, int32_t from, int32_t to)
{
    const ts_node cast = {.op = TS_OP_cast,
                          .path = beside->path,
                          .rounds = beside->rounds,
                          .in_count = 1,
                          .out_count = 1,
                          .in = {from},
                          .out = {to}};
    ts_node_append(p->g, &cast);
}

/* The bf16 form of an operand; made where there is none yet. */
static int32_t rounded(pass *p, const ts_node *reader, int32_t v)
{
    if (p->half[v] < 0 && new_half(p, v) >= 0)
        add_cast(p, reader, v, p->half[v]);
    return p->half[v];
}

/* The node with `reads` operands in bf16, and the result too where that is wanted; behind it a cast to the f32 form,
 * which runs only if somebody needs it. A bias has the dtype of the result. */
static void add_rounded(pass *p, ts_node node, int reads)
{
    const int32_t out = node.out[0];
    const bool gives_half = p->wanted[out];
    if (gives_half)
        reads = node.in_count;
    for (int k = 0; k < reads; k++)
        if (node.in[k] >= 0)
            node.in[k] = rounded(p, &node, node.in[k]);
    if (gives_half)
        node.out[0] = new_half(p, out);
    if (p->g->error.code != TS_OK)
        return;
    ts_node_append(p->g, &node);
    if (gives_half)
        add_cast(p, &node, node.out[0], out);
}

static void rebuild(pass *p)
{
    ts_graph *g = p->g;
    const int32_t count = g->node_count;
    ts_node *nodes = ts_nodes_take(g);
    for (int32_t i = 0; i < count && g->error.code == TS_OK; i++)
        if (is_product(p, &nodes[i]))
            add_rounded(p, nodes[i], 2);
        else if (carries(p, &nodes[i]))
            add_rounded(p, nodes[i], nodes[i].in_count);
        else
            ts_node_append(g, &nodes[i]);
    ts_free(nodes);
}

void ts_round_products(ts_graph *graph)
{
    const size_t values = (size_t)graph->value_count;
    if (graph->error.code != TS_OK || values == 0)
        return;
    pass p = {.g = graph,
              .possible = ts_calloc(values, sizeof(bool)),
              .wanted = ts_calloc(values, sizeof(bool)),
              .half = ts_alloc(values * sizeof(int32_t))};
    if (p.possible && p.wanted && p.half) {
        for (size_t v = 0; v < values; v++)
            p.half[v] = -1;
        look(&p);
        rebuild(&p);
    } else {
        ts_build_out_of_memory(graph);
    }
    ts_free(p.possible);
    ts_free(p.wanted);
    ts_free(p.half);
}
