#include "train/evaluate.h"

#include <math.h>
#include <string.h>

#include "core/memory.h"
#include "models/motion_metrics.h"
#include "train/loader.h"

/* Of one item, or of all so far. Sums over values; ssim once per item. */
typedef struct {
    double squares, absolutes, recon, ssim, mpjpe;
} errors;

typedef struct {
    ts_experiment *e;
    ts_inference program; /* for `batch` items; 0: none is open */
    int64_t batch;
    bool ema;
    float *y;     /* [largest batch, item] */
    int32_t *ids; /* [largest batch, tokens, groups] */
    errors *of;   /* [largest batch] */
    errors sum;
    double parts[TS_MAX_TERMS]; /* summed over items */
} evaluation;

static double reconstruction_error(int kind, double y, double x, double low, double high)
{
    double d = fabs(y - x);
    switch (kind) {
    case TS_LOSS_L1:
        return d;
    case TS_LOSS_SMOOTH_L1:
        return d < 1 ? 0.5 * d * d : d - 0.5;
    case TS_LOSS_L1_CLAMPED:
        return fabs((y < low ? low : y > high ? high : y) - x);
    default:
        return d * d;
    }
}

static double mpjpe_of(const evaluation *v, const float *x, const float *y)
{
    const ts_motion *m = &v->e->motion;
    const ts_motion_layout *layout = ts_motion_layout_known(m);
    return layout ? ts_motion_mpjpe(layout, y, x, v->e->tokenizer.item.dim[0], m->mean, m->std) : NAN;
}

static errors errors_of(const evaluation *v, const float *x, const float *y)
{
    const ts_experiment *e = v->e;
    errors sum = {0};
    double low = (double)ts_range_low(e->range), width = (double)ts_range_width(e->range);
    ts_shape item = e->tokenizer.item;
    for (int64_t i = 0; i < ts_shape_count(item); i++) {
        double d = (double)y[i] - (double)x[i];
        sum.squares += d * d;
        sum.absolutes += fabs(d);
        sum.recon += reconstruction_error(e->train->loss, (double)y[i], (double)x[i], low, low + width);
    }
    sum.mpjpe = mpjpe_of(v, x, y);
    sum.ssim = item.rank == 3 ? ts_ssim(x, y, item.dim[0], item.dim[1], item.dim[2], width) : NAN;
    return sum;
}

/* Each item on its own, then all in their order: the same on any number of threads. */
static void add_errors(evaluation *v, const float *x, int64_t count)
{
    int64_t size = ts_shape_count(v->e->tokenizer.item);
#pragma omp parallel for schedule(static) num_threads(v->e->device->threads)
    for (int64_t i = 0; i < count; i++)
        v->of[i] = errors_of(v, x + i * size, v->y + i * size);
    for (int64_t i = 0; i < count; i++) {
        v->sum.squares += v->of[i].squares;
        v->sum.absolutes += v->of[i].absolutes;
        v->sum.recon += v->of[i].recon;
        v->sum.ssim += v->of[i].ssim;
        v->sum.mpjpe += v->of[i].mpjpe;
    }
}

/* Ids of -1 (where z has a NaN) are no codes. */
static void add_counts(const evaluation *v, int64_t *counts)
{
    if (!ts_present(v->program.ids))
        return;
    ts_program_get(v->program.program, v->program.ids, v->ids);
    int64_t n = ts_shape_count(ts_value_shape(v->program.ids)), codes = v->e->tokenizer.info.codes;
    for (int64_t i = 0; i < n; i++)
        if (v->ids[i] >= 0 && v->ids[i] < codes)
            counts[v->ids[i]]++;
}

static void add_parts(evaluation *v, ts_evaluation *result, int64_t count)
{
    const ts_inference *f = &v->program;
    result->part_count = f->loss_count;
    for (int i = 0; i < f->loss_count; i++) {
        float mean;
        ts_program_get(f->program, f->losses[i].value, &mean);
        v->parts[i] += (double)mean * (double)count;
        result->part_names[i] = f->losses[i].name;
    }
}

/* Losses are means over a batch, so what is left at the end gets a program of its own size. */
static ts_status use_batch(evaluation *v, int64_t batch, ts_error *err)
{
    if (v->batch == batch)
        return TS_OK;
    if (v->batch)
        ts_inference_close(&v->program);
    v->batch = 0;
    TS_TRY(ts_inference_open(&v->program, v->e, TS_FORWARD, batch, v->ema, err));
    v->batch = batch;
    return TS_OK;
}

static ts_status add_batch(evaluation *v, const float *x, int64_t count, ts_evaluation *result, ts_error *err)
{
    TS_TRY(use_batch(v, count, err));
    ts_program_set(v->program.program, v->program.x, x);
    TS_TRY(ts_program_run(v->program.program, err));
    ts_program_get(v->program.program, v->program.y, v->y);
    add_errors(v, x, count);
    add_counts(v, result->counts);
    add_parts(v, result, count);
    return TS_OK;
}

static ts_status allocate(evaluation *v, int64_t batch, ts_evaluation *result, ts_error *err)
{
    const ts_tokenizer *t = &v->e->tokenizer;
    size_t items = (size_t)batch, codes = (size_t)t->info.codes;
    v->y = ts_calloc(items * (size_t)ts_shape_count(t->item), sizeof *v->y);
    v->ids = ts_calloc(items * (size_t)(ts_shape_count(t->tokens) * t->info.groups), sizeof *v->ids);
    v->of = ts_calloc(items, sizeof *v->of);
    result->counts = ts_calloc(codes, sizeof *result->counts);
    return v->y && v->ids && v->of && result->counts ? TS_OK : ts_out_of_memory(err, codes * sizeof *result->counts);
}

static void finish(const evaluation *v, ts_evaluation *result)
{
    double items = (double)result->items, values = items * (double)ts_shape_count(v->e->tokenizer.item);
    double peak = (double)ts_range_width(v->e->range);
    result->mse = v->sum.squares / values;
    result->l1 = v->sum.absolutes / values;
    result->recon = v->sum.recon / values;
    result->psnr = 10 * log10(peak * peak / result->mse);
    result->ssim = v->sum.ssim / items;
    result->mpjpe_mm = v->sum.mpjpe / items;
    result->loss = v->e->train->loss_scale * result->recon;
    for (int i = 0; i < result->part_count; i++) {
        result->parts[i] = v->parts[i] / items;
        result->loss += v->program.losses[i].weight * result->parts[i];
    }
    result->usage = ts_usage_of(result->counts, v->e->tokenizer.info.codes, 0);
}

static int64_t smaller(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

ts_status ts_evaluate(ts_experiment *e, ts_split split, bool ema, int64_t samples, float *originals, float *outputs,
                      ts_evaluation *result, ts_error *err)
{
    *result = (ts_evaluation){0};
    TS_TRY(ts_experiment_open_data(e, split, err));
    ts_dataset *data = split == TS_SPLIT_TRAIN ? e->train_data : e->val_data;
    int64_t items = e->train->eval_limit ? smaller(e->train->eval_limit, data->count) : data->count;
    int64_t batch = smaller(e->train->eval_batch ? e->train->eval_batch : e->train->batch, items);
    int64_t size = ts_shape_count(e->tokenizer.item);
    evaluation v = {.e = e, .ema = ema};
    ts_loader *loader = NULL;
    ts_status status;
    TS_GO(allocate(&v, batch, result, err));
    TS_GO(ts_loader_open(&loader, data, (ts_loader_options){.batch = batch}, err));
    while (result->items < items) {
        ts_batch b;
        TS_GO(ts_loader_next(loader, &b, err));
        int64_t count = smaller(b.count, items - result->items), kept = smaller(count, samples - result->items);
        TS_GO(add_batch(&v, b.data, count, result, err));
        if (kept > 0) {
            memcpy(originals + result->items * size, b.data, (size_t)(kept * size) * sizeof(float));
            memcpy(outputs + result->items * size, v.y, (size_t)(kept * size) * sizeof(float));
        }
        result->items += count;
    }
    finish(&v, result);
out:
    ts_loader_close(loader);
    if (v.batch)
        ts_inference_close(&v.program);
    ts_free(v.y);
    ts_free(v.ids);
    ts_free(v.of);
    if (status != TS_OK)
        ts_evaluation_clear(result);
    return status;
}

void ts_evaluation_clear(ts_evaluation *result)
{
    ts_free(result->counts);
    *result = (ts_evaluation){0};
}
