/* GIF files, read back by the library: every frame as it was painted, its delay, its size. */
#include "train/gif.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "core/memory.h"
#include "tests/support/shared.h"
#include "tests/train/run_program.h"

static ts_error err;

Test(train_gif, delays_do_not_drift)
{
    static const double rates[] = {30, 20, 12.5, 24, 50, 29.97, 60, 7};
    int count = 0;
    for (; count < 8; count++) {
        double fps = rates[count];
        int64_t sum = 0;
        for (int64_t i = 0; i < 3000; i++) {
            int delay = ts_gif_delay(i, fps);
            cr_assert(fabs(delay - 100 / fps) < 1, "%g", fps);
            sum += delay;
            cr_assert(fabs((double)sum - 100 * (double)(i + 1) / fps) <= 0.5 + 1e-9, "%g at %d", fps, (int)i);
        }
    }
    cr_assert(ts_gif_delay(0, 30) == 3 && ts_gif_delay(1, 30) == 4 && ts_gif_delay(2, 30) == 3);
}

Test(train_gif, fast_motions_leave_frames_out)
{
    static const struct {
        double fps;
        int every;
    } cases[] = {{20, 1}, {50, 1}, {50.5, 2}, {60, 2}, {100, 2}, {120, 3}, {1000, 20}};
    for (int i = 0; i < 7; i++) {
        cr_assert_eq(ts_gif_every(cases[i].fps), cases[i].every, "%g", cases[i].fps);
        for (int64_t k = 0; k < 100; k++)
            cr_assert_geq(ts_gif_delay(k, cases[i].fps / cases[i].every), 2, "%g", cases[i].fps);
    }
}

#ifdef TS_WITH_GIF

#include <gif_lib.h>

enum { WIDTH = 60, HEIGHT = 40, FRAMES = 9 };

static const ts_colour colours[3] = {{78, 84, 98}, {38, 104, 178}, {226, 104, 28}};

/* A bar that moves over a ground that fades, and nothing new in frame 5. */
static void paint(ts_image *p, int t)
{
    t -= t == 5;
    for (int y = 0; y < HEIGHT; y++)
        for (int x = 0; x < WIDTH; x++) {
            double white = x >= 5 * t && x < 5 * t + 8 ? (double)(y % 4) / 4 : 0.9 + 0.1 * y / HEIGHT;
            const ts_colour *c = &colours[x >= 5 * t && x < 5 * t + 8 ? 1 + t % 2 : 0];
            uint8_t *to = p->pixels + (y * WIDTH + x) * 3;
            to[0] = (uint8_t)lround(255 * white + (1 - white) * c->r);
            to[1] = (uint8_t)lround(255 * white + (1 - white) * c->g);
            to[2] = (uint8_t)lround(255 * white + (1 - white) * c->b);
        }
}

static void write_frames(const char *path, int frames, double fps)
{
    ts_gif *gif;
    ts_image p;
    cr_assert_eq(ts_picture_new(&p, HEIGHT, WIDTH, 3, &err), TS_OK);
    cr_assert_eq(ts_gif_open(&gif, path, WIDTH, HEIGHT, fps, colours, 3, &err), TS_OK, "%s", err.text);
    for (int t = 0; t < frames; t++) {
        paint(&p, t);
        cr_assert_eq(ts_gif_add(gif, &p, &err), TS_OK, "%s", err.text);
    }
    cr_assert_neq(access(path, F_OK), 0, "nothing is there before the end");
    cr_assert_eq(ts_gif_close(gif, true, &err), TS_OK, "%s", err.text);
    ts_image_clear(&p);
}

/* Draws frame t of the file over what was there. */
static void show(const GifFileType *gif, int t, uint8_t *screen)
{
    const SavedImage *image = &gif->SavedImages[t];
    GraphicsControlBlock control;
    cr_assert_eq(DGifSavedExtensionToGCB((GifFileType *)gif, t, &control), GIF_OK);
    cr_assert_eq(control.DelayTime, ts_gif_delay(t, 30));
    cr_assert_eq(control.DisposalMode, DISPOSE_DO_NOT);
    const GifImageDesc d = image->ImageDesc;
    cr_assert(d.Left + d.Width <= WIDTH && d.Top + d.Height <= HEIGHT);
    for (int i = 0; i < d.Width * d.Height; i++) {
        int entry = image->RasterBits[i];
        if (entry == control.TransparentColor)
            continue;
        const GifColorType c = gif->SColorMap->Colors[entry];
        uint8_t *to = screen + ((d.Top + i / d.Width) * WIDTH + d.Left + i % d.Width) * 3;
        to[0] = c.Red;
        to[1] = c.Green;
        to[2] = c.Blue;
    }
}

Test(train_gif, frames_come_back)
{
    temp_folder folder = temp_folder_make();
    const char *path = kept_path(&folder, "bar.gif");
    int why;
    ts_image p;
    static uint8_t screen[HEIGHT * WIDTH * 3];
    write_frames(path, FRAMES, 30);
    GifFileType *gif = DGifOpenFileName(path, &why);
    cr_assert_not_null(gif);
    cr_assert_eq(DGifSlurp(gif), GIF_OK);
    cr_assert(gif->ImageCount == FRAMES && gif->SWidth == WIDTH && gif->SHeight == HEIGHT);
    cr_assert_eq(ts_picture_new(&p, HEIGHT, WIDTH, 3, &err), TS_OK);
    for (int t = 0; t < FRAMES; t++) {
        show(gif, t, screen);
        paint(&p, t);
        for (int i = 0; i < HEIGHT * WIDTH * 3; i++)
            cr_assert(abs(screen[i] - p.pixels[i]) <= 3, "frame %d, byte %d: %d, painted %d", t, i, screen[i],
                      p.pixels[i]);
    }
    const GifImageDesc still = gif->SavedImages[5].ImageDesc;
    cr_assert(still.Width == 1 && still.Height == 1, "nothing changed in frame 5");
    cr_assert_eq(gif->SavedImages[0].ExtensionBlocks[0].Function, APPLICATION_EXT_FUNC_CODE, "shown over and over");
    DGifCloseFile(gif, &why);
    ts_image_clear(&p);
    temp_folder_remove(&folder);
}

Test(train_gif, nothing_is_left_of_what_is_not_kept)
{
    temp_folder folder = temp_folder_make();
    const char *path = kept_path(&folder, "bar.gif");
    ts_gif *gif;
    ts_image p;
    size_t bytes;
    write_frames(path, 1, 30);
    char *before = file_content(path, &bytes);
    cr_assert_eq(ts_picture_new(&p, HEIGHT, WIDTH, 3, &err), TS_OK);
    cr_assert_eq(ts_gif_open(&gif, path, WIDTH, HEIGHT, 10, colours, 3, &err), TS_OK);
    cr_assert_eq(ts_gif_add(gif, &p, &err), TS_OK);
    cr_assert_eq(ts_gif_close(gif, false, &err), TS_OK);
    size_t bytes_after;
    char *after = file_content(path, &bytes_after);
    cr_assert(bytes_after == bytes && memcmp(before, after, bytes) == 0);
    cr_assert_eq(rmdir(folder.path), -1);
    unlink(path);
    cr_assert_eq(rmdir(folder.path), 0, "no temporary file");
    free(before);
    free(after);
    ts_image_clear(&p);
}

Test(train_gif, errors_name_the_file)
{
    ts_gif *gif;
    cr_assert_eq(ts_gif_open(&gif, "/no/such/folder/x.gif", 10, 10, 10, colours, 3, &err), TS_ERR_DATA);
    cr_assert(strstr(err.text, "/no/such/folder/x.gif") && !gif, "%s", err.text);
    for (uint64_t n = 1; n <= 4; n++) {
        ts_alloc_fail_at(n);
        cr_assert_eq(ts_gif_open(&gif, "/tmp/never.gif", 10, 10, 10, colours, 3, &err), TS_ERR_RUNTIME);
        ts_alloc_fail_at(0);
        cr_assert_null(gif);
    }
    cr_assert_neq(access("/tmp/never.gif", F_OK), 0);
}

#else

Test(train_gif, without_the_library)
{
    ts_gif *gif;
    cr_assert_eq(ts_gif_open(&gif, "x.gif", 10, 10, 10, NULL, 0, &err), TS_ERR_RUNTIME);
    cr_assert_not_null(strstr(err.text, "install libgif-dev"), "%s", err.text);
    cr_assert_null(ts_gif_library());
}

#endif
