/* tessera export: a trained tokenizer's weights for other programs. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/files/npy.h"
#include "core/files/replace.h"
#include "models/published_names.h"
#include "models/weights.h"
#include "train/answer.h"
#include "train/commands.h"
#include "train/file_list.h"
#include "train/trained.h"

typedef struct {
    const ts_arguments *arguments;
    const char *folder;
    ts_trained trained;
    char *config;  /* the resolved one, YAML */
    char item[64]; /* "28x28x1" */
    ts_hash_text weights;
    int64_t tensors;
} job;

/* DIR/NAME, to be freed with ts_free. */
static ts_status path_in(const job *j, const char *name, char **path, ts_error *err)
{
    *path = ts_format("%s/%s", j->folder, name);
    return *path ? TS_OK : ts_out_of_memory(err, strlen(name));
}

static ts_status write_weights(job *j, ts_error *err)
{
    const ts_experiment *e = &j->trained.experiment;
    const char *metadata[] = {"format",
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
                              NULL};
    const ts_weights_export_options options = {
        .names = (ts_weights_names)ts_arguments_choice(j->arguments, "names"),
        .ema = j->trained.ema,
        .state = ts_arguments_flag(j->arguments, "state"),
        .metadata = metadata,
    };
    char *path;
    TS_TRY(path_in(j, "model.safetensors", &path, err));
    ts_status status = ts_weights_export(&e->tokenizer, e->store, path, &options, &j->tensors, err);
    ts_free(path);
    return status;
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
    json_object_set_new(all, "folder", json_string(j->folder));
    json_object_set_new(all, "format", json_string("safetensors"));
    json_object_set_new(all, "names", json_string(own ? "own" : ts_published_by(&j->trained.experiment.tokenizer)));
    json_object_set_new(all, "tensors", json_integer(j->tensors));
    json_object_set_new(all, "moving_average", json_boolean(j->trained.ema));
    json_object_set_new(all, "normalised", json_boolean(j->trained.experiment.motion.mean != NULL));
    json_object_set_new(all, "weights", json_string(j->weights.text));
    return ts_answer_show(all, ts_arguments_flag(j->arguments, "json"), stdout, err);
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
    TS_TRY(ts_folder_make(j->folder, TS_ERR_DATA, err));
    TS_TRY(write_weights(j, err));
    TS_TRY(write_config(j, err));
    TS_TRY(write_column(j, "mean.npy", e->motion.mean, err));
    TS_TRY(write_column(j, "std.npy", e->motion.std, err));
    return answer(j, err);
}

ts_status ts_cmd_export(const ts_arguments *a, int *exit_code, ts_error *err)
{
    (void)exit_code;
    job j = {.arguments = a, .folder = ts_arguments_text(a, "output")};
    ts_status status = ts_trained_open(&j.trained, a, err);
    if (status == TS_OK)
        status = export(&j, err);
    ts_free(j.config);
    ts_trained_close(&j.trained);
    return status;
}
