/* Ablations: what a spec can say and what is wrong with it; what the figures say, on figures made by hand; a small grid
 * with the real program, stopped and taken up again, with a cell that fails. */
#include "train/ablation.h"

#include <criterion/criterion.h>
#include <jansson.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/support/shared.h"
#include "tests/train/run_program.h"
#include "train/ablation_results.h"
#include "train/ablation_run.h"
#include "train/plot.h"

static temp_folder folder;
static ts_error err;

static void setup(void)
{
    folder = temp_folder_make();
    temp_write(&folder, "base.yaml", tiny_yaml, strlen(tiny_yaml));
}

static void teardown(void)
{
    temp_folder_remove(&folder);
}

TestSuite(train_ablation, .init = setup, .fini = teardown);

static const char *write_spec(const char *text)
{
    return kept_write(&folder, "spec.yaml", text, strlen(text));
}

static ts_ablation load(const char *text)
{
    ts_ablation a;
    cr_assert_eq(ts_ablation_load(&a, write_spec(text), &err), TS_OK, "%s", err.text);
    return a;
}

static bool has_override(const ts_ablation_cell *cell, const char *override)
{
    for (const char *const *o = cell->override; *o; o++)
        if (strcmp(*o, override) == 0)
            return true;
    return false;
}

/* ---- specs ---- */

#define HEAD "name: n\nbase: base.yaml\n"

Test(train_ablation, a_grid_is_every_combination)
{
    ts_ablation a =
        load(HEAD "set: {train.steps: 7}\n"
                  "methods:\n  FSQ: [quantizer.kind=finite_scalar]\n  VQ + EMA: [quantizer.kind=vector_ema]\n"
                  "sizes: [1024, 256]\n"
                  "axes: {train.lr: [1e-3, 2e-3], seed: [3, 5, 8]}\n");
    cr_assert_eq(a.cell_count, 2 * 2 * 2 * 3);
    cr_assert_eq(a.series_count, 4);
    cr_assert_str_eq(a.series[0], "FSQ, train.lr=1e-3");
    cr_assert_str_eq(a.series[3], "VQ + EMA, train.lr=2e-3");
    cr_assert(a.size_count == 2 && a.sizes[0] == 256 && a.sizes[1] == 1024, "sizes in order");
    const ts_ablation_cell *first = &a.cell[0], *last = &a.cell[a.cell_count - 1];
    cr_assert_str_eq(first->name, "fsq-train.lr-1e-3_256_seed-3");
    cr_assert(has_override(first, "quantizer.levels=[8, 6, 5]") && has_override(first, "seed=3") && first->steps == 7);
    cr_assert_str_eq(last->name, "vq-ema-train.lr-2e-3_1024_seed-8");
    cr_assert(has_override(last, "quantizer.codes=1024") && has_override(last, "train.lr=2e-3") && last->seed == 8);
    ts_config *config;
    cr_assert_eq(ts_ablation_config(&a, last, &config, &err), TS_OK, "%s", err.text);
    ts_config_free(config);
    ts_ablation_clear(&a);
}

Test(train_ablation, without_methods_sizes_or_seeds_there_is_one_cell)
{
    ts_ablation a = load(HEAD);
    cr_assert(a.cell_count == 1 && a.series_count == 1 && a.size_count == 1 && a.sizes[0] == 0);
    cr_assert_null(a.cell[0].override[0]);
    ts_ablation_clear(&a);
}

Test(train_ablation, a_wrong_spec_is_refused_in_one_line)
{
    static const struct {
        const char *spec, *text;
    } wrong[] = {
        {"base: base.yaml\n", "key 'name' must be given"},
        {"name: n\n", "key 'base' must be given"},
        {"name: n\nbase: nowhere.yaml\n", "nowhere.yaml"},
        {HEAD "axis: {seed: [1]}\n", "unknown section 'axis' (did you mean 'axes'?)"},
        {HEAD "axes: {train.leaning_rate: [1]}\n", "unknown key 'leaning_rate'"},
        {HEAD "axes: {seed: 1, seed: 2}\n", "'seed' is there twice"},
        {HEAD "axes: {seed: []}\n", "spec.yaml:3: seed: expected a list of 1 to 16 values"},
        {HEAD "axes: {seed: [1, 1]}\n", "two cells would be called 'finite-scalar_seed-1'"},
        {HEAD "axes: {seed: [one]}\n", "the cell finite_scalar: "},
        {HEAD "methods: {A: [quantizer.kind]}\n", "methods: A: expected KEY=VALUE, found 'quantizer.kind'"},
        {HEAD "methods: {A: [quantizer.kind=vektor]}\n", "'vektor'"},
        {HEAD "methods: {A: [seed=1], a: [seed=1]}\n", "two cells would be called 'a_seed-1'"},
        {HEAD "sizes: [100]\nmethods: {F: [quantizer.kind=finite_scalar]}\n",
         "no levels of finite_scalar are known for 100 codes, only for 64, 256"},
        {HEAD "sizes: [1]\n", "sizes: expected"},
        {HEAD "sizes: [256]\naxes: {quantizer.codes: [1000000000000]}\n", "codes"},
        {HEAD "set: {train.steps: many}\n", "'many'"},
    };
    int count = 0;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++, count++) {
        ts_ablation a;
        err = (ts_error){0};
        cr_expect_eq(ts_ablation_load(&a, write_spec(wrong[i].spec), &err), TS_ERR_USAGE, "%s", wrong[i].spec);
        cr_expect(strstr(err.text, wrong[i].text) && !strchr(err.text, '\n'), "%s: %s", wrong[i].spec, err.text);
    }
    cr_assert_eq(count, 16);
}

Test(train_ablation, shipped_specs_are_right)
{
    static const char *const names[] = {"fsq_vs_vq_small", "fsq_vs_vq_images", "fsq_vs_vq_photographs",
                                        "fsq_vs_vq_motion"};
    static const int cells[] = {48, 135, 108, 36};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char path[600];
        ts_ablation a;
        snprintf(path, sizeof path, TESSERA_SOURCE "/configs/ablation/%s.yaml", names[i]);
        cr_assert_eq(ts_ablation_load(&a, path, &err), TS_OK, "%s", err.text);
        cr_expect_eq(a.cell_count, cells[i], "%s: %d cells", names[i], a.cell_count);
        ts_ablation_clear(&a);
    }
}

/* ---- figures by hand ---- */

typedef struct {
    double mse, usage, perplexity;
} figures;

/* A run directory as a finished training leaves it, as far as a report reads it. */
static void fake_cell(const ts_ablation_cell *cell, figures f, int64_t codes, int64_t tokens)
{
    char name[300], text[1024];
    snprintf(name, sizeof name, "run/cells/%s/metrics.jsonl", cell->name);
    snprintf(text, sizeof text,
             "{\"step\": 2, \"split\": \"train\", \"loss\": 0.5, \"usage\": 0.1, \"perplexity\": 2.0}\n"
             "{\"step\": %d, \"split\": \"val\", \"loss\": 0.4, \"mse\": %.9g, \"usage\": %.9g, \"perplexity\": %.9g, "
             "\"perplexity_ceiling\": %d, \"codes\": %d, \"tokens\": %d}\n",
             (int)cell->steps, f.mse, f.usage, f.perplexity, (int)(codes < tokens ? codes : tokens), (int)codes,
             (int)tokens);
    temp_write(&folder, name, text, strlen(text));
}

static const char grid[] = HEAD "methods:\n  FSQ: [quantizer.kind=finite_scalar]\n  VQ: [quantizer.kind=vector]\n"
                                "sizes: [256, 1024, 4096]\naxes: {seed: [1, 2]}\n";

/* FSQ crosses VQ at 1024 and goes on falling; VQ's usage is below half from 4096 on. */
static void fake_grid(const ts_ablation *a)
{
    static const double mse[2][3] = {{0.05, 0.03, 0.02}, {0.04, 0.035, 0.036}},
                        usage[2][3] = {{1, 1, 0.997}, {1, 0.7, 0.09}};
    static const int codes[2][3] = {{240, 1000, 4375}, {256, 1024, 4096}};
    for (int i = 0; i < a->cell_count; i++) {
        const ts_ablation_cell *c = &a->cell[i];
        int size = c->size == 256 ? 0 : c->size == 1024 ? 1 : 2;
        double shift = c->seed == 1 ? -0.0005 : 0.0005;
        figures f = {mse[c->series][size] + shift, usage[c->series][size],
                     0.5 * usage[c->series][size] * codes[c->series][size]};
        fake_cell(c, f, codes[c->series][size], 10000);
    }
}

static const char *answer_to(const ts_findings *f, const char *question)
{
    for (int i = 0; i < f->count; i++)
        if (strstr(f->finding[i].question, question))
            return f->finding[i].answer;
    return "";
}

Test(train_ablation, findings_are_what_the_figures_say)
{
    ts_ablation a = load(grid);
    ts_ablation_results r;
    ts_findings f;
    fake_grid(&a);
    cr_assert_eq(ts_ablation_results_read(&r, &a, temp_path(&folder, "run"), &err), TS_OK, "%s", err.text);
    ts_spread s = ts_ablation_spread(&r, 0, 1, ts_ablation_error);
    cr_expect(s.count == 2 && fabs(s.mean - 0.03) < 1e-9 && fabs(s.low - 0.0295) < 1e-9 &&
              fabs(s.high - 0.0305) < 1e-9);
    cr_assert_eq(ts_ablation_findings(&r, &f, &err), TS_OK);
    static const struct {
        const char *question, *says;
    } wanted[] = {
        {"largest codebook",
         "FSQ uses 99 % of its 4375 codes (99 % to 99 % over 2 seeds); VQ uses 9 % of its 4096 codes"},
        {"collapses",
         "Less than half of the codebook of VQ is used from 4096 codes on (9 % there). 1 of the methods keep"},
        {"lower the error",
         "FSQ: from 0.05 to 0.02, lower with every size; VQ: from 0.04 to 0.036, but not lower at 4096"},
        {"lowest error", "Near 256 codes VQ (0.04); near 1024 codes FSQ (0.03); near 4096 codes FSQ (0.02)."},
        {"order change", "FSQ is better than VQ from 1024 codes on, and worse below."},
        {"enough tokens", "10000 tokens for 4375 codes"},
    };
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++)
        cr_expect(strstr(answer_to(&f, wanted[i].question), wanted[i].says), "%s: %s", wanted[i].question,
                  answer_to(&f, wanted[i].question));
    cr_expect_str_eq(answer_to(&f, "missing"), "");
    ts_findings_clear(&f);
    ts_ablation_results_clear(&r);
    ts_ablation_clear(&a);
}

/* What was expected and did not happen is said as well; so is a difference that the seeds explain. */
Test(train_ablation, findings_say_what_did_not_happen)
{
    ts_ablation a = load(grid);
    ts_ablation_results r;
    ts_findings f;
    for (int i = 0; i < a.cell_count - 1; i++)
        fake_cell(&a.cell[i], (figures){0.03 + 0.001 * (double)(i % 2) + 1e-5 * i, 0.9, 100}, 256, 5000);
    cr_assert_eq(ts_ablation_results_read(&r, &a, temp_path(&folder, "run"), &err), TS_OK, "%s", err.text);
    cr_assert_eq(ts_ablation_findings(&r, &f, &err), TS_OK);
    cr_expect(strstr(answer_to(&f, "collapses"), "did not happen here"), "%s", answer_to(&f, "collapses"));
    cr_expect(strstr(answer_to(&f, "lower the error"), "within the spread of the seeds"));
    cr_expect(strstr(answer_to(&f, "lowest error"), "no clear difference to VQ"), "%s", answer_to(&f, "lowest error"));
    cr_expect(strstr(answer_to(&f, "order change"), "No: "));
    cr_expect(strstr(answer_to(&f, "missing"), "vq_4096_seed-2"), "%s", answer_to(&f, "missing"));
    ts_findings_clear(&f);
    ts_ablation_results_clear(&r);
    ts_ablation_clear(&a);
}

Test(train_ablation, damaged_metrics_are_named)
{
    ts_ablation a = load(grid);
    ts_ablation_results r;
    fake_grid(&a);
    temp_write(&folder, "run/cells/vq_256_seed-1/metrics.jsonl", "{\"step\": 1,\nnothing\n", 20);
    cr_assert_eq(ts_ablation_results_read(&r, &a, temp_path(&folder, "run"), &err), TS_ERR_DATA);
    cr_assert(strstr(err.text, "vq_256_seed-1/metrics.jsonl:1: no line of metrics"), "%s", err.text);
    ts_ablation_clear(&a);
}

/* ---- plots ---- */

#ifdef TS_WITH_CAIRO
Test(train_ablation, plots_take_any_numbers)
{
    const ts_plot_point some[] = {
        {1, 2, 1, 3}, {NAN, 1, 1, 1}, {100, INFINITY, 0, 1}, {1000, -4, -4, -4}, {1e6, 1e-9, 0, 1}};
    const ts_plot_point one[] = {{5, 0.5, 0.5, 0.5}}, none[] = {{NAN, NAN, NAN, NAN}};
    const ts_plot_line lines[] = {{some, 5, 0, false}, {one, 1, 13, true}, {none, 1, 2, false}, {none, 0, 3, false}};
    int drawn = 0;
    for (int mode = 0; mode < 16; mode++)
        for (int count = 0; count <= 4; count++, drawn++) {
            char *svg;
            ts_plot plot = {.title = "a < b & \"c\"",
                            .x_label = "x",
                            .y_label = "y",
                            .log_x = mode & 1,
                            .log_y = mode & 2,
                            .percent = mode & 4,
                            .line = lines + (mode & 8 ? 1 : 0),
                            .count = count > 3 && (mode & 8) ? 3 : count,
                            .width = 400,
                            .height = 300};
            cr_assert_eq(ts_plot_svg(&plot, &svg, &err), TS_OK, "%s", err.text);
            cr_expect(strstr(svg, "<svg") && strstr(svg, "</svg>"));
            cr_expect(!strstr(svg, "nan") && !strstr(svg, "inf\""), "mode %d, %d lines", mode, count);
            ts_free(svg);
        }
    cr_assert_eq(drawn, 80);
}
#endif

/* ---- the real program ---- */

static const char trained[] =
    HEAD "set: {train.steps: 4, train.eval_every: 2, train.log_every: 2, train.checkpoint_every: 2}\n"
         "methods:\n  FSQ: [quantizer.kind=finite_scalar]\n  VQ: [quantizer.kind=vector]\n"
         "sizes: [64, 256]\naxes: {seed: [1, 2]}\n";

static int lines_in(const char *path)
{
    size_t bytes;
    char *text = file_content(path, &bytes);
    int n = 0;
    for (size_t i = 0; i < bytes; i++)
        n += text[i] == '\n';
    free(text);
    return n;
}

static json_t *table_of(const char *run)
{
    char path[700];
    json_error_t why;
    snprintf(path, sizeof path, "%s/table.json", run);
    json_t *root = json_load_file(path, 0, &why);
    cr_assert_not_null(root, "%s", why.text);
    return root;
}

static int finished_in(const char *run)
{
    json_t *root = table_of(run), *cell;
    size_t i;
    int n = 0;
    json_array_foreach(json_object_get(root, "cells"), i, cell) n += json_is_true(json_object_get(cell, "finished"));
    json_decref(root);
    return n;
}

Test(train_ablation, trains_reports_and_does_nothing_twice)
{
    const char *spec = write_spec(trained), *run = kept_path(&folder, "grid");
    struct stat before, after;
    free(OUTPUT("ablate", spec, "--run", run, "--jobs", "2", "--threads", "1", "--quiet"));
    cr_assert_eq(finished_in(run), 8);
    cr_assert_eq(lines_in(kept_path(&folder, "grid/table.csv")), 9);
    const char *last = kept_path(&folder, "grid/cells/vq_256_seed-2/checkpoints/last.h5");
    cr_assert_eq(stat(last, &before), 0);
    size_t bytes;
    char *html = file_content(kept_path(&folder, "grid/report.html"), &bytes);
    static const char *const parts[] = {
        "Findings", "Reconstruction error", "data:image/svg+xml;base64,", "data:image/png;base64,", "vq_256_seed-2",
        "</html>"};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        cr_expect(strstr(html, parts[i]), "no %s in the report", parts[i]);
    cr_expect_null(strstr(html, "src=\"http"), "the report needs nothing else");
    free(html);
    char *answer = OUTPUT("ablate", spec, "--run", run, "--json");
    cr_expect(strstr(answer, "\"findings\""));
    free(answer);
    cr_assert_eq(stat(last, &after), 0);
    cr_expect(before.st_ino == after.st_ino && before.st_mtim.tv_nsec == after.st_mtim.tv_nsec, "trained again");
    char changed[sizeof trained + 32];
    snprintf(changed, sizeof changed, "%s", trained);
    memcpy(strstr(changed, "train.steps: 4, "), "train.lr: 0.01, ", 16);
    REFUSED(2, "was trained with another config", "ablate", write_spec(changed), "--run", run);
}

Test(train_ablation, a_cell_that_fails_stops_no_other)
{
    const char *spec =
        write_spec(HEAD "set: {train.steps: 4, train.eval_every: 0, train.loss_scale: 1e12, train.optimizer: sgd}\n"
                        "methods:\n  wild: [train.lr=1000]\n  tame: [train.lr=1e-15]\n");
    const char *run = kept_path(&folder, "grid");
    outcome o = RUN("ablate", spec, "--run", run, "--threads", "1");
    cr_assert_eq(o.code, 1, "%s", o.err);
    cr_expect(strstr(o.err, "wild_seed-") && strstr(o.err, "not finite") && strstr(o.err, "1 of 2 trainings failed"),
              "%s", o.err);
    cr_expect(strstr(o.out, "not trained to their end") && strstr(o.out, "wild_seed-"), "%s", o.out);
    outcome_free(&o);
    cr_assert_eq(finished_in(run), 1);
}

/* A signal reaches the trainings, which save; the same command goes on, and comes to what an uninterrupted one does. */
Test(train_ablation, goes_on_after_a_signal)
{
    static const char longer[] =
        HEAD "set: {train.steps: 300, train.eval_every: 0, train.log_every: 5, train.checkpoint_every: 50}\n"
             "methods:\n  VQ: [quantizer.kind=vector_ema]\nsizes: [64]\naxes: {seed: [1, 2]}\n";
    const char *spec = write_spec(longer), *run = kept_path(&folder, "parts"), *whole = kept_path(&folder, "whole");
    circumstances stop = {.signal = SIGTERM,
                          .signal_when = kept_path(&folder, "parts/cells/vq_64_seed-1/metrics.jsonl")};
    outcome o = RUN_IN(stop, "ablate", spec, "--run", run, "--threads", "1");
    cr_assert_eq(o.code, 128 + SIGTERM, "%s", o.err);
    outcome_free(&o);
    cr_assert_lt(finished_in(run), 2);
    free(OUTPUT("ablate", spec, "--run", run, "--threads", "1", "--quiet"));
    free(OUTPUT("ablate", spec, "--run", whole, "--threads", "1", "--quiet"));
    json_t *x = table_of(run), *y = table_of(whole);
    for (size_t i = 0; i < 2; i++) {
        json_t *a = json_array_get(json_object_get(x, "cells"), i), *b = json_array_get(json_object_get(y, "cells"), i);
        cr_expect(json_equal(json_object_get(a, "mse"), json_object_get(b, "mse")));
        cr_expect(json_equal(json_object_get(a, "perplexity"), json_object_get(b, "perplexity")));
    }
    json_decref(x);
    json_decref(y);
}

Test(train_ablation, wrong_command_lines)
{
    const char *spec = write_spec(HEAD);
    REFUSED(2, "--run=DIR is missing", "ablate", spec);
    REFUSED(2, "SPEC", "ablate");
    REFUSED(2, "nowhere.yaml", "ablate", "nowhere.yaml", "--run", "x");
    REFUSED(2, "jobs", "ablate", spec, "--run", "x", "--jobs", "0");
    REFUSED(1, "cannot make this folder", "ablate", spec, "--run", "/proc/nowhere");
}
