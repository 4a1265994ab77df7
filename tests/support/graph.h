/* Graphs in tests: what is in them, and numbers for their inputs. */
#ifndef TS_TESTS_GRAPH_H
#define TS_TESTS_GRAPH_H

#include <stdlib.h>

#include "autograd/node.h"
#include "autograd/program.h"

static inline int count_nodes(const ts_graph *g, ts_op op)
{
    int n = 0;
    for (int32_t i = 0; i < g->node_count; i++)
        n += g->nodes[i].op == op;
    return n;
}

/* Sets every input, of f32: element i of the n of value v. */
static inline void feed_inputs(ts_program *p, ts_graph *g, float (*number)(int32_t v, int64_t i, int64_t n))
{
    for (int32_t v = 0; v < g->value_count; v++) {
        if (g->values[v].kind != TS_KIND_INPUT)
            continue;
        const int64_t n = ts_shape_count(g->values[v].type.shape);
        float *x = malloc((size_t)n * sizeof *x);
        for (int64_t i = 0; i < n; i++)
            x[i] = number(v, i, n);
        ts_program_set(p, ts_value_at(g, v), x);
        free(x);
    }
}

#endif
