/* The program's commands, run as a user runs them on a tiny experiment. */
#include <criterion/criterion.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/support/shared.h"
#include "tests/train/run_program.h"
#include "train/commands.h"
#include "train/experiment.h"
#include "train/help.h"

static temp_folder folder;

static void setup(void)
{
    folder = temp_folder_make();
}

static void teardown(void)
{
    temp_folder_remove(&folder);
}

TestSuite(train_commands, .init = setup, .fini = teardown);

/* The JSON object that the program answers. */
static json_t *json_of(const char *const *arguments)
{
    char *text = output_of_program(arguments);
    json_error_t why;
    json_t *root = json_loads(text, JSON_REJECT_DUPLICATES, &why);
    cr_assert_not_null(root, "%s: %s in %s", arguments[0], why.text, text);
    cr_assert_eq(strchr(text, '\n') - text, (long)strlen(text) - 1, "more than a line");
    free(text);
    return root;
}
#define JSON(...) json_of((const char *const[]){__VA_ARGS__, NULL})

static int64_t integer(const json_t *root, const char *key)
{
    const json_t *value = json_object_get(root, key);
    cr_assert(json_is_integer(value), "%s", key);
    return json_integer_value(value);
}

static double number(const json_t *root, const char *key)
{
    const json_t *value = json_object_get(root, key);
    cr_assert(json_is_number(value), "%s", key);
    return json_number_value(value);
}

static void expect_parts(const char *text, const char *const *parts)
{
    for (; *parts; parts++)
        cr_expect(strstr(text, *parts), "'%s' is not in:\n%s", *parts, text);
}
#define EXPECT_PARTS(text, ...) expect_parts(text, (const char *const[]){__VA_ARGS__, NULL})

/* --- help and the command line ------------------------------------------------------------------------------------ */

Test(train_commands, help_of_every_command)
{
    int commands = 0;
    for (const ts_command *c = ts_tessera.commands; c->name; c++, commands++) {
        outcome o = RUN(c->name, "--help");
        cr_expect_eq(o.code, 0);
        cr_expect_str_eq(o.err, "");
        cr_expect(strstr(o.out, c->help) && strstr(o.out, "Usage: tessera"), "%s", o.out);
        for (const ts_argument_option *p = c->options; p && p->option.name; p++) {
            char name[80];
            snprintf(name, sizeof name, "--%s", p->option.name);
            cr_expect(strstr(o.out, name), "%s: no %s", c->name, name);
        }
        outcome_free(&o);
    }
    cr_assert_eq(commands, 16);
    char *all = OUTPUT("--help");
    for (const ts_command *c = ts_tessera.commands; c->name; c++)
        cr_expect(strstr(all, c->name));
    free(all);
}

Test(train_commands, version)
{
    char *text = OUTPUT("--version");
    cr_expect_str_eq(text, "tessera " TESSERA_VERSION "\n");
    free(text);
}

Test(train_commands, command_line_errors)
{
    const char *config = tiny_config(&folder), *run = kept_path(&folder, "run");
    REFUSED(2, "unknown command 'trian' (did you mean 'train'?)", "trian");
    REFUSED(2, "unknown option '--resmue' (did you mean '--resume'?)", "train", config, "--run", run, "--resmue");
    REFUSED(2, "option --run must be given", "train", config);
    REFUSED(2, "CONFIG is missing", "train", "--run", run);
    REFUSED(2, "unknown key 'btach' (did you mean 'batch'?)", "train", config, "--run", run, "train.btach=4");
    REFUSED(2, "'finite_scalar'", "train", config, "--run", run, "quantizer.kind=finite_scaler");
    REFUSED(2, "CHECKPOINT is missing", "eval");
    REFUSED(2, "option --output must be given", "encode", "a", "b");
    REFUSED(2, "one of val, train", "eval", "x.h5", "--split", "test");
    REFUSED(2, "--item", "plan", config, "--item", "8");
    REFUSED(2, "exclude each other", "config", "--list", "--man");
    REFUSED(2, "expected one CONFIG", "config");
    REFUSED(2, "unknown kind 'vectro' (did you mean 'vector'?)", "config", "--defaults", "vectro");
    cr_expect_neq(access(run, F_OK), 0, "a refused run leaves nothing");
    outcome o = run_program((const char *const[]){NULL}, (circumstances){0});
    cr_expect_eq(o.code, 2);
    outcome_free(&o);
}

/* --- train, eval -------------------------------------------------------------------------------------------------- */

Test(train_commands, train_then_eval)
{
    const char *last = tiny_run(&folder);
    char *first = OUTPUT("eval", last, "--json"), *second = OUTPUT("eval", last, "--json");
    cr_expect_str_eq(first, second, "the same bytes every time");
    free(first);
    free(second);
    json_t *root = JSON("eval", last, "--json", "--threads", "1");
    cr_expect_eq(integer(root, "step"), 4);
    cr_expect_eq(integer(root, "items"), 8);
    cr_expect_eq(integer(root, "codes"), 64);
    cr_expect_eq(integer(root, "tokens"), 8 * 4);
    cr_expect_gt(number(root, "mse"), 0);
    cr_expect_gt(number(root, "perplexity"), 0.999);
    cr_expect_str_eq(json_string_value(json_object_get(root, "split")), "val");
    cr_expect(strstr(json_string_value(json_object_get(root, "unit")), "[-1,1]"));
    cr_expect_eq(strlen(json_string_value(json_object_get(root, "weights"))), 32);
    EXPECT_PARTS(json_string_value(json_object_get(root, "checkpoint")), "last.h5");
    json_decref(root);
    root = JSON("eval", last, "--split", "train", "data.count=12", "--json");
    cr_expect_eq(integer(root, "items"), 12);
    json_decref(root);
    char *table = OUTPUT("eval", last);
    EXPECT_PARTS(table, "mse", "psnr", "perplexity", "weights");
    free(table);
}

static char *config_of_run(const char *name)
{
    size_t bytes;
    return file_content(kept_path(&folder, name), &bytes);
}

Test(train_commands, seed_is_an_override)
{
    const char *config = tiny_config(&folder);
    free(OUTPUT("train", config, "seed=5", "--run", kept_path(&folder, "a"), "--seed", "7", "--quiet"));
    char *text = config_of_run("a/config.yaml");
    EXPECT_PARTS(text, "seed: 7\n");
    free(text);
    text = OUTPUT("config", config, "--plain", "--seed", "7", "seed=5");
    EXPECT_PARTS(text, "seed: 5\n");
    free(text);
}

Test(train_commands, json_lines_of_training)
{
    char *text = OUTPUT("train", tiny_config(&folder), "--run", kept_path(&folder, "a"), "--json", "--quiet");
    int lines = 0;
    for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n"), lines++) {
        json_t *root = json_loads(line, 0, NULL);
        cr_assert_not_null(root, "%s", line);
        cr_expect_leq(integer(root, "step"), 4);
        json_decref(root);
    }
    cr_expect_geq(lines, 3, "steps 2 and 4, and an evaluation");
    free(text);
}

Test(train_commands, resume_goes_on_with_more_steps)
{
    const char *last = tiny_run(&folder), *run = kept_path(&folder, "run"), *config = tiny_config(&folder);
    free(OUTPUT("train", "--run", run, "--resume", "train.steps=6", "--quiet"));
    json_t *root = JSON("eval", last, "--json");
    cr_expect_eq(integer(root, "step"), 6);
    json_decref(root);
    free(OUTPUT("train", config, "--run", run, "--resume", "train.steps=7", "train.log_every=1", "--quiet"));
    REFUSED(2, "train.batch: 4 -> 8, train.lr: 0.0003 -> 0.5", "train", config, "--run", run, "--resume",
            "train.steps=9", "train.batch=8", "train.lr=0.5");
    REFUSED(2, "quantizer.kind: finite_scalar -> vector", "train", config, "--run", run, "--resume",
            "quantizer.kind=vector");
    REFUSED(2, "nothing to resume in", "train", "--run", kept_path(&folder, "other"), "--resume");
    root = JSON("eval", last, "--json");
    cr_expect_eq(integer(root, "step"), 7, "what was refused changed nothing");
    json_decref(root);
}

/* Resumed after every step, the weights are those of a run in one go. */
Test(train_commands, resume_gives_the_same_weights)
{
    const char *whole = tiny_run(&folder), *parts = kept_path(&folder, "parts"), *config = tiny_config(&folder);
    const char *last = kept_path(&folder, "parts/checkpoints/last.h5");
    free(OUTPUT("train", config, "--run", parts, "--quiet", "train.steps=1"));
    free(OUTPUT("train", "--run", parts, "--resume", "--quiet", "train.steps=3"));
    free(OUTPUT("train", "--run", parts, "--resume", "--quiet", "train.steps=4"));
    json_t *a = JSON("inspect", whole, "--json"), *b = JSON("inspect", last, "--json");
    cr_expect_str_eq(json_string_value(json_object_get(a, "weights")),
                     json_string_value(json_object_get(b, "weights")));
    json_decref(a);
    json_decref(b);
}

static void expect_interrupted(int signal, int code)
{
    char run[600];
    snprintf(run, sizeof run, "%s/long-%d", folder.path, signal);
    char metrics[700], last[700];
    snprintf(metrics, sizeof metrics, "%s/metrics.jsonl", run);
    snprintf(last, sizeof last, "%s/checkpoints/last.h5", run);
    circumstances c = {.signal = signal, .signal_when = metrics};
    outcome o = RUN_IN(c, "train", tiny_config(&folder), "--run", run, "--quiet", "train.steps=100000000");
    cr_expect_eq(o.code, code, "%d: %s", o.code, o.err);
    outcome_free(&o);
    json_t *root = JSON("eval", last, "--json");
    int64_t step = integer(root, "step");
    cr_expect_gt(step, 0);
    json_decref(root);
    char steps[60];
    snprintf(steps, sizeof steps, "train.steps=%lld", (long long)step + 2);
    free(OUTPUT("train", "--run", run, "--resume", "--quiet", steps));
    root = JSON("inspect", last, "--json");
    cr_expect_eq(integer(root, "step"), step + 2);
    json_decref(root);
}

Test(train_commands, signals_save_and_leave)
{
    expect_interrupted(SIGINT, 130);
    expect_interrupted(SIGTERM, 143);
}

/* --- plan, inspect ------------------------------------------------------------------------------------------------ */

Test(train_commands, plan)
{
    const char *last = tiny_run(&folder), *config = tiny_config(&folder);
    json_t *root = JSON("plan", config, "--json"), *parameters = json_object_get(root, "parameters");
    json_t *inspected = JSON("inspect", last, "--json");
    cr_expect_eq(integer(parameters, "total"), integer(inspected, "parameters"));
    cr_expect_eq(integer(parameters, "weight") + integer(parameters, "bias"), integer(parameters, "total"));
    cr_expect_eq(integer(json_object_get(root, "tokens"), "codes"), 64);
    cr_expect_eq(integer(json_object_get(root, "tokens"), "per_item"), 4);
    const json_t *step = json_object_get(root, "step"), *memory = json_object_get(root, "memory");
    cr_expect_gt(number(step, "flops"), 1e4);
    cr_expect_gt(number(step, "measured_flops_per_s"), 1e6);
    cr_expect_geq(number(memory, "step_unshared_bytes"), 1);
    cr_expect_eq(number(memory, "peak_bytes"), number(memory, "arena_bytes") + number(memory, "store_bytes"));
    cr_expect_gt(number(json_object_get(root, "time"), "run_s"), 0);
    cr_expect_not_null(json_object_get(json_object_get(root, "variables"), "encoder.conv1.weight"));
    json_decref(root);
    json_decref(inspected);
}

/* Data that is not there is not missed where the options tell the shape of an item. */
Test(train_commands, plan_reads_no_data)
{
    const char *config = tiny_config(&folder);
    char *text = OUTPUT("plan", config, "data.kind=cifar", "data.path=/nowhere");
    EXPECT_PARTS(text, "[32, 32, 3]", "codes");
    free(text);
    text = OUTPUT("plan", config, "data.kind=idx", "data.path=/nowhere", "--item", "28x28x1", "--nodes");
    EXPECT_PARTS(text, "conv", "encoder.conv1");
    free(text);
    text = OUTPUT("plan", config, "data.kind=idx", "data.path=/nowhere");
    EXPECT_PARTS(text, "[28, 28, 1]", "assumed, as MNIST has it");
    free(text);
    REFUSED(3, "--item", "plan", config, "data.kind=hdf5", "data.path=/nowhere");
}

/* What is in force and nothing else, with the numbers of the config. */
Test(train_commands, explain)
{
    const char *config = tiny_config(&folder);
    char *text = OUTPUT("explain", config, "quantizer.kind=vector_ema", "quantizer.decay=0.75", "train.clip=2.5");
    EXPECT_PARTS(text, "n = 0.75 n + (1 - 0.75) c", "min(1, 2.5 / (|g| + 1e-6))", "straight-through");
    cr_expect_null(strstr(text, "u.q < -0.99"));
    free(text);
    text = OUTPUT("explain", config, "quantizer.kind=vector_ema", "quantizer.rotation=true", "train.optimizer=sgd");
    EXPECT_PARTS(text, "u.q < -0.99", "b = 0.9 b + g");
    cr_expect_null(strstr(text, "sqrt(v"));
    free(text);
    json_t *root = JSON("explain", config, "--json");
    cr_expect_str_eq(json_string_value(json_object_get(root, "kind")), "finite_scalar");
    cr_expect_eq(json_array_size(json_object_get(root, "quantizer_step")), 0);
    cr_expect_gt(json_array_size(json_object_get(root, "step")), 2);
    json_decref(root);
    text = OUTPUT("explain", config, "data.kind=hdf5", "data.path=/nowhere");
    EXPECT_PARTS(text, "the data would tell their shapes", "total = ");
    free(text);
    REFUSED(2, "--item", "explain", config, "--item", "8");
}

Test(train_commands, diff)
{
    const char *last = tiny_run(&folder), *out = kept_path(&folder, "out");
    const char *other = kept_path(&folder, "other"), *last_of_other = kept_path(&folder, "other/checkpoints/last.h5");
    free(OUTPUT("train", tiny_config(&folder), "--run", other, "--quiet", "train.steps=6"));
    json_t *root = JSON("diff", last, last, "--json");
    cr_expect(json_is_true(json_object_get(root, "same")) && integer(root, "equal_tensors") > 10);
    json_decref(root);
    outcome o = RUN("diff", last, last_of_other);
    cr_expect_eq(o.code, 1, "they differ");
    EXPECT_PARTS(o.out, "model/encoder.conv1.weight: ", " values, largest difference", "train.steps: 4 -> 6");
    outcome_free(&o);
    free(OUTPUT("export", last, "-o", out, "--names", "own"));
    o = RUN("diff", kept_path(&folder, "out/model.safetensors"), last);
    cr_expect_eq(o.code, 1);
    EXPECT_PARTS(o.out, "only_in_a", "encoder.conv1.weight", "only_in_b", "model/encoder.conv1.weight");
    outcome_free(&o);
    root = JSON("inspect", kept_path(&folder, "out/model.safetensors"), "--json");
    cr_expect_str_eq(json_string_value(json_object_get(root, "kind")), "safetensors");
    cr_expect_eq(json_array_size(json_object_get(root, "tensors")), 12);
    json_decref(root);
    REFUSED(4, "/nowhere", "diff", last, "/nowhere");
}

Test(train_commands, bench)
{
    const char *config = tiny_config(&folder);
    json_t *root = JSON("bench", config, "--steps", "4", "--json"), *ops = json_object_get(root, "ops"), *op;
    const json_t *step = json_object_get(root, "step");
    const char *name;
    double shares = 0, floors = 0;
    cr_expect_eq(integer(step, "measured"), 4);
    cr_expect_leq(number(step, "lowest_ms"), number(step, "median_ms"));
    cr_expect_leq(number(step, "median_ms"), number(step, "highest_ms"));
    cr_expect_float_eq(number(root, "steps_per_s") * number(step, "median_ms"), 1000, 1e-3);
    json_object_foreach(ops, name, op)
    {
        shares += number(op, "share");
        floors += number(op, "floor_ms");
    }
    cr_expect_float_eq(shares, 1, 1e-6);
    cr_expect_float_eq(floors, number(root, "floor_ms"), 1e-6 * floors);
    cr_expect_gt(integer(json_object_get(ops, "conv"), "count"), 0);
    cr_expect_geq(number(root, "first_step_ms"), 0.01);
    cr_expect_geq(number(json_object_get(root, "memory"), "process_peak_bytes"),
                  number(json_object_get(root, "memory"), "arena_bytes"));
    json_decref(root);
    char *text = OUTPUT("bench", config, "train.accumulate=2", "train.batch=4", "--steps", "1");
    EXPECT_PARTS(text, "steps_per_s", "floor, ms", "conv_dw", "adamw");
    free(text);
    REFUSED(2, "steps", "bench", config, "--steps", "0");
}

Test(train_commands, inspect)
{
    const char *last = tiny_run(&folder);
    json_t *root = JSON("inspect", last, "--json"), *tensors = json_object_get(root, "tensors");
    size_t bytes;
    free(file_content(last, &bytes));
    cr_expect_eq(integer(root, "file_bytes"), (int64_t)bytes);
    cr_expect_eq(json_array_size(tensors), (size_t)integer(root, "tensor_count"));
    cr_expect_geq(json_array_size(tensors), 36, "12 parameters, their m and v");
    for (size_t i = 0; i < json_array_size(tensors); i++) {
        const json_t *row = json_array_get(tensors, i);
        cr_expect_eq(strlen(json_string_value(json_object_get(row, "hash"))), 32);
        cr_expect_leq(number(row, "min"), number(row, "mean"));
        cr_expect_leq(number(row, "mean"), number(row, "max"));
        cr_expect_eq(integer(row, "not_finite"), 0);
    }
    EXPECT_PARTS(json_string_value(json_object_get(root, "config")), "levels: [4, 4, 4]\n", "steps: 4\n");
    json_decref(root);
    char *table = OUTPUT("inspect", last);
    EXPECT_PARTS(table, "model/encoder.conv1.weight", "verified              yes", "steps: 4\n");
    free(table);
}

/* --- config, doctor ----------------------------------------------------------------------------------------------- */

Test(train_commands, config_prints_what_it_loads)
{
    char *once = OUTPUT("config", "--plain", tiny_config(&folder), "train.batch=9");
    EXPECT_PARTS(once, "batch: 9\n", "lr: 0.0003\n");
    char *again = OUTPUT("config", "--plain", kept_write(&folder, "again.yaml", once, strlen(once)));
    cr_expect_str_eq(once, again);
    free(once);
    free(again);
    char *list = OUTPUT("config", "--list");
    EXPECT_PARTS(list, "quantizer.levels", "train.batch", "data.kind=shapes");
    free(list);
}

/* Defaults of each kind, with nothing missing, are a config that loads. */
Test(train_commands, config_defaults_load)
{
    static const char *const kinds[] = {
        "shapes",    "vector", "vector_ema", "finite_scalar",     "quantizer.kind=vector_reset", "lookup_free",
        "spherical", "sim_vq", "latent",     "random_projection", "scalar_perturbation",         "image_classic"};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        char *text = OUTPUT("config", "--defaults", kinds[i]);
        free(OUTPUT("config", kept_write(&folder, "defaults.yaml", text, strlen(text))));
        free(text);
    }
}

/* The peers' name for 2^bits. */
Test(train_commands, codebook_size_is_a_power_of_two)
{
    const char *good = kept_write(&folder, "a.yaml", "quantizer: {kind: lookup_free, codebook_size: 65536}", 52);
    const char *bad = kept_write(&folder, "b.yaml", "quantizer: {kind: lookup_free, codebook_size: 1000}", 51);
    char *text = OUTPUT("config", "--plain", good);
    EXPECT_PARTS(text, "bits: 16\n");
    free(text);
    REFUSED(2, "codebook_size: expected one of 2, 4, 8", "config", bad);
}

static int shell(const char *command)
{
    int status = system(command);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

Test(train_commands, man_page_and_completion)
{
    char *man = OUTPUT("config", "--man"), command[2000];
    EXPECT_PARTS(man, ".SH EXIT STATUS", "dump\\-start", "quantizer.levels");
    const char *page = kept_write(&folder, "tessera.1", man, strlen(man));
    snprintf(command, sizeof command, "test -z \"$(groff -man -Tutf8 -ww -z '%s' 2>&1)\"", page);
    if (access("/usr/bin/groff", X_OK) == 0)
        cr_expect_eq(shell(command), 0, "groff warns");
    else
        skip_counted("no groff on this machine");
    free(man);
    char *completion = OUTPUT("config", "--completion", "bash");
    const char *script = kept_write(&folder, "tessera.bash", completion, strlen(completion));
    snprintf(command, sizeof command,
             "bash -uec 'source \"%s\"; COMP_WORDS=(tessera do); COMP_CWORD=1; _tessera; "
             "test \"${COMPREPLY[0]}\" = doctor; complete -p tessera >/dev/null'",
             script);
    cr_expect_eq(shell(command), 0);
    free(completion);
}

Test(train_commands, doctor)
{
    json_t *root = JSON("doctor", "--json");
    cr_expect_str_eq(json_string_value(json_object_get(root, "version")), TESSERA_VERSION);
    cr_expect_str_eq(json_string_value(json_object_get(json_object_get(root, "devices"), "cpu")), "ready");
    cr_expect_geq(integer(json_object_get(root, "threads"), "usable"), 1);
    cr_expect_geq(json_array_size(json_object_get(root, "openmp")), 1, "an OpenMP runtime is loaded");
    cr_expect_gt(integer(json_object_get(root, "memory"), "available_bytes"), 0);
    cr_expect(json_is_array(json_object_get(root, "warnings")));
    json_decref(root);
    char *table = OUTPUT("doctor");
    EXPECT_PARTS(table, "oneDNN", "available_bytes");
    free(table);
}

/* --- the configs that are shipped --------------------------------------------------------------------------------- */

Test(train_commands, shipped_configs_plan)
{
    static const char *const names[] = {
        "images/mnist_fsq",    "images/mnist_vq",   "images/mnist_vq_ema",      "images/kodak_classic_vq_ema",
        "images/cifar_vq_ema", "images/shapes_fsq", "images/shapes_vq",         "motion/t2m_vqvae",
        "motion/small_fsq",    "motion/small_vq",   "motion/motionmillion_fsq", "motion/motionmillion_fsq_causal",
        "motion/chains_fsq"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char path[1000];
        ts_config *config;
        ts_error err = {0};
        snprintf(path, sizeof path, TESSERA_SOURCE "/configs/%s.yaml", names[i]);
        cr_assert_eq(ts_config_load(&config, ts_experiment_schema(), path, NULL, &err), TS_OK, "%s", err.text);
        const ts_top_options *top = ts_config_options(config, "");
        cr_expect_str_eq(top->name, strchr(names[i], '/') + 1);
        cr_expect(*top->description && *top->expect, "%s: description and expect", names[i]);
        ts_config_free(config);
        json_t *root = JSON("plan", path, "--json");
        cr_expect_gt(integer(json_object_get(root, "parameters"), "total"), 9000);
        json_decref(root);
    }
}
