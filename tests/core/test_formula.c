#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "core/formula.h"

typedef struct {
    double decay;
    bool cosine;
    int init;
    int64_t rounds;
    ts_int_list levels;
    const char *name;
} sample;

static const char *const inits[] = {"normal", "kmeans", NULL};
#define AT(member) .offset = offsetof(sample, member)
static const ts_option options[] = {
    {.name = "decay", .type = TS_OPTION_REAL, AT(decay), .fallback = "0.99", .help = "h"},
    {.name = "cosine", .type = TS_OPTION_BOOL, AT(cosine), .fallback = "false", .help = "h"},
    {.name = "init", .type = TS_OPTION_CHOICE, AT(init), .fallback = "normal", .choices = inits, .help = "h"},
    {.name = "rounds", .type = TS_OPTION_INT, AT(rounds), .fallback = "10", .help = "h"},
    {.name = "levels", .type = TS_OPTION_INTS, AT(levels), .fallback = "[8, 5]", .help = "h"},
    {.name = "name", .type = TS_OPTION_STRING, AT(name), .fallback = "", .help = "h"},
    {0},
};
static const ts_option_table table = {
    .kind = "sample", .help = "h", .options = options, .struct_bytes = sizeof(sample)};

typedef struct {
    char text[1024];
} told;

static void tell(void *user, ts_formula_section section, const char *text)
{
    told *t = user;
    size_t used = strlen(t->text);
    snprintf(t->text + used, sizeof t->text - used, "%s:%s|", ts_formula_section_name(section), text);
}

static sample defaults(ts_arena *arena)
{
    sample s;
    ts_error err = {0};
    cr_assert_eq(ts_options_default(&table, &s, arena, &err), TS_OK, "%s", err.text);
    return s;
}

Test(core_formula, lines_in_force_with_their_values)
{
    static const char formulas[] = "@loss\n"
                                   "n = {decay} n, {levels} {init}\n"
                                   "[cosine]on\n"
                                   "[!cosine]off\n"
                                   "[init=normal][rounds]both\n"
                                   "[init=kmeans][rounds]not both\n"
                                   "[rounds=10][!rounds=1]ten\n"
                                   "[levels][decay]lists and numbers\n"
                                   "[name]named\n"
                                   "@update\n"
                                   "[!init=kmeans]last\n";
    ts_arena arena = {0};
    ts_error err = {0};
    told t = {0};
    sample s = defaults(&arena);
    cr_assert_eq(ts_formulas(formulas, &table, &s, tell, &t, &err), TS_OK, "%s", err.text);
    cr_assert_str_eq(t.text, "loss:n = 0.99 n, [8, 5] normal|loss:off|loss:both|loss:ten|loss:lists and numbers|"
                             "update:last|");
    s = (sample){.cosine = true, .init = 1, .name = "x"};
    t = (told){0};
    cr_assert_eq(ts_formulas(formulas, &table, &s, tell, &t, &err), TS_OK, "%s", err.text);
    cr_assert_str_eq(t.text, "loss:n = 0 n, [] kmeans|loss:on|loss:named|");
    ts_arena_clear(&arena);
}

Test(core_formula, mistakes_are_told)
{
    static const struct {
        const char *formulas, *message;
    } cases[] = {
        {"a line\n", "before the first section"}, {"@los\n", "no such section: @los"},
        {"@loss\n[cosin]x\n", "no option"},       {"@loss\n[cosine x\n", "no ]"},
        {"@loss\n[init]x\n", "=value"},           {"@loss\n[init=kmean]x\n", "no value"},
        {"@loss\n{decai}\n", "no option"},        {"@loss\n[cosine]{decay\n", "no option"},
    };
    ts_arena arena = {0};
    sample s = defaults(&arena);
    size_t count = sizeof cases / sizeof *cases;
    for (size_t i = 0; i < count; i++) {
        told t = {0};
        ts_error err = {0};
        cr_assert_eq(ts_formulas(cases[i].formulas, &table, &s, tell, &t, &err), TS_ERR_RUNTIME, "%zu", i);
        cr_assert(strstr(err.text, cases[i].message) && strstr(err.text, "sample"), "%s", err.text);
    }
    cr_assert_geq(count, 8);
    ts_arena_clear(&arena);
}

Test(core_formula, a_line_that_is_too_long_is_a_mistake)
{
    char formulas[2 * TS_FORMULA_LINE_BYTES] = "@loss\n";
    memset(formulas + 6, 'x', TS_FORMULA_LINE_BYTES);
    ts_arena arena = {0};
    ts_error err = {0};
    told t = {0};
    sample s = defaults(&arena);
    cr_assert_eq(ts_formulas(formulas, &table, &s, tell, &t, &err), TS_ERR_RUNTIME);
    cr_assert(strstr(err.text, "too long"), "%s", err.text);
    formulas[6 + TS_FORMULA_LINE_BYTES - 1] = 0;
    cr_assert_eq(ts_formulas(formulas, &table, &s, tell, &t, &err), TS_OK, "%s", err.text);
    ts_arena_clear(&arena);
}
