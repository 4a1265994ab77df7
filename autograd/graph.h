/* The graph: values and the ops between them. Model code calls builders (autograd/ops.h), which add nodes; afterwards
 * the same graph is differentiated (differentiate.h), planned and run (program.h).
 *
 * Errors are sticky: the first failure is kept with its path, op and shapes; the builder returns a poison value, every
 * later builder passes poison on, and one ts_graph_check at the end tells.
 *
 * Owner: the graph owns its nodes and names; values are handles and are never freed. Thread: one. */
#ifndef TS_AUTOGRAD_GRAPH_H
#define TS_AUTOGRAD_GRAPH_H

#include "core/op.h"
#include "core/status.h"
#include "core/tensor.h"

typedef struct ts_graph ts_graph;

/* A handle to one tensor of a graph. id -1: absent (graph NULL) or poison (graph set). */
typedef struct {
    ts_graph *graph;
    int32_t id;
} ts_value;

/* For an operand that is left out. */
#define TS_ABSENT ((ts_value){NULL, -1})
static inline bool ts_present(ts_value v)
{
    return v.id >= 0;
}

/* real: TS_F32, or TS_F64 for gradient checks; the dtype of parameters and constants. NULL when out of memory. */
ts_graph *ts_graph_new(ts_dtype real);
void ts_graph_free(ts_graph *graph);

/* TS_OK, or the first failure of a builder. */
ts_status ts_graph_check(const ts_graph *graph, ts_error *err);

/* Where the nodes that follow stand ("encoder.conv1"): the prefix of errors, the name in profiles, the random stream.
 */
void ts_graph_set_path(ts_graph *graph, const char *path);
const char *ts_graph_path(const ts_graph *graph);

ts_dtype ts_graph_real(const ts_graph *graph);

/* Whether products and what lies between them may be computed in bf16 in the nodes that follow, should the graph be
 * asked to (precision.h). They may not at first. */
void ts_graph_set_rounding(ts_graph *graph, bool allowed);

/* Leaves. An input is filled by the caller before each run (program.h). */
ts_value ts_input(ts_graph *graph, const char *name, ts_dtype dtype, ts_shape shape);
ts_value ts_scalar(ts_graph *graph, double value);                                            /* [] of the real dtype */
ts_value ts_constant(ts_graph *graph, ts_dtype dtype, ts_shape shape, const void *host_data); /* copied */

/* A variable of a store (store.h): its block `block` of memory, read at each run. `name` is for messages. */
struct ts_store;
struct ts_variable;
ts_value ts_variable_value(ts_graph *graph, struct ts_store *store, const struct ts_variable *variable, int block);
/* A slice of a block: `count` elements of the real dtype from element `first` on. */
ts_value ts_block_value(ts_graph *graph, struct ts_store *store, int block, int64_t first, int64_t count);

/* The value is computed into this variable's place in `block` (a gradient into the gradient block) instead of the
 * arena. */
void ts_bind(ts_value value, struct ts_store *store, const struct ts_variable *variable, int block);

/* Keeps the value alive until the end of the run, to be read by name (program.h). */
void ts_output(ts_value value, const char *name);

/* Type of a value. For a poison or absent value: f32 and rank -1. */
ts_type ts_type_of(ts_value v);
static inline ts_shape ts_value_shape(ts_value v)
{
    return ts_type_of(v).shape;
}
/* Dim i; a negative i counts from the end. 0 for poison. */
int64_t ts_dim(ts_value v, int i);

/* A line per node: id, path, op, operands, shapes. */
void ts_graph_print(const ts_graph *graph, void (*line)(void *user, const char *text), void *user);

#endif
