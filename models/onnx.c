#include "models/onnx.h"

#include <string.h>

#include "models/onnx_walk_internal.h"

const char *const ts_onnx_part_names[] = {"encoder", "decoder", "tokenizer", NULL};

typedef struct {
    ts_onnx_part part;
    const ts_tokenizer *tokenizer;
    ts_store *store;
    int block;
    ts_tokenizer sized[TS_ONNX_BUILDS]; /* with the items of each build */
    ts_value input, ids, y;             /* ids of all builds are the same */
    bool *needed;                       /* [nodes] */
    ts_onnx_walk walk;
} export;

static bool takes_images(const export *e)
{
    return e->tokenizer->item.rank == 3;
}

/* ---- the builds ---- */

static ts_shape with_batch(ts_shape item, int64_t batch)
{
    ts_shape shape = {.rank = item.rank + 1, .dim = {batch}};
    memcpy(shape.dim + 1, item.dim, (size_t)item.rank * sizeof *item.dim);
    return shape;
}

/* Batch 2 of the trained size; one of these doubled; and all of them other. */
static ts_status choose_sizes(export *e, ts_error *err)
{
    ts_onnx_walk *w = &e->walk;
    w->axes = takes_images(e) ? 3 : 2;
    for (int b = 0; b < w->axes + 2; b++) {
        ts_tokenizer *t = &e->sized[b];
        *t = *e->tokenizer;
        for (int i = 1; i < w->axes; i++)
            t->item.dim[i - 1] *= b == w->axes + 1 ? 3 : b == i + 1 ? 2 : 1;
        TS_TRY(ts_tokenizer_check(t, err));
        w->size[b][0] = b == w->axes + 1 ? 5 : b == 1 ? 4 : 2;
        for (int i = 1; i < w->axes; i++)
            w->size[b][i] = e->part == TS_ONNX_DECODER ? t->tokens.dim[i - 1] : t->item.dim[i - 1];
    }
    return TS_OK;
}

static void build_one(export *e, int build)
{
    const ts_tokenizer *t = &e->sized[build];
    ts_graph *g = e->walk.graph[build];
    int64_t batch = e->walk.size[build][0];
    ts_scope s = {.graph = g, .store = e->store, .path = "", .mode = TS_EVAL, .block = e->block};
    s.live = s.random = s.mask = TS_ABSENT;
    if (e->part == TS_ONNX_DECODER) {
        ts_shape ids = with_batch(t->tokens, batch);
        ids.dim[ids.rank++] = t->info.groups;
        e->input = ts_input(g, "ids", TS_I32, ids);
        e->y = ts_tokenizer_decode(s, t, e->input);
        return;
    }
    e->input = ts_input(g, "x", TS_F32, with_batch(t->item, batch));
    if (e->part == TS_ONNX_ENCODER) {
        e->ids = ts_tokenizer_encode(s, t, e->input);
        return;
    }
    ts_tokenized all = ts_tokenizer_forward(s, t, e->input, TS_ABSENT);
    e->ids = all.q.ids;
    e->y = all.y;
}

/* Ends with the values of build 0. */
static ts_status build_all(export *e, ts_error *err)
{
    for (int b = e->walk.axes + 1; b >= 0; b--) {
        if (!(e->walk.graph[b] = ts_graph_new(TS_F32)))
            return ts_out_of_memory(err, 0);
        build_one(e, b);
        TS_TRY(ts_graph_check(e->walk.graph[b], err));
    }
    if (e->part != TS_ONNX_DECODER && !e->ids.graph)
        return ts_fail(err, TS_ERR_USAGE, "the quantizer computes no ids (quantizer.indices is false)");
    return TS_OK;
}

/* ---- are the builds one model? ---- */

/* May an attribute differ between builds? It is looked at where the op is said. */
static bool sized_by_attribute(ts_op op)
{
    return op == TS_OP_slice;
}

/* What is not used of an attribute is 0 (core/op.h). */
static bool same_bytes(const void *a, const void *b, size_t count)
{
    return memcmp(a, b, count) == 0;
}

static ts_status check_node(const ts_onnx_walk *w, int32_t i, int build, ts_error *err)
{
    const ts_node *a = &w->graph[0]->nodes[i], *b = &w->graph[build]->nodes[i];
    bool same = a->op == b->op && a->in_count == b->in_count && memcmp(a->in, b->in, sizeof a->in) == 0 &&
                memcmp(a->out, b->out, sizeof a->out) == 0;
    if (same && (sized_by_attribute(a->op) || same_bytes(&a->attr, &b->attr, sizeof a->attr)))
        return TS_OK;
    return ts_fail(err, TS_ERR_USAGE, "%s: %s: depends on the size of the input in a way that ONNX cannot be told",
                   a->path, ts_ops[a->op].name);
}

static ts_status check_value(const ts_onnx_walk *w, int32_t i, int build, ts_error *err)
{
    const ts_value_info *a = &w->graph[0]->values[i], *b = &w->graph[build]->values[i];
    ts_tensor whole = {a->type.dtype, a->type.shape, NULL};
    bool same = a->kind == b->kind && a->type.dtype == b->type.dtype && a->type.shape.rank == b->type.shape.rank;
    if (same && (a->kind == TS_KIND_CONSTANT || a->kind == TS_KIND_PLACE))
        same = ts_shape_equal(a->type.shape, b->type.shape) && a->variable == b->variable;
    if (same && a->kind == TS_KIND_CONSTANT)
        same = memcmp(a->constant, b->constant, ts_tensor_bytes(&whole)) == 0;
    return same ? TS_OK
                : ts_fail(err, TS_ERR_USAGE,
                          "a constant of the model depends on the size of the input, which ONNX cannot be told");
}

/* Of what is needed. */
static ts_status check_builds(const export *e, ts_error *err)
{
    const ts_onnx_walk *w = &e->walk;
    for (int b = 1; b < w->axes + 2; b++) {
        if (w->graph[b]->node_count != w->graph[0]->node_count || w->graph[b]->value_count != w->graph[0]->value_count)
            return ts_fail(err, TS_ERR_USAGE, "the model has other ops at other sizes, which ONNX cannot be told");
        for (int32_t i = 0; i < w->graph[0]->node_count; i++) {
            const ts_node *n = &w->graph[0]->nodes[i];
            if (!e->needed[i])
                continue;
            TS_TRY(check_node(w, i, b, err));
            for (int k = 0; k < n->in_count; k++)
                TS_TRY(n->in[k] < 0 ? TS_OK : check_value(w, n->in[k], b, err));
        }
    }
    return TS_OK;
}

static void need(export *e, ts_value v)
{
    if (v.graph && e->walk.graph[0]->values[v.id].node >= 0)
        e->needed[e->walk.graph[0]->values[v.id].node] = true;
}

/* Where only a gradient goes, nothing is needed: of a straight-through value the first operand is. */
static int operands_of(const ts_node *n)
{
    return ts_ops[n->op].op_class == TS_CLASS_ALIAS ? 1 : n->in_count;
}

static void find_needed(export *e)
{
    ts_graph *g = e->walk.graph[0];
    need(e, e->ids);
    need(e, e->y);
    for (int32_t i = g->node_count - 1; i >= 0; i--)
        for (int k = 0; e->needed[i] && k < operands_of(&g->nodes[i]); k++)
            if (g->nodes[i].in[k] >= 0)
                need(e, ts_value_at(g, g->nodes[i].in[k]));
}

/* ---- the walk ---- */

static ts_onnx_say say_of(ts_op op)
{
    const ts_onnx_say *const files[] = {ts_onnx_elementwise, ts_onnx_layout, ts_onnx_layers, ts_onnx_codes};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        if (files[i][op])
            return files[i][op];
    return NULL;
}

const char *ts_onnx_why_not(ts_op op)
{
    ts_op_class kind = ts_ops[op].op_class;
    if (say_of(op))
        return NULL;
    if (kind == TS_CLASS_RANDOM)
        return "draws random numbers, and an exported model gives the same for the same";
    if (kind == TS_CLASS_GRAD || kind == TS_CLASS_STATE)
        return "is of training alone";
    return "is not said in ONNX's operators yet, since no tokenizer encodes or decodes by it (models/onnx_*.c)";
}

static void walk_nodes(export *e)
{
    ts_onnx_walk *w = &e->walk;
    for (int32_t i = 0; i < w->graph[0]->node_count && w->status == TS_OK; i++) {
        w->node = &w->graph[0]->nodes[i];
        ts_onnx_say say = e->needed[i] ? say_of(w->node->op) : NULL;
        if (say)
            say(w);
        else if (e->needed[i])
            ts_onnx_refuse(w, "%s", ts_onnx_why_not(w->node->op));
    }
    w->node = NULL;
}

/* ---- input and outputs ---- */

static const char *const image_axes[] = {"batch", "height", "width"}, *const motion_axes[] = {"batch", "length"};
static const char *const image_tokens[] = {"batch", "token_height", "token_width"}, *const motion_tokens[] = {"batch",
                                                                                                              "tokens"};

static const char *const *axes_of(const export *e, bool tokens)
{
    return takes_images(e) ? (tokens ? image_tokens : image_axes) : (tokens ? motion_tokens : motion_axes);
}

/* Images have their channels behind the batch; ids and motion have them last. */
static bool is_channels_first(const export *e, bool tokens)
{
    return takes_images(e) && !tokens;
}

/* Axis i of the value in public: its place. */
static int place_of(const export *e, bool tokens, int axis, int rank)
{
    if (!is_channels_first(e, tokens) || axis == 0)
        return axis;
    return axis == rank - 1 ? 1 : axis + 1;
}

static bool describe(export *e, ts_onnx_value *to, const char *name, int32_t value, bool tokens)
{
    const char *const *names = axes_of(e, tokens);
    if (!to)
        return false;
    to->name = name;
    to->dtype = tokens ? TS_ONNX_I64 : TS_ONNX_F32;
    for (int i = 0; i < to->rank; i++) {
        ts_onnx_size s = ts_onnx_size_of(&e->walk, value, i);
        ts_onnx_dim *dim = &to->dim[place_of(e, tokens, i, to->rank)];
        *dim = s.known && !s.axes ? (ts_onnx_dim){NULL, s.p} : (ts_onnx_dim){names[i], 0};
    }
    return true;
}

static bool begin(export *e)
{
    ts_onnx_walk *w = &e->walk;
    bool tokens = e->part == TS_ONNX_DECODER;
    int32_t id = e->input.id;
    int rank = ts_onnx_shape(w, id).rank;
    w->input = tokens ? "ids" : "x";
    for (int i = 0; i < w->axes; i++)
        w->place[i] = place_of(e, tokens, i, rank);
    for (int32_t i = 0; i < w->graph[0]->value_count; i++)
        w->name[i].leaf = w->graph[0]->values[i].kind == TS_KIND_RESULT ? -1 : i;
    w->name[id].leaf = -1;
    w->name[id].form[is_channels_first(e, tokens) ? TS_FIRST : TS_LAST] =
        tokens ? ts_onnx_cast(w, w->input, TS_ONNX_I32) : w->input;
    return describe(e, ts_onnx_add_input(w->model, rank), w->input, id, tokens);
}

/* The value's public form gets its name from a last node. */
static bool finish(export *e, ts_value v, const char *name, bool tokens)
{
    ts_onnx_walk *w = &e->walk;
    if (!v.graph)
        return true;
    const char *own = ts_onnx_called(w, v.id, is_channels_first(e, tokens) ? TS_FIRST : TS_LAST);
    const char *last = tokens ? ts_onnx_cast(w, own, TS_ONNX_I64) : SAY(w, "Identity", own);
    if (w->status != TS_OK || !*last)
        return false;
    w->model->node[w->model->node_count - 1].output[0] = name;
    return describe(e, ts_onnx_add_output(w->model, ts_onnx_shape(w, v.id).rank), name, v.id, tokens);
}

static ts_status say_all(export *e, ts_error *err)
{
    ts_onnx_walk *w = &e->walk;
    bool made = begin(e);
    walk_nodes(e);
    made = made && w->status == TS_OK && finish(e, e->ids, "ids", true) && finish(e, e->y, "reconstruction", false);
    if (w->status != TS_OK)
        return w->status;
    return made ? TS_OK : ts_out_of_memory(err, 0);
}

static ts_status run(export *e, ts_error *err)
{
    ts_onnx_walk *w = &e->walk;
    TS_TRY(choose_sizes(e, err));
    TS_TRY(build_all(e, err));
    w->name = ts_calloc((size_t)w->graph[0]->value_count + 1, sizeof *w->name);
    e->needed = ts_calloc((size_t)w->graph[0]->node_count + 1, sizeof *e->needed);
    if (!w->name || !e->needed)
        return ts_out_of_memory(err, 0);
    find_needed(e);
    TS_TRY(check_builds(e, err));
    return say_all(e, err);
}

ts_status ts_onnx_of_tokenizer(ts_onnx_model *model, ts_onnx_part part, const ts_tokenizer *tokenizer, ts_store *store,
                               int block, ts_error *err)
{
    export e = {.part = part, .tokenizer = tokenizer, .store = store, .block = block, .ids = TS_ABSENT, .y = TS_ABSENT};
    *model = (ts_onnx_model){.ir_version = TS_ONNX_IR, .producer = "tessera", .graph_name = ts_onnx_part_names[part]};
    e.walk.model = model;
    e.walk.store = store;
    e.walk.err = err;
    ts_status status = run(&e, err);
    for (int b = 0; b < TS_ONNX_BUILDS; b++)
        if (e.walk.graph[b])
            ts_graph_free(e.walk.graph[b]);
    ts_free(e.walk.name);
    ts_free(e.needed);
    if (status != TS_OK)
        ts_onnx_clear(model);
    return status;
}
