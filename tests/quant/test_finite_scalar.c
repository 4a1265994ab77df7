#include "quant/finite_scalar.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "autograd/node.h"
#include "core/fsq.h"
#include "tests/quant/quant_rig.h"

/* The published sets of levels, by the power of two that they stand for, and what the symmetric bound adds. */
static const ts_int_list presets[] = {
    {3, {8, 6, 5}},
    {3, {8, 8, 8}},
    {4, {8, 5, 5, 5}},
    {4, {8, 8, 6, 5}},
    {5, {7, 5, 5, 5, 5}},
    {5, {8, 8, 8, 6, 5}},
    {6, {8, 8, 8, 5, 5, 5}},
    {1, {3}},
    {2, {5, 4}},
    {3, {26, 27, 5}},
    {10, {3, 3, 3, 3, 3, 3, 3, 3, 3, 3}},
};
enum { PRESETS = sizeof presets / sizeof *presets };

static ts_fsq_table table_of(const ts_finite_scalar_options *o)
{
    ts_fsq_opts opts = {.count = o->levels.count, .bound = o->bound, .hard_clamp = o->hard_clamp};
    ts_fsq_table t;
    ts_error err = {0};
    for (int i = 0; i < opts.count; i++)
        opts.level[i] = (int32_t)o->levels.value[i];
    cr_assert_eq(ts_fsq_table_init(&t, &opts, &err), TS_OK, "%s", err.text);
    return t;
}

/* A z that is quantized to level k of dim i: in the middle of what is rounded to it. */
static float z_of(const ts_fsq_table *t, int i, int32_t k)
{
    double at =
        t->symmetric ? 2.0 * k / (t->level[i] - 1) - 1 : (k - t->half[i] + (double)t->offset[i]) / (double)t->width[i];
    at = fmin(fmax(at, -0.9999), 0.9999);
    return (float)((t->hard_clamp ? at : atanh(at)) - (double)t->shift[i]);
}

/* z of every id in order, [size, D]. */
static float *every_z(const ts_fsq_table *t)
{
    float *z = ts_alloc((size_t)t->size * (size_t)t->count * sizeof *z);
    cr_assert_not_null(z);
    for (int32_t id = 0; id < t->size; id++)
        for (int i = 0; i < t->count; i++)
            z[id * t->count + i] = z_of(t, i, ts_fsq_level_of_id(t, i, id));
    return z;
}

static int32_t *every_id(int32_t size)
{
    int32_t *ids = ts_alloc((size_t)size * sizeof *ids);
    cr_assert_not_null(ids);
    for (int32_t i = 0; i < size; i++)
        ids[i] = i;
    return ids;
}

/* Every code can be reached, has the id that it should have, and decode gives its codes, bit for bit. */
static void expect_bijection(const ts_finite_scalar_options *o)
{
    quant_rig r;
    ts_fsq_table t = table_of(o);
    ts_quantized q;
    quant_rig_open(&r, TS_EVAL);
    ts_value z = ts_input(r.graph, "z", TS_F32, ts_shape_of(t.size, t.count));
    ts_value wanted = ts_input(r.graph, "ids", TS_I32, ts_shape_of(t.size, 1));
    ts_quantize(&ts_finite_scalar_kind, r.scope, o, z, &q);
    ts_value decoded = ts_dequantize(&ts_finite_scalar_kind, r.scope, o, wanted);
    ts_value again = ts_finite_scalar_ids(decoded, o);
    ts_output(q.codes, "codes");
    ts_output(q.ids, "got");
    ts_output(decoded, "decoded");
    ts_output(again, "again");
    quant_rig_plan(&r);
    float *host_z = every_z(&t);
    int32_t *host_ids = every_id(t.size);
    ts_program_set(r.program, z, host_z);
    ts_program_set(r.program, wanted, host_ids);
    quant_rig_run(&r);
    float *a = quant_rig_read(&r, q.codes), *b = quant_rig_read(&r, decoded);
    int32_t *ids = quant_rig_read(&r, q.ids), *back = quant_rig_read(&r, again);
    for (int32_t i = 0; i < t.size; i++) {
        cr_assert(ids[i] == i && back[i] == i, "id %d comes back as %d and %d", i, ids[i], back[i]);
        for (int k = 0; k < t.count; k++)
            cr_assert(a[i * t.count + k] == b[i * t.count + k] && fabsf(b[i * t.count + k]) <= 1);
    }
    ts_free(host_z);
    ts_free(host_ids);
    ts_free(a);
    ts_free(b);
    ts_free(ids);
    ts_free(back);
    quant_rig_close(&r);
}

Test(quant_finite_scalar, ids_and_codes_are_one_to_one)
{
    for (int p = 0; p < PRESETS; p++)
        for (int bound = 0; bound < 3; bound++)
            for (int hard = 0; hard < 2; hard++)
                expect_bijection(&(ts_finite_scalar_options){.levels = presets[p],
                                                             .codebooks = 1,
                                                             .bound = bound,
                                                             .hard_clamp = hard,
                                                             .indices = true,
                                                             .force_f32 = true});
    expect_bijection(&(ts_finite_scalar_options){
        .levels = {4, {2, 2, 2, 2}}, .codebooks = 1, .bound = TS_FSQ_SYMMETRIC, .indices = true});
    expect_bijection(
        &(ts_finite_scalar_options){.levels = {3, {2, 5, 2}}, .codebooks = 1, .bound = TS_FSQ_GOOGLE, .indices = true});
}

static const int64_t expected_codes[] = {240, 512, 1000, 1920, 4375, 15360, 64000};

Test(quant_finite_scalar, info_of_the_presets)
{
    ts_error err = {0};
    for (int p = 0; p < 7; p++) {
        ts_quantizer_info info;
        ts_finite_scalar_options o = {.levels = presets[p], .codebooks = 3, .stack.dim = p == 2 ? 64 : 0};
        cr_assert_eq(ts_quantizer_describe(&ts_finite_scalar_kind, &o, &info, &err), TS_OK, "%s", err.text);
        cr_assert(info.codes == expected_codes[p] && info.groups == 3);
        cr_assert_eq(info.width, p == 2 ? 64 : 3 * presets[p].count);
    }
}

static void expect_refused(ts_int_list levels, int bound, const char *text)
{
    ts_error err = {0};
    ts_quantizer_info info;
    ts_finite_scalar_options o = {.levels = levels, .codebooks = 1, .bound = bound};
    cr_assert_eq(ts_quantizer_describe(&ts_finite_scalar_kind, &o, &info, &err), TS_ERR_USAGE, "accepted: %s", text);
    cr_assert(strstr(err.text, text), "expected \"%s\" in: %s", text, err.text);
}

Test(quant_finite_scalar, levels_that_cannot_be)
{
    expect_refused((ts_int_list){2, {5, 1}}, TS_FSQ_SYMMETRIC, "levels[1] is 1; expected 2 to 65536");
    expect_refused((ts_int_list){2, {2, 5}}, TS_FSQ_LUCIDRAINS, "levels[0] is 2, which needs the symmetric or google");
    expect_refused((ts_int_list){0, {0}}, TS_FSQ_LUCIDRAINS, "0 levels; expected 1 to 16");
    expect_refused((ts_int_list){4, {65536, 65536, 5, 5}}, TS_FSQ_LUCIDRAINS, "exceeds 2147483647 codes");
    expect_refused((ts_int_list){2, {65536, 32768}}, TS_FSQ_LUCIDRAINS, "exceeds 2147483647 codes");
    ts_error err = {0};
    ts_arena arena = {0};
    ts_finite_scalar_options o;
    const ts_option *levels = ts_option_find(ts_finite_scalar_kind.table, "levels");
    cr_assert_eq(ts_option_parse(levels, "[8, 1]", &o, &arena, &err), TS_ERR_USAGE);
    cr_assert(strstr(err.text, "levels"), "%s", err.text);
    ts_arena_clear(&arena);
}

Test(quant_finite_scalar, operands_that_do_not_fit)
{
    quant_rig r;
    ts_quantized q;
    quant_rig_open(&r, TS_TRAIN);
    ts_finite_scalar_options *o = quant_rig_defaults(&r, &ts_finite_scalar_kind);
    ts_quantize(&ts_finite_scalar_kind, ts_sub(r.scope, "quantizer"), o,
                ts_input(r.graph, "z", TS_F32, ts_shape_of(2, 7, 5)), &q);
    cr_assert_not(ts_present(q.codes) || ts_present(q.ids));
    quant_rig_expect_error(&r, "quantizer: finite_scalar: z is [2, 7, 5], expected 3 channels");
    cr_assert_not(ts_present(ts_dequantize(&ts_finite_scalar_kind, r.scope, o, q.ids)));
    cr_assert_not(ts_present(ts_finite_scalar_codes(r.scope, q.ids, o)));
    quant_rig_close(&r);
    quant_rig_open(&r, TS_TRAIN);
    o = quant_rig_defaults(&r, &ts_finite_scalar_kind);
    ts_dequantize(&ts_finite_scalar_kind, r.scope, o, ts_input(r.graph, "ids", TS_I32, ts_shape_of(4, 2)));
    quant_rig_expect_error(&r, "finite_scalar: ids are [4, 2], expected a last axis of 1");
    quant_rig_close(&r);
}

/* A NaN shows in the codes and in the id of its group, and nowhere else. */
Test(quant_finite_scalar, nan_has_no_id)
{
    quant_rig r;
    ts_quantized q;
    quant_rig_open(&r, TS_EVAL);
    ts_finite_scalar_options *o = quant_rig_defaults(&r, &ts_finite_scalar_kind);
    o->codebooks = 2;
    ts_value z = ts_input(r.graph, "z", TS_F32, ts_shape_of(2, 6));
    ts_quantize(&ts_finite_scalar_kind, r.scope, o, z, &q);
    ts_output(q.codes, "codes");
    ts_output(q.ids, "ids");
    quant_rig_plan(&r);
    ts_program_set(r.program, z, (float[]){0, 0, 0, 0, NAN, 0, 1, INFINITY, -INFINITY, 0, 0, 0});
    quant_rig_run(&r);
    float *codes = quant_rig_read(&r, q.codes);
    int32_t *ids = quant_rig_read(&r, q.ids);
    cr_assert(ids[0] == ids[3] && ids[0] >= 0 && ids[1] == -1);
    cr_assert(ids[2] >= 0 && ids[2] < 240);
    for (int i = 0; i < 12; i++)
        cr_assert_eq(isnan(codes[i]) != 0, i == 4, "codes[%d] is %g", i, (double)codes[i]);
    ts_free(codes);
    ts_free(ids);
    quant_rig_close(&r);
}

static double product_with_itself(const float *m, int64_t n, int64_t a, int64_t b)
{
    double sum = 0;
    for (int64_t i = 0; i < n; i++)
        sum += (double)m[a * n + i] * (double)m[b * n + i];
    return sum;
}

/* The drawn matrix is orthogonal, and what decode gives is what build gave. */
Test(quant_finite_scalar, rotation)
{
    enum { N = 50, D = 5 };
    quant_rig r;
    ts_quantized q;
    float host[N * D];
    quant_rig_open(&r, TS_EVAL);
    ts_finite_scalar_options o = {
        .levels = {D, {7, 5, 5, 5, 5}}, .codebooks = 1, .indices = true, .rotation = true, .bound = TS_FSQ_SYMMETRIC};
    ts_value z = ts_input(r.graph, "z", TS_F32, ts_shape_of(N, D));
    ts_quantize(&ts_finite_scalar_kind, r.scope, &o, z, &q);
    ts_output(q.codes, "codes");
    ts_output(q.ids, "ids");
    quant_rig_plan(&r);
    for (int i = 0; i < N * D; i++)
        host[i] = sinf((float)(3 * i));
    ts_program_set(r.program, z, host);
    quant_rig_run(&r);
    float *codes = quant_rig_read(&r, q.codes), *m = quant_rig_state(&r, "rotation");
    int32_t *ids = quant_rig_read(&r, q.ids);
    for (int a = 0; a < D; a++)
        for (int b = 0; b < D; b++)
            cr_assert_lt(fabs(product_with_itself(m, D, a, b) - (a == b)), 1e-6);
    cr_assert_gt(fabsf(m[1]), 1e-3f, "the matrix rotates nothing");
    quant_rig_next(&r, TS_INFER);
    ts_value in = ts_input(r.graph, "ids", TS_I32, ts_shape_of(N, 1));
    ts_value decoded = ts_dequantize(&ts_finite_scalar_kind, r.scope, &o, in);
    ts_output(decoded, "decoded");
    quant_rig_plan(&r);
    ts_program_set(r.program, in, ids);
    quant_rig_run(&r);
    float *back = quant_rig_read(&r, decoded);
    for (int i = 0; i < N * D; i++)
        cr_assert(fabsf(codes[i] - back[i]) < 1e-6f);
    ts_free(back);
    ts_free(codes);
    ts_free(ids);
    ts_free(m);
    quant_rig_close(&r);
}

/* Tensors of the highest rank are quantized as well: the axis of codebooks is not one more. */
Test(quant_finite_scalar, highest_rank)
{
    quant_rig r;
    ts_quantized q;
    quant_rig_open(&r, TS_EVAL);
    ts_finite_scalar_options *o = quant_rig_defaults(&r, &ts_finite_scalar_kind);
    o->codebooks = 2;
    ts_quantize(&ts_finite_scalar_kind, r.scope, o, ts_input(r.graph, "z", TS_F32, ts_shape_of(1, 2, 1, 2, 1, 6)), &q);
    ts_value codes = ts_dequantize(&ts_finite_scalar_kind, r.scope, o, q.ids);
    cr_assert(ts_shape_equal(ts_value_shape(q.ids), ts_shape_of(1, 2, 1, 2, 1, 2)));
    cr_assert(ts_shape_equal(ts_value_shape(codes), ts_shape_of(1, 2, 1, 2, 1, 6)));
    quant_rig_plan(&r);
    quant_rig_close(&r);
}
