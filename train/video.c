/* ffmpeg reads frames from a socket, so that its early end is an error here and not a signal, and writes into the
 * temporary file that then replaces the old one; what it says goes to a file in memory, so that neither waits for the
 * other. It is started with a list of words: no shell reads the path. */
#define _GNU_SOURCE
#include "train/video.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/files/replace.h"
#include "core/memory.h"
#include "core/text.h"

struct ts_video {
    ts_replace file;
    bool file_is_open;
    int frames, said; /* our end of the socket; what ffmpeg says; -1: not open */
    pid_t program;    /* 0: none */
    size_t frame_bytes;
};

/* ---- the program ---- */

/* Starts ffmpeg. in: -1: it reads nothing. Returns 0 or errno. */
static int start(pid_t *program, char *const *words, int in, int out)
{
    posix_spawn_file_actions_t files;
    posix_spawnattr_t how;
    sigset_t usual;
    sigemptyset(&usual);
    sigaddset(&usual, SIGPIPE);
    sigaddset(&usual, SIGXFSZ);
    int why = posix_spawn_file_actions_init(&files);
    if (why)
        return why;
    if ((why = posix_spawnattr_init(&how)) == 0) {
        posix_spawnattr_setsigdefault(&how, &usual);
        posix_spawnattr_setflags(&how, POSIX_SPAWN_SETSIGDEF);
        if (in < 0)
            posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0);
        else
            posix_spawn_file_actions_adddup2(&files, in, 0);
        posix_spawn_file_actions_adddup2(&files, out, 1);
        posix_spawn_file_actions_adddup2(&files, out, 2);
        why = posix_spawnp(program, words[0], &files, &how, words, environ);
        posix_spawnattr_destroy(&how);
    }
    posix_spawn_file_actions_destroy(&files);
    return why;
}

/* How it ended: its exit code, or 128 + the signal. */
static int wait_for(pid_t program)
{
    int status = 0;
    while (waitpid(program, &status, 0) < 0)
        if (errno != EINTR)
            return 127;
    return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

/* The first line of what it said, as it can stand in a message. */
static void first_line(int said, char *line, size_t bytes)
{
    char raw[512];
    ssize_t n = pread(said, raw, sizeof raw - 1, 0);
    raw[n > 0 ? n : 0] = '\0';
    raw[strcspn(raw, "\n")] = '\0';
    ts_text_excerpt(raw, line, bytes);
}

const char *ts_video_program(void)
{
    static char line[128];
    char *const words[] = {"ffmpeg", "-version", NULL};
    pid_t program;
    int said = memfd_create("ffmpeg", MFD_CLOEXEC);
    bool good = said >= 0 && start(&program, words, -1, said) == 0 && wait_for(program) == 0;
    if (good)
        first_line(said, line, sizeof line);
    if (said >= 0)
        close(said);
    return good ? line : NULL;
}

/* ---- a file ---- */

static ts_status start_for(ts_video *v, int in, int width, int height, double fps, ts_error *err)
{
    char size[32], rate[32];
    char *out = ts_format("file:%s", v->file.tmp_path);
    snprintf(size, sizeof size, "%dx%d", width, height);
    snprintf(rate, sizeof rate, "%.9g", fps);
    char *const words[] = {"ffmpeg", "-v",          "error",   "-nostdin",   "-f",         "rawvideo", "-pixel_format",
                           "rgb24",  "-video_size", size,      "-framerate", rate,         "-i",       "pipe:0",
                           "-an",    "-pix_fmt",    "yuv420p", "-movflags",  "+faststart", "-f",       "mp4",
                           "-y",     out,           NULL};
    if (!out)
        return ts_out_of_memory(err, strlen(v->file.tmp_path));
    int why = start(&v->program, words, in, v->said);
    ts_free(out);
    if (why == 0)
        return TS_OK;
    v->program = 0;
    if (why == ENOENT)
        return ts_fail(err, TS_ERR_RUNTIME,
                       "%s: MP4 files are made by ffmpeg, which is not installed; install the package ffmpeg, or give "
                       "-o a name that ends in .gif or .png",
                       v->file.path);
    return ts_fail(err, TS_ERR_RUNTIME, "%s: ffmpeg cannot be started: %s", v->file.path, strerror(why));
}

static ts_status begin(ts_video *v, const char *path, int width, int height, double fps, ts_error *err)
{
    int ends[2];
    TS_TRY(ts_replace_begin(&v->file, path, TS_ERR_DATA, err));
    v->file_is_open = true;
    v->said = memfd_create("ffmpeg", MFD_CLOEXEC);
    if (v->said < 0 || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0)
        return ts_fail(err, TS_ERR_RUNTIME, "%s: no pipe to ffmpeg: %s", path, strerror(errno));
    v->frames = ends[0];
    ts_status status = start_for(v, ends[1], width, height, fps, err);
    close(ends[1]);
    return status;
}

ts_status ts_video_open(ts_video **video, const char *path, int width, int height, double fps, ts_error *err)
{
    ts_video *v = *video = ts_calloc(1, sizeof *v);
    if (!v)
        return ts_out_of_memory(err, sizeof *v);
    v->frames = v->said = -1;
    v->frame_bytes = (size_t)width * (size_t)height * 3;
    ts_status status = begin(v, path, width, height, fps, err);
    if (status != TS_OK) {
        ts_video_close(v, false, NULL);
        *video = NULL;
    }
    return status;
}

/* Ends the frames and waits. */
static ts_status finish(ts_video *v, ts_error *err)
{
    char line[300];
    close(v->frames);
    v->frames = -1;
    int code = wait_for(v->program);
    v->program = 0;
    if (code == 0)
        return TS_OK;
    first_line(v->said, line, sizeof line);
    return ts_fail(err, TS_ERR_RUNTIME, "%s: ffmpeg failed with %d: %s", v->file.path, code,
                   *line ? line : "it did not say why");
}

ts_status ts_video_add(ts_video *v, const ts_image *frame, ts_error *err)
{
    for (size_t sent = 0; sent < v->frame_bytes;) {
        ssize_t n = send(v->frames, frame->pixels + sent, v->frame_bytes - sent, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && (errno == EPIPE || errno == ECONNRESET)) { /* it has ended, and says why */
            TS_TRY(finish(v, err));
            return ts_fail(err, TS_ERR_RUNTIME, "%s: ffmpeg ended before the last frame", v->file.path);
        }
        if (n < 0)
            return ts_fail(err, TS_ERR_RUNTIME, "%s: no frame to ffmpeg: %s", v->file.path, strerror(errno));
        sent += (size_t)n;
    }
    return TS_OK;
}

ts_status ts_video_close(ts_video *v, bool keep, ts_error *err)
{
    ts_status status = TS_OK;
    if (!v)
        return TS_OK;
    if (v->program)
        status = finish(v, keep ? err : NULL);
    if (keep && status == TS_OK)
        status = ts_replace_commit(&v->file, TS_REPLACE_DROP, err);
    if (v->frames >= 0)
        close(v->frames);
    if (v->said >= 0)
        close(v->said);
    if (v->file_is_open)
        ts_replace_end(&v->file);
    ts_free(v);
    return status;
}
