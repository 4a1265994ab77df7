/* A folder of tokens as the code of T2M-GPT and of MotionMillion reads and writes it: one .npy a clip, integers
 * [1, tokens * groups], the ids of a token side by side; i64 in T2M-GPT's (torch's argmin), i32 in MotionMillion's
 * (its FSQ). Their readers take the first axis as a list of sequences and draw one. Beside the files lies
 * tessera.json, which says whose they are; a folder made by other means may lack it. */
#ifndef TS_TRAIN_TOKEN_FOLDER_H
#define TS_TRAIN_TOKEN_FOLDER_H

#include <jansson.h>

#include "core/memory.h"
#include "train/file_list.h"

#define TS_TOKEN_MANIFEST "tessera.json"

typedef enum { TS_TOKENS_T2M, TS_TOKENS_MOTIONMILLION } ts_token_layout;
extern const char *const ts_token_layouts[]; /* "t2m", "motionmillion", NULL */

/* .npy, names without it, errors TS_ERR_CHECKPOINT. */
extern const ts_file_kind ts_token_files;

/* Writes `count` ids, atomically. Errors: data, with the path. */
ts_status ts_token_file_write(const char *path, ts_token_layout layout, const int32_t *ids, int64_t count,
                              ts_error *err);

/* The ids of one clip. */
typedef struct {
    int64_t tokens;
    int32_t *ids; /* [tokens, groups]; freed with ts_free */
} ts_token_row;

/* Reads and checks: i32 or i64, [1, tokens * groups], [tokens * groups] or [tokens, groups], at least one token, every
 * id from 0 to codes - 1. Errors: TS_ERR_CHECKPOINT, with the path; then there is nothing to free. */
ts_status ts_token_file_read(ts_token_row *row, const char *path, int64_t groups, int64_t codes, ts_error *err);

/* What tessera.json says, or NULL where there is none. Owner: the caller decrefs.
 * Errors: TS_ERR_CHECKPOINT: it is damaged. */
ts_status ts_token_manifest_read(json_t **manifest, const char *folder, ts_error *err);

/* Makes the folder, or finds it, ready for tokens that `manifest` describes: empty, or with exactly that manifest.
 * Several processes may do so at once. Errors: TS_ERR_DATA: it cannot be made or written; TS_ERR_USAGE: it holds tokens
 * of another manifest (the key that differs is named), or other files. */
ts_status ts_token_folder_make(const char *folder, const json_t *manifest, ts_error *err);

#endif
