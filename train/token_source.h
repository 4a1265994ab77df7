/* Where decode takes tokens from: an HDF5 file (train/tokens.h), a folder of .npy, or one .npy
 * (train/token_folder.h). */
#ifndef TS_TRAIN_TOKEN_SOURCE_H
#define TS_TRAIN_TOKEN_SOURCE_H

#include "models/tokenizer.h"
#include "train/token_folder.h"
#include "train/tokens.h"

typedef struct {
    const char *path;
    int64_t count;
    const char *const *names; /* [count] */
    int64_t *tokens;          /* [count] of each item */
    const char *weights;      /* that made them; "": nobody says */
    const ts_tokenizer *model;
    ts_tokens file; /* HDF5, or */
    ts_file_list list;
    ts_token_row row; /* the last that was read of the list */
    ts_arena arena;
} ts_token_source;

/* Opens it and looks through all of it: every item can be decoded by the model, so that nothing is written before all
 * is known to be right. Sequences ([t] tokens an item) may have any length, but none.
 * Owner: ts_token_source_close, also after a failure; `path` and `model` stay the caller's. Errors: TS_ERR_CHECKPOINT.
 */
ts_status ts_token_source_open(ts_token_source *source, const char *path, const ts_tokenizer *model, ts_error *err);
void ts_token_source_close(ts_token_source *source);

/* The ids [tokens[i], groups] of item i; the source's, until the next read. */
ts_status ts_token_source_read(ts_token_source *source, int64_t i, const int32_t **ids, ts_error *err);

#endif
