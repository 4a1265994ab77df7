/* Families reduce, shape and index: what changes the shape of a value, or moves its elements. */
#include "models/onnx_walk_internal.h"

/* ---- reshape ---- */

/* Is `longer` the shape of `shorter` with an axis of 1 behind the batch, at all sizes? */
static bool is_unsqueezed(const ts_onnx_walk *w, int32_t shorter, int32_t longer)
{
    int rank = ts_onnx_shape(w, shorter).rank;
    if (rank < 3 || ts_onnx_shape(w, longer).rank != rank + 1 || ts_onnx_shape(w, longer).dim[1] != 1 ||
        !ts_onnx_same_size(w, shorter, 0, longer, 0))
        return false;
    for (int i = 1; i < rank; i++)
        if (!ts_onnx_same_size(w, shorter, i, longer, i + 1))
            return false;
    return true;
}

/* A convolution over time is one of height 1: with channels first the height comes and goes behind them. */
static bool say_height(ts_onnx_walk *w)
{
    int32_t x = ts_onnx_in(w, 0), y = ts_onnx_out(w);
    bool comes = is_unsqueezed(w, x, y);
    if (ts_onnx_form_of(w, 0) != TS_FIRST || (!comes && !is_unsqueezed(w, y, x)))
        return false;
    ts_onnx_give(w, TS_FIRST,
                 SAY(w, comes ? "Unsqueeze" : "Squeeze", ts_onnx_operand(w, 0, TS_FIRST), ts_onnx_long(w, 2)));
    return true;
}

/* What Reshape is told of an axis: 0, as the operand's axis of that number; a fixed size; or -1, to be found. */
static int64_t told(const ts_onnx_walk *w, int i)
{
    int32_t x = ts_onnx_in(w, 0), y = ts_onnx_out(w);
    ts_onnx_size s = ts_onnx_size_of(w, y, i);
    if (s.known && !s.axes)
        return s.p;
    return i < ts_onnx_shape(w, x).rank && ts_onnx_same_size(w, x, i, y, i) ? 0 : -1;
}

static const char *target_shape(ts_onnx_walk *w)
{
    int64_t all[TS_MAX_RANK];
    const char *part[TS_MAX_RANK];
    int rank = ts_onnx_shape(w, ts_onnx_out(w)).rank, open = 0;
    for (int i = 0; i < rank; i++)
        open += (all[i] = told(w, i)) < 0;
    if (open <= 1)
        return ts_onnx_longs(w, all, rank);
    for (int i = 0; i < rank; i++)
        part[i] = all[i] < 0 ? ts_onnx_dim_of(w, ts_onnx_out(w), i) : ts_onnx_long(w, all[i]);
    return ts_onnx_join(w, part, rank);
}

static void say_reshape(ts_onnx_walk *w)
{
    int32_t leaf = w->name[ts_onnx_in(w, 0)].leaf;
    if (leaf >= 0 && w->graph[0]->values[leaf].kind != TS_KIND_INPUT) {
        w->name[ts_onnx_out(w)].leaf = leaf; /* written under the shape that is asked for */
        return;
    }
    if (!say_height(w))
        ts_onnx_give(w, TS_LAST, SAY(w, "Reshape", ts_onnx_operand(w, 0, TS_LAST), target_shape(w)));
}

/* ---- reduce ---- */

/* The axes of the mask, i64 [n]. */
static int axes_of(const ts_onnx_walk *w, int64_t axes[TS_MAX_RANK])
{
    int n = 0;
    for (int i = 0; i < TS_MAX_RANK; i++)
        if (w->node->attr.axis.axes & 1u << i)
            axes[n++] = i;
    return n;
}

static void say_sum(ts_onnx_walk *w)
{
    int64_t axes[TS_MAX_RANK];
    int n = axes_of(w, axes);
    ts_onnx_give(w, TS_LAST, SAY(w, "ReduceSum", ts_onnx_operand(w, 0, TS_LAST), ts_onnx_longs(w, axes, n)));
    ts_onnx_set_int(w, "keepdims", 1);
}

/* Expand leaves an axis as it is where it is told 1. */
static void say_broadcast(ts_onnx_walk *w)
{
    int32_t x = ts_onnx_in(w, 0), y = ts_onnx_out(w);
    int rank = ts_onnx_shape(w, y).rank, before = rank - ts_onnx_shape(w, x).rank;
    const char *part[TS_MAX_RANK];
    for (int i = 0; i < rank; i++)
        part[i] =
            i >= before && ts_onnx_same_size(w, x, i - before, y, i) ? ts_onnx_long(w, 1) : ts_onnx_dim_of(w, y, i);
    const char *source = ts_onnx_operand(w, 0, TS_LAST);
    ts_onnx_give(w, TS_LAST, rank ? SAY(w, "Expand", source, ts_onnx_join(w, part, rank)) : source);
}

static void say_cumsum(ts_onnx_walk *w)
{
    ts_onnx_give(w, TS_LAST,
                 SAY(w, "CumSum", ts_onnx_operand(w, 0, TS_LAST), ts_onnx_number(w, w->node->attr.axis.axis)));
    ts_onnx_set_int(w, "reverse", w->node->attr.axis.reverse);
}

/* ---- index ---- */

static int64_t start_of(const ts_onnx_walk *w, int build, int i)
{
    (void)i;
    return w->graph[build]->nodes[w->node - w->graph[0]->nodes].attr.axis.start;
}

static void say_slice(ts_onnx_walk *w)
{
    int axis = w->node->attr.axis.axis;
    int64_t start = ts_onnx_constant(w, start_of, 0, "first element");
    const char *end = ts_onnx_dim_of(w, ts_onnx_out(w), axis);
    if (start)
        end = SAY(w, "Add", end, ts_onnx_long(w, start));
    ts_onnx_give(w, TS_LAST,
                 SAY(w, "Slice", ts_onnx_operand(w, 0, TS_LAST), ts_onnx_long(w, start), end, ts_onnx_long(w, axis)));
}

static void say_concat(ts_onnx_walk *w)
{
    const char *part[TS_MAX_IN + 1] = {0};
    for (int i = 0; i < w->node->in_count; i++)
        part[i] = ts_onnx_operand(w, i, TS_LAST);
    ts_onnx_give(w, TS_LAST, ts_onnx_emit(w, "Concat", part));
    ts_onnx_set_int(w, "axis", w->node->attr.axis.axis);
}

static void say_permute(ts_onnx_walk *w)
{
    int64_t order[TS_MAX_RANK];
    int rank = ts_onnx_shape(w, ts_onnx_out(w)).rank;
    for (int i = 0; i < rank; i++)
        order[i] = w->node->attr.permute.order[i];
    ts_onnx_give(w, TS_LAST, SAY(w, "Transpose", ts_onnx_operand(w, 0, TS_LAST)));
    ts_onnx_set_ints(w, "perm", order, (size_t)rank);
}

const ts_onnx_say ts_onnx_layout[TS_OP_COUNT] = {
    [TS_OP_reshape] = say_reshape, [TS_OP_sum] = say_sum,     [TS_OP_broadcast] = say_broadcast,
    [TS_OP_cumsum] = say_cumsum,   [TS_OP_slice] = say_slice, [TS_OP_concat] = say_concat,
    [TS_OP_permute] = say_permute,
};
