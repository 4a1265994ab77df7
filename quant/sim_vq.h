/* SimVQ (Zhu et al. 2024): the codebook is a frozen random one times a learned matrix, so that the gradient of any code
 * moves all of them and none can die. */
#ifndef TS_QUANT_SIM_VQ_H
#define TS_QUANT_SIM_VQ_H

#include "quant/quantizer.h"

extern const ts_quantizer_kind ts_sim_vq_kind;

typedef struct {
    ts_stack_options stack;
    int64_t codes, dim; /* K, D */
    int64_t frozen_dim; /* width of the frozen codebook; 0: dim */
    bool bias;          /* the matrix has one */
    bool rotation;      /* the gradient to z is turned as the code is (rotation trick), else straight-through */
    double commitment;  /* weight of mean((z - sg(e))^2) */
    double codebook;    /* weight of mean((e - sg(z))^2), which moves the matrix */
    int beta_on;        /* ts_beta_on (quant/vector.h) */
} ts_sim_vq_options;

#endif
