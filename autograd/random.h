/* Random draws inside a graph. The same numbers on every device and thread count: they depend on the seed, the step,
 * the path where the node stands and how many draws stand there before it, and the element (core/random.h). No gradient
 * flows.
 *
 * `step` is i64 [2]: {seed, step}, an input of the program. */
#ifndef TS_AUTOGRAD_RANDOM_H
#define TS_AUTOGRAD_RANDOM_H

#include "autograd/graph.h"

ts_value ts_rand_uniform(ts_value step, ts_shape shape); /* [0, 1), of the real dtype; torch.rand */
ts_value ts_rand_normal(ts_value step, ts_shape shape);  /* N(0, 1), of the real dtype; torch.randn */

/* Integers in [0, below), i32; torch.randint. Errors: below outside 1 ... 2^31 - 1. */
ts_value ts_rand_index(ts_value step, ts_shape shape, int64_t below);

/* Recorded numbers instead of a draw, for tests: whatever reads the first result of `op` (TS_OP_random_normal ..) that
 * is still read, now reads a new input `name` of the same type, and the draw is not run. Before the graph is
 * differentiated and planned. Returns the input; poison, and an error of the graph, where no such draw is read. */
ts_value ts_replace_with_input(ts_graph *graph, ts_op op, const char *name);

#endif
