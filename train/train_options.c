#include "train/train_options.h"

#include <math.h>

static const char *const losses[] = {"mse", "l1", "smooth_l1", "l1_clamped", NULL};
static const char *const precisions[] = {"f32", "bf16", NULL};
static const char *const optimizers[] = {"adamw", "adam", "sgd", NULL};
static const char *const schedules[] = {"constant", "multistep", "cosine", NULL};
static const char *const decays[] = {"weights", "all", NULL};
static const char *const policies[] = {"stop", "skip", "rollback", NULL};
static const char *const metrics[] = {"mse", "loss", "psnr", "ssim", "perplexity", NULL};

#define AT(member) .offset = offsetof(ts_train_options, member)
#define INT(name_, member, default_, lo, hi, alias_, help_)                                                            \
    {                                                                                                                  \
        .name = name_, .type = TS_OPTION_INT, AT(member), .fallback = default_, .min = lo, .max = hi, .alias = alias_, \
        .help = help_                                                                                                  \
    }
#define REAL(name_, member, default_, lo, hi, alias_, help_)                                                           \
    {                                                                                                                  \
        .name = name_, .type = TS_OPTION_REAL, AT(member), .fallback = default_, .min = lo, .max = hi,                 \
        .alias = alias_, .help = help_                                                                                 \
    }
#define CHOICE(name_, member, default_, names, alias_, help_)                                                          \
    {                                                                                                                  \
        .name = name_, .type = TS_OPTION_CHOICE, AT(member), .fallback = default_, .choices = names, .alias = alias_,  \
        .help = help_                                                                                                  \
    }

static const ts_option options_list[] = {
    INT("steps", steps, "1000", 1, 1e12, "total_iter", "optimizer steps of the whole run"),
    INT("batch", batch, "256", 1, 1 << 20, "batch_size", "items per step"),
    INT("accumulate", accumulate, "1", 1, 1 << 16, NULL,
        "micro-batches that a step's batch is split into, to save memory"),
    CHOICE(
        "precision", precision, "f32", precisions, NULL,
        "products of encoder and decoder: f32, or bf16 operands summed in f32; quantizer and weights are f32 in both"),
    {.name = "fold",
     .type = TS_OPTION_BOOL,
     AT(fold),
     .fallback = "true",
     .help = "nearest upsampling inside of the convolution behind it, where that pays; other last bits than without"},
    {.name = "fuse",
     .type = TS_OPTION_BOOL,
     AT(fuse),
     .fallback = "true",
     .help = "chains of elementwise ops as one pass over memory; the same bits as without"},
    CHOICE("optimizer", optimizer, "adamw", optimizers, NULL, "adamw, adam (decay goes into the gradient) or sgd"),
    REAL("lr", lr, "3e-4", 0, 1e3, NULL, "learning rate after warm-up"),
    REAL("beta1", beta1, "0.9", 0, 0.999999, NULL, "Adam: decay of the mean of gradients"),
    REAL("beta2", beta2, "0.999", 0, 0.99999999, NULL, "Adam: decay of the mean of squared gradients"),
    REAL("epsilon", epsilon, "1e-8", 1e-20, 1, NULL, "Adam: added to the root"),
    REAL("weight_decay", weight_decay, "0.01", 0, 1e3, NULL, "per unit of learning rate (adamw), or L2 (adam, sgd)"),
    CHOICE("decay", decay, "weights", decays, NULL,
           "what decays: weights alone, or also biases, norms and the codebook"),
    REAL("momentum", momentum, "0.9", 0, 0.999999, NULL, "sgd: momentum"),
    {.name = "nesterov", .type = TS_OPTION_BOOL, AT(nesterov), .fallback = "false", .help = "sgd: Nesterov's momentum"},
    REAL("codebook_lr", codebook_lr, "1", 0, 1e6, NULL,
         "factor of the learning rate for a codebook trained by gradient"),
    REAL("clip", clip, "0", 0, 1e12, NULL, "largest global norm of the gradient; 0: no clipping"),
    REAL("ema", ema, "0", 0, 0.9999999, NULL, "decay of a moving average of the weights, used in evaluation; 0: none"),
    {.name = "freeze",
     .type = TS_OPTION_STRINGS,
     AT(freeze),
     .fallback = "[]",
     .help = "parameters whose path starts with one of these are not trained: [encoder, decoder.conv1]"},
    CHOICE("schedule", schedule, "constant", schedules, NULL,
           "learning rate after warm-up: constant, multistep, cosine"),
    INT("warmup", warmup, "0", 0, 1e12, "warm_up_iter", "steps over which the learning rate rises from 0"),
    {.name = "milestones",
     .type = TS_OPTION_INTS,
     AT(milestones),
     .fallback = "[]",
     .min = 1,
     .max = 1e12,
     .help = "multistep: steps at which the rate is multiplied by gamma",
     .alias = "lr_scheduler"},
    REAL("gamma", gamma, "0.05", 0, 1, NULL, "multistep: factor at each milestone"),
    REAL("min_lr", min_lr, "0", 0, 1e3, NULL, "cosine: the rate at the last step"),
    INT("continuous_steps", continuous_steps, "0", 0, 1e12, NULL, "first steps in which z passes unquantized"),
    INT("commitment_warmup", commitment_warmup, "0", 0, 1e12, NULL,
        "steps over which the commitment weight rises from 0"),
    CHOICE("loss", loss, "mse", losses, "recons_loss",
           "reconstruction: mse, l1, smooth_l1, l1_clamped (output clamped to the data's range)"),
    REAL("loss_scale", loss_scale, "1", 1e-12, 1e12, NULL,
         "factor of the reconstruction loss; 1/variance of the data in the VQ-VAE paper"),
    REAL("position_loss", motion.position, "0", 0, 1e6, "loss_vel",
         "motion: weight of the same loss over the positions of joints"),
    REAL("velocity_loss", motion.velocity, "0", 0, 1e6, NULL,
         "motion: the same over the positions' change from frame to frame"),
    REAL("acceleration_loss", motion.acceleration, "0", 0, 1e6, NULL, "motion: the same over the change of that"),
    REAL("root_loss", motion.root, "0", 0, 1e6, NULL, "motion: the same over the columns of the root"),
    CHOICE("on_nonfinite", on_nonfinite, "stop", policies, NULL,
           "a loss or gradient that is not finite: stop, skip the step, or roll back to the last checkpoint"),
    INT("log_every", log_every, "10", 1, 1e12, "print_iter",
        "steps between lines of metrics; losses are of each step, usage of the window"),
    INT("eval_every", eval_every, "200", 0, 1e12, "eval_iter", "steps between evaluations; 0: only at the end"),
    INT("checkpoint_every", checkpoint_every, "500", 0, 1e12, "save_iter",
        "steps between checkpoints; 0: only at the end"),
    INT("eval_batch", eval_batch, "0", 0, 1 << 20, NULL, "items per evaluation batch; 0: as train.batch"),
    INT("eval_limit", eval_limit, "0", 0, 1e12, NULL, "items of the validation split that an evaluation takes; 0: all"),
    {.name = "eval_clips",
     .type = TS_OPTION_BOOL,
     AT(eval_clips),
     .fallback = "true",
     .help = "motion: evaluate whole clips, of any length, and not windows of them"},
    INT("eval_frames", eval_frames, "4096", 1, 1 << 24, NULL,
        "motion: frames of a clip that is evaluated, encoded or decoded in one go; a longer one in pieces"),
    INT("picture_frames", picture_frames, "120", 0, 1 << 16, NULL,
        "motion: frames of the validation clip that every evaluation draws beside its reconstruction; 0: no pictures"),
    INT("patience", patience, "0", 0, 1e9, NULL, "stop after so many evaluations without a new best; 0: never"),
    REAL("max_time", max_time, "0", 0, 1e9, NULL, "stop, with a checkpoint, after so many seconds; 0: never"),
    {.name = "tensorboard",
     .type = TS_OPTION_BOOL,
     AT(tensorboard),
     .fallback = "true",
     .help = "metrics, pictures and the use of codes also as TensorBoard's event files in the run directory"},
    CHOICE("best", best, "mse", metrics, NULL, "validation metric that decides what best.h5 is"),
    {0},
};

const ts_option_table ts_train_table = {.kind = "train",
                                        .help = "optimizer, schedule, loss, guards, and how often things happen",
                                        .options = options_list,
                                        .struct_bytes = sizeof(ts_train_options)};

static double after_warmup(const ts_train_options *o, int64_t step)
{
    double factor = 1;
    switch (o->schedule) {
    case TS_SCHEDULE_MULTISTEP:
        for (int i = 0; i < o->milestones.count; i++)
            factor *= step >= o->milestones.value[i] ? o->gamma : 1;
        return o->lr * factor;
    case TS_SCHEDULE_COSINE: {
        double span = (double)(o->steps - o->warmup), at = (double)(step - o->warmup);
        double part = span > 0 ? fmin(at / span, 1) : 1;
        return o->min_lr + (o->lr - o->min_lr) * 0.5 * (1 + cos(3.14159265358979323846 * part));
    }
    default:
        return o->lr;
    }
}

ts_schedule_values ts_schedule_at(const ts_train_options *o, int64_t step)
{
    ts_schedule_values v = {.commitment = 1, .continuous = step < o->continuous_steps};
    v.lr = step < o->warmup ? o->lr * (double)(step + 1) / (double)(o->warmup + 1) : after_warmup(o, step);
    if (step < o->commitment_warmup)
        v.commitment = (double)step / (double)o->commitment_warmup;
    return v;
}

const char *const ts_train_formulas =
    "@loss\n"
    "total = {loss_scale} * recon + the terms below\n"
    "[loss=mse]recon = mean((y - x)^2)\n"
    "[loss=l1]recon = mean(|y - x|)\n"
    "[loss=smooth_l1]recon = mean(h(y - x)),  h(d) = d^2 / 2 where |d| < 1, else |d| - 1/2\n"
    "[loss=l1_clamped]recon = mean(|clamp(y) - x|), y clamped to the range of the data\n"
    "[position_loss]total += {position_loss} * position,  position = the same loss over the columns of positions\n"
    "[velocity_loss]total += {velocity_loss} * velocity,  velocity = the same loss over their change from frame to "
    "frame\n"
    "[acceleration_loss]total += {acceleration_loss} * acceleration,  acceleration = the same loss over the change of "
    "that\n"
    "[root_loss]total += {root_loss} * root,  root = the same loss over the columns of the root\n"
    "[commitment_warmup]the weight of commitment rises from 0 over the first {commitment_warmup} steps\n"
    "@start\n"
    "[continuous_steps]in the first {continuous_steps} steps the decoder gets z itself\n"
    "[freeze]frozen: {freeze}\n"
    "@update\n"
    "[precision=bf16]products of encoder and decoder, and of their gradients, of operands rounded to bf16, added in "
    "f32\n"
    "[accumulate=1]g = d total / d w, of {batch} items\n"
    "[!accumulate=1]g = d total / d w, the mean over {accumulate} micro-batches of {batch} items in all\n"
    "where total or |g| is not finite: nothing of this step is kept (on_nonfinite: {on_nonfinite})\n"
    "[clip]g = g min(1, {clip} / (|g| + 1e-6)), |g| over all parameters\n"
    "[optimizer=adamw][weight_decay]w = w (1 - lr {weight_decay})\n"
    "[!optimizer=adamw][weight_decay]g = g + {weight_decay} w\n"
    "[weight_decay][decay=weights]weights alone decay: no biases, norms, codebook\n"
    "[!optimizer=sgd]m = {beta1} m + (1 - {beta1}) g;  v = {beta2} v + (1 - {beta2}) g^2\n"
    "[!optimizer=sgd]w = w - lr (m / (1 - {beta1}^t)) / (sqrt(v / (1 - {beta2}^t)) + {epsilon})\n"
    "[optimizer=sgd]b = {momentum} b + g\n"
    "[optimizer=sgd][!nesterov]w = w - lr b\n"
    "[optimizer=sgd][nesterov]w = w - lr (g + {momentum} b)\n"
    "[!codebook_lr=1]a codebook that learns by gradient has lr {codebook_lr}\n"
    "[schedule=constant]lr = {lr}\n"
    "[schedule=multistep]lr = {lr} times {gamma} for each of the steps {milestones} that is behind\n"
    "[schedule=cosine]lr = {min_lr} + ({lr} - {min_lr}) (1 + cos(pi part)) / 2, part = the share of the {steps} steps "
    "that is behind\n"
    "[warmup]first lr = {lr} (step + 1) / ({warmup} + 1), for {warmup} steps\n"
    "[ema]a = {ema} a + (1 - {ema}) w; evaluation, encode and decode take a\n";
