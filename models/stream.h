/* A causal tokenizer, block by block: frames go in as they come, tokens come out as soon as they are complete, and the
 * other way round. Whatever the blocks, the results are those of the whole clip: z and frames up to the rounding of a
 * convolution over another length (1e-6 of the largest value was seen), and so the same ids, but for a z that lies that
 * near to the border of two codes. In bf16 the pasts of layers are f32, so other numbers are rounded than in a whole
 * clip, and the two agree to the rounding of bf16 only.
 *
 *     ts_stream *s;
 *     TS_TRY(ts_stream_new(&s, &tokenizer, store, workspace, (ts_stream_options){.kind = TS_STREAM_ENCODE}, err));
 *     while ((frames = camera(x))) {                                     // x [frames, C], normalised as in training
 *         int64_t tokens = ts_stream_tokens(s, frames);                  // that these frames complete
 *         TS_TRY(ts_stream_encode(s, x, frames, ids, NULL, err));        // ids [tokens, groups]
 *         send(ids, tokens);
 *     }
 *     ts_stream_reset(s);                                                // the next clip
 *     ts_stream_free(s);
 *
 * Every causal layer keeps the frames that its taps reach back (layers/causal.h), so a frame is computed once, however
 * small the blocks are. A run also copies those pasts and packs the weights, which for few tokens is most of it: the
 * encoder of T2M-GPT's size (width 512) takes 15 ms of one core for a block of 1 to 4 tokens, 19 ms for 16, and 37 ms
 * for a whole clip of 64. The latency is the frames of a token. What the clip's end leaves of a token is never given.
 *
 * Owner: the stream owns its programs; tokenizer (its options too), store and workspace must live as long.
 * Thread: one per workspace. */
#ifndef TS_MODELS_STREAM_H
#define TS_MODELS_STREAM_H

#include "autograd/program.h"
#include "models/tokenizer.h"

typedef struct ts_stream ts_stream;

typedef enum { TS_STREAM_ENCODE, TS_STREAM_DECODE } ts_stream_kind;

typedef struct {
    ts_stream_kind kind;
    int block;      /* TS_BLOCK_VALUE, or TS_BLOCK_EMA to read the moving averages of the weights */
    bool bf16;      /* products of encoder and decoder in bf16 (autograd/precision.h), as the model was trained */
    int64_t tokens; /* in one run where so many have come, which is faster than one by one; at most 1: always one */
} ts_stream_options;

/* Plans its programs. tokenizer: checked. store: sealed.
 * Errors: usage (the model is not causal, or mixes frames by a norm or by attention; it computes no ids), memory. */
ts_status ts_stream_new(ts_stream **stream, const ts_tokenizer *tokenizer, ts_store *store, ts_workspace *workspace,
                        ts_stream_options options, ts_error *err);
void ts_stream_free(ts_stream *stream);

/* Begins a new clip. After an error it must. */
void ts_stream_reset(ts_stream *stream);

/* Frames of a token; tokens that so many more frames will complete. */
int64_t ts_stream_frames_per_token(const ts_stream *stream);
int64_t ts_stream_tokens(const ts_stream *stream, int64_t frames);

/* x [frames, C] -> ids [tokens, groups] and, where it is not NULL, z [tokens, D], with tokens =
 * ts_stream_tokens(frames) before the call. An id is -1 where a frame that it depends on is not finite. Errors: device.
 */
ts_status ts_stream_encode(ts_stream *stream, const float *x, int64_t frames, int32_t *ids, float *z, ts_error *err);

/* ids [tokens, groups] -> y [tokens * frames per token, C]. Errors: device. */
ts_status ts_stream_decode(ts_stream *stream, const int32_t *ids, int64_t tokens, float *y, ts_error *err);

#endif
