/* Latent quantization (Hsu et al. 2023): each of a few numbers is taken to the nearest of its own learned values, so
 * that a code is a point of a grid whose lines move. */
#ifndef TS_QUANT_LATENT_H
#define TS_QUANT_LATENT_H

#include "quant/quantizer.h"

extern const ts_quantizer_kind ts_latent_kind;

typedef struct {
    ts_stack_options stack;
    ts_int_list levels; /* values of each dim of a code */
    int64_t codebooks;  /* c: groups of dims with the same values; each gives an id */
    double commitment;  /* weight of mean((z - sg(v))^2) */
    double codebook;    /* weight of mean((v - sg(z))^2), which moves the values; 0: they stay */
} ts_latent_options;

#endif
