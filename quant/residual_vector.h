/* Residual vector quantization (RVQ; Zeghidour et al. 2021, as in lucidrains' ResidualVQ): layers of one of the kinds
 * of quant/vector.h, each with a codebook of its own, each on what the layers before it left over. */
#ifndef TS_QUANT_RESIDUAL_VECTOR_H
#define TS_QUANT_RESIDUAL_VECTOR_H

#include "quant/residual.h"
#include "quant/vector.h"

extern const ts_quantizer_kind ts_residual_vector_kind, ts_residual_vector_ema_kind, ts_residual_vector_reset_kind;

typedef struct {
    int64_t layers;
    int64_t dropout; /* in training a random number of layers from this one to all is in use; 0: always all */
} ts_residual_options;

/* Each begins with the options of a layer. */
typedef struct {
    ts_vector_options layer;
    ts_residual_options residual;
} ts_residual_vector_options;

typedef struct {
    ts_vector_ema_options layer;
    ts_residual_options residual;
} ts_residual_vector_ema_options;

typedef struct {
    ts_vector_reset_options layer;
    ts_residual_options residual;
} ts_residual_vector_reset_options;

#endif
