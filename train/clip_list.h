/* Clips of a list, wherever it has them from: the one place that tells files and clips that are made apart. */
#ifndef TS_TRAIN_CLIP_LIST_H
#define TS_TRAIN_CLIP_LIST_H

#include "train/data.h"

/* Frames of clip number `place`, by the header of its file. Errors: as ts_motion_file_shape. */
ts_status ts_clip_list_frames(int64_t *frames, const ts_clip_list *list, int64_t place, int64_t columns, ts_error *err);

/* Its values, all of the `frames` frames that it was said to have, to rows [frames, columns].
 * Errors: as ts_motion_file_open; TS_ERR_DATA where the file has another number of frames by now. */
ts_status ts_clip_list_read(float *rows, const ts_clip_list *list, int64_t place, int64_t frames, int64_t columns,
                            ts_error *err);

#endif
