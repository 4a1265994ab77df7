/* tessera import weights: a safetensors file to a checkpoint. */
#ifndef TS_TRAIN_IMPORT_WEIGHTS_H
#define TS_TRAIN_IMPORT_WEIGHTS_H

#include "train/arguments.h"

/* The command's words are weights, FILE and CHECKPOINT. Errors: usage, data, checkpoint. */
ts_status ts_import_weights(const ts_arguments *arguments, ts_error *err);

#endif
