#include "train/motion.h"

#include <inttypes.h>
#include <string.h>

#include "core/text.h"
#include "models/session.h"
#include "train/motion_layout_file.h"

const ts_motion_layout *ts_motion_layout_known(const ts_motion *motion)
{
    return motion->layout.columns ? &motion->layout : NULL;
}

ts_motion ts_motion_guess(ts_shape item)
{
    ts_motion motion = {.columns = item.rank == 2 ? item.dim[1] : 0};
    const ts_motion_layout *layout = ts_motion_layout_of(motion.columns);
    if (layout)
        motion.layout = *layout;
    return motion;
}

static ts_status find_layout(ts_motion *motion, const char *layout, int64_t columns, ts_error *err)
{
    if (strcmp(layout, "auto") == 0) {
        *motion = ts_motion_guess(ts_shape_of(1, columns));
        return TS_OK;
    }
    TS_TRY(ts_motion_layout_named(&motion->layout, layout, err));
    motion->columns = motion->layout.columns;
    if (columns && columns != motion->columns)
        return ts_fail(err, TS_ERR_DATA, "frames of %" PRId64 " columns, but those of the layout %s are %" PRId64,
                       columns, TS_SHOWN(layout), motion->columns);
    return TS_OK;
}

ts_status ts_motion_describe(ts_motion *motion, const char *layout, double fps, int64_t columns, ts_error *err)
{
    ts_motion m = {0};
    TS_TRY(find_layout(&m, layout, columns, err));
    if (fps > 0 && columns && !m.layout.columns)
        return ts_fail(err, TS_ERR_USAGE,
                       "%g frames a second: no layout of %" PRId64 " columns is known, name one (a FILE.yaml)", fps,
                       columns);
    if (fps > 0)
        m.layout.fps = fps;
    m.known = true;
    *motion = m;
    return TS_OK;
}

static ts_status copy_row(const float **to, const float *from, int64_t columns, ts_arena *arena, ts_error *err)
{
    size_t bytes = (size_t)columns * sizeof *from;
    float *row = ts_arena_alloc(arena, bytes);
    if (!row)
        return ts_out_of_memory(err, bytes);
    memcpy(row, from, bytes);
    *to = row;
    return TS_OK;
}

ts_status ts_motion_copy(ts_motion *to, const ts_motion *from, ts_arena *arena, ts_error *err)
{
    *to = *from;
    if (!from->mean)
        return TS_OK;
    TS_TRY(copy_row(&to->mean, from->mean, from->columns, arena, err));
    return copy_row(&to->std, from->std, from->columns, arena, err);
}

void ts_motion_normalize(const ts_motion *motion, int64_t frames, float *x)
{
    ts_rows_normalize(motion->mean, motion->std, motion->columns, frames, x);
}

void ts_motion_restore(const ts_motion *motion, int64_t frames, float *x)
{
    ts_rows_restore(motion->mean, motion->std, motion->columns, frames, x);
}

bool ts_motion_same_values(const ts_motion *a, const ts_motion *b, char *text, size_t bytes)
{
    if (!a->mean || !b->mean || a->columns != b->columns) {
        if (!a->mean && !b->mean)
            return true;
        ts_text_append(text, bytes, 0, "%" PRId64 " columns, %s, not %" PRId64 " columns, %s", a->columns,
                       a->mean ? "normalised" : "as they are", b->columns, b->mean ? "normalised" : "as they are");
        return false;
    }
    for (int64_t i = 0; i < a->columns; i++)
        if (a->mean[i] != b->mean[i] || a->std[i] != b->std[i]) {
            ts_text_append(text, bytes, 0, "column %" PRId64 " has mean %.9g and std %.9g, not mean %.9g and std %.9g",
                           i, (double)a->mean[i], (double)a->std[i], (double)b->mean[i], (double)b->std[i]);
            return false;
        }
    return true;
}
