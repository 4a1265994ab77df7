/* Nearest upsampling and pooling, channels last. 1-D is 2-D of height 1. */
#ifndef TS_AUTOGRAD_RESAMPLE_H
#define TS_AUTOGRAD_RESAMPLE_H

#include "autograd/graph.h"

/* y[b, i, j, c] = x[b, i / factor_h, j / factor_w, c]
 *   x       [B, H, W, C]
 *   y       [B, H*factor_h, W*factor_w, C]
 *   grad    dx = the sum of dy over the copies
 *   errors  rank is not 4; a factor is below 1
 *   torch   torch.nn.functional.interpolate(mode="nearest") by whole factors */
ts_value ts_upsample_nearest2d(ts_value x, int64_t factor_h, int64_t factor_w);
ts_value ts_upsample_nearest1d(ts_value x, int64_t factor); /* [B, T, C] -> [B, T*factor, C] */

/* The mean of each window; padding counts as zeros.
 *   x       [B, H, W, C]
 *   y       [B, P, Q, C],  P = floor((H + 2*pad - kernel) / stride) + 1, Q likewise
 *   grad    each element of dy in equal parts to its window
 *   errors  rank is not 4; kernel or stride below 1; pad above half the kernel; the window is larger than the image
 *   torch   torch.nn.functional.avg_pool2d, its defaults */
ts_value ts_avg_pool2d(ts_value x, const int64_t kernel[2], const int64_t stride[2], const int64_t pad[2]);
ts_value ts_avg_pool1d(ts_value x, int64_t kernel, int64_t stride, int64_t pad); /* [B, T, C] */

/* The greatest of each window, NaN before all; padding is never taken. Shapes and errors as ts_avg_pool2d.
 *   grad    each element of dy to the place it came from: the first of equals, in rows from the top
 *   torch   torch.nn.functional.max_pool2d */
ts_value ts_max_pool2d(ts_value x, const int64_t kernel[2], const int64_t stride[2], const int64_t pad[2]);
ts_value ts_max_pool1d(ts_value x, int64_t kernel, int64_t stride, int64_t pad); /* [B, T, C] */

#endif
