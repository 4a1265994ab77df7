/* Whatever a config's text is: accepted, or refused with one line; never a crash, a hang or a leak. */
#include "config/config.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "tests/train/config_sample.h"

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

static ts_status parse(const char *text, size_t bytes, const char *const *overrides)
{
    ts_config_free(config);
    error = (ts_error){0};
    return ts_config_parse(&config, &sample_schema, "x.yaml", text, bytes, overrides, &error);
}

static void teardown(void)
{
    ts_config_free(config);
    config = NULL;
}

TestSuite(train_config_mutants, .fini = teardown);

#define OVERRIDES(...) ((const char *const[]){__VA_ARGS__, NULL})

/* A megabyte that makes a reader's time grow with its square: each must be refused at once. */
Test(train_config_mutants, hostile_megabytes, .timeout = 20)
{
    static const char *const units[] = {
        "[",       "{a: ",        "- ",     "? ",  "&a ", "%TAG !a! b\n", "a: &b c\n",
        "a",       "- a\n",       "k: v\n", "\"",  "'",   "[a,",          "\xef\xbb\xbf",
        "--- a\n", "train: {}\n", "*",      "!a ", "|",   "a: |\n b\n",   "\xc2\x85%TAG !a! b"};
    char *text = malloc(TS_CONFIG_MAX_BYTES + 1);
    for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
        size_t unit = strlen(units[i]), count = TS_CONFIG_MAX_BYTES / unit;
        for (size_t k = 0; k < count; k++)
            memcpy(text + k * unit, units[i], unit);
        text[count * unit] = '\0';
        cr_expect_eq(parse(text, count * unit, NULL), TS_ERR_USAGE, "%s", units[i]);
    }
    free(text);
}

static ts_status parse_big(void)
{
    static char big[200000];
    memset(big, 'x', sizeof big - 1);
    memcpy(big, "train.note=", strlen("train.note="));
    return parse(full, sizeof full - 1, OVERRIDES("quantizer.kind=vector", big));
}

Test(train_config_mutants, every_failing_allocation_is_an_error)
{
    ts_alloc_fail_at(0);
    cr_assert_eq(parse_big(), TS_OK, "%s", error.text);
    uint64_t made = ts_alloc_fail_at(0);
    cr_assert_geq(made, 4);
    for (uint64_t n = 1; n <= made; n++) {
        ts_alloc_fail_at(n);
        cr_expect_eq(parse_big(), TS_ERR_RUNTIME, "%zu of %zu", (size_t)n, (size_t)made);
        cr_expect_null(config);
    }
    ts_alloc_fail_at(0);
    cr_assert_eq(parse_big(), TS_OK, "%s", error.text);
    ts_alloc_fail_at(1);
    char *text = NULL;
    ts_status status = ts_config_print(config, false, &text, &error);
    ts_alloc_fail_at(0);
    cr_expect_eq(status, TS_ERR_RUNTIME);
    cr_expect_null(text);
}

static uint64_t random_state = 20240607;

/* splitmix64, its low bits */
static uint32_t draw(uint32_t below)
{
    uint64_t z = random_state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return (uint32_t)((z ^ (z >> 31)) % below);
}

// clang-format off
static const char *const pieces[] = {
    "[", "]", "{", "}", ":", ": ", "\n", "- ", "#", "'", "\"", "&a ", "*a", "!!int", "|", ">", "? ", "\t", "~", "null", "---", "...", "%", "\\",
    "yes", "1e9", "999999999999999999999", "kind: ", "\xff", "\xc3\xa9", "\xef\xbb\xbf", "<<", ", ", "\r", "@", "`",
};
// clang-format on

/* One change of `text` in place: a byte, a piece of syntax, a removed or a repeated stretch. */
static size_t mutate(char *text, size_t bytes, size_t room)
{
    size_t at = draw((uint32_t)bytes + 1), n = draw(12);
    const char *piece = pieces[draw(sizeof pieces / sizeof *pieces)];
    switch (draw(4)) {
    case 0:
        if (at < bytes)
            text[at] = (char)draw(256);
        return bytes;
    case 1: /* remove */
        n = at + n > bytes ? bytes - at : n;
        memmove(text + at, text + at + n, bytes - at - n);
        return bytes - n;
    case 2: /* repeat what stands before */
        n = n > at ? at : n;
        break;
    default:
        n = strlen(piece);
    }
    if (bytes + n > room)
        return bytes;
    memmove(text + at + n, text + at, bytes - at);
    memcpy(text + at, n == strlen(piece) ? piece : text + at - n, n);
    return bytes + n;
}

/* What was accepted prints and loads as itself. */
static void expect_round_trip(const char *mutant)
{
    char *first, *second;
    cr_assert_eq(ts_config_print(config, false, &first, &error), TS_OK, "%s", error.text);
    cr_assert_eq(parse(first, strlen(first), NULL), TS_OK, "%s\n%s\n%s", error.text, first, mutant);
    cr_assert_eq(ts_config_print(config, false, &second, &error), TS_OK, "%s", error.text);
    cr_assert_str_eq(first, second);
    ts_free(first);
    ts_free(second);
}

/* Returns whether it was accepted. */
static bool run_mutant(const char *text, size_t bytes, const char *override)
{
    ts_status status = parse(text, bytes, OVERRIDES(override));
    cr_assert(status == TS_OK || status == TS_ERR_USAGE, "%d %s: %.*s", status, error.text, (int)bytes, text);
    if (status == TS_OK)
        expect_round_trip(text);
    else
        cr_assert(*error.text && !strpbrk(error.text, "\n\r\x1b"), "%s", error.text);
    return status == TS_OK;
}

Test(train_config_mutants, mutants_are_accepted_or_refused, .timeout = 120)
{
    static const char *const seeds[] = {
        full,
        "data: {kind: shapes, shapes: [circle, 'a, b'], size: 64}\nquantizer: {kind: vector, nb_code: 256, beta: "
        "0.5}\n",
        "---\n\"seed\": 3\nname: >\n  folded\n  text\n\ndata:\n  kind: shapes\nquantizer:\n  fsq_levels:\n  - 4\n  - "
        "4\n...\n",
    };
    char text[2049], override[256];
    int accepted = 0;
    for (int i = 0; i < 20000; i++) {
        const char *seed = seeds[draw(3)];
        size_t bytes = strlen(seed), n = strlen("train.note=x");
        memcpy(text, seed, bytes);
        memcpy(override, "train.note=x", n);
        for (uint32_t k = draw(4) + 1; k > 0; k--)
            bytes = mutate(text, bytes, sizeof text - 1);
        text[bytes] = '\0';
        bool mutate_override = draw(8) == 0;
        if (mutate_override)
            n = mutate(override, n, sizeof override - 1);
        override[n] = '\0';
        accepted += run_mutant(text, bytes, mutate_override ? override : NULL);
    }
    cr_assert(accepted > 500 && accepted < 19500, "%d of 20000 accepted: the mutants test one side only", accepted);
}
