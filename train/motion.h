/* What a run knows of motion: what the columns of a frame mean, and how their values are normalised. It is the data's
 * until a model is trained, and the model's from then on: a checkpoint holds it (train/checkpoint_motion.h), so that
 * decoding, pictures and evaluation need no data set.
 *
 * A plain value; mean and std belong to whoever made it. */
#ifndef TS_TRAIN_MOTION_H
#define TS_TRAIN_MOTION_H

#include <stdbool.h>
#include <stdint.h>

#include "core/memory.h"
#include "core/status.h"
#include "core/tensor.h"
#include "models/motion_layout.h"

typedef struct {
    bool known;              /* the data or a checkpoint has said it; else it is what the shape of an item lets guess */
    int64_t columns;         /* of a frame; 0: items are no sequences of frames, and the rest is empty */
    ts_motion_layout layout; /* layout.columns is 0 where nobody knows what the columns mean */
    const float *mean, *std; /* [columns], std > 0: a model sees (value - mean) / std; NULL, both: the values */
} ts_motion;

/* The layout, or NULL where it is not known. It lives as long as *motion. */
const ts_motion_layout *ts_motion_layout_known(const ts_motion *motion);

/* Items of this shape and no more said: frames where it is [T, C], with the preset layout of C columns if there is one.
 */
ts_motion ts_motion_guess(ts_shape item);

/* Motion as a user describes it, known and not normalised. layout: "auto", a preset by its number of columns, if there
 * is one; or as ts_motion_layout_named takes it. fps: frames a second; 0: the layout's. columns: of the data's frames;
 * 0: not known yet, and *motion has the layout's own number, 0 for "auto". Errors: TS_ERR_USAGE as
 * ts_motion_layout_named, and fps without a layout; TS_ERR_DATA where data and layout have different numbers of
 * columns. */
ts_status ts_motion_describe(ts_motion *motion, const char *layout, double fps, int64_t columns, ts_error *err);

/* A copy whose mean and std are in the arena. Errors: out of memory. */
ts_status ts_motion_copy(ts_motion *to, const ts_motion *from, ts_arena *arena, ts_error *err);

/* x [frames, columns] in place: from values to what a model sees, and back. Nothing where there is no mean.
 * Thread: pure. */
void ts_motion_normalize(const ts_motion *motion, int64_t frames, float *x);
void ts_motion_restore(const ts_motion *motion, int64_t frames, float *x);

/* Are a and b normalised alike, bit for bit? If not, `text` says where: "column 3 has mean 0.5 and std 1, not mean 0.25
 * and std 1", a's values first. */
bool ts_motion_same_values(const ts_motion *a, const ts_motion *b, char *text, size_t bytes);

#endif
