/* Numbers and lines for people, and the bar on a pseudo-terminal. */
#define _GNU_SOURCE
#include "train/report_text.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <math.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "tests/support/shared.h"
#include "train/progress.h"

Test(train_report_text, numbers)
{
    const struct {
        double value;
        const char *text;
    } cases[] = {{0, "0"},          {0.023412, "0.02341"}, {1.5, "1.500"},      {-12.344, "-12.34"},
                 {1234.4, "1234"},  {123456, "123456"},    {1e-4, "0.0001000"}, {2.31e-7, "2.31e-07"},
                 {5e6, "5.00e+06"}, {NAN, "nan"},          {INFINITY, "inf"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        cr_expect_str_eq(ts_number_text(cases[i].value).text, cases[i].text);
}

Test(train_report_text, rates)
{
    const struct {
        double value;
        const char *text;
    } cases[] = {{0, "0"},         {7.251, "7.25"},  {99.94, "99.9"},  {1234.2, "1234"},
                 {12345, "12.3k"}, {123456, "123k"}, {1.2e6, "1.20M"}, {NAN, "?"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        cr_expect_str_eq(ts_rate_text(cases[i].value).text, cases[i].text);
}

Test(train_report_text, percents)
{
    const struct {
        double value;
        const char *text;
    } cases[] = {{0, "0%"}, {1, "100%"}, {0.875, "87.5%"}, {0.99997, "99.9%"}, {0.0042, "0.42%"}, {0.00042, "0.042%"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        cr_expect_str_eq(ts_percent_text(cases[i].value).text, cases[i].text);
}

Test(train_report_text, durations)
{
    const struct {
        double value;
        const char *text;
    } cases[] = {{0, "0:00"}, {42.4, "0:42"}, {192, "3:12"}, {3723, "1:02:03"}, {2 * 86400 + 4 * 3600, "2d 04h"},
                 {-1, "?"},   {NAN, "?"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        cr_expect_str_eq(ts_duration_text(cases[i].value).text, cases[i].text);
}

static ts_step_metrics sample(void)
{
    return (ts_step_metrics){
        .step = 1240,
        .steps = 10000,
        .loss = 0.02341,
        .lr = 3e-4,
        .norm = 0.412,
        .part_names = {"recon", "commitment"},
        .parts = {0.0221, 0.0012},
        .part_count = 2,
        .usage = {.codes = 240, .tokens = 100, .used = 70, .usage = 0.2917, .perplexity = 61.25, .ceiling = 100},
        .items_per_s = 1234,
        .seconds_left = 192};
}

Test(train_report_text, line_of_a_step)
{
    char text[512];
    ts_step_metrics m = sample();
    ts_step_text(text, sizeof text, &m, "images");
    cr_expect_str_eq(text, "step 1240/10000  loss 0.02341  recon 0.02210  commitment 0.001200  lr 0.0003000  "
                           "grad norm 0.4120  usage 29.2% (70 of 240)  perplexity 61.25 of at most 100  "
                           "1234 images/s  3:12 left");
    m.skipped = 2;
    m.usage.tokens = 0;
    ts_step_text(text, sizeof text, &m, "items");
    cr_expect(strstr(text, "1234 items/s  skipped 2  3:12 left"), "%s", text);
    cr_expect(!strstr(text, "usage"), "%s", text);
}

Test(train_report_text, line_of_an_evaluation)
{
    char text[512];
    ts_evaluation v = {.items = 10000,
                       .loss = 0.5,
                       .recon = 0.25,
                       .mse = 0.25,
                       .l1 = 0.1,
                       .psnr = 12.04,
                       .ssim = NAN,
                       .motion = {.mpjpe_mm = NAN}};
    ts_evaluation_text(text, sizeof text, 50, TS_SPLIT_VAL, &v, true, "images", false);
    cr_expect_str_eq(text, "step 50, val  loss 0.5000  mse 0.2500  l1 0.1000  psnr 12.04 dB  10000 images  best");
    v.ssim = 0.81234;
    ts_evaluation_text(text, sizeof text, 50, TS_SPLIT_TRAIN, &v, false, "images", false);
    cr_expect_str_eq(text, "step 50, train  loss 0.5000  mse 0.2500  l1 0.1000  psnr 12.04 dB  ssim 0.8123  "
                           "10000 images");
    v.usage = (ts_usage){.codes = 240, .tokens = 100, .used = 70, .usage = 0.2917, .perplexity = 61.25, .ceiling = 100};
    ts_evaluation_text(text, sizeof text, 50, TS_SPLIT_VAL, &v, true, "images", true);
    cr_expect_str_eq(text, "step 50, val  loss 0.5000  mse 0.2500  psnr 12.04 dB  ssim 0.8123  usage 29.2%  "
                           "perplexity 61.25  best");
}

Test(train_report_text, line_of_an_evaluation_of_motion)
{
    char text[512];
    ts_evaluation v = {
        .items = 7, .clips = 7, .frames = 1234, .loss = 0.5, .mse = 0.25, .l1 = 0.1, .psnr = NAN, .ssim = NAN};
    v.motion = (ts_motion_metrics){53.126, 4.5, 3.25, 1.5, 0.5};
    ts_evaluation_text(text, sizeof text, 50, TS_SPLIT_VAL, &v, false, "items", true);
    cr_expect_str_eq(text, "step 50, val  loss 0.5000  mse 0.2500  mpjpe 53.13 mm");
    ts_evaluation_text(text, sizeof text, 50, TS_SPLIT_VAL, &v, false, "items", false);
    cr_expect_str_eq(text, "step 50, val  loss 0.5000  mse 0.2500  l1 0.1000  mpjpe 53.13 mm  velocity 4.50 mm/frame  "
                           "acceleration 3.25 mm/frame^2  skate 1.50 mm/frame  original skate 0.50 mm/frame  "
                           "7 clips, 1234 frames");
    v.skipped = 2;
    v.motion = (ts_motion_metrics){NAN, NAN, NAN, NAN, NAN};
    ts_evaluation_text(text, sizeof text, 50, TS_SPLIT_VAL, &v, true, "items", false);
    cr_expect_str_eq(text, "step 50, val  loss 0.5000  mse 0.2500  l1 0.1000  7 clips, 1234 frames, 2 skipped  best");
}

/* ---- the bar ---- */

Test(train_report_text, bar_fits_every_width)
{
    ts_step_metrics m = sample();
    size_t before = 0;
    for (int columns = 1; columns < 200; columns++) {
        char text[1024];
        ts_bar_text(text, sizeof text, &m, &(ts_bar_style){columns, false, false, "images"});
        cr_assert_leq((int)strlen(text), columns > 1 ? columns - 1 : 0, "%d: %s", columns, text);
        if (columns > 11)
            cr_assert_eq(strncmp(text, "1240/10000", 10), 0, "%s", text);
        before = strlen(text) > before ? strlen(text) : before;
    }
    cr_assert_gt(before, 130);
}

Test(train_report_text, bar_of_a_wide_terminal)
{
    char text[1024];
    ts_step_metrics m = sample();
    ts_bar_text(text, sizeof text, &m, &(ts_bar_style){200, false, false, "images"});
    cr_expect_str_eq(text, "1240/10000  ###-----------------------------  12%  loss 0.02341  recon 0.02210  "
                           "commitment 0.001200  usage 29.2%  ppl 61.25  1234 images/s  3:12 left");
    ts_bar_text(text, sizeof text, &m, &(ts_bar_style){44, false, false, "images"});
    cr_expect_str_eq(text, "1240/10000  loss 0.02341  3:12 left");
    m.step = 10000;
    ts_bar_text(text, sizeof text, &m, &(ts_bar_style){200, false, false, "images"});
    cr_expect(strstr(text, "10000/10000  ################################  100%"), "%s", text);
    ts_bar_text(text, sizeof text, &m, &(ts_bar_style){200, true, true, "images"});
    cr_expect(strstr(text, "\033[36m\u2501\u2501"), "%s", text);
}

/* A pseudo-terminal of so many columns; what is written to *slave is read from the result. */
static int open_terminal(int columns, int *slave)
{
    int master = posix_openpt(O_RDWR | O_NOCTTY);
    if (master < 0)
        skip_counted("no pseudo-terminals on this machine"); /* ends the test */
    cr_assert(master >= 0 && grantpt(master) == 0 && unlockpt(master) == 0);
    *slave = open(ptsname(master), O_RDWR | O_NOCTTY);
    cr_assert(*slave >= 0);
    ioctl(*slave, TIOCSWINSZ, &(struct winsize){.ws_row = 24, .ws_col = (unsigned short)columns});
    return master;
}

static const char *read_now(int fd)
{
    static char text[65536];
    size_t n = 0;
    while (n < sizeof text - 1 && poll(&(struct pollfd){fd, POLLIN, 0}, 1, 20) > 0) {
        ssize_t got = read(fd, text + n, sizeof text - 1 - n);
        if (got <= 0)
            break;
        n += (size_t)got;
    }
    text[n] = '\0';
    return text;
}

static int count(const char *text, const char *part)
{
    int n = 0;
    for (const char *at = text; (at = strstr(at, part)); at += strlen(part))
        n++;
    return n;
}

Test(train_progress, bar_is_redrawn_in_place_and_seldom)
{
    setenv("TERM", "xterm", 1);
    setenv("NO_COLOR", "1", 1);
    int slave, master = open_terminal(60, &slave);
    ts_progress p;
    ts_progress_open(&p, slave, false, "images");
    ts_step_metrics m = sample();
    for (int i = 0; i < 1000; i++)
        ts_progress_step(&p, &m);
    const char *text = read_now(master);
    cr_expect(count(text, "\r1240/10000") >= 1 && count(text, "\r1240/10000") <= 4, "%s", text);

    ts_progress_line(&p, TS_LINE_NO_TERMINAL, "a step's line");
    ts_progress_line(&p, TS_LINE_ALWAYS, "an evaluation");
    text = read_now(master);
    cr_expect_str_eq(text, "\r\033[Kan evaluation\r\n");
    m.step = m.steps;
    m.usage.tokens = 0;
    ts_progress_step(&p, &m);
    text = read_now(master);
    cr_expect(strstr(text, "10000/10000") && strstr(text, "usage 29.2%"), "the last usage stays: %s", text);
    ts_progress_close(&p);
    cr_expect_str_eq(read_now(master), "\r\n");
}

Test(train_progress, quiet_and_dumb)
{
    setenv("TERM", "xterm", 1);
    int slave, master = open_terminal(60, &slave);
    ts_progress p;
    ts_step_metrics m = sample();
    ts_progress_open(&p, slave, true, "images");
    ts_progress_step(&p, &m);
    ts_progress_line(&p, TS_LINE_ALWAYS, "x");
    ts_progress_close(&p);
    cr_expect_str_eq(read_now(master), "");

    setenv("TERM", "dumb", 1);
    ts_progress_open(&p, slave, false, "images");
    ts_progress_step(&p, &m);
    ts_progress_line(&p, TS_LINE_NO_TERMINAL, "line");
    ts_progress_line(&p, TS_LINE_NO_TERMINAL, "too soon");
    ts_progress_close(&p);
    cr_expect_str_eq(read_now(master), "line\r\n");
}

Test(train_progress, plain_lines_without_a_terminal)
{
    int ends[2];
    cr_assert_eq(pipe(ends), 0);
    ts_progress p;
    ts_step_metrics m = sample();
    ts_progress_open(&p, ends[1], false, "images");
    ts_progress_step(&p, &m);
    ts_progress_line(&p, TS_LINE_NO_TERMINAL, "first");
    ts_progress_line(&p, TS_LINE_NO_TERMINAL, "within two seconds");
    ts_progress_line(&p, TS_LINE_ALWAYS, "evaluation");
    ts_progress_close(&p);
    cr_expect_str_eq(read_now(ends[0]), "first\nevaluation\n");
}
