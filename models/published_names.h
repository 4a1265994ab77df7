/* What the published implementation of a model calls its variables: the names in a PyTorch state dict.
 *
 *     image_classic   zalandoresearch/pytorch-vq-vae, the notebook
 *     motion_conv     Mael-zys/T2M-GPT and VankouF/MotionMillion-Codes, the module VQVAE_251 (their own checkpoints
 *                     put "vqvae." before each name)
 *     image_small     lucidrains' examples/autoencoder*.py: a list "layers", the quantizer being layers.6; residual
 * ones have layers.6.layers.N, grouped ones layers.6.rvqs.G.layers.N */
#ifndef TS_MODELS_PUBLISHED_NAMES_H
#define TS_MODELS_PUBLISHED_NAMES_H

#include "core/memory.h"
#include "models/tokenizer.h"

typedef enum {
    TS_PUBLISHED_PLAIN,
    TS_PUBLISHED_PATCHER, /* MotionMillion with its patcher, which is a layer of its own at each end */
} ts_published_variant;

/* The variant that the options ask for: a patcher where frames are folded. */
ts_published_variant ts_published_variant_of(const ts_tokenizer *tokenizer);

/* The name of the variable at `path` ("encoder.conv1.weight"), in the arena; NULL: the published code has no such
 * tensor in its state dict, or out of memory. */
const char *ts_published_name(const ts_tokenizer *tokenizer, ts_published_variant variant, const char *path,
                              ts_arena *arena);

/* "zalandoresearch/pytorch-vq-vae" ...: for people. NULL: no model is published under these names. */
const char *ts_published_by(const ts_tokenizer *tokenizer);

/* Axes of length 1 before the tensor's own, as lucidrains' codebooks have (a head): 0 or 1. */
int ts_published_leading_axes(const ts_tokenizer *tokenizer, const char *path);

#endif
