/* Inside the command `decode`: where it puts items. */
#ifndef TS_TRAIN_DECODE_SINK_H
#define TS_TRAIN_DECODE_SINK_H

#include "train/experiment.h"
#include "train/token_source.h"

typedef enum {
    TS_DECODE_PICTURES, /* a folder: NAME.png */
    TS_DECODE_ARRAYS,   /* a folder: NAME.npy, f32 [frames, columns] */
    TS_DECODE_HDF5,     /* /images [items, H, W, C], or /motion [items, longest, columns] and /lengths; /names */
} ts_decode_kind;

typedef struct {
    const char *path;
    ts_decode_kind kind;
    const ts_experiment *e;
    const ts_token_source *source;
    int64_t values; /* of one item in HDF5, the longest one of motion */
    float *all;     /* [items, values] */
    uint8_t *pixels;
    ts_arena arena;
} ts_decode_sink;

/* What fits the path and the items: a path that ends in .h5 is HDF5. All arguments must outlive the sink.
 * Owner: ts_decode_sink_close, also after a failure. Errors: data; usage: items that are neither pictures nor motion
 * into a folder. */
ts_status ts_decode_sink_open(ts_decode_sink *sink, const char *path, const ts_experiment *e,
                              const ts_token_source *source, ts_error *err);
void ts_decode_sink_close(ts_decode_sink *sink);

/* Item i of the source: an image, or a clip of its tokens' frames, as the model gives it; of motion restored here, in
 * place, to values. Errors: data; a name that leads out of the folder is one of the file of tokens. */
ts_status ts_decode_sink_put(ts_decode_sink *sink, int64_t i, float *y, ts_error *err);

/* After the last item. */
ts_status ts_decode_sink_finish(ts_decode_sink *sink, ts_error *err);

/* Frames of item i, 0 for images. */
int64_t ts_decode_sink_frames(const ts_decode_sink *sink, int64_t i);

#endif
