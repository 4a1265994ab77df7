/* Finite scalar perturbation (arXiv 2602.17133; lucidrains' FSP): each of a few numbers is brought to 0 ... 1 by a
 * distribution function and cut into equal bins. In training the number is moved within a bin's width in place of
 * being rounded, so that the gradient is a true one. A loss on the moments of z keeps the bins in use. */
#ifndef TS_QUANT_SCALAR_PERTURBATION_H
#define TS_QUANT_SCALAR_PERTURBATION_H

#include "quant/quantizer.h"

extern const ts_quantizer_kind ts_scalar_perturbation_kind;

typedef struct {
    ts_stack_options stack;
    ts_int_list levels;   /* bins of each dim of a code */
    int activation;       /* the distribution function: tanh, sigmoid, normal, laplace */
    double quantize_rate; /* share of numbers that training quantizes; the others are moved */
    int norm;             /* a set of targets and weights for the moments of z */
    double norm_weight;
} ts_scalar_perturbation_options;

#endif
