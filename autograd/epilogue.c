#include "autograd/epilogue.h"

#include "autograd/node.h"

/* Per value whose memory it is; per such root, how many needed nodes read it or an alias of it. */
typedef struct {
    ts_graph *g;
    bool *needed;
    int32_t *root, *readers;
} uses;

static bool is_alias(const ts_node *node)
{
    return ts_ops[node->op].op_class == TS_CLASS_ALIAS;
}

static void count_uses(uses *u)
{
    const ts_graph *g = u->g;
    ts_mark_needed(g, u->needed);
    for (int32_t v = 0; v < g->value_count; v++)
        u->root[v] = v;
    for (int32_t i = 0; i < g->node_count; i++) {
        const ts_node *node = &g->nodes[i];
        if (is_alias(node))
            u->root[node->out[0]] = u->root[node->in[0]];
        for (int k = 0; u->needed[i] && !is_alias(node) && k < node->in_count; k++)
            if (node->in[k] >= 0)
                u->readers[u->root[node->in[k]]]++;
    }
    for (int32_t v = 0; v < g->value_count; v++) /* one that shows it reads it too */
        u->readers[u->root[v]] += g->values[v].output_name || g->values[v].store;
}

/* Where the op keeps that it ends in relu; NULL: it cannot. */
static bool *ending_of(ts_node *node)
{
    switch (node->op) {
    case TS_OP_conv:
    case TS_OP_conv_transpose:
        return &node->attr.conv.relu;
    case TS_OP_matmul:
        return &node->attr.matmul.relu;
    default:
        return NULL;
    }
}

/* What is bound to the store keeps its own memory. */
static void take(uses *u, ts_node *relu)
{
    ts_graph *g = u->g;
    const int32_t root = u->root[relu->in[0]], from = g->values[root].node;
    bool *ends = from < 0 ? NULL : ending_of(&g->nodes[from]);
    if (!ends || u->readers[root] != 1 || g->values[relu->out[0]].store)
        return;
    *ends = true;
    relu->op = TS_OP_reshape;
    relu->attr = (ts_attr){0};
}

void ts_take_epilogues(ts_graph *g)
{
    const size_t values = (size_t)g->value_count;
    uses u = {.g = g,
              .needed = ts_calloc((size_t)g->node_count, sizeof *u.needed),
              .root = ts_calloc(values, sizeof *u.root),
              .readers = ts_calloc(values, sizeof *u.readers)};
    if (u.needed && u.root && u.readers) {
        count_uses(&u);
        for (int32_t i = 0; i < g->node_count; i++)
            if (u.needed[i] && g->nodes[i].op == TS_OP_relu)
                take(&u, &g->nodes[i]);
    } else {
        ts_build_fail(g, "fuse", "out of memory");
    }
    ts_free(u.needed);
    ts_free(u.root);
    ts_free(u.readers);
}
