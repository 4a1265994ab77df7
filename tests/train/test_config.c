#include "config/config.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "tests/train/config_sample.h"
#include "tests/train/temp_folder.h"

static const char full[] = "# an experiment\n"
                           "seed: 7\n"
                           "name: mnist\n"
                           "description: |\n"
                           "  two lines,\n"
                           "  \"quoted\" and é\n"
                           "data:\n"
                           "  kind: idx\n"
                           "  path: ../shared/data/mnist  # a comment\n"
                           "quantizer:\n"
                           "  kind: finite_scalar\n"
                           "  levels: [8, 5, 5]\n"
                           "  bound: \"off\"\n"
                           "train:\n"
                           "  steps: 200\n"
                           "  batch_size: 32\n"
                           "  lr: 1e-3\n"
                           "  shuffle: no\n";

static ts_config *config;
static ts_error error;

static ts_status parse(const char *text, const char *const *overrides)
{
    ts_config_free(config);
    error = (ts_error){0};
    ts_status status = ts_config_parse(&config, &sample_schema, "x.yaml", text, strlen(text), overrides, &error);
    cr_expect_eq(status == TS_OK, config != NULL);
    return status;
}

static void parse_good(const char *text, const char *const *overrides)
{
    cr_assert_eq(parse(text, overrides), TS_OK, "%s", error.text);
}

static void teardown(void)
{
    ts_config_free(config);
    config = NULL;
}

TestSuite(train_config, .fini = teardown);

#define OVERRIDES(...) ((const char *const[]){__VA_ARGS__, NULL})

Test(train_config, sample_schema_is_sound)
{
    cr_assert_eq(ts_config_schema_check(&sample_schema, &error), TS_OK, "%s", error.text);
}

Test(train_config, fills_structs)
{
    parse_good(full, NULL);
    const sample_top *top = ts_config_options(config, "");
    const sample_data_idx *data = ts_config_options(config, "data");
    const sample_finite *finite = ts_config_options(config, "quantizer");
    const sample_train *train = ts_config_options(config, "train");
    cr_expect_eq(top->seed, 7);
    cr_expect_str_eq(top->description, "two lines,\n\"quoted\" and é\n");
    cr_expect_str_eq(top->expect, "");
    cr_expect_str_eq(data->path, "../shared/data/mnist");
    cr_expect_eq(ts_config_kind(config, "data"), 0);
    cr_expect_str_eq(ts_config_table(config, "quantizer")->kind, "finite_scalar");
    cr_expect(finite->levels.count == 3 && finite->levels.value[1] == 5);
    cr_expect_eq(finite->bound, 2);
    cr_expect(train->steps == 200 && train->batch == 32 && train->lr == 1e-3 && !train->shuffle);
    cr_expect_null(ts_config_options(config, "nothing"));
    cr_expect_null(ts_config_table(config, "nothing"));
    cr_expect_eq(ts_config_kind(config, "nothing"), -1);
}

Test(train_config, lists_in_blocks_and_sections_in_flow)
{
    parse_good(
        "data: {kind: shapes, shapes: [circle, 'a, b']}\nquantizer:\n  levels:\n  - 8\n  - 4\ntrain:\nlogging:\n",
        NULL);
    const sample_data_shapes *data = ts_config_options(config, "data");
    const sample_finite *finite = ts_config_options(config, "quantizer");
    cr_expect_eq(data->shapes.count, 2);
    cr_expect_str_eq(data->shapes.value[1], "a, b");
    cr_expect(finite->levels.count == 2 && finite->levels.value[1] == 4);
}

Test(train_config, overrides_come_after_the_file)
{
    parse_good(full, OVERRIDES("train.batch=8", "train.batch_size=16", "quantizer.levels=[4, 4]", "seed=9", "name=a=b",
                               "train.note=", "train.note= spaced "));
    const sample_train *train = ts_config_options(config, "train");
    cr_expect_eq(train->batch, 16);
    cr_expect_str_eq(train->note, " spaced ");
    cr_expect_eq(((const sample_finite *)ts_config_options(config, "quantizer"))->levels.value[0], 4);
    cr_expect_eq(((const sample_top *)ts_config_options(config, ""))->seed, 9);
    cr_expect_str_eq(((const sample_top *)ts_config_options(config, ""))->name, "a=b");
}

Test(train_config, an_override_of_the_kind_leaves_foreign_keys_out)
{
    parse_good(full, OVERRIDES("quantizer.codes=128", "quantizer.kind=vector", "quantizer.bound=cosine"));
    const sample_vector *vector = ts_config_options(config, "quantizer");
    cr_expect_eq(vector->codes, 128);
    cr_expect_eq(vector->bound, 1);
    cr_expect_str_eq(ts_config_note(config, 0),
                     "x.yaml:12: quantizer: 'levels' is left out: kind 'vector' does not take it");
    cr_expect_str_eq(ts_config_note(config, 1),
                     "x.yaml:13: quantizer: 'bound' is left out: kind 'vector' does not take it");
    cr_expect_null(ts_config_note(config, 2));
    cr_expect_eq(parse(full, OVERRIDES("quantizer.kind=vector", "quantizer.levels=[2]")), TS_ERR_USAGE);
    cr_expect_eq(parse(full, OVERRIDES("quantizer.kind=vector", "quantizer.bound=off")), TS_ERR_USAGE);
    cr_expect_eq(parse("quantizer: {levls: [2]}", OVERRIDES("quantizer.kind=vector", "data.kind=shapes")),
                 TS_ERR_USAGE);
}

Test(train_config, where_values_come_from)
{
    parse_good(full, OVERRIDES("train.lr=0.1", "quantizer.noise=yes"));
    ts_config_origin lr = ts_config_where(config, "train.lr"), batch = ts_config_where(config, "train.batch");
    cr_expect(lr.source == TS_FROM_OVERRIDE && lr.line == 0);
    cr_expect_str_eq(lr.override, "train.lr=0.1");
    cr_expect(batch.source == TS_FROM_FILE && batch.line == 16 && !batch.override);
    cr_expect_eq(ts_config_where(config, "quantizer.kind").line, 11);
    cr_expect_eq(ts_config_where(config, "train.optimizer").source, TS_FROM_DEFAULT);
    cr_expect_eq(ts_config_where(config, "train.nothing").source, TS_FROM_DEFAULT);
}

static void expect_text(const char *key, const char *want)
{
    char *text = NULL;
    cr_expect_eq(ts_config_get_text(config, key, &text, &error), TS_OK, "%s: %s", key, error.text);
    cr_expect_str_eq(text, want);
    ts_free(text);
}

Test(train_config, get_text)
{
    parse_good(full, NULL);
    expect_text("train.batch", "32");
    expect_text("train.batch_size", "32");
    expect_text("train.lr", "0.001");
    expect_text("train.shuffle", "false");
    expect_text("quantizer.kind", "finite_scalar");
    expect_text("quantizer.levels", "[8, 5, 5]");
    expect_text("quantizer.bound", "off");
    expect_text("seed", "7");
    char *text;
    cr_expect_eq(ts_config_get_text(config, "train.kind", &text, &error), TS_ERR_USAGE);
    cr_expect_eq(ts_config_get_text(config, "train", &text, &error), TS_ERR_USAGE);
    cr_expect_eq(ts_config_get_text(config, "trian.batch", &text, &error), TS_ERR_USAGE);
    cr_expect_null(text);
}

Test(train_config, later_override_is_all_or_nothing)
{
    parse_good(full, OVERRIDES("train.batch=8"));
    cr_expect_eq(ts_config_override(config, "train.batch=0", &error), TS_ERR_USAGE);
    cr_expect_eq(ts_config_override(config, "quantizer.kind=vectro", &error), TS_ERR_USAGE);
    cr_expect_eq(ts_config_override(config, "train.speed=1", &error), TS_ERR_USAGE);
    expect_text("train.batch", "8");
    cr_expect_eq(ts_config_override(config, "train.batch=16", &error), TS_OK, "%s", error.text);
    expect_text("train.batch", "16");
    cr_expect_eq(ts_config_override(config, "quantizer.kind=vector", &error), TS_OK, "%s", error.text);
    expect_text("quantizer.bound", "none");
    cr_expect_eq(ts_config_override(config, "quantizer.kind=finite_scalar", &error), TS_OK, "%s", error.text);
    expect_text("quantizer.bound", "off");
    cr_expect_eq(ts_config_override(config, "train.batch=32", &error), TS_OK, "%s", error.text);
    expect_text("train.lr", "0.001");
}

/* --- messages ----------------------------------------------------------------------------------------------------- */

typedef struct {
    const char *text, *override, *message;
} error_case;

/* Every text gets the required keys of data appended, so that nothing but the mistake is wrong. */
static void expect_errors(const error_case *cases, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        char text[1000];
        snprintf(text, sizeof text, "%s\ndata: {kind: idx, path: p}\n", cases[i].text);
        ts_status status = parse(text, OVERRIDES(cases[i].override));
        cr_expect_eq(status, TS_ERR_USAGE, "%s %s", text, cases[i].override);
        cr_expect_str_eq(error.text, cases[i].message);
        cr_expect_null(strchr(error.text, '\n'));
    }
}
#define EXPECT_ERRORS(cases) expect_errors(cases, sizeof cases / sizeof *cases)

Test(train_config, unknown_names)
{
    static const error_case cases[] = {
        {"train:\n  btach: 3", NULL, "x.yaml:2: train: unknown key 'btach' (did you mean 'batch'?)"},
        {"train: {temperature: 3}", NULL,
         "x.yaml:1: train: unknown key 'temperature' (tessera config --list shows all)"},
        {"train: {kind: a}", NULL, "x.yaml:1: train: unknown key 'kind' (tessera config --list shows all)"},
        {"sead: 3", NULL, "x.yaml:1: unknown key 'sead' (did you mean 'seed'?)"},
        {"\n\ntrian: {batch: 3}", NULL, "x.yaml:3: unknown section 'trian' (did you mean 'train'?)"},
        {"batch: 3", NULL, "x.yaml:1: unknown key 'batch' (did you mean 'train.batch'?)"},
        {"zebra: 3", NULL, "x.yaml:1: unknown key 'zebra'"},
        {"quantizer:\n  kind: vetcor", NULL,
         "x.yaml:2: quantizer: unknown kind 'vetcor' (did you mean 'vector'?), expected one of finite_scalar, vector"},
        {"quantizer: {kind: fsq}", NULL,
         "x.yaml:1: quantizer: unknown kind 'fsq', expected one of finite_scalar, vector"},
        {"quantizer: {codes: 5}", NULL,
         "x.yaml:1: quantizer: unknown key 'codes' for kind 'finite_scalar' (kind 'vector' has it)"},
        {"seed: 1", "trian.batch=3", "override 'trian.batch=3': unknown section 'trian' (did you mean 'train'?)"},
        {"seed: 1", "train.btach=3", "override 'train.btach=3': unknown key 'btach' (did you mean 'batch'?)"},
        {"seed: 1", "batch=3", "override 'batch=3': unknown key 'batch' (did you mean 'train.batch'?)"},
        {"seed: 1", "train=3", "override 'train=3': 'train' is a section: write train.KEY"},
        {"seed: 1", ".batch=3", "override '.batch=3': unknown section ''"},
        {"seed: 1", "train.batch", "override 'train.batch': expected KEY=VALUE, such as train.batch=64, in UTF-8"},
        {"seed: 1", "=3", "override '=3': expected KEY=VALUE, such as train.batch=64, in UTF-8"},
        {"seed: 1", "name=\xff", "override 'name=?': expected KEY=VALUE, such as train.batch=64, in UTF-8"},
    };
    EXPECT_ERRORS(cases);
}

Test(train_config, wrong_values)
{
    static const error_case cases[] = {
        {"train:\n  batch: yes", NULL, "x.yaml:2: train: batch: expected an integer from 1 to 65536, found 'yes'"},
        {"train: {batch: 0}", NULL, "x.yaml:1: train: batch: expected an integer from 1 to 65536, found '0'"},
        {"train: {batch: '64'}", NULL,
         "x.yaml:1: train: batch: expected an integer from 1 to 65536, found a text in quotes '64'"},
        {"train: {batch: [64]}", NULL,
         "x.yaml:1: train: batch: expected an integer from 1 to 65536, found a list '[64]'"},
        {"train: {batch: {a: 1}}", NULL,
         "x.yaml:1: train: batch: expected an integer from 1 to 65536, found keys with values of their own"},
        {"train: {batch: }", NULL, "x.yaml:1: train: batch: expected an integer from 1 to 65536, found no value"},
        {"train: {batch_size: ~}", NULL, "x.yaml:1: train: batch: expected an integer from 1 to 65536, found no value"},
        {"name:", NULL, "x.yaml:1: name: expected text, found no value"},
        {"name: null", NULL, "x.yaml:1: name: expected text, found no value"},
        {"name: [a]", NULL, "x.yaml:1: name: expected text, found a list '[a]'"},
        {"name: \"a\\0b\"", NULL, "x.yaml:1: a text with a NUL (\\0) in it"},
        {"seed: -1", NULL, "x.yaml:1: seed: expected an integer of at least 0, found '-1'"},
        {"train: {lr: .inf}", NULL, "x.yaml:1: train: lr: expected a number of at least 0, found '.inf'"},
        {"train: {optimizer: adam}", NULL,
         "x.yaml:1: train: optimizer: expected one of adamw, sgd, found 'adam' (did you mean 'adamw'?)"},
        {"quantizer: {levels: 8}", NULL,
         "x.yaml:1: quantizer: levels: expected a list of integers, each from 2 to 64, found a single value '8'"},
        {"quantizer: {levels: [8, '5']}", NULL,
         "x.yaml:1: quantizer: levels: expected a list of integers, each from 2 to 64, found '[8, \"5\"]'"},
        {"quantizer: {levels: [8, [5]]}", NULL,
         "x.yaml:1: expected single values in a list, found a list or a mapping"},
        {"quantizer: {levels: [8, ~]}", NULL, "x.yaml:1: an item of a list has no value"},
        {"quantizer: {levels: [8, 65]}", NULL,
         "x.yaml:1: quantizer: levels: expected a list of integers, each from 2 to 64, found '[8, 65]'"},
        {"quantizer: {kind: [vector]}", NULL, "x.yaml:1: quantizer: kind: expected text, found a list '[vector]'"},
        {"train: 3", NULL, "x.yaml:1: train: expected a section (keys, indented), found a single value"},
        {"train: [3]", NULL, "x.yaml:1: train: expected a section (keys, indented), found a list"},
        {"train: {? [a] : 3}", NULL, "x.yaml:1: expected the name of a key or section, found something else"},
        {"seed: 1", "train.batch=many",
         "override 'train.batch=many': batch: expected an integer from 1 to 65536, found 'many'"},
        {"seed: 1",
         "train.batch=", "override 'train.batch=': batch: expected an integer from 1 to 65536, found nothing"},
    };
    EXPECT_ERRORS(cases);
}

Test(train_config, things_given_twice)
{
    static const error_case cases[] = {
        {"seed: 1\nseed: 2", NULL, "x.yaml:2: 'seed' is given twice, first in line 1"},
        {"train:\n  batch: 1\n  batch: 1", NULL, "x.yaml:3: train: 'batch' is given twice, first in line 2"},
        {"train:\n  batch: 1\n  batch_size: 1", NULL, "x.yaml:3: train: 'batch' is given twice, first in line 2"},
        {"train: {}\ntrain: {}", NULL, "x.yaml:2: section 'train' is given twice, first in line 1"},
        {"quantizer:\n  kind: vector\n  kind: vector", NULL,
         "x.yaml:3: quantizer: 'kind' is given twice, first in line 2"},
    };
    EXPECT_ERRORS(cases);
}

Test(train_config, yaml_that_a_config_does_not_need)
{
    static const error_case cases[] = {
        {"train: {batch: &a 3}", NULL,
         "x.yaml:1: anchors (&a), aliases (*a) and tags (!t) are not supported: write the value, or quote the text"},
        {"train: *a", NULL,
         "x.yaml:1: anchors (&a), aliases (*a) and tags (!t) are not supported: write the value, or quote the text"},
        {"seed: !!int 3", NULL,
         "x.yaml:1: anchors (&a), aliases (*a) and tags (!t) are not supported: write the value, or quote the text"},
        {"%YAML 1.1\n---\nseed: 1", NULL, "x.yaml:1: a line that starts with '%' (a YAML directive) is not supported"},
        {"seed: 1\n---\nname: b", NULL, "x.yaml:2: a second document starts here: a config is one"},
        {"a: [[[[[[[[1]]]]]]]]", NULL, "x.yaml:1: nested too deep for a config"},
    };
    EXPECT_ERRORS(cases);
}

Test(train_config, broken_yaml_names_line_and_column)
{
    static const char *const broken[] = {
        "seed: 1\ntrain: [", "train: {batch: 3", "a: b: c", "\tseed: 1", "seed: \"x", "\x01", "seed: \xff", "- - }",
        "? ? ?\n:::",        "\"\\ud800\": 1"};
    for (size_t i = 0; i < sizeof broken / sizeof *broken; i++) {
        cr_expect_eq(parse(broken[i], NULL), TS_ERR_USAGE, "%s", broken[i]);
        cr_expect_eq(strncmp(error.text, "x.yaml:", 7), 0, "%s", error.text);
    }
    cr_expect_eq(parse("seed: 1\nname: a: b\n", NULL), TS_ERR_USAGE);
    cr_expect_str_eq(error.text, "x.yaml:2:8: not valid YAML: mapping values are not allowed in this context");
}

Test(train_config, nothing_in_it)
{
    static const char *const empty[] = {"", "\n", "# only a comment\n", "---\n", "~", "null"};
    for (size_t i = 0; i < sizeof empty / sizeof *empty; i++)
        cr_expect_eq(parse(empty[i], NULL), TS_ERR_USAGE, "'%s'", empty[i]);
    cr_expect_eq(parse("[a]", NULL), TS_ERR_USAGE);
    cr_expect_eq(parse("a", NULL), TS_ERR_USAGE);
    parse_good("{}", OVERRIDES("data.kind=shapes"));
    cr_expect_eq(ts_config_parse(&(ts_config *){NULL}, &sample_schema, "x", "a\0b", 3, NULL, &error), TS_ERR_USAGE);
}

Test(train_config, required_keys_and_kinds)
{
    cr_expect_eq(parse("{}", NULL), TS_ERR_USAGE);
    cr_expect_str_eq(error.text, "x.yaml: data: kind must be given: one of idx, shapes");
    cr_expect_eq(parse("data: {kind: idx}", NULL), TS_ERR_USAGE);
    cr_expect_str_eq(error.text, "x.yaml: key 'data.path' must be given: folder with the files");
    parse_good("data: {kind: idx}", OVERRIDES("data.path=/tmp"));
}

/* --- files -------------------------------------------------------------------------------------------------------- */

static void expect_load_error(const char *path, const char *part)
{
    ts_config *loaded;
    error = (ts_error){0};
    cr_expect_eq(ts_config_load(&loaded, &sample_schema, path, NULL, &error), TS_ERR_USAGE, "%s", path);
    cr_expect(strstr(error.text, part), "%s", error.text);
    cr_expect_null(loaded);
}

Test(train_config, files)
{
    temp_folder folder = temp_folder_make();
    expect_load_error(temp_path(&folder, "absent.yaml"), "absent.yaml: cannot open the config: No such file");
    expect_load_error(folder.path, "cannot read the config: Is a directory");
    expect_load_error(temp_write(&folder, "empty.yaml", "", 0), "is empty (0 bytes)");
    char *big = malloc(TS_CONFIG_MAX_BYTES + 1);
    memset(big, '#', TS_CONFIG_MAX_BYTES + 1);
    expect_load_error(temp_write(&folder, "big.yaml", big, TS_CONFIG_MAX_BYTES + 1), "larger than 1048576 bytes");
    free(big);
    const char *path = temp_write(&folder, "full.yaml", full, sizeof full - 1);
    cr_expect_eq(ts_config_load(&config, &sample_schema, path, OVERRIDES("seed=2"), &error), TS_OK, "%s", error.text);
    temp_folder_remove(&folder);
}

/* --- printing ----------------------------------------------------------------------------------------------------- */

static char *print(bool commented)
{
    char *text;
    cr_assert_eq(ts_config_print(config, commented, &text, &error), TS_OK, "%s", error.text);
    return text;
}

Test(train_config, canonical_text)
{
    parse_good(full, OVERRIDES("train.lr=1e-5", "train.note=it's: \"x\" # y\t\x01"));
    char *text = print(false);
    cr_expect_str_eq(text, "seed: 7\n"
                           "name: mnist\n"
                           "description: \"two lines,\\n\\\"quoted\\\" and é\\n\"\n"
                           "expect: \"\"\n"
                           "\n"
                           "data:\n"
                           "  kind: idx\n"
                           "  path: \"../shared/data/mnist\"\n"
                           "  limit: 0\n"
                           "\n"
                           "quantizer:\n"
                           "  kind: finite_scalar\n"
                           "  levels: [8, 5, 5]\n"
                           "  bound: \"off\"\n"
                           "  noise: false\n"
                           "\n"
                           "train:\n"
                           "  steps: 200\n"
                           "  batch: 32\n"
                           "  lr: 1.0e-05\n"
                           "  optimizer: adamw\n"
                           "  shuffle: false\n"
                           "  note: \"it's: \\\"x\\\" # y\\t\\u0001\"\n"
                           "\n"
                           "logging: {}\n");
    ts_free(text);
}

/* Printed, loaded, printed: the same text, and structs that hold the same values. */
static void expect_round_trip(bool commented)
{
    char *first = print(commented), *plain = print(false);
    ts_config *before = config;
    config = NULL;
    parse_good(first, NULL);
    char *second = print(commented);
    cr_expect_str_eq(first, second);
    cr_expect_eq(ts_config_diff(before, config, NULL), 0);
    ts_free(second);
    second = print(false);
    cr_expect_str_eq(plain, second);
    ts_free(first);
    ts_free(second);
    ts_free(plain);
    ts_config_free(before);
}

Test(train_config, print_and_load_give_identical_structs)
{
    parse_good(full, OVERRIDES("train.lr=0.30000000000000004", "train.batch=7",
                               "train.note=\xe2\x80\xa8 \xf0\x9f\x98\x80 \\ \" \n\r\x7f\xc2\x85"));
    sample_train train = *(const sample_train *)ts_config_options(config, "train");
    sample_finite finite = *(const sample_finite *)ts_config_options(config, "quantizer");
    char *note = ts_strdup(train.note);
    expect_round_trip(false);
    expect_round_trip(true);
    const sample_train *again = ts_config_options(config, "train");
    cr_expect_str_eq(again->note, note);
    train.note = again->note; /* the text is the same in another place; everything else must be so bit for bit */
    cr_expect_eq(memcmp(&train, again, sizeof train), 0);
    cr_expect_eq(memcmp(&finite, ts_config_options(config, "quantizer"), sizeof finite), 0);
    ts_free(note);
    parse_good("{}", OVERRIDES("data.kind=shapes", "data.shapes=[\"a, b\", no, \"\"]", "quantizer.kind=vector"));
    expect_round_trip(false);
    expect_round_trip(true);
}

Test(train_config, comments_say_what_a_key_accepts)
{
    parse_good(full, NULL);
    char *text = print(true);
    cr_expect(strstr(text, "\n  batch: 32                 # examples a step (an integer from 1 to 65536)\n"), "%s",
              text);
    cr_expect(strstr(text, "\n  kind: finite_scalar       # FSQ, Mentzer et al. 2023\n"), "%s", text);
    ts_free(text);
}

Test(train_config, diff)
{
    parse_good(full, NULL);
    ts_config *before = config;
    config = NULL;
    parse_good(full, OVERRIDES("train.batch=64", "quantizer.kind=vector", "quantizer.bound=none"));
    char *text = NULL;
    size_t bytes;
    FILE *out = open_memstream(&text, &bytes);
    int count = ts_config_diff(before, config, out);
    fclose(out);
    cr_expect_str_eq(text, "quantizer.kind: finite_scalar -> vector\n"
                           "quantizer.levels: [8, 5, 5] -> -\n"
                           "quantizer.bound: \"off\" -> none\n"
                           "quantizer.noise: false -> -\n"
                           "quantizer.codes: - -> 512\n"
                           "quantizer.dim: - -> 64\n"
                           "quantizer.beta: - -> 0.25\n"
                           "train.batch: 32 -> 64\n");
    cr_expect_eq(count, 8);
    free(text);
    ts_config_free(before);
}
