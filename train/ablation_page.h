/* Inside the report of an ablation: what its parts are written with. */
#ifndef TS_TRAIN_ABLATION_PAGE_H
#define TS_TRAIN_ABLATION_PAGE_H

#include "train/ablation_results.h"

typedef struct {
    const ts_ablation_results *results;
    const ts_ablation *a;
    FILE *out;
} ablation_page;

/* A value against the size: of the plots and of the tables. */
typedef struct {
    const char *title, *y_label;
    ts_ablation_value *value;
    bool percent, log_y;
} ablation_measure;

/* Text in HTML; bytes as base64. */
void page_text(const ablation_page *page, const char *text);
void page_base64(const ablation_page *page, const unsigned char *bytes, size_t count);

/* An SVG as a picture of its own: the names inside do not meet those of others. `about` is read out instead of it. */
void page_svg(const ablation_page *page, const char *svg, const char *about);

/* Does the spec have sizes? */
bool page_has_sizes(const ablation_page *page);

/* The first seed of a method at a size that has anything to show; NULL: none. */
const ts_ablation_result *page_first_seed(const ablation_page *page, int series, int size);

/* The sections with plots. Errors: out of memory; built without cairo. */
ts_status page_size_plots(const ablation_page *page, ts_error *err);
ts_status page_curves(const ablation_page *page, ts_error *err);

#endif
