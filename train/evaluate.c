#include "train/evaluate.h"

#include <math.h>
#include <string.h>

#include "core/memory.h"
#include "train/evaluate_sums.h"
#include "train/loader.h"

/* Of one item, or of all so far. */
typedef struct {
    ts_error_sums sums;
    double ssim; /* once per item */
    ts_motion_sums motion;
} errors;

typedef struct {
    ts_experiment *e;
    ts_inference program; /* for `batch` items; 0: none is open */
    int64_t batch;
    bool ema, padded; /* padded: items have lengths */
    float *y;         /* [largest batch, item] */
    int32_t *ids;     /* [largest batch, tokens, groups] */
    errors *of;       /* [largest batch] */
    float *values;    /* [largest batch, 2, item]: of motion, y and x restored */
    errors sum;
    int64_t frames;                                    /* of motion, those that count */
    double parts[TS_MAX_TERMS], weights[TS_MAX_TERMS]; /* parts: summed over what they are means of */
    double rows[TS_MAX_TERMS];                         /* how much that is: items, or the frames or tokens that count */
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

void ts_error_sums_add(ts_error_sums *sums, const ts_experiment *e, const float *x, const float *y, int64_t values)
{
    double low = (double)ts_range_low(e->range), high = low + (double)ts_range_width(e->range);
    for (int64_t i = 0; i < values; i++) {
        double d = (double)y[i] - (double)x[i];
        sums->squares += d * d;
        sums->absolutes += fabs(d);
        sums->recon += reconstruction_error(e->train->loss, (double)y[i], (double)x[i], low, high);
    }
    sums->values += values;
}

void ts_error_sums_merge(ts_error_sums *sums, const ts_error_sums *other)
{
    sums->squares += other->squares;
    sums->absolutes += other->absolutes;
    sums->recon += other->recon;
    sums->values += other->values;
}

void ts_motion_sums_add_restored(ts_motion_sums *sums, const ts_motion *motion, const float *y, const float *x,
                                 int64_t frames, float *values)
{
    int64_t n = frames * motion->columns;
    const ts_motion_layout *layout = ts_motion_layout_known(motion);
    if (!layout)
        return;
    memcpy(values, y, (size_t)n * sizeof *y);
    memcpy(values + n, x, (size_t)n * sizeof *x);
    ts_motion_restore(motion, frames, values);
    ts_motion_restore(motion, frames, values + n);
    ts_motion_sums_add(sums, layout, values, values + n, frames);
}

/* What counts of an item along its first axis: its length, cropped to whole tokens (train/programs.h). */
static int64_t counted(const evaluation *v, const int32_t *lengths, int64_t i)
{
    const ts_tokenizer *t = &v->e->tokenizer;
    if (!v->padded)
        return t->item.dim[0];
    int64_t size = t->item.dim[0] / t->tokens.dim[0];
    return lengths[i] / size * size;
}

static errors errors_of(const evaluation *v, const float *x, const float *y, int64_t length, float *values)
{
    const ts_experiment *e = v->e;
    ts_shape item = e->tokenizer.item;
    errors of = {.ssim = NAN};
    ts_error_sums_add(&of.sums, e, x, y, ts_shape_count(item) / item.dim[0] * length);
    if (item.rank == 2)
        ts_motion_sums_add_restored(&of.motion, &e->motion, y, x, length, values);
    if (item.rank == 3)
        of.ssim = ts_ssim(x, y, item.dim[0], item.dim[1], item.dim[2], (double)ts_range_width(e->range));
    return of;
}

/* Each item on its own, then all in their order: the same on any number of threads. */
static void add_errors(evaluation *v, const float *x, const int32_t *lengths, int64_t count)
{
    int64_t size = ts_shape_count(v->e->tokenizer.item);
#pragma omp parallel for schedule(static) num_threads(v->e->device->threads)
    for (int64_t i = 0; i < count; i++)
        v->of[i] = errors_of(v, x + i * size, v->y + i * size, counted(v, lengths, i), v->values + 2 * i * size);
    for (int64_t i = 0; i < count; i++) {
        ts_error_sums_merge(&v->sum.sums, &v->of[i].sums);
        ts_motion_sums_merge(&v->sum.motion, &v->of[i].motion);
        v->sum.ssim += v->of[i].ssim;
        v->frames += counted(v, lengths, i);
    }
}

/* A line of metrics holds numbers of so many groups, and their counts are not to be larger than the largest codebook's.
 */
enum { MAX_GROUPS = 32, MAX_GROUP_COUNTS = 1 << 24 };

ts_status ts_evaluation_make_counts(ts_evaluation *result, const ts_quantizer_info *info, ts_error *err)
{
    size_t codes = (size_t)info->codes;
    bool apart = info->groups > 1 && info->groups <= MAX_GROUPS && info->codes <= MAX_GROUP_COUNTS / info->groups;
    result->groups = apart ? info->groups : 0;
    result->counts = ts_calloc(codes, sizeof *result->counts);
    if (apart)
        result->group_counts = ts_calloc((size_t)info->groups * codes, sizeof *result->group_counts);
    return result->counts && (result->group_counts || !apart)
               ? TS_OK
               : ts_out_of_memory(err, (size_t)(1 + result->groups) * codes * sizeof *result->counts);
}

void ts_evaluation_count(ts_evaluation *result, const ts_quantizer_info *info, const int32_t *ids, int64_t count)
{
    for (int64_t i = 0; i < count; i++) {
        if (ids[i] < 0 || ids[i] >= info->codes)
            continue;
        result->counts[ids[i]]++;
        if (result->group_counts)
            result->group_counts[i % info->groups * info->codes + ids[i]]++;
    }
}

ts_usage ts_evaluation_group_usage(const ts_evaluation *result, int64_t group)
{
    return ts_usage_of(result->group_counts + group * result->usage.codes, result->usage.codes, 0);
}

static void add_counts(const evaluation *v, ts_evaluation *result)
{
    if (!ts_present(v->program.ids))
        return;
    ts_program_get(v->program.program, v->program.ids, v->ids);
    ts_evaluation_count(result, &v->e->tokenizer.info, v->ids, ts_shape_count(ts_value_shape(v->program.ids)));
}

static void add_parts(evaluation *v, ts_evaluation *result, int64_t count)
{
    const ts_inference *f = &v->program;
    result->part_count = f->loss_count;
    for (int i = 0; i < f->loss_count; i++) {
        float mean, rows = (float)count;
        ts_program_get(f->program, f->losses[i].value, &mean);
        if (f->losses[i].rows.graph)
            ts_program_get(f->program, f->losses[i].rows, &rows);
        v->parts[i] += (double)mean * (double)rows;
        v->rows[i] += (double)rows;
        v->weights[i] = f->losses[i].weight;
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
    TS_TRY(ts_inference_open(&v->program, v->e, v->padded ? TS_FORWARD_PADDED : TS_FORWARD, batch, v->ema, err));
    v->batch = batch;
    return TS_OK;
}

static ts_status add_batch(evaluation *v, const ts_batch *b, int64_t count, ts_evaluation *result, ts_error *err)
{
    TS_TRY(use_batch(v, count, err));
    ts_program_set(v->program.program, v->program.x, b->data);
    if (v->padded)
        ts_program_set(v->program.program, v->program.lengths, b->lengths);
    TS_TRY(ts_program_run(v->program.program, err));
    ts_program_get(v->program.program, v->program.y, v->y);
    add_errors(v, b->data, b->lengths, count);
    add_counts(v, result);
    add_parts(v, result, count);
    return TS_OK;
}

static ts_status allocate(evaluation *v, int64_t batch, ts_evaluation *result, ts_error *err)
{
    const ts_tokenizer *t = &v->e->tokenizer;
    size_t items = (size_t)batch, size = (size_t)ts_shape_count(t->item);
    v->y = ts_calloc(items * size, sizeof *v->y);
    v->values = ts_calloc(items * (t->item.rank == 2 ? 2 * size : 1), sizeof *v->values);
    v->ids = ts_calloc(items * (size_t)(ts_shape_count(t->tokens) * t->info.groups), sizeof *v->ids);
    v->of = ts_calloc(items, sizeof *v->of);
    if (!v->y || !v->values || !v->ids || !v->of)
        return ts_out_of_memory(err, items * size * sizeof *v->y);
    return ts_evaluation_make_counts(result, &t->info, err);
}

void ts_evaluation_finish(ts_evaluation *result, const ts_experiment *e, const ts_error_sums *sums,
                          const double weights[TS_MAX_TERMS])
{
    double values = (double)sums->values;
    result->mse = sums->squares / values;
    result->l1 = sums->absolutes / values;
    result->recon = sums->recon / values;
    result->loss = e->train->loss_scale * result->recon;
    for (int i = 0; i < result->part_count; i++)
        result->loss += weights[i] * result->parts[i];
    result->usage = ts_usage_of(result->counts, e->tokenizer.info.codes, 0);
}

static void finish(const evaluation *v, ts_evaluation *result)
{
    double items = (double)result->items, peak = (double)ts_range_width(v->e->range);
    ts_shape item = v->e->tokenizer.item;
    for (int i = 0; i < result->part_count; i++)
        result->parts[i] = v->rows[i] > 0 ? v->parts[i] / v->rows[i] : 0;
    ts_evaluation_finish(result, v->e, &v->sum.sums, v->weights);
    result->psnr = item.rank == 2 ? NAN : 10 * log10(peak * peak / result->mse);
    result->ssim = v->sum.ssim / items;
    result->frames = item.rank == 2 ? v->frames : 0;
    result->motion = ts_motion_metrics_of(&v->sum.motion);
}

void ts_evaluation_motion(const ts_evaluation *v, ts_metric out[TS_MOTION_METRICS])
{
    const ts_motion_metrics *m = &v->motion;
    const ts_metric all[TS_MOTION_METRICS] = {
        {"mpjpe_mm", "mpjpe", "mm", m->mpjpe_mm},
        {"velocity_mm_per_frame", "velocity", "mm/frame", m->velocity_mm_per_frame},
        {"acceleration_mm_per_frame2", "acceleration", "mm/frame^2", m->acceleration_mm_per_frame2},
        {"skate_mm_per_frame", "skate", "mm/frame", m->skate_mm_per_frame},
        {"original_skate_mm_per_frame", "original skate", "mm/frame", m->original_skate_mm_per_frame}};
    for (int i = 0; i < TS_MOTION_METRICS; i++) {
        out[i] = all[i];
        if (v->frames == 0)
            out[i].value = NAN;
    }
}

static int64_t smaller(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static ts_status evaluate_items(ts_experiment *e, ts_split split, bool ema, int64_t samples, float *originals,
                                float *outputs, ts_evaluation *result, ts_error *err)
{
    TS_TRY(ts_experiment_open_data(e, split, err));
    ts_dataset *data = split == TS_SPLIT_TRAIN ? e->train_data : e->val_data;
    int64_t items = e->train->eval_limit ? smaller(e->train->eval_limit, data->count) : data->count;
    int64_t batch = smaller(e->train->eval_batch ? e->train->eval_batch : e->train->batch, items);
    int64_t size = ts_shape_count(e->tokenizer.item);
    evaluation v = {.e = e, .ema = ema, .padded = data->lengths != NULL};
    ts_loader *loader = NULL;
    ts_status status;
    TS_GO(allocate(&v, batch, result, err));
    TS_GO(ts_loader_open(&loader, data, (ts_loader_options){.batch = batch}, err));
    while (result->items < items) {
        ts_batch b;
        TS_GO(ts_loader_next(loader, &b, err));
        int64_t count = smaller(b.count, items - result->items), kept = smaller(count, samples - result->items);
        TS_GO(add_batch(&v, &b, count, result, err));
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
    ts_free(v.values);
    ts_free(v.ids);
    ts_free(v.of);
    return status;
}

bool ts_evaluates_clips(const ts_experiment *e)
{
    return e->train->eval_clips && ts_experiment_has_clips(e);
}

ts_status ts_evaluate(ts_experiment *e, ts_split split, bool ema, int64_t samples, float *originals, float *outputs,
                      ts_evaluation *result, ts_error *err)
{
    *result = (ts_evaluation){.psnr = NAN, .ssim = NAN};
    ts_status status = ts_evaluates_clips(e) ? ts_evaluate_clips(e, split, ema, result, err)
                                             : evaluate_items(e, split, ema, samples, originals, outputs, result, err);
    if (status != TS_OK)
        ts_evaluation_clear(result);
    return status;
}

void ts_evaluation_clear(ts_evaluation *result)
{
    ts_free(result->counts);
    ts_free(result->group_counts);
    ts_free(result->skips);
    *result = (ts_evaluation){0};
}
