#include "train/export_onnx.h"

#include <string.h>

bool ts_is_onnx_path(const char *path)
{
    size_t n = strlen(path);
    return n > 5 && strcmp(path + n - 5, ".onnx") == 0;
}

static ts_status add_metadata(ts_onnx_model *model, const char *const *metadata, ts_error *err)
{
    for (; metadata[0]; metadata += 2) {
        ts_onnx_text *t = ts_onnx_add_metadata(model);
        if (!t)
            return ts_out_of_memory(err, sizeof *t);
        *t = (ts_onnx_text){metadata[0], metadata[1]};
    }
    return TS_OK;
}

ts_status ts_export_onnx(const ts_experiment *e, ts_onnx_part part, bool ema, const char *const *metadata,
                         const char *path, int64_t *nodes, ts_error *err)
{
    ts_onnx_model model;
    int block = ema && ts_store_has(e->store, TS_BLOCK_EMA) ? TS_BLOCK_EMA : TS_BLOCK_VALUE;
    TS_TRY(ts_onnx_of_tokenizer(&model, part, &e->tokenizer, e->store, block, err));
    model.producer_version = TESSERA_VERSION;
    *nodes = (int64_t)model.node_count;
    ts_status status = add_metadata(&model, metadata, err);
    if (status == TS_OK)
        status = ts_onnx_write(&model, path, err);
    ts_onnx_clear(&model);
    return status;
}
