#include "train/checkpoint_motion.h"

#include <inttypes.h>
#include <math.h>

static const char mean_name[] = "motion/mean", std_name[] = "motion/std";

static ts_status add_row(ts_container_writer *w, const char *name, const float *row, int64_t columns, ts_error *err)
{
    ts_named_tensor tensor = {name, {TS_F32, ts_shape_of(columns), (void *)row}};
    return ts_container_add(w, &tensor, err);
}

ts_status ts_checkpoint_motion_add(ts_container_writer *writer, const ts_motion *motion, ts_error *err)
{
    if (!motion->known || !motion->mean)
        return TS_OK;
    TS_TRY(add_row(writer, mean_name, motion->mean, motion->columns, err));
    return add_row(writer, std_name, motion->std, motion->columns, err);
}

static ts_status read_row(const float **row, ts_container *c, const char *name, ts_arena *arena, ts_error *err)
{
    ts_tensor t;
    TS_TRY(ts_container_load(c, name, arena, &t, err));
    *row = t.data;
    return TS_OK;
}

/* Two rows of floats of one length, finite, the deviations above 0. */
static bool is_sound(const ts_motion *m)
{
    for (int64_t i = 0; i < m->columns; i++)
        if (!isfinite(m->mean[i]) || !isfinite(m->std[i]) || !(m->std[i] > 0))
            return false;
    return true;
}

static ts_status not_sound(const char *path, ts_error *err)
{
    return ts_fail(err, TS_ERR_CHECKPOINT, "%s: expected %s and %s, finite floats [columns], the deviations above 0",
                   path, mean_name, std_name);
}

ts_status ts_checkpoint_motion_read(ts_motion *motion, ts_container *container, const char *path, ts_arena *arena,
                                    ts_error *err)
{
    const ts_container_entry *mean = ts_container_find(container, mean_name);
    const ts_container_entry *std = ts_container_find(container, std_name);
    *motion = (ts_motion){0};
    if (!mean && !std)
        return TS_OK;
    if (!mean || !std || mean->dtype != TS_F32 || std->dtype != TS_F32 || mean->shape.rank != 1 ||
        !ts_shape_equal(mean->shape, std->shape))
        return not_sound(path, err);
    *motion = ts_motion_guess(ts_shape_of(1, mean->shape.dim[0]));
    motion->known = true;
    TS_TRY(read_row(&motion->mean, container, mean_name, arena, err));
    TS_TRY(read_row(&motion->std, container, std_name, arena, err));
    return is_sound(motion) ? TS_OK : not_sound(path, err);
}
