#include "train/clip_list.h"

#include <inttypes.h>
#include <string.h>

#include "train/motion_tree.h"

ts_status ts_clip_list_frames(int64_t *frames, const ts_clip_list *list, int64_t place, int64_t columns, ts_error *err)
{
    ts_shape shape;
    if (list->maker.make) {
        *frames = list->maker.frames(list->maker.state, place);
        return TS_OK;
    }
    TS_TRY(ts_motion_file_shape(&shape, list->files.path[place], columns, err));
    *frames = shape.dim[0];
    return TS_OK;
}

static ts_status read_file(float *rows, const char *path, int64_t frames, int64_t columns, ts_error *err)
{
    ts_npy file;
    TS_TRY(ts_motion_file_open(&file, path, columns, err));
    ts_status status = TS_OK;
    if (file.tensor.shape.dim[0] == frames)
        memcpy(rows, file.tensor.data, (size_t)(frames * columns) * sizeof *rows);
    else
        status = ts_fail(err, TS_ERR_DATA, "%s: had %" PRId64 " frames a moment ago, now %" PRId64, path, frames,
                         file.tensor.shape.dim[0]);
    ts_npy_close(&file);
    return status;
}

ts_status ts_clip_list_read(float *rows, const ts_clip_list *list, int64_t place, int64_t frames, int64_t columns,
                            ts_error *err)
{
    return list->maker.make ? list->maker.make(list->maker.state, place, rows, err)
                            : read_file(rows, list->files.path[place], frames, columns, err);
}
