#include "core/option.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

typedef struct {
    int64_t batch, signed_count;
    double lr, free;
    bool shuffle;
    const char *path;
    int optimizer;
    ts_int_list levels;
    ts_string_list names;
} sample;

static const char *const optimizers[] = {"adamw", "sgd", "adam_belief", NULL};

static const char *const level_sets[] = {"240", "1000", NULL}, *const set_levels[] = {"[8, 6, 5]", "[8, 5, 5, 5]",
                                                                                      NULL};

static const ts_option rows[] = {
    {"batch", TS_OPTION_INT, offsetof(sample, batch), "64", "examples per step", NULL, 1, 65536, "batch_size", NULL,
     NULL},
    {"signed_count", TS_OPTION_INT, offsetof(sample, signed_count), "-3", "any integer", NULL, 0, 0, NULL, NULL, NULL},
    {"lr", TS_OPTION_REAL, offsetof(sample, lr), "3e-4", "learning rate", NULL, 0, INFINITY, NULL, NULL, NULL},
    {"free", TS_OPTION_REAL, offsetof(sample, free), "0", "any number", NULL, 0, 0, NULL, NULL, NULL},
    {"shuffle", TS_OPTION_BOOL, offsetof(sample, shuffle), "yes", "draw in random order", NULL, 0, 0, NULL, NULL, NULL},
    {"path", TS_OPTION_STRING, offsetof(sample, path), NULL, "folder", NULL, 0, 0, NULL, NULL, NULL},
    {"optimizer", TS_OPTION_CHOICE, offsetof(sample, optimizer), "sgd", "rule of the update", optimizers, 0, 0, NULL,
     NULL, NULL},
    {"levels", TS_OPTION_INTS, offsetof(sample, levels), "[8, 6, 5]", "per channel", NULL, 2, 64, "fsq_levels",
     level_sets, set_levels},
    {"names", TS_OPTION_STRINGS, offsetof(sample, names), "[a, \"b, c\"]", "names", NULL, 0, 0, NULL, NULL, NULL},
    {0},
};

static const ts_option_table table = {"sample", "for the test", rows, sizeof(sample)};

static sample target;
static ts_arena arena;
static ts_error error;

static void setup(void)
{
    cr_assert_eq(ts_options_default(&table, &target, &arena, &error), TS_OK, "%s", error.text);
}

static void teardown(void)
{
    ts_arena_clear(&arena);
}

TestSuite(core_option, .init = setup, .fini = teardown);

static ts_status parse(const char *name, const char *text)
{
    error = (ts_error){0};
    return ts_option_parse(ts_option_find(&table, name), text, &target, &arena, &error);
}

Test(core_option, defaults_fill_every_field)
{
    cr_assert_eq(target.batch, 64);
    cr_assert_eq(target.signed_count, -3);
    cr_assert_eq(target.lr, 3e-4);
    cr_assert(target.shuffle);
    cr_assert_str_eq(target.path, "");
    cr_assert_eq(target.optimizer, 1);
    cr_assert_eq(target.levels.count, 3);
    cr_assert_eq(target.levels.value[2], 5);
    cr_assert_eq(target.names.count, 2);
    cr_assert_str_eq(target.names.value[1], "b, c");
    cr_assert_eq(ts_option_table_check(&table, &error), TS_OK, "%s", error.text);
}

typedef struct {
    const char *name, *text, *message; /* message NULL: accepted */
} parse_case;

static void run_cases(const parse_case *cases, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const parse_case *c = &cases[i];
        sample before = target;
        ts_status status = parse(c->name, c->text);
        cr_expect_eq(status, c->message ? TS_ERR_USAGE : TS_OK, "%s=%s: %s", c->name, c->text, error.text);
        if (!c->message)
            continue;
        cr_expect_str_eq(error.text, c->message);
        cr_expect(memcmp(&before, &target, sizeof before) == 0, "%s=%s changed the struct", c->name, c->text);
    }
}
#define RUN(cases) run_cases(cases, sizeof cases / sizeof *cases)

Test(core_option, refusals_name_expected_and_found)
{
    static const parse_case cases[] = {
        {"batch", "0", "batch: expected an integer from 1 to 65536, found '0'"},
        {"batch", "65537", "batch: expected an integer from 1 to 65536, found '65537'"},
        {"batch", "1e3", "batch: expected an integer from 1 to 65536, found '1e3'"},
        {"batch", "", "batch: expected an integer from 1 to 65536, found nothing"},
        {"signed_count", "9223372036854775808", "signed_count: expected an integer, found '9223372036854775808'"},
        {"lr", "-1", "lr: expected a number of at least 0, found '-1'"},
        {"shuffle", "maybe", "shuffle: expected true or false, found 'maybe'"},
        {"optimizer", "admaw",
         "optimizer: expected one of adamw, sgd, adam_belief, found 'admaw' (did you mean 'adamw'?)"},
        {"optimizer", "lion", "optimizer: expected one of adamw, sgd, adam_belief, found 'lion'"},
        {"levels", "[8, 65]", "levels: expected a list of integers, each from 2 to 64, found '[8, 65]'"},
        {"levels", "[8, \"6\"]", "levels: expected a list of integers, each from 2 to 64, found '[8, \"6\"]'"},
        {"path", "ok", NULL},
    };
    RUN(cases);
}

/* What strtoll and strtod take and a config should not. */
Test(core_option, nothing_is_coerced)
{
    static const char *const ints[] = {"yes", "true",  "0x10", "010", " 8", "8 ", "8.0",
                                       "+8",  "1_000", "--8",  "-",   "8k", "٣"};
    for (size_t i = 0; i < sizeof ints / sizeof *ints; i++)
        cr_expect_eq(parse("signed_count", ints[i]), TS_ERR_USAGE, "%s", ints[i]);
    static const char *const reals[] = {"nan", "inf",   "-inf", "0x1p3", "1e999", "1e-999", ".",   "1e",
                                        "e5",  "1.5.2", "1,5",  " 1",    "1d3",   "true",   "1e+", ""};
    for (size_t i = 0; i < sizeof reals / sizeof *reals; i++)
        cr_expect_eq(parse("free", reals[i]), TS_ERR_USAGE, "%s", reals[i]);
    static const char *const bools[] = {"1", "0", "True", "YES", "y", "", "truee"};
    for (size_t i = 0; i < sizeof bools / sizeof *bools; i++)
        cr_expect_eq(parse("shuffle", bools[i]), TS_ERR_USAGE, "%s", bools[i]);
}

Test(core_option, lists_with_and_without_brackets)
{
    static const char *const good[] = {"[8, 6, 5]", "8,6,5", "[8,6,5]", " [ 8 , 6 ,5 ] ", "8, 6, 5"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        cr_expect_eq(parse("levels", good[i]), TS_OK, "%s: %s", good[i], error.text);
        cr_expect(target.levels.count == 3 && target.levels.value[0] == 8 && target.levels.value[2] == 5, "%s",
                  good[i]);
    }
    static const char *const bad[] = {"[8, 6", "8, 6]", "[8,,6]", "[8, 6,]", "[[8]]",
                                      "[8] 6", "",      "8 6",    ",8",      "[8, a]"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        cr_expect_eq(parse("levels", bad[i]), TS_ERR_USAGE, "%s", bad[i]);
    cr_expect_eq(parse("levels", "[]"), TS_OK);
    cr_expect_eq(target.levels.count, 0);
    cr_expect_eq(parse("levels", "2,2,2,2,2,2,2,2,2,2,2,2,2,2,2,2"), TS_OK);
    cr_expect_eq(target.levels.count, TS_MAX_INTS);
    cr_expect_eq(parse("levels", "2,2,2,2,2,2,2,2,2,2,2,2,2,2,2,2,2"), TS_ERR_USAGE);
    cr_expect(strstr(error.text, "at most 16"), "%s", error.text);
}

Test(core_option, items_in_quotes)
{
    cr_assert_eq(parse("names", "[\"a \\\"b\\\" \\u00e9\\n\", \"\", c d]"), TS_OK, "%s", error.text);
    cr_assert_eq(target.names.count, 3);
    cr_assert_str_eq(target.names.value[0], "a \"b\" \xc3\xa9\n");
    cr_assert_str_eq(target.names.value[1], "");
    cr_assert_str_eq(target.names.value[2], "c d");
    static const char *const bad[] = {"[\"a]",     "[\"\\u12\"]", "[\"\\u0000\"]", "[\"\\ud800\"]",
                                      "[\"\\q\"]", "[\"a\"b]",    "[\"a\\"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        cr_expect_eq(parse("names", bad[i]), TS_ERR_USAGE, "%s", bad[i]);
}

/* Print, parse, compare bits; and the text of a cut print is a prefix. */
static void round_trip(const char *name, const char *text)
{
    const ts_option *option = ts_option_find(&table, name);
    cr_assert_eq(parse(name, text), TS_OK, "%s", error.text);
    char printed[400], again[400], cut[5];
    size_t bytes = ts_option_print(option, &target, printed, sizeof printed);
    cr_assert_eq(bytes, strlen(printed));
    cr_assert_eq(ts_option_print(option, &target, cut, sizeof cut), bytes);
    cr_assert_eq(strncmp(cut, printed, sizeof cut - 1), 0);
    sample first = target;
    cr_assert_eq(parse(name, printed), TS_OK, "%s", error.text);
    ts_option_print(option, &target, again, sizeof again);
    cr_assert_str_eq(printed, again);
    if (option->type == TS_OPTION_REAL)
        cr_assert_eq(memcmp((char *)&first + option->offset, (char *)&target + option->offset, sizeof(double)), 0);
}

Test(core_option, print_reads_back)
{
    static const char *const reals[] = {"0.1",   "-0",     "1e-5",       "3e-4", "0.30000000000000004",
                                        "1e308", "5e-324", "123456789.5"};
    for (size_t i = 0; i < sizeof reals / sizeof *reals; i++)
        round_trip("free", reals[i]);
    round_trip("signed_count", "-9223372036854775808");
    round_trip("shuffle", "off");
    round_trip("optimizer", "adam_belief");
    round_trip("levels", "[]");
    round_trip("names", "[x, \"y, [z]\", \"\\u0007\", \"true\", \"\"]");
    char text[32];
    cr_assert_eq(parse("free", "1e-5"), TS_OK);
    ts_option_print(ts_option_find(&table, "free"), &target, text, sizeof text);
    cr_assert_str_eq(text, "1.0e-05"); /* PyYAML reads "1e-05" as text */
}

Test(core_option, find_by_name_and_alias)
{
    cr_assert_eq(ts_option_find(&table, "batch_size"), &rows[0]);
    cr_assert_eq(ts_option_find(&table, "batch"), &rows[0]);
    cr_assert_null(ts_option_find(&table, "batc"));
    const ts_option several[] = {{.name = "codes", .alias = "nb_code, codebook_size"}, {0}};
    const ts_option_table names = {"names", "for the test", several, sizeof(sample)};
    cr_assert_eq(ts_option_find(&names, "nb_code"), several);
    cr_assert_eq(ts_option_find(&names, "codebook_size"), several);
    cr_assert_null(ts_option_find(&names, "nb_code, codebook_size"));
    cr_assert_null(ts_option_find(&names, ""));
    cr_assert_str_eq(ts_option_nearest(&names, "codebok_size"), "codes");
    cr_assert_str_eq(ts_option_nearest(&table, "btach"), "batch");
    cr_assert_str_eq(ts_option_nearest(&table, "fsq_level"), "levels");
    cr_assert_null(ts_option_nearest(&table, "temperature"));
}

Test(core_option, nearest_name)
{
    static const char *const names[] = {"vector", "vector_ema", "finite_scalar", "residual", NULL};
    cr_assert_str_eq(ts_nearest_name("vetcor", names), "vector");
    cr_assert_str_eq(ts_nearest_name("vector_em", names), "vector_ema");
    cr_assert_str_eq(ts_nearest_name("residul", names), "residual");
    cr_assert_null(ts_nearest_name("fsq", names));
    cr_assert_null(ts_nearest_name("", names));
    char typed[5000];
    memset(typed, 'v', sizeof typed - 1);
    typed[sizeof typed - 1] = '\0';
    cr_assert_null(ts_nearest_name(typed, names));
}

static void expect_table_refused(ts_option option, const char *message)
{
    const ts_option bad[] = {rows[0], option, {0}};
    const ts_option_table broken = {"broken", "for the test", bad, sizeof(sample)};
    cr_expect_eq(ts_option_table_check(&broken, &error), TS_ERR_RUNTIME, "%s", message);
    cr_expect(strstr(error.text, message), "%s: %s", message, error.text);
}

Test(core_option, table_check_finds_mistakes)
{
    ts_option good = rows[2], bad;
    expect_table_refused((bad = good, bad.name = "kind", bad), "[a-z0-9_]+");
    expect_table_refused((bad = good, bad.name = "learning rate", bad), "[a-z0-9_]+");
    expect_table_refused((bad = good, bad.name = "batch", bad), "another option");
    expect_table_refused((bad = good, bad.alias = "batch_size", bad), "another option");
    expect_table_refused((bad = good, bad.alias = "rate, batch_size", bad), "another option");
    expect_table_refused((bad = good, bad.help = "two\nlines", bad), "help");
    expect_table_refused((bad = good, bad.offset = sizeof(sample) - 1, bad), "outside");
    expect_table_refused((bad = good, bad.type = TS_OPTION_CHOICE, bad), "choices");
    expect_table_refused((bad = good, bad.min = 5, bad.max = 1, bad), "range");
    expect_table_refused((bad = good, bad.fallback = "fast", bad), "expected a number");
    static const char *const names[] = {"slow", "fast", NULL}, *const one[] = {"1", NULL},
                             *const bad_one[] = {"1", "x", NULL};
    expect_table_refused((bad = good, bad.alias = "rate", bad.alias_choices = names, bad), "stand together");
    expect_table_refused((bad = good, bad.alias_choices = names, bad.alias_values = names, bad), "stand together");
    good.alias = "rate";
    good.alias_choices = names;
    expect_table_refused((bad = good, bad.alias_values = one, bad), "'rate': not a meaning a choice");
    expect_table_refused((bad = good, bad.alias_values = bad_one, bad), "'rate' fast has no meaning");
}

Test(core_option, out_of_memory_is_an_error)
{
    ts_alloc_fail_at(1);
    ts_arena empty = {0};
    ts_status status = ts_options_default(&table, &target, &empty, &error);
    ts_alloc_fail_at(0);
    cr_assert_eq(status, TS_ERR_RUNTIME);
    ts_arena_clear(&empty);
}
