/* Binary spherical quantization (Zhao et al. 2024, BSQ): z is brought to length 1, and its code is the corner of the
 * cube inside that sphere on its side, +-1/sqrt(bits) each. Ids, and the entropy of the batch, are of groups of bits.
 */
#ifndef TS_QUANT_SPHERICAL_H
#define TS_QUANT_SPHERICAL_H

#include "quant/quantizer.h"

extern const ts_quantizer_kind ts_spherical_kind;

typedef struct {
    ts_stack_options stack;
    int64_t bits;  /* of a token, L */
    int64_t group; /* bits of an id: bits / group ids for each token, of 2^group codes each */
    double inv_temperature;
    double entropy;               /* weight of (per_sample * H(sample) - diversity * H(batch)) / inv_temperature */
    double per_sample, diversity; /* 0 for entropy: neither is computed */
    double commitment;            /* weight of the mean over tokens of |z - sg(q)|^2; 0: not computed */
} ts_spherical_options;

#endif
