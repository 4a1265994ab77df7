#include "models/weights.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "core/files/layout.h"
#include "core/text.h"
#include "models/published_names.h"

typedef struct {
    const ts_tokenizer *tokenizer;
    ts_store *store;
} model;

static bool ends(const char *name, const char *with)
{
    size_t n = strlen(name), m = strlen(with);
    return n >= m && strcmp(name + n - m, with) == 0;
}

/* What only training needs of a quantizer's state. */
static bool is_statistic(const ts_variable *v)
{
    return v->role == TS_ROLE_STATE && strncmp(v->path, "quantizer.", 10) == 0 &&
           (ends(v->path, ".count") || ends(v->path, ".sum"));
}

/* Of the model, and not of the trainer. */
static bool is_weight(const ts_variable *v)
{
    return !v->transient && strncmp(v->path, "trainer.", 8) != 0;
}

static const char *name_of(const model *e, ts_weights_names names, ts_published_variant variant, const ts_variable *v,
                           ts_arena *arena)
{
    return names == TS_WEIGHTS_OWN ? v->path : ts_published_name(e->tokenizer, variant, v->path, arena);
}

/* The shape that the file has. */
static ts_shape file_shape(const model *e, ts_weights_names names, const ts_variable *v)
{
    ts_shape shape = v->conv_layout ? ts_layout_torch_shape(v->type.shape) : v->type.shape;
    if (names == TS_WEIGHTS_PUBLISHED && ts_published_leading_axes(e->tokenizer, v->path) && shape.rank < TS_MAX_RANK) {
        memmove(shape.dim + 1, shape.dim, (size_t)shape.rank++ * sizeof *shape.dim);
        shape.dim[0] = 1;
    }
    return shape;
}

/* ---- out ---- */

/* The variable's values as the file has them, in the arena. */
static ts_status tensor_of(const model *e, const ts_weights_export_options *o, const ts_variable *v, ts_arena *arena,
                           ts_tensor *tensor, ts_error *err)
{
    ts_tensor own = {v->type.dtype, v->type.shape, NULL};
    size_t bytes = ts_tensor_bytes(&own);
    int block = o->ema && ts_store_has(e->store, TS_BLOCK_EMA) ? TS_BLOCK_EMA : TS_BLOCK_VALUE;
    void *ours = ts_arena_alloc(arena, bytes + 1), *theirs = v->conv_layout ? ts_arena_alloc(arena, bytes + 1) : ours;
    if (!ours || !theirs)
        return ts_out_of_memory(err, bytes);
    ts_store_get(e->store, v, block, ours);
    if (v->conv_layout)
        ts_layout_to_torch(v->type.dtype, v->type.shape, ours, theirs);
    *tensor = (ts_tensor){v->type.dtype, file_shape(e, o->names, v), theirs};
    return TS_OK;
}

static ts_status gather(const model *e, const ts_weights_export_options *o, ts_named_tensor *list, int64_t *count,
                        ts_arena *arena, ts_error *err)
{
    for (int i = 0; i < ts_store_count(e->store); i++) {
        const ts_variable *v = ts_store_at(e->store, i);
        if (!is_weight(v) || (is_statistic(v) && !o->state))
            continue;
        const char *name = name_of(e, o->names, ts_published_variant_of(e->tokenizer), v, arena);
        if (!name) /* of the state: the published code keeps it elsewhere */
            name = v->path;
        list[*count].name = name;
        TS_TRY(tensor_of(e, o, v, arena, &list[(*count)++].tensor, err));
    }
    return TS_OK;
}

ts_status ts_weights_export(const ts_tokenizer *tokenizer, ts_store *store, const char *path,
                            const ts_weights_export_options *o, int64_t *tensors, ts_error *err)
{
    const model m = {tokenizer, store}, *e = &m;
    ts_arena arena = {0};
    size_t bytes = (size_t)ts_store_count(e->store) * sizeof(ts_named_tensor);
    if (o->names == TS_WEIGHTS_PUBLISHED && !ts_published_by(e->tokenizer))
        return ts_fail(err, TS_ERR_USAGE, "model %s is published nowhere, so that only --names own can be had",
                       e->tokenizer->model->name);
    ts_named_tensor *list = ts_arena_alloc(&arena, bytes + 1);
    *tensors = 0;
    ts_status status = list ? gather(e, o, list, tensors, &arena, err) : ts_out_of_memory(err, bytes);
    if (status == TS_OK)
        status = ts_safetensors_write(path, list, *tensors, o->metadata, err);
    ts_arena_clear(&arena);
    return status;
}

/* ---- in ---- */

typedef struct {
    const model *e;
    const ts_safetensors *file;
    const char *path;
    ts_weights_found *found;
    ts_published_variant variant;
    bool *used; /* [tensors of the file] */
    ts_arena arena;
} reader;

static const ts_safetensors_entry *entry_of(reader *r, const ts_variable *v)
{
    const char *name = name_of(r->e, r->found->names, r->variant, v, &r->arena);
    const char *whole = name ? ts_arena_format(&r->arena, "%s%s", r->found->prefix, name) : NULL;
    return whole ? ts_safetensors_find(r->file, whole) : NULL;
}

static const ts_variable *first_weight(const reader *r)
{
    for (int i = 0; i < ts_store_count(r->e->store); i++)
        if (is_weight(ts_store_at(r->e->store, i)))
            return ts_store_at(r->e->store, i);
    return NULL;
}

/* Is there an entry whose name ends in `name`, behind nothing or a prefix that ends in a dot? */
static bool find_prefix(const reader *r, const char *name, char *prefix, size_t bytes)
{
    for (int64_t i = 0; i < ts_safetensors_count(r->file); i++) {
        const char *whole = ts_safetensors_at(r->file, i)->name;
        if (!ends(whole, name))
            continue;
        size_t before = strlen(whole) - strlen(name);
        if (before < bytes && (before == 0 || whole[before - 1] == '.')) {
            memcpy(prefix, whole, before);
            prefix[before] = '\0';
            return true;
        }
    }
    return false;
}

/* Which names the file has, by the model's first parameter. */
static ts_status tell_names(reader *r, ts_error *err)
{
    static const struct {
        ts_weights_names names;
        ts_published_variant variant;
    } ways[] = {{TS_WEIGHTS_PUBLISHED, TS_PUBLISHED_PLAIN},
                {TS_WEIGHTS_PUBLISHED, TS_PUBLISHED_PATCHER},
                {TS_WEIGHTS_OWN, TS_PUBLISHED_PLAIN}};
    const ts_variable *v = ts_store_find(r->e->store, "encoder.conv1.weight");
    if (!v)
        v = ts_store_find(r->e->store, "encoder.first.weight");
    if (!v)
        v = first_weight(r);
    const char *expected = "?";
    for (size_t i = 0; v && i < sizeof ways / sizeof *ways; i++) {
        const char *name = name_of(r->e, ways[i].names, ways[i].variant, v, &r->arena);
        if (name && i == 0)
            expected = name;
        if (name && find_prefix(r, name, r->found->prefix, sizeof r->found->prefix)) {
            r->found->names = ways[i].names;
            r->variant = ways[i].variant;
            return TS_OK;
        }
    }
    ts_fail(err, TS_ERR_CHECKPOINT,
            "%s: has neither %s nor %s; it is of another model than %s, or of another implementation", r->path,
            expected, v ? v->path : "?", r->e->tokenizer->model->name);
    return TS_ERR_CHECKPOINT;
}

static ts_status check(reader *r, const ts_variable *v, ts_error *err)
{
    const ts_safetensors_entry *entry = entry_of(r, v);
    const char *name = name_of(r->e, r->found->names, r->variant, v, &r->arena);
    ts_shape shape = file_shape(r->e, r->found->names, v);
    if (!entry && is_statistic(v))
        return TS_OK;
    if (!entry)
        return ts_fail(err, TS_ERR_CHECKPOINT,
                       "%s: has no tensor %s%s, which this model needs; it is of another model or config", r->path,
                       r->found->prefix, name ? name : v->path);
    if (!entry->readable || (v->type.dtype == TS_F32 && !ts_dtype_is_real(entry->type)) ||
        !ts_shape_equal(entry->shape, shape))
        return ts_fail(err, TS_ERR_CHECKPOINT,
                       "%s: %s is %s %s, this model expects floats %s; it is of another model "
                       "or config",
                       r->path, TS_SHOWN(entry->name), entry->dtype, ts_shape_print(entry->shape).text,
                       ts_shape_print(shape).text);
    return TS_OK;
}

/* f32 in place of what the file has; of other variables than floats the file's own. */
static void to_f32(const ts_tensor *from, float *to)
{
    for (int64_t i = 0; i < ts_shape_count(from->shape); i++)
        to[i] = from->dtype == TS_F64    ? (float)((const double *)from->data)[i]
                : from->dtype == TS_BF16 ? ts_f32_from_bf16(((const uint16_t *)from->data)[i])
                                         : ((const float *)from->data)[i];
}

static ts_status take(reader *r, const ts_variable *v, ts_error *err)
{
    const ts_safetensors_entry *entry = entry_of(r, v);
    ts_arena arena = {0};
    ts_tensor t;
    if (!entry)
        return TS_OK;
    size_t bytes = (size_t)ts_shape_count(v->type.shape) * sizeof(float);
    float *theirs = ts_arena_alloc(&arena, bytes + 1), *ours = ts_arena_alloc(&arena, bytes + 1);
    ts_status status =
        theirs && ours ? ts_safetensors_load(r->file, entry, &arena, &t, err) : ts_out_of_memory(err, 2 * bytes);
    if (status == TS_OK) {
        to_f32(&t, theirs);
        if (v->conv_layout)
            ts_layout_from_torch(TS_F32, v->type.shape, theirs, ours);
        ts_store_set(r->e->store, v, TS_BLOCK_VALUE, v->conv_layout ? ours : theirs);
        r->used[entry - ts_safetensors_at(r->file, 0)] = true;
        r->found->tensors++;
    }
    ts_arena_clear(&arena);
    return status;
}

/* Statistics that are not in the file begin as if every code had been chosen once by a token like it: n = 1, m = e. So
 * the next step moves the codebook, and does not replace it. */
static ts_status begin_statistic(reader *r, const ts_variable *v, ts_error *err)
{
    if (!is_statistic(v) || entry_of(r, v))
        return TS_OK;
    size_t stem = strlen(v->path) - (ends(v->path, ".sum") ? 3 : 5);
    char *path = ts_format("%.*scodebook", (int)stem, v->path);
    const ts_variable *codebook = path ? ts_store_find(r->e->store, path) : NULL;
    int64_t count = ts_shape_count(v->type.shape);
    float *values = ts_alloc((size_t)count * sizeof *values + 1);
    ts_free(path);
    if (!values)
        return ts_out_of_memory(err, (size_t)count * sizeof *values);
    for (int64_t i = 0; i < count; i++)
        values[i] = 1;
    if (ends(v->path, ".sum") && codebook)
        ts_store_get(r->e->store, codebook, TS_BLOCK_VALUE, values);
    ts_store_set(r->e->store, v, TS_BLOCK_VALUE, values);
    ts_free(values);
    r->found->missing_state++;
    return TS_OK;
}

typedef ts_status visit(reader *r, const ts_variable *v, ts_error *err);

static ts_status for_each(reader *r, visit *what, ts_error *err)
{
    for (int i = 0; i < ts_store_count(r->e->store); i++) {
        const ts_variable *v = ts_store_at(r->e->store, i);
        if (is_weight(v))
            TS_TRY(what(r, v, err));
    }
    return TS_OK;
}

/* What the file has beyond the model: for a note to the user. */
static void count_unused(reader *r)
{
    for (int64_t i = 0; i < ts_safetensors_count(r->file); i++)
        if (!r->used[i] && r->found->unused++ == 0)
            r->found->first_unused = ts_safetensors_at(r->file, i)->name;
}

ts_status ts_weights_import(const ts_tokenizer *tokenizer, ts_store *store, const ts_safetensors *file,
                            const char *path, ts_weights_found *found, ts_error *err)
{
    const model m = {tokenizer, store};
    reader r = {.e = &m, .file = file, .path = path, .found = found};
    size_t bytes = (size_t)ts_safetensors_count(file) * sizeof *r.used;
    *found = (ts_weights_found){0};
    r.used = ts_arena_alloc(&r.arena, bytes + 1);
    if (!r.used)
        return ts_out_of_memory(err, bytes);
    memset(r.used, 0, bytes);
    ts_status status = tell_names(&r, err);
    if (status == TS_OK)
        status = for_each(&r, check, err);
    if (status == TS_OK)
        status = for_each(&r, take, err);
    if (status == TS_OK)
        status = for_each(&r, begin_statistic, err);
    if (status == TS_OK)
        count_unused(&r);
    ts_arena_clear(&r.arena);
    return status;
}
