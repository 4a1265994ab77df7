/* Errors of motion by motions made by hand, in every layout: of joints, of their way and its change, and of feet that
 * slide; and by real motion, whose columns say twice where a joint goes. */
#include "models/motion_metrics.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "core/files/npy.h"
#include "tests/support/shared.h"

enum { T = 5, MOST = 272 };

static float x[T * MOST], y[T * MOST];

static const ts_motion_layout *clear(int i)
{
    memset(x, 0, sizeof x);
    memset(y, 0, sizeof y);
    cr_assert_not_null(ts_motion_layouts[i]);
    return ts_motion_layouts[i];
}

/* Millimetres, in the frame of the heading; joint 0 has no x and z where its height is a column. */
static void put(float *clip, const ts_motion_layout *l, int t, int joint, double px, double py, double pz)
{
    float *row = clip + t * l->columns;
    double p[3] = {px, py, pz};
    for (int i = 0; i < 3; i++)
        if (l->root_position || joint > 0)
            row[l->positions.first + 3 * (l->root_position ? joint : joint - 1) + i] = (float)(p[i] / l->unit_mm);
        else if (i == 1)
            row[l->height] = (float)(p[i] / l->unit_mm);
}

static ts_motion_metrics measured(const ts_motion_layout *l, int frames)
{
    ts_motion_sums sums = {0};
    ts_motion_sums_add(&sums, l, y, x, frames);
    return ts_motion_metrics_of(&sums);
}

#define EXPECT(found, expected)                                                                                        \
    cr_assert_float_eq(found, expected, 1e-3, "%s: " #found " %g, expected %g", l->name, found, (double)(expected))

/* ---- joints ---- */

Test(models_motion_metrics, equal_motions_have_no_error)
{
    int i = 0;
    for (; ts_motion_layouts[i]; i++) {
        const ts_motion_layout *l = clear(i);
        for (int64_t k = 0; k < T * l->columns; k++)
            x[k] = y[k] = (float)sin((double)k);
        ts_motion_metrics m = measured(l, T);
        cr_assert(m.mpjpe_mm == 0 && m.velocity_mm_per_frame == 0 && m.acceleration_mm_per_frame2 == 0);
    }
    cr_assert_geq(i, 3);
}

/* Joint 5 drifts away by 3, 4 and 12 mm a frame: a steady velocity, no acceleration. */
Test(models_motion_metrics, of_a_joint_that_drifts)
{
    for (int i = 0; ts_motion_layouts[i]; i++) {
        const ts_motion_layout *l = clear(i);
        for (int t = 0; t < T; t++)
            put(y, l, t, 5, 3 * t, 4 * t, 12 * t);
        ts_motion_metrics m = measured(l, T);
        EXPECT(m.mpjpe_mm, 13 * 2.0 / (double)l->joints);
        EXPECT(m.velocity_mm_per_frame, 13.0 / (double)l->joints);
        EXPECT(m.acceleration_mm_per_frame2, 0);
    }
}

/* Joint 5 is 8 mm off in the middle one of 5 frames: there and back is two steps, and bends of 8, 16 and 8. */
Test(models_motion_metrics, of_a_joint_that_jumps)
{
    for (int i = 0; ts_motion_layouts[i]; i++) {
        const ts_motion_layout *l = clear(i);
        put(y, l, 2, 5, 0, 0, -8);
        ts_motion_metrics m = measured(l, T);
        EXPECT(m.mpjpe_mm, 8.0 / 5 / (double)l->joints);
        EXPECT(m.velocity_mm_per_frame, 16.0 / 4 / (double)l->joints);
        EXPECT(m.acceleration_mm_per_frame2, 32.0 / 3 / (double)l->joints);
    }
}

/* A root that is 100 mm too high leaves all others 100 mm too low, but for what lies as high as it. Way and turn of the
 * root do not count. */
Test(models_motion_metrics, joints_are_relative_to_the_root)
{
    for (int i = 0; ts_motion_layouts[i]; i++) {
        const ts_motion_layout *l = clear(i);
        for (int t = 0; t < T; t++)
            put(y, l, t, 0, 0, 100, 0);
        EXPECT(measured(l, T).mpjpe_mm, 100.0 * (double)(l->joints - 1) / (double)l->joints);
        EXPECT(measured(l, T).velocity_mm_per_frame, 0);
        for (int t = 0; t < T; t++)
            for (int j = 1; j < l->joints; j++)
                put(y, l, t, j, 0, 100, 0);
        EXPECT(measured(l, T).mpjpe_mm, 0);
        for (int64_t c = l->root.first; c < l->root.first + l->root.count; c++)
            y[c] = c == l->height ? y[c] : 1;
        EXPECT(measured(l, T).mpjpe_mm, 0);
    }
}

Test(models_motion_metrics, what_is_normalised_is_scaled_back)
{
    for (int i = 0; ts_motion_layouts[i]; i++) {
        const ts_motion_layout *l = clear(i);
        float mean[MOST], std[MOST];
        for (int64_t c = 0; c < MOST; c++)
            mean[c] = (float)c, std[c] = 2;
        put(y, l, 1, 3, 5, 0, 0);
        EXPECT(ts_motion_mpjpe(l, y, x, 2, mean, std), 2 * 5.0 / 2 / (double)l->joints);
    }
}

/* ---- clips together ---- */

Test(models_motion_metrics, clips_of_one_frame_have_no_velocity)
{
    for (int i = 0; ts_motion_layouts[i]; i++) {
        const ts_motion_layout *l = clear(i);
        put(y, l, 0, 1, 6, 0, 0);
        ts_motion_metrics m = measured(l, 1);
        EXPECT(m.mpjpe_mm, 6.0 / (double)l->joints);
        cr_assert(isnan(m.velocity_mm_per_frame) && isnan(m.acceleration_mm_per_frame2));
        cr_assert(isnan(m.skate_mm_per_frame) && isnan(m.original_skate_mm_per_frame));
        m = measured(l, 2);
        EXPECT(m.velocity_mm_per_frame, 6.0 / (double)l->joints);
        cr_assert(isnan(m.acceleration_mm_per_frame2));
        cr_assert(isnan(measured(l, 0).mpjpe_mm));
    }
}

/* Every frame weighs the same, whatever clip it is of, and a clip of one frame spoils nothing. */
Test(models_motion_metrics, sums_of_clips_add_up)
{
    for (int i = 0; ts_motion_layouts[i]; i++) {
        const ts_motion_layout *l = clear(i);
        ts_motion_sums all = {0}, other = {0};
        put(y, l, 0, 1, 6, 0, 0);
        ts_motion_sums_add(&all, l, y, x, 1);
        ts_motion_sums_add(&other, l, y, x, 4);
        ts_motion_sums_merge(&all, &other);
        ts_motion_metrics m = ts_motion_metrics_of(&all);
        EXPECT(m.mpjpe_mm, 2 * 6.0 / 5 / (double)l->joints);
        EXPECT(m.velocity_mm_per_frame, 6.0 / 3 / (double)l->joints);
        EXPECT(m.acceleration_mm_per_frame2, 6.0 / 2 / (double)l->joints);
        cr_assert(all.frames == 5 && all.steps == 3 && all.bends == 2);
        other = all;
        ts_motion_sums_merge(&all, &other);
        EXPECT(ts_motion_metrics_of(&all).mpjpe_mm, m.mpjpe_mm);
        cr_assert_eq(all.contacts, 2 * other.contacts);
        cr_assert_eq(all.skate, 2 * other.skate);
        cr_assert_eq(all.original_skate, 2 * other.original_skate);
    }
}

/* ---- feet ---- */

/* The root goes by `way` (in its heading) and turns by `turn` from each frame to the next, in whole turns. */
static void walk(float *clip, const ts_motion_layout *l, double way_x, double way_z, double turn)
{
    for (int t = 0; t < T; t++) {
        float *root = clip + t * l->columns + l->root.first;
        bool heading = l->root_kind == TS_ROOT_HEADING;
        root[heading ? 0 : 1] = (float)(way_x / l->unit_mm);
        root[heading ? 1 : 2] = (float)(way_z / l->unit_mm);
        if (!heading) {
            root[0] = (float)turn;
            continue;
        }
        const double matrix[6] = {cos(turn), 0, sin(turn), 0, 1, 0};
        for (int i = 0; i < 6; i++)
            root[2 + i] = (float)matrix[i];
    }
}

/* All feet rest at one place of the world while the root walks on and turns. */
static void plant(float *clip, const ts_motion_layout *l, double height, double way_x, double way_z, double turn)
{
    double px = 40, pz = 70;
    walk(clip, l, way_x, way_z, turn);
    for (int t = 0; t < T; t++) {
        for (int i = 0; i < l->foot_count; i++)
            put(clip, l, t, l->foot[i], px, height, pz);
        double to_x = px - way_x, to_z = pz - way_z;
        px = cos(turn) * to_x + sin(turn) * to_z, pz = cos(turn) * to_z - sin(turn) * to_x;
    }
}

static void touch(const ts_motion_layout *l, int t, int i)
{
    if (l->contacts.count)
        x[t * l->columns + l->contacts.first + i] = 1;
}

static void touch_all(const ts_motion_layout *l)
{
    for (int t = 0; t < T; t++)
        for (int i = 0; i < l->foot_count; i++)
            touch(l, t, i);
}

Test(models_motion_metrics, planted_feet_do_not_skate)
{
    for (int i = 0; ts_motion_layouts[i]; i++) {
        const ts_motion_layout *l = clear(i);
        plant(x, l, 20, 7, 15, 0.3);
        plant(y, l, 20, 7, 15, 0.3);
        touch_all(l);
        EXPECT(measured(l, T).original_skate_mm_per_frame, 0);
        EXPECT(measured(l, T).skate_mm_per_frame, 0);
        walk(y, l, 7, 15, 0); /* the feet turn about the root, wrongly */
        cr_assert_gt(measured(l, T).skate_mm_per_frame, 1);
        EXPECT(measured(l, T).original_skate_mm_per_frame, 0);
    }
}

/* The files of HumanML3D and KIT-ML hold half the turn, and the way in the heading of the next frame. */
Test(models_motion_metrics, half_turns_are_seen_in_the_original)
{
    const double turn = 0.3;
    for (int i = 0; ts_motion_layouts[i]; i++) {
        const ts_motion_layout *l = clear(i);
        if (l->root_kind != TS_ROOT_YAW)
            continue;
        plant(x, l, 20, 7, 15, turn);
        walk(x, l, 7 * cos(turn) + 15 * sin(turn), 15 * cos(turn) - 7 * sin(turn), turn / 2);
        memcpy(y, x, sizeof y);
        touch_all(l);
        EXPECT(measured(l, T).original_skate_mm_per_frame, 0);
        EXPECT(measured(l, T).skate_mm_per_frame, 0);
    }
}

/* In the reconstruction the root walks on by 3 and 4 mm more a frame; height does not count. The original's own feet
 * slide by 1 mm. */
Test(models_motion_metrics, feet_that_slide_do)
{
    for (int i = 0; ts_motion_layouts[i]; i++) {
        const ts_motion_layout *l = clear(i);
        plant(x, l, 20, 0, 0, 0);
        plant(y, l, 20, 0, 0, 0);
        walk(x, l, 0, 1, 0);
        walk(y, l, 3, 4, 0);
        put(y, l, 2, l->foot[0], 40, 200, 70);
        touch_all(l);
        EXPECT(measured(l, T).skate_mm_per_frame, 5);
        EXPECT(measured(l, T).original_skate_mm_per_frame, 1);
        ts_motion_sums sums = {0};
        ts_motion_sums_add(&sums, l, y, x, T);
        cr_assert_eq(sums.contacts, (T - 1) * l->foot_count, "the last frame has no step");
    }
}

/* Foot 1 jumps by 8 mm between frames 1 and 2 of the reconstruction, and touches the floor in frame 1 or in frame 3. */
Test(models_motion_metrics, only_feet_on_the_floor_count)
{
    for (int i = 0; ts_motion_layouts[i]; i++)
        for (int on = 1; on <= 3; on += 2) {
            const ts_motion_layout *l = clear(i);
            if (!l->contacts.count)
                continue;
            put(y, l, 0, l->foot[1], 0, 0, 8), put(y, l, 1, l->foot[1], 0, 0, 8);
            touch(l, on, 1);
            EXPECT(measured(l, T).skate_mm_per_frame, on == 1 ? 8 : 0);
            x[on * l->columns + l->contacts.first + 1] = 0.4F;
            cr_assert(isnan(measured(l, T).skate_mm_per_frame));
        }
}

/* Without contact columns: low and slow ones, 5 cm and 0.5 m/s being the limits. */
Test(models_motion_metrics, feet_without_contact_columns)
{
    const struct {
        double height, step;
        bool on;
    } cases[] = {{49, 0, true}, {51, 0, false}, {10, 500.0 / 30 - 0.1, true}, {10, 500.0 / 30 + 0.1, false}};
    const ts_motion_layout *l = clear(2);
    cr_assert(l->contacts.count == 0 && l->fps == 30);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        plant(x, l, cases[i].height, 0, 0, 0);
        walk(x, l, 0, cases[i].step, 0);
        double way = measured(l, T).original_skate_mm_per_frame;
        if (cases[i].on)
            EXPECT(way, cases[i].step);
        else
            cr_assert(isnan(way), "case %zu: %g", i, way);
    }
}

/* Where joints go is there twice: in positions and the root's columns, and in the columns of velocities. */
Test(models_motion_metrics, of_real_motion)
{
    const char *path = shared_path("data/motion/new_joint_vecs/cmu_002_01.npy");
    if (!path) {
        skip_counted("no shared data");
        return;
    }
    ts_npy npy;
    ts_error err;
    const ts_motion_layout *l = ts_motion_layout_of(263);
    ts_motion_sums sums = {0};
    cr_assert_eq(ts_npy_open(&npy, path, &err), TS_OK, "%s", err.text);
    int64_t frames = npy.tensor.shape.dim[0], contacts = 0;
    double way = 0;
    const float *data = npy.tensor.data;
    for (int64_t t = 0; t + 1 < frames; t++)
        for (int i = 0; i < l->foot_count; i++) {
            const float *row = data + t * l->columns, *v = row + l->velocities.first + 3L * l->foot[i];
            bool on = row[l->contacts.first + i] > 0.5F;
            contacts += on;
            way += on ? 1000 * hypot((double)v[0], (double)v[2]) : 0;
        }
    ts_motion_sums_add(&sums, l, data, data, frames);
    cr_assert(contacts > 50 && sums.contacts == contacts);
    EXPECT(ts_motion_metrics_of(&sums).original_skate_mm_per_frame, way / (double)contacts);
    EXPECT(ts_motion_metrics_of(&sums).skate_mm_per_frame, way / (double)contacts);
    EXPECT(ts_motion_metrics_of(&sums).mpjpe_mm, 0);
    ts_npy_close(&npy);
}
