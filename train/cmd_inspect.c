/* tessera inspect: what is in a file, every byte of it verified. */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "quant/stats.h"
#include "train/answer.h"
#include "train/checkpoint_motion.h"
#include "train/commands.h"
#include "train/inspect_codebook.h"
#include "train/tensor_file.h"
#include "train/tokens.h"
#include "train/trained.h"

static int64_t file_bytes(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 ? (int64_t)st.st_size : -1;
}

/* --- tensors ------------------------------------------------------------------------------------------------------ */

/* Smallest, largest and mean of the finite values, and how many are not. */
static void set_statistics(json_t *row, const ts_tensor *t)
{
    double low = INFINITY, high = -INFINITY, sum = 0;
    int64_t n = ts_shape_count(t->shape), finite = 0;
    for (int64_t i = 0; i < n; i++) {
        double x = ts_tensor_value(t, i);
        if (!isfinite(x))
            continue;
        low = x < low ? x : low;
        high = x > high ? x : high;
        sum += x;
        finite++;
    }
    json_object_set_new(row, "min", ts_answer_real(low));
    json_object_set_new(row, "max", ts_answer_real(high));
    json_object_set_new(row, "mean", ts_answer_real(finite ? sum / (double)finite : NAN));
    json_object_set_new(row, "not_finite", json_integer(n - finite));
}

static json_t *tensor_row(const ts_tensor_info *info, ts_hash hash)
{
    json_t *row = json_object();
    json_object_set_new(row, "name", json_string(info->name));
    json_object_set_new(row, "dtype", json_string(info->dtype));
    json_object_set_new(row, "shape", ts_answer_shape(info->shape));
    json_object_set_new(row, "bytes", json_integer((json_int_t)info->bytes));
    json_object_set_new(row, "hash", json_string(ts_hash_print(hash).text));
    return row;
}

/* Reads every tensor, one at a time; a checkpoint's hashes are checked on the way. */
static ts_status tensor_rows(const ts_tensor_file *file, json_t *rows, ts_error *err)
{
    for (int64_t i = 0; i < ts_tensor_file_count(file); i++) {
        ts_tensor_info info = ts_tensor_file_at(file, i);
        ts_arena arena = {0};
        ts_tensor t;
        ts_status status = info.readable ? ts_tensor_file_load(file, i, &arena, &t, err) : TS_OK;
        json_t *row = tensor_row(&info, ts_tensor_file_hash(file, i));
        if (status == TS_OK && info.readable)
            set_statistics(row, &t);
        json_array_append_new(rows, row);
        ts_arena_clear(&arena);
        TS_TRY(status);
    }
    return TS_OK;
}

/* --- the codebook ------------------------------------------------------------------------------------------------- */

/* The moving average of how often each code was chosen: its perplexity, and how many codes are all but dead. */
static json_t *average_use(const ts_tensor *t)
{
    int64_t codes = ts_shape_count(t->shape), below_one = 0;
    double total = 0, entropy = 0;
    const float *count = t->data;
    for (int64_t i = 0; i < codes; i++) {
        total += (double)count[i];
        below_one += count[i] < 1;
    }
    for (int64_t i = 0; i < codes; i++)
        entropy -= count[i] > 0 ? (double)count[i] / total * log((double)count[i] / total) : 0;
    json_t *all = json_object();
    json_object_set_new(all, "codes", json_integer(codes));
    json_object_set_new(all, "perplexity", ts_answer_real(total > 0 ? exp(entropy) : 0));
    json_object_set_new(all, "count_below_1", json_integer(below_one));
    return all;
}

/* Exact counts since the last line of metrics. */
static json_t *window_use(const ts_tensor *t)
{
    ts_usage u = ts_usage_of(t->data, ts_shape_count(t->shape), 0);
    json_t *all = json_object();
    json_object_set_new(all, "codes", json_integer(u.codes));
    json_object_set_new(all, "tokens", json_integer(u.tokens));
    json_object_set_new(all, "used", json_integer(u.used));
    json_object_set_new(all, "perplexity", ts_answer_real(u.perplexity));
    return all;
}

static ts_status set_use(ts_container *c, json_t *answer, const char *tensor, const char *name, ts_dtype dtype,
                         json_t *(*describe)(const ts_tensor *), ts_error *err)
{
    const ts_container_entry *entry = ts_container_find(c, tensor);
    ts_arena arena = {0};
    ts_tensor t;
    if (!entry || entry->dtype != dtype)
        return TS_OK;
    ts_status status = ts_container_load(c, tensor, &arena, &t, err);
    if (status == TS_OK)
        json_object_set_new(answer, name, describe(&t));
    ts_arena_clear(&arena);
    return status;
}

/* --- the whole ---------------------------------------------------------------------------------------------------- */

/* Values of the tensors whose name begins so are parameters. */
static void set_totals(json_t *answer, const json_t *rows, const char *parameter)
{
    int64_t parameters = 0, bytes = 0;
    for (size_t i = 0; i < json_array_size(rows); i++) {
        const json_t *row = json_array_get(rows, i), *shape = json_object_get(row, "shape");
        int64_t n = 1;
        for (size_t k = 0; k < json_array_size(shape); k++)
            n *= json_integer_value(json_array_get(shape, k));
        const char *name = json_string_value(json_object_get(row, "name"));
        parameters += strncmp(name, parameter, strlen(parameter)) == 0 ? n : 0;
        bytes += json_integer_value(json_object_get(row, "bytes"));
    }
    json_object_set_new(answer, "parameters", json_integer(parameters));
    json_object_set_new(answer, "tensor_count", json_integer((json_int_t)json_array_size(rows)));
    json_object_set_new(answer, "tensor_bytes", json_integer(bytes));
}

static void set_texts(const ts_container *c, json_t *answer)
{
    const char *trainer = ts_container_text(c, "trainer"), *config = ts_container_text(c, "config");
    json_t *state = trainer ? json_loads(trainer, 0, NULL) : NULL;
    json_object_set_new(answer, "step", json_incref(json_object_get(state, "step")));
    json_object_set_new(answer, "trainer", state);
    json_object_set_new(answer, "config", json_string(config));
}

/* What the run knows of motion, where it does. */
static ts_status set_motion(ts_container *c, const char *path, json_t *answer, ts_error *err)
{
    ts_arena arena = {0};
    ts_motion m;
    ts_status status = ts_checkpoint_motion_read(&m, c, path, &arena, err);
    ts_arena_clear(&arena);
    if (status != TS_OK || !m.known)
        return status;
    json_t *motion = json_object();
    json_object_set_new(motion, "columns", json_integer(m.columns));
    json_object_set_new(motion, "layout", m.layout.columns ? json_string(m.layout.name) : json_null());
    json_object_set_new(motion, "joints", m.layout.columns ? json_integer(m.layout.joints) : json_null());
    json_object_set_new(motion, "fps", m.layout.columns ? ts_answer_real(m.layout.fps) : json_null());
    json_object_set_new(motion, "normalised", json_boolean(m.mean != NULL));
    json_object_set_new(answer, "motion", motion);
    const char *layout = ts_container_text(c, TS_MOTION_LAYOUT_TEXT);
    if (layout)
        json_object_set_new(answer, TS_MOTION_LAYOUT_TEXT, json_string(layout));
    return TS_OK;
}

static ts_status describe_container(ts_container *c, const char *path, json_t *answer, ts_error *err)
{
    ts_hash weights;
    TS_TRY(ts_weights_hash(c, &weights, err));
    json_object_set_new(answer, "weights", json_string(ts_hash_print(weights).text));
    TS_TRY(set_use(c, answer, "state/trainer.usage", "use_of_codes", TS_I64, window_use, err));
    TS_TRY(set_use(c, answer, "state/quantizer.count", "average_use_of_codes", TS_F32, average_use, err));
    TS_TRY(set_motion(c, path, answer, err));
    set_texts(c, answer);
    return TS_OK;
}

static void describe_safetensors(const ts_safetensors *f, json_t *answer)
{
    json_t *texts = json_object();
    const char *key, *text;
    for (int64_t i = 0; ts_safetensors_metadata(f, i, &key, &text); i++)
        json_object_set_new(texts, key, json_string(text));
    json_object_set_new(answer, "header_bytes", json_integer((json_int_t)ts_safetensors_header_bytes(f)));
    json_object_set_new(answer, "metadata", texts);
}

/* --- ONNX --------------------------------------------------------------------------------------------------------- */

/* ["batch", 3, null]: a free size, a fixed one, one of which nothing is said. */
static json_t *onnx_dims(const ts_onnx_value *v)
{
    json_t *dims = json_array();
    for (int i = 0; i < v->rank; i++) {
        const ts_onnx_dim *d = &v->dim[i];
        json_array_append_new(dims, !d->symbol   ? json_integer(d->size)
                                    : *d->symbol ? json_string(d->symbol)
                                                 : json_null());
    }
    return dims;
}

static json_t *onnx_values(const ts_onnx_value *list, size_t count)
{
    json_t *values = json_object();
    for (size_t i = 0; i < count; i++) {
        int bits;
        json_t *value = json_object();
        json_object_set_new(value, "dtype", json_string(ts_onnx_dtype_name(list[i].dtype, &bits)));
        json_object_set_new(value, "shape", list[i].shaped ? onnx_dims(&list[i]) : json_null());
        json_object_set_new(values, list[i].name, value);
    }
    return values;
}

/* How often each operator is there. */
static json_t *onnx_operators(const ts_onnx_model *m)
{
    json_t *operators = json_object();
    for (size_t i = 0; i < m->node_count; i++) {
        const char *op = m->node[i].op;
        json_object_set_new(operators, op, json_integer(json_integer_value(json_object_get(operators, op)) + 1));
    }
    return operators;
}

static void describe_onnx(const ts_onnx_model *m, json_t *answer)
{
    json_t *opsets = json_object(), *texts = json_object();
    for (size_t i = 0; i < m->opset_count; i++)
        json_object_set_new(opsets, *m->opset[i].domain ? m->opset[i].domain : "ai.onnx",
                            json_integer(m->opset[i].version));
    for (size_t i = 0; i < m->metadata_count; i++)
        json_object_set_new(texts, m->metadata[i].key, json_string(m->metadata[i].text));
    json_object_set_new(answer, "ir_version", json_integer(m->ir_version));
    json_object_set_new(answer, "opset", opsets);
    json_object_set_new(answer, "producer", json_sprintf("%s %s", m->producer, m->producer_version));
    json_object_set_new(answer, "graph", json_string(m->graph_name));
    json_object_set_new(answer, "inputs", onnx_values(m->input, m->input_count));
    json_object_set_new(answer, "outputs", onnx_values(m->output, m->output_count));
    json_object_set_new(answer, "nodes", json_integer((json_int_t)m->node_count));
    json_object_set_new(answer, "operators", onnx_operators(m));
    json_object_set_new(answer, "metadata", texts);
}

/* --- a file ------------------------------------------------------------------------------------------------------- */

static ts_status describe_file(const ts_tensor_file *f, json_t *answer, json_t *rows, ts_error *err)
{
    TS_TRY(tensor_rows(f, rows, err));
    json_object_set_new(answer, "file", json_string(f->path));
    json_object_set_new(answer, "kind", json_string(f->container ? "checkpoint" : f->onnx ? "onnx" : "safetensors"));
    json_object_set_new(answer, "verified", json_true());
    json_object_set_new(answer, "file_bytes", json_integer(file_bytes(f->path)));
    set_totals(answer, rows, f->container ? "model/" : "");
    if (f->container)
        return describe_container(f->container, f->path, answer, err);
    if (f->onnx)
        describe_onnx(f->onnx, answer);
    else
        describe_safetensors(f->safetensors, answer);
    return TS_OK;
}

static void print_rows(const json_t *rows, FILE *out)
{
    for (size_t i = 0; i < json_array_size(rows); i++) {
        const json_t *row = json_array_get(rows, i);
        char *shape = json_dumps(json_object_get(row, "shape"), 0);
        fprintf(out, "%-44s %-4s %-16s %.8s  min %-11.4g max %-11.4g mean %.4g",
                json_string_value(json_object_get(row, "name")), json_string_value(json_object_get(row, "dtype")),
                shape ? shape : "?", json_string_value(json_object_get(row, "hash")),
                json_number_value(json_object_get(row, "min")), json_number_value(json_object_get(row, "max")),
                json_number_value(json_object_get(row, "mean")));
        int64_t bad = json_integer_value(json_object_get(row, "not_finite"));
        if (bad)
            fprintf(out, "  %" PRId64 " not finite", bad);
        fputc('\n', out);
        free(shape);
    }
}

static ts_status inspect_tensors(const char *path, bool json, ts_error *err)
{
    ts_tensor_file file;
    ts_status status = ts_tensor_file_open(&file, path, err);
    json_t *answer = json_object(), *rows = json_array();
    if (status == TS_OK)
        status = answer && rows ? describe_file(&file, answer, rows, err) : ts_out_of_memory(err, 0);
    ts_tensor_file_close(&file);
    if (status == TS_OK && json)
        json_object_set(answer, "tensors", rows);
    if (status == TS_OK)
        status = ts_answer_show(answer, json, stdout, err);
    else
        json_decref(answer);
    if (status == TS_OK && !json)
        print_rows(rows, stdout);
    json_decref(rows);
    return status;
}

/* --- tokens ------------------------------------------------------------------------------------------------------- */

static json_t *describe_tokens(const ts_tokens *t, const char *path)
{
    int64_t total = 0;
    for (int64_t i = 0; i < t->items; i++)
        total += t->lengths[i] * t->groups;
    json_t *all = json_object();
    json_object_set_new(all, "file", json_string(path));
    json_object_set_new(all, "kind", json_string("tokens"));
    json_object_set_new(all, "file_bytes", json_integer(file_bytes(path)));
    json_object_set_new(all, "items", json_integer(t->items));
    json_object_set_new(all, "longest", json_integer(t->longest));
    json_object_set_new(all, "groups", json_integer(t->groups));
    json_object_set_new(all, "tokens", json_integer(total));
    json_object_set_new(all, "codes", t->codes ? json_integer(t->codes) : json_null());
    json_object_set_new(all, "shape", t->shape.rank ? ts_answer_shape(t->shape) : json_null());
    json_object_set_new(all, "weights", *t->weights ? json_string(t->weights) : json_null());
    if (t->shards)
        json_object_set_new(all, "shard", json_sprintf("%lld/%lld", (long long)t->shard, (long long)t->shards));
    return all;
}

static ts_status inspect_tokens(const char *path, bool json, ts_error *err)
{
    ts_arena arena = {0};
    ts_tokens tokens;
    ts_status status = ts_tokens_load(&tokens, path, &arena, err);
    if (status == TS_OK)
        status = ts_answer_show(describe_tokens(&tokens, path), json, stdout, err);
    ts_arena_clear(&arena);
    return status;
}

/* What a look at a file does without. */
static ts_status check_plain(const ts_arguments *a, ts_error *err)
{
    static const char *const others[] = {"codes", "neighbours", "split", "dataset", "no-ema", "device", "threads"};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (ts_arguments_given(a, others[i]))
            return ts_fail(err, TS_ERR_USAGE, "inspect: --%s belongs to --codebook DIR", others[i]);
    if (ts_arguments_positional(a, 1) || a->override_count)
        return ts_fail(err, TS_ERR_USAGE,
                       "inspect: expected one FILE, found '%s' behind it; only --codebook DIR takes more",
                       ts_arguments_positional(a, 1) ? ts_arguments_positional(a, 1) : a->overrides[0]);
    return TS_OK;
}

ts_status ts_cmd_inspect(const ts_arguments *a, int *exit_code, ts_error *err)
{
    (void)exit_code;
    const char *path = ts_arguments_positional(a, 0);
    bool json = ts_arguments_flag(a, "json");
    if (ts_arguments_given(a, "codebook"))
        return ts_inspect_codebook(a, err);
    TS_TRY(check_plain(a, err));
    if (!ts_container_is_one(path) && ts_tokens_is_one(path))
        return inspect_tokens(path, json, err);
    return inspect_tensors(path, json, err);
}
