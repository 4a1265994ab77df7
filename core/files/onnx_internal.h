/* The one place that knows protobuf-c. */
#ifndef TS_CORE_FILES_ONNX_INTERNAL_H
#define TS_CORE_FILES_ONNX_INTERNAL_H

#include <onnx.pb-c.h>

#include "core/files/onnx.h"

/* AttributeProto.AttributeType */
enum { ATTRIBUTE_FLOAT = 1, ATTRIBUTE_INT = 2, ATTRIBUTE_STRING = 3, ATTRIBUTE_INTS = 7 };

/* A list that grows in the arena: room for one more zeroed entry of `size` bytes behind `count` of them. NULL: out of
 * memory. */
void *ts_onnx_grow(ts_arena *arena, void **list, size_t *count, size_t size);

/* Frees what ts_onnx_parse keeps in model->message. */
void ts_onnx_free_message(void *message);

/* What the format promises of a model that is described: see onnx.h. */
ts_status ts_onnx_verify(ts_onnx_model *model, const char *path, ts_status code, ts_error *err);

#endif
