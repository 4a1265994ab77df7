/* Normalisation by name, for blocks that leave the choice to the user. */
#ifndef TS_LAYERS_NORM_H
#define TS_LAYERS_NORM_H

#include "autograd/scope.h"

typedef enum { TS_NORM_NONE, TS_NORM_LAYER, TS_NORM_GROUP, TS_NORM_BATCH } ts_norm_kind;

extern const char *const ts_norm_names[]; /* "none", "LN", "GN", "BN": the peers' names */

typedef struct {
    ts_norm_kind kind;
    int64_t groups;  /* GROUP: divides C */
    double eps;      /* added to the variance */
    double momentum; /* BATCH: share of the batch in the running statistics, 0.1 in torch */
} ts_norm_layer_opts;

/* x [B, .., C] -> the same; NONE gives x itself. Parameters weight and bias [C], at first 1 and 0.
 *   LAYER   over the channels of each position                          torch.nn.LayerNorm
 *   GROUP   over a sample's positions and C/groups channels             torch.nn.GroupNorm
 *   BATCH   over all positions of the batch in TRAIN, by the running statistics in EVAL and INFER. State running_mean
 *           and running_var [C] take momentum of the batch's mean and unbiased variance in each training pass, unless
 *           the scope holds its state or the batch is not finite        torch.nn.BatchNorm1d, 2d */
ts_value ts_norm_layer(ts_scope s, ts_value x, ts_norm_layer_opts opts);

#endif
