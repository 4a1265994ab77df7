/* A complete tokenizer: a model around a quantizer, for items of one shape. Its parameters lie under "encoder",
 * "quantizer" and "decoder". Encoder and decoder are built where products may be rounded (autograd/precision.h), the
 * quantizer is not: the same z has the same ids, whatever the precision. */
#ifndef TS_MODELS_TOKENIZER_H
#define TS_MODELS_TOKENIZER_H

#include "models/model.h"
#include "quant/quantizer.h"

typedef struct {
    const ts_model_kind *model;
    const void *model_options;
    const ts_quantizer_kind *quantizer;
    const void *quantizer_options;
    ts_shape item;          /* [H, W, C] or [T, C] */
    ts_shape tokens;        /* filled by ts_tokenizer_check: [h, w] or [t] */
    ts_quantizer_info info; /* filled by ts_tokenizer_check */
} ts_tokenizer;

/* Do the parts fit each other and the items? Errors: usage. */
ts_status ts_tokenizer_check(ts_tokenizer *tokenizer, ts_error *err);

/* Adds every variable of the tokenizer to a store that is not sealed yet: of a program that infers, which has no
 * others. Errors: usage, a model that does not fit. */
ts_status ts_tokenizer_variables(const ts_tokenizer *tokenizer, ts_store *store, ts_error *err);

typedef struct {
    ts_value z; /* [B, tokens, D] */
    ts_quantized q;
    ts_value y; /* [B, item] */
} ts_tokenized;

/* x [B, item] through all of it. `continuous`: a [] that lets z pass unquantized where it is 1 (warm-up), or TS_ABSENT.
 * Tokens that do not count (s.mask [B, tokens]) are 0 to the decoder either way. */
ts_tokenized ts_tokenizer_forward(ts_scope s, const ts_tokenizer *tokenizer, ts_value x, ts_value continuous);

/* x [B, item] -> z [B, tokens, D]: the encoder alone. */
ts_value ts_tokenizer_z(ts_scope s, const ts_tokenizer *tokenizer, ts_value x);

/* x [B, item] -> ids [B, tokens, groups]; ids [.., groups] -> codes [.., D]; ids -> y [B, item]. */
ts_value ts_tokenizer_encode(ts_scope s, const ts_tokenizer *tokenizer, ts_value x);
ts_value ts_tokenizer_codes(ts_scope s, const ts_tokenizer *tokenizer, ts_value ids);
ts_value ts_tokenizer_decode(ts_scope s, const ts_tokenizer *tokenizer, ts_value ids);

/* The first batch's part of the quantizer's state, one of ts_quantizer_stages. */
void ts_tokenizer_init(ts_scope s, const ts_tokenizer *tokenizer, ts_value x, int stage);

#endif
