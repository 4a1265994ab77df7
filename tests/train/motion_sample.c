#include "tests/train/motion_sample.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/files/npy.h"

float motion_sample_value(int clip, int64_t frame, int64_t column)
{
    return (float)(5 * sin(0.3 * (double)(frame + 3 * clip) * (double)(1 + column % 3)) + (double)column +
                   sin((double)(clip + 1) * (double)frame));
}

static void write_clip(const temp_folder *folder, const char *name, int clip, int64_t frames, int64_t columns,
                       bool broken)
{
    float *x = malloc((size_t)(frames * columns) * sizeof *x);
    cr_assert_not_null(x);
    for (int64_t i = 0; i < frames * columns; i++)
        x[i] = motion_sample_value(clip, i / columns, i % columns);
    if (broken)
        x[columns + 2] = NAN;
    ts_error err = {0};
    ts_tensor tensor = {TS_F32, ts_shape_of(frames, columns), x};
    const char *path = temp_write(folder, name, "", 0);
    cr_assert_eq(ts_npy_write(path, &tensor, &err), TS_OK, "%s", err.text);
    free(x);
}

void motion_sample_clip(const temp_folder *folder, const char *name, int clip, int64_t frames, int64_t columns)
{
    write_clip(folder, name, clip, frames, columns, false);
}

void motion_sample_broken(const temp_folder *folder, const char *name, int clip, int64_t frames)
{
    write_clip(folder, name, clip, frames, SAMPLE_COLUMNS, true);
}

void motion_sample_split(const temp_folder *folder, const char *split, int first, const sample_clip *clips, int count)
{
    char ids[1024] = "", name[128];
    for (int i = 0; i < count; i++) {
        snprintf(ids + strlen(ids), sizeof ids - strlen(ids), "%s\n", clips[i].id);
        snprintf(name, sizeof name, "new_joint_vecs/%s.npy", clips[i].id);
        if (clips[i].frames)
            write_clip(folder, name, first + i, llabs(clips[i].frames), SAMPLE_COLUMNS, clips[i].frames < 0);
    }
    snprintf(name, sizeof name, "%s.txt", split);
    temp_write(folder, name, ids, strlen(ids));
}

const char *motion_sample_yaml(const temp_folder *folder, const char *quantizer)
{
    static char yaml[1024];
    snprintf(yaml, sizeof yaml,
             "data: {kind: motion, path: %s, window: 16}\n"
             "model: {kind: motion_conv, width: 16, depth: 2}\n"
             "quantizer: {%s}\n"
             "train: {batch: 4, steps: 4, loss: smooth_l1, lr: 3e-3, log_every: 2, eval_every: 0}\n",
             folder->path, quantizer);
    return yaml;
}
