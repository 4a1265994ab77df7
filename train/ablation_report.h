/* The report of an ablation: one HTML file that needs nothing else, plots and pictures inside. */
#ifndef TS_TRAIN_ABLATION_REPORT_H
#define TS_TRAIN_ABLATION_REPORT_H

#include "train/ablation_results.h"

/* Errors: TS_ERR_RUNTIME, the file cannot be written, or the program was built without cairo. */
ts_status ts_ablation_write_html(const ts_ablation_results *results, FILE *out, ts_error *err);

#endif
