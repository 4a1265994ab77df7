#include "autograd/epilogue.h"

#include "autograd/node.h"

/* Per value whose memory it is; per such root, how many needed nodes read it or an alias of it. */
typedef struct {
    ts_graph *g;
    bool *needed;
    int32_t *root, *readers;
} uses;

static void count_uses(uses *u)
{
    const ts_graph *g = u->g;
    ts_mark_needed(g, u->needed);
    ts_find_roots(g, u->root);
    for (int32_t i = 0; i < g->node_count; i++) {
        const ts_node *node = &g->nodes[i];
        for (int k = 0; u->needed[i] && !ts_node_is_alias(node) && k < node->in_count; k++)
            if (node->in[k] >= 0)
                u->readers[u->root[node->in[k]]]++;
    }
    for (int32_t v = 0; v < g->value_count; v++) /* one that shows it reads it too */
        u->readers[u->root[v]] += g->values[v].output_name || g->values[v].store;
}

/* What is bound to the store keeps its own memory. */
static void take(uses *u, ts_node *relu)
{
    ts_graph *g = u->g;
    const int32_t root = u->root[relu->in[0]], from = g->values[root].node;
    bool *ends = from < 0 ? NULL : ts_node_relu(&g->nodes[from]);
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
        ts_build_out_of_memory(g);
    }
    ts_free(u.needed);
    ts_free(u.root);
    ts_free(u.readers);
}
