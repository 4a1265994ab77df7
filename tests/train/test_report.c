/* The run directory: what it holds, resumed or refused, and a disk that is full. */
#define _GNU_SOURCE
#include "train/report.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <glob.h>
#include <jansson.h>
#include <math.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/files/bytes.h"
#include "core/memory.h"
#include "tests/train/temp_folder.h"
#include "train/event_file.h"
#include "train/signals.h"

static temp_folder folder;
static ts_experiment experiment;

/* What was read, for teardown to free. */
static ts_bytes texts[16];
static json_t *objects[16];
static int text_count, object_count;

static void setup(void)
{
    ts_error err = {0};
    folder = temp_folder_make();
    experiment = (ts_experiment){.tokenizer.item = ts_shape_of(4, 4, 1)};
    cr_assert_eq(
        ts_config_parse(&experiment.config, ts_experiment_schema(), "x", "data: {kind: shapes}\n", 21, NULL, &err),
        TS_OK, "%s", err.text);
    cr_assert_eq(ts_device_open("cpu", 2, &experiment.device, &err), TS_OK, "%s", err.text);
}

static void teardown(void)
{
    ts_config_free(experiment.config);
    ts_device_close(experiment.device);
    while (text_count)
        ts_bytes_clear(&texts[--text_count]);
    while (object_count)
        json_decref(objects[--object_count]);
    temp_folder_remove(&folder);
}

TestSuite(train_report, .init = setup, .fini = teardown);

static ts_report *must_open(const char *run, bool resume, int64_t step)
{
    ts_report *report;
    ts_error err = {0};
    cr_assert_eq(ts_report_open(&report, run, &experiment, resume, step, true, false, &err), TS_OK, "%s", err.text);
    return report;
}

static ts_step_metrics metrics_of(int64_t step)
{
    return (ts_step_metrics){.step = step,
                             .steps = 100,
                             .loss = 0.125 * (double)step,
                             .lr = 3e-4,
                             .norm = 0.5,
                             .part_names = {"recon", "commitment"},
                             .parts = {0.1, NAN},
                             .part_count = 2,
                             .usage = ts_usage_of((int64_t[]){6, 2, 0, 0}, 4, 0),
                             .items_per_s = 640,
                             .steps_per_s = 10,
                             .skipped = 3};
}

static void must_step(ts_report *report, int64_t step)
{
    ts_error err = {0};
    ts_step_metrics m = metrics_of(step);
    cr_assert_eq(ts_report_step(report, &m, &err), TS_OK, "%s", err.text);
}

static char *text_of(const char *run, const char *name)
{
    char path[1024];
    ts_error err = {0};
    snprintf(path, sizeof path, "%s/%s", run, name);
    cr_assert_lt(text_count, 16);
    cr_assert_eq(ts_bytes_read(&texts[text_count], path, 1 << 20, TS_ERR_DATA, &err), TS_OK, "%s", err.text);
    return (char *)texts[text_count++].data;
}

static const json_t *object_of(const char *run, const char *name)
{
    json_error_t why;
    cr_assert_lt(object_count, 16);
    objects[object_count] = json_loads(text_of(run, name), 0, &why);
    cr_assert_not_null(objects[object_count], "%s", why.text);
    return objects[object_count++];
}

static void expect_real(const json_t *o, const char *key, double value)
{
    cr_expect_float_eq(json_number_value(json_object_get(o, key)), value, 1e-9, "%s", key);
}

Test(train_report, directory_is_complete)
{
    const char *run = temp_path(&folder, "a/b/run"), *inside[] = {"checkpoints", "pictures"};
    ts_report *report = must_open(run, false, 0);
    ts_report_note(report, "hello %d", 7);
    cr_assert_str_eq(strrchr(ts_report_path(report, "checkpoints/last.h5"), 'r'), "run/checkpoints/last.h5");
    ts_report_close(report);

    struct stat s;
    for (int i = 0; i < 2; i++) {
        char path[1024];
        snprintf(path, sizeof path, "%s/%s", run, inside[i]);
        cr_assert(stat(path, &s) == 0 && S_ISDIR(s.st_mode), "%s", path);
    }
    char *config = text_of(run, "config.yaml"), *log = text_of(run, "log.txt"), *printed = NULL;
    cr_assert_eq(ts_config_print(experiment.config, false, &printed, NULL), TS_OK);
    cr_assert_str_eq(config, printed);
    ts_free(printed);
    cr_assert_not_null(strstr(log, "  hello 7\n"));
    const json_t *env = object_of(run, "env.json");
    const char *keys[] = {"tessera", "compiler", "onednn", "hdf5", "device", "system", "machine"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        cr_expect(json_string_length(json_object_get(env, keys[i])) > 0, "%s", keys[i]);
    cr_expect_eq(json_integer_value(json_object_get(env, "threads")), 2);
}

Test(train_report, line_of_a_step)
{
    const char *run = temp_path(&folder, "run");
    ts_report *report = must_open(run, false, 0);
    must_step(report, 10);
    ts_report_close(report);
    const json_t *o = object_of(run, "metrics.jsonl");
    cr_expect_eq(json_integer_value(json_object_get(o, "step")), 10);
    cr_expect_str_eq(json_string_value(json_object_get(o, "split")), "train");
    expect_real(o, "loss", 1.25);
    expect_real(o, "recon", 0.1);
    cr_expect(json_is_null(json_object_get(o, "commitment")), "NaN is null");
    expect_real(o, "lr", 3e-4);
    expect_real(o, "grad_norm", 0.5);
    expect_real(o, "usage", 0.5);
    expect_real(o, "perplexity", exp(-0.75 * log(0.75) - 0.25 * log(0.25)));
    expect_real(o, "perplexity_ceiling", 4);
    cr_expect_eq(json_integer_value(json_object_get(o, "used")), 2);
    cr_expect_eq(json_integer_value(json_object_get(o, "codes")), 4);
    cr_expect_eq(json_integer_value(json_object_get(o, "tokens")), 8);
    cr_expect_eq(json_integer_value(json_object_get(o, "skipped")), 3);
    cr_expect(json_is_integer(json_object_get(o, "rolled_back")));
    expect_real(o, "items_per_s", 640);
    expect_real(o, "steps_per_s", 10);
}

Test(train_report, usage_that_was_not_measured_is_null)
{
    const char *run = temp_path(&folder, "run");
    ts_report *report = must_open(run, false, 0);
    ts_step_metrics m = metrics_of(1);
    m.usage = (ts_usage){.codes = 4};
    cr_assert_eq(ts_report_step(report, &m, NULL), TS_OK);
    ts_report_close(report);
    const json_t *o = object_of(run, "metrics.jsonl");
    const char *keys[] = {"usage", "perplexity", "perplexity_ceiling", "used"};
    for (int i = 0; i < 4; i++)
        cr_expect(json_is_null(json_object_get(o, keys[i])), "%s", keys[i]);
    cr_expect_eq(json_integer_value(json_object_get(o, "tokens")), 0);
}

Test(train_report, line_of_an_evaluation)
{
    const char *run = temp_path(&folder, "run");
    ts_report *report = must_open(run, false, 0);
    ts_evaluation v = {.items = 100,
                       .loss = 0.5,
                       .recon = 0.25,
                       .mse = 0.125,
                       .l1 = 0.2,
                       .psnr = INFINITY,
                       .ssim = 0.9,
                       .parts = {0.03},
                       .part_names = {"commitment"},
                       .part_count = 1,
                       .usage = ts_usage_of((int64_t[]){3, 1}, 2, 0),
                       .groups = 2,
                       .group_counts = (int64_t[]){1, 1, 2, 0}};
    cr_assert_eq(ts_report_evaluation(report, 20, TS_SPLIT_VAL, &v, true, NULL), TS_OK);
    ts_report_close(report);
    const json_t *o = object_of(run, "metrics.jsonl");
    cr_expect_eq(json_integer_value(json_object_get(o, "step")), 20);
    cr_expect_str_eq(json_string_value(json_object_get(o, "split")), "val");
    expect_real(o, "loss", 0.5);
    expect_real(o, "recon", 0.25);
    expect_real(o, "commitment", 0.03);
    expect_real(o, "mse", 0.125);
    expect_real(o, "l1", 0.2);
    cr_expect(json_is_null(json_object_get(o, "psnr")), "infinity is null");
    expect_real(o, "ssim", 0.9);
    expect_real(o, "perplexity", exp(-0.75 * log(0.75) - 0.25 * log(0.25)));
    for (size_t g = 0; g < 2; g++) {
        double perplexity = json_real_value(json_array_get(json_object_get(o, "perplexity_by_group"), g));
        cr_expect_eq(json_integer_value(json_array_get(json_object_get(o, "used_by_group"), g)), g ? 1 : 2);
        cr_expect(fabs(perplexity - (g ? 1 : 2)) < 1e-9);
    }
    cr_expect_eq(json_integer_value(json_object_get(o, "items")), 100);
    cr_expect(json_is_true(json_object_get(o, "best")));
}

/* ---- resume and refusal ---- */

static ts_status try_open(const char *run, ts_error *err)
{
    ts_report *report;
    ts_status status = ts_report_open(&report, run, &experiment, false, 0, true, false, err);
    ts_report_close(report);
    return status;
}

Test(train_report, a_run_is_not_overwritten)
{
    const char *run = temp_path(&folder, "run");
    ts_report *report = must_open(run, false, 0);
    must_step(report, 1);
    ts_report_close(report);
    ts_error err = {0};
    cr_assert_eq(try_open(run, &err), TS_ERR_USAGE);
    cr_assert(strstr(err.text, run) && strstr(err.text, "--resume") && strstr(err.text, "--run"), "%s", err.text);

    temp_write(&folder, "saved/checkpoints/last.h5", "x", 1);
    cr_assert_eq(try_open(temp_path(&folder, "saved"), &err), TS_ERR_USAGE);
    temp_write(&folder, "foreign/config.yaml", "x", 1);
    cr_assert_eq(try_open(temp_path(&folder, "foreign"), &err), TS_ERR_USAGE);
    temp_write(&folder, "file", "x", 1);
    cr_assert_eq(try_open(temp_path(&folder, "file"), &err), TS_ERR_RUNTIME);
    cr_assert(strstr(err.text, "a file of that name is there"), "%s", err.text);
}

Test(train_report, a_run_that_measured_nothing_can_begin_again)
{
    const char *run = temp_path(&folder, "run");
    ts_report_close(must_open(run, false, 0));
    ts_report_close(must_open(run, false, 0));
    temp_write(&folder, "other/notes.txt", "x", 1);
    ts_report_close(must_open(temp_path(&folder, "other"), false, 0));
}

Test(train_report, one_writer_at_a_time)
{
    const char *run = temp_path(&folder, "run");
    ts_report *report = must_open(run, false, 0);
    ts_error err = {0};
    cr_assert_eq(try_open(run, &err), TS_ERR_USAGE);
    cr_assert(strstr(err.text, "another process"), "%s", err.text);
    ts_report_close(report);
    ts_report_close(must_open(run, false, 0));
}

/* Steps first..last, an evaluation at every fifth. */
static void run_steps(ts_report *report, int64_t first, int64_t last)
{
    ts_evaluation v = {.items = 1};
    for (int64_t step = first; step <= last; step++) {
        must_step(report, step);
        if (step % 5 == 0)
            cr_assert_eq(ts_report_evaluation(report, step, TS_SPLIT_VAL, &v, false, NULL), TS_OK);
    }
}

Test(train_report, resumed_metrics_are_those_of_one_run)
{
    const char *whole = temp_path(&folder, "whole"), *parts = temp_path(&folder, "parts");
    ts_report *report = must_open(whole, false, 0);
    run_steps(report, 1, 20);
    ts_report_close(report);

    report = must_open(parts, false, 0);
    run_steps(report, 1, 13); /* saved at 10, killed at 13, within a line */
    ts_report_close(report);
    char path[1024];
    snprintf(path, sizeof path, "%s/metrics.jsonl", parts);
    int fd = open(path, O_WRONLY | O_APPEND);
    cr_assert_eq(write(fd, "{\"step\": 9, \"sp", 15), 15);
    close(fd);
    report = must_open(parts, true, 10);
    run_steps(report, 11, 20);
    ts_report_close(report);
    const char *const files[] = {"metrics.jsonl", "train.csv", "val.csv"};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        cr_assert_str_eq(text_of(parts, files[i]), text_of(whole, files[i]), "%s", files[i]);
    cr_expect_eq(strncmp(text_of(whole, "train.csv"), "step,loss,", 10), 0);
}

/* ---- event files ---- */

/* Every record whole, both checksums right: how many there are. */
static int records_of(const unsigned char *b, size_t bytes)
{
    int records = 0;
    for (size_t at = 0; at < bytes; records++) {
        uint64_t n = 0;
        uint32_t sum[2];
        cr_assert_geq(bytes - at, 16);
        memcpy(&n, b + at, 8);
        memcpy(&sum[0], b + at + 8, 4);
        cr_assert_leq(n, bytes - at - 16);
        memcpy(&sum[1], b + at + 12 + n, 4);
        cr_assert(sum[0] == ts_masked_crc32c(b + at, 8) && sum[1] == ts_masked_crc32c(b + at + 12, n));
        at += 16 + n;
    }
    return records;
}

/* How many files the run has, in the order of their names; records of the last one. */
static int event_files(const char *run, int *records)
{
    glob_t found;
    char pattern[1024];
    snprintf(pattern, sizeof pattern, "%s/events.out.tfevents.*", run);
    int count = glob(pattern, 0, NULL, &found) == 0 ? (int)found.gl_pathc : 0;
    if (count) {
        ts_bytes file;
        cr_assert_eq(ts_bytes_read(&file, found.gl_pathv[count - 1], 1 << 20, TS_ERR_DATA, NULL), TS_OK);
        *records = records_of(file.data, file.count);
        ts_bytes_clear(&file);
        globfree(&found);
    }
    return count;
}

/* What TensorBoard makes of them: tests/interop/tensorboard_read.py. */
Test(train_report, event_files)
{
    const char *run = temp_path(&folder, "run");
    int records = 0;
    int64_t counts[3] = {5, 0, 7};
    cr_expect_eq(ts_masked_crc32c("123456789", 9), (0xe3069283u >> 15 | 0xe3069283u << 17) + 0xa282ead8u);
    ts_report *report = must_open(run, false, 0);
    run_steps(report, 1, 5);
    cr_assert_eq(ts_report_codes(report, 5, counts, 3, NULL), TS_OK);
    cr_assert_eq(ts_report_show(report, 5, "Test/none", "pictures/none.png", NULL), TS_OK, "no such picture");
    ts_report_close(report);
    cr_expect_eq(event_files(run, &records), 1);
    cr_expect_eq(records, 1 + 5 + 1 + 1, "version, steps, evaluation, histogram");
    report = must_open(run, true, 5);
    run_steps(report, 6, 7);
    ts_report_close(report);
    cr_expect_eq(event_files(run, &records), 2, "a second file, behind the first");
    cr_expect_eq(records, 2 + 2, "version, start, steps");
    cr_assert_eq(ts_config_override(experiment.config, "train.tensorboard=false", NULL), TS_OK);
    report = must_open(run, true, 7);
    run_steps(report, 8, 8);
    ts_report_close(report);
    cr_expect_eq(event_files(run, &records), 2);
}

Test(train_report, resume_keeps_the_config_that_was)
{
    const char *run = temp_path(&folder, "run");
    ts_report_close(must_open(run, false, 0));
    char *before = text_of(run, "config.yaml");
    ts_report_close(must_open(run, true, 0));
    char path[1024];
    snprintf(path, sizeof path, "%s/config.prev.yaml", run);
    cr_assert_neq(access(path, F_OK), 0, "nothing changed");
    cr_assert_eq(ts_config_override(experiment.config, "train.batch=77", NULL), TS_OK);
    ts_report_close(must_open(run, true, 0));
    cr_assert_str_eq(text_of(run, "config.prev.yaml"), before);
    cr_assert(strstr(text_of(run, "config.yaml"), "77"));
}

/* ---- failing disks ---- */

static void link_to_full(const char *run, const char *name)
{
    char path[1024];
    snprintf(path, sizeof path, "%s/%s", run, name);
    mkdir(run, 0700);
    cr_assert_eq(symlink("/dev/full", path), 0);
}

Test(train_report, full_disk_under_the_metrics)
{
    const char *run = temp_path(&folder, "run");
    link_to_full(run, "metrics.jsonl");
    ts_report *report = must_open(run, false, 0);
    ts_error err = {0};
    ts_step_metrics m = metrics_of(1);
    cr_assert_eq(ts_report_step(report, &m, &err), TS_ERR_RUNTIME);
    cr_assert_eq(err.code, TS_ERR_RUNTIME);
    cr_assert(strstr(err.text, "metrics.jsonl") && strstr(err.text, "No space left"), "%s", err.text);
    ts_evaluation v = {.items = 1};
    cr_assert_eq(ts_report_evaluation(report, 1, TS_SPLIT_VAL, &v, false, &err), TS_ERR_RUNTIME);
    ts_report_close(report);
}

Test(train_report, full_disk_under_the_log)
{
    const char *run = temp_path(&folder, "run");
    link_to_full(run, "log.txt");
    ts_report *report = must_open(run, false, 0);
    ts_error err = {0};
    cr_assert_eq(ts_report_check(report, &err), TS_OK);
    ts_report_note(report, "lost");
    cr_assert_eq(ts_report_check(report, &err), TS_ERR_RUNTIME);
    cr_assert(strstr(err.text, "log.txt") && strstr(err.text, "No space left"), "%s", err.text);
    ts_step_metrics m = metrics_of(1);
    cr_assert_eq(ts_report_step(report, &m, &err), TS_ERR_RUNTIME);
    ts_report_close(report);
}

Test(train_report, file_size_limit_leaves_whole_lines)
{
    const char *run = temp_path(&folder, "run");
    ts_report *report = must_open(run, false, 0);
    must_step(report, 1);
    must_step(report, 2);
    off_t bytes = (off_t)strlen(text_of(run, "metrics.jsonl"));
    pid_t pid = fork();
    if (pid == 0) {
        ts_signals_install();
        setrlimit(RLIMIT_FSIZE, &(struct rlimit){(rlim_t)bytes + 10, (rlim_t)bytes + 10});
        ts_error err = {0};
        ts_step_metrics m = metrics_of(3);
        bool told = ts_report_step(report, &m, &err) == TS_ERR_RUNTIME && strstr(err.text, "metrics.jsonl") &&
                    strstr(err.text, "File too large");
        float pixels[16] = {0};
        bool told_again = ts_report_reconstructions(report, "pictures/x.png", pixels, pixels, 1, ts_shape_of(4, 4, 1),
                                                    TS_RANGE_UNIT, &err) == TS_OK; /* it is small enough */
        setrlimit(RLIMIT_FSIZE, &(struct rlimit){10, 10});
        told_again &= ts_report_reconstructions(report, "pictures/y.png", pixels, pixels, 1, ts_shape_of(4, 4, 1),
                                                TS_RANGE_UNIT, &err) == TS_ERR_RUNTIME &&
                      err.code == TS_ERR_RUNTIME && strstr(err.text, "y.png");
        _exit(told && told_again ? 0 : 1);
    }
    int status;
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0, "status %#x", (unsigned)status);
    cr_assert_eq((off_t)strlen(text_of(run, "metrics.jsonl")), bytes, "the half line is gone");
    ts_report_close(report);
}

static void give_report_memory_that_ends_at(uint64_t n, const char *run, ts_status *status, uint64_t *made)
{
    ts_report *report = NULL;
    ts_error err = {0};
    ts_alloc_fail_at(n);
    *status = ts_report_open(&report, run, &experiment, true, 0, true, false, &err);
    *made = ts_alloc_fail_at(0);
    cr_assert(*status == TS_OK || *status == TS_ERR_RUNTIME);
    cr_assert((*status == TS_OK) == (report != NULL));
    ts_report_close(report);
}

Test(train_report, out_of_memory_is_an_error)
{
    const char *run = temp_path(&folder, "run");
    ts_status status = TS_ERR_RUNTIME;
    uint64_t made = 0, failures = 0;
    for (uint64_t n = 1; n == 1 || made >= n - 1; n++) {
        give_report_memory_that_ends_at(n, run, &status, &made);
        failures += status != TS_OK;
        cr_assert_lt(n, 5000);
    }
    cr_assert_eq(status, TS_OK);
    cr_assert_gt(failures, 5);
}

/* ---- pictures, and lines for programs ---- */

Test(train_report, pictures_are_files)
{
    const char *run = temp_path(&folder, "run");
    ts_report *report = must_open(run, false, 0);
    float pixels[2 * 16] = {0};
    ts_error err = {0};
    cr_assert_eq(ts_report_reconstructions(report, "pictures/r.png", pixels, pixels, 2, ts_shape_of(4, 4, 1),
                                           TS_RANGE_UNIT, &err),
                 TS_OK, "%s", err.text);
    cr_assert_eq(ts_report_usage(report, "pictures/u.png", (int64_t[]){1, 2}, 2, &err), TS_OK, "%s", err.text);
    cr_assert_eq(memcmp(text_of(run, "pictures/r.png"), "\x89PNG", 4), 0);
    cr_assert_eq(memcmp(text_of(run, "pictures/u.png"), "\x89PNG", 4), 0);
    cr_assert_eq(ts_report_reconstructions(report, "pictures/motion.png", pixels, pixels, 2, ts_shape_of(4, 4),
                                           TS_RANGE_UNIT, &err),
                 TS_OK);
    char path[1024];
    snprintf(path, sizeof path, "%s/pictures/motion.png", run);
    cr_assert_neq(access(path, F_OK), 0);
    ts_report_close(report);
}

Test(train_report, json_goes_to_standard_output)
{
    const char *run = temp_path(&folder, "run"), *out = temp_path(&folder, "out");
    pid_t pid = fork();
    if (pid == 0) {
        int fd = open(out, O_WRONLY | O_CREAT, 0600);
        dup2(fd, STDOUT_FILENO);
        ts_report *report = NULL;
        ts_step_metrics m = metrics_of(4);
        bool ok = ts_report_open(&report, run, &experiment, false, 0, true, true, NULL) == TS_OK &&
                  ts_report_step(report, &m, NULL) == TS_OK;
        dup2(open("/dev/full", O_WRONLY), STDOUT_FILENO);
        ts_error err = {0};
        ok = ok && ts_report_step(report, &m, &err) == TS_ERR_RUNTIME && strstr(err.text, "standard output");
        _exit(ok ? 0 : 1);
    }
    int status;
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0, "status %#x", (unsigned)status);
    char *printed = text_of(folder.path, "out"), *stored = text_of(run, "metrics.jsonl");
    cr_assert_eq(strncmp(printed, stored, strlen(printed)), 0);
    cr_assert_eq(printed[strlen(printed) - 1], '\n');
}
