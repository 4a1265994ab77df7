/* The columns of frames against what can be told by hand, against the way back (motion_pose), and against real motion.
 */
#include "models/motion_features.h"

#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <math.h>

#include "core/files/npy.h"
#include "core/memory.h"
#include "core/random.h"
#include "models/motion_pose.h"
#include "tests/support/shared.h"

enum { J = 22, C = 263, N = 20 };

static ts_motion_layout layout;
static ts_v3 pose[N * J];
static float rows[N * C];

static void setup(void)
{
    layout = *ts_motion_layout_find("humanml3d");
    layout.fps = 30;
}

TestSuite(models_motion_features, .init = setup);

static double degrees(double x)
{
    return x * 3.14159265358979323846 / 180;
}

static const float *column(int64_t t, ts_columns group, int64_t i)
{
    return rows + t * C + group.first + i;
}

static double uniform(uint64_t i)
{
    return (double)ts_random_uniform((ts_random_key){7, 1}, 0, i);
}

/* Frame t: every bone turned from its rest direction by up to `most`, at random; root at `at`; turned about y. */
static void put_pose(int64_t t, ts_v3 at, double heading, double most)
{
    const ts_motion_skeleton *s = &ts_skeleton_22;
    ts_m3 frame[J];
    frame[0] = ts_m3_turn(1, heading);
    pose[t * J] = at;
    for (int j = 1; j < J; j++) {
        frame[j] = frame[layout.parent[j]];
        for (int axis = 0; axis < 3; axis++)
            frame[j] = ts_m3_multiply(frame[j],
                                      ts_m3_turn(axis, most * (2 * uniform((uint64_t)(t * 100 + j * 3 + axis)) - 1)));
        ts_v3 bone = ts_m3_apply(frame[j], ts_v3_scale(s->length[j], ts_v3_unit(ts_v3_at(s->direction[j]))));
        pose[t * J + j] = ts_v3_add(pose[t * J + layout.parent[j]], bone);
    }
}

static void expect_near(const float *found, ts_v3 expected, double tolerance, const char *what)
{
    cr_assert(fabs((double)found[0] - expected.x) <= tolerance && fabs((double)found[1] - expected.y) <= tolerance &&
                  fabs((double)found[2] - expected.z) <= tolerance,
              "%s: %g %g %g, expected %g %g %g", what, (double)found[0], (double)found[1], (double)found[2], expected.x,
              expected.y, expected.z);
}

Test(models_motion_features, somebody_who_stands_there)
{
    for (int t = 0; t < 3; t++)
        put_pose(t, (ts_v3){5, 0.9, -2}, degrees(70), 0);
    ts_motion_features(rows, &layout, &ts_skeleton_22, pose, 3);
    for (int t = 0; t < 2; t++) {
        expect_near(column(t, layout.root, 0), (ts_v3){0, 0, 0}, 1e-7, "root");
        cr_assert_float_eq(rows[t * C + 3], 0.9, 1e-7);
        expect_near(column(t, layout.positions, 0), (ts_v3){0.0943858, 0.9 - 0.033035, 0}, 1e-6, "left hip");
        expect_near(column(t, layout.positions, 3 * 14), (ts_v3){0, 1.57878, 0.0163174}, 1e-5, "head");
        for (int j = 1; j < J; j++) {
            expect_near(column(t, layout.rotations, 6 * (j - 1)), (ts_v3){1, 0, 0}, 1e-7, layout.joint[j]);
            expect_near(column(t, layout.rotations, 6 * (j - 1) + 3), (ts_v3){0, 1, 0}, 1e-7, layout.joint[j]);
        }
        for (int i = 0; i < 66; i++)
            cr_assert_eq(*column(t, layout.velocities, i), 0);
        for (int i = 0; i < 4; i++)
            cr_assert_eq(*column(t, layout.contacts, i), 1, "foot %d", i);
    }
}

/* A turn to the left is from +z to +x: the heading, which turns the facing back to +z, gets smaller by it. */
Test(models_motion_features, a_walk_in_a_circle)
{
    for (int t = 0; t < N; t++)
        put_pose(t, (ts_v3){3 * sin(degrees(10 * t)), 1, 3 * cos(degrees(10 * t))}, degrees(10 * t + 90), 0);
    ts_motion_features(rows, &layout, &ts_skeleton_22, pose, N);
    double step = 2 * 3 * sin(degrees(5));
    for (int t = 2; t < N - 3; t++) {
        expect_near(column(t, layout.root, 0), (ts_v3){degrees(-10), step * sin(degrees(5)), step * cos(degrees(5))},
                    1e-6, "root");
        expect_near(column(t, layout.velocities, 0), (ts_v3){step * sin(degrees(5)), 0, step * cos(degrees(5))}, 1e-6,
                    "root's velocity");
    }
}

/* One sharp turn of 60 degrees: unit vectors smoothed with 1 4 6 4 1, so the angles are those of their sums. */
Test(models_motion_features, the_heading_is_smoothed)
{
    for (int t = 0; t < 12; t++)
        put_pose(t, (ts_v3){0, 1, 0}, t < 6 ? 0 : degrees(60), 0);
    ts_motion_features(rows, &layout, &ts_skeleton_22, pose, 12);
    double share[12] = {0, 0, 0, 0, 1.0 / 16, 5.0 / 16, 11.0 / 16, 15.0 / 16, 1, 1, 1, 1}, angle[12];
    for (int t = 0; t < 12; t++)
        angle[t] = atan2(share[t] * sin(degrees(60)), 1 - share[t] + share[t] * cos(degrees(60)));
    for (int t = 0; t < 11; t++)
        cr_assert_float_eq(rows[t * C], angle[t] - angle[t + 1], 1e-7, "frame %d: %g", t, (double)rows[t * C]);
}

/* Steps of 175 degrees and back: no change of the heading is outside [-pi, pi). */
Test(models_motion_features, turns_are_wrapped)
{
    for (int t = 0; t < N; t++)
        put_pose(t, (ts_v3){0, 1, 0}, degrees(175 * t), 0);
    ts_motion_features(rows, &layout, &ts_skeleton_22, pose, N);
    for (int t = 0; t < N - 1; t++)
        cr_assert(rows[t * C] >= -3.1415928f && rows[t * C] < 3.1415928f);
}

/* Rotations are turns of the rest pose: frames multiplied along the chain put every joint where it was. */
Test(models_motion_features, rotations_make_the_pose)
{
    const ts_motion_skeleton *s = &ts_skeleton_22;
    for (int t = 0; t < N; t++)
        put_pose(t, (ts_v3){0, 1, 0}, degrees(25), degrees(80));
    ts_motion_features(rows, &layout, s, pose, N);
    for (int t = 0; t < N - 1; t++) {
        ts_m3 frame[J] = {ts_m3_identity()};
        ts_v3 place[J] = {{0, 1, 0}};
        for (int j = 1; j < J; j++) {
            const float *c = column(t, layout.rotations, 6 * (j - 1));
            ts_m3 m = {
                {(double)c[0], (double)c[1], (double)c[2]}, {(double)c[3], (double)c[4], (double)c[5]}, {0, 0, 0}};
            m.z = ts_v3_cross(m.x, m.y);
            cr_assert_float_eq(ts_v3_dot(m.x, m.y), 0, 1e-6);
            cr_assert_float_eq(ts_v3_dot(m.x, m.x), 1, 1e-6);
            int parent = layout.parent[j];
            frame[j] = ts_m3_multiply(frame[parent], m);
            ts_v3 rest = ts_v3_scale(s->length[j], ts_v3_unit(ts_v3_at(s->direction[j])));
            place[j] = ts_v3_add(place[parent], ts_m3_apply(frame[j], rest));
            expect_near(column(t, layout.positions, 3 * (j - 1)), place[j], 2e-6, layout.joint[j]);
        }
    }
}

/* motion_pose is the way back: the joints where they were, but moved and turned so that the first frame is at 0. */
Test(models_motion_features, motion_pose_is_the_way_back)
{
    static float found[N * J * 3];
    for (int t = 0; t < N; t++)
        put_pose(t, (ts_v3){0.1 * t, 1 + 0.01 * t, 0.02 * t * t}, degrees(13 * t), degrees(20));
    ts_motion_features(rows, &layout, &ts_skeleton_22, pose, N);
    cr_assert_eq(ts_motion_yaw_of(&layout, rows, N - 1), TS_YAW_WHOLE);
    ts_motion_pose(&layout, rows, N - 1, TS_YAW_WHOLE, found);
    for (int t = 0; t < N - 1; t++)
        for (int j = 0; j < J; j++) {
            ts_v3 hip = ts_v3_sub(pose[t * J + j], pose[0]), was = pose[0 * J + 1];
            const float *a = found + 3 * (t * J + j), *b = found, *c = found + 3;
            double distance = ts_v3_length(hip), to_hip = ts_v3_length(ts_v3_sub(pose[t * J + j], was));
            cr_assert_float_eq(hypot(hypot((double)(a[0] - b[0]), (double)(a[1] - b[1])), (double)(a[2] - b[2])),
                               distance, 2e-6);
            cr_assert_float_eq(hypot(hypot((double)(a[0] - c[0]), (double)(a[1] - c[1])), (double)(a[2] - c[2])),
                               to_hip, 2e-6);
        }
}

struct contact_case {
    double speed, height; /* metres a second, metres: of the left ankle */
    int expected;
};

ParameterizedTestParameters(models_motion_features, contacts)
{
    static struct contact_case cases[] = {{0, 0.1, 1},     {0.349, 0.159, 1}, {0.351, 0.1, 0},
                                          {0.2, 0.161, 0}, {0, -0.05, 1},     {2, 0.05, 0}};
    return cr_make_param_array(struct contact_case, cases, sizeof cases / sizeof *cases);
}

ParameterizedTest(struct contact_case *c, models_motion_features, contacts)
{
    for (int t = 0; t < 2; t++)
        put_pose(t,
                 (ts_v3){c->speed / 30 * t,
                         0.1 * 0.33035 / ts_v3_length((ts_v3){0.943858, 0.33035, 0}) + 0.83 + c->height, 0},
                 0, 0);
    ts_motion_features(rows, &layout, &ts_skeleton_22, pose, 2);
    cr_assert_eq(*column(0, layout.contacts, 0), c->expected, "%g m/s, %g m", c->speed, c->height);
}

/* All joints above each other: no facing. And a bone exactly against its rest direction. */
Test(models_motion_features, poses_without_a_direction_stay_finite)
{
    for (int t = 0; t < 4; t++)
        for (int j = 0; j < J; j++)
            pose[t * J + j] = (ts_v3){0, 1 + 0.1 * j, 0};
    ts_motion_features(rows, &layout, &ts_skeleton_22, pose, 4);
    for (int i = 0; i < 3 * C; i++)
        cr_assert(isfinite(rows[i]), "column %d", i % C);
    const float *knee = column(0, layout.rotations, 6 * 3); /* points down at rest, and now up */
    cr_assert_float_eq(hypot(hypot((double)knee[0], (double)knee[1]), (double)knee[2]), 1, 1e-6);
}

/* Real motion, back to joints and to columns again. The smoothing needs two frames on each side. */
Test(models_motion_features, of_real_motion)
{
    ts_npy npy;
    ts_error err = {0};
    const char *path = shared_path("data/motion/new_joint_vecs/cmu_005_06.npy");
    if (!path) {
        skip_counted("no shared data");
        return;
    }
    cr_assert_eq(ts_npy_open(&npy, path, &err), TS_OK, "%s", err.text);
    int64_t frames = npy.tensor.shape.dim[0];
    const float *x = npy.tensor.data;
    float *flat = ts_alloc((size_t)(frames * J * 3) * sizeof *flat),
          *again = ts_alloc((size_t)(frames * C) * sizeof *x);
    ts_v3 *place = ts_alloc((size_t)(frames * J) * sizeof *place);
    ts_motion_pose(&layout, x, frames, TS_YAW_WHOLE, flat);
    for (int64_t i = 0; i < frames * J; i++)
        place[i] = (ts_v3){(double)flat[3 * i], (double)flat[3 * i + 1], (double)flat[3 * i + 2]};
    ts_motion_features(again, &layout, &ts_skeleton_22, place, frames);
    int64_t compared = 0;
    for (int64_t t = 3; t < frames - 4; t++)
        for (int64_t c = 0; c < layout.contacts.first; c++, compared++)
            cr_assert_float_eq(again[t * C + c], x[t * C + c], 3e-5, "frame %d, column %d: %g, expected %g", (int)t,
                               (int)c, (double)again[t * C + c], (double)x[t * C + c]);
    cr_assert_gt(compared, 50000);
    ts_free(flat);
    ts_free(again);
    ts_free(place);
    ts_npy_close(&npy);
}
