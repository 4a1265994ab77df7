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
        {{"render", us, "-o", out, "--beside", longer}, 800, 480, 20},
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
