/* Reverse-mode differentiation as a pass over the graph: it adds the gradient's nodes, made of ordinary ops. */
#ifndef TS_AUTOGRAD_DIFFERENTIATE_H
#define TS_AUTOGRAD_DIFFERENTIATE_H

#include "autograd/graph.h"

/* gradient[i] = d loss / d wrt[i], of wrt[i]'s shape; absent where the loss does not depend on it. `loss` has one
 * element. Sums of gradients are visible nodes. Errors (sticky): an op on the way has no gradient of its own (class
 * GRAD), or the loss is not a scalar. */
void ts_differentiate(ts_value loss, int count, const ts_value *wrt, ts_value *gradient);

#endif
