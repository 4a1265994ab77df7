/* What `tessera export` writes beside the tensors, and how it is read: texts of the safetensors file
 *     tessera.config   the resolved config, YAML
 *     tessera.item     shape of an item, "28x28x1" or "64x263"
 *     tessera.range    of the values of an image: "[-1,1]"
 *     tessera.weights  the weights' number (ts_weights_hash)
 * and, of motion that is normalised, mean.npy and std.npy in the same folder. */
#ifndef TS_MODELS_EXPORTED_H
#define TS_MODELS_EXPORTED_H

#include "core/files/safetensors.h"
#include "models/pixels.h"

/* A text of the file, living as long as it; NULL: it has none. */
const char *ts_exported_text(const ts_safetensors *file, const char *key);

/* "28x28x1", "64x263". Errors: `code`, beginning with `where`. */
ts_status ts_item_parse(const char *where, const char *text, ts_status code, ts_shape *item, ts_error *err);

/* The range with this name; a name that is none, or NULL, leaves *range as it is. */
void ts_range_find(const char *name, ts_range *range);

/* FOLDER/NAME.npy for weights in FOLDER, in the arena; NULL: there is none that can be read. */
const char *ts_exported_columns_path(const char *weights, const char *name, ts_arena *arena);

/* A float for each of the columns, finite and, if `positive`, above 0, in the arena. Errors: data. */
ts_status ts_exported_columns(const char *path, bool positive, int64_t columns, ts_arena *arena, const float **values,
                              ts_error *err);

#endif
