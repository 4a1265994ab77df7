#include "train/checkpoint_motion.h"

#include <inttypes.h>
#include <string.h>

#include "models/saved.h"
#include "train/motion_layout_file.h"

static const char mean_name[] = "motion/mean", std_name[] = "motion/std";

static ts_status add_row(ts_container_writer *w, const char *name, const float *row, int64_t columns, ts_error *err)
{
    ts_named_tensor tensor = {name, {TS_F32, ts_shape_of(columns), (void *)row}};
    return ts_container_add(w, &tensor, err);
}

static ts_status add_layout(ts_container_writer *w, const ts_motion_layout *layout, ts_error *err)
{
    char *text;
    TS_TRY(ts_motion_layout_print(layout, &text, err));
    ts_status status = ts_container_add_text(w, TS_MOTION_LAYOUT_TEXT, text, err);
    ts_free(text);
    return status;
}

ts_status ts_checkpoint_motion_add(ts_container_writer *writer, const ts_motion *motion, ts_error *err)
{
    const ts_motion_layout *layout = ts_motion_layout_known(motion);
    if (!motion->known)
        return TS_OK;
    if (layout)
        TS_TRY(add_layout(writer, layout, err));
    if (!motion->mean)
        return TS_OK;
    TS_TRY(add_row(writer, mean_name, motion->mean, motion->columns, err));
    return add_row(writer, std_name, motion->std, motion->columns, err);
}

static ts_status read_rows(ts_motion *m, ts_container *c, const char *path, ts_arena *arena, ts_error *err)
{
    int64_t columns;
    const float *mean, *std;
    TS_TRY(ts_saved_rows(c, path, arena, &columns, &mean, &std, err));
    if (!mean)
        return TS_OK;
    *m = ts_motion_guess(ts_shape_of(1, columns));
    m->known = true;
    m->mean = mean;
    m->std = std;
    return TS_OK;
}

static ts_status read_layout(ts_motion *m, const ts_container *c, const char *path, ts_error *err)
{
    const char *text = ts_container_text(c, TS_MOTION_LAYOUT_TEXT);
    ts_error why = {0};
    ts_motion_layout layout;
    if (!text)
        return TS_OK;
    ts_status status = ts_motion_layout_parse(&layout, TS_MOTION_LAYOUT_TEXT, text, strlen(text), &why);
    if (status == TS_ERR_USAGE)
        return ts_fail(err, TS_ERR_CHECKPOINT, "%s: %s", path, why.text);
    if (status != TS_OK)
        return ts_fail(err, status, "%s", why.text);
    if (m->mean && m->columns != layout.columns)
        return ts_fail(err, TS_ERR_CHECKPOINT,
                       "%s: a layout of %" PRId64 " columns, but mean and deviation of %" PRId64, path, layout.columns,
                       m->columns);
    m->known = true;
    m->columns = layout.columns;
    m->layout = layout;
    return TS_OK;
}

ts_status ts_checkpoint_motion_read(ts_motion *motion, ts_container *container, const char *path, ts_arena *arena,
                                    ts_error *err)
{
    *motion = (ts_motion){0};
    TS_TRY(read_rows(motion, container, path, arena, err));
    return read_layout(motion, container, path, err);
}

static ts_status compare(const ts_motion *now, const ts_motion *before, const char *path, ts_error *err)
{
    char where[200];
    const char *what = ts_motion_layout_difference(&now->layout, &before->layout);
    if (what)
        return ts_fail(
            err, TS_ERR_DATA,
            "%s: the run was trained with another layout of the columns than the data has now: other %s; put "
            "the old one back, or begin a new run",
            path, what);
    if (!ts_motion_same_values(now, before, where, sizeof where))
        return ts_fail(err, TS_ERR_DATA,
                       "%s: the run was trained with another mean and deviation than the data has now: %s; put the old "
                       "Mean.npy and Std.npy back, or begin a new run",
                       path, where);
    return TS_OK;
}

ts_status ts_checkpoint_motion_same(const ts_motion *motion, ts_container *container, const char *path, ts_error *err)
{
    ts_arena arena = {0};
    ts_motion before;
    ts_status status = ts_checkpoint_motion_read(&before, container, path, &arena, err);
    if (status == TS_OK && before.known)
        status = compare(motion, &before, path, err);
    ts_arena_clear(&arena);
    return status;
}
