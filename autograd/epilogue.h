/* A part of fusion (autograd/fuse.h), before chains are made: activations into the products that they follow. Where the
 * result of a convolution, its adjoint or a matrix product is read by relu alone, the product is told to end in it, and
 * relu becomes an alias. It is the one activation whose gradient asks for its result and not for its operand. The bits
 * of all results stay as they are. */
#ifndef TS_AUTOGRAD_EPILOGUE_H
#define TS_AUTOGRAD_EPILOGUE_H

#include "autograd/graph.h"

/* Errors (sticky): out of memory. */
void ts_take_epilogues(ts_graph *graph);

#endif
