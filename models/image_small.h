/* The small autoencoder of lucidrains' examples: two poolings down, two nearest upsamplings up, about 10 000
 * parameters. */
#ifndef TS_MODELS_IMAGE_SMALL_H
#define TS_MODELS_IMAGE_SMALL_H

#include "models/model.h"

extern const ts_model_kind ts_image_small_kind;

typedef struct {
    int64_t width; /* channels of the first convolution; the second has twice as many */
} ts_image_small_options;

#endif
