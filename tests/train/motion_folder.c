#include "tests/train/motion_folder.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/files/npy.h"
#include "tests/train/run_program.h"

enum { MOST_VALUES = 512 * 272 };

void write_npy(const temp_folder *folder, const char *name, ts_dtype dtype, ts_shape shape, const void *values)
{
    ts_error err = {0};
    ts_tensor tensor = {dtype, shape, (void *)values};
    const char *path = temp_write(folder, name, "", 0); /* makes the folders */
    cr_assert_eq(ts_npy_write(path, &tensor, &err), TS_OK, "%s", err.text);
}

void write_motion_tree(const temp_folder *folder, int clips, int64_t frames, int64_t columns)
{
    static float x[MOST_VALUES];
    char name[64], ids[1024] = "";
    cr_assert_leq(frames * columns, MOST_VALUES);
    for (int clip = 0; clip < clips; clip++) {
        for (int64_t i = 0; i < frames * columns; i++) {
            double t = (double)(i / columns), c = (double)(i % columns);
            x[i] = (float)(5 * sin(0.3 * (t + 3 * clip) * (1 + fmod(c, 3))) + c);
        }
        snprintf(name, sizeof name, "new_joint_vecs/%d.npy", clip);
        write_npy(folder, name, TS_F32, ts_shape_of(frames, columns), x);
        snprintf(ids + strlen(ids), sizeof ids - strlen(ids), "%d\n", clip);
    }
    temp_write(folder, "train.txt", ids, strlen(ids));
    temp_write(folder, "val.txt", ids, strlen(ids));
}

void write_motion_statistics(const temp_folder *folder, int64_t columns, float mean, float std)
{
    static float m[MOST_VALUES], s[MOST_VALUES];
    for (int64_t i = 0; i < columns; i++) {
        m[i] = i ? 0 : mean;
        s[i] = i ? 1 : std;
    }
    write_npy(folder, "Mean.npy", TS_F32, ts_shape_of(columns), m);
    write_npy(folder, "Std.npy", TS_F32, ts_shape_of(columns), s);
}

const char *motion_config(const temp_folder *folder)
{
    char yaml[1024];
    snprintf(yaml, sizeof yaml,
             "data: {kind: motion, path: %s, window: 16}\n"
             "model: {kind: motion_conv, width: 8, depth: 1}\n"
             "quantizer: {kind: vector, codes: 8, dim: 4}\n"
             "train: {steps: 4, batch: 2, log_every: 2, eval_every: 0, checkpoint_every: 0}\n",
             folder->path);
    return kept_write(folder, "motion.yaml", yaml, strlen(yaml));
}
