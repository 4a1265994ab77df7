/* The motion model beyond its golden files: every option gives the shapes that it promises, causal means causal, and
 * what does not fit is refused by name. */
#include "models/motion_conv.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "autograd/program.h"
#include "core/random.h"
#include "layers/patch.h"

enum { C = 7, D = 5, B = 2 };

static const ts_motion_conv_options plain = {
    .width = 32, .depth = 2, .dilation_growth = 3, .down_t = 2, .stride = 2, .kernel = 3, .patch_size = 1};

/* Encoder and decoder side by side: x [B, T, C] -> z [B, t, D], codes [B, t, D] -> y [B, T, C]. */
typedef struct {
    ts_graph *graph;
    ts_program *program;
    ts_value x, z, codes, y;
} half;

typedef struct {
    ts_device *device;
    ts_store *store;
    ts_workspace *workspace;
} net;

static ts_error err;

static net net_open(void)
{
    net n = {.store = ts_store_new(TS_F32)};
    cr_assert_eq(ts_device_open("cpu", 1, &n.device, &err), TS_OK, "%s", err.text);
    n.workspace = ts_workspace_new(n.device);
    return n;
}

static void net_close(net *n)
{
    ts_workspace_free(n->workspace);
    ts_store_free(n->store);
    ts_device_close(n->device);
}

/* The first one makes the weights, later ones (of other lengths) find them. */
static half half_open(net *n, const ts_motion_conv_options *o, int64_t frames, ts_mode mode)
{
    half h = {.graph = ts_graph_new(TS_F32)};
    ts_scope s = {.graph = h.graph, .store = n->store, .path = "", .mode = mode};
    ts_shape tokens;
    cr_assert_eq(ts_motion_conv_kind.check(o, ts_shape_of(frames, C), &tokens, &err), TS_OK, "%s", err.text);
    h.x = ts_input(h.graph, "x", TS_F32, ts_shape_of(B, frames, C));
    h.codes = ts_input(h.graph, "codes", TS_F32, ts_shape_of(B, tokens.dim[0], D));
    h.z = ts_motion_conv_kind.encode(ts_sub(s, "encoder"), o, h.x, D);
    h.y = ts_motion_conv_kind.decode(ts_sub(s, "decoder"), o, h.codes, C);
    ts_output(h.z, "z");
    ts_output(h.y, "y");
    cr_assert_eq(ts_graph_check(h.graph, &err), TS_OK, "%s", err.text);
    cr_assert(ts_shape_equal(ts_value_shape(h.z), ts_value_shape(h.codes)), "z is %s, expected %s",
              ts_shape_print(ts_value_shape(h.z)).text, ts_shape_print(ts_value_shape(h.codes)).text);
    cr_assert(ts_shape_equal(ts_value_shape(h.y), ts_value_shape(h.x)), "y is %s, expected %s",
              ts_shape_print(ts_value_shape(h.y)).text, ts_shape_print(ts_value_shape(h.x)).text);
    if (!ts_store_sealed(n->store))
        cr_assert_eq(ts_store_seal(n->store, n->device, 7, &err), TS_OK, "%s", err.text);
    cr_assert_eq(ts_program_new(h.graph, n->workspace, &h.program, &err), TS_OK, "%s", err.text);
    return h;
}

static void half_close(half *h)
{
    ts_program_free(h->program);
    ts_graph_free(h->graph);
}

enum { MOST = 4096 };
static float x[MOST], codes[MOST], z[MOST], y[MOST], z2[MOST], y2[MOST];

static void fill(float *to, const char *what)
{
    ts_random_normals((ts_random_key){1, ts_random_stream(what)}, 0, 0, MOST, to);
}

static void half_run(half *h, float *to_z, float *to_y)
{
    cr_assert_leq(ts_shape_count(ts_value_shape(h->x)), MOST);
    ts_program_set(h->program, h->x, x);
    ts_program_set(h->program, h->codes, codes);
    cr_assert_eq(ts_program_run(h->program, &err), TS_OK, "%s", err.text);
    ts_program_get(h->program, h->z, to_z);
    ts_program_get(h->program, h->y, to_y);
}

/* ---- shapes ---- */

static void expect_finite(const ts_motion_conv_options *o, int64_t frames)
{
    net n = net_open();
    half h = half_open(&n, o, frames, TS_TRAIN);
    fill(x, "x");
    fill(codes, "codes");
    half_run(&h, z, y);
    double energy = 0;
    for (int64_t i = 0; i < ts_shape_count(ts_value_shape(h.z)); i++)
        energy += fabs((double)z[i]);
    for (int64_t i = 0; i < ts_shape_count(ts_value_shape(h.y)); i++)
        energy += fabs((double)y[i]);
    cr_assert(isfinite(energy) && energy > 0);
    half_close(&h);
    net_close(&n);
}

Test(models_motion_conv, every_option_keeps_the_shapes)
{
    for (int causal = 0; causal < 2; causal++) {
        for (int64_t stride = 1; stride <= 5; stride++)
            for (int64_t down = 0; down <= 2; down++) {
                ts_motion_conv_options o = plain;
                o.causal = causal, o.stride = stride, o.down_t = down;
                expect_finite(&o, 2 * (down > 1 ? stride * stride : down ? stride : 1));
            }
        for (int norm = 0; norm < 4; norm++)
            for (int attention = 0; attention < 2; attention++) {
                ts_motion_conv_options o = plain;
                o.causal = causal, o.norm = norm, o.attention = attention, o.activation = norm % 3, o.kernel = 5;
                expect_finite(&o, 16);
            }
        for (int64_t size = 1; size <= 8; size *= 2)
            for (int method = 0; method < 2; method++) {
                ts_motion_conv_options o = plain;
                o.causal = causal, o.patch = method, o.patch_size = size, o.down_t = 1, o.depth = 0;
                expect_finite(&o, 32);
            }
    }
}

Test(models_motion_conv, what_does_not_fit_is_refused)
{
    const struct {
        ts_motion_conv_options o;
        ts_shape item;
        const char *text;
    } cases[] = {
        {.o = plain, .item = ts_shape_of(28, 28, 1), .text = "items are [28, 28, 1], expected frames and columns"},
        {.o = plain, .item = ts_shape_of(62, 263), .text = "62 frames, expected a multiple of 4"},
        {.o = plain, .item = ts_shape_of(0, 263), .text = "0 frames"},
        {.o = {.width = 32, .kernel = 4, .stride = 2, .patch_size = 1}, .item = ts_shape_of(64, 3), .text = "odd"},
        {.o = {.width = 33, .kernel = 3, .stride = 2, .patch_size = 1, .norm = TS_NORM_GROUP},
         .item = ts_shape_of(64, 3),
         .text = "width is 33, expected a multiple of 32"},
        {.o = {.width = 32, .kernel = 3, .stride = 2, .patch_size = 3},
         .item = ts_shape_of(63, 3),
         .text = "power of two"},
        {.o = {.width = 32, .kernel = 3, .stride = 2, .patch_size = 1, .depth = 16, .dilation_growth = 16},
         .item = ts_shape_of(64, 3),
         .text = "dilation above 65536"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        ts_shape tokens;
        cr_assert_eq(ts_motion_conv_kind.check(&cases[i].o, cases[i].item, &tokens, &err), TS_ERR_USAGE, "case %zu", i);
        cr_assert_not_null(strstr(err.text, cases[i].text), "expected \"%s\" in: %s", cases[i].text, err.text);
    }
}

Test(models_motion_conv, the_option_table_is_sound)
{
    ts_motion_conv_options o;
    ts_arena arena = {0};
    cr_assert_eq(ts_option_table_check(ts_motion_conv_kind.table, &err), TS_OK, "%s", err.text);
    cr_assert_eq(ts_options_default(ts_motion_conv_kind.table, &o, &arena, &err), TS_OK, "%s", err.text);
    ts_shape tokens;
    cr_assert_eq(ts_motion_conv_kind.check(&o, ts_shape_of(64, 263), &tokens, &err), TS_OK, "%s", err.text);
    cr_assert_eq(tokens.dim[0], 16);
    ts_arena_clear(&arena);
}

/* ---- causality ---- */

static const struct {
    const char *name;
    ts_motion_conv_options o;
    int64_t per_token; /* frames */
} causal[] = {
    {"plain", {32, 2, 3, 2, 2, 3, 0, TS_NORM_NONE, true, false, 0, 1}, 4},
    {"layer norm, silu, kernel 5", {32, 2, 3, 2, 2, 5, 1, TS_NORM_LAYER, true, false, 0, 1}, 4},
    {"batch norm, gelu, stride 3", {32, 2, 2, 1, 3, 3, 2, TS_NORM_BATCH, true, false, 0, 1}, 3},
    {"stride 4: dilated", {32, 1, 3, 1, 4, 3, 0, TS_NORM_NONE, true, false, 0, 1}, 4},
    {"attention", {32, 1, 3, 1, 2, 3, 0, TS_NORM_LAYER, true, true, 0, 1}, 2},
    {"haar of 4", {32, 1, 3, 1, 2, 3, 0, TS_NORM_NONE, true, false, TS_PATCH_HAAR, 4}, 8},
    {"side by side, kernel 7", {32, 1, 3, 0, 2, 7, 1, TS_NORM_NONE, true, false, TS_PATCH_REARRANGE, 3}, 3},
    {"no division", {32, 3, 1, 0, 2, 3, 0, TS_NORM_LAYER, true, false, 0, 1}, 1},
    {"divided by 8, no blocks", {32, 0, 3, 3, 2, 5, 2, TS_NORM_NONE, true, false, 0, 1}, 8},
    {"dilations 16, 4 and 1", {32, 3, 4, 1, 2, 3, 1, TS_NORM_NONE, true, false, 0, 1}, 2},
};

/* Numbers of z, or of y, per clip before token `k` that differ between two runs; *after counts those from it on. */
static int64_t differing(const float *a, const float *b, int64_t rows, int64_t columns, int64_t k, int64_t *after)
{
    int64_t before = 0;
    *after = 0;
    for (int64_t clip = 0; clip < B; clip++)
        for (int64_t i = 0; i < rows * columns; i++) {
            int64_t at = clip * rows * columns + i;
            bool differs = memcmp(a + at, b + at, sizeof *a) != 0;
            before += differs && i < k * columns;
            *after += differs && i >= k * columns;
        }
    return before;
}

/* Runs, changes all frames and tokens from token k on, runs again. */
static void run_changed(half *h, int64_t tokens, int64_t per_token, int64_t k)
{
    fill(x, "x");
    fill(codes, "codes");
    half_run(h, z, y);
    for (int64_t clip = 0; clip < B; clip++) {
        for (int64_t i = k * per_token * C; i < tokens * per_token * C; i++)
            x[clip * tokens * per_token * C + i] += 1;
        for (int64_t i = k * D; i < tokens * D; i++)
            codes[clip * tokens * D + i] -= 1;
    }
    half_run(h, z2, y2);
}

Test(models_motion_conv, causal_means_causal)
{
    enum { TOKENS = 6 };
    for (size_t i = 0; i < sizeof causal / sizeof *causal; i++)
        for (int64_t k = 1; k < TOKENS; k++) {
            int64_t frames = causal[i].per_token * TOKENS, after;
            net n = net_open();
            half h = half_open(&n, &causal[i].o, frames, TS_EVAL);
            run_changed(&h, TOKENS, causal[i].per_token, k);
            cr_assert_eq(differing(z, z2, TOKENS, D, k, &after), 0, "%s: tokens before %d", causal[i].name, (int)k);
            cr_assert_gt(after, 0);
            cr_assert_eq(differing(y, y2, frames, C, k * causal[i].per_token, &after), 0, "%s: frames before token %d",
                         causal[i].name, (int)k);
            cr_assert_gt(after, 0);
            half_close(&h);
            net_close(&n);
        }
}

/* The check above can fail: it does for each of these models where it is not causal, and for group norm. */
Test(models_motion_conv, what_is_not_causal_is_seen_to_be)
{
    enum { TOKENS = 6 };
    size_t count = sizeof causal / sizeof *causal;
    for (size_t i = 0; i <= count; i++) {
        ts_motion_conv_options o = i < count ? causal[i].o : causal[0].o;
        const char *name = i < count ? causal[i].name : "group norm";
        int64_t per_token = causal[i % count].per_token, frames = per_token * TOKENS, after;
        o.causal = i == count;
        o.norm = i == count ? TS_NORM_GROUP : o.norm;
        net n = net_open();
        half h = half_open(&n, &o, frames, TS_EVAL);
        run_changed(&h, TOKENS, per_token, 3);
        cr_assert_gt(differing(z, z2, TOKENS, D, 3, &after), 0, "%s", name);
        cr_assert_gt(differing(y, y2, frames, C, 3 * per_token, &after), 0, "%s", name);
        half_close(&h);
        net_close(&n);
    }
}

/* What has arrived so far gives the tokens that the whole clip gives. */
Test(models_motion_conv, a_clip_that_grows_gives_the_same_tokens)
{
    enum { TOKENS = 6 };
    for (size_t i = 0; i < sizeof causal / sizeof *causal; i++) {
        int64_t frames = causal[i].per_token * TOKENS;
        net n = net_open();
        half whole = half_open(&n, &causal[i].o, frames, TS_EVAL);
        fill(x, "x");
        half_run(&whole, z, y);
        for (int64_t k = 1; k < TOKENS; k++) {
            half part = half_open(&n, &causal[i].o, k * causal[i].per_token, TS_EVAL);
            fill(x, "x"); /* the second clip of the batch is another one then: only the first is compared */
            half_run(&part, z2, y2);
            for (int64_t j = 0; j < k * D; j++)
                cr_assert_float_eq(z[j], z2[j], 1e-5, "%s: %d tokens: %g, %g", causal[i].name, (int)k, z[j], z2[j]);
            half_close(&part);
        }
        half_close(&whole);
        net_close(&n);
    }
}
