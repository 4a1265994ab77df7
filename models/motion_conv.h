/* The 1-D convolutional autoencoder of T2M-GPT and MotionMillion, over windows of motion [T, C] or anything else that
 * is a sequence of vectors. With the options at their defaults, a quantizer of width 512 and C = 263 it is T2M-GPT's
 * VQVAE_251. */
#ifndef TS_MODELS_MOTION_CONV_H
#define TS_MODELS_MOTION_CONV_H

#include "layers/norm.h"
#include "models/model.h"

extern const ts_model_kind ts_motion_conv_kind;

typedef enum { TS_MOTION_RELU, TS_MOTION_SILU, TS_MOTION_GELU } ts_motion_activation;

typedef struct {
    int64_t width;
    int64_t depth;           /* residual blocks in each stack */
    int64_t dilation_growth; /* of the blocks: growth^(depth-1), ..., growth, 1, in this order */
    int64_t down_t; /* how often the length is divided by `stride`: tokens are T / (patch_size stride^down_t) */
    int64_t stride;
    int64_t kernel;     /* of the first and last convolutions and, where not causal, of the residual blocks; odd */
    int activation;     /* ts_motion_activation of the residual blocks; elsewhere it is relu */
    int norm;           /* ts_norm_kind of the residual blocks and of attention */
    bool causal;        /* no token depends on frames behind its own, no frame on tokens behind its own. GN mixes all
                         * frames and breaks that; BN does in training only */
    bool attention;     /* one head after each stack, and two more stacks with attention between them in the middle */
    int patch;          /* ts_patch_method */
    int64_t patch_size; /* 1: no patches */
} ts_motion_conv_options;

#endif
