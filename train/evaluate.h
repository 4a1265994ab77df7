/* Evaluation of a split: reconstruction and code usage over all its items, exact counts, sums in double. Motion is
 * evaluated by whole clips, each cropped to whole tokens (train/clips.h), unless train.eval_clips is false or the data
 * have no clips: then by the items that training takes, windows. Every frame weighs the same either way. */
#ifndef TS_TRAIN_EVALUATE_H
#define TS_TRAIN_EVALUATE_H

#include "models/motion_metrics.h"
#include "quant/stats.h"
#include "train/experiment.h"
#include "train/programs.h"

typedef struct {
    int64_t items; /* images, windows or whole clips */
    double loss;   /* loss_scale * reconstruction + weighted quantizer and motion losses, as in training */
    double recon;  /* the reconstruction loss of train.loss, unscaled */
    double mse;    /* mean squared error, in units of the data's values */
    double l1;     /* mean absolute error */
    double psnr;   /* dB, from mse and the width of the data's range; NAN for motion, which has no range */
    double ssim;   /* mean over images and channels; Wang et al. 2004, 11x11 Gaussian window of 1.5; images, else NAN */
    double parts[TS_MAX_TERMS];
    const char *part_names[TS_MAX_TERMS];
    int part_count;
    ts_usage usage;
    int64_t *counts;       /* [K], owned: ts_evaluation_clear */
    int64_t groups;        /* ids per token that are counted apart as well; 0: one, or more than can be shown */
    int64_t *group_counts; /* [groups, K], owned */

    int64_t frames;           /* of motion, in all items; 0: no motion */
    ts_motion_metrics motion; /* of motion whose columns are known, else NANs */

    int64_t clips;           /* whole clips, as many as items; 0: not evaluated by clips */
    int64_t in_pieces;       /* of them, longer than train.eval_frames */
    int64_t skipped;         /* clips left out: broken, or too short */
    char *skips;             /* why, a line each with the clip's name, owned; NULL where there are none */
    char note[TS_DATA_NOTE]; /* of the list of clips */
} ts_evaluation;

/* The metrics of motion under their names in every report ("mpjpe_mm"); NAN where one is not known. */
enum { TS_MOTION_METRICS = 5 };
typedef struct {
    const char *key;   /* with its unit: "velocity_mm_per_frame" */
    const char *label; /* for people: "velocity" */
    const char *unit;  /* "mm/frame" */
    double value;
} ts_metric;
void ts_evaluation_motion(const ts_evaluation *v, ts_metric out[TS_MOTION_METRICS]);

/* Runs over `split` (at most train.eval_limit items), in batches of train.eval_batch or train.batch, clips one by one;
 * ema as ts_inference_open. With `samples` > 0 the first so many items and their reconstructions are kept in originals,
 * outputs ([samples, item], caller's memory); where fewer are evaluated (result->items), the rest is left alone, and
 * nothing is kept of whole clips.
 * Sums do not depend on threads or batches beyond what the kernels' results do. Without ids the counts are 0.
 * Errors: of the data, the device, out of memory; then there is nothing to clear. */
ts_status ts_evaluate(ts_experiment *e, ts_split split, bool ema, int64_t samples, float *originals, float *outputs,
                      ts_evaluation *result, ts_error *err);
void ts_evaluation_clear(ts_evaluation *result);

/* Of the ids of one group: of one layer of a residual quantizer. group is 0 ... result->groups - 1. */
ts_usage ts_evaluation_group_usage(const ts_evaluation *result, int64_t group);

/* Will ts_evaluate go by whole clips? */
bool ts_evaluates_clips(const ts_experiment *e);

/* Structural similarity of two images [H, W, C] whose values span `range_width`; NAN below 11x11. Thread: pure. */
double ts_ssim(const float *a, const float *b, int64_t height, int64_t width, int64_t channels, double range_width);

#endif
