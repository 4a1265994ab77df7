#include "train/help.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/support/shared.h"
#include "tests/train/config_sample.h"
#include "tests/train/temp_folder.h"

static char *text;
static size_t bytes;
static ts_error error;

static FILE *begin(void)
{
    free(text);
    text = NULL;
    return open_memstream(&text, &bytes);
}

static void teardown(void)
{
    free(text);
    text = NULL;
}

TestSuite(train_help, .fini = teardown);

static void expect_lines(const char *const *lines)
{
    for (; *lines; lines++)
        cr_expect(strstr(text, *lines), "'%s' is not in:\n%s", *lines, text);
}
#define EXPECT_LINES(...) expect_lines((const char *const[]){__VA_ARGS__, NULL})

Test(train_help, program_and_command)
{
    FILE *out = begin();
    ts_help_version(&sample_program, out);
    ts_help_program(&sample_program, out);
    ts_help_command(&sample_program, &sample_program.commands[0], out);
    fclose(out);
    EXPECT_LINES("tessera 0.1.0\n", "Usage: tessera COMMAND [OPTION ...] [ARGUMENT ...]\n",
                 "  train                   train a tokenizer\n",
                 "  -d, --device=DEVICE     where to run (one of auto, cpu, cuda) [auto]\n",
                 "      --threads=N         threads of the CPU (an integer from 1 to 1024)\n",
                 "Usage: tessera train CONFIG --run DIR [KEY=VALUE ...] [OPTION ...]\n",
                 "      --run=DIR           folder of the run (must be given)\n",
                 "  CONFIG                  YAML file\n");
}

Test(train_help, list)
{
    FILE *out = begin();
    ts_help_list(&sample_schema, out);
    fclose(out);
    EXPECT_LINES(
        "    seed: an integer of at least 0, default 1\n        seed of everything random\n",
        "    name: text, default ''\n", "  quantizer.kind=finite_scalar (default): FSQ, Mentzer et al. 2023\n",
        "    quantizer.levels: a list of integers, each from 2 to 64, default [8, 6, 5], also called fsq_levels\n",
        "    data.path: text, must be given\n", "    train.optimizer: one of adamw, sgd, default adamw\n");
}

static ts_status defaults(const char *const *kinds)
{
    FILE *out = begin();
    ts_status status = ts_help_defaults(&sample_schema, kinds, out, &error);
    fclose(out);
    return status;
}
#define DEFAULTS(...) defaults((const char *const[]){__VA_ARGS__, NULL})

static ts_status load_defaults(ts_config **config)
{
    return ts_config_parse(config, &sample_schema, "defaults", text, bytes, NULL, &error);
}

Test(train_help, defaults_load)
{
    ts_config *config;
    cr_assert_eq(DEFAULTS("shapes", "quantizer.kind=vector"), TS_OK, "%s", error.text);
    cr_assert_eq(load_defaults(&config), TS_OK, "%s\n%s", error.text, text);
    cr_expect_str_eq(ts_config_table(config, "quantizer")->kind, "vector");
    cr_expect_eq(((const sample_vector *)ts_config_options(config, "quantizer"))->codes, 512);
    ts_config_free(config);
}

Test(train_help, defaults_name_what_must_be_given)
{
    ts_config *config;
    cr_assert_eq(DEFAULTS("idx"), TS_OK, "%s", error.text);
    EXPECT_LINES("\n  path:                     # folder with the files (must be given: text)\n");
    cr_expect_eq(load_defaults(&config), TS_ERR_USAGE);
    cr_expect_str_eq(error.text, "defaults:8: data: path: expected text, found no value");
    cr_expect_eq(defaults(NULL), TS_OK);
    EXPECT_LINES("\n  kind: idx  ", "\n  kind: finite_scalar  ");
}

Test(train_help, defaults_of_unknown_kinds)
{
    cr_expect_eq(DEFAULTS("vetcor"), TS_ERR_USAGE);
    cr_expect_str_eq(error.text, "unknown kind 'vetcor' (did you mean 'vector'?) (tessera config --list shows all)");
    cr_expect_eq(DEFAULTS("data.kind=vector"), TS_ERR_USAGE);
    cr_expect_eq(DEFAULTS("train"), TS_ERR_USAGE);
    ts_config_section sections[] = {sample_schema.sections[1], sample_schema.sections[1], {0}};
    sections[1].name = "prior";
    ts_config_schema schema = {sample_schema.top, sections, sample_schema.lister};
    FILE *out = begin();
    cr_expect_eq(ts_help_defaults(&schema, (const char *const[]){"vector", NULL}, out, &error), TS_ERR_USAGE);
    cr_expect_str_eq(error.text, "kind 'vector' is in several sections: write SECTION.kind=vector");
    cr_expect_eq(ts_help_defaults(&schema, (const char *const[]){"prior.kind=vector", NULL}, out, &error), TS_OK);
    fclose(out);
}

/* Runs a shell command and reads what it writes, errors included. */
static char *output_of(const char *command)
{
    static char output[20000];
    FILE *pipe = popen(command, "r");
    cr_assert_not_null(pipe);
    size_t n = fread(output, 1, sizeof output - 1, pipe);
    output[n] = '\0';
    pclose(pipe);
    return output;
}

Test(train_help, man_page_formats_without_a_warning)
{
    FILE *out = begin();
    ts_help_man(&sample_program, &sample_schema, out);
    fclose(out);
    EXPECT_LINES(".TH TESSERA 1 \"\" \"tessera 0.1.0\"", "\\fBquantizer.levels\\fR\n",
                 "\\fB\\-\\-run\\fR=\\fIDIR\\fR\n", ".SH EXIT STATUS\n");
    if (access("/usr/bin/groff", X_OK) != 0) {
        skip_counted("no groff on this machine");
        return;
    }
    temp_folder folder = temp_folder_make();
    char command[1200];
    snprintf(command, sizeof command, "groff -man -Tutf8 -ww -z %s 2>&1",
             temp_write(&folder, "tessera.1", text, bytes));
    cr_expect_str_eq(output_of(command), "");
    temp_folder_remove(&folder);
}

/* What bash would offer for the words (as bash splits them), on one line. */
static void expect_completion(const char *script, const char *words, const char *want)
{
    char command[2000], line[1000];
    snprintf(command, sizeof command,
             "bash -c 'set -u; source %s; COMP_WORDS=(%s); COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); _tessera; "
             "printf \"%%s\\n\" \"${COMPREPLY[@]}\"' 2>&1",
             script, words);
    snprintf(line, sizeof line, "%s", output_of(command));
    for (char *c = line; *c; c++)
        *c = *c == '\n' ? ' ' : *c;
    cr_expect_eq(strncmp(line, want, strlen(want)), 0, "%s: '%s', not '%s'", words, line, want);
    cr_expect_eq(strlen(line), strlen(want) + 1, "%s: '%s', not '%s'", words, line, want);
}

Test(train_help, completion_in_bash)
{
    FILE *out = begin();
    ts_help_completion(&sample_program, &sample_schema, out);
    fclose(out);
    temp_folder folder = temp_folder_make();
    const char *script = temp_write(&folder, "completion", text, bytes);
    expect_completion(script, "tessera t", "train");
    expect_completion(script, "tessera \"\"", "train encode doctor --help --version");
    expect_completion(script, "tessera train --re", "--resume");
    expect_completion(script, "tessera encode --o", "--output");
    expect_completion(script, "tessera train --device c", "cpu cuda");
    expect_completion(script, "tessera train --device \"=\"", "auto cpu cuda");
    expect_completion(script, "tessera train --device \"=\" cu", "cuda");
    expect_completion(script, "tessera train -d a", "auto");
    expect_completion(script, "tessera train x.yaml quant",
                      "quantizer.kind= quantizer.levels= quantizer.bound= quantizer.noise= quantizer.codes= "
                      "quantizer.dim= quantizer.beta=");
    expect_completion(script, "tessera train --json train.st", "train.steps=");
    expect_completion(script, "tessera train quantizer.kind \"=\" v", "vector");
    expect_completion(script, "tessera train quantizer.bound \"=\" t", "tanh tanh");
    expect_completion(script, "tessera train train.shuffle \"=\"", "true false");
    expect_completion(script, "tessera encode tra", "");
    expect_completion(script, "tessera train train.lr \"=\"", "");
    temp_folder_remove(&folder);
}
