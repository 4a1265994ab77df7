/* Motion through the real program: layouts, what a checkpoint knows of them, and trees that are no good. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/train/motion_folder.h"
#include "tests/train/run_program.h"

enum { COLUMNS = 251, FRAMES = 24, CLIPS = 4 };

static temp_folder folder;
static const char *config;

static void setup(void)
{
    folder = temp_folder_make();
    write_motion_tree(&folder, CLIPS, FRAMES, COLUMNS);
    config = motion_config(&folder);
}

static void teardown(void)
{
    temp_folder_remove(&folder);
}

TestSuite(train_motion_program, .init = setup, .fini = teardown);

static const char *train(void)
{
    free(OUTPUT("train", config, "--run", kept_path(&folder, "run"), "--quiet"));
    return kept_path(&folder, "run/checkpoints/last.h5");
}

/* Training with these words is refused, and leaves no checkpoint. */
#define TRAIN_REFUSED(code, text, ...)                                                                                 \
    do {                                                                                                               \
        REFUSED(code, text, "train", config, "--run", kept_path(&folder, "new"), "--quiet", __VA_ARGS__);              \
        cr_expect_neq(access(kept_path(&folder, "new/checkpoints/last.h5"), F_OK), 0);                                 \
    } while (0)

/* ---- layouts ---- */

Test(train_motion_program, a_layout_must_fit_the_data)
{
    TRAIN_REFUSED(3, "found 251 (data.layout humanml3d: 263 columns)", "data.layout=humanml3d");
    TRAIN_REFUSED(
        2,
        "data.layout: expected a layout of humanml3d, kit, motionmillion, found 'humanml' (did you mean 'humanml3d'?)",
        "data.layout=humanml");
    TRAIN_REFUSED(2, "data.layout: ./no.yaml: cannot open", "data.layout=./no.yaml");
    TRAIN_REFUSED(2, "data.layout, data.columns: frames of 263 columns, but those of the layout kit are 251",
                  "data.layout=kit", "data.columns=263");
    static const char own[] = "preset: kit\ncolumns:\n  contacts: 246:250\n";
    char option[700];
    snprintf(option, sizeof option, "data.layout=%s", kept_write(&folder, "own.yaml", own, strlen(own)));
    TRAIN_REFUSED(2, "own.yaml:3: columns.contacts: 246:250 shares columns with columns.velocities, 184:247", option);
    write_motion_tree(&folder, CLIPS, FRAMES, 100);
    TRAIN_REFUSED(2, "30 frames a second: no layout of 100 columns is known", "data.fps=30");
    TRAIN_REFUSED(2, "expected frames whose columns are known", "train.root_loss=1");
}

Test(train_motion_program, sequences_without_a_layout_train_too)
{
    write_motion_tree(&folder, CLIPS, FRAMES, 100);
    char *text = OUTPUT("eval", train(), "--json");
    cr_expect(strstr(text, "\"mse\"") && !strstr(text, "mpjpe_mm"), "%s", text);
    free(text);
}

Test(train_motion_program, config_prints_a_layout_that_trains)
{
    char option[700];
    char *text = OUTPUT("config", "--layout", "kit");
    snprintf(option, sizeof option, "data.layout=%s", kept_write(&folder, "copy.yaml", text, strlen(text)));
    free(text);
    free(OUTPUT("train", config, "--run", kept_path(&folder, "run"), "--quiet", option, "train.root_loss=1"));
    REFUSED(2, "expected a layout of", "config", "--layout", "kid");
    REFUSED(2, "exclude each other", "config", "--layout", "kit", "--list");
    REFUSED(2, "take no CONFIG", "config", "--layout", "kit", config);
}

Test(train_motion_program, plan_reads_no_data_where_a_layout_tells_the_columns)
{
    temp_folder nothing = temp_folder_make();
    const char *empty = motion_config(&nothing);
    REFUSED(3, "the shape of an item is in the data", "plan", empty);
    char *text = OUTPUT("plan", empty, "data.layout=motionmillion", "train.velocity_loss=1", "--json");
    cr_expect(strstr(text, "\"the config\"") && strstr(text, "272"), "%s", text);
    free(text);
    text = OUTPUT("plan", empty, "--item", "16x100", "--json");
    cr_expect(strstr(text, "\"--item\"") && strstr(text, "100"), "%s", text);
    free(text);
    static const char *const wrong[] = {"16", "16x", "x16", "16x0", "16x100x1x1", "16x100,"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        REFUSED(2, "option --item: expected HxWxC, such as 28x28x1, or TxC, such as 64x263", "plan", empty, "--item",
                wrong[i]);
    temp_folder_remove(&nothing);
}

/* ---- what a checkpoint knows ---- */

Test(train_motion_program, a_checkpoint_decides_how_values_are_normalised)
{
    write_motion_statistics(&folder, COLUMNS, 1, 2);
    const char *last = train();
    outcome before = RUN("eval", last, "--json");
    cr_assert_eq(before.code, 0, "%s", before.err);
    cr_expect_str_eq(before.err, "");
    write_motion_statistics(&folder, COLUMNS, 7, 3);
    outcome after = RUN("eval", last, "--json");
    cr_expect_eq(after.code, 0, "%s", after.err);
    cr_expect_str_eq(after.out, before.out);
    cr_expect(strstr(after.err, "tessera: note: ") &&
                  strstr(after.err, "Mean.npy: is not what the model was trained with (column 0 has mean 7 and std 3, "
                                    "not mean 1 and std 2); the model's own mean and deviation are used\n"),
              "%s", after.err);
    REFUSED(3, "last.h5: the run was trained with another mean and deviation than the data has now: column 0", "train",
            "--run", kept_path(&folder, "run"), "--resume", "--quiet", "train.steps=6");
    write_motion_statistics(&folder, COLUMNS, 1, 2);
    free(OUTPUT("train", "--run", kept_path(&folder, "run"), "--resume", "--quiet", "train.steps=6"));
    outcome_free(&before);
    outcome_free(&after);
}

Test(train_motion_program, inspect_shows_the_layout_and_the_hashes)
{
    char *text = OUTPUT("inspect", train(), "--json");
    static const char *const parts[] = {"\"motion/mean\"",       "\"motion/std\"",    "\"layout\": \"kit\"",
                                        "\"normalised\": true",  "\"joints\": 21",    "\"fps\": 12.5",
                                        "\"motion_layout\": \"", "positions: 4:64\\n"};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        cr_expect(strstr(text, parts[i]), "%s is not in %s", parts[i], text);
    free(text);
}

/* ---- trees that are no good ---- */

/* folder/NAME: an .npy of format 1.0 with this header and `bytes` bytes of zeros behind it. */
static void write_raw(const char *name, const char *header, size_t bytes)
{
    static char file[8192];
    size_t head = strlen(header) + 1, n = 10 + head;
    cr_assert_leq(n + bytes, sizeof file);
    memset(file, 0, sizeof file);
    memcpy(file, "\x93NUMPY\1\0", 8);
    file[8] = (char)(head & 255);
    file[9] = (char)(head >> 8);
    snprintf(file + 10, sizeof file - 10, "%s\n", header);
    temp_write(&folder, name, file, n + bytes);
}

static void write_text(const char *name, const char *text)
{
    temp_write(&folder, name, text, strlen(text));
}

static void remove_file(const char *name)
{
    cr_assert_eq(remove(temp_path(&folder, name)), 0, "%s", name);
}

static const float zeros[COLUMNS], nans[COLUMNS] = {NAN};

#define HEADER(descr, shape) "{'descr': '" descr "', 'fortran_order': False, 'shape': " shape ", }"

typedef struct {
    const char *name, *text; /* of the file that is written; what it holds, NULL: it is removed */
    const char *header;      /* not a text, but an .npy with this header and 4000 bytes */
    const float *row;        /* or an .npy of these COLUMNS floats */
    const char *expected;
} fault;

static void damage(const fault *f)
{
    if (f->row)
        write_npy(&folder, f->name, TS_F32, ts_shape_of(COLUMNS), f->row);
    else if (f->header)
        write_raw(f->name, f->header, 4000);
    else if (f->text)
        write_text(f->name, f->text);
    else
        remove_file(f->name);
}

/* One clip is broken, and the run is told to stop at such a one; or what all clips need is. */
Test(train_motion_program, trees_that_are_no_good)
{
    static const char clip[] = "new_joint_vecs/0.npy";
    static const fault faults[] = {
        {"Mean.npy", .expected = "Mean.npy: missing, while"},
        {"Std.npy", .expected = "Std.npy: missing, while"},
        {"Std.npy", .row = zeros, .expected = "Std.npy: column 0: expected a deviation above 0, found 0; give it 1"},
        {"Std.npy", .row = nans, .expected = "Std.npy: column 0: expected a deviation above 0, found nan"},
        {"Mean.npy", .row = nans, .expected = "Mean.npy: column 0: expected a number, found nan"},
        {"Mean.npy", .header = HEADER("<f4", "(1000,)"), .expected = "Mean.npy: expected"},
        {"Std.npy", "no npy at all", .expected = "Std.npy: "},
        {"train.txt", .expected = "train.txt: No such file"},
        {"val.txt", .expected = "val.txt: No such file"},
        {"train.txt", "", .expected = "train.txt: expected ids of clips, one a line, found none"},
        {"val.txt", "\n \r\n", .expected = "val.txt: expected ids of clips, one a line, found none"},
        {"train.txt", "0\nnowhere\n", .expected = "nowhere.npy: No such file"},
        {"train.txt", "../../etc/passwd\n", .expected = "train.txt:1: expected the id of a clip"},
        {clip, .header = HEADER(">f4", "(3, 251)"), .expected = "0.npy: big-endian"},
        {clip, .header = HEADER("|O", "(3, 251)"), .expected = "0.npy: an array of Python objects"},
        {clip, .header = HEADER("<i8", "(2, 250)"), .expected = "0.npy: expected floats [frames, columns], found i64"},
        {clip, .header = HEADER("<f4", "(1000,)"), .expected = "0.npy: expected floats [frames, columns], found f32"},
        {clip, .header = HEADER("<f4", "(3, 250)"), .expected = "0.npy: "},
        {clip, .header = HEADER("<f4", "(0, 251)"), .expected = "0.npy: "},
        {clip, .header = HEADER("<f4", "(30, 251)"), .expected = "0.npy: "},
        {clip, .header = HEADER("<f4", "(-1, 251)"), .expected = "0.npy: "},
        {clip, .header = HEADER("<f4", "(4611686018427387904, 251)"), .expected = "0.npy: "},
        {clip, .header = HEADER("<f4", "(3, 251), 'descr': '<f8'"), .expected = "0.npy: "},
        {clip, .header = "{'descr': __import__('os').system('true')}", .expected = "0.npy: "},
        {clip, .header = "", .expected = "0.npy: "},
        {clip, "\x93NUMPY\2\1\377\377\377\377", .expected = "0.npy: "},
        {clip, "", .expected = "0.npy: "},
    };
    int count = 0;
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++, count++) {
        write_motion_tree(&folder, CLIPS, FRAMES, COLUMNS);
        write_motion_statistics(&folder, COLUMNS, 1, 2);
        damage(&faults[i]);
        TRAIN_REFUSED(3, faults[i].expected, "data.on_error=stop", "data.columns=251");
    }
    cr_assert_geq(count, 25);
}

Test(train_motion_program, clips_of_which_none_can_be_used)
{
    write_text("train.txt", "nowhere\nneither\n");
    TRAIN_REFUSED(3, "train.txt: none of its 2 clips can be used; the first:", "data.on_error=skip");
    write_npy(&folder, "new_joint_vecs/one.npy", TS_F32, ts_shape_of(1, COLUMNS), zeros);
    write_text("train.txt", "one\none\n");
    TRAIN_REFUSED(3, "train.txt: none of its 2 clips can be used; the first: clip one: 1 frames, shorter than",
                  "seed=1");
    TRAIN_REFUSED(3, "clip one: 1 frames, shorter than data.window=16; data.short=pad fills it up", "data.short=stop");
    free(OUTPUT("train", config, "--run", kept_path(&folder, "held"), "--quiet", "data.short=hold"));
    write_motion_tree(&folder, 1, FRAMES, COLUMNS);
    float x[16 * COLUMNS] = {[15 * COLUMNS] = NAN};
    write_npy(&folder, "new_joint_vecs/0.npy", TS_F32, ts_shape_of(16, COLUMNS), x);
    write_motion_statistics(&folder, COLUMNS, 1, 2);
    TRAIN_REFUSED(3, "0.npy: frame 15, column 0: expected a number, found nan", "data.on_error=skip", "data.windows=2");
}

/* The same that training refuses is refused by an evaluation; what it can do without it does not miss. */
Test(train_motion_program, an_evaluation_of_trees_that_are_no_good)
{
    const char *last = train();
    write_text("val.txt", "");
    REFUSED(3, "val.txt: expected ids of clips, one a line, found none", "eval", last);
    write_text("val.txt", "nowhere\n");
    REFUSED(3, "nowhere.npy", "eval", last);
    remove_file("val.txt");
    REFUSED(3, "val.txt: No such file", "eval", last);
    REFUSED(3, "expected a folder with motion", "eval", last, "data.path=/nowhere");
    write_motion_tree(&folder, CLIPS, FRAMES, COLUMNS);
    write_motion_statistics(&folder, COLUMNS, 1, 0);
    remove_file("Mean.npy");
    free(OUTPUT("eval", last));
}

Test(train_motion_program, what_is_left_out_of_training_is_told)
{
    write_text("train.txt", "0\nnowhere\n1\nneither\n2\n");
    size_t bytes;
    outcome o = RUN("train", config, "--run", kept_path(&folder, "run"));
    char *log = file_content(kept_path(&folder, "run/log.txt"), &bytes);
    cr_expect_eq(o.code, 0, "%s", o.err);
    cr_expect(strstr(log, "left out of training: 2 so far; the first: "), "%s", log);
    cr_expect(strstr(log, "nowhere.npy: No such file"), "%s", log);
    free(log);
    outcome_free(&o);
}
