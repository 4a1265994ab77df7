/* Rows picked and put by id, and parts of tensors moved. Ids are i32. A negative axis counts from the end. */
#ifndef TS_AUTOGRAD_INDEX_H
#define TS_AUTOGRAD_INDEX_H

#include "autograd/graph.h"

/* table [K, D] real, ids [..] -> [.., D], row ids[n] of the table.
 *   an id outside 0..K-1 gives a row of NaN: a broken id must not pass as code 0
 *   grad    dtable = scatter_add(dy, ids)
 *   errors  table not real [K, D]; ids not i32
 *   torch   torch.nn.functional.embedding(ids, table) */
ts_value ts_gather(ts_value table, ts_value ids);

/* rows [.., D] real, ids [..] -> [K, D], the sum of the rows of each id, added in their order on any number of threads.
 *   ids outside 0..K-1 are left out
 *   grad    drows = dy[ids], 0 where the id is outside
 *   errors  shapes do not fit; K < 0
 *   torch   zeros(K, D).index_add(0, ids, rows) */
ts_value ts_scatter_add(ts_value rows, ts_value ids, int64_t K);

/* How often each id 0..K-1 occurs: ids [..] -> i64 [K]; others are left out. torch.bincount */
ts_value ts_count(ts_value ids, int64_t K);

/* x [N, D] real -> [K, D], row i = x[i mod N]. With a mask [N], or TS_ABSENT: row i = row i mod V of the V rows where
 * it is not 0, and rows of 0 where there are none. No gradient. Errors: N is 0; the mask does not fit. */
ts_value ts_tile_rows(ts_value x, ts_value mask, int64_t K);

/* Those below take any dtype; reals have a gradient, which moves the elements back. */

/* Elements start ... start + length - 1 of an axis. torch.narrow. Errors: a range beyond the axis. */
ts_value ts_slice(ts_value x, int axis, int64_t start, int64_t length);

/* `value` put before and after x along an axis. torch.nn.functional.pad. Errors: negative amounts. */
ts_value ts_pad(ts_value x, int axis, int64_t before, int64_t after, double value);

/* One after the other along an axis; the other axes agree. At most TS_MAX_IN. torch.cat */
ts_value ts_concat(const ts_value *x, int count, int axis);

/* Axis i of the result is axis order[i] of x; as many entries as x has axes. torch.permute. Errors: no permutation. */
ts_value ts_permute(ts_value x, const int *order);

#endif
