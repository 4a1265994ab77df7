#include "train/checkpoint.h"

#include <jansson.h>
#include <math.h>
#include <string.h>

#include "core/memory.h"
#include "train/checkpoint_motion.h"
#include "train/programs.h"

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
    TS_GO(ts_saved_add(w, e->store, err));
    TS_GO(ts_container_commit(w, keep_previous ? TS_REPLACE_KEEP : TS_REPLACE_DROP, err));
out:
    ts_container_writer_free(w);
    return status;
}

static ts_status config_of(ts_container *c, const char *path, const char *const *overrides, ts_config **config,
                           ts_error *err)
{
    const char *text;
    TS_TRY(ts_saved_text(c, path, "config", &text, err));
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

static ts_status saved_of(ts_container *c, const char *path, saved *s, ts_error *err)
{
    const char *text;
    TS_TRY(ts_saved_text(c, path, "trainer", &text, err));
    json_t *root = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
    bool sound = root && read_integers(root, &s->state);
    s->state.best = real_or_nan(root, "best");
    s->state.seconds = real_or_nan(root, "seconds");
    s->state.initialised = json_is_true(json_object_get(root, "initialised"));
    json_decref(root);
    if (!sound)
        return ts_fail(err, TS_ERR_CHECKPOINT, "%s: the trainer's state is not what this version writes", path);
    return ts_saved_item(c, path, &s->item, &s->range, err);
}

static ts_status motion_of(ts_experiment *e, ts_container *c, const char *path, ts_shape item, ts_error *err)
{
    TS_TRY(ts_checkpoint_motion_read(&e->motion, c, path, &e->arena, err));
    return e->motion.known ? ts_saved_fits(path, item, e->motion.columns, err) : TS_OK;
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
    TS_GO(ts_saved_restore(e->store, c, path, kind, err));
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
