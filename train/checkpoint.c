#include "train/checkpoint.h"

#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <string.h>

#include "core/files/container.h"
#include "core/files/layout.h"
#include "core/memory.h"
#include "train/checkpoint_motion.h"
#include "train/programs.h"

/* The blocks that go into a file, and under which name. */
static const struct {
    int block;
    const char *prefix;
} parts[] = {{TS_BLOCK_VALUE, "model"}, {TS_BLOCK_EMA, "ema"}, {TS_BLOCK_M, "m"}, {TS_BLOCK_V, "v"}};

static char *entry_name(const char *prefix, const ts_variable *v)
{
    return ts_format("%s/%s", v->role == TS_ROLE_STATE ? "state" : prefix, v->path);
}

/* The variable's tensor as files hold it: PyTorch's shape. */
static ts_tensor file_tensor(const ts_variable *v, void *data)
{
    ts_tensor t = {v->type.dtype, v->type.shape, data};
    if (v->conv_layout)
        t.shape = ts_layout_torch_shape(v->type.shape);
    return t;
}

/* One variable of one block between the device and a container; `buffer` has room for it twice. */
static ts_status add_variable(ts_container_writer *w, const ts_store *store, const ts_variable *v, int block,
                              const char *prefix, void *buffer, size_t half, ts_error *err)
{
    ts_store_get(store, v, block, buffer);
    void *data = buffer;
    if (v->conv_layout) {
        data = (char *)buffer + half;
        ts_layout_to_torch(v->type.dtype, v->type.shape, buffer, data);
    }
    char *name = entry_name(prefix, v);
    if (!name)
        return ts_out_of_memory(err, strlen(v->path));
    ts_named_tensor named = {name, file_tensor(v, data)};
    ts_status status = ts_container_add(w, &named, err);
    ts_free(name);
    return status;
}

static size_t largest_bytes(const ts_store *store)
{
    size_t largest = 64;
    for (int i = 0; i < ts_store_count(store); i++) {
        ts_tensor t = file_tensor(ts_store_at(store, i), NULL);
        size_t bytes = (ts_tensor_bytes(&t) + 63) / 64 * 64;
        largest = bytes > largest ? bytes : largest;
    }
    return largest;
}

static ts_status add_variables(ts_container_writer *w, const ts_store *store, ts_error *err)
{
    size_t half = largest_bytes(store);
    void *buffer = ts_alloc(2 * half);
    ts_status status = buffer ? TS_OK : ts_out_of_memory(err, 2 * half);
    for (int i = 0; status == TS_OK && i < ts_store_count(store); i++) {
        const ts_variable *v = ts_store_at(store, i);
        if (v->transient)
            continue;
        int blocks = v->role == TS_ROLE_STATE ? 1 : (int)(sizeof parts / sizeof *parts);
        for (int b = 0; status == TS_OK && b < blocks; b++)
            if (ts_store_has(store, parts[b].block))
                status = add_variable(w, store, v, parts[b].block, parts[b].prefix, buffer, half, err);
    }
    ts_free(buffer);
    return status;
}

/* A double in JSON keeps all its bits when it is written with 17 digits; NaN is null. */
static json_t *number(double x)
{
    return isfinite(x) ? json_real(x) : json_null();
}

static ts_status add_state(ts_container_writer *w, const ts_experiment *e, const ts_train_state *s, ts_error *err)
{
    json_t *item = json_array();
    for (int i = 0; i < e->tokenizer.item.rank; i++)
        json_array_append_new(item, json_integer(e->tokenizer.item.dim[i]));
    json_t *root =
        json_pack("{sI sI sI sI so sI sI sI so sb so ss}", "step", (json_int_t)s->step, "applied",
                  (json_int_t)s->applied, "skipped", (json_int_t)s->skipped, "rolled_back", (json_int_t)s->rolled_back,
                  "best", number(s->best), "best_step", (json_int_t)s->best_step, "evaluations_since_best",
                  (json_int_t)s->evaluations_since_best, "evaluated_step", (json_int_t)s->evaluated_step, "seconds",
                  number(s->seconds), "initialised", s->initialised, "item", item, "range", ts_range_names[e->range]);
    char *text = root ? json_dumps(root, JSON_REAL_PRECISION(17) | JSON_SORT_KEYS | JSON_INDENT(1)) : NULL;
    json_decref(root);
    if (!text)
        return ts_out_of_memory(err, 0);
    ts_status status = ts_container_add_text(w, "trainer", text, err);
    free(text);
    return status;
}

static ts_status add_config(ts_container_writer *w, const ts_experiment *e, ts_error *err)
{
    char *text;
    TS_TRY(ts_config_print(e->config, false, &text, err));
    ts_status status = ts_container_add_text(w, "config", text, err);
    ts_free(text);
    return status;
}

ts_status ts_checkpoint_save(const ts_experiment *e, const ts_train_state *state, const char *path, bool keep_previous,
                             ts_error *err)
{
    ts_container_writer *w = NULL;
    ts_status status;
    TS_GO(ts_container_writer_new(&w, path, err));
    TS_GO(add_config(w, e, err));
    TS_GO(add_state(w, e, state, err));
    TS_GO(ts_checkpoint_motion_add(w, &e->motion, err));
    TS_GO(add_variables(w, e->store, err));
    TS_GO(ts_container_commit(w, keep_previous ? TS_REPLACE_KEEP : TS_REPLACE_DROP, err));
out:
    ts_container_writer_free(w);
    return status;
}

static ts_status text_of(ts_container *c, const char *path, const char *name, const char **text, ts_error *err)
{
    *text = ts_container_text(c, name);
    return *text ? TS_OK
                 : ts_fail(err, TS_ERR_CHECKPOINT,
                           "%s: has no '%s'; it is a container of tensors, but no checkpoint of a run", path, name);
}

static ts_status config_of(ts_container *c, const char *path, const char *const *overrides, ts_config **config,
                           ts_error *err)
{
    const char *text;
    TS_TRY(text_of(c, path, "config", &text, err));
    return ts_config_parse(config, ts_experiment_schema(), path, text, strlen(text), overrides, err);
}

ts_status ts_checkpoint_config(const char *path, const char *const *overrides, ts_config **config, ts_error *err)
{
    ts_container *c;
    *config = NULL;
    TS_TRY(ts_container_open(&c, path, err));
    ts_status status = config_of(c, path, overrides, config, err);
    ts_container_close(c);
    return status;
}

typedef struct {
    ts_train_state state;
    ts_shape item;
    ts_range range;
} saved;

static double real_or_nan(const json_t *root, const char *key)
{
    const json_t *value = json_object_get(root, key);
    return json_is_number(value) ? json_number_value(value) : NAN;
}

static bool read_integers(const json_t *root, ts_train_state *s)
{
    const struct {
        const char *key;
        int64_t *value;
    } fields[] = {{"step", &s->step},
                  {"applied", &s->applied},
                  {"skipped", &s->skipped},
                  {"rolled_back", &s->rolled_back},
                  {"best_step", &s->best_step},
                  {"evaluations_since_best", &s->evaluations_since_best},
                  {"evaluated_step", &s->evaluated_step}};
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
        const json_t *value = json_object_get(root, fields[i].key);
        if (!json_is_integer(value) || json_integer_value(value) < 0)
            return false;
        *fields[i].value = json_integer_value(value);
    }
    return true;
}

static bool read_item(const json_t *root, saved *s)
{
    const json_t *item = json_object_get(root, "item");
    const char *range = json_string_value(json_object_get(root, "range"));
    size_t rank = json_array_size(item);
    if (rank < 1 || rank > TS_MAX_RANK - 1 || !range)
        return false;
    s->item = (ts_shape){.rank = (int)rank};
    for (size_t i = 0; i < rank; i++)
        if ((s->item.dim[i] = json_integer_value(json_array_get(item, i))) < 1)
            return false;
    for (int r = 0; ts_range_names[r]; r++)
        if (strcmp(ts_range_names[r], range) == 0) {
            s->range = (ts_range)r;
            return true;
        }
    return false;
}

static ts_status saved_of(ts_container *c, const char *path, saved *s, ts_error *err)
{
    const char *text;
    TS_TRY(text_of(c, path, "trainer", &text, err));
    json_t *root = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
    bool sound = root && read_integers(root, &s->state) && read_item(root, s);
    s->state.best = real_or_nan(root, "best");
    s->state.seconds = real_or_nan(root, "seconds");
    s->state.initialised = json_is_true(json_object_get(root, "initialised"));
    json_decref(root);
    return sound ? TS_OK
                 : ts_fail(err, TS_ERR_CHECKPOINT, "%s: the trainer's state is not what this version writes", path);
}

static ts_status motion_of(ts_experiment *e, ts_container *c, const char *path, ts_shape item, ts_error *err)
{
    TS_TRY(ts_checkpoint_motion_read(&e->motion, c, path, &e->arena, err));
    if (!e->motion.known || (item.rank == 2 && item.dim[1] == e->motion.columns))
        return TS_OK;
    return ts_fail(err, TS_ERR_CHECKPOINT, "%s: items are %s, but its motion has %" PRId64 " columns", path,
                   ts_shape_print(item).text, e->motion.columns);
}

ts_status ts_checkpoint_experiment(ts_experiment *e, const char *path, const char *const *overrides, const char *device,
                                   int threads, ts_train_state *state, ts_error *err)
{
    *e = (ts_experiment){0};
    ts_container *c;
    ts_config *config;
    saved s = {0};
    TS_TRY(ts_container_open(&c, path, err));
    ts_status status = config_of(c, path, overrides, &config, err);
    if (status == TS_OK)
        status = ts_experiment_open(e, config, device, threads, err);
    if (status == TS_OK)
        status = saved_of(c, path, &s, err);
    if (status == TS_OK)
        status = motion_of(e, c, path, s.item, err);
    ts_container_close(c);
    if (status == TS_OK)
        status = ts_experiment_set_item(e, s.item, s.range, err);
    if (status == TS_OK)
        status = ts_experiment_make_store(e, err);
    if (status == TS_OK)
        status = ts_checkpoint_restore(e, path, TS_RESTORE_INFER, state, err);
    return status;
}

/* Reads one variable's tensor into `buffer` in the store's layout (buffer: twice `half` bytes). */
static ts_status read_variable(ts_container *c, const ts_variable *v, const char *name, void *buffer, size_t half,
                               ts_error *err)
{
    ts_tensor t = file_tensor(v, v->conv_layout ? (char *)buffer + half : buffer);
    TS_TRY(ts_container_read(c, name, &t, err));
    if (v->conv_layout)
        ts_layout_from_torch(v->type.dtype, v->type.shape, t.data, buffer);
    return TS_OK;
}

/* Is the variable's tensor in the file, and does it fit? */
static ts_status check_variable(ts_container *c, const char *path, const ts_variable *v, const char *name,
                                ts_error *err)
{
    ts_tensor t = file_tensor(v, NULL);
    const ts_container_entry *entry = ts_container_find(c, name);
    if (!entry)
        return ts_fail(err, TS_ERR_CHECKPOINT,
                       "%s: has no tensor %s, which this model needs; it is of another model or config", path, name);
    if (entry->dtype != t.dtype || !ts_shape_equal(entry->shape, t.shape))
        return ts_fail(err, TS_ERR_CHECKPOINT,
                       "%s: %s is %s %s, this model expects %s %s; it is of another model or config", path, name,
                       ts_dtype_name(entry->dtype), ts_shape_print(entry->shape).text, ts_dtype_name(t.dtype),
                       ts_shape_print(t.shape).text);
    return TS_OK;
}

static bool wanted(ts_restore_kind kind, const ts_store *store, const ts_variable *v, int part)
{
    if (v->transient || !ts_store_has(store, v->role == TS_ROLE_STATE ? TS_BLOCK_STATE : parts[part].block))
        return false;
    if (kind == TS_RESTORE_RESUME)
        return true;
    bool trainers = strncmp(v->path, "trainer.", 8) == 0;
    return parts[part].block == TS_BLOCK_VALUE ? !trainers
                                               : kind == TS_RESTORE_INFER && parts[part].block == TS_BLOCK_EMA;
}

/* Every tensor twice: first all are checked, then all are read, so that a file that does not fit changes nothing. */
static ts_status restore_variables(ts_experiment *e, ts_container *c, const char *path, ts_restore_kind kind,
                                   bool write, ts_error *err)
{
    size_t half = largest_bytes(e->store);
    void *buffer = ts_alloc(2 * half);
    ts_status status = buffer ? TS_OK : ts_out_of_memory(err, 2 * half);
    for (int i = 0; status == TS_OK && i < ts_store_count(e->store); i++) {
        const ts_variable *v = ts_store_at(e->store, i);
        int blocks = v->role == TS_ROLE_STATE ? 1 : (int)(sizeof parts / sizeof *parts);
        for (int b = 0; status == TS_OK && b < blocks; b++) {
            if (!wanted(kind, e->store, v, b))
                continue;
            char *name = entry_name(parts[b].prefix, v);
            if (!name)
                status = ts_out_of_memory(err, strlen(v->path));
            else if (!write)
                status = check_variable(c, path, v, name, err);
            else if ((status = read_variable(c, v, name, buffer, half, err)) == TS_OK)
                ts_store_set(e->store, v, parts[b].block, buffer);
            ts_free(name);
        }
    }
    ts_free(buffer);
    return status;
}

/* With averages in the file, the store gets the block that an evaluation reads. */
static ts_status make_room(ts_experiment *e, ts_container *c, ts_restore_kind kind, ts_error *err)
{
    bool averages = false;
    for (int64_t i = 0; kind == TS_RESTORE_INFER && i < ts_container_count(c); i++)
        averages |= strncmp(ts_container_at(c, i)->name, "ema/", 4) == 0;
    return averages ? ts_store_need(e->store, TS_BLOCK_EMA, err) : TS_OK;
}

ts_status ts_checkpoint_restore(ts_experiment *e, const char *path, ts_restore_kind kind, ts_train_state *state,
                                ts_error *err)
{
    ts_container *c;
    saved s = {0};
    ts_status status;
    TS_TRY(ts_container_open(&c, path, err));
    TS_GO(saved_of(c, path, &s, err));
    if (kind == TS_RESTORE_RESUME)
        TS_GO(ts_checkpoint_motion_same(&e->motion, c, path, err));
    TS_GO(make_room(e, c, kind, err));
    TS_GO(restore_variables(e, c, path, kind, false, err));
    TS_GO(ts_container_verify(c, err));
    TS_GO(restore_variables(e, c, path, kind, true, err));
    if (kind == TS_RESTORE_WEIGHTS &&
        ts_store_has(e->store, TS_BLOCK_EMA)) /* the averages start where the weights do */
        e->device->backend->copy(e->device, ts_store_block(e->store, TS_BLOCK_EMA),
                                 ts_store_block(e->store, TS_BLOCK_VALUE),
                                 (size_t)ts_store_parameter_count(e->store) * sizeof(float));
    if (state)
        *state = s.state;
out:
    ts_container_close(c);
    return status;
}
