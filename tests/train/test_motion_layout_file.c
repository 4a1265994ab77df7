/* Layouts of motion as files: read, printed, and every contradiction that they can hold. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "core/memory.h"
#include "tests/train/temp_folder.h"
#include "train/motion_layout_file.h"

static ts_error err;

static ts_status parse(ts_motion_layout *layout, const char *text)
{
    return ts_motion_layout_parse(layout, "rigs/rig.yaml", text, strlen(text), &err);
}

static ts_motion_layout must_parse(const char *text)
{
    ts_motion_layout layout;
    cr_assert_eq(parse(&layout, text), TS_OK, "%s", err.text);
    return layout;
}

static bool equal_columns(ts_columns a, ts_columns b)
{
    return a.count == b.count && (a.count == 0 || a.first == b.first);
}

static void expect_equal(const ts_motion_layout *a, const ts_motion_layout *b)
{
    cr_expect_str_eq(a->name, b->name);
    cr_expect(a->columns == b->columns && a->joints == b->joints && a->fps == b->fps && a->unit_mm == b->unit_mm);
    cr_expect(a->root_kind == b->root_kind && a->root_position == b->root_position && a->height == b->height);
    cr_expect(equal_columns(a->root, b->root) && equal_columns(a->positions, b->positions));
    cr_expect(equal_columns(a->rotations, b->rotations) && equal_columns(a->velocities, b->velocities));
    cr_expect(equal_columns(a->contacts, b->contacts));
    cr_expect(a->foot_count == b->foot_count && memcmp(a->foot, b->foot, (size_t)a->foot_count * sizeof *a->foot) == 0);
    for (int64_t i = 0; i < a->joints; i++) {
        cr_expect_str_eq(a->joint[i], b->joint[i]);
        cr_expect_eq(a->parent[i], b->parent[i], "%s", a->joint[i]);
    }
}

static void expect_round_trip(const ts_motion_layout *layout)
{
    char *text, *again;
    ts_motion_layout read;
    cr_assert_eq(ts_motion_layout_print(layout, &text, &err), TS_OK, "%s", err.text);
    cr_assert_eq(ts_motion_layout_parse(&read, "printed", text, strlen(text), &err), TS_OK, "%s\n%s", err.text, text);
    expect_equal(&read, layout);
    cr_assert_eq(ts_motion_layout_print(&read, &again, &err), TS_OK);
    cr_expect_str_eq(again, text);
    ts_free(text);
    ts_free(again);
}

Test(train_motion_layout_file, presets_are_sound_and_print_as_files)
{
    int count = 0;
    for (; ts_motion_layouts[count]; count++)
        expect_round_trip(ts_motion_layouts[count]);
    cr_assert_geq(count, 3);
}

static const char whole[] = "fps: 12.5\n"
                            "columns:\n"
                            "  count: 50\n"
                            "  root: 2:6\n"
                            "  root_kind: yaw\n"
                            "  positions: 6:12\n"
                            "  velocities: 20:29\n"
                            "  contacts: 30:32\n"
                            "feet: [\"toe, left\", tail]\n"
                            "skeleton:\n"
                            "  hips:\n"
                            "  \"toe, left\": hips\n"
                            "  tail: hips\n";

Test(train_motion_layout_file, from_nothing)
{
    ts_motion_layout l = must_parse(whole);
    cr_expect_str_eq(l.name, "rig");
    cr_expect(l.columns == 50 && l.joints == 3 && l.fps == 12.5 && l.unit_mm == 1000 && !l.root_position);
    cr_expect(l.root_kind == TS_ROOT_YAW && l.root.first == 2 && l.root.count == 4 && l.height == 5);
    cr_expect(l.positions.first == 6 && l.positions.count == 6 && l.rotations.count == 0);
    cr_expect(l.velocities.first == 20 && l.velocities.count == 9 && l.contacts.count == 2);
    cr_expect(l.parent[0] == -1 && l.parent[1] == 0 && l.parent[2] == 0 && strcmp(l.joint[1], "toe, left") == 0);
    cr_expect(l.foot_count == 2 && l.foot[0] == 1 && l.foot[1] == 2);
    expect_round_trip(&l);
}

Test(train_motion_layout_file, from_a_preset)
{
    ts_motion_layout l = must_parse("preset: humanml3d\nfps: 60\nname: fast");
    ts_motion_layout expected = *ts_motion_layout_find("humanml3d");
    expected.fps = 60;
    snprintf(expected.name, sizeof expected.name, "fast");
    expect_equal(&l, &expected);
    l = must_parse("preset: humanml3d\ncolumns: {count: 300, root: '263:267', contacts: none}");
    cr_expect(l.height == 266, "the root's height goes with the root: %d", (int)l.height);
    cr_expect(l.columns == 300 && l.contacts.count == 0 && l.foot_count == 4 && l.rotations.count == 126);
    l = must_parse("preset: motionmillion\ncolumns: {rotations: none, velocities: none, positions: '8:17'}\n"
                   "feet: [b]\nskeleton: {a: , b: a, c: b}");
    cr_expect(l.joints == 3 && l.root_position && l.parent[2] == 1 && l.foot_count == 1 && l.foot[0] == 1);
    expect_round_trip(&l);
}

static void must_refuse(const char *text, const char *message)
{
    ts_motion_layout layout;
    cr_expect_eq(parse(&layout, text), TS_ERR_USAGE, "%s\nexpected: %s", text, message);
    cr_expect_not_null(strstr(err.text, message), "%s\nexpected: %s\nfound:    %s", text, message, err.text);
    cr_expect_null(strchr(err.text, '\n'), "one line: %s", err.text);
}

#define KIT     "preset: kit\ncolumns:\n"
#define THREE   "skeleton:\n  a:\n"
#define MILLION "preset: motionmillion\n"

Test(train_motion_layout_file, contradictions_are_named_with_their_line)
{
    static const char *const cases[][2] = {
        {"preset: humanml\n", "rig.yaml:1: preset: expected a layout of humanml3d, kit, motionmillion, found 'humanml' "
                              "(did you mean 'humanml3d'?)"},
        {"name: x\ncolums: {count: 3}\n", "rig.yaml:2: unknown section 'colums' (did you mean 'columns'?)"},
        {KIT "  postions: 4:64\n", "rig.yaml:3: columns: unknown key 'postions' (did you mean 'positions'?)"},
        {KIT "  positions: 4-64\n", "rig.yaml:3: columns.positions: expected FIRST:END, such as 4:67, with the end "
                                    "behind the last column, or none, found '4-64'"},
        {KIT "  positions: 64:4\n", "rig.yaml:3: columns.positions: expected FIRST:END"},
        {KIT "  positions: 4:4\n", "rig.yaml:3: columns.positions: expected FIRST:END"},
        {KIT "  positions: 4:9999999999\n", "rig.yaml:3: columns.positions: expected FIRST:END"},
        {KIT "  positions: 4:64:2\n", "rig.yaml:3: columns.positions: expected FIRST:END"},
        {KIT "  positions: [4, 64]\n", "rig.yaml:3: columns: positions: expected"},
        {KIT "  count: 250\n", "rig.yaml: columns.contacts (of preset kit): 247:251 goes beyond the 250 columns"},
        {KIT "  contacts: 248:252\n", "rig.yaml:3: columns.contacts: 248:252 goes beyond the 251 columns"},
        {KIT "  contacts: 247:250\n", "rig.yaml:3: columns.contacts: 3 columns, expected 4, one for each of `feet`"},
        {KIT "  positions: 5:65\n",
         "rig.yaml:3: columns.positions: 5:65 shares columns with columns.rotations, 64:184"},
        {KIT "  velocities: 64:127\n  rotations: 127:247\n  positions: 4:64\n  root: 62:66\n",
         "rig.yaml:6: columns.root: 62:66 shares columns with columns.positions, 4:64"},
        {KIT "  root: 0:3\n", "rig.yaml:3: columns.root: 3 columns, expected 4, as root_kind yaw has them"},
        {KIT "  root: none\n", "rig.yaml:3: columns.root: 0 columns, expected 4"},
        {KIT "  root_kind: heading\n", "rig.yaml: columns.height (of preset kit): must be given"},
        {KIT "  root_kind: heading\n  height: 3\n",
         "rig.yaml: columns.root (of preset kit): 4 columns, expected 8, as root_kind heading has them"},
        {KIT "  root_kind: turning\n", "rig.yaml:3: columns: root_kind: expected one of yaw, heading"},
        {KIT "  positions: 4:63\n", "rig.yaml:3: columns.positions: 4:63 are 59 columns, expected 63 (or 60, without "
                                    "the root), 3 for each of 21 joints"},
        {KIT "  velocities: 184:244\n",
         "rig.yaml:3: columns.velocities: 184:244 are 60 columns, expected 63, 3 for each of 21 joints"},
        {KIT "  height: 251\n", "rig.yaml:3: columns.height: expected a column from 0 to 250"},
        {KIT "  height: 7\n", "rig.yaml:3: columns.height: column 7 is one of columns.positions"},
        {MILLION "columns: {height: 3}\n", "rig.yaml:2: columns.height: is not needed"},
        {"preset: kit\nfeet: [left_toe, left_heal]\n",
         "rig.yaml:2: feet: 'left_heal' is no joint (did you mean 'left_heel'?)"},
        {"preset: kit\nfeet: [root, root, root, root, root, root, root, root, root]\n",
         "rig.yaml:2: feet: more than 8"},
        {"preset: kit\nskeleton:\n  a:\n", "rig.yaml: feet (of preset kit): 'left_heel' is no joint"},
        {"preset: kit\nfeet: []\ncolumns: {contacts: none}\n" THREE "  b: a\n  c: b\n",
         "rig.yaml: columns.positions (of preset kit): 4:64 are 60 columns, expected 9 (or 6, without the root)"},
        {"preset: kit\n" THREE "  b: c\n  c: a\n",
         "rig.yaml:4: skeleton: the parent of 'b' must be a joint that stands above it, found 'c'"},
        {"preset: kit\nskeleton:\n  pelvis:\n  hip: pelvsi\n", "found 'pelvsi' (did you mean 'pelvis'?)"},
        {"preset: kit\n" THREE "  b: b\n", "rig.yaml:4: skeleton: the parent of 'b' must be"},
        {"preset: kit\n" THREE "  b:\n", "rig.yaml:4: skeleton: the parent of 'b' must be"},
        {"preset: kit\nskeleton:\n  a: none\n", "rig.yaml:3: skeleton: 'a' is the first joint, the root: it has no"},
        {"preset: kit\n" THREE "  a: a\n", "rig.yaml:4: skeleton: 'a' is there twice"},
        {"preset: kit\n" THREE "  b: [a]\n", "rig.yaml:4: skeleton: b: expected text, found a list"},
        {"preset: kit\n" THREE "  a_name_that_is_longer_than_31_bytes: a\n", "rig.yaml:4: skeleton: expected the name"},
        {"preset: kit\nskeleton: [a, b]\n", "rig.yaml:2: skeleton: expected a section"},
        {"preset: kit\nname: a_name_that_is_longer_than_31_bytes\n", "rig.yaml:2: name: expected a name of at most 31"},
        {"preset: kit\nfps: 0\n", "rig.yaml:2: fps: expected a number from 0.001"},
        {"preset: kit\nfps: fast\n", "rig.yaml:2: fps: expected a number"},
        {"preset: kit\nunit_mm: -1\n", "rig.yaml:2: unit_mm: expected a number"},
        {"columns: {count: 10}\n", "rig.yaml: fps must be given, or a preset to start from"},
        {"fps: 20\ncolumns: {count: 10, root: '0:4'}\n", "rig.yaml: columns.root_kind must be given"},
        {"fps: 20\ncolumns: {count: 10, root: '0:4', root_kind: yaw, positions: '4:7'}\n", "skeleton must be given"},
        {"fps: 20\ncolumns: {count: 10, root: '0:4', root_kind: yaw, positions: none}\nskeleton: {a: }\n",
         "rig.yaml:2: columns.positions: expected FIRST:END, found none"},
        {"- 1\n", "rig.yaml:1: expected sections and keys"},
        {"", "rig.yaml: is empty"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        must_refuse(cases[i][0], cases[i][1]);
    cr_assert_geq(sizeof cases / sizeof *cases, 40);
}

Test(train_motion_layout_file, too_many_joints)
{
    char text[4000] = "preset: kit\nskeleton:\n  j0:\n";
    for (int i = 1; i <= TS_MAX_JOINTS; i++)
        snprintf(text + strlen(text), sizeof text - strlen(text), "  j%d: j0\n", i);
    must_refuse(text, "rig.yaml:67: skeleton: more than 64 joints");
}

Test(train_motion_layout_file, by_preset_or_path)
{
    temp_folder folder = temp_folder_make();
    ts_motion_layout l;
    cr_expect_eq(ts_motion_layout_named(&l, "kit", &err), TS_OK);
    cr_expect_str_eq(l.name, "kit");
    cr_expect_eq(ts_motion_layout_named(&l, temp_write(&folder, "own.rig.yaml", whole, strlen(whole)), &err), TS_OK,
                 "%s", err.text);
    cr_expect_str_eq(l.name, "own.rig");
    cr_expect_eq(ts_motion_layout_named(&l, "kitt", &err), TS_ERR_USAGE);
    cr_expect_str_eq(err.text,
                     "expected a layout of humanml3d, kit, motionmillion, found 'kitt' (did you mean 'kit'?)");
    cr_expect_eq(ts_motion_layout_named(&l, "./nowhere.yaml", &err), TS_ERR_USAGE);
    cr_expect_not_null(strstr(err.text, "./nowhere.yaml: cannot open"), "%s", err.text);
    temp_folder_remove(&folder);
}

Test(train_motion_layout_file, every_allocation_may_fail)
{
    int failures = 0;
    for (uint64_t n = 1; n < 100; n++) {
        ts_motion_layout l;
        ts_alloc_fail_at(n);
        ts_status status = parse(&l, whole);
        ts_alloc_fail_at(0);
        failures += status != TS_OK;
        cr_assert(status == TS_OK || status == TS_ERR_RUNTIME, "%d: %s", (int)n, err.text);
    }
    cr_assert_geq(failures, 2);
}
