#include "train/token_source.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "core/text.h"

/* --- do the tokens fit the model? --------------------------------------------------------------------------------- */

static ts_status check_length(const ts_token_source *s, int64_t i, ts_error *err)
{
    int64_t per_item = ts_shape_count(s->model->tokens);
    if (s->model->tokens.rank == 1 ? s->tokens[i] > 0 : s->tokens[i] == per_item)
        return TS_OK;
    if (s->model->tokens.rank == 1)
        return ts_fail(err, TS_ERR_CHECKPOINT, "%s: item %" PRId64 " (%s) has no tokens", s->path, i,
                       TS_SHOWN(s->names[i]));
    return ts_fail(err, TS_ERR_CHECKPOINT,
                   "%s: item %" PRId64 " (%s) has %" PRId64 " tokens, the model decodes %" PRId64, s->path, i,
                   TS_SHOWN(s->names[i]), s->tokens[i], per_item);
}

static ts_status of_another_model(const ts_token_source *s, ts_shape shape, int64_t groups, int64_t codes,
                                  ts_error *err)
{
    const ts_quantizer_info *info = &s->model->info;
    return ts_fail(err, TS_ERR_CHECKPOINT,
                   "%s: tokens %s in %" PRId64 " groups of %" PRId64 " codes, the model has %s, %" PRId64
                   " groups, %" PRId64 " codes; they are of another model",
                   s->path, ts_shape_print(shape).text, groups, codes, ts_shape_print(s->model->tokens).text,
                   info->groups, info->codes);
}

/* --- an HDF5 file ------------------------------------------------------------------------------------------------- */

static ts_status check_range(const ts_token_source *s, int64_t i, ts_error *err)
{
    const ts_tokens *t = &s->file;
    const int32_t *ids = t->ids + i * t->longest * t->groups;
    for (int64_t k = 0; k < s->tokens[i] * t->groups; k++)
        if (ids[k] >= s->model->info.codes)
            return ts_fail(err, TS_ERR_CHECKPOINT,
                           "%s: item %" PRId64 ", token %" PRId64 ": id %d, the model has %" PRId64 " codes", s->path,
                           i, k / t->groups, ids[k], s->model->info.codes);
    return TS_OK;
}

/* Shapes of sequences may differ in length, so theirs says only that they are sequences. */
static bool fits(const ts_tokens *t, const ts_tokenizer *model)
{
    bool shape = t->shape.rank == 0 || (t->shape.rank == 1 && model->tokens.rank == 1) ||
                 ts_shape_equal(t->shape, model->tokens);
    return shape && t->groups == model->info.groups && (t->codes == 0 || t->codes == model->info.codes);
}

static ts_status open_file(ts_token_source *s, ts_error *err)
{
    ts_tokens *t = &s->file;
    TS_TRY(ts_tokens_load(t, s->path, &s->arena, err));
    if (!fits(t, s->model))
        return of_another_model(s, t->shape, t->groups, t->codes, err);
    s->count = t->items;
    s->names = t->names;
    s->weights = t->weights;
    s->tokens = ts_arena_alloc(&s->arena, (size_t)s->count * sizeof *s->tokens);
    if (!s->tokens)
        return ts_out_of_memory(err, (size_t)s->count * sizeof *s->tokens);
    for (int64_t i = 0; i < s->count; i++) {
        s->tokens[i] = t->lengths[i];
        TS_TRY(check_length(s, i, err));
        TS_TRY(check_range(s, i, err));
    }
    return TS_OK;
}

/* --- .npy --------------------------------------------------------------------------------------------------------- */

static ts_status read_row(ts_token_source *s, int64_t i, ts_error *err)
{
    ts_free(s->row.ids);
    s->row = (ts_token_row){0};
    return ts_token_file_read(&s->row, s->list.path[i], s->model->info.groups, s->model->info.codes, err);
}

static ts_status read_lengths(ts_token_source *s, ts_error *err)
{
    s->count = s->list.count;
    s->names = s->list.name;
    s->tokens = ts_arena_alloc(&s->arena, (size_t)s->count * sizeof *s->tokens);
    if (!s->tokens)
        return ts_out_of_memory(err, (size_t)s->count * sizeof *s->tokens);
    for (int64_t i = 0; i < s->count; i++) {
        TS_TRY(read_row(s, i, err));
        s->tokens[i] = s->row.tokens;
        TS_TRY(check_length(s, i, err));
    }
    return TS_OK;
}

static ts_status check_manifest(ts_token_source *s, const json_t *manifest, ts_error *err)
{
    const ts_quantizer_info *info = &s->model->info;
    const char *weights = json_string_value(json_object_get(manifest, "weights"));
    int64_t groups = json_integer_value(json_object_get(manifest, "groups"));
    int64_t codes = json_integer_value(json_object_get(manifest, "codes"));
    if (groups != info->groups || codes != info->codes)
        return of_another_model(s, (ts_shape){0}, groups, codes, err);
    s->weights = ts_arena_strdup(&s->arena, weights ? weights : "");
    return s->weights ? TS_OK : ts_out_of_memory(err, 0);
}

static ts_status open_folder(ts_token_source *s, ts_error *err)
{
    json_t *manifest;
    TS_TRY(ts_token_manifest_read(&manifest, s->path, err));
    ts_status status = manifest ? check_manifest(s, manifest, err) : TS_OK;
    json_decref(manifest);
    TS_TRY(status);
    TS_TRY(ts_file_list_walk(&s->list, s->path, &ts_token_files, err));
    return read_lengths(s, err);
}

/* --- the whole ---------------------------------------------------------------------------------------------------- */

static bool is_npy(const char *path)
{
    char head[6] = {0};
    FILE *file = fopen(path, "rb");
    size_t n = file ? fread(head, 1, sizeof head, file) : 0;
    if (file)
        fclose(file);
    return n == sizeof head && memcmp(head, "\x93NUMPY", sizeof head) == 0;
}

ts_status ts_token_source_open(ts_token_source *s, const char *path, const ts_tokenizer *model, ts_error *err)
{
    struct stat st;
    *s = (ts_token_source){.path = path, .weights = "", .model = model};
    bool folder = stat(path, &st) == 0 && S_ISDIR(st.st_mode);
    if (folder) {
        TS_TRY(open_folder(s, err));
    } else if (is_npy(path) || ts_file_ending(path, ts_token_files.endings)) {
        TS_TRY(ts_file_list_add_file(&s->list, path, &ts_token_files, err));
        TS_TRY(read_lengths(s, err));
    } else {
        TS_TRY(open_file(s, err));
    }
    return s->count ? TS_OK : ts_fail(err, TS_ERR_CHECKPOINT, "%s: holds no items", path);
}

void ts_token_source_close(ts_token_source *s)
{
    ts_free(s->row.ids);
    ts_file_list_clear(&s->list);
    ts_arena_clear(&s->arena);
    *s = (ts_token_source){0};
}

ts_status ts_token_source_read(ts_token_source *s, int64_t i, const int32_t **ids, ts_error *err)
{
    if (!s->list.count) {
        *ids = s->file.ids + i * s->file.longest * s->file.groups;
        return TS_OK;
    }
    TS_TRY(read_row(s, i, err));
    *ids = s->row.ids;
    return s->row.tokens == s->tokens[i]
               ? TS_OK
               : ts_fail(err, TS_ERR_CHECKPOINT, "%s: has changed while it was decoded", s->list.path[i]);
}
