/* A tokenizer in a container (core/files/container.h): its variables, and what else must be known to use it. Tensors
 * are in PyTorch's layouts under their paths: model/<path>            parameters state/<path>            quantizer and
 * other state ema/<path>              moving averages of the parameters m/<path>, v/<path>      the optimizer's moments
 *     motion/mean, motion/std f32 [columns], where motion is normalised
 * The text `trainer`, JSON, holds the shape of an item and the range of its values beside the trainer's own numbers.
 *
 * Errors: TS_ERR_CHECKPOINT with `path` of the file, one line for each cause; TS_ERR_RUNTIME out of memory. */
#ifndef TS_MODELS_SAVED_H
#define TS_MODELS_SAVED_H

#include "autograd/store.h"
#include "core/files/container.h"
#include "models/pixels.h"

typedef enum {
    TS_RESTORE_RESUME,  /* everything; a missing tensor is an error */
    TS_RESTORE_INFER,   /* parameters, moving averages where the file has them, state */
    TS_RESTORE_WEIGHTS, /* parameters and quantizer state for --init-from: shapes must fit, the optimizer starts anew */
} ts_restore_kind;

/* Adds every variable of every block that the store has; transient ones are left out. */
ts_status ts_saved_add(ts_container_writer *writer, const ts_store *store, ts_error *err);

/* Fills the sealed store. Nothing is changed unless the whole file is sound and fits: a file of another model is an
 * error that names the first tensor that differs. */
ts_status ts_saved_restore(ts_store *store, ts_container *container, const char *path, ts_restore_kind kind,
                           ts_error *err);

/* The text, which a tokenizer's container must have. */
ts_status ts_saved_text(const ts_container *container, const char *path, const char *name, const char **text,
                        ts_error *err);

/* Item and range out of the text `trainer`. Errors: they are not what this version writes. */
ts_status ts_saved_item(const ts_container *container, const char *path, ts_shape *item, ts_range *range,
                        ts_error *err);

/* How motion is normalised: *columns 0 and both NULL where it is not. Finite, the deviations above 0; in the arena. */
ts_status ts_saved_rows(ts_container *container, const char *path, ts_arena *arena, int64_t *columns,
                        const float **mean, const float **std, ts_error *err);

/* Are items frames of so many columns? */
ts_status ts_saved_fits(const char *path, ts_shape item, int64_t columns, ts_error *err);

/* One number for all weights: XXH3-128 over, for each tensor below model/ and state/ in the order of names (bytewise),
 * its name, a zero byte and the 16 bytes of its hash. The moving averages follow from these and are left out. */
ts_status ts_weights_hash(const ts_container *container, ts_hash *hash, ts_error *err);

#endif
