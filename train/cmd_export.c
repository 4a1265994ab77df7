/* tessera export: a trained tokenizer for other programs, as weights or as ONNX models. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/files/npy.h"
#include "core/files/replace.h"
#include "models/published_names.h"
#include "models/weights.h"
#include "train/answer.h"
#include "train/commands.h"
#include "train/export_onnx.h"
#include "train/file_list.h"
#include "train/trained.h"

enum { SAFETENSORS, ONNX };

typedef struct {
    const ts_arguments *arguments;
    const char *folder;
    ts_trained trained;
    char *config;  /* the resolved one, YAML */
    char item[64]; /* "28x28x1" */
    ts_hash_text weights;
    int64_t tensors;
    json_t *models; /* ONNX: what was written */
} job;

static bool is_onnx(const job *j)
{
    return ts_arguments_choice(j->arguments, "to") == ONNX;
}

/* DIR/NAME, to be freed with ts_free. */
static ts_status path_in(const job *j, const char *name, char **path, ts_error *err)
{
    *path = ts_format("%s/%s", j->folder, name);
    return *path ? TS_OK : ts_out_of_memory(err, strlen(name));
}

/* What a file of ours says about itself: pairs of key and text. */
enum { METADATA_TEXTS = 16 };
static void metadata_of(const job *j, const char *texts[METADATA_TEXTS])
{
    const ts_experiment *e = &j->trained.experiment;
    const char *all[] = {"format",
                         "pt",
                         "tessera.version",
                         TESSERA_VERSION,
                         "tessera.config",
                         j->config,
                         "tessera.item",
                         j->item,
                         "tessera.range",
                         ts_range_names[e->range],
                         "tessera.weights",
                         j->weights.text,
                         "tessera.normalised",
                         e->motion.mean ? "true" : "false",
                         NULL};
    memcpy(texts, all, sizeof all);
}

static ts_status write_weights(job *j, ts_error *err)
{
    const char *metadata[METADATA_TEXTS];
    metadata_of(j, metadata);
    const ts_weights_export_options options = {
        .names = (ts_weights_names)ts_arguments_choice(j->arguments, "names"),
        .ema = j->trained.ema,
        .state = ts_arguments_flag(j->arguments, "state"),
        .metadata = metadata,
    };
    char *path;
    TS_TRY(path_in(j, "model.safetensors", &path, err));
    ts_status status = ts_weights_export(&j->trained.experiment.tokenizer, j->trained.experiment.store, path, &options,
                                         &j->tensors, err);
    ts_free(path);
    return status;
}

static ts_status write_model(job *j, ts_onnx_part part, const char *path, ts_error *err)
{
    const char *metadata[METADATA_TEXTS];
    int64_t nodes;
    metadata_of(j, metadata);
    TS_TRY(ts_export_onnx(&j->trained.experiment, part, j->trained.ema, metadata + 2, path, &nodes, err));
    json_array_append_new(j->models, json_sprintf("%s: %lld nodes", path, (long long)nodes));
    return TS_OK;
}

/* Encoder, decoder, both; or both alone, in one file. */
static ts_status write_models(job *j, ts_error *err)
{
    if (ts_is_onnx_path(j->folder))
        return write_model(j, TS_ONNX_TOKENIZER, j->folder, err);
    for (int part = 0; part < TS_ONNX_PARTS; part++) {
        char *path = ts_format("%s/%s.onnx", j->folder, ts_onnx_part_names[part]);
        ts_status status = path ? write_model(j, (ts_onnx_part)part, path, err) : ts_out_of_memory(err, 0);
        ts_free(path);
        TS_TRY(status);
    }
    return TS_OK;
}

static json_t *section_json(const ts_config *config, const char *section)
{
    const ts_option_table *table = ts_config_table(config, section);
    json_t *all = json_object();
    json_object_set_new(all, "kind", json_string(table->kind));
    for (const ts_option *o = table->options; o->name; o++) {
        char value[256];
        ts_option_print(o, ts_config_options(config, section), value, sizeof value);
        json_t *typed = json_loads(value, JSON_DECODE_ANY, NULL); /* numbers, booleans and lists of them */
        json_object_set_new(all, o->name, typed ? typed : json_string(value));
    }
    return all;
}

/* What another program needs to use the weights. */
static json_t *config_json(const job *j)
{
    const ts_experiment *e = &j->trained.experiment;
    const ts_tokenizer *t = &e->tokenizer;
    bool own = ts_arguments_choice(j->arguments, "names") == TS_WEIGHTS_OWN;
    json_t *all = json_object();
    json_object_set_new(all, "format", json_string("tessera tokenizer 1"));
    json_object_set_new(all, "model", section_json(e->config, "model"));
    json_object_set_new(all, "quantizer", section_json(e->config, "quantizer"));
    if (!is_onnx(j))
        json_object_set_new(all, "names", json_string(own ? "tessera" : ts_published_by(t)));
    json_object_set_new(all, "item", ts_answer_shape(t->item));
    json_object_set_new(all, "tokens", ts_answer_shape(t->tokens));
    json_object_set_new(all, "codes", json_integer(t->info.codes));
    json_object_set_new(all, "groups", json_integer(t->info.groups));
    json_object_set_new(all, "code_width", json_integer(t->info.width));
    json_object_set_new(all, "range", t->item.rank == 3 ? json_string(ts_range_names[e->range]) : json_null());
    json_object_set_new(all, "normalised", json_boolean(e->motion.mean != NULL));
    json_object_set_new(all, "moving_average", json_boolean(j->trained.ema));
    json_object_set_new(all, "step", json_integer(j->trained.state.step));
    json_object_set_new(all, "weights", json_string(j->weights.text));
    return all;
}

static ts_status write_config(const job *j, ts_error *err)
{
    char *path;
    TS_TRY(path_in(j, "config.json", &path, err));
    json_t *all = config_json(j);
    char *text = json_dumps(all, JSON_INDENT(2));
    ts_status status =
        text ? ts_replace_file(path, text, strlen(text), TS_REPLACE_DROP, TS_ERR_DATA, err) : ts_out_of_memory(err, 0);
    json_decref(all);
    free(text);
    ts_free(path);
    return status;
}

static ts_status write_column(const job *j, const char *name, const float *values, ts_error *err)
{
    ts_tensor t = {TS_F32, ts_shape_of(j->trained.experiment.motion.columns), (void *)values};
    char *path;
    if (!values)
        return TS_OK;
    TS_TRY(path_in(j, name, &path, err));
    ts_status status = ts_npy_write(path, &t, err);
    ts_free(path);
    return status;
}

static ts_status answer(const job *j, ts_error *err)
{
    bool own = ts_arguments_choice(j->arguments, "names") == TS_WEIGHTS_OWN;
    json_t *all = json_object();
    json_object_set_new(all, ts_is_onnx_path(j->folder) ? "file" : "folder", json_string(j->folder));
    json_object_set_new(all, "format", json_string(is_onnx(j) ? "onnx" : "safetensors"));
    if (is_onnx(j)) {
        json_object_set_new(all, "opset", json_integer(TS_ONNX_OPSET));
        json_object_set(all, "models", j->models);
    } else {
        json_object_set_new(all, "names", json_string(own ? "own" : ts_published_by(&j->trained.experiment.tokenizer)));
        json_object_set_new(all, "tensors", json_integer(j->tensors));
    }
    json_object_set_new(all, "moving_average", json_boolean(j->trained.ema));
    json_object_set_new(all, "normalised", json_boolean(j->trained.experiment.motion.mean != NULL));
    json_object_set_new(all, "weights", json_string(j->weights.text));
    return ts_answer_show(all, ts_arguments_flag(j->arguments, "json"), stdout, err);
}

/* config.json, and what normalises motion. */
static ts_status write_companions(const job *j, ts_error *err)
{
    TS_TRY(write_config(j, err));
    TS_TRY(write_column(j, "mean.npy", j->trained.experiment.motion.mean, err));
    return write_column(j, "std.npy", j->trained.experiment.motion.std, err);
}

static ts_status export(job *j, ts_error *err)
{
    const ts_experiment *e = &j->trained.experiment;
    ts_shape item = e->tokenizer.item;
    for (int i = 0; i < item.rank; i++)
        snprintf(j->item + strlen(j->item), sizeof j->item - strlen(j->item), i ? "x%lld" : "%lld",
                 (long long)item.dim[i]);
    j->weights = ts_hash_print(j->trained.weights);
    TS_TRY(ts_config_print(e->config, false, &j->config, err));
    if (!ts_is_onnx_path(j->folder))
        TS_TRY(ts_folder_make(j->folder, TS_ERR_DATA, err));
    TS_TRY(is_onnx(j) ? write_models(j, err) : write_weights(j, err));
    if (!ts_is_onnx_path(j->folder))
        TS_TRY(write_companions(j, err));
    return answer(j, err);
}

static ts_status check_options(const job *j, ts_error *err)
{
    static const char *const others[] = {"names", "state"};
    for (size_t i = 0; is_onnx(j) && i < sizeof others / sizeof *others; i++)
        if (ts_arguments_given(j->arguments, others[i]))
            return ts_fail(err, TS_ERR_USAGE, "export: --%s belongs to --to safetensors", others[i]);
    if (!is_onnx(j) && ts_is_onnx_path(j->folder))
        return ts_fail(err, TS_ERR_USAGE, "export: -o %s names an ONNX model; add --to onnx, or name a folder",
                       j->folder);
    return TS_OK;
}

ts_status ts_cmd_export(const ts_arguments *a, int *exit_code, ts_error *err)
{
    (void)exit_code;
    job j = {.arguments = a, .folder = ts_arguments_text(a, "output"), .models = json_array()};
    ts_status status = check_options(&j, err);
    if (status == TS_OK)
        status = ts_trained_open(&j.trained, a, err);
    if (status == TS_OK)
        status = export(&j, err);
    json_decref(j.models);
    ts_free(j.config);
    ts_trained_close(&j.trained);
    return status;
}
