/* A session: a tokenizer at work. It encodes items to tokens and decodes them back, with memory and programs of its own
 * over weights that any number of sessions read. models/codec.h makes one from a file.
 *
 * Images are of the model's own shape. Motion has any length: what a clip has beyond whole tokens is cropped at its
 * tail, and a program is planned for each length that comes (models/by_length.h). A row of x is what the tokenizer's
 * user has: where motion is normalised the session does it, and undoes it in what it decodes.
 *
 * Batches: items go through `batch` at a time. What comes out of an item does not depend on which others lie beside
 * it, but may in its last bits depend on the size of the batch.
 *
 * Thread: one at a time on a session, any number of sessions over one store. What computing sets in the calling thread
 * (OpenMP's number of threads, flushing of denormals) is put back before a call returns. */
#ifndef TS_MODELS_SESSION_H
#define TS_MODELS_SESSION_H

#include "autograd/program.h"
#include "models/tokenizer.h"

typedef struct ts_session ts_session;

typedef struct {
    const ts_tokenizer *tokenizer; /* checked; its options must outlive the session */
    ts_store *store;               /* sealed, filled; must outlive the session, and is only read */
    ts_workspace *workspace;
    ts_device *device;       /* of the workspace */
    bool owns_device;        /* the session frees workspace and device, also where it cannot be made */
    int block;               /* TS_BLOCK_VALUE, or TS_BLOCK_EMA for the moving averages of the weights */
    bool bf16;               /* products of encoder and decoder in bf16, as the model was trained */
    bool fold;               /* nearest upsampling inside of convolutions (autograd/fold.h), as the model was trained */
    bool fuse;               /* chains of elementwise ops in one pass (autograd/fuse.h), which changes no bit */
    int64_t batch;           /* items in one run, at least 1 */
    int64_t longest;         /* frames in one run; longer clips go in pieces; 0: none does */
    const float *mean, *std; /* [C] of motion, std > 0: the model sees (x - mean) / std; NULL, both: x */
} ts_session_options;

/* Owner: ts_session_free. Errors: out of memory. Programs are planned when they are first needed. */
ts_status ts_session_new(ts_session **session, const ts_session_options *options, ts_error *err);
void ts_session_free(ts_session *session); /* NULL is fine */

/* Tokens of an item of so many frames (0: of the model's own length, or an image); frames of so many tokens. */
int64_t ts_session_tokens(const ts_session *session, int64_t frames);
int64_t ts_session_frames(const ts_session *session, int64_t tokens);

/* x [items, H, W, C] or [items, frames, C] -> ids [items, tokens, groups], tokens = ts_session_tokens(frames).
 * frames: of each item of motion; 0, and for images always: the model's own. An id is -1 where a value that it depends
 * on is not finite.
 * Errors: usage (frames of an image; a quantizer without ids), data (too short for a token), memory, device. */
ts_status ts_session_encode(ts_session *session, const float *x, int64_t items, int64_t frames, int32_t *ids,
                            ts_error *err);

/* ids [items, tokens, groups] -> y [items, H, W, C] or [items, frames, C], frames = ts_session_frames(tokens). tokens:
 * of each item of motion; 0, and for images always: the model's own.
 * Errors: as of encode; data that name the place of an id that is no code. */
ts_status ts_session_decode(ts_session *session, const int32_t *ids, int64_t items, int64_t tokens, float *y,
                            ts_error *err);

/* Programs that were planned so far. */
int64_t ts_session_planned(const ts_session *session);

/* x [rows, columns] in place: (x - mean) / std, and back. Nothing where mean is NULL. Thread: pure. */
void ts_rows_normalize(const float *mean, const float *std, int64_t columns, int64_t rows, float *x);
void ts_rows_restore(const float *mean, const float *std, int64_t columns, int64_t rows, float *x);

#endif
