#include "train/arguments.h"

#include <criterion/criterion.h>
#include <string.h>

#include "tests/train/config_sample.h"

static ts_arguments arguments;
static ts_error error;

static ts_status parse(const char *const *words)
{
    int argc = 1;
    while (words[argc])
        argc++;
    ts_arguments_clear(&arguments);
    error = (ts_error){0};
    return ts_arguments_parse(&arguments, &sample_program, argc, words, &error);
}
#define PARSE(...)      parse((const char *const[]){"./tessera", __VA_ARGS__, NULL})
#define PARSE_GOOD(...) cr_assert_eq(PARSE(__VA_ARGS__), TS_OK, "%s", error.text)

static void teardown(void)
{
    ts_arguments_clear(&arguments);
}

TestSuite(train_arguments, .fini = teardown);

Test(train_arguments, options_positionals_and_overrides_may_be_mixed)
{
    PARSE_GOOD("train", "--run=out/a=b", "x.yaml", "train.batch=8", "--threads", "3", "--json", "seed=2", "-d", "cpu");
    cr_expect_eq(arguments.asked, TS_ASKED_RUN);
    cr_expect_str_eq(arguments.command->name, "train");
    cr_expect_str_eq(ts_arguments_positional(&arguments, 0), "x.yaml");
    cr_expect_null(ts_arguments_positional(&arguments, 1));
    cr_expect_null(ts_arguments_positional(&arguments, -1));
    cr_expect_eq(arguments.override_count, 2);
    cr_expect_str_eq(arguments.overrides[1], "seed=2");
    cr_expect_null(arguments.overrides[2]);
    cr_expect_str_eq(ts_arguments_text(&arguments, "run"), "out/a=b");
    cr_expect_eq(ts_arguments_int(&arguments, "threads"), 3);
    cr_expect(ts_arguments_flag(&arguments, "json"));
    cr_expect_not(ts_arguments_flag(&arguments, "quiet"));
    cr_expect_eq(ts_arguments_choice(&arguments, "device"), 1);
}

Test(train_arguments, absent_options_have_their_fallback_or_nothing)
{
    PARSE_GOOD("train", "x.yaml", "--run", "d");
    cr_expect_null(ts_arguments_text(&arguments, "threads"));
    cr_expect_eq(ts_arguments_int(&arguments, "threads"), 0);
    cr_expect_str_eq(ts_arguments_text(&arguments, "device"), "auto");
    cr_expect_eq(ts_arguments_real(&arguments, "scale"), 1.5);
    cr_expect_not(ts_arguments_given(&arguments, "scale"));
    cr_expect(ts_arguments_given(&arguments, "run"));
}

Test(train_arguments, letters)
{
    PARSE_GOOD("encode", "-qj", "c.h5", "-oout.h5");
    cr_expect(ts_arguments_flag(&arguments, "quiet") && ts_arguments_flag(&arguments, "json"));
    cr_expect_str_eq(ts_arguments_text(&arguments, "output"), "out.h5");
    PARSE_GOOD("encode", "-jo", "out.h5", "c.h5");
    cr_expect_str_eq(ts_arguments_text(&arguments, "output"), "out.h5");
}

Test(train_arguments, dashes)
{
    PARSE_GOOD("encode", "c.h5", "-", "--", "--json", "a=b", "-o");
    cr_expect_eq(arguments.positional_count, 5);
    cr_expect_str_eq(ts_arguments_positional(&arguments, 1), "-");
    cr_expect_str_eq(ts_arguments_positional(&arguments, 2), "--json");
    cr_expect_not(ts_arguments_flag(&arguments, "json"));
}

/* A path with '=' in it is not an override; nor is anything where the command takes none. */
Test(train_arguments, what_is_an_override)
{
    PARSE_GOOD("train", "./lr=1/x.yaml", "--run=d", "train.lr=");
    cr_expect_str_eq(ts_arguments_positional(&arguments, 0), "./lr=1/x.yaml");
    cr_expect_eq(arguments.override_count, 1);
    PARSE_GOOD("encode", "c.h5", "a=b");
    cr_expect_str_eq(ts_arguments_positional(&arguments, 1), "a=b");
}

Test(train_arguments, the_last_of_two_counts)
{
    PARSE_GOOD("train", "x", "--run=a", "--run", "b", "--scale=2", "--scale=-3e1");
    cr_expect_str_eq(ts_arguments_text(&arguments, "run"), "b");
    cr_expect_eq(ts_arguments_real(&arguments, "scale"), -30);
}

Test(train_arguments, help_and_version)
{
    PARSE_GOOD("--version");
    cr_expect_eq(arguments.asked, TS_ASKED_VERSION);
    PARSE_GOOD("-h");
    cr_expect(arguments.asked == TS_ASKED_HELP && !arguments.command);
    PARSE_GOOD("train", "--help");
    cr_expect(arguments.asked == TS_ASKED_HELP && arguments.command == &sample_program.commands[0]);
}

typedef struct {
    const char *words[6];
    const char *message;
} error_case;

Test(train_arguments, errors)
{
    static const error_case cases[] = {
        {{"tessera"}, "tessera: no command given (see tessera --help)"},
        {{"tessera", "trian"}, "tessera: unknown command 'trian' (did you mean 'train'?) (see tessera --help)"},
        {{"tessera", "x.yaml"}, "tessera: unknown command 'x.yaml' (see tessera --help)"},
        {{"tessera", "--josn"}, "tessera: unknown option '--josn' (see tessera --help)"},
        {{"tessera", "train", "--treads=3"},
         "tessera train: unknown option '--treads' (did you mean '--threads'?) (see tessera train --help)"},
        {{"tessera", "train", "--resmue"},
         "tessera train: unknown option '--resmue' (did you mean '--resume'?) (see tessera train --help)"},
        {{"tessera", "train", "-x"}, "tessera train: unknown option '-x' (see tessera train --help)"},
        {{"tessera", "train", "x", "--run"}, "tessera train: option --run needs a value (see tessera train --help)"},
        {{"tessera", "train", "x"}, "tessera train: option --run must be given (see tessera train --help)"},
        {{"tessera", "train", "--json=yes"}, "tessera train: option --json takes no value (see tessera train --help)"},
        {{"tessera", "train", "--threads=0"},
         "tessera train: option --threads: expected an integer from 1 to 1024, found '0'"},
        {{"tessera", "train", "--device=gpu"},
         "tessera train: option --device: expected one of auto, cpu, cuda, found 'gpu'"},
        {{"tessera", "train", "--run=d"},
         "tessera train: CONFIG is missing: YAML file (usage: tessera train CONFIG --run DIR [KEY=VALUE ...])"},
        {{"tessera", "doctor", "a", "b\n"}, "tessera doctor: unexpected argument 'b?' (usage: tessera doctor [TOPIC])"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        cr_expect_eq(parse(cases[i].words), TS_ERR_USAGE, "%s", cases[i].message);
        cr_expect_str_eq(error.text, cases[i].message);
    }
}

Test(train_arguments, no_words_at_all)
{
    cr_expect_eq(ts_arguments_parse(&arguments, &sample_program, 0, (const char *const[]){NULL}, &error), TS_ERR_USAGE);
}

Test(train_arguments, out_of_memory)
{
    ts_arguments_clear(&arguments);
    ts_alloc_fail_at(1);
    ts_status status = PARSE("train", "x", "--run=d");
    ts_alloc_fail_at(0);
    cr_expect_eq(status, TS_ERR_RUNTIME);
}
