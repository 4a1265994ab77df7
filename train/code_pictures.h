/* What the codes of a tokenizer look like. */
#ifndef TS_TRAIN_CODE_PICTURES_H
#define TS_TRAIN_CODE_PICTURES_H

#include "train/code_table.h"
#include "train/picture.h"

/* Can there be pictures: items are images, or motion whose columns are known? */
bool ts_has_code_pictures(const ts_experiment *e);

/* The listed codes of a group, the most used first: of an image the code in the middle of an item of the most used
 * code, three tokens high and wide, so that its edges are seen; of motion the pose in the middle of a clip of nothing
 * but that code. Under each its id and its share of the tokens. A token's other ids are the most used of their groups.
 * ema as ts_inference_open. Owner: ts_image_clear, after TS_OK. Errors: of the device, the library that draws; out of
 * memory. */
ts_status ts_code_pictures(ts_image *sheet, const ts_code_table *table, int64_t group, ts_experiment *e, bool ema,
                           ts_error *err);

#endif
