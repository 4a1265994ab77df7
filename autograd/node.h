/* Inside the graph: what builders, rules and passes work on. Model code does not need this. */
#ifndef TS_AUTOGRAD_NODE_H
#define TS_AUTOGRAD_NODE_H

#include "autograd/graph.h"
#include "core/memory.h"

typedef enum { TS_KIND_RESULT, TS_KIND_INPUT, TS_KIND_CONSTANT, TS_KIND_PLACE } ts_value_kind;

typedef struct {
    ts_value_kind kind;
    ts_type type;
    int32_t node; /* RESULT: the producer; else -1 */
    int out_index;
    const char *name;        /* INPUT, PLACE; or NULL */
    const char *output_name; /* of ts_output, or NULL */
    const void *constant;    /* CONSTANT: its bytes */
    struct ts_store *store;  /* PLACE, or a RESULT that is bound to a place */
    int block;
    const struct ts_variable *variable; /* whose place in the block; NULL: the slice from `first` on */
    int64_t first;                      /* element */
} ts_value_info;

typedef struct {
    ts_op op;
    ts_attr attr;
    const char *path;
    bool rounds; /* was built where ts_graph_set_rounding had said so */
    int in_count, out_count;
    int32_t in[TS_MAX_IN]; /* value ids; -1: absent */
    int32_t out[TS_MAX_OUT];
} ts_node;

struct ts_graph {
    ts_dtype real;
    ts_arena arena;
    const char *path;
    bool rounds;
    ts_error error;
    ts_value_info *values;
    int32_t value_count, value_capacity;
    ts_node *nodes; /* in the order of creation, which is a topological order */
    int32_t node_count, node_capacity;
};

/* What a builder hands over. Zero the rest. */
typedef struct {
    ts_op op;
    ts_attr attr;
    int in_count;
    ts_value in[TS_MAX_IN];  /* TS_ABSENT where left out */
    ts_type out[TS_MAX_OUT]; /* as many as the op has */
} ts_node_spec;

/* Adds the node; returns output 0 and puts all outputs into `out` (TS_MAX_OUT of them) unless NULL. With a poison among
 * the operands nothing is added and poison comes back, so builders may look at shapes first and need no check of their
 * own beyond ts_poisoned. */
ts_value ts_node_add(ts_graph *graph, const ts_node_spec *spec, ts_value out[]);

/* The graph of the first operand that has one, and whether any operand is poison (or of another graph). Every builder
 * starts with `ts_graph *g; if (ts_poisoned(&g, 2, (ts_value[]){a, b})) return ts_poison(g);`  An absent operand is not
 * poison. */
bool ts_poisoned(ts_graph **graph, int count, const ts_value *operands);
ts_value ts_poison(ts_graph *graph);

/* Keeps "path: op: text" as the graph's error if it is the first, and returns poison. */
ts_value ts_build_fail(ts_graph *graph, const char *op, const char *format, ...) TS_PRINTF(3, 4);
/* Likewise where there is no memory: TS_ERR_RUNTIME, while a wrong operand is TS_ERR_USAGE. */
ts_value ts_build_out_of_memory(ts_graph *graph);

static inline ts_value_info *ts_info(ts_value v)
{
    return &v.graph->values[v.id];
}

/* For passes that make the list of nodes anew: the old one, which is the caller's then (ts_free) while the graph has
 * none; a result that no node gives yet, and a node with operands and results that exist. Poison, false: out of memory
 * (sticky). */
ts_node *ts_nodes_take(ts_graph *graph);
ts_value ts_result_add(ts_graph *graph, ts_type type);
bool ts_node_append(ts_graph *graph, const ts_node *node);

/* Per node: is it needed? Nodes that write state are, those that an output or a bound place shows, and whatever those
 * need. */
void ts_mark_needed(const ts_graph *graph, bool *needed);

static inline bool ts_node_is_alias(const ts_node *node)
{
    return ts_ops[node->op].op_class == TS_CLASS_ALIAS;
}

/* Per value: the one whose memory it is, which no alias gives. */
void ts_find_roots(const ts_graph *graph, int32_t *root);

/* Where a product keeps that it ends in relu; NULL: the op cannot. */
bool *ts_node_relu(ts_node *node);

/* The value with this id. */
static inline ts_value ts_value_at(ts_graph *graph, int32_t id)
{
    return (ts_value){id < 0 ? NULL : graph, id};
}

/* The node as a kernel sees it. */
ts_desc ts_node_desc(const ts_graph *graph, const ts_node *node);

/* A gradient rule: given the node's operands, results and the gradients of its results (absent where none flows), it
 * puts the gradient of each wanted operand into din, built from ordinary ops. din[i] must have the shape of in[i]. An
 * absent din is a zero gradient. One function per op of class DIFF, SURROGATE or ALIAS, named ts_rule_<op>. */
typedef struct {
    const ts_attr *attr;
    ts_value in[TS_MAX_IN], out[TS_MAX_OUT], dout[TS_MAX_OUT];
    int in_count;
    bool wants[TS_MAX_IN];
    ts_value din[TS_MAX_IN]; /* filled by the rule; all absent before */
} ts_rule;

typedef void (*ts_rule_fn)(ts_rule *rule);

/* Puts another rule in an op's place and returns the one that was there: for the test that breaks a rule on purpose. */
ts_rule_fn ts_rule_replace(ts_op op, ts_rule_fn rule);

/* Sums over the axes along which `v` was broadcast from `shape`: the adjoint of broadcasting. */
ts_value ts_sum_to(ts_value v, ts_shape shape);

#endif
