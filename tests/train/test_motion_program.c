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
