/* ONNX models (https://onnx.ai), as far as a graph of tensors needs the format: bytes <-> a description that knows
 * nothing of protobuf, nor of our own graphs.
 *
 * Reading believes nothing. Taken is a model whose texts are UTF-8, whose values have a name each and are made before
 * they are used, whose dtypes are known, and whose tensors have as many bytes as dtype and shape say; of what it does
 * not describe (subgraphs, sparse tensors, functions, the values' documentation) only the bytes are passed over. What
 * the description may take of memory is limited before it is made.
 *
 * Errors: `code` with the path, one line for each cause. Thread: what was read may be looked at by several. */
#ifndef TS_CORE_FILES_ONNX_H
#define TS_CORE_FILES_ONNX_H

#include <stdbool.h>

#include "core/memory.h"
#include "core/tensor.h"

/* The format's numbers for dtypes; there are more (ts_onnx_dtype_name). */
enum { TS_ONNX_F32 = 1, TS_ONNX_I32 = 6, TS_ONNX_I64 = 7, TS_ONNX_BOOL = 9 };

/* The format's IR version and the operator set that we write: both of 2021, which every run-time reads. */
enum { TS_ONNX_IR = 8, TS_ONNX_OPSET = 17 };

/* Of protobuf itself. */
enum { TS_ONNX_MAX_BYTES = 2147483647 };

/* symbol NULL: of this size; else of the same size wherever the symbol stands; "": of any. */
typedef struct {
    const char *symbol;
    int64_t size;
} ts_onnx_dim;

typedef struct {
    const char *name;
    int dtype;
    bool shaped; /* else the rank is not known either */
    int rank;
    ts_onnx_dim *dim;
} ts_onnx_value;

typedef struct {
    const char *name;
    int dtype;
    ts_shape shape;
    const void *data; /* row-major, little-endian, aligned to 4 at least */
    size_t bytes;
} ts_onnx_tensor;

typedef enum {
    TS_ONNX_OTHER, /* read, and not described */
    TS_ONNX_FLOAT,
    TS_ONNX_INT,
    TS_ONNX_TEXT,
    TS_ONNX_INTS
} ts_onnx_attribute_kind;

typedef struct {
    const char *name;
    ts_onnx_attribute_kind kind;
    float f;
    int64_t i;
    const char *text;
    const int64_t *ints;
    size_t count; /* of ints */
} ts_onnx_attribute;

typedef struct {
    const char *op, *domain, *name; /* domain "": ONNX's own */
    const char **input, **output;   /* "": left out */
    size_t input_count, output_count;
    ts_onnx_attribute *attribute;
    size_t attribute_count;
} ts_onnx_node;

typedef struct {
    const char *key, *text;
} ts_onnx_text;

typedef struct {
    const char *domain; /* "": ONNX's own */
    int64_t version;
} ts_onnx_opset;

/* `{0}` is empty. Texts and lists are the arena's, or outlive the model; what was read has them in `message`. */
typedef struct {
    int64_t ir_version;
    const char *producer, *producer_version, *graph_name;
    ts_onnx_opset *opset;
    ts_onnx_text *metadata;
    ts_onnx_node *node;
    ts_onnx_tensor *initializer;
    ts_onnx_value *input, *output;
    size_t opset_count, metadata_count, node_count, initializer_count, input_count, output_count;
    ts_arena arena;
    void *message;
} ts_onnx_model;

void ts_onnx_clear(ts_onnx_model *model);

/* "f32", "i64", "bool", "bf16" ...; NULL: the format knows no such dtype. *bits: of an element; 0: texts, of any. */
const char *ts_onnx_dtype_name(int dtype, int *bits);

/* ---- making one: each adds a zeroed entry to its list, for the caller to fill in. NULL: out of memory ---- */

ts_onnx_node *ts_onnx_add_node(ts_onnx_model *model);
ts_onnx_attribute *ts_onnx_add_attribute(ts_onnx_model *model, ts_onnx_node *node);
ts_onnx_tensor *ts_onnx_add_initializer(ts_onnx_model *model);
ts_onnx_value *ts_onnx_add_input(ts_onnx_model *model, int rank); /* with that many dims */
ts_onnx_value *ts_onnx_add_output(ts_onnx_model *model, int rank);
ts_onnx_text *ts_onnx_add_metadata(ts_onnx_model *model);

/* Writes atomically (replace.h), for the operator set TS_ONNX_OPSET. Errors: TS_ERR_DATA with the path, also above
 * TS_ONNX_MAX_BYTES. */
ts_status ts_onnx_write(const ts_onnx_model *model, const char *path, ts_error *err);

/* ---- reading ---- */

/* Owner: the caller clears, after TS_OK. */
ts_status ts_onnx_read(ts_onnx_model *model, const char *path, ts_status code, ts_error *err);

/* The same for bytes in memory, which are the caller's and may go afterwards; `path` is for messages. */
ts_status ts_onnx_parse(ts_onnx_model *model, const void *bytes, size_t count, const char *path, ts_status code,
                        ts_error *err);

/* Does the file begin like one (perhaps a damaged one)? For telling kinds of files apart. */
bool ts_onnx_is_one(const char *path);

#endif
