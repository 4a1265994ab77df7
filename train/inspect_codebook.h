/* tessera inspect --codebook: how the codes of a tokenizer are used on any data, what they look like, and which of them
 * are near each other. */
#ifndef TS_TRAIN_INSPECT_CODEBOOK_H
#define TS_TRAIN_INSPECT_CODEBOOK_H

#include "train/arguments.h"

/* Encodes the input and writes into the folder that --codebook names (several groups of ids: codes_0.png ...):
 *     tokens.h5   the tokens (train/tokens.h)
 *     codes.csv   a line a code and group: count, share, nearest codes
 *     codes.png   the most used codes, decoded (where there is a picture of an item)
 *     usage.png   how evenly they are used
 * Errors: as encode and decode. */
ts_status ts_inspect_codebook(const ts_arguments *arguments, ts_error *err);

#endif
