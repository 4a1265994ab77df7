#include "models/codec.h"

#include <jansson.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "config/top.h"
#include "core/memory.h"
#include "models/exported.h"
#include "models/saved.h"
#include "models/sections.h"
#include "models/weights.h"

struct ts_codec {
    ts_codec_info info;
    ts_codec_options options; /* device in the arena */
    ts_config *config;
    ts_tokenizer tokenizer;
    ts_device *device; /* of the store */
    ts_store *store;
    int block;
    int64_t columns; /* of motion that is normalised */
    const float *mean, *std;
    ts_hash_text weights;
    ts_arena arena;
};

/* ---- the config ---- */

static ts_config_section sections[5]; /* the last one is empty: the end */

static const ts_config_schema schema = {.top = &ts_top_table, .sections = sections};

/* What data a tokenizer was trained on, and how, is of no concern here: those sections may hold what they like. */
static void collect_sections(void)
{
    sections[0] = (ts_config_section){.name = "data", .lists = true};
    sections[1] = *ts_model_section();
    sections[2] = *ts_quantizer_section();
    sections[3] = (ts_config_section){.name = "train", .lists = true};
}

static ts_status parse_config(ts_codec *c, const char *path, const char *text, ts_error *err)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, collect_sections);
    TS_TRY(ts_config_parse(&c->config, &schema, path, text, strlen(text), NULL, err));
    return ts_tokenizer_of_config(&c->tokenizer, c->config, err);
}

/* A key of the section `train`; NULL: it is not there. */
static const char *train_key(const ts_codec *c, const char *key)
{
    ts_config_pair pair;
    for (int i = 0; ts_config_pair_at(c->config, "train", i, &pair); i++)
        if (strcmp(pair.key, key) == 0)
            return pair.text;
    return NULL;
}

/* A switch of that section, on where it is not there. */
static bool train_flag(const ts_codec *c, const char *key)
{
    const char *text = train_key(c, key);
    return !text || strcmp(text, "false") != 0;
}

/* ---- the store ---- */

static ts_status make_store(ts_codec *c, ts_error *err)
{
    const ts_codec_options *o = &c->options;
    TS_TRY(ts_tokenizer_check(&c->tokenizer, err));
    TS_TRY(ts_device_open(o->device, o->threads, &c->device, err));
    if (!(c->store = ts_store_new(TS_F32)))
        return ts_out_of_memory(err, 0);
    TS_TRY(ts_tokenizer_variables(&c->tokenizer, c->store, err));
    return ts_store_seal(c->store, c->device, 0, err);
}

/* ---- a checkpoint ---- */

static ts_status read_container(ts_codec *c, ts_container *file, const char *path, ts_error *err)
{
    const char *config;
    ts_hash hash;
    TS_TRY(ts_saved_text(file, path, "config", &config, err));
    TS_TRY(parse_config(c, path, config, err));
    TS_TRY(ts_saved_item(file, path, &c->tokenizer.item, &c->info.range, err));
    TS_TRY(ts_saved_rows(file, path, &c->arena, &c->columns, &c->mean, &c->std, err));
    if (c->mean)
        TS_TRY(ts_saved_fits(path, c->tokenizer.item, c->columns, err));
    TS_TRY(make_store(c, err));
    TS_TRY(ts_saved_restore(c->store, file, path, TS_RESTORE_INFER, err));
    TS_TRY(ts_weights_hash(file, &hash, err));
    c->weights = ts_hash_print(hash);
    return TS_OK;
}

static ts_status open_container(ts_codec *c, const char *path, ts_error *err)
{
    ts_container *file;
    TS_TRY(ts_container_open(&file, path, err));
    ts_status status = read_container(c, file, path, err);
    ts_container_close(file);
    return status;
}

/* ---- exported weights ---- */

static ts_status no_model(const char *path, ts_error *err)
{
    return ts_fail(err, TS_ERR_CHECKPOINT,
                   "%s: does not say what model it is of, and no config.json of tessera export lies beside it; make a "
                   "checkpoint of it with tessera import weights --config CONFIG",
                   path);
}

static ts_status read_json(ts_codec *c, const char *path, const json_t *root, ts_error *err)
{
    const json_t *item = json_object_get(root, "item");
    json_t *both = json_pack("{sO* sO*}", "model", json_object_get(root, "model"), "quantizer",
                             json_object_get(root, "quantizer"));
    char *yaml = json_object_size(both) == 2 ? json_dumps(both, 0) : NULL; /* JSON is YAML */
    ts_shape *shape = &c->tokenizer.item;
    ts_status status = yaml ? parse_config(c, path, yaml, err) : no_model(path, err);
    free(yaml);
    json_decref(both);
    *shape = (ts_shape){0};
    for (size_t i = 0; i < json_array_size(item) && shape->rank < 3; i++)
        shape->dim[shape->rank++] = json_integer_value(json_array_get(item, i));
    for (int i = 0; i < shape->rank; i++)
        if (shape->dim[i] < 1 || shape->dim[i] > 1 << 20)
            shape->rank = 0;
    if (status == TS_OK && shape->rank < 2)
        status =
            ts_fail(err, TS_ERR_CHECKPOINT, "%s: expected 'item', the shape of an item, such as [28, 28, 1]", path);
    ts_range_find(json_string_value(json_object_get(root, "range")), &c->info.range);
    return status;
}

/* A file that another program has written anew has lost its texts: config.json beside it says the same. */
static ts_status read_config_json(ts_codec *c, const char *weights, ts_error *err)
{
    const char *slash = strrchr(weights, '/');
    const char *path = ts_arena_format(&c->arena, "%.*sconfig.json", slash ? (int)(slash - weights + 1) : 0, weights);
    if (!path)
        return ts_out_of_memory(err, 0);
    json_t *root = json_load_file(path, JSON_REJECT_DUPLICATES, NULL);
    ts_status status = root ? read_json(c, path, root, err) : no_model(weights, err);
    json_decref(root);
    return status;
}

static ts_status read_texts(ts_codec *c, const ts_safetensors *file, const char *path, ts_error *err)
{
    const char *config = ts_exported_text(file, "tessera.config"), *item = ts_exported_text(file, "tessera.item");
    const char *weights = ts_exported_text(file, "tessera.weights");
    if (!config || !item)
        return read_config_json(c, path, err);
    TS_TRY(parse_config(c, path, config, err));
    TS_TRY(ts_item_parse(path, item, TS_ERR_CHECKPOINT, &c->tokenizer.item, err));
    ts_range_find(ts_exported_text(file, "tessera.range"), &c->info.range);
    if (weights && strlen(weights) < sizeof c->weights.text)
        memcpy(c->weights.text, weights, strlen(weights) + 1);
    return TS_OK;
}

static ts_status read_columns(ts_codec *c, const char *path, ts_error *err)
{
    c->columns = c->tokenizer.item.rank == 2 ? c->tokenizer.item.dim[1] : 0;
    const char *mean = ts_exported_columns_path(path, "mean", &c->arena);
    const char *std = ts_exported_columns_path(path, "std", &c->arena);
    if (!c->columns || (!mean && !std))
        return TS_OK;
    if (!mean || !std)
        return ts_fail(err, TS_ERR_USAGE, "%s: mean.npy and std.npy come together; only %s is there", path,
                       mean ? mean : std);
    TS_TRY(ts_exported_columns(mean, false, c->columns, &c->arena, &c->mean, err));
    return ts_exported_columns(std, true, c->columns, &c->arena, &c->std, err);
}

static ts_status read_safetensors(ts_codec *c, const ts_safetensors *file, const char *path, ts_error *err)
{
    ts_weights_found found;
    TS_TRY(read_texts(c, file, path, err));
    TS_TRY(read_columns(c, path, err));
    TS_TRY(make_store(c, err));
    return ts_weights_import(&c->tokenizer, c->store, file, path, &found, err);
}

static ts_status open_safetensors(ts_codec *c, const char *path, ts_error *err)
{
    ts_safetensors *file;
    TS_TRY(ts_safetensors_open(&file, path, TS_ERR_CHECKPOINT, err));
    ts_status status = read_safetensors(c, file, path, err);
    ts_safetensors_close(file);
    return status;
}

/* ---- the whole ---- */

static void describe(ts_codec *c)
{
    const ts_tokenizer *t = &c->tokenizer;
    bool ema = ts_store_has(c->store, TS_BLOCK_EMA) && !c->options.no_ema;
    c->block = ema ? TS_BLOCK_EMA : TS_BLOCK_VALUE;
    c->info.model = t->model->name;
    c->info.quantizer = t->quantizer->name;
    c->info.item = t->item;
    c->info.tokens = t->tokens;
    c->info.tokens_per_item = ts_shape_count(t->tokens);
    c->info.groups = t->info.groups;
    c->info.codes = t->info.codes;
    c->info.frames_per_token = t->item.rank == 2 ? t->item.dim[0] / t->tokens.dim[0] : 0;
    c->info.normalised = c->mean != NULL;
    c->info.weights = c->weights.text;
}

static ts_status open_file(ts_codec *c, const char *path, ts_error *err)
{
    bool safetensors = !ts_container_is_one(path) && ts_safetensors_is_one(path);
    TS_TRY(safetensors ? open_safetensors(c, path, err) : open_container(c, path, err));
    describe(c);
    return TS_OK;
}

ts_status ts_codec_open(ts_codec **codec, const char *path, ts_codec_options options, ts_error *err)
{
    ts_codec *c = *codec = ts_calloc(1, sizeof *c);
    if (!c)
        return ts_out_of_memory(err, sizeof *c);
    ts_thread_state before = ts_thread_state_now();
    c->options = options;
    c->options.device = ts_arena_strdup(&c->arena, options.device ? options.device : "auto");
    ts_status status = c->options.device ? open_file(c, path, err) : ts_out_of_memory(err, 0);
    ts_thread_leave(before);
    if (status != TS_OK) {
        ts_codec_close(c);
        *codec = NULL;
    }
    return status;
}

void ts_codec_close(ts_codec *c)
{
    if (!c)
        return;
    ts_store_free(c->store);
    ts_device_close(c->device);
    ts_config_free(c->config);
    ts_arena_clear(&c->arena);
    ts_free(c);
}

const ts_codec_info *ts_codec_info_of(const ts_codec *c)
{
    return &c->info;
}

static ts_status open_session(const ts_codec *c, ts_session_options *o, ts_session **session, ts_error *err)
{
    TS_TRY(ts_device_open(c->options.device, c->options.threads, &o->device, err));
    o->workspace = ts_workspace_new(o->device);
    if (!o->workspace) {
        ts_device_close(o->device);
        return ts_out_of_memory(err, 0);
    }
    return ts_session_new(session, o, err);
}

ts_status ts_codec_session(const ts_codec *c, int64_t batch, ts_session **session, ts_error *err)
{
    const char *precision = train_key(c, "precision"), *longest = train_key(c, "eval_frames");
    ts_session_options o = {
        .tokenizer = &c->tokenizer,
        .store = c->store,
        .owns_device = true,
        .block = c->block,
        .bf16 = precision && strcmp(precision, "bf16") == 0,
        .fold = train_flag(c, "fold"),
        .fuse = train_flag(c, "fuse"),
        .batch = batch,
        .longest = longest ? strtoll(longest, NULL, 10) : 0,
        .mean = c->mean,
        .std = c->std,
    };
    *session = NULL;
    if (batch < 1)
        return ts_fail(err, TS_ERR_USAGE, "a session of %lld items in one run: expected at least 1", (long long)batch);
    ts_thread_state before = ts_thread_state_now();
    ts_status status = open_session(c, &o, session, err);
    ts_thread_leave(before);
    return status;
}
