/* Batches of a data set, filled ahead of time by one thread into a ring of buffers, so that reading costs the training
 * loop nothing as long as it is faster than a step on average.
 *
 *     ts_loader *loader;
 *     TS_TRY(ts_loader_open(&loader, data, (ts_loader_options){.batch = 64, .train = true, .seed = 1}, err));
 *     for (int64_t step = 0; step < steps; step++) {
 *         ts_batch batch;
 *         TS_GO(ts_loader_next(loader, &batch, err));          // batch.data [64, H, W, C]
 *         ...
 *     }
 *     ts_loader_close(loader);
 *
 * Order. In training, batch n (0, 1, 2 ...) is the same items, crops and mirrors whenever it is asked for: epoch
 * n / batches_per_epoch has its own permutation, drawn from (seed, epoch), and what does not fill a batch at its end is
 * left out. So the state of a loader is one number: open with first_batch = n, and what follows is what would have
 * followed. In evaluation items come in their own order, once, and the last batch may be short. */
#ifndef TS_TRAIN_LOADER_H
#define TS_TRAIN_LOADER_H

#include <stdbool.h>
#include <stdint.h>

#include "core/status.h"
#include "train/data.h"

typedef struct {
    int64_t batch;       /* items in a batch; at least 1 */
    bool train;          /* shuffled and endless; otherwise in order, once */
    uint64_t seed;       /* of the order; in training only */
    int64_t first_batch; /* the first that ts_loader_next gives */
    int buffers;         /* in the ring, the consumer's one included; 0: 4. At least 2 */
} ts_loader_options;

typedef struct {
    const float *data;      /* [batch, item]; rows from `count` on are zero. The loader's; valid until the next call */
    const int32_t *lengths; /* [batch] how much of each item's first axis is data, 0 from `count` on; as long valid as
                               data. NULL: all of it, in every item that this data set has */
    int64_t count;          /* items in it; 0: the evaluation is over (data is NULL) */
    int64_t number;         /* of the batch, since the start of training or of the evaluation */
    int64_t epoch;
} ts_batch;

typedef struct ts_loader ts_loader;

/* Starts reading at once. `data` must outlive the loader; it may serve other loaders at the same time.
 * Owner: the caller closes. Errors: TS_ERR_USAGE (batch larger than the data set in training), TS_ERR_RUNTIME. */
ts_status ts_loader_open(ts_loader **loader, ts_dataset *data, ts_loader_options options, ts_error *err);

/* The next batch; waits for it where it is not ready.
 * Errors: what the data set said, after the whole batches before it, and again on every later call.
 * Thread: one consumer. */
ts_status ts_loader_next(ts_loader *loader, ts_batch *batch, ts_error *err);

/* Batches of one epoch: floor(items / batch) in training, rounded up in evaluation. */
int64_t ts_loader_batches_per_epoch(const ts_loader *loader);

/* Nanoseconds that ts_loader_next has waited so far. Thread: the consumer. */
int64_t ts_loader_waited_ns(const ts_loader *loader);

/* Stops the thread after the item that it is reading. NULL is fine. */
void ts_loader_close(ts_loader *loader);

#endif
