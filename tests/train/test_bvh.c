/* BVH files: small ones made here, by hand's arithmetic; every bad one by its message; and damaged at every byte. */
#include "train/bvh.h"

#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/mutants.h"
#include "tests/support/shared.h"
#include "tests/train/temp_folder.h"

static ts_error err;

/* An arm of two bones, of 1 and 2 along x, that ends 1 further. */
static const char arm[] = "HIERARCHY\n"
                          "ROOT Shoulder\n"
                          "{\n"
                          "  OFFSET 10 20 30\n"
                          "  CHANNELS 6 Xposition Yposition Zposition Zrotation Yrotation Xrotation\n"
                          "  JOINT Elbow\n"
                          "  {\n"
                          "    OFFSET 1 0 0\n"
                          "    CHANNELS 3 Zrotation Xrotation Yrotation\n"
                          "    JOINT Wrist\n"
                          "    {\n"
                          "      OFFSET 2 0 0\n"
                          "      CHANNELS 6 Yposition Xposition Zposition Xrotation Yrotation Zrotation\n"
                          "      End Site\n"
                          "      {\n"
                          "        OFFSET 1 0 0\n"
                          "      }\n"
                          "    }\n"
                          "  }\n"
                          "}\n"
                          "MOTION\n"
                          "Frames: 3\n"
                          "Frame Time: .0083333\n"
                          "0 0 0 0 0 0 0 0 0 0 2 0 0 0 0\n"
                          "1 2 3 90 0 0 0 0 0 0 2 0 0 0 0\n"
                          "-10 -20 -30 90 90 0 0 0 -90 0.5 2e0 -1 0 0 90\n";

static ts_bvh must_parse(const char *text)
{
    ts_bvh b;
    cr_assert_eq(ts_bvh_parse(&b, text, strlen(text), "a.bvh", &err), TS_OK, "%s", err.text);
    return b;
}

static void expect_places(const ts_bvh *b, int64_t frame, const ts_v3 *expected)
{
    ts_v3 places[4];
    ts_m3 turns[4];
    cr_assert_eq(b->joints, 4);
    ts_bvh_pose(b, frame, places, turns);
    for (int i = 0; i < 4; i++)
        cr_assert_lt(ts_v3_length(ts_v3_sub(places[i], expected[i])), 1e-12, "frame %d: %s at %g %g %g", (int)frame,
                     b->joint[i].name, places[i].x, places[i].y, places[i].z);
}

/* The root's position is added to its offset; the wrist's stands in its place. */
static void expect_arm(const char *text)
{
    ts_bvh b = must_parse(text);
    cr_assert(b.channels == 15 && b.frames == 3 && b.frame_s == .0083333);
    cr_assert_str_eq(b.joint[3].name, "Wrist/end");
    cr_assert(b.joint[3].end && b.joint[3].channels == 0 && b.joint[2].first_channel == 9);
    expect_places(&b, 0, (ts_v3[]){{10, 20, 30}, {11, 20, 30}, {13, 20, 30}, {14, 20, 30}});
    expect_places(&b, 1, (ts_v3[]){{11, 22, 33}, {11, 23, 33}, {11, 25, 33}, {11, 26, 33}});
    /* the root: x to -z, y to -x, z to y. The elbow's Ry(-90): x to z, z to -x in the root's frame: together x to y, y
     * to -x, z stays. The wrist at (2, 0.5, -1) in that, and Rz(90) there */
    expect_places(&b, 2, (ts_v3[]){{0, 0, 0}, {0, 0, -1}, {-0.5, 2, -2}, {-1.5, 2, -2}});
    cr_assert(ts_bvh_find(&b, "Wrist") == 2 && ts_bvh_find(&b, "wrist") == -1);
    ts_bvh_clear(&b);
}

Test(train_bvh, places_of_joints)
{
    expect_arm(arm);
}

/* Text with each `from` replaced, in a static buffer. */
static const char *with(const char *text, const char *from, const char *to)
{
    static char out[4000];
    size_t used = 0;
    for (; *text; used = strlen(out)) {
        const char *hit = strstr(text, from);
        size_t n = hit ? (size_t)(hit - text) : strlen(text);
        snprintf(out + used, sizeof out - used, "%.*s%s", (int)n, text, hit ? to : "");
        text += n + (hit ? strlen(from) : 0);
    }
    return out;
}

struct spelling {
    char from[16], to[24];
};

ParameterizedTestParameters(train_bvh, spellings)
{
    static struct spelling cases[] = {{"\n", "\r\n"},
                                      {"  ", "\t"},
                                      {"\n", " \n\n"},
                                      {" {\n", "\n{\n"},
                                      {"HIERARCHY", "\xef\xbb\xbfHIERARCHY"},
                                      {"End Site", "End site"},
                                      {"Xrotation", "xRotation"},
                                      {"OFFSET 2 0 0", "OFFSET 9 9 9"}, /* the wrist's positions stand in its place */
                                      {"2e0", "+2.000"},
                                      {"Frames: 3", "Frames:\t3"},
                                      {"-10 -20", "-1e1\t-20.0"}};
    return cr_make_param_array(struct spelling, cases, sizeof cases / sizeof *cases);
}

ParameterizedTest(struct spelling *s, train_bvh, spellings)
{
    cr_assert_neq(strcmp(with(arm, s->from, s->to), arm), 0);
    expect_arm(with(arm, s->from, s->to));
}

struct mistake {
    char from[64], to[64], message[160];
};

ParameterizedTestParameters(train_bvh, mistakes)
{
    static struct mistake cases[] = {
        {"HIERARCHY", "", "a.bvh:2: expected 'HIERARCHY', found 'ROOT'"},
        {"ROOT Shoulder\n{", "ROOT\n{", "a.bvh:3: expected the name of a joint, found '{'"},
        {"ROOT", "JOINT", "a.bvh:2: expected 'ROOT', found 'JOINT'"},
        {"ROOT Shoulder", "ROOT Left Shoulder", "a.bvh:2: expected '{', found 'Shoulder'"},
        {"OFFSET 10 20", "OFFSET 10", "a.bvh:5: expected a number of the OFFSET, found 'CHANNELS'"},
        {"OFFSET 1 0 0\n    CH", "CH", "a.bvh:18: 'Elbow' ends without its OFFSET"},
        {"    OFFSET 1 0 0\n    CH", "OFFSET 1 0 0 OFFSET 1 0 0 CH", "a.bvh:8: a second OFFSET of 'Elbow'"},
        {"    CHANNELS 3 Zrotation Xrotation Yrotation\n", "", "a.bvh:18: 'Elbow' ends without its CHANNELS"},
        {"CHANNELS 3", "CHANNELS 0 CHANNELS 3", "a.bvh:9: a second line of CHANNELS of 'Elbow'"},
        {"CHANNELS 3", "CHANNELS 7", "a.bvh:9: expected a number of channels, 0 to 6, found '7'"},
        {"CHANNELS 3", "CHANNELS -3", "a.bvh:9: expected a number of channels, 0 to 6, found '-3'"},
        {"CHANNELS 3", "CHANNELS 2", "a.bvh:9: expected OFFSET, CHANNELS, JOINT, End Site or '}', found 'Yrotation'"},
        {"CHANNELS 3", "CHANNELS 4", "a.bvh:10: expected a channel such as Xrotation or Yposition, found 'JOINT'"},
        {"Zrotation Xrotation", "Zscale Xrotation", "a.bvh:9: expected a channel such as Xrotation or Yposition"},
        {"Zrotation Xrotation Y", "Zrotation Xrotation Z", "a.bvh:9: 'Elbow' has the channel Zrotation twice"},
        {"JOINT Wrist", "Wrist", "a.bvh:10: expected OFFSET, CHANNELS, JOINT, End Site or '}', found 'Wrist'"},
        {"End Site", "End Wrist", "a.bvh:14: expected 'Site', found 'Wrist'"},
        {"  OFFSET 1 0 0\n      }", "  JOINT Hand { }\n}", "a.bvh:16: expected OFFSET or '}', found 'JOINT'"},
        {"  OFFSET 1 0 0\n      }", "  OFFSET 1 0 0 CHANNELS 0 }", "a.bvh:16: CHANNELS of 'Wrist/end'"},
        {"  OFFSET 1 0 0\n      }", "  }", "a.bvh:16: 'Wrist/end' ends without its OFFSET"},
        {"      }\n", "", "a.bvh:20: expected OFFSET, CHANNELS, JOINT, End Site or '}', found 'MOTION'"},
        {"}\nMOTION", "}\n}\nMOTION", "a.bvh:21: expected 'MOTION', found '}'"},
        {"MOTION", "ROOT Other {", "a.bvh:21: expected 'MOTION', found 'ROOT'"},
        {"Frames: 3", "Frames: 0", "a.bvh:22: expected a number of frames, at least 1, found '0'"},
        {"Frames: 3", "Frames: 3.5", "a.bvh:22: expected a number of frames, at least 1, found '3.5'"},
        {"Frames: 3", "Frames: 2", "a.bvh:26: expected the end of the file behind the last frame, found '-10'"},
        {"Frames: 3", "Frames: 4", "a.bvh:23: 4 frames of 15 numbers; what is left of the file has room for at most 3"},
        {"-10 -20 -30 90 90 0 0 0 -90 0.5 2e0 -1 0 0 90\n", "                                             \n",
         "a.bvh:27: the file ends after 2 of the 3 frames that it says it has"},
        {"Frames: 3", "Frames: 90000000000000000", "a.bvh:23: 90000000000000000 frames of 15 numbers; what is left"},
        {"Frames: 3", "Frames: 99999999999999999999", "a.bvh:22: expected a number of frames, at least 1"},
        {"Frame Time: .0083333", "Frame Time: 0", "a.bvh:23: Frame Time: expected seconds, 0.0001 to 10, found 0"},
        {"Frame Time: .0083333", "Frame Time: -1", "a.bvh:23: Frame Time: expected seconds"},
        {"Frame Time: .0083333", "Frame Time: 1e9", "a.bvh:23: Frame Time: expected seconds"},
        {"Frame Time: .0083333", "Time: .0083333", "a.bvh:23: expected 'Frame', found 'Time:'"},
        {"1 2 3 90", "1 2 90", "a.bvh:25: frame 1: expected a line of 15 numbers, one for each channel, found 14"},
        {"1 2 3 90", "1 2 3 4 90",
         "a.bvh:25: frame 1: expected a line of 15 numbers, one for each channel, found more"},
        {"1 2 3 90", "1 nan 3 90", "a.bvh:25: expected a number of the motion, found 'nan'"},
        {"1 2 3 90", "1 -inf 3 90", "a.bvh:25: expected a number of the motion, found '-inf'"},
        {"1 2 3 90", "1 1e999 3 90", "a.bvh:25: expected a number of the motion, found '1e999'"},
        {"1 2 3 90", "1 0x10 3 90", "a.bvh:25: expected a number of the motion, found '0x10'"},
        {"1 2 3 90", "1 2.3.4 3 90", "a.bvh:25: expected a number of the motion, found '2.3.4'"},
        {"1 2 3 90", "1 2, 3 90", "a.bvh:25: expected a number of the motion, found '2,'"},
        {"CHANNELS", "CHANNELS 0\n#", "expected OFFSET, CHANNELS, JOINT, End Site or '}', found '#'"},
    };
    return cr_make_param_array(struct mistake, cases, sizeof cases / sizeof *cases);
}

static void expect_refused(const char *text, size_t bytes, const char *message)
{
    ts_bvh b;
    cr_assert_eq(ts_bvh_parse(&b, text, bytes, "a.bvh", &err), TS_ERR_DATA, "expected \"%s\"", message);
    cr_assert_not_null(strstr(err.text, message), "expected \"%s\" in: %s", message, err.text);
    cr_assert_null(strchr(err.text, '\n'));
    ts_bvh_clear(&b);
}

ParameterizedTest(struct mistake *m, train_bvh, mistakes)
{
    const char *text = with(arm, m->from, m->to);
    cr_assert_neq(strcmp(text, arm), 0, "'%s' is not there", m->from);
    expect_refused(text, strlen(text), m->message);
}

Test(train_bvh, nothing_can_move)
{
    static const char still[] = "HIERARCHY ROOT a { OFFSET 0 0 0 CHANNELS 0 } MOTION Frames: 1 Frame Time: 1";
    expect_refused(still, strlen(still), "a.bvh:1: no joint has channels");
    expect_refused("", 0, "a.bvh:1: expected 'HIERARCHY', found the end of the file");
    expect_refused("HIERARCHY\0ROOT", 14, "a.bvh: not a BVH file: it has zero bytes");
}

/* `count` joints, inside each other or side by side. */
static void expect_too_many(int count, const char *end)
{
    size_t room = (size_t)count * 64 + 100, used;
    char *text = ts_alloc(room);
    used = (size_t)snprintf(text, room, "HIERARCHY ROOT a { OFFSET 0 0 0 CHANNELS 0 ");
    for (int i = 0; i < count; i++)
        used += (size_t)snprintf(text + used, room - used, "JOINT a { OFFSET 0 0 0 CHANNELS 0 %s", end);
    expect_refused(text, used, "a.bvh:1: more than 2048 joints, or more than 256 inside each other");
    ts_free(text);
}

Test(train_bvh, absurd_skeletons)
{
    expect_too_many(2048, "} ");
    expect_too_many(257, "");
    expect_too_many(100000, "");
}

/* A word of a megabyte where a name is expected, and where a number is. */
Test(train_bvh, absurd_words)
{
    enum { LONG = 1 << 20 };
    char *text = ts_alloc(LONG + 1000);
    for (int i = 0; i < 2; i++) {
        int start = snprintf(text, 1000, "HIERARCHY ROOT %s", i ? "a { OFFSET 0 " : "");
        memset(text + start, i ? '1' : 'a', LONG);
        text[start + LONG] = '\0';
        expect_refused(text, strlen(text), i ? "expected a number of the OFFSET, found '111" : "expected '{', found");
    }
    ts_free(text);
}

/* The file cut at every byte, and each byte changed to others: an error of one line or a file that is whole, never
 * more. The address sanitizer watches. */
Test(train_bvh, damaged_at_every_byte)
{
    static const char others[] = "}{ \n9.-eJ\x80";
    char text[sizeof arm];
    int refused = 0, read = 0;
    for (size_t n = 0; n < sizeof arm - 1; n++) {
        memcpy(text, arm, n);
        text[n] = '\0';
        if (n < sizeof arm - 4)
            expect_refused(text, n, "a.bvh:");
        for (const char *c = others; *c; c++) {
            ts_bvh b;
            memcpy(text, arm, sizeof arm);
            text[n] = *c;
            ts_status status = ts_bvh_parse(&b, text, sizeof arm - 1, "a.bvh", &err);
            cr_assert(status == TS_OK || status == TS_ERR_DATA);
            refused += status != TS_OK;
            read += status == TS_OK;
            ts_bvh_clear(&b);
        }
    }
    cr_assert(refused > 2000 && read > 300, "%d refused, %d read", refused, read);
}

Test(train_bvh, no_mutant_does_harm, .timeout = 3600)
{
    static const char *const words[] = {"{",      "}",      "0",        "-1",    "1e999",   "nan", "JOINT", "End Site",
                                        "OFFSET", "MOTION", "CHANNELS", "99999", "Frames:", "\n",  NULL};
    int64_t executions = mutants_asked(5000), accepted = 0;
    for (int64_t i = 0; i < executions; i++) {
        ts_bvh b;
        size_t count = sizeof arm - 1;
        unsigned char *mutant = mutant_of((const unsigned char *)arm, &count, 0, words);
        mutant[count] = '\0';
        ts_status status = ts_bvh_parse(&b, (const char *)mutant, count, "a.bvh", &err);
        cr_assert(status == TS_OK || (status == TS_ERR_DATA && strncmp(err.text, "a.bvh", 5) == 0), "%s", err.text);
        accepted += status == TS_OK;
        ts_bvh_clear(&b);
        free(mutant);
    }
    cr_log_info("%lld mutants, %lld accepted", (long long)executions, (long long)accepted);
    cr_assert(accepted > executions / 100 && accepted < executions * 9 / 10, "%lld accepted", (long long)accepted);
}

Test(train_bvh, every_allocation_may_fail)
{
    int failed = 0;
    for (uint64_t n = 1; n < 8; n++) {
        ts_bvh b;
        ts_alloc_fail_at(n);
        ts_status status = ts_bvh_parse(&b, arm, strlen(arm), "a.bvh", NULL);
        ts_alloc_fail_at(0);
        cr_assert(status == TS_OK || status == TS_ERR_RUNTIME);
        failed += status != TS_OK;
        ts_bvh_clear(&b);
    }
    cr_assert_geq(failed, 2);
}

Test(train_bvh, files)
{
    temp_folder folder = temp_folder_make();
    ts_bvh b;
    const char *path = temp_write(&folder, "arm.bvh", arm, strlen(arm));
    cr_assert_eq(ts_bvh_read(&b, path, &err), TS_OK, "%s", err.text);
    cr_assert_eq(b.frames, 3);
    ts_bvh_clear(&b);
    cr_assert_eq(ts_bvh_read(&b, temp_path(&folder, "none.bvh"), &err), TS_ERR_DATA);
    cr_assert_not_null(strstr(err.text, "none.bvh"), "%s", err.text);
    ts_bvh_clear(&b);
    temp_folder_remove(&folder);
}

/* Tabs, CRLF in some lines, rotation orders that differ from joint to joint, 120 frames a second. */
Test(train_bvh, a_recording_of_cmu)
{
    ts_bvh b;
    const char *path = shared_path("data/mocap-bvh/cmu-131/131_01.bvh");
    if (!path) {
        skip_counted("no shared data");
        return;
    }
    cr_assert_eq(ts_bvh_read(&b, path, &err), TS_OK, "%s", err.text);
    cr_assert(b.frames == 994 && b.joints == 38 && b.channels == 96, "%d joints, %d channels", (int)b.joints,
              (int)b.channels);
    const ts_bvh_joint *shoulder = &b.joint[ts_bvh_find(&b, "LeftShoulder")];
    cr_assert(shoulder->axis[0] == 2 && shoulder->axis[1] == 0 && shoulder->axis[2] == 1);
    cr_assert_eq(b.value[95], b.value[96 - 1]);
    ts_bvh_clear(&b);
}
