/* Elementwise passes, vectorised and split over threads in fixed blocks. What is fast: operands of one shape, and
 * beside a full one a scalar, a last-axis row (a bias) or a column (a mask). Every other broadcast goes to the
 * reference loop. A chain goes block by block through the loops of its ops. */
#include <math.h>
#include <stdint.h>
#include <string.h>

#include "core/cpu/simd.h"
#include "core/cpu/vmath.h"

enum { BLOCK = 8192 }; /* elements of one piece of work: the operands fit into the first-level caches */

/* How an operand is read: element by element, as one row again and again, or as one number, the same for everything or
 * another for each row. */
typedef enum { NOT_SO, FULL, REPEATED, SCALAR, COLUMN } reading;

static reading reading_of(ts_shape shape, ts_shape result)
{
    int64_t n = ts_shape_count(shape), total = ts_shape_count(result);
    if (n == total)
        return FULL;
    if (n == 1)
        return SCALAR;
    int64_t width = result.dim[result.rank - 1];
    if (shape.dim[shape.rank - 1] == width && n == width)
        return REPEATED;
    return shape.dim[shape.rank - 1] == 1 && n == total / width ? COLUMN : NOT_SO;
}

static bool two_accepts(const ts_desc *d)
{
    if (d->out[0].dtype != TS_F32 || ts_shape_count(d->out[0].shape) == 0)
        return false;
    reading a = reading_of(d->in[0].shape, d->out[0].shape), b = reading_of(d->in[1].shape, d->out[0].shape);
    return (a == FULL && b != NOT_SO) || (b == FULL && a != NOT_SO);
}

/* y = a op b over n elements, where a scalar is one number for all of them. */
typedef void (*row_fn)(float *restrict y, const float *a, const float *b, int64_t n, bool scalar_a, bool scalar_b);

#define ROW(op, expression)                                                                                            \
    TS_SIMD static void op##_row(float *y, const float *a, const float *b, int64_t n, bool scalar_a, bool scalar_b)    \
    {                                                                                                                  \
        if (scalar_a) {                                                                                                \
            const float u = *a;                                                                                        \
            for (int64_t i = 0; i < n; i++) {                                                                          \
                const float v = b[i];                                                                                  \
                y[i] = (expression);                                                                                   \
            }                                                                                                          \
        } else if (scalar_b) {                                                                                         \
            const float v = *b;                                                                                        \
            for (int64_t i = 0; i < n; i++) {                                                                          \
                const float u = a[i];                                                                                  \
                y[i] = (expression);                                                                                   \
            }                                                                                                          \
        } else {                                                                                                       \
            for (int64_t i = 0; i < n; i++) {                                                                          \
                const float u = a[i], v = b[i];                                                                        \
                y[i] = (expression);                                                                                   \
            }                                                                                                          \
        }                                                                                                              \
    }

ROW(add, u + v)
ROW(subtract, u - v)
ROW(mul, u *v)
ROW(div, u / v)

/* Is it, for a part of the result? */
static bool is_one_number(reading r)
{
    return r == SCALAR || r == COLUMN;
}

/* Where the part that begins at element `first` of the result begins in an operand. */
static int64_t offset_of(reading r, int64_t first, int64_t width)
{
    return r == FULL ? first : r == COLUMN ? first / width : 0;
}

/* Elements of a part: a row where an operand is read by rows. */
static int64_t width_of(ts_shape result, const reading *r, int operands)
{
    bool by_row = false;
    for (int k = 0; k < operands; k++)
        by_row |= r[k] == REPEATED || r[k] == COLUMN;
    return by_row ? result.dim[result.rank - 1] : BLOCK;
}

static void run_two(const ts_call *call, row_fn row)
{
    ts_shape shape = call->desc->out[0].shape;
    const int64_t total = ts_shape_count(shape);
    const reading r[] = {reading_of(call->desc->in[0].shape, shape), reading_of(call->desc->in[1].shape, shape)};
    const float *a = call->in[0], *b = call->in[1];
    float *y = call->out[0];
    const int64_t width = width_of(shape, r, 2);
#pragma omp parallel for schedule(static) num_threads(ts_cpu_threads(call, total))
    for (int64_t first = 0; first < total; first += width) {
        int64_t n = total - first < width ? total - first : width;
        row(y + first, a + offset_of(r[0], first, width), b + offset_of(r[1], first, width), n, is_one_number(r[0]),
            is_one_number(r[1]));
    }
}

#define TWO(op)                                                                                                        \
    static void op##_run(const ts_call *call)                                                                          \
    {                                                                                                                  \
        run_two(call, op##_row);                                                                                       \
    }                                                                                                                  \
    const ts_kernel ts_cpu_##op = {.name = "simd", .accepts = two_accepts, .run = op##_run};

TWO(add)
TWO(subtract)
TWO(mul)
TWO(div)

/* y = condition ? a : b over n elements; a step of 0 is one number for all of them. */
typedef struct {
    const float *condition, *a, *b;
    int64_t step[3];
} choice;

TS_SIMD static void where_row(float *y, const choice *c, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        y[i] = c->condition[i * c->step[0]] != 0 ? c->a[i * c->step[1]] : c->b[i * c->step[2]];
}

static bool where_accepts(const ts_desc *d)
{
    bool fits = d->out[0].dtype == TS_F32 && ts_shape_count(d->out[0].shape) > 0;
    for (int k = 0; k < 3; k++)
        fits = fits && d->in[k].dtype == TS_F32 && reading_of(d->in[k].shape, d->out[0].shape) != NOT_SO;
    return fits;
}

static void where_run(const ts_call *call)
{
    const ts_shape shape = call->desc->out[0].shape;
    const int64_t total = ts_shape_count(shape);
    reading r[3];
    for (int k = 0; k < 3; k++)
        r[k] = reading_of(call->desc->in[k].shape, shape);
    const int64_t width = width_of(shape, r, 3);
#pragma omp parallel for schedule(static) num_threads(ts_cpu_threads(call, total))
    for (int64_t first = 0; first < total; first += width) {
        choice c;
        const float **at[] = {&c.condition, &c.a, &c.b};
        for (int k = 0; k < 3; k++) {
            *at[k] = (const float *)call->in[k] + offset_of(r[k], first, width);
            c.step[k] = !is_one_number(r[k]);
        }
        where_row((float *)call->out[0] + first, &c, total - first < width ? total - first : width);
    }
}

const ts_kernel ts_cpu_where = {.name = "simd", .accepts = where_accepts, .run = where_run};

static bool is_f32(const ts_desc *d)
{
    return d->out[0].dtype == TS_F32 && d->in[0].dtype == TS_F32;
}

/* One operand x (and, for gradients, dy before it); a and b are the attributes. */
#define ONE(op, expression)                                                                                            \
    TS_SIMD static void op##_block(float *y, const float *px, int64_t n, float a, float b)                             \
    {                                                                                                                  \
        (void)a, (void)b;                                                                                              \
        for (int64_t i = 0; i < n; i++) {                                                                              \
            const float x = px[i];                                                                                     \
            y[i] = (expression);                                                                                       \
        }                                                                                                              \
    }                                                                                                                  \
    static void op##_run(const ts_call *call)                                                                          \
    {                                                                                                                  \
        const int64_t total = ts_shape_count(call->desc->out[0].shape);                                                \
        const float a = (float)call->desc->attr.scalar.a, b = (float)call->desc->attr.scalar.b;                        \
        const float *x = call->in[0];                                                                                  \
        float *y = call->out[0];                                                                                       \
        _Pragma("omp parallel for schedule(static) num_threads(ts_cpu_threads(call, total))") for (int64_t i = 0;      \
                                                                                                   i < total;          \
                                                                                                   i += BLOCK)         \
            op##_block(y + i, x + i, total - i < BLOCK ? total - i : BLOCK, a, b);                                     \
    }                                                                                                                  \
    const ts_kernel ts_cpu_##op = {.name = "simd", .accepts = is_f32, .run = op##_run};

static inline float normal_part(float x)
{
    float e;
    return ts_vnormal(x, &e);
}

static inline float smooth_abs(float x, float beta)
{
    const float m = fabsf(x);
    return m < beta ? 0.5f * x * x / beta : m - 0.5f * beta;
}

ONE(affine, a *x + b)
ONE(square, x *x)
ONE(abs, fabsf(x))
ONE(smooth_abs, smooth_abs(x, a))
ONE(clamp, x<a ? a : x> b ? b : x)
ONE(relu, x < 0 ? 0 : x)
ONE(tanh, ts_vtanh(x))
ONE(silu, x / (1.0f + ts_vexp(-x)))
ONE(gelu, x *normal_part(x))

#define SLOPE(op, expression)                                                                                          \
    TS_SIMD static void op##_block(float *dx, const float *dy, const float *px, int64_t n)                             \
    {                                                                                                                  \
        for (int64_t i = 0; i < n; i++) {                                                                              \
            const float x = px[i];                                                                                     \
            dx[i] = dy[i] * (expression);                                                                              \
        }                                                                                                              \
    }                                                                                                                  \
    static void op##_run(const ts_call *call)                                                                          \
    {                                                                                                                  \
        const int64_t total = ts_shape_count(call->desc->out[0].shape);                                                \
        const float *dy = call->in[0], *x = call->in[1];                                                               \
        float *dx = call->out[0];                                                                                      \
        _Pragma("omp parallel for schedule(static) num_threads(ts_cpu_threads(call, total))") for (int64_t i = 0;      \
                                                                                                   i < total;          \
                                                                                                   i += BLOCK)         \
            op##_block(dx + i, dy + i, x + i, total - i < BLOCK ? total - i : BLOCK);                                  \
    }                                                                                                                  \
    const ts_kernel ts_cpu_##op = {.name = "simd", .accepts = is_f32, .run = op##_run};

/* d silu(x) and d gelu(x); s is the logistic function, 0.3989 the standard normal's density at 0 */
static inline float silu_slope(float x)
{
    const float s = 1.0f / (1.0f + ts_vexp(-x));
    return s * (1.0f + x * (1.0f - s));
}

static inline float gelu_slope(float x)
{
    float e;
    const float part = ts_vnormal(x, &e);
    return part + x * 0.39894228f * e;
}

SLOPE(relu_dx, x > 0 ? 1.0f : 0.0f) /* of the result, as the next */
SLOPE(tanh_dx, 1.0f - x * x)
SLOPE(silu_dx, silu_slope(x))
SLOPE(gelu_dx, gelu_slope(x))

/* ---- a chain ---- */

enum { CHAIN_BLOCK = 1024 }; /* elements: what the steps hand on stays in the first-level cache */

/* What a slot holds for the block at hand: a float for every element, or one for all. */
typedef struct {
    const float *at[TS_CHAIN_SLOTS];
    bool scalar[TS_CHAIN_SLOTS];
} slots;

/* An op without a loop of its own goes through the reference's, as it does outside of a chain. */
static void reference_step(const ts_call *call, const ts_chain_step *s, float *y, const slots *v, int64_t n)
{
    ts_desc d = {.op = (ts_op)s->op, .in_count = ts_ops[s->op].max_in, .out_count = 1};
    void *in[3];
    d.attr.scalar.a = s->a;
    d.attr.scalar.b = s->b;
    d.out[0] = (ts_type){TS_F32, ts_shape_of(n)};
    for (int k = 0; k < d.in_count; k++) {
        in[k] = (void *)(uintptr_t)v->at[s->in[k]];
        d.in[k] = (ts_type){TS_F32, v->scalar[s->in[k]] ? ts_shape_of() : ts_shape_of(n)};
    }
    ts_ref_kernel(d.op, false)->run(&(ts_call){.desc = &d, .device = call->device, .in = in, .out = (void *[]){y}});
}

static void run_step(const ts_call *call, const ts_chain_step *s, float *y, const slots *v, int64_t n)
{
    const float *x = v->at[s->in[0]], *u = v->at[s->in[1]];
    switch (s->op) {
#define TWO_STEP(op)                                                                                                   \
    case TS_OP_##op:                                                                                                   \
        op##_row(y, x, u, n, v->scalar[s->in[0]], v->scalar[s->in[1]]);                                                \
        break;
#define ONE_STEP(op)                                                                                                   \
    case TS_OP_##op:                                                                                                   \
        op##_block(y, x, n, (float)s->a, (float)s->b);                                                                 \
        break;
#define SLOPE_STEP(op)                                                                                                 \
    case TS_OP_##op:                                                                                                   \
        op##_block(y, x, u, n);                                                                                        \
        break;
        TWO_STEP(add)
        TWO_STEP(subtract)
        TWO_STEP(mul)
        TWO_STEP(div)
        ONE_STEP(affine)
        ONE_STEP(square)
        ONE_STEP(abs)
        ONE_STEP(smooth_abs)
        ONE_STEP(clamp)
        ONE_STEP(relu)
        ONE_STEP(tanh)
        ONE_STEP(silu)
        ONE_STEP(gelu)
        SLOPE_STEP(relu_dx)
        SLOPE_STEP(tanh_dx)
        SLOPE_STEP(silu_dx)
        SLOPE_STEP(gelu_dx)
    case TS_OP_where:
        where_row(
            y, &(choice){x, u, v->at[s->in[2]], {!v->scalar[s->in[0]], !v->scalar[s->in[1]], !v->scalar[s->in[2]]}}, n);
        break;
    default:
        reference_step(call, s, y, v, n);
    }
}

/* Is operand k still read when the result that lies in its memory has been written? */
static bool is_overwritten(const ts_call *call, int k)
{
    int written = TS_CHAIN_STEPS, read = -1;
    bool holds = true; /* the slot has the operand yet */
    for (int i = 0; i < call->desc->attr.chain.count; i++) {
        const ts_chain_step *s = &call->desc->attr.chain.step[i];
        for (int j = 0; j < ts_ops[s->op].max_in; j++)
            read = holds && s->in[j] == k ? i : read;
        holds = holds && s->out != k;
        if (s->result >= 0 && call->out[s->result] == call->in[k])
            written = i;
    }
    return read > written;
}

/* Elements first ... first + n of operand k: where they lie, or laid out in `room`. */
static void find_operand(const ts_call *call, int k, int64_t first, int64_t n, float *room, slots *v)
{
    const int64_t size = ts_shape_count(call->desc->in[k].shape), each = call->desc->attr.chain.each[k];
    const float *from = call->in[k];
    const bool whole = size == ts_shape_count(call->desc->out[0].shape);
    v->scalar[k] = size == 1 && !whole;
    v->at[k] = room;
    if (whole && is_overwritten(call, k)) {
        memcpy(room, from + first, (size_t)n * sizeof *room);
    } else if (whole) {
        v->at[k] = from + first;
    } else if (size == 1) {
        v->at[k] = from;
    } else if (each == 1) { /* a row again and again */
        for (int64_t i = 0, run; i < n; i += run) {
            const int64_t at = (first + i) % size;
            run = size - at < n - i ? size - at : n - i;
            memcpy(room + i, from + at, (size_t)run * sizeof *room);
        }
    } else { /* a number for each row */
        for (int64_t i = 0, run; i < n; i += run) {
            const float x = from[(first + i) / each % size];
            run = each - (first + i) % each;
            for (int64_t j = i; j < i + run && j < n; j++)
                room[j] = x;
        }
    }
}

static void run_block(const ts_call *call, int64_t first, int64_t n)
{
    _Alignas(64) float room[TS_CHAIN_SLOTS][CHAIN_BLOCK];
    slots v = {.at = {NULL}};
    for (int k = 0; k < call->desc->in_count; k++)
        find_operand(call, k, first, n, room[k], &v);
    for (int i = 0; i < call->desc->attr.chain.count; i++) {
        const ts_chain_step *s = &call->desc->attr.chain.step[i];
        float *y = s->result >= 0 ? (float *)call->out[s->result] + first : room[s->out];
        run_step(call, s, y, &v, n);
        v.at[s->out] = y;
        v.scalar[s->out] = false;
    }
}

static void chain_run(const ts_call *call)
{
    const int64_t total = ts_shape_count(call->desc->out[0].shape);
#pragma omp parallel for schedule(static) num_threads(ts_cpu_threads(call, total))
    for (int64_t first = 0; first < total; first += CHAIN_BLOCK)
        run_block(call, first, total - first < CHAIN_BLOCK ? total - first : CHAIN_BLOCK);
}

const ts_kernel ts_cpu_chain = {.name = "simd", .accepts = is_f32, .run = chain_run};
