/* Random projection quantization (Chiu et al. 2022, BEST-RQ): a frozen random matrix, and the nearest of frozen random
 * directions. Nothing of the codebook is learned, so that nothing can collapse; in the paper ids of features are the
 * targets of another model. */
#ifndef TS_QUANT_RANDOM_PROJECTION_H
#define TS_QUANT_RANDOM_PROJECTION_H

#include "quant/quantizer.h"

extern const ts_quantizer_kind ts_random_projection_kind;

typedef struct {
    ts_stack_options stack;
    int64_t codes;     /* K of each codebook */
    int64_t dim;       /* D: channels in and out */
    int64_t code_dim;  /* E: what z is projected to */
    int64_t codebooks; /* c, each with a matrix of its own for the whole z; each gives an id */
    bool norm;         /* z has mean 0 and deviation 1 over its channels first */
} ts_random_projection_options;

#endif
