/* A tokenizer as an ONNX model: its inference graph, op by op, in operators of ONNX's own domain.
 *
 *     encoder    x -> ids                     decoder    ids -> reconstruction
 *     tokenizer  x -> ids, reconstruction
 *
 *     x, reconstruction  f32 [batch, channels, height, width] as PyTorch has images, or [batch, length, channels]
 * motion; what the model is trained on: images in the range of the data, motion normalised ids                i64
 * [batch, token_height, token_width, groups] or [batch, tokens, groups]
 *
 * Batch, height, width and length are free where the model is: the graph is built at several sizes, and each dim of
 * each value must be one number at all of them, or a product of the input's sizes times a fixed ratio. */
#ifndef TS_MODELS_ONNX_H
#define TS_MODELS_ONNX_H

#include "core/files/onnx.h"
#include "models/tokenizer.h"

typedef enum { TS_ONNX_ENCODER, TS_ONNX_DECODER, TS_ONNX_TOKENIZER, TS_ONNX_PARTS } ts_onnx_part;
extern const char *const ts_onnx_part_names[TS_ONNX_PARTS + 1]; /* "encoder" ..., NULL */

/* block: TS_BLOCK_VALUE, or TS_BLOCK_EMA. The store is sealed and outlives nothing: weights are copied.
 * Errors: TS_ERR_USAGE naming the op that ONNX cannot say, or the size that is not free; out of memory.
 * Owner: ts_onnx_clear, after TS_OK. */
ts_status ts_onnx_of_tokenizer(ts_onnx_model *model, ts_onnx_part part, const ts_tokenizer *tokenizer, ts_store *store,
                               int block, ts_error *err);

/* Why an op cannot be exported, as "is of training alone"; NULL: it can. */
const char *ts_onnx_why_not(ts_op op);

#endif
