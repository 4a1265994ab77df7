/* tessera import bvh: every recording of the shared data against its features there, and small folders for what can go
 * wrong. */
#include <criterion/criterion.h>
#include <dirent.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/files/npy.h"
#include "models/motion_layout.h"
#include "tests/support/shared.h"
#include "tests/support/worst.h"
#include "tests/train/bvh_sample.h"
#include "tests/train/run_program.h"
#include "train/data_kinds.h"

static temp_folder folder;
static ts_error err;

static void setup(void)
{
    folder = temp_folder_make();
}

static void teardown(void)
{
    temp_folder_remove(&folder);
}

TestSuite(train_import, .init = setup, .fini = teardown);

static json_t *json_of(const char *const *arguments)
{
    json_error_t why;
    char *text = output_of_program(arguments);
    json_t *root = json_loads(text, 0, &why);
    cr_assert_not_null(root, "%s in %s", why.text, text);
    free(text);
    return root;
}
#define IMPORTED(...) json_of((const char *const[]){"import", "bvh", __VA_ARGS__, "--json", NULL})

static int integer(const json_t *root, const char *key)
{
    cr_assert(json_is_integer(json_object_get(root, key)), "%s", key);
    return (int)json_integer_value(json_object_get(root, key));
}

/* ---- the shared recordings ---- */

enum { GROUPS = 7 };

typedef struct {
    const char *name;
    ts_columns columns;
    double most; /* what may differ */
    double found;
} group;

static ts_npy open_clip(const char *root, const char *name)
{
    char path[1200];
    ts_npy npy;
    snprintf(path, sizeof path, "%s/new_joint_vecs/%s", root, name);
    cr_assert_eq(ts_npy_open(&npy, path, &err), TS_OK, "%s", err.text);
    return npy;
}

/* Is the foot within 1e-4 of what tells contact from no contact? */
static bool near_threshold(const ts_motion_layout *l, const float *row, int64_t foot)
{
    static const double height[4] = {0.16, 0.09, 0.16, 0.09};
    int64_t j = l->foot[foot];
    const float *v = row + l->velocities.first + 3 * j;
    double speed = 30 * sqrt((double)v[0] * v[0] + (double)v[1] * v[1] + (double)v[2] * v[2]);
    double y = (double)row[l->positions.first + 3 * (j - 1) + 1];
    return fabs(speed - 0.35) < 1e-4 || fabs(y - height[foot]) < 1e-4;
}

/* Returns how many contacts differ near the threshold; elsewhere none may. */
static int compare(const ts_npy *found, const ts_npy *expected, group *groups, const char *name)
{
    const ts_motion_layout *l = ts_motion_layout_of(263);
    const float *x = found->tensor.data, *y = expected->tensor.data;
    int flipped = 0;
    cr_assert(ts_shape_equal(found->tensor.shape, expected->tensor.shape), "%s: %s", name,
              ts_shape_print(found->tensor.shape).text);
    for (int64_t t = 0; t < found->tensor.shape.dim[0]; t++, x += 263, y += 263) {
        for (int g = 0; g < GROUPS; g++)
            for (int64_t c = groups[g].columns.first; c < groups[g].columns.first + groups[g].columns.count; c++)
                groups[g].found = worst_of(groups[g].found, fabs((double)x[c] - (double)y[c]));
        for (int64_t foot = 0; foot < l->contacts.count; foot++)
            if (x[l->contacts.first + foot] != y[l->contacts.first + foot]) {
                cr_assert(near_threshold(l, y, foot), "%s: contact %d of frame %d", name, (int)foot, (int)t);
                flipped++;
            }
    }
    return flipped;
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* The lines of a file, sorted, in one text. */
static void sorted_lines(const char *root, const char *name, char *out, size_t bytes)
{
    char path[1200], *lines[200], *save;
    int n = 0;
    snprintf(path, sizeof path, "%s/%s", root, name);
    size_t count;
    char *text = file_content(path, &count);
    for (char *line = strtok_r(text, "\n", &save); line && n < 200; line = strtok_r(NULL, "\n", &save))
        lines[n++] = line;
    qsort(lines, (size_t)n, sizeof *lines, by_text);
    size_t used = 0;
    for (int i = 0; i < n; i++)
        used += (size_t)snprintf(out + used, bytes - used, "%s\n", lines[i]);
    free(text);
}

static void expect_same_lists(const char *found, const char *expected)
{
    static const char *const names[] = {"train.txt", "val.txt", "test.txt", "all.txt"};
    for (int i = 0; i < 4; i++) {
        static char a[8000], b[8000];
        sorted_lines(found, names[i], a, sizeof a);
        sorted_lines(expected, names[i], b, sizeof b);
        cr_assert_str_eq(a, b, "%s", names[i]);
    }
}

static void expect_same_row(const char *found, const char *expected, const char *name)
{
    char path[1200];
    ts_npy a, b;
    snprintf(path, sizeof path, "%s/%s", found, name);
    cr_assert_eq(ts_npy_open(&a, path, &err), TS_OK, "%s", err.text);
    snprintf(path, sizeof path, "%s/%s", expected, name);
    cr_assert_eq(ts_npy_open(&b, path, &err), TS_OK, "%s", err.text);
    cr_assert(ts_shape_equal(a.tensor.shape, b.tensor.shape));
    for (int c = 0; c < 263; c++)
        cr_assert_float_eq(((float *)a.tensor.data)[c], ((float *)b.tensor.data)[c], 1e-6, "%s: column %d", name, c);
    ts_npy_close(&a);
    ts_npy_close(&b);
}

/* 61 recordings of three skeletons at 24, 60 and 120 frames a second: 77 clips, each column of each frame. The largest
 * difference of each group of columns is printed. */
Test(train_import, every_shared_recording_gives_its_features)
{
    group groups[GROUPS] = {{"turn", {0, 1}, 1e-6, 0},         {"way", {1, 2}, 1e-6, 0},
                            {"height", {3, 1}, 1e-6, 0},       {"positions", {4, 63}, 1e-6, 0},
                            {"rotations", {67, 126}, 1e-5, 0}, {"velocities", {193, 66}, 1e-6, 0},
                            {"contacts", {259, 4}, 1, 0}};
    const char *path = shared_path("data/motion");
    char expected[1000], recordings[1000], out[600];
    if (!path) {
        skip_counted("no shared data");
        return;
    }
    snprintf(expected, sizeof expected, "%s", path);
    snprintf(recordings, sizeof recordings, "%s", shared_path("data/mocap-bvh"));
    snprintf(out, sizeof out, "%s/out", folder.path);
    json_t *answer = IMPORTED(recordings, out, "--rename", "cmu-131=cmu,reactidle=idle", "--split", expected);
    cr_assert(integer(answer, "recordings") == 61 && integer(answer, "clips") == 77 && integer(answer, "skipped") == 0);
    cr_assert(integer(answer, "train") == 62 && integer(answer, "val") == 7 && integer(answer, "test") == 8);
    cr_assert_eq(integer(answer, "reference_poses"), 9, "cmu_007_04 and the eight behind it begin with one");
    json_decref(answer);
    struct dirent **names;
    char clips[1100];
    snprintf(clips, sizeof clips, "%s/new_joint_vecs", expected);
    int n = scandir(clips, &names, NULL, alphasort), compared = 0, flipped = 0;
    for (int i = 0; i < n; i++) {
        if (names[i]->d_name[0] != '.') {
            ts_npy a = open_clip(out, names[i]->d_name), b = open_clip(expected, names[i]->d_name);
            flipped += compare(&a, &b, groups, names[i]->d_name);
            ts_npy_close(&a);
            ts_npy_close(&b);
            compared++;
        }
        free(names[i]);
    }
    free(names);
    cr_assert_eq(compared, 77);
    for (int g = 0; g < GROUPS; g++) {
        fprintf(stderr, "import bvh: %s: at most %.2g over %d clips\n", groups[g].name, groups[g].found, compared);
        cr_expect_leq(groups[g].found, groups[g].most, "%s: %g", groups[g].name, groups[g].found);
    }
    fprintf(stderr, "import bvh: %d contacts differ, all at the threshold\n", flipped);
    cr_expect_leq(flipped, 4);
    expect_same_lists(out, expected);
    expect_same_row(out, expected, "Mean.npy");
    expect_same_row(out, expected, "Std.npy");
}

/* ---- small folders ---- */

static const char *recording(const char *name, int frames)
{
    static char text[20000];
    sample_walk(text, sizeof text, frames);
    return kept_write(&folder, name, text, strlen(text));
}

static const char *in(void)
{
    return kept_path(&folder, "in");
}

static const char *out(void)
{
    return kept_path(&folder, "out");
}

static int64_t rows_of(const char *id)
{
    char name[300];
    ts_npy npy;
    snprintf(name, sizeof name, "%s.npy", id);
    npy = open_clip(out(), name);
    int64_t rows = npy.tensor.shape.dim[0];
    cr_assert_eq(npy.tensor.shape.dim[1], 263);
    ts_npy_close(&npy);
    return rows;
}

static void expect_lines(const char *name, const char *expected)
{
    static char found[2000];
    sorted_lines(out(), name, found, sizeof found);
    cr_assert_str_eq(found, expected, "%s", name);
}

/* 10 frames a second for 6.3 s are 64 frames; at 20, 126 rows, which become three clips of at most 50. */
Test(train_import, names_and_cuts)
{
    recording("in/b/walk.bvh", 64);
    recording("in/a.x/run fast,1.bvh", 3);
    recording("in/.hidden/c.bvh", 3);
    recording("in/d.BVH", 3);
    kept_write(&folder, "in/notes.txt", "no", 2);
    json_t *answer = IMPORTED(in(), out(), "--fps", "20", "--cut", "50", "--rename", "b=bb,a.x=");
    cr_assert(integer(answer, "recordings") == 3 && integer(answer, "clips") == 5);
    cr_assert_eq(integer(answer, "frames"), 126 + 4 + 4);
    json_decref(answer);
    expect_lines("all.txt", "bb_walk_00\nbb_walk_01\nbb_walk_02\nd\nrun_fast_1\n");
    cr_assert(rows_of("bb_walk_00") == 42 && rows_of("bb_walk_01") == 42 && rows_of("bb_walk_02") == 42);
    cr_assert(rows_of("d") == 4 && rows_of("run_fast_1") == 4);
}

/* The tree serves windows, with statistics that are its own; an inch a frame at 10 a second is what the scale says. */
Test(train_import, the_tree_is_a_data_set)
{
    char name[32];
    for (int i = 0; i < 10; i++) {
        snprintf(name, sizeof name, "in/%d.bvh", i);
        recording(name, 40);
    }
    json_decref(IMPORTED(in(), out(), "--fps", "10"));
    ts_data_motion_options o;
    ts_arena arena = {0};
    ts_dataset *data;
    static float x[32 * 263];
    cr_assert_eq(ts_options_default(ts_dataset_motion.table, &o, &arena, &err), TS_OK, "%s", err.text);
    o.path = out();
    o.window = 32;
    o.normalize = false;
    cr_assert_eq(ts_dataset_open(&data, &ts_dataset_motion, &o, TS_SPLIT_TRAIN, 0, &err), TS_OK, "%s", err.text);
    cr_assert_eq(data->count, 8);
    cr_assert_eq(ts_dataset_read(data, 0, 0, x, &err), TS_OK, "%s", err.text);
    cr_assert_float_eq(x[2], 0.83 / 38, 1e-6, "forwards: %g", (double)x[2]);
    cr_assert_float_eq(x[1], 0, 1e-6);
    ts_dataset_close(data);
    o.normalize = true;
    cr_assert_eq(ts_dataset_open(&data, &ts_dataset_motion, &o, TS_SPLIT_VAL, 0, &err), TS_OK, "%s", err.text);
    cr_assert_eq(data->count, 1);
    ts_dataset_close(data);
    ts_arena_clear(&arena);
}

/* Clips of one recording stay together, whatever the seed; every part that is asked for has some. */
Test(train_import, parts)
{
    char name[32], path[64];
    for (int i = 0; i < 10; i++) {
        snprintf(name, sizeof name, "in/%d.bvh", i);
        recording(name, 23);
    }
    static char first[2000], again[2000];
    for (int seed = 0; seed < 3; seed++) {
        char digit[2] = {(char)('0' + seed), '\0'};
        snprintf(path, sizeof path, "out%d", seed);
        const char *to = kept_path(&folder, path);
        json_t *answer = IMPORTED(in(), to, "--fps", "10", "--cut", "11", "--split", "98,1,1", "--seed", digit);
        cr_assert(integer(answer, "train") == 16 && integer(answer, "val") == 2 && integer(answer, "test") == 2);
        json_decref(answer);
        sorted_lines(to, "val.txt", again, sizeof again);
        cr_assert(strlen(again) == 10 && again[0] == again[5] && again[3] == '0' && again[8] == '1', "%s", again);
        cr_assert(seed == 0 || strcmp(first, again) != 0 || seed == 2, "the seed draws");
        memcpy(first, again, sizeof first);
    }
}

Test(train_import, what_is_broken_is_refused_or_skipped)
{
    recording("in/a.bvh", 5);
    kept_write(&folder, "in/b.bvh", "HIERARCHY\nROOT x {\n OFFSET 0 0 oops\n", 36);
    recording("in/c.bvh", 1);
    recording("in/d.bvh", 5);
    REFUSED(3, "in/b.bvh:3: expected a number of the OFFSET, found 'oops'", "import", "bvh", in(), out());
    cr_assert_neq(access(kept_path(&folder, "out/train.txt"), F_OK), 0, "half a tree is no data set");
    REFUSED(3, "out: this folder is not empty", "import", "bvh", in(), out());
    const char *other = kept_path(&folder, "other");
    outcome o = RUN("import", "bvh", in(), other, "--on-error", "skip", "--json");
    cr_assert_eq(o.code, 0, "%s", o.err);
    cr_assert_not_null(strstr(o.err, "tessera: note: 2 recordings skipped; the first: "), "%s", o.err);
    cr_assert_not_null(strstr(o.out, "\"recordings\": 2"), "%s", o.out);
    outcome_free(&o);
    unlink(kept_path(&folder, "in/a.bvh"));
    unlink(kept_path(&folder, "in/d.bvh"));
    REFUSED(3, "none of its 2 recordings can be used; the first: ", "import", "bvh", in(), kept_path(&folder, "third"),
            "--on-error=skip");
    unlink(kept_path(&folder, "in/b.bvh"));
    REFUSED(3, "in/c.bvh: one frame at 30 a second", "import", "bvh", in(), kept_path(&folder, "fourth"));
}

Test(train_import, command_lines)
{
    recording("in/a/x.bvh", 5);
    recording("in/b/x.bvh", 5);
    REFUSED(2, "import: expected bvh or weights as what to import, found 'bvx'", "import", "bvx", in(), out());
    REFUSED(2, "OUTPUT", "import", "bvh", in());
    REFUSED(3, "nowhere: expected a folder of BVH recordings", "import", "bvh", kept_path(&folder, "nowhere"), out());
    REFUSED(3, "expected .bvh files in this folder, found none", "import", "bvh", TESSERA_SOURCE "/configs", out());
    REFUSED(2, "split: expected three numbers such as 80,10,10", "import", "bvh", in(), out(), "--split", "80,20");
    REFUSED(2, "split: expected three numbers such as 80,10,10", "import", "bvh", in(), out(), "--split", "0,1,1");
    REFUSED(3, "nowhere/train.txt", "import", "bvh", in(), out(), "--split", kept_path(&folder, "nowhere"));
    REFUSED(2, "rename: expected OLD=NEW", "import", "bvh", in(), out(), "--rename", "a");
    REFUSED(2, "rename: expected OLD=NEW", "import", "bvh", in(), out(), "--rename", "a=c,,b=d");
    REFUSED(2, "rename: expected OLD=NEW", "import", "bvh", in(), out(), "--rename", "a=../../c");
    REFUSED(3, "two recordings would both be called 'c_x'", "import", "bvh", in(), out(), "--rename", "a=c,b=c");
    REFUSED(2, "fps", "import", "bvh", in(), out(), "--fps", "0");
    REFUSED(2, "map.yaml", "import", "bvh", in(), out(), "--map", kept_path(&folder, "map.yaml"));
    cr_assert_neq(access(kept_path(&folder, "out/train.txt"), F_OK), 0);
}

Test(train_import, lists_that_do_not_fit)
{
    recording("in/a.bvh", 5);
    recording("in/b.bvh", 5);
    const char *lists = kept_path(&folder, "lists");
    kept_write(&folder, "lists/train.txt", "b\n", 2);
    kept_write(&folder, "lists/val.txt", "c\n", 2);
    kept_write(&folder, "lists/test.txt", "b\n", 2);
    REFUSED(3, "lists: 'b' is in train.txt, val.txt and test.txt twice", "import", "bvh", in(), out(), "--split",
            lists);
    kept_write(&folder, "lists/test.txt", "d\n", 2);
    json_t *answer = IMPORTED(in(), out(), "--split", lists);
    cr_assert(integer(answer, "clips") == 2 && integer(answer, "train") == 1 && integer(answer, "val") == 0);
    json_decref(answer);
    expect_lines("all.txt", "a\nb\n");
    expect_lines("train.txt", "b\n");
    kept_write(&folder, "lists/train.txt", "e\n", 2);
    REFUSED(3, "no clip is for training", "import", "bvh", in(), kept_path(&folder, "other"), "--split", lists);
}
