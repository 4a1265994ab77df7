/* What a run knows of motion, as a value. */
#include "train/motion.h"

#include <criterion/criterion.h>
#include <string.h>

static const float mean[3] = {1, -2, 0.5f}, std[3] = {2, 4, 0.25f};
static const ts_motion normalised = {.known = true, .columns = 3, .mean = mean, .std = std};

Test(train_motion, guessed_from_the_shape_of_an_item)
{
    static const struct {
        ts_shape item;
        int64_t columns;
        const char *layout;
    } cases[] = {
        {{2, {64, 263}}, 263, "humanml3d"}, {{2, {64, 251}}, 251, "kit"}, {{2, {96, 272}}, 272, "motionmillion"},
        {{2, {64, 264}}, 264, NULL},        {{3, {64, 64, 3}}, 0, NULL},  {{1, {263}}, 0, NULL}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        ts_motion m = ts_motion_guess(cases[i].item);
        const ts_motion_layout *layout = ts_motion_layout_known(&m);
        cr_expect(!m.known && m.columns == cases[i].columns && !m.mean && !m.std, "case %zu", i);
        cr_expect(cases[i].layout ? layout && strcmp(layout->name, cases[i].layout) == 0 : !layout, "case %zu", i);
    }
}

Test(train_motion, normalised_and_back)
{
    float x[6] = {1, 2, 0.5f, 5, -2, 1};
    ts_motion_normalize(&normalised, 2, x);
    static const float expected[6] = {0, 1, 0, 2, 0, 2};
    for (int i = 0; i < 6; i++)
        cr_assert_eq(x[i], expected[i], "%d: %g", i, (double)x[i]);
    ts_motion_restore(&normalised, 2, x);
    cr_assert(x[1] == 2 && x[3] == 5 && x[5] == 1);
    ts_motion plain = {.known = true, .columns = 3};
    ts_motion_normalize(&plain, 2, x);
    ts_motion_restore(&plain, 2, x);
    cr_assert(x[1] == 2 && x[3] == 5 && x[5] == 1, "values without a mean stay as they are");
}

Test(train_motion, a_copy_is_its_own)
{
    ts_arena arena = {0};
    ts_motion copy;
    ts_error err = {0};
    char text[200] = "";
    cr_assert_eq(ts_motion_copy(&copy, &normalised, &arena, &err), TS_OK, "%s", err.text);
    cr_assert(copy.known && copy.mean != mean && copy.std != std);
    cr_assert(ts_motion_same_values(&copy, &normalised, text, sizeof text));
    ts_arena_clear(&arena);
    ts_alloc_fail_at(1);
    cr_assert_eq(ts_motion_copy(&copy, &normalised, &arena, &err), TS_ERR_RUNTIME);
    ts_alloc_fail_at(0);
}

Test(train_motion, what_differs_is_told)
{
    static const float other[3] = {2, 4.5f, 0.25f};
    static const ts_motion deviates = {.columns = 3, .mean = mean, .std = other}, plain = {.columns = 3},
                           narrow = {.columns = 2, .mean = mean, .std = std};
    static const struct {
        const ts_motion *a, *b;
        const char *text;
    } cases[] = {
        {&deviates, &normalised, "column 1 has mean -2 and std 4.5, not mean -2 and std 4"},
        {&plain, &normalised, "3 columns, as they are, not 3 columns, normalised"},
        {&normalised, &plain, "3 columns, normalised, not 3 columns, as they are"},
        {&narrow, &normalised, "2 columns, normalised, not 3 columns, normalised"},
    };
    char text[200];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        cr_expect_not(ts_motion_same_values(cases[i].a, cases[i].b, text, sizeof text), "case %zu", i);
        cr_expect_str_eq(text, cases[i].text);
    }
    cr_expect(ts_motion_same_values(&plain, &plain, text, sizeof text));
}

Test(train_motion, described_by_a_layout_a_rate_and_columns)
{
    static const struct {
        const char *layout, *name; /* name NULL: no layout is known */
        double fps;
        int64_t columns, found;
        double rate;
    } good[] = {{"auto", "kit", 0, 251, 251, 12.5},
                {"auto", "kit", 25, 251, 251, 25},
                {"auto", NULL, 0, 100, 100, 0},
                {"auto", NULL, 0, 0, 0, 0},
                {"auto", NULL, 25, 0, 0, 25},
                {"humanml3d", "humanml3d", 0, 263, 263, 20},
                {"humanml3d", "humanml3d", 60, 0, 263, 60}};
    static const struct {
        const char *layout;
        double fps;
        int64_t columns;
        ts_status status;
        const char *text;
    } bad[] = {
        {"kit", 0, 263, TS_ERR_DATA, "frames of 263 columns, but those of the layout kit are 251"},
        {"auto", 30, 100, TS_ERR_USAGE, "30 frames a second: no layout of 100 columns is known"},
        {"autos", 0, 100, TS_ERR_USAGE, "expected a layout of humanml3d, kit, motionmillion, found 'autos'"},
        {"./nowhere.yaml", 0, 100, TS_ERR_USAGE, "./nowhere.yaml: cannot"},
    };
    ts_error err = {0};
    ts_motion m;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        cr_assert_eq(ts_motion_describe(&m, good[i].layout, good[i].fps, good[i].columns, &err), TS_OK, "%s", err.text);
        cr_expect(m.known && m.columns == good[i].found && !m.mean, "case %zu", i);
        cr_expect(good[i].name ? strcmp(m.layout.name, good[i].name) == 0 : !ts_motion_layout_known(&m), "case %zu", i);
        cr_expect_eq(m.layout.fps, good[i].rate, "case %zu: %g", i, m.layout.fps);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        cr_expect_eq(ts_motion_describe(&m, bad[i].layout, bad[i].fps, bad[i].columns, &err), bad[i].status);
        cr_expect_not_null(strstr(err.text, bad[i].text), "%s", err.text);
    }
}
