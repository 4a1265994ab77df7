#include "train/tensor_file.h"

#include <string.h>

#include "core/files/half.h"
#include "core/text.h"

/* ---- ONNX ---- */

static ts_status open_onnx(ts_tensor_file *f, ts_error *err)
{
    f->onnx = ts_calloc(1, sizeof *f->onnx);
    return f->onnx ? ts_onnx_read(f->onnx, f->path, TS_ERR_CHECKPOINT, err) : ts_out_of_memory(err, sizeof *f->onnx);
}

/* The dtype that an initializer is loaded as: half precision becomes f32. */
static bool onnx_dtype(const ts_onnx_tensor *t, ts_dtype *dtype)
{
    static const struct {
        const char *name;
        ts_dtype as;
    } readable[] = {{"f32", TS_F32}, {"f64", TS_F64}, {"f16", TS_F32}, {"bf16", TS_BF16},
                    {"i32", TS_I32}, {"i64", TS_I64}, {"u8", TS_U8},   {"bool", TS_U8}};
    int bits;
    const char *name = ts_onnx_dtype_name(t->dtype, &bits);
    for (size_t i = 0; name && i < sizeof readable / sizeof *readable; i++)
        if (strcmp(name, readable[i].name) == 0) {
            *dtype = readable[i].as;
            return true;
        }
    return false;
}

static ts_tensor_info onnx_at(const ts_onnx_tensor *t)
{
    int bits = 0;
    ts_dtype as;
    return (ts_tensor_info){t->name, ts_onnx_dtype_name(t->dtype, &bits), onnx_dtype(t, &as), t->shape, t->bytes};
}

static ts_status load_onnx(const ts_tensor_file *f, const ts_onnx_tensor *t, ts_arena *arena, ts_tensor *tensor,
                           ts_error *err)
{
    *tensor = (ts_tensor){.shape = t->shape};
    if (!onnx_dtype(t, &tensor->dtype)) {
        ts_fail(err, TS_ERR_CHECKPOINT, "%s: tensor '%s' is of a dtype that is only listed", f->path,
                TS_SHOWN(t->name));
        return TS_ERR_CHECKPOINT;
    }
    size_t bytes = ts_tensor_bytes(tensor);
    if (!(tensor->data = ts_arena_alloc(arena, bytes + 1)))
        return ts_out_of_memory(err, bytes);
    if (bytes == t->bytes) {
        memcpy(tensor->data, t->data, bytes);
        return TS_OK;
    }
    const unsigned char *half = t->data;
    for (size_t i = 0; i < t->bytes / 2; i++)
        ((float *)tensor->data)[i] = ts_f32_from_f16((uint16_t)(half[2 * i] | half[2 * i + 1] << 8));
    return TS_OK;
}

/* ---- any ---- */

ts_status ts_tensor_file_open(ts_tensor_file *f, const char *path, ts_error *err)
{
    *f = (ts_tensor_file){.path = path};
    if (ts_container_is_one(path))
        return ts_container_open(&f->container, path, err);
    if (ts_safetensors_is_one(path))
        return ts_safetensors_open(&f->safetensors, path, TS_ERR_CHECKPOINT, err);
    return ts_onnx_is_one(path) ? open_onnx(f, err) : ts_container_open(&f->container, path, err);
}

void ts_tensor_file_close(ts_tensor_file *f)
{
    if (f->container)
        ts_container_close(f->container);
    if (f->onnx)
        ts_onnx_clear(f->onnx);
    ts_free(f->onnx);
    ts_safetensors_close(f->safetensors);
    *f = (ts_tensor_file){0};
}

const char *ts_tensor_file_text(const ts_tensor_file *f, const char *key)
{
    const char *name, *text;
    if (f->container)
        return strcmp(key, "tessera.config") == 0 ? ts_container_text(f->container, "config") : NULL;
    for (int64_t i = 0; f->safetensors && ts_safetensors_metadata(f->safetensors, i, &name, &text); i++)
        if (strcmp(name, key) == 0)
            return text;
    for (size_t i = 0; f->onnx && i < f->onnx->metadata_count; i++)
        if (strcmp(f->onnx->metadata[i].key, key) == 0)
            return f->onnx->metadata[i].text;
    return NULL;
}

int64_t ts_tensor_file_count(const ts_tensor_file *f)
{
    if (f->onnx)
        return (int64_t)f->onnx->initializer_count;
    return f->container ? ts_container_count(f->container) : ts_safetensors_count(f->safetensors);
}

ts_tensor_info ts_tensor_file_at(const ts_tensor_file *f, int64_t i)
{
    if (f->onnx)
        return onnx_at(&f->onnx->initializer[i]);
    if (f->container) {
        const ts_container_entry *e = ts_container_at(f->container, i);
        ts_tensor t = {e->dtype, e->shape, NULL};
        return (ts_tensor_info){e->name, ts_dtype_name(e->dtype), true, e->shape, ts_tensor_bytes(&t)};
    }
    const ts_safetensors_entry *e = ts_safetensors_at(f->safetensors, i);
    return (ts_tensor_info){e->name, e->dtype, e->readable, e->shape, e->bytes};
}

ts_hash ts_tensor_file_hash(const ts_tensor_file *f, int64_t i)
{
    if (f->onnx)
        return ts_hash_bytes(f->onnx->initializer[i].data, f->onnx->initializer[i].bytes);
    if (f->container)
        return ts_container_at(f->container, i)->hash;
    const ts_safetensors_entry *e = ts_safetensors_at(f->safetensors, i);
    return ts_hash_bytes(e->data, e->bytes);
}

ts_status ts_tensor_file_load(const ts_tensor_file *f, int64_t i, ts_arena *arena, ts_tensor *tensor, ts_error *err)
{
    if (f->onnx)
        return load_onnx(f, &f->onnx->initializer[i], arena, tensor, err);
    if (f->container)
        return ts_container_load(f->container, ts_container_at(f->container, i)->name, arena, tensor, err);
    return ts_safetensors_load(f->safetensors, ts_safetensors_at(f->safetensors, i), arena, tensor, err);
}

double ts_tensor_value(const ts_tensor *t, int64_t i)
{
    switch (t->dtype) {
    case TS_F32:
        return (double)((const float *)t->data)[i];
    case TS_F64:
        return ((const double *)t->data)[i];
    case TS_BF16:
        return (double)ts_f32_from_bf16(((const uint16_t *)t->data)[i]);
    case TS_I32:
        return ((const int32_t *)t->data)[i];
    case TS_I64:
        return (double)((const int64_t *)t->data)[i];
    default:
        return ((const uint8_t *)t->data)[i];
    }
}
