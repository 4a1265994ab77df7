#include "autograd/fsq.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "autograd/elementwise.h"
#include "tests/support/build_error.h"
#include "tests/support/op_check.h"
#include "tests/support/thread_check.h"

static ts_fsq_opts opts; /* of the builders below; each process of Criterion runs one test */

static const ts_fsq_opts odd = {.count = 3, .level = {7, 5, 3}}, even = {.count = 4, .level = {8, 6, 4, 5}},
                         google = {.count = 2, .level = {8, 5}, .bound = TS_FSQ_GOOGLE},
                         symmetric = {.count = 5, .level = {2, 3, 4, 5, 8}, .bound = TS_FSQ_SYMMETRIC},
                         hard = {.count = 3, .level = {8, 5, 5}, .hard_clamp = true},
                         hard_symmetric = {.count = 2, .level = {4, 2}, .bound = TS_FSQ_SYMMETRIC, .hard_clamp = true};

static ts_value codes_odd(const ts_value *in)
{
    return ts_fsq(in[0], &odd).codes;
}

static ts_value codes_even(const ts_value *in)
{
    return ts_fsq(in[0], &even).codes;
}

static ts_value ids_even(const ts_value *in)
{
    return ts_fsq(in[0], &even).ids;
}

static ts_value codes_google(const ts_value *in)
{
    return ts_fsq(in[0], &google).codes;
}

static ts_value codes_symmetric(const ts_value *in)
{
    return ts_fsq(in[0], &symmetric).codes;
}

static ts_value codes_hard(const ts_value *in)
{
    return ts_fsq(in[0], &hard).codes;
}

static ts_value codes_hard_symmetric(const ts_value *in)
{
    return ts_fsq(in[0], &hard_symmetric).codes;
}

TS_CASES(fsq) = {
    TS_CASE("odd levels", codes_odd, TS_NORMAL(11, 3)),
    TS_CASE("even levels", codes_even, TS_NORMAL(2, 17, 4)),
    TS_CASE("ids", ids_even, TS_NORMAL(5, 7, 4)),
    TS_CASE("google", codes_google, TS_NORMAL(13, 2)),
    TS_CASE("symmetric", codes_symmetric, TS_NORMAL(33, 5)),
    TS_CASE("hard clamp", codes_hard, TS_NORMAL(16, 3)),
    TS_CASE("hard clamp, symmetric", codes_hard_symmetric, TS_NORMAL(2, 2, 3, 2)),
    TS_CASE("no rows", codes_odd, TS_NORMAL(0, 3)),
    {0},
};
TS_COVERED_BY(fsq_dx, fsq);

static ts_value decode(const ts_value *in)
{
    return ts_fsq_decode(in[0], &even);
}

static ts_value levels(const ts_value *in)
{
    return ts_fsq_levels(in[0], &even);
}

static ts_value ids_of_codes(const ts_value *in)
{
    return ts_fsq_ids(ts_fsq_decode(in[0], &symmetric), &symmetric);
}

TS_CASES(fsq_decode) = {
    TS_CASE("plain", decode, TS_BELOW(960, 3, 7)), TS_CASE("some outside", decode, TS_BELOW(2000, 40)), {0}};
TS_CASES(fsq_levels) = {
    TS_CASE("plain", levels, TS_BELOW(960, 3, 7)), TS_CASE("some outside", levels, TS_BELOW(2000, 40)), {0}};
TS_CASES(fsq_ids) = {TS_CASE("of codes", ids_of_codes, TS_BELOW(240, 50)), {0}};

/* ---- every id is a code and back ---- */

static ts_value quantized_ids(const ts_value *in)
{
    return ts_fsq(in[0], &opts).ids;
}

static ts_value quantized_codes(const ts_value *in)
{
    return ts_fsq(in[0], &opts).codes;
}

static ts_value round_trip(const ts_value *in)
{
    return ts_fsq_ids(ts_fsq_decode(in[0], &opts), &opts);
}

static ts_value decoded(const ts_value *in)
{
    return ts_fsq_decode(in[0], &opts);
}

/* The middle of what is rounded to level k of L, by the formulas, in double. */
static double preimage(ts_fsq_bound bound, bool clamp, int32_t L, int32_t k)
{
    if (bound == TS_FSQ_SYMMETRIC) {
        double t = (k == 0 ? 0.2 : k == L - 1 ? L - 1.2 : k) * 2 / (L - 1) - 1; /* tanh never reaches the ends */
        return clamp ? t : atanh(t);
    }
    double eps = bound == TS_FSQ_GOOGLE ? -1e-3 : 1e-3, w = (L - 1) * (1 + eps) / 2, o = L % 2 ? 0 : 0.5;
    double shift = clamp ? o / w : bound == TS_FSQ_GOOGLE ? tan(o / w) : atanh(o / w);
    double inward = k == 0 ? 0.2 : k == L - 1 ? -0.2 : 0, t = (k - L / 2 + inward + o) / w;
    return (clamp ? t : atanh(t)) - shift;
}

static double *run(const char *device, ts_value (*build)(const ts_value *), const ts_case_input *input, const double *x)
{
    ts_op_case c = {.label = "run", .in_count = 1, .in = {*input}, .build = build};
    ts_built_case b;
    int64_t n;
    built_case_open(&b, &c, device, TS_F32, false);
    memcpy(b.host[0], x, (size_t)ts_shape_count(input->shape) * sizeof *x);
    built_case_run(&b);
    double *y = built_case_read(&b, b.y, &n);
    built_case_close(&b);
    return y;
}

static void check_bijection(const char *device)
{
    size_t size = 1, D = (size_t)opts.count;
    for (size_t i = 0; i < D; i++)
        size *= (size_t)opts.level[i];
    double *ids = calloc(size, sizeof *ids), *z = calloc(size * D, sizeof *z);
    for (size_t id = 0; id < size; id++) {
        int32_t rest = (int32_t)id;
        ids[id] = (double)id;
        for (size_t i = 0; i < D; rest /= opts.level[i++])
            z[id * D + i] = preimage(opts.bound, opts.hard_clamp, opts.level[i], rest % opts.level[i]);
    }
    ts_case_input flat = {.dtype = TS_I32, .shape = {1, {(int64_t)size}}};
    ts_case_input rows = {.dtype = TS_F32, .shape = {2, {(int64_t)size, opts.count}}};
    double *back = run(device, round_trip, &flat, ids), *found = run(device, quantized_ids, &rows, z);
    double *codes = run(device, quantized_codes, &rows, z), *table = run(device, decoded, &flat, ids);
    for (size_t id = 0; id < size; id++) {
        cr_assert_eq(back[id], (double)id, "L %d bound %d: id %zu comes back as %g", opts.level[0], opts.bound, id,
                     back[id]);
        cr_assert_eq(found[id], (double)id, "L %d bound %d on %s: id %zu is found as %g", opts.level[0], opts.bound,
                     device, id, found[id]);
    }
    cr_assert_arr_eq(codes, table, size * D * sizeof *codes);
    free(ids), free(z), free(back), free(found), free(codes), free(table);
}

static void check_levels(const char *device)
{
    for (int bound = 0; bound < 3; bound++)
        for (int clamp = 0; clamp < 2; clamp++)
            for (int32_t L = bound == TS_FSQ_SYMMETRIC ? 2 : 3; L <= 64; L++) {
                opts = (ts_fsq_opts){.count = 1, .level = {L}, .bound = (ts_fsq_bound)bound, .hard_clamp = clamp};
                check_bijection(device);
            }
}

Test(autograd_fsq, every_level_up_to_64_on_ref)
{
    check_levels("ref");
}

Test(autograd_fsq, every_level_up_to_64_on_cpu)
{
    check_levels("cpu");
}

Test(autograd_fsq, every_level_up_to_64_on_cuda)
{
    setenv("TESSERA_CUDA_MODULE", TESSERA_CUDA_EMULATED, 0);
    check_levels("cuda");
}

Test(autograd_fsq, every_id_of_the_presets)
{
    static const ts_fsq_opts preset[] = {
        {.count = 3, .level = {8, 6, 5}},         {.count = 3, .level = {8, 8, 8}},
        {.count = 4, .level = {8, 5, 5, 5}},      {.count = 4, .level = {8, 8, 6, 5}},
        {.count = 5, .level = {7, 5, 5, 5, 5}},   {.count = 5, .level = {8, 8, 8, 6, 5}},
        {.count = 6, .level = {8, 8, 8, 5, 5, 5}}};
    for (size_t i = 0; i < sizeof preset / sizeof *preset; i++)
        for (int bound = 0; bound < 3; bound++) {
            opts = preset[i];
            opts.bound = (ts_fsq_bound)bound;
            check_bijection("cpu");
        }
}

/* The codes that upstream states: MotionMillion's even levels, the symmetric ones, the first dim least significant. */
Test(autograd_fsq, known_codes)
{
    double z[] = {0.2, -0.3}, id[] = {1 + 4 * 3};
    opts = (ts_fsq_opts){.count = 2, .level = {4, 4}};
    ts_case_input row = {.dtype = TS_F32, .shape = {2, {1, 2}}}, one = {.dtype = TS_I32, .shape = {1, {1}}};
    double *codes = run("cpu", quantized_codes, &row, z), *ids = run("cpu", quantized_ids, &row, z);
    cr_assert(codes[0] == 0 && codes[1] == 0 && ids[0] == 10);
    double *decoded_even = run("cpu", decoded, &one, id);
    cr_assert(decoded_even[0] == -0.5 && decoded_even[1] == 0.5);
    opts.bound = TS_FSQ_SYMMETRIC;
    double *decoded_symmetric = run("cpu", decoded, &one, id);
    cr_assert(decoded_symmetric[0] == (double)(-1.0f / 3) && decoded_symmetric[1] == 1);
    free(codes), free(ids), free(decoded_even), free(decoded_symmetric);
}

/* Any number gives a valid id; a NaN gives none, and leaves its neighbours alone. */
static void check_extremes(const char *device, int32_t last)
{
    double z[] = {INFINITY, -INFINITY, 0, 1e30, -1e30, 1e-40, 0, NAN, 0, 0, 0, 0};
    ts_case_input rows = {.dtype = TS_F32, .shape = {2, {4, 3}}};
    for (int i = 0; i < 6; i++) {
        opts = (ts_fsq_opts){.count = 3, .level = {5, 8, last}, .bound = (ts_fsq_bound)(i % 3), .hard_clamp = i >= 3};
        double *ids = run(device, quantized_ids, &rows, z), *codes = run(device, quantized_codes, &rows, z);
        int32_t size = 5 * 8 * last;
        cr_assert_eq((int)ids[0] % 40, 4, "%s bound %d: %g", device, i, ids[0]);
        cr_assert(ids[0] >= 0 && ids[0] < size && ids[1] >= 0 && ids[1] < size);
        cr_assert_eq((int)ids[1] % 40, 4);
        cr_assert_eq(ids[2], -1, "%s: NaN gives %g", device, ids[2]);
        cr_assert(isnan(codes[7]) && codes[6] == codes[9] && codes[8] == codes[11]);
        cr_assert(ids[3] >= 0 && ids[3] < size);
        free(ids), free(codes);
    }
}

Test(autograd_fsq, extremes)
{
    check_extremes("ref", 2001);
    check_extremes("cpu", 2001);
    check_extremes("cpu", 7);
}

/* Next to where a level begins, to the last bit, and with as many levels as are counted, no level and no code of the
 * CPU is another than the reference's. */
static void check_bounds(int32_t L)
{
    enum { NEAR = 40 };
    const int n = (L - 1) * 2 * NEAR;
    double *z = malloc((size_t)n * sizeof *z);
    for (int k = 1, at = 0; k < L; k++) {
        const double middle =
            (preimage(opts.bound, opts.hard_clamp, L, k - 1) + preimage(opts.bound, opts.hard_clamp, L, k)) / 2;
        ts_case_input one = {.dtype = TS_F32, .shape = {2, {1, 1}}};
        float below = (float)middle - 1, above = (float)middle + 1;
        for (int i = 0; i < 40; i++) {
            const double half = (double)(float)(((double)below + (double)above) / 2);
            double *id = run("ref", quantized_ids, &one, &half);
            *(id[0] < k ? &below : &above) = (float)half;
            free(id);
        }
        for (int i = 0; i < NEAR; i++) {
            z[at++] = (double)below;
            z[at++] = (double)above;
            below = nextafterf(below, -9);
            above = nextafterf(above, 9);
        }
    }
    ts_case_input rows = {.dtype = TS_F32, .shape = {2, {n, 1}}};
    double *fast = run("cpu", quantized_ids, &rows, z), *plain = run("ref", quantized_ids, &rows, z);
    double *codes = run("cpu", quantized_codes, &rows, z), *right = run("ref", quantized_codes, &rows, z);
    for (int i = 0; i < n; i++)
        cr_assert(fast[i] == plain[i] && codes[i] == right[i], "L %d bound %d: %.9g is level %g, not %g", L, opts.bound,
                  z[i], fast[i], plain[i]);
    free(z), free(fast), free(plain), free(codes), free(right);
}

Test(autograd_fsq, levels_begin_where_the_references_do)
{
    static const int32_t levels[] = {3, 5, 8, 16};
    for (int i = 0; i < 24; i++) {
        opts = (ts_fsq_opts){.count = 1, .level = {levels[i % 4]}, .bound = (ts_fsq_bound)(i / 4 % 3)};
        opts.hard_clamp = i >= 12;
        check_bounds(levels[i % 4]);
    }
}

static ts_value ids_of(const ts_value *in)
{
    return ts_fsq_ids(in[0], &opts);
}

Test(autograd_fsq, broken_ids_stay_broken)
{
    opts = (ts_fsq_opts){.count = 2, .level = {5, 3}};
    ts_case_input four = {.dtype = TS_I32, .shape = {1, {4}}}, rows = {.dtype = TS_F32, .shape = {2, {3, 2}}};
    double ids[] = {14, 15, -1, INT32_MIN}, codes[] = {1.2, 0.9, 1.3, 0, NAN, 0};
    double *back = run("cpu", round_trip, &four, ids), *found = run("cpu", ids_of, &rows, codes);
    cr_assert(back[0] == 14 && back[1] == -1 && back[2] == -1 && back[3] == -1);
    cr_assert(found[0] == 14 && found[1] == -1 && found[2] == -1); /* 1.2 is nearest to 1; 1.3 is beyond */
    free(back), free(found);
}

/* ---- the gradient is that of the bound, over the width of a code ---- */

/* One number per dim, [D]. */
static ts_value per_dim(ts_graph *g, const double *x)
{
    float narrow[TS_MAX_LEVELS];
    for (int i = 0; i < opts.count; i++)
        narrow[i] = (float)x[i];
    const void *data = ts_graph_real(g) == TS_F64 ? (const void *)x : narrow;
    return ts_constant(g, ts_graph_real(g), ts_shape_of(opts.count), data);
}

/* The codes without the rounding, from ops whose gradients are checked elsewhere. */
static ts_value soft(const ts_value *in)
{
    double slope[TS_MAX_LEVELS], shift[TS_MAX_LEVELS];
    for (int i = 0; i < opts.count; i++) {
        int32_t L = opts.level[i];
        double w = (L - 1) * (opts.bound == TS_FSQ_GOOGLE ? 1 - 1e-3 : 1 + 1e-3) / 2, o = L % 2 ? 0 : 0.5;
        bool plain = opts.bound == TS_FSQ_SYMMETRIC;
        shift[i] = plain ? 0 : opts.hard_clamp ? o / w : opts.bound == TS_FSQ_GOOGLE ? tan(o / w) : atanh(o / w);
        slope[i] = plain ? 1 : w / (L / 2);
    }
    ts_value x = ts_add(in[0], per_dim(in[0].graph, shift));
    return ts_mul(opts.hard_clamp ? ts_clamp(x, -1, 1) : ts_tanh(x), per_dim(in[0].graph, slope));
}

static void check_gradient(const char *device, ts_dtype real, double tolerance)
{
    ts_op_case hard_case = {.label = "hard", .in_count = 1, .build = quantized_codes}, soft_case = hard_case;
    hard_case.in[0] = (ts_case_input){.dtype = TS_F32, .shape = {2, {57, opts.count}}};
    soft_case.in[0] = hard_case.in[0];
    soft_case.build = soft;
    ts_built_case a, b;
    int64_t n;
    built_case_open(&a, &hard_case, device, real, true);
    built_case_open(&b, &soft_case, "ref", TS_F64, true);
    built_case_run(&a);
    built_case_run(&b);
    double *dz = built_case_read(&a, a.gradient[0], &n), *want = built_case_read(&b, b.gradient[0], &n);
    for (int64_t i = 0; i < n; i++)
        cr_assert_float_eq(dz[i], want[i], tolerance * (1 + fabs(want[i])), "%s bound %d: %g, not %g", device,
                           opts.bound, dz[i], want[i]);
    free(dz), free(want);
    built_case_close(&a);
    built_case_close(&b);
}

Test(autograd_fsq, gradient_is_that_of_the_bound)
{
    for (int i = 0; i < 6; i++) {
        opts = (ts_fsq_opts){.count = 4, .level = {8, 5, 3, 64}, .bound = (ts_fsq_bound)(i % 3), .hard_clamp = i >= 3};
        check_gradient("ref", TS_F64, 1e-6);
        check_gradient("ref", TS_F32, 2e-6);
        check_gradient("cpu", TS_F32, 2e-6);
    }
}

Test(autograd_fsq, large_ones_are_right_on_any_number_of_threads)
{
    ts_op_case c = TS_CASE("large", codes_even, TS_NORMAL(20011, 4));
    expect_thread_independent(&c);
    opts = even;
    ts_case_input rows = {.dtype = TS_F32, .shape = {2, {20011, 4}}};
    double *z = malloc(sizeof(double) * 4 * 20011);
    for (int i = 0; i < 4 * 20011; i++)
        z[i] = (double)(float)(sin(i) * 4);
    double *fast = run("cpu", quantized_ids, &rows, z), *plain = run("ref", quantized_ids, &rows, z);
    for (int i = 0; i < 20011; i++)
        cr_assert_eq(fast[i], plain[i]);
    free(z), free(fast), free(plain);
}

/* ---- errors ---- */

static ts_value levels_of(const ts_value *in)
{
    return ts_fsq_levels(in[0], &opts);
}

Test(autograd_fsq, wrong_options_are_named)
{
    opts = (ts_fsq_opts){.count = 2, .level = {5, 1}};
    EXPECT_BUILD_ERROR(quantized_ids, "fsq", "levels[1] is 1", F32(4, 2));
    opts = (ts_fsq_opts){.count = 2, .level = {2, 5}};
    EXPECT_BUILD_ERROR(quantized_ids, "fsq", "levels[0] is 2, which needs the symmetric or google bound", F32(4, 2));
    opts = (ts_fsq_opts){.count = 4, .level = {256, 256, 256, 128}};
    EXPECT_BUILD_ERROR(levels_of, "fsq_levels", "exceeds 2147483647", I32(4));
    opts = (ts_fsq_opts){.count = 1, .level = {65537}};
    EXPECT_BUILD_ERROR(levels_of, "fsq_levels", "levels[0] is 65537", I32(4));
    opts = (ts_fsq_opts){.count = 0};
    EXPECT_BUILD_ERROR(decoded, "fsq_decode", "0 levels", I32(4));
    opts = (ts_fsq_opts){.count = TS_MAX_LEVELS + 1};
    EXPECT_BUILD_ERROR(decoded, "fsq_decode", "17 levels", I32(4));
}

Test(autograd_fsq, wrong_operands_are_named)
{
    opts = (ts_fsq_opts){.count = 2, .level = {5, 5}};
    EXPECT_BUILD_ERROR(quantized_codes, "fsq", "f32 [4, 3]; expected real numbers with a last axis of 2", F32(4, 3));
    EXPECT_BUILD_ERROR(ids_of, "fsq_ids", "i32 [4, 2]", I32(4, 2));
    EXPECT_BUILD_ERROR(decoded, "fsq_decode", "f32 [4]; expected i32", F32(4));
}
