/* Convolutions, channels last. 1-D is 2-D of height 1; a transposed convolution is the adjoint of a convolution, as in
 * torch. */
#ifndef TS_AUTOGRAD_CONV_H
#define TS_AUTOGRAD_CONV_H

#include "autograd/graph.h"

/* `{0}` is stride 1, no padding, dilation 1, one group. [0] is H and [1] is W; for 1-D [0] is T and [1] stays 0. */
typedef struct {
    int64_t stride[2];     /* 0: 1 */
    int64_t pad[2];        /* zeros before and after; before, where asymmetric */
    int64_t pad_after[2];  /* zeros after, where asymmetric */
    bool asymmetric;       /* causal: pad = dilation * (k - 1), pad_after = 0 */
    int64_t dilation[2];   /* distance of taps; 0: 1 */
    int64_t groups;        /* 0: 1 */
    int64_t output_pad[2]; /* transposed only: rows added after; below stride or dilation */
} ts_conv_opts;

/* y[b, p, q, o] = bias[o] + sum over r, s, c of x[b, p*stride - pad + r*dilation, .., c] weight[o, r, s, c]
 *   x       [B, H, W, in]    weight [out, kh, kw, in/groups]    bias [out] or TS_ABSENT
 *   y       [B, P, Q, out],  P = floor((H + pad + pad_after - dilation*(kh - 1) - 1) / stride) + 1, Q likewise
 *   grad    dx is the transposed convolution of dy, dweight the correlation of x and dy, dbias the sum of dy
 *   errors  channels, groups or bias do not fit; the kernel is larger than the padded image
 *   torch   torch.nn.functional.conv2d (its weight is [out, in/groups, kh, kw]) */
ts_value ts_conv2d(ts_value x, ts_value weight, ts_value bias, ts_conv_opts opts);

/* The same over time: x [B, T, in], weight [out, k, in/groups], y [B, P, out]. */
ts_value ts_conv1d(ts_value x, ts_value weight, ts_value bias, ts_conv_opts opts);

/* The adjoint in x of the convolution with this weight and these options, plus a bias.
 *   x       [B, H, W, in]    weight [in, kh, kw, out/groups]    bias [out] or TS_ABSENT
 *   y       [B, P, Q, out],  P = (H - 1)*stride - pad - pad_after + dilation*(kh - 1) + output_pad + 1, Q likewise
 *   grad    dx is the convolution of dy, dweight the correlation of dy and x, dbias the sum of dy
 *   errors  as ts_conv2d; output_pad is not below stride or dilation
 *   torch   torch.nn.functional.conv_transpose2d (its weight is [in, out/groups, kh, kw]) */
ts_value ts_conv2d_transpose(ts_value x, ts_value weight, ts_value bias, ts_conv_opts opts);

/* The same over time: x [B, T, in], weight [in, k, out/groups], y [B, P, out]. */
ts_value ts_conv1d_transpose(ts_value x, ts_value weight, ts_value bias, ts_conv_opts opts);

#endif
