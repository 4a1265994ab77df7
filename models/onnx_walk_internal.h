/* Inside the export to ONNX: a walk over a graph that was built at several sizes. What one op is in ONNX stands in the
 * files onnx_<families>.c; the walk keeps what every value is called there.
 *
 * A value has two forms: as here, channels last, and with the channels behind the batch, as ONNX's convolutions want
 * it. Each is made when it is asked for, by a Transpose of the other; what works on single numbers keeps the form that
 * is there. Errors are sticky: the first one stays, names become "". */
#ifndef TS_MODELS_ONNX_WALK_INTERNAL_H
#define TS_MODELS_ONNX_WALK_INTERNAL_H

#include "autograd/node.h"
#include "autograd/store.h"
#include "core/files/onnx.h"

enum { TS_ONNX_AXES = 3, TS_ONNX_BUILDS = TS_ONNX_AXES + 2 };
typedef enum { TS_LAST, TS_FIRST } ts_onnx_form; /* where the channels are */

/* A dim as p/q times the product of the input's free sizes whose bits are set. Not known: something else. */
typedef struct {
    bool known;
    int64_t p, q;
    unsigned axes;
} ts_onnx_size;

typedef struct {
    const char *form[2];
    int32_t leaf; /* the input, weight or constant that this is, perhaps under another shape; -1 */
} ts_onnx_name;

typedef struct {
    ts_onnx_model *model;
    ts_graph *graph[TS_ONNX_BUILDS]; /* the same at all sizes: [0] small, [1 + i] with axis i doubled, the last other */
    int axes;                        /* free sizes of the input */
    int64_t size[TS_ONNX_BUILDS][TS_ONNX_AXES];
    const char *input;              /* the input that has them */
    int place[TS_ONNX_AXES];        /* and where */
    const char *axis[TS_ONNX_AXES]; /* i64 [1], once it was asked for */
    ts_store *store;
    ts_onnx_name *name; /* by value */
    const ts_node *node;
    int made; /* nodes and constants, for their names */
    ts_status status;
    ts_error *err;
} ts_onnx_walk;

typedef void (*ts_onnx_say)(ts_onnx_walk *w);

/* By op; NULL: not of that file. */
extern const ts_onnx_say ts_onnx_elementwise[TS_OP_COUNT], ts_onnx_layout[TS_OP_COUNT], ts_onnx_layers[TS_OP_COUNT],
    ts_onnx_codes[TS_OP_COUNT];

/* ---- the node at hand ---- */

ts_shape ts_onnx_shape(const ts_onnx_walk *w, int32_t value); /* in build 0 */
static inline int32_t ts_onnx_in(const ts_onnx_walk *w, int i)
{
    return w->node->in[i];
}
static inline int32_t ts_onnx_out(const ts_onnx_walk *w)
{
    return w->node->out[0];
}

/* What operand i is called, in a form. */
const char *ts_onnx_operand(ts_onnx_walk *w, int i, ts_onnx_form form);
const char *ts_onnx_called(ts_onnx_walk *w, int32_t value, ts_onnx_form form);

/* The form that operand i has; TS_LAST where it has both. */
ts_onnx_form ts_onnx_form_of(const ts_onnx_walk *w, int i);

/* Calls the first result so. */
void ts_onnx_give(ts_onnx_walk *w, ts_onnx_form form, const char *name);

/* ---- making ---- */

/* A node with one result, whose name comes back; operands up to NULL. */
const char *ts_onnx_emit(ts_onnx_walk *w, const char *op, const char *const *operands);
#define SAY(w, op, ...) ts_onnx_emit((w), (op), (const char *const[]){__VA_ARGS__, NULL})

/* Attributes of the node that was made last. */
void ts_onnx_set_int(ts_onnx_walk *w, const char *name, int64_t value);
void ts_onnx_set_real(ts_onnx_walk *w, const char *name, double value);
void ts_onnx_set_text(ts_onnx_walk *w, const char *name, const char *text);
void ts_onnx_set_ints(ts_onnx_walk *w, const char *name, const int64_t *value, size_t count);

/* Constants. */
const char *ts_onnx_real(ts_onnx_walk *w, double value);                         /* f32 [] */
const char *ts_onnx_reals(ts_onnx_walk *w, const float *value, int64_t count);   /* f32 [count] */
const char *ts_onnx_id(ts_onnx_walk *w, int32_t value);                          /* i32 [] */
const char *ts_onnx_ids(ts_onnx_walk *w, const int32_t *value, int64_t count);   /* i32 [count] */
const char *ts_onnx_longs(ts_onnx_walk *w, const int64_t *value, int64_t count); /* i64 [count] */
const char *ts_onnx_long(ts_onnx_walk *w, int64_t value);                        /* i64 [1] */
const char *ts_onnx_number(ts_onnx_walk *w, int64_t value);                      /* i64 [] */

const char *ts_onnx_cast(ts_onnx_walk *w, const char *x, int dtype);

/* ---- sizes ---- */

ts_onnx_size ts_onnx_size_of(const ts_onnx_walk *w, int32_t value, int axis);
bool ts_onnx_same_size(const ts_onnx_walk *w, int32_t a, int axis, int32_t b, int other); /* in all builds */

/* The dim as i64 [1], computed from the input's where it is free. */
const char *ts_onnx_dim_of(ts_onnx_walk *w, int32_t value, int axis);

/* Several i64 [1] as one vector. */
const char *ts_onnx_join(ts_onnx_walk *w, const char *const *part, int count);

/* The node cannot be said: "path: op: why". */
void ts_onnx_refuse(ts_onnx_walk *w, const char *format, ...) TS_PRINTF(2, 3);

/* A number of the node that must be the same in all builds: f(build). Refuses, and returns that of build 0. */
int64_t ts_onnx_constant(ts_onnx_walk *w, int64_t (*f)(const ts_onnx_walk *w, int build, int i), int i,
                         const char *what);
static inline int64_t ts_onnx_dim_in(const ts_onnx_walk *w, int build, int32_t value, int axis)
{
    return w->graph[build]->values[value].type.shape.dim[axis];
}

#endif
