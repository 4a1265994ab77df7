/* What the cells of an ablation came to, read from their run directories; means and spreads over the seeds; the table.
 */
#ifndef TS_TRAIN_ABLATION_RESULTS_H
#define TS_TRAIN_ABLATION_RESULTS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "train/ablation.h"

/* One line of metrics. What it does not hold is NAN. */
typedef struct {
    double step, loss, error, usage, perplexity, ceiling;
} ts_ablation_measure;

typedef struct {
    const ts_ablation_cell *cell;
    bool finished;
    ts_ablation_measure *train, *val; /* in the order of the steps */
    int train_count, val_count;
    ts_ablation_measure last; /* of val, at the last step; NANs where it is not finished */
    double codes, tokens;     /* K; tokens of the last evaluation */
    double mse, psnr, mpjpe;
    int64_t *counts; /* [codes] of the last evaluation; NULL: not there */
    char config_hash[17];
} ts_ablation_result;

/* Over the seeds of one method at one size. */
typedef struct {
    double mean, low, high;
    int count; /* finished cells */
} ts_spread;

typedef struct {
    const ts_ablation *ablation;
    const char *directory;
    ts_ablation_result *result; /* [cells] */
    bool millimetres;           /* the error is MPJPE in mm, else the mean squared error */
} ts_ablation_results;

/* Reads all cells. Owner: ts_ablation_results_clear after TS_OK. Errors: TS_ERR_DATA, metrics that are damaged. */
ts_status ts_ablation_results_read(ts_ablation_results *results, const ts_ablation *ablation, const char *directory,
                                   ts_error *err);
void ts_ablation_results_clear(ts_ablation_results *results);

typedef double ts_ablation_value(const ts_ablation_result *result);
double ts_ablation_error(const ts_ablation_result *result);
double ts_ablation_usage(const ts_ablation_result *result);
double ts_ablation_perplexity(const ts_ablation_result *result);
double ts_ablation_perplexity_share(const ts_ablation_result *result); /* perplexity / min(K, tokens) */
double ts_ablation_codes(const ts_ablation_result *result);

/* Method `series` at the `size`-th size; NANs where no cell of it is finished. */
ts_spread ts_ablation_spread(const ts_ablation_results *results, int series, int size, ts_ablation_value *value);

/* "mean squared error", "MPJPE, mm" */
const char *ts_ablation_error_name(const ts_ablation_results *results);

/* The table, a line per cell. */
void ts_ablation_write_csv(const ts_ablation_results *results, FILE *out);
/* The same with curves and findings, as one line, or a line per value. Errors: out of memory. */
ts_status ts_ablation_write_json(const ts_ablation_results *results, bool one_line, FILE *out, ts_error *err);

/* ---- findings (ablation_findings.c) ---- */

/* A question and what the numbers say. */
typedef struct {
    const char *question, *answer;
} ts_finding;

typedef struct {
    ts_arena arena;
    ts_finding *finding;
    int count;
} ts_findings;

/* Owner: ts_findings_clear. Errors: out of memory. */
ts_status ts_ablation_findings(const ts_ablation_results *results, ts_findings *findings, ts_error *err);
void ts_findings_clear(ts_findings *findings);

#endif
