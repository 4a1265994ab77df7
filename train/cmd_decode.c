/* tessera decode: a file of tokens to pictures, or to the values as they are. */
#define _GNU_SOURCE
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "core/files/hdf5.h"
#include "core/files/image.h"
#include "core/text.h"
#include "train/answer.h"
#include "train/commands.h"
#include "train/file_list.h"
#include "train/programs.h"
#include "train/tokens.h"
#include "train/trained.h"

/* --- do the tokens fit the model? --------------------------------------------------------------------------------- */

static ts_status check_lengths(const ts_tokens *t, const ts_tokenizer *model, const char *path, ts_error *err)
{
    int64_t per_item = ts_shape_count(model->tokens);
    for (int64_t i = 0; i < t->items; i++)
        if (t->lengths[i] != per_item)
            return ts_fail(err, TS_ERR_CHECKPOINT,
                           "%s: item %" PRId64 " (%s) has %d tokens, the model decodes %" PRId64, path, i,
                           TS_SHOWN(t->names[i]), t->lengths[i], per_item);
    return TS_OK;
}

static ts_status check_range(const ts_tokens *t, const ts_tokenizer *model, const char *path, ts_error *err)
{
    int64_t per_item = t->longest * t->groups, used = ts_shape_count(model->tokens) * t->groups;
    for (int64_t i = 0; i < t->items; i++)
        for (int64_t k = 0; k < used; k++)
            if (t->ids[i * per_item + k] >= model->info.codes)
                return ts_fail(err, TS_ERR_CHECKPOINT,
                               "%s: item %" PRId64 ", token %" PRId64 ": id %d, the model has %" PRId64 " codes", path,
                               i, k / t->groups, t->ids[i * per_item + k], model->info.codes);
    return TS_OK;
}

static ts_status check_fit(const ts_tokens *t, const ts_trained *trained, const char *path, bool force, ts_error *err)
{
    const ts_tokenizer *model = &trained->experiment.tokenizer;
    if (t->groups != model->info.groups || (t->codes && t->codes != model->info.codes) ||
        (t->shape.rank && !ts_shape_equal(t->shape, model->tokens)))
        return ts_fail(err, TS_ERR_CHECKPOINT,
                       "%s: tokens %s in %" PRId64 " groups of %" PRId64 " codes, the model has %s, %" PRId64
                       " groups, %" PRId64 " codes; they are of another model",
                       path, ts_shape_print(t->shape).text, t->groups, t->codes, ts_shape_print(model->tokens).text,
                       model->info.groups, model->info.codes);
    if (*t->weights && !force && strcmp(t->weights, ts_hash_print(trained->weights).text) != 0)
        return ts_fail(err, TS_ERR_CHECKPOINT,
                       "%s: was encoded with the weights %s, this checkpoint has %s; --force decodes all the same",
                       path, TS_SHOWN(t->weights), ts_hash_print(trained->weights).text);
    TS_TRY(check_lengths(t, model, path, err));
    return check_range(t, model, path, err);
}

/* --- where the items go ------------------------------------------------------------------------------------------- */

typedef struct {
    const char *path;
    bool pictures;
    ts_shape item;
    ts_range range;
    uint8_t *pixels; /* [item], for pictures */
    float *values;   /* [items, item], for HDF5 */
} sink;

static bool ends_in_h5(const char *path)
{
    const char *dot = strrchr(path, '.');
    return dot && (!strcasecmp(dot, ".h5") || !strcasecmp(dot, ".hdf5"));
}

static ts_status open_sink(sink *s, const char *path, const ts_experiment *e, int64_t items, ts_arena *arena,
                           ts_error *err)
{
    *s = (sink){.path = path, .pictures = !ends_in_h5(path), .item = e->tokenizer.item, .range = e->range};
    int64_t n = ts_shape_count(s->item), all;
    if (s->pictures && (s->item.rank != 3 || (s->item.dim[2] != 1 && s->item.dim[2] != 3)))
        return ts_fail(err, TS_ERR_USAGE, "items of %s cannot be PNG files; give -o a name that ends in .h5",
                       ts_shape_print(s->item).text);
    if (__builtin_mul_overflow(items, n * (int64_t)sizeof(float), &all))
        return ts_out_of_memory(err, SIZE_MAX);
    void *memory = ts_arena_alloc(arena, s->pictures ? (size_t)n : (size_t)all);
    if (!memory)
        return ts_out_of_memory(err, s->pictures ? (size_t)n : (size_t)all);
    s->pixels = memory;
    s->values = memory;
    return s->pictures ? ts_folder_make(path, TS_ERR_DATA, err) : TS_OK;
}

/* A name from a file becomes part of a path: it may not lead out of the folder. */
static ts_status write_picture(const sink *s, const char *name, const float *y, ts_error *err)
{
    char path[PATH_MAX];
    const char *dot = strrchr(name, '.');
    const char *end = dot && strcasecmp(dot, ".png") == 0 ? "" : ".png";
    if (!ts_file_name_is_safe(name))
        return ts_fail(err, TS_ERR_CHECKPOINT, "the name '%s' in the file of tokens is no path below a folder",
                       TS_SHOWN(name));
    if (snprintf(path, sizeof path, "%s/%s%s", s->path, name, end) >= (int)sizeof path)
        return ts_fail(err, TS_ERR_DATA, "%s: a path below it is longer than %d bytes", s->path, PATH_MAX);
    TS_TRY(ts_folder_make_parents(s->path, path, TS_ERR_DATA, err));
    ts_pixels_from_float(s->range, y, ts_shape_count(s->item), s->pixels);
    ts_image image = {s->item.dim[0], s->item.dim[1], (int)s->item.dim[2], s->pixels};
    return ts_image_write_png(path, &image, err);
}

static ts_status put(const sink *s, const ts_tokens *t, int64_t i, const float *y, ts_error *err)
{
    int64_t n = ts_shape_count(s->item);
    if (s->pictures)
        return write_picture(s, t->names[i], y, err);
    memcpy(s->values + i * n, y, (size_t)n * sizeof *y);
    return TS_OK;
}

static ts_status write_h5(const sink *s, const ts_tokens *t, ts_h5 *file, ts_error *err)
{
    ts_shape shape = {.rank = s->item.rank + 1, .dim = {t->items}};
    for (int i = 0; i < s->item.rank; i++)
        shape.dim[i + 1] = s->item.dim[i];
    ts_named_tensor images = {"/images", {TS_F32, shape, s->values}};
    TS_TRY(ts_h5_write(file, &images, err));
    TS_TRY(ts_h5_write_text(file, "/images", "range", ts_range_names[s->range], err));
    TS_TRY(ts_h5_write_strings(file, "/names", t->names, t->items, err));
    return ts_h5_save(file, err);
}

static ts_status close_sink(const sink *s, const ts_tokens *t, ts_error *err)
{
    ts_h5 *file;
    if (s->pictures)
        return TS_OK;
    TS_TRY(ts_h5_create(&file, s->path, 0, TS_ERR_DATA, err));
    ts_status status = write_h5(s, t, file, err);
    ts_h5_close(file);
    return status;
}

/* --- decoding ----------------------------------------------------------------------------------------------------- */

static ts_status decode_batch(ts_inference *f, const ts_tokens *t, int64_t first, int64_t n, int32_t *ids, float *y,
                              int64_t used, const sink *s, ts_error *err)
{
    int64_t stride = t->longest * t->groups, size = ts_shape_count(s->item);
    for (int64_t i = 0; i < n; i++)
        memcpy(ids + i * used, t->ids + (first + i) * stride, (size_t)used * sizeof *ids);
    ts_program_set(f->program, f->ids, ids);
    TS_TRY(ts_program_run(f->program, err));
    ts_program_get(f->program, f->y, y);
    for (int64_t i = 0; i < n; i++)
        TS_TRY(put(s, t, first + i, y + i * size, err));
    return TS_OK;
}

static ts_status decode_all(ts_trained *trained, const ts_tokens *t, const sink *s, ts_arena *arena, ts_error *err)
{
    int64_t batch = ts_trained_batch(trained, t->items);
    int64_t used = ts_shape_count(trained->experiment.tokenizer.tokens) * t->groups;
    size_t y_bytes = (size_t)(batch * ts_shape_count(s->item)) * sizeof(float);
    float *y = ts_arena_alloc(arena, y_bytes);
    int32_t *ids = ts_arena_alloc(arena, (size_t)(batch * used) * sizeof *ids);
    ts_inference f;
    if (!y || !ids)
        return ts_out_of_memory(err, y_bytes);
    TS_TRY(ts_inference_open(&f, &trained->experiment, TS_DECODE, batch, trained->ema, err));
    ts_status status = TS_OK;
    for (int64_t i = 0; status == TS_OK && i < t->items; i += batch)
        status = decode_batch(&f, t, i, t->items - i < batch ? t->items - i : batch, ids, y, used, s, err);
    ts_inference_close(&f);
    return status == TS_OK ? close_sink(s, t, err) : status;
}

static ts_status answer(const ts_tokens *t, const sink *s, bool json, ts_error *err)
{
    json_t *all = json_object();
    json_object_set_new(all, "output", json_string(s->path));
    json_object_set_new(all, "items", json_integer(t->items));
    json_object_set_new(all, "item", ts_answer_shape(s->item));
    json_object_set_new(all, "format", json_string(s->pictures ? "PNG" : "HDF5"));
    return ts_answer_show(all, json, stdout, err);
}

ts_status ts_cmd_decode(const ts_arguments *a, int *exit_code, ts_error *err)
{
    (void)exit_code;
    ts_trained trained;
    ts_tokens tokens;
    ts_arena arena = {0};
    sink s;
    const char *path = ts_arguments_positional(a, 1);
    ts_status status = ts_trained_open(&trained, a, err);
    if (status == TS_OK)
        status = ts_tokens_load(&tokens, path, &arena, err);
    if (status == TS_OK)
        status = check_fit(&tokens, &trained, path, ts_arguments_flag(a, "force"), err);
    if (status == TS_OK)
        status = open_sink(&s, ts_arguments_text(a, "output"), &trained.experiment, tokens.items, &arena, err);
    if (status == TS_OK)
        status = decode_all(&trained, &tokens, &s, &arena, err);
    if (status == TS_OK)
        status = answer(&tokens, &s, ts_arguments_flag(a, "json"), err);
    ts_arena_clear(&arena);
    ts_trained_close(&trained);
    return status;
}
