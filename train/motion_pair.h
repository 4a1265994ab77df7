/* A clip of motion and what a model makes of it, ready to be drawn beside each other. */
#ifndef TS_TRAIN_MOTION_PAIR_H
#define TS_TRAIN_MOTION_PAIR_H

#include "train/experiment.h"
#include "train/motion_render.h"

typedef struct {
    ts_skeleton original, reconstruction; /* of as many frames: those of whole tokens */
    double mpjpe_mm;                      /* between them (models/motion_metrics.h) */
    char label[64];                       /* "reconstruction, MPJPE 41.2 mm" */
} ts_motion_pair;

/* Runs the clip of `frames` frames, values as they are [frames, columns of the experiment's motion], through the model;
 * ema as ts_inference_open. Only its first `limit` frames; 0: all. `name` is for messages. `e` must outlive the pair,
 * and its store is sealed.
 * Owner: ts_motion_pair_clear, also after an error.
 * Errors: TS_ERR_USAGE nobody knows what the columns mean. TS_ERR_DATA fewer frames than a token has; a value that is
 * not finite, in the clip or in what the model made of it. Of the device; out of memory. */
ts_status ts_motion_pair_make(ts_motion_pair *pair, ts_experiment *e, bool ema, const char *name, const float *values,
                              int64_t frames, int64_t limit, ts_error *err);
/* The same of clip number `place` of a list of the experiment's data, which *frames gets the frames of, in all.
 * Errors: of the data, too. */
ts_status ts_motion_pair_clip(ts_motion_pair *pair, ts_experiment *e, bool ema, const ts_clip_list *clips,
                              int64_t place, int64_t limit, int64_t *frames, ts_error *err);

void ts_motion_pair_clear(ts_motion_pair *pair);

/* Both with their labels, at the layout's rate; title, first and size are left alone. */
void ts_motion_pair_show(const ts_motion_pair *pair, ts_skeleton_show *show);

#endif
