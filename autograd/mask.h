/* Masks: 1 where a row counts, 0 where it is padding, of the real dtype. Made of other ops; a mask has no gradient.
 * Where a mask may be absent, all rows count and nothing is added to the graph. */
#ifndef TS_AUTOGRAD_MASK_H
#define TS_AUTOGRAD_MASK_H

#include "autograd/graph.h"

/* lengths [B] i32 -> [B, n]: of n parts that are `size` long each, those that lie within the length whole:
 * (i + 1) * size <= lengths[b].  Errors: lengths not i32 [B]; n below 0; size below 1. */
ts_value ts_length_mask(ts_value lengths, int64_t n, int64_t size);

/* x [.., C] times mask [..] or absent: 0 in rows that do not count, which must be finite; no gradient reaches them.
 * Errors: the mask does not have x's dtype, and its shape without the last axis. */
ts_value ts_mask_rows(ts_value x, ts_value mask);

/* ids [.., G] i32, -1 in rows where mask [..] or absent is 0: ts_count and ts_scatter_add leave those out. Absent ids
 * stay absent. Errors: as ts_mask_rows. */
ts_value ts_mask_ids(ts_value ids, ts_value mask);

#endif
