#include "train/motion.h"

#include <inttypes.h>
#include <string.h>

#include "core/text.h"

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
    for (int64_t t = 0; motion->mean && t < frames; t++, x += motion->columns)
        for (int64_t i = 0; i < motion->columns; i++)
            x[i] = (x[i] - motion->mean[i]) / motion->std[i];
}

void ts_motion_restore(const ts_motion *motion, int64_t frames, float *x)
{
    for (int64_t t = 0; motion->mean && t < frames; t++, x += motion->columns)
        for (int64_t i = 0; i < motion->columns; i++)
            x[i] = x[i] * motion->std[i] + motion->mean[i];
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
