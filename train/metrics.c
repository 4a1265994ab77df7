#include "train/metrics.h"

#include <ctype.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A line starts with it: so its step is found without a parser. */
#define LINE_START "{\"step\": "

/* Losses are floats: nine digits tell them apart. */
enum { DIGITS = 10 };

static void put_real(json_t *line, const char *key, double value)
{
    json_object_set_new(line, key, isfinite(value) ? json_real(value) : json_null());
}

static void put_int(json_t *line, const char *key, int64_t value)
{
    json_object_set_new(line, key, json_integer(value));
}

/* Null where nothing was counted: a usage of 0 would be a statement. */
static void put_usage(json_t *line, const ts_usage *u)
{
    bool known = u->tokens > 0;
    put_real(line, "usage", known ? u->usage : NAN);
    put_real(line, "perplexity", known ? u->perplexity : NAN);
    put_real(line, "perplexity_ceiling", known ? u->ceiling : NAN);
    json_object_set_new(line, "used", known ? json_integer(u->used) : json_null());
    put_int(line, "codes", u->codes);
    put_int(line, "tokens", u->tokens);
}

/* The same group by group, where a token has several ids. */
static void put_groups(json_t *line, const ts_evaluation *v)
{
    json_t *used = json_array(), *perplexity = json_array();
    for (int64_t g = 0; g < v->groups; g++) {
        ts_usage u = ts_evaluation_group_usage(v, g);
        json_array_append_new(used, json_integer(u.used));
        json_array_append_new(perplexity, json_real(u.perplexity));
    }
    json_object_set_new(line, "used_by_group", used);
    json_object_set_new(line, "perplexity_by_group", perplexity);
}

static size_t print(json_t *object, char line[TS_METRICS_LINE_BYTES])
{
    size_t n = object ? json_dumpb(object, line, TS_METRICS_LINE_BYTES - 2, JSON_REAL_PRECISION(DIGITS)) : 0;
    json_decref(object);
    if (n == 0 || n > TS_METRICS_LINE_BYTES - 2)
        return 0;
    line[n] = '\n';
    line[n + 1] = '\0';
    return n + 1;
}

size_t ts_metrics_step(const ts_step_metrics *m, char line[TS_METRICS_LINE_BYTES])
{
    json_t *o = json_object();
    put_int(o, "step", m->step);
    json_object_set_new(o, "split", json_string(ts_split_name(TS_SPLIT_TRAIN)));
    put_real(o, "loss", m->loss);
    for (int i = 0; i < m->part_count; i++)
        put_real(o, m->part_names[i], m->parts[i]);
    put_real(o, "lr", m->lr);
    put_real(o, "grad_norm", m->norm);
    put_usage(o, &m->usage);
    put_int(o, "skipped", m->skipped);
    put_int(o, "rolled_back", m->rolled_back);
    put_real(o, "items_per_s", m->items_per_s);
    put_real(o, "steps_per_s", m->steps_per_s);
    return print(o, line);
}

static void put_motion(json_t *o, const ts_evaluation *v)
{
    ts_metric metric[TS_MOTION_METRICS];
    ts_evaluation_motion(v, metric);
    for (int i = 0; i < TS_MOTION_METRICS; i++)
        if (!isnan(metric[i].value))
            put_real(o, metric[i].key, metric[i].value);
    put_int(o, "frames", v->frames);
    if (!v->clips)
        return;
    put_int(o, "clips", v->clips);
    put_int(o, "clips_in_pieces", v->in_pieces);
    put_int(o, "clips_skipped", v->skipped);
}

size_t ts_metrics_evaluation(int64_t step, ts_split split, const ts_evaluation *v, bool best,
                             char line[TS_METRICS_LINE_BYTES])
{
    json_t *o = json_object();
    put_int(o, "step", step);
    json_object_set_new(o, "split", json_string(ts_split_name(split)));
    put_real(o, "loss", v->loss);
    put_real(o, "recon", v->recon);
    for (int i = 0; i < v->part_count; i++)
        put_real(o, v->part_names[i], v->parts[i]);
    put_real(o, "mse", v->mse);
    put_real(o, "l1", v->l1);
    if (v->frames)
        put_motion(o, v);
    else {
        put_real(o, "psnr", v->psnr);
        put_real(o, "ssim", v->ssim);
    }
    put_usage(o, &v->usage);
    if (v->groups)
        put_groups(o, v);
    put_int(o, "items", v->items);
    json_object_set_new(o, "best", json_boolean(best));
    return print(o, line);
}

static void put_flat(json_t *flat, const char *key, json_t *value)
{
    char name[64];
    size_t i;
    json_t *one;
    if (!json_is_array(value) && !json_is_string(value))
        json_object_set(flat, key, value);
    json_array_foreach(value, i, one)
    {
        snprintf(name, sizeof name, "%s/%zu", key, i);
        json_object_set(flat, name, one);
    }
}

json_t *ts_metrics_flat(const char *line, size_t bytes)
{
    json_t *all = json_loadb(line, bytes, 0, NULL), *flat = all ? json_object() : NULL, *value;
    const char *key;
    json_object_foreach(all, key, value) put_flat(flat, key, value);
    json_decref(all);
    return flat;
}

int64_t ts_metrics_line_step(const char *line, size_t bytes)
{
    const size_t start = sizeof LINE_START - 1;
    if (bytes < start + 3 || memcmp(line, LINE_START, start) != 0 || memcmp(line + bytes - 2, "}\n", 2) != 0)
        return -1;
    return isdigit((unsigned char)line[start]) ? strtoll(line + start, NULL, 10) : -1;
}

size_t ts_metrics_cut(char *text, size_t bytes, int64_t last_step)
{
    size_t kept = 0;
    for (size_t at = 0; at < bytes;) {
        const char *end = memchr(text + at, '\n', bytes - at);
        size_t n = end ? (size_t)(end - (text + at)) + 1 : bytes - at;
        int64_t step = ts_metrics_line_step(text + at, n);
        if (step >= 0 && step <= last_step) {
            memmove(text + kept, text + at, n);
            kept += n;
        }
        at += n;
    }
    return kept;
}
