/* tessera render, as a user runs it. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/files/image.h"
#include "core/files/npy.h"
#include "tests/support/known_motion.h"
#include "tests/support/shared.h"
#include "tests/train/motion_folder.h"
#include "tests/train/run_program.h"
#include "train/gif.h"
#include "train/skeleton_picture.h"

static ts_error err;
static known_motion sample;
static float x[KNOWN_FRAMES * 272];

/* A walk in columns of `layout`; a value that is not finite at `broken` (-1: none). */
static const char *walk(const temp_folder *folder, const char *name, const char *layout, int frames, int broken)
{
    const ts_motion_layout *l = ts_motion_layout_find(layout);
    const char *path = kept_path(folder, name);
    known_motion_walk(&sample, l, frames, 0.2);
    known_motion_columns(&sample, l, TS_YAW_HALF, x);
    if (broken >= 0)
        x[broken] = NAN;
    ts_tensor t = {TS_F32, ts_shape_of(frames, l->columns), x};
    cr_assert_eq(ts_npy_write(path, &t, &err), TS_OK, "%s", err.text);
    return path;
}

static const char *zeros(const temp_folder *folder, const char *name, ts_shape shape)
{
    const char *path = kept_path(folder, name);
    memset(x, 0, sizeof x);
    ts_tensor t = {TS_F32, shape, x};
    cr_assert_eq(ts_npy_write(path, &t, &err), TS_OK, "%s", err.text);
    return path;
}

static bool no_library(void)
{
    if (ts_skeleton_library() && ts_gif_library())
        return false;
    skip_counted("built without cairo or giflib");
    return true;
}

/* Width, height and number of pictures of a GIF file, from its blocks. */
static void read_gif(const char *path, int *width, int *height, int *pictures)
{
    size_t bytes;
    unsigned char *b = (unsigned char *)file_content(path, &bytes);
    cr_assert(bytes > 13 && memcmp(b, "GIF89a", 6) == 0, "%s", path);
    *width = b[6] | b[7] << 8;
    *height = b[8] | b[9] << 8;
    *pictures = 0;
    size_t i = 13 + (b[10] & 0x80 ? 3u << ((b[10] & 7) + 1) : 0);
    while (i < bytes && b[i] != 0x3b) {
        *pictures += b[i] == 0x2c;
        i += b[i] == 0x2c ? 11 : 2;
        while (i < bytes && b[i])
            i += b[i] + 1u;
        i++;
    }
    cr_assert_eq(i, bytes - 1, "%s: the end is at the end", path);
    free(b);
}

Test(train_render, animations)
{
    if (no_library())
        return;
    temp_folder folder = temp_folder_make();
    const char *kit = walk(&folder, "kit.npy", "kit", 30, -1), *us = walk(&folder, "us.npy", "humanml3d", 20, -1);
    const char *longer = walk(&folder, "longer.npy", "humanml3d", 25, -1), *out = kept_path(&folder, "out.gif");
    const char *one = walk(&folder, "one.npy", "motionmillion", 1, -1);
    const struct {
        const char *words[9];
        int width, height, pictures;
    } cases[] = {
        {{"render", kit, "-o", out}, 480, 480, 30},
        {{"render", us, "-o", out, "--size", "100x120", "--layout", "humanml3d"}, 100, 120, 20},
        {{"render", us, "-o", out, "--beside", longer}, 640, 400, 20},
        {{"render", longer, "-o", out, "--beside", us, "--size=300x200"}, 300, 200, 20},
        {{"render", us, "-o", out, "--frames", "5:12"}, 480, 480, 7},
        {{"render", us, "-o", out, "--frames", "18:", "--fps", "30"}, 480, 480, 2},
        {{"render", us, "-o", out, "--frames=:3", "--size", "64x64"}, 64, 64, 3},
        {{"render", us, "-o", out, "--fps", "100"}, 480, 480, 10},
        {{"render", one, "-o", out}, 480, 480, 1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int width, height, pictures;
        free(output_of_program(cases[i].words));
        read_gif(out, &width, &height, &pictures);
        cr_assert(width == cases[i].width && height == cases[i].height && pictures == cases[i].pictures,
                  "%d: %d x %d, %d pictures", (int)i, width, height, pictures);
    }
    temp_folder_remove(&folder);
}

/* Ten seconds of a real dance at twenty frames a second are less than three megabytes, alone and as a pair. */
Test(train_render, animations_are_small_files)
{
    const char *clip = shared_path("data/motion/new_joint_vecs/cmu_005_06.npy");
    if (no_library())
        return;
    if (!clip) {
        skip_counted("no shared data");
        return;
    }
    temp_folder folder = temp_folder_make();
    const char *out = kept_path(&folder, "out.gif");
    for (int pair = 0; pair < 2; pair++) {
        size_t bytes;
        if (pair)
            free(OUTPUT("render", clip, "-o", out, "--beside", clip, "--frames", "0:200"));
        else
            free(OUTPUT("render", clip, "-o", out, "--frames", "0:200"));
        free(file_content(out, &bytes));
        cr_assert_lt(bytes, 3000000, "%d", pair);
    }
    temp_folder_remove(&folder);
}

Test(train_render, strips_and_the_answer)
{
    if (no_library())
        return;
    temp_folder folder = temp_folder_make();
    const char *us = walk(&folder, "us.npy", "humanml3d", 40, -1), *out = kept_path(&folder, "out.PNG");
    char *answer = OUTPUT("render", us, "-o", out, "--json", "--beside", us, "--size", "100x150");
    ts_image p;
    cr_assert_eq(ts_image_read(&p, out, 3, TS_ERR_DATA, &err), TS_OK, "%s", err.text);
    cr_assert(p.width == 800 && p.height > 300, "%d x %d", (int)p.width, (int)p.height);
    cr_assert_not_null(strstr(answer, "\"format\": \"PNG\", \"layout\": \"humanml3d\", \"pictures\": 8, \"fps\": null"),
                       "%s", answer);
    ts_image_clear(&p);
    free(answer);
    temp_folder_remove(&folder);
}

Test(train_render, refusals)
{
    temp_folder folder = temp_folder_make();
    const char *us = walk(&folder, "us.npy", "humanml3d", 20, -1), *out = kept_path(&folder, "out.gif");
    const char *kit = walk(&folder, "kit.npy", "kit", 20, -1);
    const char *broken = walk(&folder, "broken.npy", "humanml3d", 20, 5 * 263 + 9);
    const char *other = zeros(&folder, "other.npy", ts_shape_of(4, 100)),
               *flat = zeros(&folder, "flat.npy", ts_shape_of(9));
    const char *none = zeros(&folder, "none.npy", ts_shape_of(0, 263)),
               *text = kept_write(&folder, "text.npy", "hello", 5);
    const struct {
        int code;
        const char *says, *words[9];
    } cases[] = {
        {2, "other.npy: no known motion has 100 columns", {"render", other, "-o", out}},
        {3,
         "other.npy: frames of 100 columns, but those of the layout kit are 251",
         {"render", other, "-o", out, "--layout", "kit"}},
        {2, "expected a layout of humanml3d, kit, motionmillion, found", {"render", us, "-o", out, "--layout", "smpl"}},
        {2, "absent.yaml", {"render", us, "-o", out, "--layout", "absent.yaml"}},
        {2, "run.h5: a checkpoint needs a clip", {"render", kept_write(&folder, "run.h5", "x", 1), "-o", out}},
        {2, "data.path=x: is for a checkpoint", {"render", us, "-o", out, "data.path=x"}},
        {3, "broken.npy: frame 5, column 9: expected a number, found nan", {"render", broken, "-o", out}},
        {3, "flat.npy: expected floats [frames, columns], found f32 [9]", {"render", flat, "-o", out}},
        {3, "none.npy: expected floats [frames, columns], found f32 [0, 263]", {"render", none, "-o", out}},
        {3, "text.npy", {"render", text, "-o", out}},
        {3, "absent.npy", {"render", kept_path(&folder, "absent.npy"), "-o", out}},
        {3, "kit.npy: 251 columns, the first motion has 263", {"render", us, "-o", out, "--beside", kit}},
        {2, "expected a name that ends in .gif, .mp4 or .png", {"render", us, "-o", kept_path(&folder, "out.avi")}},
        {2, "expected a name that ends in .gif, .mp4 or .png", {"render", us, "-o", kept_path(&folder, "gif")}},
        {2, "--frames 20:30: no frame is left; the motion has 20", {"render", us, "-o", out, "--frames", "20:30"}},
        {2, "--frames 3: expected FIRST:END", {"render", us, "-o", out, "--frames", "3"}},
        {2, "--frames 1:2:3: expected FIRST:END", {"render", us, "-o", out, "--frames", "1:2:3"}},
        {2, "--frames -1:3: expected FIRST:END", {"render", us, "-o", out, "--frames=-1:3"}},
        {2, "--size 10x480: expected WIDTHxHEIGHT of 64 to 4096", {"render", us, "-o", out, "--size", "10x480"}},
        {2, "--size 480x480x1: expected", {"render", us, "-o", out, "--size", "480x480x1"}},
        {2, "--fps", {"render", us, "-o", out, "--fps", "0"}},
        {2, "--output must be given", {"render", us}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        expect_refusal(cases[i].words, (circumstances){0}, cases[i].code, cases[i].says);
    cr_assert_neq(access(out, F_OK), 0);
    temp_folder_remove(&folder);
}

Test(train_render, targets_that_cannot_be_written)
{
    if (no_library())
        return;
    temp_folder folder = temp_folder_make();
    const char *us = walk(&folder, "us.npy", "humanml3d", 20, -1), *out = kept_path(&folder, "out.gif");
    REFUSED(3, "/no/such/folder/x.gif", "render", us, "-o", "/no/such/folder/x.gif");
    REFUSED(3, "/no/such/folder/x.png", "render", us, "-o", "/no/such/folder/x.png");
    REFUSED(3, "/no/such/folder/x.mp4", "render", us, "-o", "/no/such/folder/x.mp4");
    REFUSED_IN((circumstances){.file_limit = 5000}, 3, "out.gif", "render", us, "-o", out);
    cr_assert_neq(access(out, F_OK), 0, "nothing half");
    setenv("PATH", folder.path, 1);
    REFUSED(1, "install the package ffmpeg", "render", us, "-o", kept_path(&folder, "out.mp4"));
    temp_folder_remove(&folder);
}

/* ---- a clip and its reconstruction ---- */

static char *sub(const temp_folder *folder, const char *name)
{
    return (char *)kept_path(folder, name);
}

/* A run on clips of 263 columns; its last checkpoint. */
static const char *trained(const temp_folder *folder, const char *const *more)
{
    const char *words[20] = {"train", motion_config(folder), "--quiet", "--run", sub(folder, "run")};
    for (int i = 0; more[i]; i++)
        words[5 + i] = more[i];
    outcome o = run_program(words, (circumstances){0});
    cr_assert_eq(o.code, 0, "%s", o.err);
    outcome_free(&o);
    return sub(folder, "run/checkpoints/last.h5");
}

static bool exists(const temp_folder *folder, const char *name)
{
    return access(temp_path(folder, name), F_OK) == 0;
}

Test(train_render, clips_beside_their_reconstruction)
{
    if (no_library())
        return;
    temp_folder folder = temp_folder_make();
    write_motion_tree(&folder, 3, 22, 263);
    const char *checkpoint = trained(&folder, (const char *const[]){"train.ema=0.9", NULL}),
               *out = sub(&folder, "o.gif");
    const char *file = walk(&folder, "walk.npy", "humanml3d", 31, -1), *kit = walk(&folder, "kit.npy", "kit", 30, -1);
    const char *tiny = walk(&folder, "tiny.npy", "humanml3d", 3, -1);
    const struct {
        const char *words[9];
        int pictures;
    } cases[] = {
        {{"render", checkpoint, "1", "-o", out, "--json"}, 20},
        {{"render", checkpoint, file, "-o", out, "--json", "--no-ema"}, 28},
        {{"render", checkpoint, file, "-o", out, "--json", "--frames", "20:"}, 8},
    };
    for (int i = 0; i < 3; i++) {
        int width, height, pictures;
        char *answer = output_of_program(cases[i].words);
        cr_assert_not_null(strstr(answer, "\"mpjpe_mm\": "), "%s", answer);
        read_gif(out, &width, &height, &pictures);
        cr_assert(width == 640 && height == 400 && pictures == cases[i].pictures, "%d: %d", i, pictures);
        free(answer);
    }
    REFUSED(3, "no clip of that name among their 6, the first of which is 0", "render", checkpoint, "3", "-o", out);
    REFUSED(3, "3 frames, too short: a token has 4", "render", checkpoint, tiny, "-o", out);
    REFUSED(3, "expected 263 columns", "render", checkpoint, kit, "-o", out);
    REFUSED(2, "--layout and --beside are for a motion alone", "render", checkpoint, "1", "-o", out, "--beside", file);
    temp_folder_remove(&folder);
}

/* Clips that are in no file. */
Test(train_render, clips_of_generated_motion)
{
    if (no_library())
        return;
    temp_folder folder = temp_folder_make();
    const char *checkpoint =
        trained(&folder, (const char *const[]){"data.kind=chains", "data.count=4", "data.val_count=2",
                                               "data.frames=[22,22]", "train.eval_every=4", NULL});
    const char *out = sub(&folder, "o.gif");
    int width, height, pictures;
    read_gif(sub(&folder, "run/pictures/step_000004.gif"), &width, &height, &pictures);
    cr_assert_eq(pictures, 20);
    free(OUTPUT("render", checkpoint, "val_000001", "-o", out, "--size", "200x100"));
    read_gif(out, &width, &height, &pictures);
    cr_assert(width == 200 && height == 100 && pictures == 20);
    REFUSED(3, "no clip of that name among their 6", "render", checkpoint, "val_000002", "-o", out);
    temp_folder_remove(&folder);
}

Test(train_render, a_model_of_images_has_no_clips)
{
    temp_folder folder = temp_folder_make();
    REFUSED(2, "is no model of motion", "render", tiny_run(&folder), "0", "-o", "x.gif");
    temp_folder_remove(&folder);
}

/* ---- what a training shows ---- */

/* Some clips are broken: the first one that can be drawn is. */
Test(train_render, training_draws_at_every_evaluation)
{
    if (no_library())
        return;
    temp_folder folder = temp_folder_make();
    write_motion_tree(&folder, 3, 22, 263);
    temp_write(&folder, "new_joint_vecs/0.npy", "broken", 6);
    trained(&folder, (const char *const[]){"train.eval_every=2", "train.picture_frames=13", NULL});
    int width, height, pictures;
    for (int step = 2; step <= 4; step += 2) {
        char name[64];
        ts_image strip;
        snprintf(name, sizeof name, "run/pictures/step_%06d.gif", step);
        read_gif(sub(&folder, name), &width, &height, &pictures);
        cr_assert_eq(pictures, 12, "three tokens in 13 frames");
        snprintf(name, sizeof name, "run/pictures/step_%06d.png", step);
        cr_assert_eq(ts_image_read(&strip, sub(&folder, name), 3, TS_ERR_DATA, &err), TS_OK, "%s", err.text);
        cr_assert_gt(strip.width, 800);
        ts_image_clear(&strip);
    }
    temp_folder_remove(&folder);
}

Test(train_render, training_without_pictures)
{
    temp_folder folder = temp_folder_make();
    write_motion_tree(&folder, 2, 22, 263);
    trained(&folder, (const char *const[]){"train.eval_every=2", "train.picture_frames=0", NULL});
    cr_assert(!exists(&folder, "run/pictures/step_000002.gif") && !exists(&folder, "run/pictures/step_000002.png"));
    cr_assert(exists(&folder, "run/pictures/usage_00000002.png"));
    temp_folder_remove(&folder);
}

/* Columns that nobody knows: nothing is drawn, and nothing is said. */
Test(train_render, training_on_unknown_columns)
{
    temp_folder folder = temp_folder_make();
    size_t bytes;
    write_motion_tree(&folder, 2, 22, 30);
    trained(&folder, (const char *const[]){"train.eval_every=2", NULL});
    char *log = file_content(sub(&folder, "run/log.txt"), &bytes);
    cr_assert(!exists(&folder, "run/pictures/step_000002.png") && !strstr(log, "no picture"), "%s", log);
    free(log);
    temp_folder_remove(&folder);
}

Test(train_render, training_goes_on_where_a_picture_fails)
{
    temp_folder folder = temp_folder_make();
    size_t bytes;
    write_motion_tree(&folder, 2, 22, 263);
    const char *checkpoint = trained(&folder, (const char *const[]){"train.steps=1", NULL});
    for (int step = 2; step <= 5; step++) {
        char name[64];
        snprintf(name, sizeof name, "run/pictures/step_%06d.png/in_the_way", step);
        temp_write(&folder, name, "", 0);
    }
    outcome o = RUN("train", motion_config(&folder), "--resume", "--run", sub(&folder, "run"), "train.steps=5",
                    "train.eval_every=1");
    cr_assert_eq(o.code, 0, "%s", o.err);
    char *log = file_content(sub(&folder, "run/log.txt"), &bytes), *note = strstr(log, "no picture of motion: ");
    cr_assert(note && strstr(log, "step 5, val"), "%s", log);
    cr_assert(exists(&folder, "run/checkpoints/last.h5") && checkpoint);
    free(log);
    outcome_free(&o);
    temp_folder_remove(&folder);
}
