/* What residual quantizers share: layers, each on what the layers before it left over, and an id per layer. */
#ifndef TS_QUANT_RESIDUAL_H
#define TS_QUANT_RESIDUAL_H

#include "quant/quantizer.h"

enum { TS_MAX_RESIDUAL_LAYERS = 24 };

/* Errors (usage): dropout is not below layers, so that no layer would ever be left out. */
ts_status ts_residual_check(int64_t layers, int64_t dropout, ts_error *err);

/* [] how many layers this step uses, in training: a random number from dropout to layers, of the scope's path. Absent
 * where it is all of them. Errors: the scope has no random numbers. */
ts_value ts_residual_in_use(ts_scope s, int64_t layers, int64_t dropout);

/* Any number of values one behind the other along an axis. */
ts_value ts_residual_join(const ts_value *x, int count, int axis);

/* The codes [.., D] of a layer's ids [.., 1]. From the second layer on an id of -1 is one that was left out, and its
 * codes become 0; in the first it is a token that was broken. */
ts_value ts_residual_present(ts_value codes, ts_value ids, int layer);

#endif
