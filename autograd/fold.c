#include "autograd/fold.h"

#include "autograd/elementwise.h"
#include "autograd/index.h"
#include "autograd/matmul.h"
#include "autograd/node.h"
#include "autograd/shape.h"

typedef struct {
    ts_graph *g;
    const ts_node *nodes; /* as they were */
    int32_t *upsampled;   /* per value: the node that upsamples to it, or -1 */
} pass;

static const ts_shape *shape_of(const pass *p, int32_t v)
{
    return &p->g->values[v].type.shape;
}

/* Axis i, 0 for height: is there something to save, and would the transposed convolution have paddings of 0 or more? */
static bool axis_folds(const pass *p, const ts_node *conv, const ts_node *up, int i)
{
    const int64_t taps = shape_of(p, conv->in[1])->dim[i + 1], pad = conv->attr.conv.pad[i];
    return up->attr.pool.size[i] > 1 && taps > 1 && conv->attr.conv.stride[i] == 1 &&
           conv->attr.conv.dilation[i] == 1 && pad < taps &&
           shape_of(p, conv->out[0])->dim[i + 1] <= shape_of(p, up->out[0])->dim[i + 1] + pad;
}

/* The upsampling in front of a convolution that takes it in; NULL: there is none, or it stays. */
static const ts_node *upsampling_of(const pass *p, const ts_node *conv)
{
    const int32_t from = conv->op == TS_OP_conv ? p->upsampled[conv->in[0]] : -1;
    if (from < 0 || conv->attr.conv.groups != 1 || p->g->values[conv->in[1]].type.dtype != p->g->real)
        return NULL;
    const ts_node *up = &p->nodes[from];
    return axis_folds(p, conv, up, 0) && axis_folds(p, conv, up, 1) ? up : NULL;
}

/* Is tap t of k part of tap j of the transposed kernel? */
static bool meets(int64_t t, int64_t k, int64_t j, int64_t f)
{
    const int64_t copy = j + t - (k - 1);
    return copy >= 0 && copy < f;
}

/* [kh*kw, jh*jw]: 1 where a tap is part of a sum. */
static ts_value parts_of_sums(ts_graph *g, const int64_t k[2], const int64_t f[2])
{
    const int64_t J[2] = {f[0] + k[0] - 1, f[1] + k[1] - 1}, taps = k[0] * k[1], all = J[0] * J[1];
    float *part = ts_alloc((size_t)(taps * all) * sizeof *part);
    if (!part)
        return ts_build_out_of_memory(g);
    for (int64_t t = 0; t < taps; t++)
        for (int64_t j = 0; j < all; j++)
            part[t * all + j] = meets(t / k[1], k[0], j / J[1], f[0]) && meets(t % k[1], k[1], j % J[1], f[1]);
    ts_value v = ts_constant(g, TS_F32, ts_shape_of(taps, all), part);
    ts_free(part);
    return ts_cast(v, g->real);
}

/* w [out, kh, kw, in] -> [in, fh + kh - 1, fw + kw - 1, out] */
static ts_value transposed_weights(ts_graph *g, ts_value w, const int64_t f[2])
{
    const int64_t out = ts_dim(w, 0), in = ts_dim(w, 3), k[2] = {ts_dim(w, 1), ts_dim(w, 2)};
    ts_value taps = ts_reshape(w, ts_shape_of(out, k[0] * k[1], in));
    ts_value v = ts_matmul(taps, parts_of_sums(g, k, f), true, false); /* [out, in, ..] */
    v = ts_permute(v, (const int[]){1, 2, 0});
    return ts_reshape(v, ts_shape_of(in, f[0] + k[0] - 1, f[1] + k[1] - 1, out));
}

/* The convolution reads what the upsampling reads, which nobody needs any more if there is no other reader. */
static void fold(pass *p, const ts_node *conv, const ts_node *up)
{
    ts_node node = *conv;
    for (int i = 0; i < 2; i++) {
        node.attr.conv.stride[i] = up->attr.pool.size[i];
        node.attr.conv.pad[i] = shape_of(p, conv->in[1])->dim[i + 1] - 1 - conv->attr.conv.pad[i];
    }
    p->g->path = conv->path;
    ts_value v = transposed_weights(p->g, ts_value_at(p->g, conv->in[1]), up->attr.pool.size);
    node.op = TS_OP_conv_transpose;
    node.in[0] = up->in[0];
    node.in[1] = v.id;
    if (ts_present(v))
        ts_node_append(p->g, &node);
}

/* Weights are summed in the graph's real type, and rounded once where products are. */
static void rebuild(pass *p)
{
    ts_graph *g = p->g;
    const int32_t count = g->node_count;
    const bool rounds = g->rounds;
    const char *path = g->path;
    ts_node *nodes = ts_nodes_take(g);
    p->nodes = nodes;
    g->rounds = false;
    for (int32_t i = 0; i < count && g->error.code == TS_OK; i++) {
        const ts_node *node = &p->nodes[i], *up = upsampling_of(p, node);
        if (node->op == TS_OP_upsample_nearest)
            p->upsampled[node->out[0]] = i;
        if (up)
            fold(p, node, up);
        else
            ts_node_append(g, node);
    }
    g->rounds = rounds;
    g->path = path;
    ts_free(nodes);
}

void ts_fold_upsampling(ts_graph *graph)
{
    const int32_t values = graph->value_count;
    if (graph->error.code != TS_OK || values == 0)
        return;
    pass p = {.g = graph, .upsampled = ts_alloc((size_t)values * sizeof(int32_t))};
    if (!p.upsampled) {
        ts_build_out_of_memory(graph);
        return;
    }
    for (int32_t v = 0; v < values; v++)
        p.upsampled[v] = -1;
    rebuild(&p);
    ts_free(p.upsampled);
}
