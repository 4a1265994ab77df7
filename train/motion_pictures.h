/* What a run shows of motion: one validation clip beside what the model makes of it, at each evaluation. */
#ifndef TS_TRAIN_MOTION_PICTURES_H
#define TS_TRAIN_MOTION_PICTURES_H

#include "train/experiment.h"

/* Can there be pictures: clips of motion whose columns are known? */
bool ts_has_motion_pictures(const ts_experiment *e);

/* Writes stem.png, a strip of poses, and stem.gif: the first clip of the validation split that can be read and has a
 * token, original beside reconstruction, its first `frames` frames. `about` ("step 500") becomes part of the title; ema
 * as ts_inference_open.
 * Errors: of the data, the model, the libraries that draw, the disk. */
ts_status ts_motion_pictures(ts_experiment *e, bool ema, int64_t frames, const char *stem, const char *about,
                             ts_error *err);

#endif
