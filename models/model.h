/* A model: an encoder and a decoder around any quantizer. A kind is one file of this folder, one line of registry.c and
 * one option table. Images are [B, H, W, C], motion is [B, T, C]. */
#ifndef TS_MODELS_MODEL_H
#define TS_MODELS_MODEL_H

#include "autograd/scope.h"
#include "core/option.h"

typedef struct ts_model_kind {
    const char *name; /* "image_classic" */
    const ts_option_table *table;

    /* Does the model take items of this shape ([H, W, C] or [T, C])? Fills the shape of an item's tokens
     * ([h, w] or [t]).
     * Errors: usage, naming what does not fit. */
    ts_status (*check)(const void *options, ts_shape item, ts_shape *tokens, ts_error *err);

    /* x [B, item] -> z [B, tokens, width] */
    ts_value (*encode)(ts_scope s, const void *options, ts_value x, int64_t width);

    /* codes [B, tokens, width] -> y [B, item], `channels` of them */
    ts_value (*decode)(ts_scope s, const void *options, ts_value codes, int64_t channels);

    /* Can it go block by block along the first axis of an item, with ts_scope.pasts (models/stream.h)? NULL: never.
     * Errors: usage, saying why not. */
    ts_status (*streams)(const void *options, ts_error *err);
} ts_model_kind;

extern const ts_model_kind *const ts_model_kinds[]; /* NULL-terminated */
const ts_model_kind *ts_model_find(const char *name);

#endif
