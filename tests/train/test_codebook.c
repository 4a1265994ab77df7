/* tessera inspect --codebook: counts, neighbours, pictures. */
#include <criterion/criterion.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/files/image.h"
#include "tests/train/run_program.h"
#include "train/code_table.h"

static temp_folder folder;

static void set_up(void)
{
    folder = temp_folder_make();
}

static void tear_down(void)
{
    temp_folder_remove(&folder);
}

TestSuite(train_codebook, .init = set_up, .fini = tear_down);

/* ---- counts ---- */

Test(train_codebook, counts_by_group_and_the_most_used_first)
{
    int32_t ids[] = {3, 0, 1, 0, 3,  2, /* an item of 3 tokens, 2 groups */
                     1, 2, 3, 2, -1, -1};
    int32_t lengths[] = {3, 2};
    ts_tokens tokens = {.items = 2, .longest = 3, .groups = 2, .ids = ids, .lengths = lengths};
    ts_code_table t;
    ts_error err = {0};
    cr_assert_eq(ts_code_table_count(&t, &tokens, 4, 3, 9, &err), TS_OK, "%s", err.text);
    static const int64_t count[] = {0, 2, 0, 3, 2, 0, 3, 0};
    static const int32_t list[] = {3, 1, 0, 2, 0, 1};
    cr_assert_eq(t.tokens, 5);
    cr_assert(t.listed == 3 && t.near == 3, "no more neighbours than other codes");
    cr_assert_arr_eq(t.count, count, sizeof count);
    cr_assert_arr_eq(t.list, list, sizeof list);
    int32_t token[2];
    ts_code_table_token(&t, 1, 1, token);
    cr_assert(token[0] == 3 && token[1] == 1);
    ts_code_table_clear(&t);
}

Test(train_codebook, no_tokens_are_an_error)
{
    int32_t lengths[] = {0};
    ts_tokens tokens = {.items = 1, .longest = 0, .groups = 1, .lengths = lengths};
    ts_code_table t;
    ts_error err = {0};
    cr_assert_eq(ts_code_table_count(&t, &tokens, 4, 4, 1, &err), TS_ERR_DATA);
    ts_code_table_clear(&t);
}

/* ---- the command ---- */

static int steps_apart(int a, int b)
{
    int steps = 0;
    for (int i = 0; i < 3; i++, a /= 4, b /= 4)
        steps += abs(a % 4 - b % 4);
    return steps;
}

/* The codes of levels [4, 4, 4] stand on a grid of 1/2: the nearest to each is a neighbour there. */
static void check_line(const char *line, int64_t *tokens, int *listed)
{
    int id, near, used = 0;
    long long count;
    double share, distance;
    cr_assert_geq(sscanf(line, "0,%d,%lld,%lf,%d,%lf%n", &id, &count, &share, &near, &distance, &used), 3, "%s", line);
    *tokens += count;
    if (!used)
        return;
    ++*listed;
    cr_expect_float_eq(distance, 0.5, 1e-6, "%s", line);
    cr_expect_eq(steps_apart(id, near), 1, "%s", line);
}

static void expect_file(const char *path)
{
    size_t bytes;
    free(file_content(path, &bytes));
    cr_expect_gt(bytes, 500, "%s", path);
}

static const char *in_folder(const char *name)
{
    char path[100];
    snprintf(path, sizeof path, "codes/%s", name);
    return kept_path(&folder, path);
}

Test(train_codebook, shows_what_the_codes_are)
{
    const char *last = tiny_run(&folder), *out = kept_path(&folder, "codes");
    char *text = OUTPUT("inspect", last, "--codebook", out, "--codes", "20", "--json");
    json_t *root = json_loads(text, 0, NULL), *use = json_object_get(root, "use");
    int64_t all = json_integer_value(json_object_get(root, "tokens")), tokens = 0;
    cr_assert(all > 0 && use);
    cr_expect_eq(
        json_integer_value(json_object_get(use, "used")) + json_integer_value(json_object_get(use, "never_used")), 64);
    json_decref(root);
    free(text);

    size_t bytes;
    char *csv = file_content(in_folder("codes.csv"), &bytes);
    int lines = 0, listed = 0;
    for (char *line = strchr(csv, '\n') + 1; *line; line = strchr(line, '\n') + 1, lines++)
        check_line(line, &tokens, &listed);
    cr_expect(lines == 64 && listed == 20, "%d lines, %d of them with neighbours", lines, listed);
    cr_expect_eq(tokens, all);
    free(csv);

    static const char *const pictures[] = {"codes.png", "usage.png"};
    for (size_t i = 0; i < sizeof pictures / sizeof *pictures; i++) {
        ts_image picture;
        ts_error err = {0};
        cr_assert_eq(ts_image_read(&picture, in_folder(pictures[i]), 3, TS_ERR_DATA, &err), TS_OK, "%s", err.text);
        cr_expect_gt(picture.width, 300);
        ts_image_clear(&picture);
    }
    free(OUTPUT("decode", last, in_folder("tokens.h5"), "-o", in_folder("again.h5")));
}

/* Every group of ids has a sheet of its own; a code of motion is a pose. */
Test(train_codebook, groups_and_motion)
{
    const char *config = tiny_config(&folder), *run = kept_path(&folder, "two"), *out = kept_path(&folder, "codes");
    free(OUTPUT("train", config, "--run", run, "--quiet", "quantizer.codebooks=2"));
    char *text = OUTPUT("inspect", kept_path(&folder, "two/checkpoints/last.h5"), "--codebook", out);
    cr_expect(strstr(text, "group 0") && strstr(text, "group 1"), "%s", text);
    free(text);
    expect_file(in_folder("codes_1.png"));
    expect_file(in_folder("usage_0.png"));

    run = kept_path(&folder, "three");
    out = kept_path(&folder, "poses");
    free(OUTPUT("train", TESSERA_SOURCE "/configs/motion/chains_fsq.yaml", "--run", run, "--quiet", "train.steps=2",
                "train.batch=4", "train.eval_limit=2", "train.picture_frames=0"));
    free(OUTPUT("inspect", kept_path(&folder, "three/checkpoints/last.h5"), "--codebook", out, "--codes", "3"));
#ifdef TS_WITH_CAIRO
    expect_file(kept_path(&folder, "poses/codes.png"));
#endif
}

Test(train_codebook, bad_input)
{
    const char *last = tiny_run(&folder), *out = kept_path(&folder, "codes");
    REFUSED(2, "--codes belongs to --codebook", "inspect", last, "--codes", "3");
    REFUSED(2, "only --codebook DIR takes more", "inspect", last, last);
    REFUSED(2, "only --codebook DIR takes more", "inspect", last, "data.split=1");
    REFUSED(3, "/nowhere", "inspect", last, "/nowhere", "--codebook", out);
    REFUSED(4, "/nowhere.h5", "inspect", "/nowhere.h5", "--codebook", out);
    REFUSED(2, "codes", "inspect", last, "--codebook", out, "--codes", "0");
}
