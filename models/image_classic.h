/* The image model of the VQ-VAE paper as zalando's notebook and sonnet have it: strided 4x4 convolutions, a residual
 * stack, transposed convolutions. */
#ifndef TS_MODELS_IMAGE_CLASSIC_H
#define TS_MODELS_IMAGE_CLASSIC_H

#include "models/model.h"

extern const ts_model_kind ts_image_classic_kind;

typedef struct {
    int64_t hidden;          /* channels of the stack; half of them after the first convolution */
    int64_t residual_hidden; /* channels inside a residual block */
    int64_t residual_layers;
} ts_image_classic_options;

#endif
