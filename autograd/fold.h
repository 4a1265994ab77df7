/* Nearest upsampling folded into the convolution behind it, as a pass over a graph: between building it and rounding
 * (precision.h), differentiating or planning it.
 *
 * The f copies of a pixel meet f + k - 1 taps of a kernel of k, so the convolution of the upsampled image is a
 * transposed one of the image itself, with stride f and kernel f + k - 1, whose weights are sums of those of the
 * kernel. Per axis, with padding p before:
 *
 *   y[o] = sum_t w[t] x[(o + t - p) / f] = sum over i f + j - P = o of v[j] x[i]
 *   v[j] = sum of w[t] with 0 <= j + t - (k - 1) < f,  P = k - 1 - p
 *
 * For f = 2 and k = 3: 16 products where there were 36, of an image that is four times smaller, and v = (w2, w1 + w2,
 * w0 + w1, w0). Parameters stay what they are: v is computed from them in each run, and its gradient goes back the same
 * way. Sums of weights are rounded, so results differ in their last bits from those of the graph as it was built; a
 * caller chooses the pass, and a graph that is to be exported is left as it was built. */
#ifndef TS_AUTOGRAD_FOLD_H
#define TS_AUTOGRAD_FOLD_H

#include "autograd/graph.h"

/* Folds where both axes are upsampled and have more than one tap, with stride, dilation and groups 1 and less padding
 * than taps. Upsampling along time alone stays: the convolution's own ways to fewer products save more there. Errors
 * (sticky): out of memory. */
void ts_fold_upsampling(ts_graph *graph);

#endif
