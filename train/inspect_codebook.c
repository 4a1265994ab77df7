#include "train/inspect_codebook.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/files/replace.h"
#include "quant/stats.h"
#include "train/answer.h"
#include "train/code_pictures.h"
#include "train/encode.h"
#include "train/file_list.h"

typedef struct {
    const ts_arguments *arguments;
    const char *folder;
    ts_trained trained;
    ts_code_table table;
} view;

/* --- tokens ------------------------------------------------------------------------------------------------------- */

static ts_status encode_into(view *v, const char *path, ts_error *err)
{
    ts_encoding e = {.trained = &v->trained, .arguments = v->arguments, .output = path, .shards = 1};
    ts_status status = ts_encode(&e, err);
    if (status == TS_OK)
        status = ts_token_sink_finish(&e.sink, 0, 1, err);
    ts_token_sink_close(&e.sink);
    return status;
}

static ts_status count(view *v, const char *path, ts_error *err)
{
    ts_arena arena = {0};
    ts_tokens tokens;
    ts_status status = ts_tokens_load(&tokens, path, &arena, err);
    if (status == TS_OK)
        status = ts_code_table_count(&v->table, &tokens, v->trained.experiment.tokenizer.info.codes,
                                     ts_arguments_int(v->arguments, "codes"),
                                     ts_arguments_int(v->arguments, "neighbours"), err);
    ts_arena_clear(&arena);
    return status;
}

static ts_status make_table(view *v, ts_error *err)
{
    TS_TRY(ts_folder_make(v->folder, TS_ERR_DATA, err));
    char *path = ts_format("%s/tokens.h5", v->folder);
    ts_status status = path ? encode_into(v, path, err) : ts_out_of_memory(err, 0);
    if (status == TS_OK)
        status = count(v, path, err);
    ts_free(path);
    TS_TRY(status);
    return ts_code_table_find_near(&v->table, &v->trained.experiment, v->trained.ema, err);
}

/* --- files -------------------------------------------------------------------------------------------------------- */

/* The place of a code in the group's list, or -1. */
static int64_t place_in_list(const ts_code_table *t, int64_t group, int64_t code)
{
    for (int64_t i = 0; i < t->listed; i++)
        if (t->list[group * t->listed + i] == code)
            return group * t->listed + i;
    return -1;
}

static void write_code(const ts_code_table *t, int64_t group, int64_t code, FILE *out)
{
    int64_t uses = t->count[group * t->codes + code], place = place_in_list(t, group, code);
    fprintf(out, "%" PRId64 ",%" PRId64 ",%" PRId64 ",%.9g", group, code, uses, (double)uses / (double)t->tokens);
    for (int64_t i = 0; i < t->near; i++)
        if (place >= 0)
            fprintf(out, ",%d,%.9g", (int)t->neighbour[place * t->near + i], (double)t->distance[place * t->near + i]);
        else
            fputs(",,", out);
    fputc('\n', out);
}

static ts_status write_csv(const view *v, ts_error *err)
{
    const ts_code_table *t = &v->table;
    char *path = ts_format("%s/codes.csv", v->folder), *text = NULL;
    size_t bytes = 0;
    FILE *out = path ? open_memstream(&text, &bytes) : NULL;
    bool whole = out;
    if (out) {
        fputs("group,id,count,share", out);
        for (int64_t i = 1; i <= t->near; i++)
            fprintf(out, ",near_%" PRId64 ",distance_%" PRId64, i, i);
        fputc('\n', out);
        for (int64_t g = 0; g < t->groups; g++)
            for (int64_t k = 0; k < t->codes; k++)
                write_code(t, g, k, out);
        whole = !ferror(out);
        whole = fclose(out) == 0 && whole;
    }
    ts_status status =
        whole ? ts_replace_file(path, text, bytes, TS_REPLACE_DROP, TS_ERR_DATA, err) : ts_out_of_memory(err, bytes);
    free(text);
    ts_free(path);
    return status;
}

typedef ts_status draw_fn(ts_image *picture, view *v, int64_t group, ts_error *err);

static ts_status draw_codes(ts_image *picture, view *v, int64_t group, ts_error *err)
{
    return ts_code_pictures(picture, &v->table, group, &v->trained.experiment, v->trained.ema, err);
}

static ts_status draw_usage(ts_image *picture, view *v, int64_t group, ts_error *err)
{
    return ts_picture_usage(picture, v->table.count + group * v->table.codes, v->table.codes, err);
}

/* DIR/STEM.png, or DIR/STEM_GROUP.png */
static ts_status write_picture(view *v, const char *stem, int64_t group, draw_fn *draw, ts_error *err)
{
    ts_image picture = {0};
    char *path = v->table.groups > 1 ? ts_format("%s/%s_%" PRId64 ".png", v->folder, stem, group)
                                     : ts_format("%s/%s.png", v->folder, stem);
    if (!path)
        return ts_out_of_memory(err, 0);
    ts_status status = draw(&picture, v, group, err);
    if (status == TS_OK) {
        status = ts_image_write_png(path, &picture, err);
        ts_image_clear(&picture);
    }
    ts_free(path);
    return status;
}

static ts_status write_all(view *v, ts_error *err)
{
    TS_TRY(write_csv(v, err));
    for (int64_t g = 0; g < v->table.groups; g++) {
        TS_TRY(write_picture(v, "usage", g, draw_usage, err));
        if (ts_has_code_pictures(&v->trained.experiment))
            TS_TRY(write_picture(v, "codes", g, draw_codes, err));
    }
    return TS_OK;
}

/* --- the answer --------------------------------------------------------------------------------------------------- */

static json_t *group_answer(const ts_code_table *t, int64_t group)
{
    enum { SHOWN = 8 };
    ts_usage u = ts_usage_of(t->count + group * t->codes, t->codes, 0);
    json_t *all = json_object(), *most = json_array();
    json_object_set_new(all, "used", json_integer(u.used));
    json_object_set_new(all, "never_used", json_integer(u.codes - u.used));
    json_object_set_new(all, "usage", ts_answer_real(u.usage));
    json_object_set_new(all, "perplexity", ts_answer_real(u.perplexity));
    json_object_set_new(all, "at_most", ts_answer_real(u.ceiling));
    for (int64_t i = 0; i < t->listed && i < SHOWN; i++)
        json_array_append_new(most, json_integer(t->list[group * t->listed + i]));
    json_object_set_new(all, "most_used", most);
    return all;
}

static ts_status answer(const view *v, ts_error *err)
{
    const ts_code_table *t = &v->table;
    json_t *all = json_object();
    json_object_set_new(all, "folder", json_string(v->folder));
    json_object_set_new(all, "weights", json_string(ts_hash_print(v->trained.weights).text));
    json_object_set_new(all, "quantizer", json_string(v->trained.experiment.tokenizer.quantizer->name));
    json_object_set_new(all, "codes", json_integer(t->codes));
    json_object_set_new(all, "tokens", json_integer(t->tokens));
    json_object_set_new(all, "groups", json_integer(t->groups));
    for (int64_t g = 0; g < t->groups; g++) {
        char name[32];
        snprintf(name, sizeof name, t->groups > 1 ? "group %" PRId64 : "use", g);
        json_object_set_new(all, name, group_answer(t, g));
    }
    json_object_set_new(all, "pictures", json_boolean(ts_has_code_pictures(&v->trained.experiment)));
    return ts_answer_show(all, ts_arguments_flag(v->arguments, "json"), stdout, err);
}

ts_status ts_inspect_codebook(const ts_arguments *a, ts_error *err)
{
    view v = {.arguments = a, .folder = ts_arguments_text(a, "codebook")};
    ts_status status = ts_trained_open(&v.trained, a, err);
    if (status == TS_OK)
        status = make_table(&v, err);
    if (status == TS_OK)
        status = write_all(&v, err);
    if (status == TS_OK)
        status = answer(&v, err);
    ts_code_table_clear(&v.table);
    ts_trained_close(&v.trained);
    return status;
}
