/* SimVQ (Zhu et al. 2024): the codebook is a frozen random one times a learned matrix, so that the gradient of any code
 * moves all of them and none can die. */
#ifndef TS_QUANT_SIM_VQ_H
#define TS_QUANT_SIM_VQ_H

#include "quant/quantizer.h"

extern const ts_quantizer_kind ts_sim_vq_kind;

typedef struct {
    int64_t codes, dim; /* K, D */
    int64_t frozen_dim; /* width of the frozen codebook; 0: dim */
    bool bias;          /* the matrix has one */
    bool rotation;      /* the gradient to z is turned as the code is (rotation trick), else straight-through */
    double commitment;  /* weight of mean((z - sg(e))^2) */
    double codebook;    /* weight of mean((e - sg(z))^2), which moves the matrix */
} ts_sim_vq_options;

/* The rotation trick (Fifty et al. 2024): the value of `code`, and for z the gradient of the rotation and stretching
 * that takes it there, which count as constant. z, code  [N, D] grad     dz = l (g - 2 r (r.g) + 2 u (q.g)),  u =
 * z/|z|, q = code/|code|, r = (u + q)/|u + q|, l = |code|/|z|; lengths at least 1e-6. dz = g where u.q < -0.99: r has
 * no direction there. dcode = 0 */
ts_value ts_rotate_to(ts_value z, ts_value code);

#endif
