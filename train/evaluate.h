/* Evaluation of a split: reconstruction and code usage over all its items, exact counts, sums in double. */
#ifndef TS_TRAIN_EVALUATE_H
#define TS_TRAIN_EVALUATE_H

#include "quant/stats.h"
#include "train/experiment.h"
#include "train/programs.h"

typedef struct {
    int64_t items;
    double loss;  /* loss_scale * reconstruction + weighted quantizer and motion losses, as in training */
    double recon; /* the reconstruction loss of train.loss, unscaled */
    double mse;   /* mean squared error, in units of the data's values */
    double l1;    /* mean absolute error */
    double psnr;  /* dB, from mse and the width of the data's range */
    double
        ssim; /* mean over images and channels; Wang et al. 2004, 11x11 Gaussian window of 1.5; images only, else NAN */
    double mpjpe_mm; /* mean over windows (models/motion_metrics.h); motion whose columns are known, else NAN */
    double parts[TS_MAX_TERMS];
    const char *part_names[TS_MAX_TERMS];
    int part_count;
    ts_usage usage;
    int64_t *counts; /* [K], owned: ts_evaluation_clear */
} ts_evaluation;

/* Runs over `split` (at most train.eval_limit items), in batches of train.eval_batch or train.batch; ema as
 * ts_inference_open. With `samples` > 0 the first so many items and their reconstructions are kept in originals,
 * outputs
 * ([samples, item], caller's memory); where fewer are evaluated (result->items), the rest is left alone.
 * Sums do not depend on threads or batches beyond what the kernels' results do. Without ids the counts are 0.
 * Errors: of the data, the device, out of memory; then there is nothing to clear. */
ts_status ts_evaluate(ts_experiment *e, ts_split split, bool ema, int64_t samples, float *originals, float *outputs,
                      ts_evaluation *result, ts_error *err);
void ts_evaluation_clear(ts_evaluation *result);

/* Structural similarity of two images [H, W, C] whose values span `range_width`; NAN below 11x11. Thread: pure. */
double ts_ssim(const float *a, const float *b, int64_t height, int64_t width, int64_t channels, double range_width);

#endif
