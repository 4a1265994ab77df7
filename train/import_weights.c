#include "train/import_weights.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "core/files/npy.h"
#include "models/published_names.h"
#include "train/answer.h"
#include "train/checkpoint.h"
#include "train/item_shape.h"
#include "train/programs.h"
#include "train/weights.h"

typedef struct {
    const ts_arguments *arguments;
    const char *path; /* of the weights */
    ts_safetensors *file;
    ts_experiment e;
    ts_weights_found found;
    const char *mean, *std; /* files that were read; NULL: none */
    ts_arena arena;
} job;

/* ---- config and item ---- */

static const char *metadata_of(const ts_safetensors *file, const char *wanted)
{
    const char *key, *text;
    for (int64_t i = 0; ts_safetensors_metadata(file, i, &key, &text); i++)
        if (strcmp(key, wanted) == 0)
            return text;
    return NULL;
}

static ts_status load_config(const job *j, ts_config **config, ts_error *err)
{
    const char *const *overrides = (const char *const *)j->arguments->overrides;
    const char *path = ts_arguments_text(j->arguments, "config");
    const char *text = metadata_of(j->file, "tessera.config");
    if (path)
        return ts_config_load(config, ts_experiment_schema(), path, overrides, err);
    if (text)
        return ts_config_parse(config, ts_experiment_schema(), j->path, text, strlen(text), overrides, err);
    return ts_fail(err, TS_ERR_USAGE,
                   "%s: does not say what model it is of, as files of tessera export do; give --config CONFIG",
                   j->path);
}

/* From --item, else from the file, else from config or data; the range of its values from the file, where it says. */
static ts_status find_item(job *j, ts_error *err)
{
    const char *typed = ts_arguments_text(j->arguments, "item"), *source;
    const char *range = metadata_of(j->file, "tessera.range");
    TS_TRY(ts_item_find(&j->e, typed ? typed : metadata_of(j->file, "tessera.item"), &source, err));
    for (int r = 0; range && ts_range_names[r]; r++)
        if (strcmp(ts_range_names[r], range) == 0)
            j->e.range = (ts_range)r;
    return TS_OK;
}

/* ---- how motion is normalised ---- */

/* The file that was given, or NAME.npy beside the weights; NULL: there is none. */
static const char *column_file(job *j, const char *name)
{
    const char *given = ts_arguments_text(j->arguments, name), *slash = strrchr(j->path, '/');
    if (given)
        return given;
    const char *path = ts_arena_format(&j->arena, "%.*s%s.npy", slash ? (int)(slash - j->path + 1) : 0, j->path, name);
    return path && access(path, R_OK) == 0 ? path : NULL;
}

static ts_status read_columns(job *j, const char *path, bool positive, const float **values, ts_error *err)
{
    ts_npy npy;
    int64_t columns = j->e.motion.columns;
    TS_TRY(ts_npy_open(&npy, path, err));
    ts_status status = TS_OK;
    const float *x = npy.tensor.data;
    if (npy.tensor.dtype != TS_F32 || ts_shape_count(npy.tensor.shape) != columns)
        status = ts_fail(err, TS_ERR_DATA, "%s: is %s %s, expected a float for each of the %" PRId64 " columns", path,
                         ts_dtype_name(npy.tensor.dtype), ts_shape_print(npy.tensor.shape).text, columns);
    for (int64_t i = 0; status == TS_OK && i < columns; i++)
        if (!isfinite(x[i]) || (positive && x[i] <= 0))
            status = ts_fail(err, TS_ERR_DATA, "%s: column %" PRId64 " is %g, expected a finite number%s", path, i,
                             (double)x[i], positive ? " above 0" : "");
    float *copy = status == TS_OK ? ts_arena_alloc(&j->e.arena, (size_t)columns * sizeof *copy) : NULL;
    if (status == TS_OK && !copy)
        status = ts_out_of_memory(err, (size_t)columns * sizeof *copy);
    if (copy) {
        memcpy(copy, x, (size_t)columns * sizeof *copy);
        *values = copy;
    }
    ts_npy_close(&npy);
    return status;
}

static ts_status read_motion(job *j, ts_error *err)
{
    if (!j->e.motion.columns)
        return TS_OK;
    j->mean = column_file(j, "mean");
    j->std = column_file(j, "std");
    if (!j->mean != !j->std)
        return ts_fail(err, TS_ERR_USAGE, "import weights: --mean and --std come together; only %s is there",
                       j->mean ? j->mean : j->std);
    j->e.motion.known = true;
    if (!j->mean)
        return TS_OK;
    TS_TRY(read_columns(j, j->mean, false, &j->e.motion.mean, err));
    return read_columns(j, j->std, true, &j->e.motion.std, err);
}

/* ---- the whole ---- */

static ts_status answer(const job *j, ts_error *err)
{
    const ts_weights_found *f = &j->found;
    json_t *all = json_object();
    json_object_set_new(all, "checkpoint", json_string(ts_arguments_positional(j->arguments, 2)));
    json_object_set_new(all, "model", json_string(j->e.tokenizer.model->name));
    json_object_set_new(all, "quantizer", json_string(j->e.tokenizer.quantizer->name));
    json_object_set_new(all, "names",
                        json_string(f->names == TS_WEIGHTS_OWN ? "own" : ts_published_by(&j->e.tokenizer)));
    json_object_set_new(all, "prefix", json_string(f->prefix));
    json_object_set_new(all, "tensors", json_integer(f->tensors));
    json_object_set_new(all, "parameters", json_integer(ts_store_parameter_count(j->e.store)));
    json_object_set_new(all, "unused", json_integer(f->unused));
    json_object_set_new(all, "statistics_begun_anew", json_integer(f->missing_state));
    json_object_set_new(all, "item", ts_answer_shape(j->e.tokenizer.item));
    if (j->e.motion.columns)
        json_object_set_new(all, "normalised_by", j->mean ? json_string(j->mean) : json_null());
    return ts_answer_show(all, ts_arguments_flag(j->arguments, "json"), stdout, err);
}

static ts_status import(job *j, ts_error *err)
{
    ts_config *config;
    ts_train_state state = {.best = NAN, .initialised = true};
    TS_TRY(load_config(j, &config, err));
    TS_TRY(ts_experiment_open(&j->e, config, "cpu", 1, err));
    TS_TRY(find_item(j, err));
    TS_TRY(read_motion(j, err));
    TS_TRY(ts_experiment_make_store(&j->e, err));
    TS_TRY(ts_weights_import(&j->e, j->file, j->path, &j->found, err));
    if (j->found.unused)
        fprintf(stderr, "tessera: note: %" PRId64 " tensors of the file have no place in this model; the first: %s\n",
                j->found.unused, j->found.first_unused);
    TS_TRY(ts_checkpoint_save(&j->e, &state, ts_arguments_positional(j->arguments, 2), false, err));
    return answer(j, err);
}

ts_status ts_import_weights(const ts_arguments *a, ts_error *err)
{
    job j = {.arguments = a, .path = ts_arguments_positional(a, 1)};
    TS_TRY(ts_safetensors_open(&j.file, j.path, TS_ERR_CHECKPOINT, err));
    ts_status status = import(&j, err);
    ts_experiment_close(&j.e);
    ts_safetensors_close(j.file);
    ts_arena_clear(&j.arena);
    return status;
}
