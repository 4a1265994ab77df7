/* Convolutions that end in 1 to 4 channels: the last layer of a decoder, the gradient of the layer after the latents.
 * oneDNN's vectors run over the channels that come out, so it reaches 5 to 20 % of the arithmetic there; these run over
 * the many that go in. Measured, 2 threads of a Zen 4, 256 images, against oneDNN 2.6.3: 3x3 from 16 to 1 on 28x28
 * forward 0.7 for 4.2 ms, weights 0.36 for 3.9 ms; transposed 4x4 stride 2 from 64 to 3 on 32x32 3.2 for 9.8 ms; 3x3
 * from 64 to 4 on 8x8, forward 0.7 for 2.4 ms and weights 0.7 for 2.4 ms (one thread). */
#ifndef TS_CORE_CPU_THIN_H
#define TS_CORE_CPU_THIN_H

#include "core/cpu/dnnl.h"

/* Whether the pass over this shape is one of these: 1 to 4 channels in y (forward, weights) or in x (data), a multiple
 * of 16 on the other side, one group, and a small kernel. */
bool ts_thin_fits(const ts_dnnl_conv *shape, ts_dnnl_pass pass);

size_t ts_thin_scratch_bytes(const ts_dnnl_conv *shape, ts_dnnl_pass pass);

/* As the pass of a ts_dnnl, with memory for what it writes; bias [O] forward, [C] for data, or NULL. The result does
 * not depend on the number of threads. */
void ts_thin_forward(const ts_dnnl_conv *shape, float *y, const float *x, const float *w, const float *bias,
                     int threads);
void ts_thin_data(const ts_dnnl_conv *shape, float *x, const float *y, const float *w, const float *bias,
                  float *scratch, int threads);
void ts_thin_weights(const ts_dnnl_conv *shape, float *w, const float *x, const float *y, float *scratch, int threads);

#endif
