/* Finite scalar quantization: D numbers, each rounded to one of its L levels; formulas and limits in core/fsq.h. */
#ifndef TS_AUTOGRAD_FSQ_H
#define TS_AUTOGRAD_FSQ_H

#include "autograd/graph.h"

typedef struct {
    ts_value codes; /* [.., D] real, in [-1, 1] */
    ts_value ids;   /* [..] i32, 0 ... product of levels - 1; -1 where z has a NaN */
} ts_fsq_result;

/* z [.., D] -> codes and ids; the last axis is one code.
 *   grad    dz = dcodes * dbound/dz / floor(L/2): the rounding counts as the identity, the bound does not
 *   errors  the options (ts_fsq_table_init); D is not opts->count; z not real
 *   torch   lucidrains' FSQ (also MotionMillion's), google's notebook, preserve_symmetry, bound_hard_clamp */
ts_fsq_result ts_fsq(ts_value z, const ts_fsq_opts *opts);

/* ids [..] i32 -> codes [.., D] of the graph's real dtype. An id outside gives a row of NaN. No gradient. */
ts_value ts_fsq_decode(ts_value ids, const ts_fsq_opts *opts);

/* ids [..] i32 -> the level index of each dim, [.., D] i32. An id outside gives a row of -1. */
ts_value ts_fsq_levels(ts_value ids, const ts_fsq_opts *opts);

/* codes [.., D] -> ids [..] i32, each number taken to the nearest level; -1 where one is NaN or beyond the last level.
 * No gradient. */
ts_value ts_fsq_ids(ts_value codes, const ts_fsq_opts *opts);

#endif
