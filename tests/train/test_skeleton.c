/* Bodies and the camera that follows them: real clips and bodies of every layout stay in the picture, on the floor, and
 * the right way round. */
#include "train/skeleton.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/files/npy.h"
#include "core/memory.h"
#include "tests/support/known_motion.h"
#include "tests/support/shared.h"
#include "train/skeleton_view.h"

static ts_error err;
static known_motion sample;
static float x[KNOWN_FRAMES * 272];

static void make_body(ts_skeleton *s, const ts_motion_layout *l, int frames, double turns)
{
    known_motion_walk(&sample, l, frames, turns);
    known_motion_columns(&sample, l, TS_YAW_HALF, x);
    cr_assert_eq(ts_skeleton_of(s, l, x, frames, NULL, NULL, NULL, "walk", &err), TS_OK, "%s", err.text);
}

/* ---- bodies ---- */

Test(train_skeleton, of_every_layout)
{
    int count = 0;
    for (; ts_motion_layouts[count]; count++) {
        const ts_motion_layout *l = ts_motion_layouts[count];
        ts_skeleton s;
        double head[3], radius;
        make_body(&s, l, 60, 0.3);
        double metres = s.height * l->unit_mm / 1000;
        cr_assert(metres > 1.4 && metres < 2, "%s: %g m", l->name, metres);
        cr_assert_eq(s.yaw, l->root_kind == TS_ROOT_YAW ? TS_YAW_HALF : TS_YAW_WHOLE);
        for (int64_t j = 0; j < l->joints; j++)
            for (int i = 0; i < 3; i++)
                cr_assert_float_eq(ts_skeleton_joint(&s, 59, j)[i], sample.joint[59][j][i], 2 / l->unit_mm);
        cr_assert_eq(s.stands != NULL, l->contacts.count > 0);
        for (int i = 0; s.stands && i < 60 * l->foot_count; i++)
            cr_assert_eq(s.stands[i], sample.joint[i / l->foot_count][l->foot[i % l->foot_count]][1] < 90 / l->unit_mm);
        cr_assert(ts_skeleton_head(&s, 0, head, &radius));
        cr_assert(head[1] + radius > 0.9 * s.height && radius > 0, "%s: %g of %g", l->name, head[1], s.height);
        ts_skeleton_crop(&s, 20, 10);
        cr_assert_eq(s.frames, 10);
        cr_assert_float_eq(ts_skeleton_joint(&s, 3, 5)[2], sample.joint[23][5][2], 2 / l->unit_mm);
        cr_assert(!s.stands || s.stands[0] == (sample.joint[20][l->foot[0]][1] < 90 / l->unit_mm));
        ts_skeleton_clear(&s);
    }
    cr_assert_geq(count, 3);
}

Test(train_skeleton, sides_and_limbs)
{
    ts_motion_layout l = *ts_motion_layout_find("humanml3d");
    int left = 0, right = 0;
    for (int64_t j = 0; j < l.joints; j++) {
        left += ts_joint_side(&l, j) == TS_LEFT;
        right += ts_joint_side(&l, j) == TS_RIGHT;
    }
    cr_assert(left == 8 && right == 8, "%d %d", left, right);
    strcpy(l.joint[4], "l_knee");
    strcpy(l.joint[5], "r_knee");
    strcpy(l.joint[3], "loin");
    cr_assert(ts_joint_side(&l, 4) == TS_LEFT && ts_joint_side(&l, 5) == TS_RIGHT && ts_joint_side(&l, 3) == TS_MIDDLE);
    static const int below[22] = {7, 3, 3, 6, 2, 2, 5, 1, 1, 4, 0, 0, 1, 3, 3, 0, 2, 2, 1, 1, 0, 0};
    for (int64_t j = 0; j < l.joints; j++)
        cr_assert_eq(ts_joint_bones_below(&l, j), below[j], "%d", (int)j);
    ts_skeleton s;
    double centre[3], radius;
    make_body(&s, &l, 2, 0);
    strcpy(l.joint[15], "skull");
    cr_assert(!ts_skeleton_head(&s, 0, centre, &radius));
    ts_skeleton_clear(&s);
}

Test(train_skeleton, mean_and_std_are_taken_back)
{
    const ts_motion_layout *l = ts_motion_layout_find("humanml3d");
    float mean[263], std[263];
    ts_skeleton a, b;
    make_body(&a, l, 30, 0.2);
    for (int c = 0; c < 263; c++) {
        mean[c] = 0.01f * (float)c;
        std[c] = 1 + 0.1f * (float)(c % 7);
    }
    for (int i = 0; i < 30 * 263; i++)
        x[i] = (x[i] - mean[i % 263]) / std[i % 263];
    cr_assert_eq(ts_skeleton_of(&b, l, x, 30, mean, std, NULL, "walk", &err), TS_OK, "%s", err.text);
    for (int64_t i = 0; i < 30 * 22 * 3; i++)
        cr_assert_float_eq(a.positions[i], b.positions[i], 1e-4);
    ts_skeleton_clear(&a);
    ts_skeleton_clear(&b);
}

Test(train_skeleton, refuses_what_is_no_number)
{
    const ts_motion_layout *l = ts_motion_layout_find("humanml3d");
    ts_skeleton s;
    make_body(&s, l, 5, 0);
    ts_skeleton_clear(&s);
    x[3 * 263 + 7] = NAN;
    cr_assert_eq(ts_skeleton_of(&s, l, x, 5, NULL, NULL, NULL, "walk.npy", &err), TS_ERR_DATA);
    cr_assert_str_eq(err.text, "walk.npy: frame 3, column 7: expected a number, found nan");
    ts_skeleton_clear(&s);
    memset(x, 0, sizeof x); /* a body that is a point */
    cr_assert_eq(ts_skeleton_of(&s, l, x, 5, NULL, NULL, NULL, "walk.npy", &err), TS_OK);
    cr_assert_float_eq(s.height, 1.7, 1e-9);
    ts_skeleton_clear(&s);
}

Test(train_skeleton, every_allocation_may_fail)
{
    const ts_motion_layout *l = ts_motion_layout_find("humanml3d");
    ts_skeleton s;
    ts_view view;
    make_body(&s, l, 5, 0);
    const ts_skeleton *const both[2] = {&s, &s};
    for (uint64_t n = 1; n <= 3; n++) {
        ts_skeleton other;
        ts_alloc_fail_at(n);
        cr_assert_eq(ts_skeleton_of(&other, l, x, 5, NULL, NULL, NULL, "walk", &err), TS_ERR_RUNTIME);
        ts_alloc_fail_at(0);
        ts_skeleton_clear(&other);
    }
    for (uint64_t n = 1; n <= 2; n++) {
        ts_alloc_fail_at(n);
        cr_assert_eq(ts_view_open(&view, both, 2, 0, 20, 100, 100, &err), TS_ERR_RUNTIME);
        ts_alloc_fail_at(0);
        ts_view_clear(&view);
    }
    ts_skeleton_clear(&s);
}

/* ---- the camera ---- */

/* Everything of the body, and the floor below it, is inside width x height in every frame. */
static void expect_inside(const ts_view *v, int body, const ts_skeleton *s, double width, double height,
                          const char *name)
{
    for (int64_t t = 0; t < s->frames; t++) {
        for (int64_t j = 0; j <= s->layout->joints; j++) {
            double p[3], radius;
            const float *joint = ts_skeleton_joint(s, t, j < s->layout->joints ? j : 0);
            ts_view_point q = ts_view_joint(v, body, t, joint);
            if (j == s->layout->joints && ts_skeleton_head(s, t, p, &radius))
                q = ts_view_of(v, body, t, p);
            cr_assert(q.x > 1 && q.x < width - 1 && q.y > 1 && q.y < height - 1, "%s, frame %d, joint %d: %g %g", name,
                      (int)t, (int)j, q.x, q.y);
        }
        const float *root = ts_skeleton_joint(s, t, 0);
        ts_view_point floor = ts_view_of(v, body, t, (const double[3]){(double)root[0], 0, (double)root[2]});
        cr_assert(floor.y < height && floor.y > ts_view_joint(v, body, t, root).y, "%s, frame %d", name, (int)t);
    }
}

static void check_clip(const char *id)
{
    char name[128];
    ts_npy npy;
    ts_skeleton s;
    ts_view view;
    const ts_skeleton *const bodies[1] = {&s};
    const double width = 300, height = 380;
    snprintf(name, sizeof name, "data/motion/new_joint_vecs/%s.npy", id);
    cr_assert_eq(ts_npy_open(&npy, shared_path(name), &err), TS_OK, "%s", err.text);
    cr_assert_eq(ts_skeleton_of(&s, ts_motion_layout_of(263), npy.tensor.data, npy.tensor.shape.dim[0], NULL, NULL,
                                NULL, id, &err),
                 TS_OK, "%s", err.text);
    ts_npy_close(&npy);
    cr_assert_float_eq(s.height, 1.725, 0.05, "%s: one skeleton for all, %g", id, s.height);
    cr_assert_eq(ts_view_open(&view, bodies, 1, 0, 30, width, height, &err), TS_OK);
    expect_inside(&view, 0, &s, width, height, id);
    double size = view.focal / 4.5; /* of a body at the camera's target */
    cr_assert(size > 0.35 * height && size < 1.3 * height, "%s: large enough, %g", id, size);
    ts_view_clear(&view);
    ts_skeleton_clear(&s);
}

Test(train_skeleton, real_clips_stay_in_the_picture)
{
    const char *path = shared_path("data/motion/all.txt");
    if (!path) {
        skip_counted("no shared data");
        return;
    }
    FILE *file = fopen(path, "r");
    char id[64];
    int count = 0;
    cr_assert_not_null(file);
    for (; fscanf(file, "%63s", id) == 1; count++)
        check_clip(id);
    fclose(file);
    cr_assert_geq(count, 70);
}

/* Who faces +z looks to the right and towards the camera: the body's right side is nearer and, in the picture, to the
 * left; what is higher is higher. */
Test(train_skeleton, camera_sees_the_right_side_in_front)
{
    const ts_motion_layout *l = ts_motion_layout_find("humanml3d");
    ts_skeleton s;
    ts_view v;
    const ts_skeleton *const bodies[1] = {&s};
    make_body(&s, l, 1, 0);
    cr_assert_eq(ts_view_open(&v, bodies, 1, 0, 20, 400, 400, &err), TS_OK);
    ts_view_point left = ts_view_joint(&v, 0, 0, ts_skeleton_joint(&s, 0, 16)),
                  right = ts_view_joint(&v, 0, 0, ts_skeleton_joint(&s, 0, 17)),
                  ankle = ts_view_joint(&v, 0, 0, ts_skeleton_joint(&s, 0, 8)),
                  toe = ts_view_joint(&v, 0, 0, ts_skeleton_joint(&s, 0, 11));
    cr_assert(right.near > left.near && right.x < left.x && right.size > left.size);
    cr_assert(toe.x > ankle.x && toe.near > ankle.near, "ahead is to the right, and nearer");
    cr_assert(toe.y > ankle.y && ankle.y > right.y);
    ts_view_clear(&v);
    ts_skeleton_clear(&s);
}

/* The camera goes with the root: no frame moves the root far from where it was in the picture. */
Test(train_skeleton, camera_follows_smoothly)
{
    const ts_motion_layout *l = ts_motion_layout_find("humanml3d");
    ts_skeleton s;
    ts_view v;
    const ts_skeleton *const bodies[1] = {&s};
    make_body(&s, l, 200, 0.5);
    cr_assert_eq(ts_view_open(&v, bodies, 1, 0, 20, 400, 400, &err), TS_OK);
    for (int64_t t = 0; t < 200; t++) {
        ts_view_point q = ts_view_joint(&v, 0, t, ts_skeleton_joint(&s, t, 0));
        cr_assert(fabs(q.x - 200) < 40, "frame %d: %g", (int)t, q.x);
        double step =
            t ? hypot(v.track[0][2 * t] - v.track[0][2 * t - 2], v.track[0][2 * t + 1] - v.track[0][2 * t - 1]) : 0.035;
        cr_assert(step > 0.02 && step < 0.036, "frame %d: %g", (int)t, step);
    }
    ts_view_clear(&v);
    ts_skeleton_clear(&s);
}

Test(train_skeleton, two_bodies_have_one_camera_unless_they_part)
{
    const ts_motion_layout *l = ts_motion_layout_find("humanml3d");
    ts_skeleton s, other;
    ts_view v;
    const ts_skeleton *const bodies[2] = {&s, &other};
    make_body(&s, l, 60, 0.2);
    const struct {
        double away, larger;
        bool apart;
    } cases[] = {{0, 1, false}, {0.5, 1, false}, {3, 1, true}, {0, 1.15, false}};
    for (int k = 0; k < 4; k++) {
        make_body(&other, l, k == 1 ? 40 : 60, 0.2);
        for (int64_t i = 0; i < other.frames * l->joints * 3; i++)
            other.positions[i] = (float)cases[k].larger * other.positions[i] + (i % 3 == 0 ? (float)cases[k].away : 0);
        cr_assert_eq(ts_view_open(&v, bodies, 2, 0, 20, 300, 400, &err), TS_OK);
        cr_assert_eq(v.apart, cases[k].apart, "%d", k);
        cr_assert_eq(memcmp(v.track[0], v.track[1], sizeof(double) * 80) == 0, !cases[k].apart);
        s.frames = other.frames;
        expect_inside(&v, 0, &s, 300, 400, "original");
        expect_inside(&v, 1, &other, 300, 400, "reconstruction");
        s.frames = 60;
        ts_view_clear(&v);
        ts_skeleton_clear(&other);
    }
    ts_skeleton_clear(&s);
}

Test(train_skeleton, poses_are_evenly_spaced)
{
    static const int64_t expected[8] = {0, 12, 24, 36, 48, 60, 72, 84};
    for (int k = 0; k < 8; k++)
        cr_assert_eq(ts_pose_frame(85, k, 8), expected[k]);
    for (int64_t frames = 1; frames < 100; frames++)
        for (int poses = 1; poses <= frames; poses++)
            for (int k = 1; k < poses; k++) {
                int64_t step = ts_pose_frame(frames, k, poses) - ts_pose_frame(frames, k - 1, poses);
                int64_t even = (frames - 1) / (poses - 1);
                cr_assert(step >= even && step <= even + 1 && ts_pose_frame(frames, poses - 1, poses) == frames - 1);
            }
    cr_assert_eq(ts_pose_frame(7, 0, 1), 0);
}

/* One frame of sixty with an arm as long as a tree: not among five poses. */
Test(train_skeleton, lens_of_a_strip_is_for_its_poses)
{
    const ts_motion_layout *l = ts_motion_layout_find("humanml3d");
    ts_skeleton s;
    ts_view all, some;
    const ts_skeleton *const bodies[1] = {&s};
    make_body(&s, l, 61, 0.2);
    s.positions[(7 * 22 + 20) * 3 + 1] = 4;
    cr_assert_eq(ts_view_open(&all, bodies, 1, 0, 20, 300, 400, &err), TS_OK);
    cr_assert_eq(ts_view_open(&some, bodies, 1, 5, 20, 300, 400, &err), TS_OK);
    cr_assert_gt(some.focal, 1.5 * all.focal);
    ts_view_clear(&all);
    ts_view_clear(&some);
    ts_skeleton_clear(&s);
}

/* A reconstruction that flies apart does not make its original small. */
Test(train_skeleton, what_flies_apart_is_cut_off)
{
    const ts_motion_layout *l = ts_motion_layout_find("humanml3d");
    ts_skeleton s, other;
    ts_view v, alone;
    const ts_skeleton *const bodies[2] = {&s, &other};
    make_body(&s, l, 60, 0.2);
    make_body(&other, l, 60, 0.2);
    other.positions[100] = 1e30f;
    other.positions[2000] = -1e12f;
    cr_assert_eq(ts_view_open(&v, bodies, 2, 0, 20, 300, 400, &err), TS_OK);
    cr_assert_eq(ts_view_open(&alone, bodies, 1, 0, 20, 300, 400, &err), TS_OK);
    cr_assert_float_eq(v.focal, alone.focal / 2.5, 1e-6);
    expect_inside(&v, 0, &s, 300, 400, "original");
    ts_view_clear(&v);
    ts_view_clear(&alone);
    ts_skeleton_clear(&s);
    ts_skeleton_clear(&other);
}
