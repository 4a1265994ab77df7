/* Lookup-free quantization (Yu et al. 2023, MAGVIT-v2): a code is the signs of a few numbers, the id their bits; an
 * entropy penalty keeps codes certain and in use. Entropies without a table of all codes: quant/sign_code.h.
 * Layers (after lucidrains' ResidualLFQ) have half the scale of the one before. */
#ifndef TS_QUANT_LOOKUP_FREE_H
#define TS_QUANT_LOOKUP_FREE_H

#include "quant/quantizer.h"

extern const ts_quantizer_kind ts_lookup_free_kind;

typedef struct {
    ts_stack_options stack;
    int64_t bits;           /* d of one codebook, which has 2^d codes */
    int64_t codebooks;      /* c: independent groups of bits */
    double scale;           /* codes are +-scale; spherical: of that length */
    bool spherical;         /* z and codes of each codebook are brought to the length `scale` */
    bool rotation;          /* z R before and codes R^T after, R a fixed random orthogonal matrix */
    double soft_clamp;      /* z = a tanh(z / a); 0: not */
    double inv_temperature; /* of the probabilities that the entropies are of */
    double entropy;         /* weight of H(sample) - diversity * H(batch); 0: neither is computed */
    double diversity;
    bool softplus; /* the penalty is log(1 + exp(that + softplus_offset)): never negative */
    double softplus_offset;
    double commitment; /* weight of mean((z - sg(q))^2); 0: not computed */
} ts_lookup_free_options;

#endif
