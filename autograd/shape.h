/* The same memory under another shape. */
#ifndef TS_AUTOGRAD_SHAPE_H
#define TS_AUTOGRAD_SHAPE_H

#include "autograd/graph.h"

/* One dim may be -1: what is left. Errors: the counts differ. No bytes move. */
ts_value ts_reshape(ts_value x, ts_shape shape);

/* [.., C] -> [N, C]: rows of the last axis, tokens. */
ts_value ts_rows(ts_value x);

#endif
