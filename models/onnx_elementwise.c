/* Families elementwise and surrogate. */
#include <math.h>

#include "models/onnx_walk_internal.h"

/* The operator with this name, of one operand, number by number: in the form that is there. */
static void unary(ts_onnx_walk *w, const char *op)
{
    ts_onnx_form form = ts_onnx_form_of(w, 0);
    ts_onnx_give(w, form, SAY(w, op, ts_onnx_operand(w, 0, form)));
}

#define UNARY(name, op)                                                                                                \
    static void say_##name(ts_onnx_walk *w)                                                                            \
    {                                                                                                                  \
        unary(w, op);                                                                                                  \
    }
UNARY(sqrt, "Sqrt")
UNARY(exp, "Exp")
UNARY(abs, "Abs")
UNARY(relu, "Relu")
UNARY(tanh, "Tanh")
UNARY(sigmoid, "Sigmoid")
UNARY(round, "Round")
UNARY(floor, "Floor")

static bool is_scalar(const ts_onnx_walk *w, int i)
{
    return ts_onnx_shape(w, ts_onnx_in(w, i)).rank == 0;
}

/* Channels first only where that moves nothing: two of one shape, or one number for all. */
static ts_onnx_form common_form(const ts_onnx_walk *w)
{
    ts_onnx_form a = ts_onnx_form_of(w, 0), b = ts_onnx_form_of(w, 1);
    if ((is_scalar(w, 0) && b == TS_FIRST) || (is_scalar(w, 1) && a == TS_FIRST))
        return TS_FIRST;
    bool same = ts_shape_equal(ts_onnx_shape(w, ts_onnx_in(w, 0)), ts_onnx_shape(w, ts_onnx_in(w, 1)));
    return same && a == TS_FIRST && b == TS_FIRST ? TS_FIRST : TS_LAST;
}

static void binary(ts_onnx_walk *w, const char *op)
{
    ts_onnx_form form = common_form(w);
    ts_onnx_give(w, form, SAY(w, op, ts_onnx_operand(w, 0, form), ts_onnx_operand(w, 1, form)));
}

#define BINARY(name, op)                                                                                               \
    static void say_##name(ts_onnx_walk *w)                                                                            \
    {                                                                                                                  \
        binary(w, op);                                                                                                 \
    }
BINARY(add, "Add")
BINARY(subtract, "Sub")
BINARY(mul, "Mul")
BINARY(div, "Div")

static void say_greater(ts_onnx_walk *w)
{
    ts_onnx_form form = common_form(w);
    const char *more = SAY(w, "Greater", ts_onnx_operand(w, 0, form), ts_onnx_operand(w, 1, form));
    ts_onnx_give(w, form, ts_onnx_cast(w, more, TS_ONNX_F32));
}

static void say_where(ts_onnx_walk *w)
{
    const char *condition = ts_onnx_cast(w, ts_onnx_operand(w, 0, TS_LAST), TS_ONNX_BOOL);
    ts_onnx_give(w, TS_LAST,
                 SAY(w, "Where", condition, ts_onnx_operand(w, 1, TS_LAST), ts_onnx_operand(w, 2, TS_LAST)));
}

/* a*x + b */
static void say_affine(ts_onnx_walk *w)
{
    ts_onnx_form form = ts_onnx_form_of(w, 0);
    double a = w->node->attr.scalar.a, b = w->node->attr.scalar.b;
    const char *y = ts_onnx_operand(w, 0, form);
    if ((float)a != 1)
        y = SAY(w, "Mul", y, ts_onnx_real(w, a));
    if ((float)b != 0)
        y = SAY(w, "Add", y, ts_onnx_real(w, b));
    ts_onnx_give(w, form, y);
}

static void say_clamp(ts_onnx_walk *w)
{
    ts_onnx_form form = ts_onnx_form_of(w, 0);
    ts_onnx_give(w, form,
                 SAY(w, "Clip", ts_onnx_operand(w, 0, form), ts_onnx_real(w, w->node->attr.scalar.a),
                     ts_onnx_real(w, w->node->attr.scalar.b)));
}

static void say_silu(ts_onnx_walk *w)
{
    ts_onnx_form form = ts_onnx_form_of(w, 0);
    const char *x = ts_onnx_operand(w, 0, form);
    ts_onnx_give(w, form, SAY(w, "Mul", x, SAY(w, "Sigmoid", x)));
}

/* x * (1 + erf(x / sqrt 2)) / 2: Gelu itself came with operator set 20. */
static void say_gelu(ts_onnx_walk *w)
{
    ts_onnx_form form = ts_onnx_form_of(w, 0);
    const char *x = ts_onnx_operand(w, 0, form);
    const char *erf = SAY(w, "Erf", SAY(w, "Div", x, ts_onnx_real(w, sqrt(2))));
    const char *both = SAY(w, "Mul", x, SAY(w, "Add", erf, ts_onnx_real(w, 1)));
    ts_onnx_give(w, form, SAY(w, "Mul", both, ts_onnx_real(w, 0.5)));
}

static void say_cast(ts_onnx_walk *w)
{
    ts_dtype from = w->graph[0]->values[ts_onnx_in(w, 0)].type.dtype,
             to = w->graph[0]->values[ts_onnx_out(w)].type.dtype;
    ts_onnx_form form = ts_onnx_form_of(w, 0);
    const char *x = ts_onnx_operand(w, 0, form);
    if (from != to && to != TS_F32 && to != TS_I32 && to != TS_I64)
        ts_onnx_refuse(w, "to %s", ts_dtype_name(to));
    ts_onnx_give(w, form,
                 from == to ? x
                            : ts_onnx_cast(w, x,
                                           to == TS_F32   ? TS_ONNX_F32
                                           : to == TS_I32 ? TS_ONNX_I32
                                                          : TS_ONNX_I64));
}

/* What ONNX's gives for NaN is not said; here NaN stays NaN. */
static void say_sign(ts_onnx_walk *w)
{
    ts_onnx_form form = ts_onnx_form_of(w, 0);
    const char *x = ts_onnx_operand(w, 0, form);
    ts_onnx_give(w, form, SAY(w, "Where", SAY(w, "IsNaN", x), x, SAY(w, "Sign", x)));
}

/* The value of the first operand. */
static void say_same(ts_onnx_walk *w)
{
    w->name[ts_onnx_out(w)] = w->name[ts_onnx_in(w, 0)];
}

const ts_onnx_say ts_onnx_elementwise[TS_OP_COUNT] = {
    [TS_OP_add] = say_add,
    [TS_OP_subtract] = say_subtract,
    [TS_OP_mul] = say_mul,
    [TS_OP_div] = say_div,
    [TS_OP_greater] = say_greater,
    [TS_OP_where] = say_where,
    [TS_OP_affine] = say_affine,
    [TS_OP_sqrt] = say_sqrt,
    [TS_OP_exp] = say_exp,
    [TS_OP_abs] = say_abs,
    [TS_OP_clamp] = say_clamp,
    [TS_OP_relu] = say_relu,
    [TS_OP_silu] = say_silu,
    [TS_OP_gelu] = say_gelu,
    [TS_OP_tanh] = say_tanh,
    [TS_OP_sigmoid] = say_sigmoid,
    [TS_OP_cast] = say_cast,
    [TS_OP_round] = say_round,
    [TS_OP_floor] = say_floor,
    [TS_OP_sign] = say_sign,
    [TS_OP_straight_through] = say_same,
    [TS_OP_stop_gradient] = say_same,
};
