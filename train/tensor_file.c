#include "train/tensor_file.h"

ts_status ts_tensor_file_open(ts_tensor_file *f, const char *path, ts_error *err)
{
    *f = (ts_tensor_file){.path = path};
    if (!ts_container_is_one(path) && ts_safetensors_is_one(path))
        return ts_safetensors_open(&f->safetensors, path, TS_ERR_CHECKPOINT, err);
    return ts_container_open(&f->container, path, err);
}

void ts_tensor_file_close(ts_tensor_file *f)
{
    if (f->container)
        ts_container_close(f->container);
    ts_safetensors_close(f->safetensors);
    *f = (ts_tensor_file){0};
}

int64_t ts_tensor_file_count(const ts_tensor_file *f)
{
    return f->container ? ts_container_count(f->container) : ts_safetensors_count(f->safetensors);
}

ts_tensor_info ts_tensor_file_at(const ts_tensor_file *f, int64_t i)
{
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
    if (f->container)
        return ts_container_at(f->container, i)->hash;
    const ts_safetensors_entry *e = ts_safetensors_at(f->safetensors, i);
    return ts_hash_bytes(e->data, e->bytes);
}

ts_status ts_tensor_file_load(const ts_tensor_file *f, int64_t i, ts_arena *arena, ts_tensor *tensor, ts_error *err)
{
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
