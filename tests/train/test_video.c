/* MP4 files by ffmpeg, probed by its sister; and programs in its place that are missing, fail, or end early. */
#define _GNU_SOURCE
#include "train/video.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/support/shared.h"
#include "tests/train/run_program.h"

enum { WIDTH = 64, HEIGHT = 48, FRAMES = 25 };

static ts_error err;
static uint8_t pixels[HEIGHT * WIDTH * 3];

/* `script` in place of ffmpeg; NULL: none at all. */
static void use_program(const temp_folder *folder, const char *script)
{
    const char *path = kept_path(folder, "ffmpeg");
    unlink(path);
    if (script) {
        temp_write(folder, "ffmpeg", script, strlen(script));
        cr_assert_eq(chmod(path, 0755), 0);
    }
    setenv("PATH", folder->path, 1);
}

static ts_status write_film(const char *path, double fps)
{
    ts_video *video;
    ts_image p = {HEIGHT, WIDTH, 3, pixels};
    ts_status status = ts_video_open(&video, path, WIDTH, HEIGHT, fps, &err);
    if (status != TS_OK) {
        cr_assert_null(video);
        return status;
    }
    for (int t = 0; status == TS_OK && t < FRAMES; t++) {
        memset(pixels, 10 * t, sizeof pixels);
        status = ts_video_add(video, &p, &err);
    }
    ts_status closed = ts_video_close(video, status == TS_OK, &err);
    return status == TS_OK ? closed : status;
}

/* What ffprobe says: "64,48,25,25/1". */
static void probe(const char *path, char *answer, int bytes)
{
    char command[1000];
    snprintf(
        command, sizeof command,
        "ffprobe -v error -select_streams v -show_entries stream=width,height,nb_frames,r_frame_rate -of csv=p=0 '%s'",
        path);
    FILE *out = popen(command, "r");
    cr_assert(out && fgets(answer, bytes, out));
    pclose(out);
    answer[strcspn(answer, "\n")] = '\0';
}

Test(train_video, films_as_ffprobe_sees_them)
{
    static const struct {
        double fps;
        const char *probed;
    } cases[] = {{25, "64,48,25/1,25"}, {12.5, "64,48,25/2,25"}, {30, "64,48,30/1,25"}};
    char answer[200];
    if (!ts_video_program() || system("ffprobe -version >/dev/null 2>&1") != 0) {
        skip_counted("no ffmpeg");
        return;
    }
    temp_folder folder = temp_folder_make();
    const char *path = kept_path(&folder, "a film; $(touch x) 'of' %d.mp4"), *plain = kept_path(&folder, "film.mp4");
    for (int i = 0; i < 3; i++) {
        cr_assert_eq(write_film(path, cases[i].fps), TS_OK, "%s", err.text);
        cr_assert_eq(rename(path, plain), 0);
        probe(plain, answer, sizeof answer);
        cr_assert_str_eq(answer, cases[i].probed);
    }
    temp_folder_remove(&folder);
}

Test(train_video, missing_failing_and_ending_early)
{
    static const struct {
        const char *script, *says;
    } cases[] = {
        {NULL, "ffmpeg, which is not installed; install the package ffmpeg"},
        {"#!/bin/sh\necho 'no such codec' >&2\necho more >&2\nexit 3\n", "ffmpeg failed with 3: no such codec"},
        {"#!/bin/sh\nexit 0\n", "ffmpeg ended before the last frame"},
        {"#!/bin/sh\nkill -9 $$\n", "ffmpeg failed with 137: it did not say why"},
        {"#!/bin/sh\nexec 0<&-\necho closed >&2\nexit 1\n", "ffmpeg failed with 1: closed"},
        {"#!/no/such/interpreter\n", "ffmpeg"},
    };
    temp_folder folder = temp_folder_make();
    const char *path = kept_path(&folder, "film.mp4");
    signal(SIGPIPE, SIG_DFL);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        use_program(&folder, cases[i].script);
        for (int again = 0; again < 3; again++) {
            err = (ts_error){0};
            cr_assert_eq(write_film(path, 25), TS_ERR_RUNTIME, "%d", (int)i);
            cr_assert(strstr(err.text, cases[i].says) && strstr(err.text, path) && !strchr(err.text, '\n'), "%d: %s",
                      (int)i, err.text);
            cr_assert_neq(access(path, F_OK), 0);
        }
    }
    unlink(kept_path(&folder, "ffmpeg"));
    cr_assert_eq(rmdir(folder.path), 0, "no temporary file is left");
}

Test(train_video, all_frames_go_through)
{
    temp_folder folder = temp_folder_make();
    const char *path = kept_path(&folder, "film.mp4");
    use_program(&folder, "#!/bin/sh\nfor out; do :; done\nexec /bin/cat > \"${out#file:}\"\n");
    cr_assert_eq(write_film(path, 25), TS_OK, "%s", err.text);
    size_t bytes;
    char *all = file_content(path, &bytes);
    cr_assert_eq(bytes, sizeof pixels * FRAMES);
    for (size_t i = 0; i < bytes; i++)
        cr_assert_eq((uint8_t)all[i], 10 * (i / sizeof pixels), "%zu", i);
    free(all);
    temp_folder_remove(&folder);
}

Test(train_video, a_target_that_cannot_be_written)
{
    cr_assert_eq(write_film("/no/such/folder/film.mp4", 25), TS_ERR_DATA);
    cr_assert_not_null(strstr(err.text, "/no/such/folder/film.mp4"), "%s", err.text);
}
