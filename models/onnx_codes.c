/* Families fsq, nearest, and the codes of ids. */
#include <math.h>

#include "core/fsq.h"
#include "models/onnx_walk_internal.h"

/* ---- gather ---- */

/* ids that are none of 0 ... count-1 as bool, and all of them brought there. */
static const char *known_ids(ts_onnx_walk *w, const char *ids, int64_t count, const char **within)
{
    *within = SAY(w, "Clip", ids, ts_onnx_id(w, 0), ts_onnx_id(w, (int32_t)(count - 1)));
    return SAY(w, "Equal", *within, ids);
}

static const char *as_column(ts_onnx_walk *w, const char *x)
{
    return SAY(w, "Unsqueeze", x, ts_onnx_long(w, -1));
}

/* A broken id gives a row of NaN; ONNX's own would take -1 for the last code. */
static void say_gather(ts_onnx_walk *w)
{
    const char *within, *table = ts_onnx_operand(w, 0, TS_LAST);
    const char *known =
        known_ids(w, ts_onnx_operand(w, 1, TS_LAST), ts_onnx_shape(w, ts_onnx_in(w, 0)).dim[0], &within);
    const char *rows = SAY(w, "Gather", table, within);
    ts_onnx_give(w, TS_LAST, SAY(w, "Where", as_column(w, known), rows, ts_onnx_real(w, (double)NAN)));
}

/* ---- nearest ---- */

static const char *last_sum(ts_onnx_walk *w, const char *x, bool keep)
{
    const char *y = SAY(w, "ReduceSum", x, ts_onnx_long(w, -1));
    ts_onnx_set_int(w, "keepdims", keep);
    return y;
}

/* argmin over k of |e_k|^2 - 2 x.e_k; -1 where x holds a NaN */
static void say_nearest(ts_onnx_walk *w)
{
    const int64_t turned[2] = {1, 0}, last = -1;
    const char *x = ts_onnx_operand(w, 0, TS_LAST), *codebook = ts_onnx_operand(w, 1, TS_LAST);
    const char *columns = SAY(w, "Transpose", codebook);
    ts_onnx_set_ints(w, "perm", turned, 2);
    const char *product = SAY(w, "Mul", SAY(w, "MatMul", x, columns), ts_onnx_real(w, 2));
    const char *score = SAY(w, "Sub", last_sum(w, SAY(w, "Mul", codebook, codebook), false), product);
    const char *best = SAY(w, "ArgMin", score);
    ts_onnx_set_int(w, "axis", last);
    ts_onnx_set_int(w, "keepdims", 0);
    ts_onnx_give(
        w, TS_LAST,
        SAY(w, "Where", SAY(w, "IsNaN", last_sum(w, x, false)), ts_onnx_id(w, -1), ts_onnx_cast(w, best, TS_ONNX_I32)));
}

/* ---- fsq ---- */

typedef struct {
    ts_fsq_table table;
    float half[TS_MAX_LEVELS], top[TS_MAX_LEVELS];
} grid;

static bool grid_of(ts_onnx_walk *w, grid *g)
{
    if (ts_fsq_table_init(&g->table, &w->node->attr.fsq, w->err) != TS_OK) {
        ts_onnx_refuse(w, "no grid");
        return false;
    }
    for (int i = 0; i < g->table.count; i++) {
        g->half[i] = (float)g->table.half[i];
        g->top[i] = (float)(g->table.level[i] - 1);
    }
    return true;
}

/* t: z + shift through tanh, or clamped to [-1, 1] */
static const char *squashed(ts_onnx_walk *w, const grid *g, const char *z)
{
    const char *x = SAY(w, "Add", z, ts_onnx_reals(w, g->table.shift, g->table.count));
    return g->table.hard_clamp ? SAY(w, "Clip", x, ts_onnx_real(w, -1), ts_onnx_real(w, 1)) : SAY(w, "Tanh", x);
}

/* The level of t, as a real, before it is held to 0 ... L-1. */
static const char *rounded(ts_onnx_walk *w, const grid *g, const char *t)
{
    int n = g->table.count;
    const char *width = ts_onnx_reals(w, g->table.width, n);
    if (g->table.symmetric) {
        const char *above = SAY(w, "Mul", SAY(w, "Add", t, ts_onnx_real(w, 1)), width);
        return SAY(w, "Floor", SAY(w, "Add", above, ts_onnx_real(w, 0.5)));
    }
    const char *k = SAY(w, "Sub", SAY(w, "Mul", t, width), ts_onnx_reals(w, g->table.offset, n));
    return SAY(w, "Add", SAY(w, "Round", k), ts_onnx_reals(w, g->half, n));
}

/* The code of real levels k. */
static const char *code_of(ts_onnx_walk *w, const grid *g, const char *k)
{
    int n = g->table.count;
    const char *half = ts_onnx_reals(w, g->half, n), *top = ts_onnx_reals(w, g->top, n);
    if (g->table.symmetric)
        return SAY(w, "Div", SAY(w, "Sub", SAY(w, "Mul", k, ts_onnx_real(w, 2)), top), top);
    return SAY(w, "Div", SAY(w, "Sub", k, half), half);
}

/* Real levels as ids, i32; -1 where one of them is `broken` (bool). */
static const char *id_of(ts_onnx_walk *w, const grid *g, const char *k, const char *broken)
{
    const char *digits = ts_onnx_cast(w, k, TS_ONNX_I32);
    const char *ids = last_sum(w, SAY(w, "Mul", digits, ts_onnx_ids(w, g->table.basis, g->table.count)), false);
    const char *any = last_sum(w, ts_onnx_cast(w, broken, TS_ONNX_I32), false);
    return SAY(w, "Where", SAY(w, "Greater", any, ts_onnx_id(w, 0)), ts_onnx_id(w, -1), ids);
}

static void say_fsq(ts_onnx_walk *w)
{
    grid g;
    if (!grid_of(w, &g))
        return;
    const char *z = ts_onnx_operand(w, 0, TS_LAST), *broken = SAY(w, "IsNaN", z);
    const char *k = rounded(w, &g, squashed(w, &g, z));
    k = SAY(w, "Min", SAY(w, "Max", k, ts_onnx_real(w, 0)), ts_onnx_reals(w, g.top, g.table.count));
    k = SAY(w, "Where", broken, ts_onnx_real(w, 0), k);
    ts_onnx_give(w, TS_LAST, SAY(w, "Where", broken, ts_onnx_real(w, (double)NAN), code_of(w, &g, k)));
    w->name[w->node->out[1]].form[TS_LAST] = id_of(w, &g, k, broken);
}

/* Digits of ids, [.., D] i32, and where an id is one, [.., 1] bool. */
static const char *digits_of(ts_onnx_walk *w, const grid *g, const char **known)
{
    const char *within;
    *known = as_column(w, known_ids(w, ts_onnx_operand(w, 0, TS_LAST), g->table.size, &within));
    const char *shifted = SAY(w, "Div", as_column(w, within), ts_onnx_ids(w, g->table.basis, g->table.count));
    return SAY(w, "Mod", shifted, ts_onnx_ids(w, g->table.level, g->table.count));
}

static void say_fsq_decode(ts_onnx_walk *w)
{
    grid g;
    const char *known;
    if (!grid_of(w, &g))
        return;
    const char *k = ts_onnx_cast(w, digits_of(w, &g, &known), TS_ONNX_F32);
    ts_onnx_give(w, TS_LAST, SAY(w, "Where", known, code_of(w, &g, k), ts_onnx_real(w, (double)NAN)));
}

static void say_fsq_levels(ts_onnx_walk *w)
{
    grid g;
    const char *known;
    if (!grid_of(w, &g))
        return;
    const char *digits = digits_of(w, &g, &known);
    ts_onnx_give(w, TS_LAST, SAY(w, "Where", known, digits, ts_onnx_id(w, -1)));
}

/* The level nearest to a code. */
static const char *level_of_code(ts_onnx_walk *w, const grid *g, const char *code)
{
    int n = g->table.count;
    if (g->table.symmetric) {
        const char *above = SAY(w, "Mul", SAY(w, "Add", code, ts_onnx_real(w, 1)), ts_onnx_reals(w, g->top, n));
        return SAY(w, "Round", SAY(w, "Div", above, ts_onnx_real(w, 2)));
    }
    const char *half = ts_onnx_reals(w, g->half, n);
    return SAY(w, "Round", SAY(w, "Add", SAY(w, "Mul", code, half), half));
}

/* What is beyond the levels, or NaN, is not what it is when it is held to them. */
static void say_fsq_ids(ts_onnx_walk *w)
{
    grid g;
    if (!grid_of(w, &g))
        return;
    const char *code = ts_onnx_operand(w, 0, TS_LAST), *zero = ts_onnx_real(w, 0);
    const char *k = level_of_code(w, &g, code);
    const char *held = SAY(w, "Min", SAY(w, "Max", k, zero), ts_onnx_reals(w, g.top, g.table.count));
    const char *broken = SAY(w, "Or", SAY(w, "IsNaN", k), SAY(w, "Not", SAY(w, "Equal", held, k)));
    ts_onnx_give(w, TS_LAST, id_of(w, &g, SAY(w, "Where", broken, zero, held), broken));
}

const ts_onnx_say ts_onnx_codes[TS_OP_COUNT] = {
    [TS_OP_gather] = say_gather,         [TS_OP_nearest] = say_nearest,       [TS_OP_fsq] = say_fsq,
    [TS_OP_fsq_decode] = say_fsq_decode, [TS_OP_fsq_levels] = say_fsq_levels, [TS_OP_fsq_ids] = say_fsq_ids,
};
