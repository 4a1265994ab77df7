/* Where the joints are: known motions, put into columns here by the definitions of each representation, come back; real
 * clips move as their velocities' columns say. */
#include "models/motion_pose.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/files/npy.h"
#include "tests/support/shared.h"

static ts_error err;

/* ---- known motions ---- */

enum { FRAMES = 90, MOST_JOINTS = 22, MOST_COLUMNS = 272 };

static float x[FRAMES * MOST_COLUMNS], found[FRAMES * MOST_JOINTS * 3];
static double known[FRAMES][MOST_JOINTS][3], heading[FRAMES];

/* A body that wanders, turns more than once around, and waves: the root at 0 heading for +z in frame 0. */
static void make_motion(const ts_motion_layout *l, double turns)
{
    for (int t = 0; t < FRAMES; t++) {
        double s = (double)t / (FRAMES - 1);
        heading[t] = turns * 2 * 3.14159265358979 * s * s;
        for (int j = 0; j < l->joints; j++) {
            known[t][j][0] = 3 * sin(2 * s) + 0.1 * j * sin(0.3 * t * j);
            known[t][j][1] = 0.9 + 0.05 * j * cos(0.1 * t);
            known[t][j][2] = 5 * s - s * s + 0.05 * j * sin(0.2 * t + j);
        }
    }
}

/* v about +y by a. */
static void turned(double out[3], double a, const double v[3])
{
    out[0] = cos(a) * v[0] + sin(a) * v[2];
    out[1] = v[1];
    out[2] = -sin(a) * v[0] + cos(a) * v[2];
}

/* What turns the heading h to +z, with h = atan2(x, z) of the direction: a turn by -h; `heading` is the turn itself. */
static void in_heading(double out[3], int t, const double v[3])
{
    turned(out, heading[t], v);
}

static void write_positions(const ts_motion_layout *l, int t, float *row)
{
    for (int j = l->root_position ? 0 : 1; j < l->joints; j++) {
        double local[3], *p = known[t][j], *root = known[t][0];
        in_heading(local, t, (const double[3]){p[0] - root[0], p[1], p[2] - root[2]});
        for (int i = 0; i < 3; i++)
            row[l->positions.first + 3 * (l->root_position ? j : j - 1) + i] = (float)local[i];
    }
}

static void way(double out[3], int from, int j, int seen_from)
{
    double d[3];
    for (int i = 0; i < 3; i++)
        d[i] = known[from + 1][j][i] - known[from][j][i];
    in_heading(out, seen_from, d);
}

static void write_yaw(const ts_motion_layout *l, ts_motion_yaw yaw)
{
    memset(x, 0, sizeof x);
    for (int t = 0; t < FRAMES; t++) {
        float *row = x + t * l->columns;
        double v[3];
        write_positions(l, t, row);
        row[l->height] = (float)known[t][0][1];
        if (t + 1 == FRAMES)
            break;
        row[0] = (float)((heading[t + 1] - heading[t]) / (yaw == TS_YAW_HALF ? 2 : 1));
        way(v, t, 0, yaw == TS_YAW_HALF ? t + 1 : t);
        row[1] = (float)v[0];
        row[2] = (float)v[2];
        for (int j = 0; j < l->joints; j++) {
            way(v, t, j, t);
            for (int i = 0; i < 3; i++)
                row[l->velocities.first + 3 * j + i] = (float)v[i];
        }
    }
}

/* The turn by a about +y as the first two rows of its matrix. */
static void write_turn(float *six, double a)
{
    const double rows[6] = {cos(a), 0, sin(a), 0, 1, 0};
    for (int i = 0; i < 6; i++)
        six[i] = (float)rows[i];
}

/* `scale` of the rows: Gram and Schmidt take it away. */
static void write_matrices(const ts_motion_layout *l, double scale)
{
    memset(x, 0, sizeof x);
    for (int t = 0; t < FRAMES; t++) {
        float *row = x + t * l->columns;
        double v[3] = {known[0][0][0], 0, known[0][0][2]};
        write_positions(l, t, row);
        if (t > 0)
            way(v, t - 1, 0, t - 1);
        row[0] = (float)v[0];
        row[1] = (float)v[2];
        write_turn(row + 2, t > 0 ? heading[t] - heading[t - 1] : heading[0]);
        for (int i = 2; i < 8; i++)
            row[i] *= (float)scale;
    }
}

static void expect_known(const ts_motion_layout *l, const char *what)
{
    double worst = 0;
    for (int t = 0; t < FRAMES; t++)
        for (int j = 0; j < l->joints; j++)
            for (int i = 0; i < 3; i++)
                worst = fmax(worst, fabs(known[t][j][i] - (double)found[(t * l->joints + j) * 3 + i]));
    cr_assert_lt(worst, 1e-5, "%s, %s: %g", l->name, what, worst);
}

Test(models_motion_pose, turns_as_angles)
{
    static const char *const names[] = {"humanml3d", "kit"};
    for (int i = 0; i < 2; i++)
        for (ts_motion_yaw yaw = TS_YAW_WHOLE; yaw <= TS_YAW_HALF; yaw++) {
            const ts_motion_layout *l = ts_motion_layout_find(names[i]);
            make_motion(l, 1.5);
            write_yaw(l, yaw);
            cr_assert_eq(ts_motion_yaw_of(l, x, FRAMES), yaw, "%s", l->name);
            ts_motion_pose(l, x, FRAMES, yaw, found);
            expect_known(l, yaw == TS_YAW_HALF ? "half" : "whole");
            ts_motion_pose(l, x, FRAMES, !yaw, found);
            double d = fabs(known[FRAMES - 1][0][2] - (double)found[(FRAMES - 1) * l->joints * 3 + 2]);
            cr_assert_gt(d, 0.1, "the other one is another motion");
        }
}

Test(models_motion_pose, nothing_tells_whole_from_half)
{
    ts_motion_layout l = *ts_motion_layout_find("humanml3d");
    make_motion(&l, 0);
    write_yaw(&l, TS_YAW_HALF);
    cr_assert_eq(ts_motion_yaw_of(&l, x, FRAMES), TS_YAW_WHOLE, "no turn");
    make_motion(&l, 1);
    write_yaw(&l, TS_YAW_HALF);
    cr_assert_eq(ts_motion_yaw_of(&l, x, 1), TS_YAW_WHOLE, "one frame");
    l.velocities.count = 0;
    cr_assert_eq(ts_motion_yaw_of(&l, x, FRAMES), TS_YAW_WHOLE, "no velocities");
    cr_assert_eq(ts_motion_yaw_of(ts_motion_layout_find("motionmillion"), x, FRAMES), TS_YAW_WHOLE);
}

Test(models_motion_pose, turns_as_matrices)
{
    const ts_motion_layout *l = ts_motion_layout_find("motionmillion");
    for (int k = 0; k < 3; k++) {
        make_motion(l, 1.5);
        for (int t = 0; k > 0 && t < FRAMES; t++) { /* neither at 0 nor heading for +z in the first frame */
            heading[t] += 0.7;
            for (int j = 0; j < l->joints; j++)
                known[t][j][0] -= 2;
        }
        write_matrices(l, k == 2 ? 3 : 1);
        ts_motion_pose(l, x, FRAMES, TS_YAW_WHOLE, found);
        expect_known(l, "matrices");
    }
    for (int i = 2; i < 8; i++)
        x[40 * l->columns + i] = 0; /* no plane: no turn, and no NaN */
    ts_motion_pose(l, x, FRAMES, TS_YAW_WHOLE, found);
    for (int i = 0; i < FRAMES * MOST_JOINTS * 3; i++)
        cr_assert(isfinite(found[i]));
    cr_assert_float_eq(found[39 * 66 + 1], known[39][0][1], 1e-5);
}

/* ---- real motion ---- */

/* How far the recovered joints and the velocities' columns are apart, and how much the clip turns. */
static double inconsistency(const ts_motion_layout *l, const float *clip, int64_t frames, const float *p, double *turn)
{
    double worst = 0, a = 0;
    *turn = 0;
    for (int64_t t = 0; t + 1 < frames; a += (double)clip[t * l->columns], t++) {
        *turn += fabs((double)clip[t * l->columns]);
        for (int64_t j = 0; j < l->joints; j++) {
            const float *now = p + (t * l->joints + j) * 3, *next = now + 3 * l->joints;
            const float *said = clip + t * l->columns + l->velocities.first + 3 * j;
            double v[3], d[3];
            for (int i = 0; i < 3; i++)
                d[i] = (double)next[i] - (double)now[i];
            turned(v, a, d);
            for (int i = 0; i < 3; i++)
                worst = fmax(worst, fabs(v[i] - (double)said[i]));
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
    *worst = fmax(*worst, d);
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
