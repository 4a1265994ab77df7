/* A trained tokenizer from a file, for programs that use one: images or motion to tokens and back, in a dozen lines.
 *
 *     ts_error err;
 *     ts_codec *codec;
 *     ts_session *session;
 *     TS_TRY(ts_codec_open(&codec, "runs/fsq/checkpoints/best.h5", (ts_codec_options){0}, &err));
 *     const ts_codec_info *info = ts_codec_info_of(codec);                   // what goes in, and what comes out
 *     TS_TRY(ts_codec_session(codec, 16, &session, &err));                   // 16 items in one run
 *     int32_t *ids = malloc(images * info->tokens_per_item * info->groups * sizeof *ids);
 *     TS_TRY(ts_session_encode(session, x, images, 0, ids, &err));           // x [images, H, W, C]
 *     TS_TRY(ts_session_decode(session, ids, images, 0, y, &err));           // y [images, H, W, C]
 *     ts_session_free(session);
 *     ts_codec_close(codec);
 *
 * The file is a checkpoint, or a safetensors file that `tessera export` wrote; the results are those of `tessera
 * encode` and `tessera decode`, bit for bit where the batches have the same size and the device as many threads. Where
 * the run had moving averages of its weights they are what is used, as there.
 *
 * Errors: one line that says what was expected, found, where, and what to do; ts_status is the program's exit code:
 * checkpoint (missing, truncated, damaged, of another model), usage, data, device, run-time (memory).
 * Thread: an open codec may be used from any number of threads, each with sessions of its own. */
#ifndef TS_MODELS_CODEC_H
#define TS_MODELS_CODEC_H

#include "models/pixels.h"
#include "models/session.h"

typedef struct ts_codec ts_codec;

typedef struct {
    const char *device; /* auto, cpu, ref, cuda or cuda:N (core/device.h); NULL: auto */
    int threads;        /* of each session on a CPU; 0: all that this process may run on */
    bool no_ema;        /* the weights themselves, where the file has moving averages of them */
} ts_codec_options;

typedef struct {
    const char *model, *quantizer; /* kinds: "motion_conv", "finite_scalar" */
    ts_shape item;                 /* [H, W, C], or [T, C] of motion: the length that it was trained on */
    ts_shape tokens;               /* of such an item: [h, w] or [t] */
    int64_t tokens_per_item;       /* h * w, or t */
    int64_t groups;                /* ids of a token */
    int64_t codes;                 /* ids are 0 to codes - 1 */
    int64_t frames_per_token;      /* of motion; 0: items are images */
    ts_range range;                /* of the values of an image; ts_pixels_to_float makes them of bytes */
    bool normalised;               /* motion: x and y are values as the data has them, the session normalises */
    const char *weights; /* one number for all of them, as tokens files carry it; "" where the file has none */
} ts_codec_info;

/* Owner: ts_codec_close, after its sessions have been freed. */
ts_status ts_codec_open(ts_codec **codec, const char *path, ts_codec_options options, ts_error *err);
void ts_codec_close(ts_codec *codec); /* NULL is fine */

/* Lives as long as the codec. */
const ts_codec_info *ts_codec_info_of(const ts_codec *codec);

/* A session of `batch` items in one run, at least 1, with memory of its own over the codec's weights. On a GPU it
 * belongs to the thread that makes it. Owner: ts_session_free. */
ts_status ts_codec_session(const ts_codec *codec, int64_t batch, ts_session **session, ts_error *err);

#endif
