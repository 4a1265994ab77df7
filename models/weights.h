/* The weights of a tokenizer in a safetensors file, under the names of the published implementation
 * (models/published_names.h) or our own paths; PyTorch's shapes either way. */
#ifndef TS_MODELS_WEIGHTS_H
#define TS_MODELS_WEIGHTS_H

#include "core/files/safetensors.h"
#include "models/tokenizer.h"

typedef enum { TS_WEIGHTS_PUBLISHED, TS_WEIGHTS_OWN } ts_weights_names;

typedef struct {
    ts_weights_names names;
    bool ema;                    /* the moving averages of the weights, where the store has them */
    bool state;                  /* the quantizer's counts and sums too: what only training needs */
    const char *const *metadata; /* as ts_safetensors_write */
} ts_weights_export_options;

/* Writes every parameter, and of the state what encoding and decoding need. *tensors: how many were written.
 * Errors: TS_ERR_USAGE published names of a model that nobody has published; TS_ERR_DATA the file. */
ts_status ts_weights_export(const ts_tokenizer *tokenizer, ts_store *store, const char *path,
                            const ts_weights_export_options *options, int64_t *tensors, ts_error *err);

typedef struct {
    ts_weights_names names;   /* that the file has */
    char prefix[64];          /* before each of them: "vqvae." */
    int64_t tensors;          /* taken */
    int64_t unused;           /* tensors of the file that this model has no place for */
    const char *first_unused; /* the name of one of them, in the file's memory; NULL: none */
    int64_t missing_state;    /* counts and sums that are not in the file: 1, and the codebook */
} ts_weights_found;

/* Fills the sealed store. Names are told by what the file has: ours, or the published ones, with a prefix that all have
 * in common. Every parameter and the codebook must be there, of its shape and of floats; F16, BF16 and F64 become f32.
 * Nothing is changed unless all fit.
 * Errors: TS_ERR_CHECKPOINT that names the first tensor that is missing or differs. */
ts_status ts_weights_import(const ts_tokenizer *tokenizer, ts_store *store, const ts_safetensors *file,
                            const char *path, ts_weights_found *found, ts_error *err);

#endif
