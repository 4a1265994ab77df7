/* Mixed precision as a pass over a graph: between building it and differentiating or planning it.
 *
 * In nodes that were built where rounding is allowed (ts_graph_set_rounding), and in no other:
 *
 *   products   conv, conv_transpose, matmul take bf16 operands: a cast for each f32 one, one cast however many read it,
 *              so weights are rounded once a run. They add in f32. What they give is bf16 where a node that computes in
 *              bf16 reads it, and f32 where none does
 *   carried    activations, pooling, upsampling, the sum of two equal shapes, and what only moves elements compute in
 *              bf16 where all their operands come from products or carried ops, and a product (through carried ops)
 *              reads the result
 *
 * Everything else (norms, softmax, attention, losses, quantizers, optimizers) stays as it was built. Values keep their
 * meaning for whoever holds them: a handle from before the pass is the f32 form still, cast from bf16 where somebody
 * reads it so. The gradient of a cast is a cast, so parameters, their gradients and the optimizer's state are f32.
 * Nodes that are added afterwards stay as they are built. */
#ifndef TS_AUTOGRAD_PRECISION_H
#define TS_AUTOGRAD_PRECISION_H

#include "autograd/graph.h"

/* The graph must be of f32. Errors (sticky): out of memory. */
void ts_round_products(ts_graph *graph);

/* Whether the pass computes the op in bf16 at all: its operands rounded, or carried. */
bool ts_op_rounds(ts_op op);
bool ts_op_carries(ts_op op);

#endif
