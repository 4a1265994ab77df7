/* A trained tokenizer as ONNX models, with what it was made of in their metadata. */
#ifndef TS_TRAIN_EXPORT_ONNX_H
#define TS_TRAIN_EXPORT_ONNX_H

#include "models/onnx.h"
#include "train/experiment.h"

/* Texts of the metadata: pairs of key and text, NULL-terminated. ema: the moving averages of the weights, where there
 * are some. *nodes: of the model. Errors: TS_ERR_USAGE what ONNX cannot be told; TS_ERR_DATA the file. */
ts_status ts_export_onnx(const ts_experiment *e, ts_onnx_part part, bool ema, const char *const *metadata,
                         const char *path, int64_t *nodes, ts_error *err);

/* Does the path name a file rather than a folder? */
bool ts_is_onnx_path(const char *path);

#endif
