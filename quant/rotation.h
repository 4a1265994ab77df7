/* The rotation trick (Fifty et al. 2024): what a quantizer's gradient can be in place of straight-through. */
#ifndef TS_QUANT_ROTATION_H
#define TS_QUANT_ROTATION_H

#include "autograd/graph.h"

/* The value of `code`, and for z the gradient of the rotation and stretching that takes it there, which count as
 * constant.
 *   z, code  [N, D]
 *   grad     dz = l (g - 2 r (r.g) + 2 u (q.g)),  u = z/|z|, q = code/|code|, r = (u + q)/|u + q|, l = |code|/|z|;
 *            lengths at least 1e-6. dz = g where u.q < -0.99: r has no direction there. dcode = 0
 *   errors   other shapes */
ts_value ts_rotate_to(ts_value z, ts_value code);

/* What a kind with the option `rotation` says of its gradient (core/formula.h). */
#define TS_FORMULA_ROTATION                                                                                            \
    "@gradient\n"                                                                                                      \
    "[!rotation]d out / d z = 1: straight-through\n"                                                                   \
    "[rotation]dz = l (g - 2 r (r.g) + 2 u (q.g)),  g = d total / d out, u = z / |z|, q = e_k / |e_k|,\n"              \
    "[rotation]     r = (u + q) / |u + q|, l = |e_k| / |z|;  straight-through where u.q < -0.99\n"

#endif
