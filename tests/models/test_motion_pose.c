/* Where the joints are: known motions, put into columns by the definitions of each representation, come back; real
 * clips move as their velocities' columns say. */
#include "models/motion_pose.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/files/npy.h"
#include "tests/support/known_motion.h"
#include "tests/support/shared.h"
#include "tests/support/worst.h"

static ts_error err;

/* ---- known motions ---- */

enum { FRAMES = 90, MOST_JOINTS = 22, MOST_COLUMNS = 272 };

static float x[FRAMES * MOST_COLUMNS], found[FRAMES * MOST_JOINTS * 3];
static known_motion known;

static void expect_known(const ts_motion_layout *l, const char *what)
{
    double worst = 0;
    for (int t = 0; t < FRAMES; t++)
        for (int j = 0; j < l->joints; j++)
            for (int i = 0; i < 3; i++)
                worst = worst_of(worst, fabs(known.joint[t][j][i] - (double)found[(t * l->joints + j) * 3 + i]));
    cr_assert_lt(worst * l->unit_mm, 2e-3, "%s, %s: %g mm", l->name, what, worst * l->unit_mm);
}

Test(models_motion_pose, turns_as_angles)
{
    static const char *const names[] = {"humanml3d", "kit"};
    for (int i = 0; i < 2; i++)
        for (ts_motion_yaw yaw = TS_YAW_WHOLE; yaw <= TS_YAW_HALF; yaw++) {
            const ts_motion_layout *l = ts_motion_layout_find(names[i]);
            known_motion_walk(&known, l, FRAMES, 1.5);
            known_motion_columns(&known, l, yaw, x);
            cr_assert_eq(ts_motion_yaw_of(l, x, FRAMES), yaw, "%s", l->name);
            ts_motion_pose(l, x, FRAMES, yaw, found);
            expect_known(l, yaw == TS_YAW_HALF ? "half" : "whole");
            ts_motion_pose(l, x, FRAMES, !yaw, found);
            const double *end = known.joint[FRAMES - 1][0];
            const float *other = found + (FRAMES - 1) * l->joints * 3;
            double d = hypot(end[0] - (double)other[0], end[2] - (double)other[2]) * l->unit_mm;
            cr_assert_gt(d, 100, "the other one is another motion: %g mm", d);
        }
}

Test(models_motion_pose, nothing_tells_whole_from_half)
{
    ts_motion_layout l = *ts_motion_layout_find("humanml3d");
    known_motion_walk(&known, &l, FRAMES, 0);
    known_motion_columns(&known, &l, TS_YAW_HALF, x);
    cr_assert_eq(ts_motion_yaw_of(&l, x, FRAMES), TS_YAW_WHOLE, "no turn");
    known_motion_walk(&known, &l, FRAMES, 1);
    known_motion_columns(&known, &l, TS_YAW_HALF, x);
    cr_assert_eq(ts_motion_yaw_of(&l, x, 1), TS_YAW_WHOLE, "one frame");
    cr_assert_eq(ts_motion_yaw_of(&l, x, 2), TS_YAW_HALF, "two");
    l.velocities.count = 0;
    cr_assert_eq(ts_motion_yaw_of(&l, x, FRAMES), TS_YAW_WHOLE, "no velocities");
    cr_assert_eq(ts_motion_yaw_of(ts_motion_layout_find("motionmillion"), x, FRAMES), TS_YAW_WHOLE);
}

Test(models_motion_pose, turns_as_matrices)
{
    const ts_motion_layout *l = ts_motion_layout_find("motionmillion");
    for (int k = 0; k < 3; k++) {
        known_motion_walk(&known, l, FRAMES, 1.5);
        for (int t = 0; k > 0 && t < FRAMES; t++) { /* neither at 0 nor facing +z in the first frame */
            known.heading[t] += 0.7;
            for (int j = 0; j < l->joints; j++)
                known.joint[t][j][0] -= 2;
        }
        known_motion_columns(&known, l, TS_YAW_WHOLE, x);
        for (int t = 0; k == 2 && t < FRAMES; t++) /* Gram and Schmidt take it away */
            for (int i = 2; i < 8; i++)
                x[t * l->columns + i] *= 3;
        ts_motion_pose(l, x, FRAMES, TS_YAW_WHOLE, found);
        expect_known(l, "matrices");
    }
    for (int i = 2; i < 8; i++)
        x[40 * l->columns + i] = 0; /* no plane: no turn, and no NaN */
    ts_motion_pose(l, x, FRAMES, TS_YAW_WHOLE, found);
    for (int i = 0; i < FRAMES * MOST_JOINTS * 3; i++)
        cr_assert(isfinite(found[i]));
    cr_assert_float_eq(found[39 * 66 + 1], known.joint[39][0][1], 1e-5);
}

/* ---- real motion ---- */

/* How far the recovered joints and the velocities' columns are apart, and how much the clip turns. */
static double inconsistency(const ts_motion_layout *l, const float *clip, int64_t frames, const float *p, double *turn)
{
    double worst = 0, a = 0;
    *turn = 0; /* columns turn by the heading a, the world by -a */
    for (int64_t t = 0; t + 1 < frames; a += (double)clip[t * l->columns], t++) {
        *turn += fabs((double)clip[t * l->columns]);
        for (int64_t j = 0; j < l->joints; j++) {
            const float *now = p + (t * l->joints + j) * 3, *next = now + 3 * l->joints;
            const float *said = clip + t * l->columns + l->velocities.first + 3 * j;
            const double d[3] = {(double)next[0] - (double)now[0], (double)next[1] - (double)now[1],
                                 (double)next[2] - (double)now[2]};
            const double v[3] = {cos(a) * d[0] + sin(a) * d[2], d[1], -sin(a) * d[0] + cos(a) * d[2]};
            for (int i = 0; i < 3; i++)
                worst = worst_of(worst, fabs(v[i] - (double)said[i]));
        }
    }
    return worst;
}

static void check_clip(const char *id, double *worst, int *turning)
{
    char name[128];
    ts_npy npy;
    const ts_motion_layout *l = ts_motion_layout_of(263);
    snprintf(name, sizeof name, "data/motion/new_joint_vecs/%s.npy", id);
    cr_assert_eq(ts_npy_open(&npy, shared_path(name), &err), TS_OK, "%s", err.text);
    const float *clip = npy.tensor.data;
    int64_t frames = npy.tensor.shape.dim[0];
    float *p = malloc((size_t)(frames * l->joints * 3) * sizeof *p);
    ts_motion_yaw yaw = ts_motion_yaw_of(l, clip, frames);
    ts_motion_pose(l, clip, frames, TS_YAW_WHOLE, p);
    double turn, d = inconsistency(l, clip, frames, p, &turn);
    cr_expect_lt(d, 2e-6, "%s: %g m", id, d);
    cr_expect(yaw == TS_YAW_WHOLE || turn < 0.1, "%s turns by %g", id, turn);
    cr_expect(p[0] == 0 && p[2] == 0 && p[1] == clip[l->height], "%s", id);
    *worst = worst_of(*worst, d);
    *turning += turn > 0.1;
    free(p);
    ts_npy_close(&npy);
}

Test(models_motion_pose, real_clips_move_as_their_velocities_say)
{
    const char *path = shared_path("data/motion/all.txt");
    if (!path) {
        skip_counted("no shared data");
        return;
    }
    FILE *file = fopen(path, "r");
    char id[64];
    int count = 0, turning = 0;
    double worst = 0;
    cr_assert_not_null(file);
    for (; fscanf(file, "%63s", id) == 1; count++)
        check_clip(id, &worst, &turning);
    fclose(file);
    cr_assert(count >= 70 && turning >= 60, "%d clips, %d of them turn", count, turning);
    cr_assert_gt(worst, 0);
}
