/* Random draws inside a graph. The same numbers on every device and thread count: they depend on the seed, the step,
 * the path where the node stands and how many draws stand there before it, and the element (core/random.h). A test that
 * wants recorded draws builds its graph with an input in their place. No gradient flows.
 *
 * `step` is i64 [2]: {seed, step}, an input of the program. */
#ifndef TS_AUTOGRAD_RANDOM_H
#define TS_AUTOGRAD_RANDOM_H

#include "autograd/graph.h"

ts_value ts_rand_uniform(ts_value step, ts_shape shape); /* [0, 1), of the real dtype; torch.rand */
ts_value ts_rand_normal(ts_value step, ts_shape shape);  /* N(0, 1), of the real dtype; torch.randn */

/* Integers in [0, below), i32; torch.randint. Errors: below outside 1 ... 2^31 - 1. */
ts_value ts_rand_index(ts_value step, ts_shape shape, int64_t below);

#endif
