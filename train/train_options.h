/* What the `train` section of a config says: optimizer, schedule, loss, guards, and how often things happen. */
#ifndef TS_TRAIN_TRAIN_OPTIONS_H
#define TS_TRAIN_TRAIN_OPTIONS_H

#include "core/option.h"
#include "models/motion_loss.h"

typedef enum { TS_LOSS_MSE, TS_LOSS_L1, TS_LOSS_SMOOTH_L1, TS_LOSS_L1_CLAMPED } ts_loss_kind;
typedef enum { TS_OPTIMIZER_ADAMW, TS_OPTIMIZER_ADAM, TS_OPTIMIZER_SGD } ts_optimizer_kind;
typedef enum { TS_SCHEDULE_CONSTANT, TS_SCHEDULE_MULTISTEP, TS_SCHEDULE_COSINE } ts_schedule_kind;
typedef enum { TS_PRECISION_F32, TS_PRECISION_BF16 } ts_precision;
typedef enum { TS_DECAY_WEIGHTS, TS_DECAY_ALL } ts_decay_kind;
typedef enum { TS_NONFINITE_STOP, TS_NONFINITE_SKIP, TS_NONFINITE_ROLLBACK } ts_nonfinite_policy;
/* Which metric of an evaluation decides what is "best", and in which direction. */
typedef enum { TS_BEST_MSE, TS_BEST_LOSS, TS_BEST_PSNR, TS_BEST_SSIM, TS_BEST_PERPLEXITY } ts_best_metric;

typedef struct {
    int64_t steps, batch, accumulate; /* a step's batch is split into `accumulate` equal micro-batches */
    int precision;                    /* ts_precision, of products in encoder and decoder: also in evaluation */
    bool fold;                        /* programs go through ts_fold_upsampling: also in evaluation */
    bool fuse;                        /* programs go through ts_fuse: also in evaluation */
    int optimizer;                    /* ts_optimizer_kind */
    double lr, beta1, beta2, epsilon, weight_decay, momentum, codebook_lr;
    int decay; /* ts_decay_kind */
    bool nesterov;
    double clip; /* global norm; 0: off */
    double ema;  /* decay of the moving average of the weights; 0: off */
    ts_string_list freeze;

    int schedule; /* ts_schedule_kind */
    int64_t warmup;
    ts_int_list milestones;
    double gamma, min_lr;
    int64_t continuous_steps, commitment_warmup;

    int loss; /* ts_loss_kind */
    double loss_scale;
    ts_motion_weights motion; /* for [T, C] items whose columns are known */

    int on_nonfinite; /* ts_nonfinite_policy */
    int64_t log_every, eval_every, checkpoint_every, eval_batch, eval_limit, patience;
    bool eval_clips;     /* motion: by whole clips, not by windows */
    int64_t eval_frames; /* of a motion clip that is run in one go; at least a token's */
    int64_t picture_frames;
    double max_time;  /* seconds; 0: none */
    bool tensorboard; /* event files in the run directory */
    int best;         /* ts_best_metric */
} ts_train_options;

extern const ts_option_table ts_train_table;
extern const char
    *const ts_train_formulas; /* of that table (core/formula.h); w are the parameters, y what decoder gives for x */

/* lr of a step and the other numbers that change from step to step. */
typedef struct {
    double lr;
    double commitment; /* factor of the commitment loss: ramps from 0 to 1 over commitment_warmup steps */
    bool continuous;   /* z passes unquantized: the first continuous_steps */
} ts_schedule_values;

/* Of step `step`, counted from 0. Warm-up is lr * (step + 1) / (warmup + 1) as in T2M-GPT; multistep multiplies by
 * gamma from each milestone on (torch's MultiStepLR); cosine falls from lr to min_lr between warm-up and the last step.
 */
ts_schedule_values ts_schedule_at(const ts_train_options *options, int64_t step);

#endif
