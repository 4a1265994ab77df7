#include "train/import_weights.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "models/exported.h"
#include "models/published_names.h"
#include "models/weights.h"
#include "train/answer.h"
#include "train/checkpoint.h"
#include "train/item_shape.h"
#include "train/programs.h"

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

static ts_status load_config(const job *j, ts_config **config, ts_error *err)
{
    const char *const *overrides = (const char *const *)j->arguments->overrides;
    const char *path = ts_arguments_text(j->arguments, "config");
    const char *text = ts_exported_text(j->file, "tessera.config");
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
    TS_TRY(ts_item_find(&j->e, typed ? typed : ts_exported_text(j->file, "tessera.item"), &source, err));
    ts_range_find(ts_exported_text(j->file, "tessera.range"), &j->e.range);
    return TS_OK;
}

/* ---- how motion is normalised ---- */

/* The file that was given, or NAME.npy beside the weights; NULL: there is none. */
static const char *column_file(job *j, const char *name)
{
    const char *given = ts_arguments_text(j->arguments, name);
    return given ? given : ts_exported_columns_path(j->path, name, &j->arena);
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
    TS_TRY(ts_exported_columns(j->mean, false, j->e.motion.columns, &j->e.arena, &j->e.motion.mean, err));
    return ts_exported_columns(j->std, true, j->e.motion.columns, &j->e.arena, &j->e.motion.std, err);
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
    TS_TRY(ts_weights_import(&j->e.tokenizer, j->e.store, j->file, j->path, &j->found, err));
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
