/* tessera diff: two files of tensors, tensor by tensor. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "train/answer.h"
#include "train/commands.h"
#include "train/experiment.h"
#include "train/tensor_file.h"

typedef struct {
    ts_tensor_file a, b;
    json_t *different, *only_a, *only_b; /* lists of texts */
    int64_t equal;
} comparison;

static int64_t find(const ts_tensor_file *f, const char *name)
{
    int64_t n = ts_tensor_file_count(f);
    for (int64_t i = 0; i < n; i++)
        if (strcmp(ts_tensor_file_at(f, i).name, name) == 0)
            return i;
    return -1;
}

/* What differs between two tensors of one shape and dtype whose bytes differ. */
static json_t *values_differ(const char *name, const ts_tensor *x, const ts_tensor *y)
{
    int64_t n = ts_shape_count(x->shape), differ = 0;
    double largest = 0, squares = 0, own = 0;
    for (int64_t i = 0; i < n; i++) {
        double a = ts_tensor_value(x, i), d = fabs(a - ts_tensor_value(y, i));
        differ += !(d <= 0);
        largest = d > largest ? d : largest;
        squares += d * d;
        own += a * a;
    }
    return json_sprintf("%s: %" PRId64 " of %" PRId64 " values, largest difference %.3g, relative to its length %.3g",
                        name, differ, n, largest, own > 0 ? sqrt(squares / own) : INFINITY);
}

static ts_status compare_values(comparison *c, int64_t i, int64_t k, const char *name, ts_error *err)
{
    ts_arena arena = {0};
    ts_tensor x, y;
    ts_status status = ts_tensor_file_load(&c->a, i, &arena, &x, err);
    if (status == TS_OK)
        status = ts_tensor_file_load(&c->b, k, &arena, &y, err);
    if (status == TS_OK)
        json_array_append_new(c->different, values_differ(name, &x, &y));
    ts_arena_clear(&arena);
    return status;
}

/* A checkpoint's dtypes are called f32, safetensors' F32. */
static bool same_dtype(const char *x, const char *y)
{
    return strcasecmp(x, y) == 0;
}

static ts_status compare(comparison *c, int64_t i, ts_error *err)
{
    ts_tensor_info x = ts_tensor_file_at(&c->a, i);
    int64_t k = find(&c->b, x.name);
    if (k < 0) {
        json_array_append_new(c->only_a, json_string(x.name));
        return TS_OK;
    }
    ts_tensor_info y = ts_tensor_file_at(&c->b, k);
    if (!ts_shape_equal(x.shape, y.shape) || !same_dtype(x.dtype, y.dtype)) {
        json_array_append_new(c->different,
                              json_sprintf("%s: %s %s and %s %s", x.name, x.dtype, ts_shape_print(x.shape).text,
                                           y.dtype, ts_shape_print(y.shape).text));
        return TS_OK;
    }
    ts_hash of_x = ts_tensor_file_hash(&c->a, i), of_y = ts_tensor_file_hash(&c->b, k);
    bool same = memcmp(of_x.byte, of_y.byte, sizeof of_x.byte) == 0;
    c->equal += same;
    return same || !x.readable ? TS_OK : compare_values(c, i, k, x.name, err);
}

static ts_status compare_all(comparison *c, ts_error *err)
{
    for (int64_t i = 0; i < ts_tensor_file_count(&c->a); i++)
        TS_TRY(compare(c, i, err));
    for (int64_t i = 0; i < ts_tensor_file_count(&c->b); i++) {
        const char *name = ts_tensor_file_at(&c->b, i).name;
        if (find(&c->a, name) < 0)
            json_array_append_new(c->only_b, json_string(name));
    }
    return TS_OK;
}

/* The config that a file holds, or NULL. */
static ts_config *config_of(const ts_tensor_file *f)
{
    ts_config *config = NULL;
    ts_error ignored;
    const char *text = ts_tensor_file_text(f, "tessera.config");
    if (text && ts_config_parse(&config, ts_experiment_schema(), f->path, text, strlen(text), NULL, &ignored) != TS_OK)
        return NULL;
    return config;
}

/* Lines "train.steps: 400 -> 800"; null where a file has no config. */
static json_t *config_lines(const comparison *c)
{
    ts_config *a = config_of(&c->a), *b = config_of(&c->b);
    char *text = NULL;
    size_t bytes = 0;
    FILE *out = a && b ? open_memstream(&text, &bytes) : NULL;
    json_t *lines = out ? json_array() : json_null();
    if (out) {
        ts_config_diff(a, b, out);
        fclose(out);
        for (char *save, *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save))
            json_array_append_new(lines, json_string(line));
    }
    free(text);
    ts_config_free(a);
    ts_config_free(b);
    return lines;
}

static ts_status answer(const comparison *c, bool json, bool *same, ts_error *err)
{
    json_t *all = json_object(), *config = config_lines(c);
    *same = !json_array_size(c->different) && !json_array_size(c->only_a) && !json_array_size(c->only_b) &&
            !json_array_size(config);
    json_object_set_new(all, "a", json_string(c->a.path));
    json_object_set_new(all, "b", json_string(c->b.path));
    json_object_set_new(all, "same", json_boolean(*same));
    json_object_set_new(all, "equal_tensors", json_integer((json_int_t)c->equal));
    json_object_set(all, "different", c->different);
    json_object_set(all, "only_in_a", c->only_a);
    json_object_set(all, "only_in_b", c->only_b);
    json_object_set_new(all, "config", config);
    return ts_answer_show(all, json, stdout, err);
}

ts_status ts_cmd_diff(const ts_arguments *a, int *exit_code, ts_error *err)
{
    bool same = false;
    comparison c = {.different = json_array(), .only_a = json_array(), .only_b = json_array()};
    ts_status status = ts_tensor_file_open(&c.a, ts_arguments_positional(a, 0), err);
    if (status == TS_OK)
        status = ts_tensor_file_open(&c.b, ts_arguments_positional(a, 1), err);
    if (status == TS_OK)
        status = compare_all(&c, err);
    if (status == TS_OK)
        status = answer(&c, ts_arguments_flag(a, "json"), &same, err);
    *exit_code = same ? 0 : 1;
    ts_tensor_file_close(&c.a);
    ts_tensor_file_close(&c.b);
    json_decref(c.different);
    json_decref(c.only_a);
    json_decref(c.only_b);
    return status;
}
