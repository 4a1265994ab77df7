#define _GNU_SOURCE
#include "train/ablation_results.h"

#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/files/hash.h"
#include "core/files/npy.h"
#include "train/ablation_run.h"

/* ---- one cell ---- */

static double real_of(const json_t *line, const char *key)
{
    const json_t *value = json_object_get(line, key);
    return json_is_number(value) ? json_number_value(value) : NAN;
}

static ts_ablation_measure measure_of(const json_t *line)
{
    return (ts_ablation_measure){.step = real_of(line, "step"),
                                 .loss = real_of(line, "loss"),
                                 .error = real_of(line, "mse"),
                                 .usage = real_of(line, "usage"),
                                 .perplexity = real_of(line, "perplexity"),
                                 .ceiling = real_of(line, "perplexity_ceiling")};
}

static ts_status append(ts_ablation_measure **list, int *count, const ts_ablation_measure *m, ts_error *err)
{
    if ((*count & (*count - 1)) == 0) { /* a power of two: full */
        size_t room = *count ? 2 * (size_t)*count : 1;
        ts_ablation_measure *grown = ts_realloc(*list, room, sizeof *grown);
        if (!grown)
            return ts_out_of_memory(err, room * sizeof *grown);
        *list = grown;
    }
    (*list)[(*count)++] = *m;
    return TS_OK;
}

static ts_status take_line(ts_ablation_result *r, const json_t *line, ts_error *err)
{
    const char *split = json_string_value(json_object_get(line, "split"));
    ts_ablation_measure m = measure_of(line);
    if (!split || strcmp(split, "val") != 0)
        return append(&r->train, &r->train_count, &m, err);
    r->codes = real_of(line, "codes");
    r->tokens = real_of(line, "tokens");
    r->mse = real_of(line, "mse");
    r->psnr = real_of(line, "psnr");
    r->mpjpe = real_of(line, "mpjpe_mm");
    if (isfinite(r->mpjpe))
        m.error = r->mpjpe;
    r->last = m;
    return append(&r->val, &r->val_count, &m, err);
}

static ts_status read_metrics(ts_ablation_result *r, const char *path, ts_error *err)
{
    FILE *file = fopen(path, "r");
    char *text = NULL;
    size_t room = 0;
    ts_status status = TS_OK;
    if (!file)
        return TS_OK; /* not begun */
    for (int n = 1; status == TS_OK && getline(&text, &room, file) > 0; n++) {
        json_error_t why;
        if (!strchr(text, '\n'))
            break; /* it is being written */
        json_t *line = json_loads(text, 0, &why);
        status = line ? take_line(r, line, err)
                      : ts_fail(err, TS_ERR_DATA, "%s:%d: no line of metrics: %s", path, n, why.text);
        json_decref(line);
    }
    free(text);
    fclose(file);
    return status;
}

/* Counts of the codes; a file that does not fit is as good as none. */
static int64_t *read_counts(const char *path, double codes)
{
    ts_npy npy;
    int64_t *counts = NULL;
    if (access(path, R_OK) != 0 || ts_npy_open(&npy, path, NULL) != TS_OK)
        return NULL;
    int64_t n = ts_shape_count(npy.info.shape);
    if (npy.info.dtype == TS_I64 && (double)n == codes && (counts = ts_calloc((size_t)n, sizeof *counts)))
        memcpy(counts, npy.tensor.data, (size_t)n * sizeof *counts);
    ts_npy_close(&npy);
    return counts;
}

static ts_status hash_config(const ts_ablation *a, ts_ablation_result *r, ts_error *err)
{
    ts_config *config;
    char *text;
    TS_TRY(ts_ablation_config(a, r->cell, &config, err));
    ts_status status = ts_config_print(config, false, &text, err);
    if (status == TS_OK) {
        ts_hash_text hash = ts_hash_print(ts_hash_bytes(text, strlen(text)));
        snprintf(r->config_hash, sizeof r->config_hash, "%.16s", hash.text);
        ts_free(text);
    }
    ts_config_free(config);
    return status;
}

static ts_status read_cell(const ts_ablation *a, ts_ablation_result *r, const char *directory, ts_error *err)
{
    char *metrics = ts_ablation_cell_path(directory, r->cell, "/metrics.jsonl");
    char *counts = ts_ablation_cell_path(directory, r->cell, "/codes.npy");
    ts_status status = metrics && counts ? TS_OK : ts_out_of_memory(err, 0);
    r->last = (ts_ablation_measure){NAN, NAN, NAN, NAN, NAN, NAN};
    r->codes = r->tokens = r->mse = r->psnr = r->mpjpe = NAN;
    if (status == TS_OK)
        status = read_metrics(r, metrics, err);
    r->finished = ts_ablation_cell_finished(directory, r->cell);
    if (status == TS_OK && r->finished)
        r->counts = read_counts(counts, r->codes);
    if (status == TS_OK)
        status = hash_config(a, r, err);
    ts_free(metrics);
    ts_free(counts);
    return status;
}

ts_status ts_ablation_results_read(ts_ablation_results *results, const ts_ablation *a, const char *directory,
                                   ts_error *err)
{
    *results = (ts_ablation_results){.ablation = a, .directory = directory, .millimetres = true};
    results->result = ts_calloc((size_t)a->cell_count, sizeof *results->result);
    if (!results->result)
        return ts_out_of_memory(err, 0);
    bool any = false;
    for (int i = 0; i < a->cell_count; i++) {
        ts_ablation_result *r = &results->result[i];
        r->cell = &a->cell[i];
        ts_status status = read_cell(a, r, directory, err);
        if (status != TS_OK) {
            ts_ablation_results_clear(results);
            return status;
        }
        any |= r->finished;
        if (r->finished && !isfinite(r->mpjpe))
            results->millimetres = false;
    }
    results->millimetres &= any;
    return TS_OK;
}

void ts_ablation_results_clear(ts_ablation_results *results)
{
    for (int i = 0; results->result && i < results->ablation->cell_count; i++) {
        ts_free(results->result[i].train);
        ts_free(results->result[i].val);
        ts_free(results->result[i].counts);
    }
    ts_free(results->result);
    *results = (ts_ablation_results){0};
}

/* ---- values ---- */

double ts_ablation_error(const ts_ablation_result *r)
{
    return r->last.error;
}

double ts_ablation_usage(const ts_ablation_result *r)
{
    return r->last.usage;
}

double ts_ablation_perplexity(const ts_ablation_result *r)
{
    return r->last.perplexity;
}

double ts_ablation_perplexity_share(const ts_ablation_result *r)
{
    return r->last.perplexity / r->last.ceiling;
}

double ts_ablation_codes(const ts_ablation_result *r)
{
    return r->codes;
}

ts_spread ts_ablation_spread(const ts_ablation_results *results, int series, int size, ts_ablation_value *value)
{
    const ts_ablation *a = results->ablation;
    ts_spread s = {.low = INFINITY, .high = -INFINITY};
    for (int i = 0; i < a->cell_count; i++) {
        const ts_ablation_result *r = &results->result[i];
        double x = value(r);
        if (!r->finished || r->cell->series != series || r->cell->size != a->sizes[size] || !isfinite(x))
            continue;
        s.mean += x;
        s.low = fmin(s.low, x);
        s.high = fmax(s.high, x);
        s.count++;
    }
    if (s.count)
        s.mean /= s.count;
    else
        s.mean = s.low = s.high = NAN;
    return s;
}

const char *ts_ablation_error_name(const ts_ablation_results *results)
{
    return results->millimetres ? "MPJPE, mm" : "mean squared error";
}

/* ---- the table ---- */

static void csv_text(FILE *out, const char *text)
{
    fputc('"', out);
    for (; *text; text++)
        fprintf(out, *text == '"' ? "\"\"" : "%c", *text);
    fputc('"', out);
}

static void csv_number(FILE *out, double value)
{
    if (isfinite(value))
        fprintf(out, ",%.9g", value);
    else
        fputc(',', out);
}

void ts_ablation_write_csv(const ts_ablation_results *results, FILE *out)
{
    const ts_ablation *a = results->ablation;
    fprintf(out, "cell,method,size,seed,steps,finished,codes,tokens,mse,psnr,mpjpe_mm,usage,perplexity,"
                 "perplexity_ceiling,config\n");
    for (int i = 0; i < a->cell_count; i++) {
        const ts_ablation_result *r = &results->result[i];
        fprintf(out, "%s,", r->cell->name);
        csv_text(out, a->series[r->cell->series]);
        fprintf(out, ",%" PRId64 ",%" PRId64 ",%" PRId64 ",%d", r->cell->size, r->cell->seed, r->cell->steps,
                (int)r->finished);
        const double values[] = {r->codes,      r->tokens,          r->mse,         r->psnr, r->mpjpe,
                                 r->last.usage, r->last.perplexity, r->last.ceiling};
        for (size_t k = 0; k < sizeof values / sizeof *values; k++)
            csv_number(out, values[k]);
        fprintf(out, ",%s\n", r->config_hash);
    }
}

static json_t *number(double value)
{
    return isfinite(value) ? json_real(value) : json_null();
}

static json_t *curve(const ts_ablation_measure *m, int count)
{
    json_t *list = json_array();
    for (int i = 0; i < count; i++)
        json_array_append_new(list, json_pack("[o o o o o]", number(m[i].step), number(m[i].loss), number(m[i].error),
                                              number(m[i].usage), number(m[i].perplexity)));
    return list;
}

static json_t *cell_json(const ts_ablation *a, const ts_ablation_result *r)
{
    json_t *overrides = json_array();
    for (const char *const *o = r->cell->override; *o; o++)
        json_array_append_new(overrides, json_string(*o));
    return json_pack("{ss ss sI sI sI sb so so so so so so so so ss so so so}", "cell", r->cell->name, "method",
                     a->series[r->cell->series], "size", (json_int_t)r->cell->size, "seed", (json_int_t)r->cell->seed,
                     "steps", (json_int_t)r->cell->steps, "finished", (int)r->finished, "codes", number(r->codes),
                     "tokens", number(r->tokens), "mse", number(r->mse), "psnr", number(r->psnr), "mpjpe_mm",
                     number(r->mpjpe), "usage", number(r->last.usage), "perplexity", number(r->last.perplexity),
                     "perplexity_ceiling", number(r->last.ceiling), "config", r->config_hash, "overrides", overrides,
                     "train", curve(r->train, r->train_count), "val", curve(r->val, r->val_count));
}

ts_status ts_ablation_write_json(const ts_ablation_results *results, bool one_line, FILE *out, ts_error *err)
{
    const ts_ablation *a = results->ablation;
    ts_findings findings;
    TS_TRY(ts_ablation_findings(results, &findings, err));
    json_t *cells = json_array(), *found = json_array();
    for (int i = 0; i < a->cell_count; i++)
        json_array_append_new(cells, cell_json(a, &results->result[i]));
    for (int i = 0; i < findings.count; i++)
        json_array_append_new(found, json_pack("{ss ss}", "question", findings.finding[i].question, "answer",
                                               findings.finding[i].answer));
    json_t *root = json_pack("{ss ss ss ss so so}", "name", a->name, "description", a->description, "error",
                             ts_ablation_error_name(results), "columns_of_curves",
                             "step, loss, error, usage, perplexity", "findings", found, "cells", cells);
    bool ok = root && json_dumpf(root, out, (one_line ? 0 : JSON_INDENT(1)) | JSON_REAL_PRECISION(9)) == 0;
    json_decref(root);
    ts_findings_clear(&findings);
    return ok ? TS_OK : ts_out_of_memory(err, 0);
}
