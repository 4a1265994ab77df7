/* Convolution over time that sees no frame behind its own, over whole clips or block by block. */
#ifndef TS_LAYERS_CAUSAL_H
#define TS_LAYERS_CAUSAL_H

#include "layers/conv.h"

enum { TS_MAX_PASTS = 256 };

/* What the causal layers of a graph carry from one block of frames to the next: the frames before the block that their
 * taps reach. Per layer an input `before` and an output `after` of the same shape, [B, frames, channels]; zeros before
 * the first block are the padding that a whole clip gets. Filled while the graph is built (ts_scope.pasts). */
typedef struct ts_pasts {
    int count;
    struct {
        ts_value before, after;
    } layer[TS_MAX_PASTS];
} ts_pasts;

/* x [B, T, in] -> [B, T/stride, out]: frame t of the result depends on frames 0 ... t * stride + stride - 1 of x.
 * Padded with (kernel - 1) * dilation + 1 - stride zeros before the first frame, or preceded by as many frames of the
 * past where s.pasts is set. Of `opts`, kernel, stride and dilation count. Parameters as ts_conv1d_layer.
 * Errors: stride does not divide T; more than TS_MAX_PASTS layers. */
ts_value ts_causal_conv1d_layer(ts_scope s, ts_value x, int64_t out, ts_conv_layer opts);

#endif
