/* From a recording to the skeleton: a person made here, of odd size and in inches, in a file of 10 frames a second. */
#include "train/retarget.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "tests/train/bvh_sample.h"
#include "tests/train/temp_folder.h"
#include "train/joint_map.h"

enum { J = 22 };

static ts_error err;
static ts_motion_layout layout;
static ts_arena arena;
static temp_folder folder;

static void setup(void)
{
    layout = *ts_motion_layout_find("humanml3d");
    layout.fps = 20;
    folder = temp_folder_make();
}

static void teardown(void)
{
    ts_arena_clear(&arena);
    temp_folder_remove(&folder);
}

TestSuite(train_retarget, .init = setup, .fini = teardown);

static ts_bvh parse(int frames, const char *motion)
{
    static char text[4000];
    ts_bvh b;
    sample_bvh(text, sizeof text, frames, motion);
    cr_assert_eq(ts_bvh_parse(&b, text, strlen(text), "person.bvh", &err), TS_OK, "%s", err.text);
    return b;
}

static ts_status retarget(ts_retargeted *r, const ts_joint_map *map, int frames, const char *motion)
{
    int source[TS_MAX_JOINTS];
    ts_bvh b = parse(frames, motion);
    ts_status status = ts_joint_map_find(source, map, &layout, &b, "person.bvh", &err);
    *r = (ts_retargeted){0};
    if (status == TS_OK)
        status = ts_retarget(r, &b, source, &layout, &ts_skeleton_22, "person.bvh", &err);
    ts_bvh_clear(&b);
    return status;
}

static ts_retargeted must_retarget(int frames, const char *motion)
{
    ts_retargeted r;
    cr_assert_eq(retarget(&r, NULL, frames, motion), TS_OK, "%s", err.text);
    return r;
}

static void expect_place(const ts_retargeted *r, int64_t t, int joint, ts_v3 expected)
{
    ts_v3 p = r->positions[t * J + joint];
    cr_assert_lt(ts_v3_length(ts_v3_sub(p, expected)), 1e-9, "frame %d, %s: %g %g %g", (int)t, layout.joint[joint], p.x,
                 p.y, p.z);
}

/* The skeleton's lengths in the recording's directions; its legs of 0.83 m are 38 inches. The lowest are the toes. */
Test(train_retarget, another_size)
{
    ts_retargeted r = must_retarget(2, "0 0 0 0\n10 2 0 0\n");
    double scale = 0.83 / 38, down = 0.1 * 2 / sqrt(20) + 0.83 + 0.15 / sqrt(37);
    cr_assert_float_eq(r.metres, scale, 1e-12);
    cr_assert(r.frames == 3 && !r.dropped_first);
    /* the second percentile of 0, 1 and 2 inches is 0.02 (3 - 1) of the way to the second */
    double floor_y = 0.04 * scale;
    expect_place(&r, 0, 0, (ts_v3){0, down - floor_y, 0});
    expect_place(&r, 1, 0, (ts_v3){5 * scale, down + scale - floor_y, 0});
    expect_place(&r, 2, 0, (ts_v3){10 * scale, down + 2 * scale - floor_y, 0});
    expect_place(&r, 0, 10, (ts_v3){0.1 * 4 / sqrt(20), -floor_y, 0.15 * 6 / sqrt(37)});
    ts_v3 neck = {0, down - floor_y + 0.11 + 0.13 + 0.13 + 0.2, 0};
    expect_place(&r, 0, 12, neck);
    expect_place(&r, 0, 15, ts_v3_add(neck, (ts_v3){0, 0.11 * 4 / sqrt(17), 0.11 / sqrt(17)}));
    for (int j = 1; j < J; j++) {
        ts_v3 bone = ts_v3_sub(r.positions[J + j], r.positions[J + layout.parent[j]]);
        cr_assert_float_eq(ts_v3_length(bone), ts_skeleton_22.length[j], 1e-12, "%s", layout.joint[j]);
    }
    ts_free(r.positions);
}

/* The collar lies halfway from the place of spine3, which lies halfway from spine.001 to the neck, to the shoulder: the
 * two bones of the shoulder have one direction. */
Test(train_retarget, joints_in_between)
{
    ts_retargeted r = must_retarget(1, "0 0 0 0\n");
    const ts_v3 *p = r.positions;
    ts_v3 collar = ts_v3_unit(ts_v3_sub(p[13], p[9])), shoulder = ts_v3_unit(ts_v3_sub(p[16], p[13]));
    cr_assert_eq(r.frames, 1);
    cr_assert_lt(ts_v3_length(ts_v3_sub(collar, ts_v3_unit((ts_v3){6, 8 - 4.5, 0}))), 1e-12);
    cr_assert_lt(ts_v3_length(ts_v3_sub(collar, shoulder)), 1e-12);
    ts_free(r.positions);
}

/* A turn by 90 degrees between two frames: places are interpolated on the chord, then bones get their length again. */
Test(train_retarget, between_frames)
{
    ts_retargeted r = must_retarget(2, "0 0 0 0\n0 0 0 90\n");
    cr_assert_eq(r.frames, 3);
    ts_v3 hip = ts_v3_unit(ts_v3_sub(r.positions[J + 1], r.positions[J]));
    ts_v3 expected = ts_v3_unit((ts_v3){2, -2, -2}); /* (4 -2 0) and (0 -2 -4) */
    cr_assert_lt(ts_v3_length(ts_v3_sub(hip, expected)), 1e-12, "%g %g %g", hip.x, hip.y, hip.z);
    ts_free(r.positions);
}

/* 10 frames a second: 0.1 s and 38 inches for 0.83 m make 20 m/s a way of 91.6 inches. */
Test(train_retarget, a_first_frame_that_is_no_motion)
{
    ts_retargeted r = must_retarget(3, "0 0 0 0\n92 0 0 0\n93 0 0 0\n");
    cr_assert(r.dropped_first && r.frames == 3);
    cr_assert_float_eq(r.positions[0].x, 92 * 0.83 / 38, 1e-9);
    ts_free(r.positions);
    r = must_retarget(3, "0 0 0 0\n91 0 0 0\n92 0 0 0\n");
    cr_assert(!r.dropped_first && r.frames == 5);
    ts_free(r.positions);
}

/* ---- maps ---- */

static const char *map_file(const char *text)
{
    return temp_write(&folder, "map.yaml", text, strlen(text));
}

static const char whole_map[] =
    "pelvis: pelvis\nleft_hip: thigh.L\nright_hip: thigh.R\nleft_knee: shin.L\nright_knee: shin.R\nleft_ankle: foot.L\n"
    "right_ankle: foot.R\nleft_foot: foot.L/end\nright_foot: foot.R/end\nneck: neck\nhead: face\nspine2: spine.001\n"
    "left_shoulder: upper_arm.L\nright_shoulder: upper_arm.R\nleft_elbow: forearm.L\nright_elbow: forearm.R\n"
    "left_wrist: forearm.L/end\nright_wrist: forearm.R/end\n";

Test(train_retarget, a_map_says_the_same)
{
    ts_joint_map map;
    ts_retargeted a = must_retarget(2, "0 0 0 0\n1 2 3 4\n"), b;
    cr_assert_eq(ts_joint_map_load(&map, &layout, map_file(whole_map), &arena, &err), TS_OK, "%s", err.text);
    cr_assert_eq(retarget(&b, &map, 2, "0 0 0 0\n1 2 3 4\n"), TS_OK, "%s", err.text);
    cr_assert_eq(memcmp(a.positions, b.positions, (size_t)a.frames * J * sizeof *a.positions), 0);
    ts_free(a.positions);
    ts_free(b.positions);
}

/* All three joints of the spine in between: quarters of the way. */
Test(train_retarget, a_spine_without_joints)
{
    ts_joint_map map;
    ts_retargeted r;
    static char text[sizeof whole_map];
    memcpy(text, whole_map, sizeof text);
    char *line = strstr(text, "spine2: spine.001\n");
    memmove(line, line + 18, strlen(line + 18) + 1);
    cr_assert_eq(ts_joint_map_load(&map, &layout, map_file(text), &arena, &err), TS_OK, "%s", err.text);
    cr_assert_eq(retarget(&r, &map, 1, "0 0 0 0\n"), TS_OK, "%s", err.text);
    ts_v3 shoulder = ts_v3_unit(ts_v3_sub(r.positions[16], r.positions[9]));
    cr_assert_lt(ts_v3_length(ts_v3_sub(shoulder, ts_v3_unit((ts_v3){6, 18 - 0.75 * 19, 0}))), 1e-12);
    ts_free(r.positions);
}

static void expect_bad_map(const char *text, ts_status code, const char *message)
{
    ts_joint_map map;
    ts_retargeted r;
    ts_status status = ts_joint_map_load(&map, &layout, map_file(text), &arena, &err);
    if (status == TS_OK)
        status = retarget(&r, &map, 1, "0 0 0 0\n");
    cr_assert_eq(status, code, "expected \"%s\"", message);
    cr_assert_not_null(strstr(err.text, message), "expected \"%s\" in: %s", message, err.text);
}

Test(train_retarget, maps_that_do_not_fit)
{
    static char text[sizeof whole_map + 100];
    expect_bad_map("pelvis: pelvis\nleft_hop: thigh.L\n", TS_ERR_USAGE,
                   "map.yaml:2: unknown key 'left_hop' (did you mean 'left_hip'?)");
    expect_bad_map("pelvis: pelvis\n", TS_ERR_USAGE, "left_hip");
    expect_bad_map("pelvis: [pelvis]\n", TS_ERR_USAGE, "map.yaml:1: pelvis: ");
    snprintf(text, sizeof text, "%sspine1: spine\nleft_collar: shoulder.L\n", whole_map);
    expect_bad_map(text, TS_ERR_DATA,
                   "map.yaml: it has no spine, shoulder.L; its joints: pelvis thigh.L shin.L foot.L foot.L/end");
    snprintf(text, sizeof text, "%sspine3: neck\n", whole_map);
    expect_bad_map(text, TS_ERR_DATA,
                   "person.bvh: 0 s: spine3 and neck are in one place, so that the bone between them has no direction");
}

Test(train_retarget, legs_without_a_length)
{
    ts_joint_map map = ts_joint_maps[2];
    ts_retargeted r;
    for (int side = 0; side < 2; side++)
        map.source[4 + side] = map.source[7 + side] = map.source[1 + side];
    cr_assert_eq(retarget(&r, &map, 1, "0 0 0 0\n"), TS_ERR_DATA);
    cr_assert_not_null(strstr(err.text, "person.bvh: the legs have no length"), "%s", err.text);
}

Test(train_retarget, an_unknown_skeleton)
{
    static const char text[] =
        "HIERARCHY ROOT Hips { OFFSET 0 0 0 CHANNELS 1 Xposition\nJOINT LeftUpLeg { OFFSET 0 0 0 "
        "CHANNELS 0 } } MOTION Frames: 1 Frame Time: 1 0";
    ts_bvh b;
    int source[TS_MAX_JOINTS];
    cr_assert_eq(ts_bvh_parse(&b, text, strlen(text), "x.bvh", &err), TS_OK, "%s", err.text);
    cr_assert_eq(ts_joint_map_find(source, NULL, &layout, &b, "x.bvh", &err), TS_ERR_DATA);
    static const char *const parts[] = {"x.bvh: an unknown skeleton; the nearest known is ", "it has no ",
                                        "its joints: Hips LeftUpLeg", "say with --map which is which"};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        cr_assert_not_null(strstr(err.text, parts[i]), "expected \"%s\" in: %s", parts[i], err.text);
    ts_bvh_clear(&b);
}

/* A skeleton of 2000 joints with long names: the message stays one line that ends in what to do. */
Test(train_retarget, a_large_unknown_skeleton)
{
    static char text[400000];
    size_t used = (size_t)snprintf(text, sizeof text, "HIERARCHY ROOT Hips { OFFSET 0 0 0 CHANNELS 1 Xposition\n");
    for (int i = 0; i < 2000; i++)
        used +=
            (size_t)snprintf(text + used, sizeof text - used,
                             "JOINT a_joint_with_a_rather_long_name_of_%04d_parts_and_the_same_again_%04d_times_over {"
                             " OFFSET 0 0 0 CHANNELS 0 }\n",
                             i, i);
    snprintf(text + used, sizeof text - used, "} MOTION Frames: 1 Frame Time: 1 0");
    ts_bvh b;
    int source[TS_MAX_JOINTS];
    cr_assert_eq(ts_bvh_parse(&b, text, strlen(text), "x.bvh", &err), TS_OK, "%s", err.text);
    cr_assert_eq(ts_joint_map_find(source, NULL, &layout, &b, "x.bvh", &err), TS_ERR_DATA);
    cr_assert_not_null(strstr(err.text, "...; say with --map which is which"), "%s", err.text);
    ts_bvh_clear(&b);
}

Test(train_retarget, every_allocation_may_fail)
{
    int failed = 0;
    int source[TS_MAX_JOINTS];
    ts_bvh b = parse(2, "0 0 0 0\n1 2 3 4\n");
    cr_assert_eq(ts_joint_map_find(source, NULL, &layout, &b, "person.bvh", &err), TS_OK);
    for (uint64_t n = 1; n < 10; n++) {
        ts_retargeted r;
        ts_alloc_fail_at(n);
        ts_status status = ts_retarget(&r, &b, source, &layout, &ts_skeleton_22, "person.bvh", NULL);
        ts_alloc_fail_at(0);
        failed += status == TS_ERR_RUNTIME;
        ts_free(r.positions);
    }
    cr_assert_eq(failed, 5);
    ts_bvh_clear(&b);
}
