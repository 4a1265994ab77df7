/* What a run starts from, for comparisons with another framework (tests/interop/train_compare.py). */
#ifndef TS_TRAIN_DUMP_H
#define TS_TRAIN_DUMP_H

#include "train/experiment.h"

/* Writes an HDF5 file: /param/<path> every parameter and piece of quantizer state, in PyTorch's layouts, and
 * /batch/<i>, f32 [B, item], the first `batches` training batches, with /lengths/<i>, i32 [B], where items may be
 * shorter (ts_batch). Errors: run-time (the file cannot be written), data. */
ts_status ts_dump_start(ts_experiment *e, const char *path, int64_t batches, ts_error *err);

#endif
