/* Fusion as a pass over a graph: after it has been differentiated, before it is planned; nothing may be built in the
 * graph afterwards but what ts_program_new does. A caller chooses it: a graph that is to be exported is left as it was
 * built.
 *
 * First, activations go into the products before them (autograd/epilogue.h). Then elementwise ops of the graph's real
 * type that hand values on to each other become one op `chain`, which goes over memory once. It runs where the last of
 * them stood. An op joins a later one where
 *
 *   - nobody else reads its result in between: what is an output, or is read behind the chain, is a result of the chain
 *   - the chain keeps its bounds: TS_MAX_IN operands, TS_MAX_OUT results, TS_CHAIN_STEPS ops, TS_CHAIN_SLOTS slots
 *   - an operand is read whole, or repeated in one way: a scalar, a row, a column (ts_attr.chain.each)
 *   - waiting for the last of them keeps no more memory alive than it saves
 *
 * A chain computes each element by the functions of its ops, so results are those of the single ops to the bit, on
 * every device. What is bound to the store stays as it is. The pass also drops nodes that nobody needs. */
#ifndef TS_AUTOGRAD_FUSE_H
#define TS_AUTOGRAD_FUSE_H

#include "autograd/graph.h"

/* Errors (sticky): out of memory. */
void ts_fuse(ts_graph *graph);

#endif
