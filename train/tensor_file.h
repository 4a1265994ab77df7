/* A file of named tensors, whatever its format: a checkpoint (core/files/container.h), safetensors, or the
 * initializers of an ONNX model. */
#ifndef TS_TRAIN_TENSOR_FILE_H
#define TS_TRAIN_TENSOR_FILE_H

#include "core/files/container.h"
#include "core/files/onnx.h"
#include "core/files/safetensors.h"

typedef struct {
    const char *path;
    ts_container *container;     /* or */
    ts_safetensors *safetensors; /* or */
    ts_onnx_model *onnx;
} ts_tensor_file;

typedef struct {
    const char *name, *dtype; /* the dtype as the format calls it */
    bool readable;
    ts_shape shape;
    size_t bytes;
} ts_tensor_info;

/* Told by the content. Owner: ts_tensor_file_close, also after a failure. Errors: TS_ERR_CHECKPOINT. */
ts_status ts_tensor_file_open(ts_tensor_file *file, const char *path, ts_error *err);
void ts_tensor_file_close(ts_tensor_file *file);

/* The text of its metadata under this key, "tessera.config"; NULL where there is none. A checkpoint's config is such a
 * text, too. */
const char *ts_tensor_file_text(const ts_tensor_file *file, const char *key);

int64_t ts_tensor_file_count(const ts_tensor_file *file);
ts_tensor_info ts_tensor_file_at(const ts_tensor_file *file, int64_t i);

/* Of the bytes of tensor i. A checkpoint holds it; of others it is computed each time. */
ts_hash ts_tensor_file_hash(const ts_tensor_file *file, int64_t i);

/* Tensor i into new memory of the arena, its hash checked where the format has one. Errors: TS_ERR_CHECKPOINT; not
 * readable. */
ts_status ts_tensor_file_load(const ts_tensor_file *file, int64_t i, ts_arena *arena, ts_tensor *tensor, ts_error *err);

/* Value i of a tensor of any dtype. */
double ts_tensor_value(const ts_tensor *tensor, int64_t i);

#endif
