/* What columns mean: the presets cover every column once, and agree with real motion. The terms of the loss against
 * sums made here. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "autograd/differentiate.h"
#include "autograd/elementwise.h"
#include "autograd/loss.h"
#include "autograd/program.h"
#include "core/files/npy.h"
#include "core/memory.h"
#include "models/motion_loss.h"
#include "tests/support/shared.h"

static ts_error err;

static void mark(ts_columns c, int *seen)
{
    for (int64_t i = c.first; i < c.first + c.count; i++)
        seen[i]++;
}

Test(models_motion_layout, every_column_has_one_meaning)
{
    static const int64_t known[3] = {263, 251, 272};
    for (int i = 0; i < 3; i++) {
        const ts_motion_layout *l = ts_motion_layout_of(known[i]);
        int seen[300] = {0};
        cr_assert(l && l->columns == known[i]);
        mark(l->root, seen), mark(l->positions, seen), mark(l->rotations, seen), mark(l->velocities, seen);
        mark(l->contacts, seen);
        for (int64_t c = 0; c < 300; c++)
            cr_assert_eq(seen[c], c < known[i], "%s: column %d", l->name, (int)c);
        int64_t others = l->root_position ? l->joints : l->joints - 1;
        cr_assert_eq(l->positions.count, 3 * others);
        cr_assert_eq(l->rotations.count, 6 * others);
        cr_assert_eq(l->velocities.count, 3 * l->joints);
    }
    cr_assert_null(ts_motion_layout_of(264));
}

Test(models_motion_layout, what_differs_has_a_name)
{
    for (int i = 0; ts_motion_layouts[i]; i++)
        cr_assert_null(ts_motion_layout_difference(ts_motion_layouts[i], ts_motion_layouts[i]));
    const ts_motion_layout *kit = ts_motion_layout_find("kit");
    ts_motion_layout changed[13];
    static const char *const names[13] = {NULL,     "columns",   "fps",       "unit_mm",    "root_kind",
                                          "root",   "positions", "rotations", "velocities", "contacts",
                                          "height", "skeleton",  "feet"};
    for (int i = 0; i < 13; i++)
        changed[i] = *kit;
    memcpy(changed[0].name, "other", 6);
    changed[1].columns++;
    changed[2].fps = 20;
    changed[3].unit_mm = 1000;
    changed[4].root_kind = TS_ROOT_HEADING;
    changed[5].root.first = 1;
    changed[6].positions.count -= 3;
    changed[7].rotations.first++;
    changed[8].velocities.count = 0;
    changed[9].contacts.count = 0;
    changed[10].height = 2;
    changed[11].parent[20] = 0;
    changed[12].foot[3] = 1;
    for (int i = 0; i < 13; i++) {
        const char *what = ts_motion_layout_difference(&changed[i], kit);
        cr_expect(names[i] ? what && strcmp(what, names[i]) == 0 : !what, "case %d: %s", i, what);
    }
}

/* The root's velocity is there twice, its height is that of a pelvis, contacts are 0 or 1: at the columns of 263. */
Test(models_motion_layout, of_real_motion)
{
    const char *path = shared_path("data/motion/new_joint_vecs/cmu_002_01.npy");
    if (!path) {
        skip_counted("no shared data");
        return;
    }
    ts_npy npy;
    const ts_motion_layout *l = ts_motion_layout_of(263);
    cr_assert_eq(ts_npy_open(&npy, path, &err), TS_OK, "%s", err.text);
    int64_t frames = npy.tensor.shape.dim[0];
    for (int64_t t = 0; t + 1 < frames; t++) {
        const float *x = (float *)npy.tensor.data + t * l->columns, *v = x + l->velocities.first;
        cr_assert_float_eq(v[0], x[1], 1e-5);
        cr_assert_float_eq(v[2], x[2], 1e-5);
        cr_assert_float_eq(v[1], x[l->columns + l->height] - x[l->height], 1e-5);
        cr_assert(x[l->height] > 0.5 && x[l->height] < 1.3);
        for (int64_t c = l->contacts.first; c < l->columns; c++)
            cr_assert(x[c] == 0 || x[c] == 1);
    }
    ts_npy_close(&npy);
}

/* ---- losses ---- */

enum { B = 2, T = 5, C = 251 };

/* Mean over the columns c of the differences of this order whose frames all count; *rows: how many those are. */
static double mean_square(const float *d, const float *mask, int64_t order, ts_columns c, int64_t *rows)
{
    static const double factor[3][3] = {{1}, {-1, 1}, {1, -2, 1}};
    double sum = 0;
    *rows = 0;
    for (int64_t b = 0; b < B; b++)
        for (int64_t t = b * T; t + order < b * T + T; t++) {
            bool counts = true;
            for (int64_t k = 0; k <= order; k++)
                counts &= mask[t + k] != 0;
            *rows += counts;
            for (int64_t i = c.first; counts && i < c.first + c.count; i++) {
                double e = 0;
                for (int64_t k = 0; k <= order; k++)
                    e += factor[order][k] * (double)d[(t + k) * C + i];
                sum += e * e;
            }
        }
    return *rows ? sum / (double)(*rows * c.count) : 0;
}

static void expect_terms(const ts_motion_losses *l, ts_program *program, const float *d, const float *mask,
                         const char *label)
{
    static const char *const names[4] = {"position", "velocity", "acceleration", "root"};
    const ts_motion_layout *layout = ts_motion_layout_of(C);
    for (int i = 0; i < 4; i++) {
        float found, found_rows;
        int64_t rows;
        ts_program_get(program, l->term[i].value, &found);
        double expected = mean_square(d, mask, i % 3, i == 3 ? layout->root : layout->positions, &rows);
        cr_assert_str_eq(l->term[i].name, names[i]);
        cr_assert_eq(l->term[i].weight, i + 1);
        cr_assert_float_eq(found, expected, 1e-5 * expected, "%s: %s: %g, expected %g", label, names[i], (double)found,
                           expected);
        if (!l->term[i].rows.graph)
            continue;
        ts_program_get(program, l->term[i].rows, &found_rows);
        cr_assert_eq((int64_t)found_rows, rows, "%s: %s: %g rows", label, names[i], (double)found_rows);
    }
}

/* With this mask (NULL: without one), and in frames that do not count whatever there is: no gradient reaches them. */
static void check_terms(const float *mask, const char *label)
{
    static float x[B * T * C], y[B * T * C], d[B * T * C], gradient[B * T * C];
    static const float all[B * T] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
    for (int i = 0; i < B * T * C; i++) {
        x[i] = (float)(i % 7), y[i] = (float)(i * i % 11) + (mask && mask[i / C] == 0 ? 1e9f : 0), d[i] = y[i] - x[i];
    }
    ts_device *device;
    ts_graph *g = ts_graph_new(TS_F32);
    ts_program *program;
    ts_motion_losses l;
    cr_assert_eq(ts_device_open("ref", 1, &device, &err), TS_OK);
    ts_workspace *workspace = ts_workspace_new(device);
    ts_value in_y = ts_input(g, "y", TS_F32, ts_shape_of(B, T, C)),
             in_x = ts_input(g, "x", TS_F32, ts_shape_of(B, T, C)), dy,
             in_mask = mask ? ts_input(g, "mask", TS_F32, ts_shape_of(B, T)) : TS_ABSENT;
    ts_motion_losses_build(&l, &(ts_motion_weights){1, 2, 3, 4}, ts_motion_layout_of(C), ts_mse_masked, in_y, in_x,
                           in_mask);
    cr_assert_eq(l.count, 4);
    for (int i = 0; i < 4; i++) {
        ts_output(l.term[i].value, l.term[i].name);
        ts_output(l.term[i].rows, "rows");
    }
    ts_value total = ts_add(ts_add(l.term[0].value, l.term[1].value), ts_add(l.term[2].value, l.term[3].value));
    ts_differentiate(total, 1, &in_y, &dy);
    ts_output(dy, "dy");
    cr_assert_eq(ts_program_new(g, workspace, &program, &err), TS_OK, "%s", err.text);
    ts_program_set(program, in_y, y);
    ts_program_set(program, in_x, x);
    if (mask)
        ts_program_set(program, in_mask, mask);
    cr_assert_eq(ts_program_run(program, &err), TS_OK, "%s", err.text);
    expect_terms(&l, program, d, mask ? mask : all, label);
    ts_program_get(program, dy, gradient);
    for (int i = 0; mask && i < B * T * C; i++)
        if (mask[i / C] == 0)
            cr_assert_eq(gradient[i], 0, "%s: frame %d", label, i / C);
    ts_program_free(program);
    ts_graph_free(g);
    ts_workspace_free(workspace);
    ts_device_close(device);
}

Test(models_motion_loss, terms_are_means_over_their_columns_and_the_frames_that_count)
{
    static const float masks[][B * T] = {{1, 1, 1, 1, 1, 1, 1, 1, 1, 1}, {1, 1, 1, 1, 1, 1, 1, 1, 0, 0},
                                         {1, 1, 0, 0, 0, 1, 1, 1, 1, 0}, {1, 1, 0, 1, 1, 0, 1, 1, 1, 1},
                                         {1, 0, 1, 0, 1, 0, 1, 0, 1, 0}, {0, 0, 0, 0, 0, 0, 0, 0, 0, 0}};
    check_terms(NULL, "without a mask");
    for (int i = 0; i < 6; i++) {
        char label[16];
        snprintf(label, sizeof label, "mask %d", i);
        check_terms(masks[i], label);
    }
}

Test(models_motion_loss, nothing_asked_and_what_does_not_fit)
{
    ts_motion_losses l;
    ts_graph *g = ts_graph_new(TS_F32);
    ts_value x = ts_input(g, "x", TS_F32, ts_shape_of(B, T, C));
    ts_motion_losses_build(&l, &(ts_motion_weights){0}, ts_motion_layout_of(C), ts_mse_masked, x, x, TS_ABSENT);
    cr_assert(l.count == 0 && ts_graph_check(g, &err) == TS_OK);
    ts_motion_losses_build(&l, &(ts_motion_weights){.root = 1}, ts_motion_layout_of(263), ts_mse_masked, x, x,
                           TS_ABSENT);
    cr_assert_neq(ts_graph_check(g, &err), TS_OK);
    cr_assert_not_null(strstr(err.text, "[2, 5, 251], expected [B, T, 263]"), "%s", err.text);
    ts_graph_free(g);
}
