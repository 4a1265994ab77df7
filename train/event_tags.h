/* A line of metrics as scalars of TensorBoard, under the tags that the training scripts of T2M-GPT and MotionMillion
 * use where they have one, and else under the line's own keys: docs/run-directory.md#tensorboard. */
#ifndef TS_TRAIN_EVENT_TAGS_H
#define TS_TRAIN_EVENT_TAGS_H

#include <jansson.h>

#include "train/event_file.h"
#include "train/train_options.h"

/* flat: ts_metrics_flat of a line. `loss` is what `recon` is. Errors: as ts_event_scalars. */
ts_status ts_event_metrics(const ts_event_file *file, const json_t *flat, bool train, int loss, ts_error *err);

/* A picture of the run directory, below the tag Test/. One that is not there is left out. */
ts_status ts_event_picture(const ts_event_file *file, int64_t step, const char *tag, const char *path, ts_error *err);

#endif
