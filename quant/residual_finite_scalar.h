/* Residual finite scalar quantization, after lucidrains' ResidualFSQ: layers of the same grid, each on what the layers
 * before it left over, and finer than those by the number of levels. Together n layers are one even grid of L^n levels
 * a dim, read digit by digit: a token has an id per layer, the coarsest first, and the first few alone are a coarser
 * token. */
#ifndef TS_QUANT_RESIDUAL_FINITE_SCALAR_H
#define TS_QUANT_RESIDUAL_FINITE_SCALAR_H

#include "quant/residual.h"

extern const ts_quantizer_kind ts_residual_finite_scalar_kind;

typedef struct {
    ts_int_list levels; /* of each dim of a code, the same in all layers */
    int64_t layers;
    int64_t dim;     /* channels in and out; 0: levels.count. Another number: linear projections */
    bool hard_clamp; /* z through a soft clamp once, layers clamp; else every layer has its tanh */
    int64_t dropout; /* in training a random number of layers from this one to all is in use; 0: always all */
} ts_residual_finite_scalar_options;

#endif
