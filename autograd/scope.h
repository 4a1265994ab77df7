/* A scope: where in the model we are. Layers are functions over a scope; its path is at once the parameter's key, the
 * export name, the place in an error message and the random stream. Passed by value; strings belong to the graph. */
#ifndef TS_AUTOGRAD_SCOPE_H
#define TS_AUTOGRAD_SCOPE_H

#include "autograd/graph.h"
#include "autograd/store.h"

/* TRAIN: batch statistics, updates of state. EVAL: running statistics, no updates. INFER: as EVAL, and no losses. */
typedef enum { TS_TRAIN, TS_EVAL, TS_INFER } ts_mode;

typedef struct {
    ts_graph *graph;
    ts_store *store;
    const char *path; /* "" at the top */
    ts_mode mode;
    ts_value live;          /* [] 0: the step leaves no trace in running state, 1: it does; absent: it does */
    bool hold_state;        /* layers leave their running state as it is, also in TRAIN: a pass beside the steps */
    int block;              /* TS_BLOCK_VALUE, or TS_BLOCK_EMA to read the moving averages of the parameters */
    bool shared;            /* variables are those that another layer has opened under this path */
    ts_value random;        /* i64 [2]: seed, step; absent where nothing is drawn */
    ts_value mask;          /* of tokens, [..] for z [.., D]: 1 where one counts, 0 for padding; absent: all count */
    struct ts_pasts *pasts; /* causal layers go on from the block before (layers/causal.h); NULL: clips are whole */
} ts_scope;

/* The scope `name` inside s: "encoder" -> "encoder.conv1". Also sets the graph's path. */
ts_scope ts_sub(ts_scope s, const char *name);
ts_scope ts_sub_index(ts_scope s, const char *name, int i); /* "blocks.2" */

/* Sets the graph's path to the scope's own: a layer's first line, so that its nodes carry its name. */
void ts_enter(ts_scope s);

/* A parameter of the real dtype. While the store is open it is made; afterwards it is looked up, and a shape that
 * differs is a sticky error that names both. Opening a path twice is an error, unless the scope is `shared`. */
ts_value ts_param(ts_scope s, const char *name, ts_shape shape, ts_init init, ts_role role);
/* The weight of a convolution, [out, k.., in]: files hold it as [out, in, k..]. */
ts_value ts_conv_param(ts_scope s, const char *name, ts_shape shape, ts_init init);

/* A piece of state: no gradient, changed by ts_assign and its kin only. */
ts_value ts_state(ts_scope s, const char *name, ts_dtype dtype, ts_shape shape, ts_init init);

/* State that means nothing between two steps: checkpoints leave it out. */
ts_value ts_transient(ts_scope s, const char *name, ts_dtype dtype, ts_shape shape, ts_init init);

/* The full path of `name` in s, in the graph's memory. */
const char *ts_scope_path(ts_scope s, const char *name);

#endif
