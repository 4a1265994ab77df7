/* The model over clips of motion of any length, [frames, columns], as it sees them (normalised).
 *
 * A clip is cropped at its tail to whole tokens and runs through a program of exactly its length: no padding, no
 * windows, so that every token is made from all the frames around it. Programs are kept by how long they are
 * (models/by_length.h) and share the experiment's workspace. Only a clip of more than train.eval_frames frames runs in
 * pieces. Encode, decode and forward cut at the same places.
 *
 * One clip at a time: what comes out never depends on which clips came before or beside it. */
#ifndef TS_TRAIN_CLIPS_H
#define TS_TRAIN_CLIPS_H

#include "train/programs.h"

typedef struct ts_clips ts_clips;

/* ema as ts_inference_open. `e`, with its store sealed, must outlive it. Owner: ts_clips_close.
 * Errors: usage where items are no [frames, columns].
 * Thread: one at a time on all programs of an experiment. */
ts_status ts_clips_open(ts_clips **clips, ts_experiment *e, bool ema, ts_error *err);
void ts_clips_close(ts_clips *clips); /* NULL is fine */

/* Frames of one token. */
int64_t ts_clips_token_frames(const ts_clips *clips);

/* What becomes of a clip of so many frames. */
typedef struct {
    int64_t tokens; /* 0: it is too short for one */
    int64_t frames; /* of these tokens; what the clip has more at its tail is cropped */
    int64_t pieces; /* 1, or more above train.eval_frames */
} ts_clip_cut;
ts_clip_cut ts_clips_cut(const ts_clips *clips, int64_t frames);

/* The losses of a clip beside the reconstruction: means, over pieces by their frames. */
typedef struct {
    int count;
    struct {
        const char *name;
        double weight, value;
    } term[TS_MAX_TERMS];
} ts_clip_losses;

/* `tokens` tokens, at least 1: x and y are [tokens * frames of one, columns], ids [tokens, groups].
 * Forward: ids is not written where the quantizer computes none.
 * Errors: out of memory, the device; usage where encode is asked of a quantizer without ids. */
ts_status ts_clips_encode(ts_clips *clips, const float *x, int64_t tokens, int32_t *ids, ts_error *err);
ts_status ts_clips_decode(ts_clips *clips, const int32_t *ids, int64_t tokens, float *y, ts_error *err);
ts_status ts_clips_forward(ts_clips *clips, const float *x, int64_t tokens, float *y, int32_t *ids,
                           ts_clip_losses *losses, ts_error *err);

/* Programs that were made so far. */
int64_t ts_clips_planned(const ts_clips *clips);

#endif
