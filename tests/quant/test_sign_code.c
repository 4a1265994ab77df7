/* Sign codes, and lookup-free quantization around them: ids and codes there and back, entropies against the table of
 * all codes that is never made, NaN and numbers beside 0, options. Recorded values of the peers: tests/golden. */
#include "quant/sign_code.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "autograd/node.h"
#include "autograd/ops.h"
#include "core/random.h"
#include "quant/lookup_free.h"
#include "quant/spherical.h"
#include "tests/quant/quant_rig.h"

static float draw(uint64_t stream, int64_t i)
{
    return ts_random_normal((ts_random_key){5, stream}, 0, (uint64_t)i);
}

/* ---- ids and codes ---- */

/* Number i of the code of an id: the first is the most significant bit. */
static float sign_of(int64_t id, int bits, int i)
{
    return id >> (bits - 1 - i) & 1 ? 1.0f : -1.0f;
}

/* `count` ids from `first` on: z of that sign gives the id, and the id gives back the code. */
static void expect_there_and_back(int bits, int64_t first, int64_t count, double magnitude)
{
    quant_rig r;
    quant_rig_open(&r, TS_EVAL);
    float *z = ts_alloc((size_t)(count * bits) * sizeof *z);
    int32_t *wanted = ts_alloc((size_t)count * sizeof *wanted);
    cr_assert(z && wanted);
    for (int64_t n = 0; n < count; n++) {
        wanted[n] = (int32_t)(first + n);
        for (int i = 0; i < bits; i++)
            z[n * bits + i] = sign_of(first + n, bits, i) * (0.01f + fabsf(draw(1, n * bits + i)));
    }
    ts_value input = ts_input(r.graph, "z", TS_F32, ts_shape_of(count, bits));
    ts_value ids_in = ts_input(r.graph, "ids", TS_I32, ts_shape_of(count));
    ts_value codes = ts_sign_codes(input, magnitude), ids = ts_sign_ids(input);
    ts_value decoded = ts_sign_decode(ids_in, bits, magnitude);
    ts_output(codes, "codes");
    ts_output(ids, "got");
    ts_output(decoded, "decoded");
    quant_rig_plan(&r);
    ts_program_set(r.program, input, z);
    ts_program_set(r.program, ids_in, wanted);
    quant_rig_run(&r);
    float *a = quant_rig_read(&r, codes), *b = quant_rig_read(&r, decoded);
    int32_t *got = quant_rig_read(&r, ids);
    cr_assert_arr_eq(got, wanted, (size_t)count * sizeof *got, "%d bits from %d on", bits, (int)first);
    for (int64_t i = 0; i < count * bits; i++)
        cr_assert(a[i] == b[i] &&
                      fabsf(a[i] - sign_of(first + i / bits, bits, (int)(i % bits)) * (float)magnitude) == 0,
                  "%d bits: %g and %g", bits, (double)a[i], (double)b[i]);
    ts_free(z);
    ts_free(wanted);
    ts_free(a);
    ts_free(b);
    ts_free(got);
    quant_rig_close(&r);
}

Test(quant_sign_code, ids_and_codes_are_one_to_one)
{
    for (int bits = 1; bits <= 12; bits++)
        expect_there_and_back(bits, 0, 1 << bits, bits % 2 ? 1 : 0.25 / sqrt(3));
    for (int64_t first = 0; first < 1 << 24; first += (1 << 24) - 999)
        expect_there_and_back(24, first, 999, 1);
}

/* 0 and what is below it are the lower code, the least positive number (denormals are flushed) the upper one; NaN is
 * neither. */
Test(quant_sign_code, beside_zero)
{
    quant_rig r;
    ts_quantized q;
    quant_rig_open(&r, TS_EVAL);
    ts_lookup_free_options *o = quant_rig_defaults(&r, &ts_lookup_free_kind);
    o->bits = 2;
    o->codebooks = 2;
    ts_value z = ts_input(r.graph, "z", TS_F32, ts_shape_of(3, 4));
    ts_quantize(&ts_lookup_free_kind, r.scope, o, z, &q);
    ts_output(q.codes, "codes");
    ts_output(q.ids, "ids");
    quant_rig_plan(&r);
    ts_program_set(r.program, z,
                   (float[]){0, -0.0f, 2e-38f, -2e-38f, NAN, 1, 1, 1, INFINITY, -INFINITY, -1e-20f, 1e-20f});
    quant_rig_run(&r);
    int32_t *ids = quant_rig_read(&r, q.ids);
    float *codes = quant_rig_read(&r, q.codes);
    const int32_t wanted[6] = {0, 2, -1, 3, 2, 1};
    cr_assert_arr_eq(ids, wanted, sizeof wanted);
    for (int i = 0; i < 12; i++)
        cr_assert_eq(isnan(codes[i]) != 0, i == 4, "codes[%d] is %g", i, (double)codes[i]);
    ts_free(ids);
    ts_free(codes);
    quant_rig_close(&r);
}

Test(quant_sign_code, an_id_outside_is_no_code)
{
    quant_rig r;
    quant_rig_open(&r, TS_INFER);
    ts_lookup_free_options *o = quant_rig_defaults(&r, &ts_lookup_free_kind);
    o->bits = 3;
    ts_value ids = ts_input(r.graph, "ids", TS_I32, ts_shape_of(4, 1));
    ts_value codes = ts_dequantize(&ts_lookup_free_kind, r.scope, o, ids);
    ts_output(codes, "codes");
    quant_rig_plan(&r);
    ts_program_set(r.program, ids, (int32_t[]){-1, 8, 7, 0});
    quant_rig_run(&r);
    float *x = quant_rig_read(&r, codes);
    for (int i = 0; i < 6; i++)
        cr_assert(isnan(x[i]));
    for (int i = 6; i < 12; i++)
        cr_assert_eq(x[i], i < 9 ? 1 : -1);
    ts_free(x);
    quant_rig_close(&r);
}

/* ---- entropies ---- */

/* By the table: p[n][c][k] of all 2^d codes, in double. */
static void table_entropies(const float *odds, const float *mask, int N, int c, int d, double floor, double found[2])
{
    double total = 0;
    for (int n = 0; n < N; n++)
        total += mask ? (double)mask[n] : 1;
    found[0] = found[1] = 0;
    for (int g = 0; g < c; g++)
        for (int k = 0; k < 1 << d; k++) {
            double mean = 0;
            for (int n = 0; n < N; n++) {
                double p = 1, share = (mask ? (double)mask[n] : 1) / total;
                for (int i = 0; i < d; i++)
                    p /= 1 + exp(-(double)(sign_of(k, d, i) * odds[(n * c + g) * d + i]));
                found[0] -= p > 0 ? share * p * log(p) : 0;
                mean += share * p;
            }
            found[1] -= mean * log(fmax(mean, floor));
        }
}

static void expect_entropies(int N, int c, int d, bool masked, double spread)
{
    enum { MOST = 20 * 3 * 9 };
    float odds[MOST], mask[20];
    double wanted[2];
    quant_rig r;
    for (int i = 0; i < N * c * d; i++)
        odds[i] = (float)spread * draw(2, i);
    for (int n = 0; n < N; n++)
        mask[n] = n % 3 != 1;
    quant_rig_open(&r, TS_TRAIN);
    ts_value x = ts_input(r.graph, "odds", TS_F32, ts_shape_of(N, c, d)), m = TS_ABSENT;
    if (masked)
        m = ts_input(r.graph, "mask", TS_F32, ts_shape_of(N));
    ts_value sample = ts_sign_sample_entropy(x, m), batch = ts_sign_batch_entropy(x, m, 1e-5);
    ts_output(sample, "sample");
    ts_output(batch, "batch");
    quant_rig_plan(&r);
    ts_program_set(r.program, x, odds);
    if (masked)
        ts_program_set(r.program, m, mask);
    quant_rig_run(&r);
    table_entropies(odds, masked ? mask : NULL, N, c, d, 1e-5, wanted);
    float *a = quant_rig_read(&r, sample), *b = quant_rig_read(&r, batch);
    cr_expect(fabs((double)*a - wanted[0]) < 2e-6 * (1 + wanted[0]), "sample, %d bits: %g, wanted %g", d, (double)*a,
              wanted[0]);
    cr_expect(fabs((double)*b - wanted[1]) < 2e-6 * (1 + wanted[1]), "batch, %d bits: %g, wanted %g", d, (double)*b,
              wanted[1]);
    ts_free(a);
    ts_free(b);
    quant_rig_close(&r);
}

Test(quant_sign_code, entropies_are_those_of_the_table)
{
    int checked = 0;
    for (int d = 1; d <= 9; d += d < 3 ? 1 : 2)
        for (int c = 1; c <= 3; c += 2)
            for (int masked = 0; masked < 2; masked++, checked += 3) {
                expect_entropies(20, c, d, masked, 0.1);
                expect_entropies(7, c, d, masked, 3);
                expect_entropies(4, c, d, masked, 300);
            }
    cr_assert_geq(checked, 72);
}

/* 2^18 codes and 4096 tokens: the table would be 4 GiB. Where all bits are alike uncertain, both entropies are 18 bits.
 */
Test(quant_sign_code, eighteen_bits)
{
    enum { N = 4096, D = 18 };
    quant_rig r;
    ts_quantized q;
    quant_rig_open(&r, TS_TRAIN);
    ts_lookup_free_options *o = quant_rig_defaults(&r, &ts_lookup_free_kind);
    o->bits = D;
    ts_value z = ts_input(r.graph, "z", TS_F32, ts_shape_of(N, D));
    ts_quantize(&ts_lookup_free_kind, r.scope, o, z, &q);
    cr_assert_geq(q.loss_count, 2);
    ts_output(q.losses[0].value, "sample");
    ts_output(q.losses[1].value, "batch");
    quant_rig_plan(&r);
    float *host = ts_calloc(N * D, sizeof *host);
    cr_assert_not_null(host);
    ts_program_set(r.program, z, host);
    quant_rig_run(&r);
    for (int i = 0; i < 2; i++) {
        float *x = quant_rig_read(&r, q.losses[i].value);
        cr_assert_float_eq(*x, D * log(2), 1e-3, "%s is %g", q.losses[i].name, (double)*x);
        ts_free(x);
    }
    ts_free(host);
    quant_rig_close(&r);
}

/* ---- spherical ---- */

/* Codes have length 1 whatever the length of z, the ids of the groups decode to them bit for bit, and a NaN leaves no
 * number of its token. */
Test(quant_sign_code, spherical_codes_lie_on_the_sphere)
{
    enum { N = 40, BITS = 12, GROUP = 4, GROUPS = 3 };
    float host[N * BITS];
    quant_rig r;
    ts_quantized q;
    const ts_spherical_options o = {.bits = BITS, .group = GROUP, .inv_temperature = 1};
    quant_rig_open(&r, TS_EVAL);
    ts_value z = ts_input(r.graph, "z", TS_F32, ts_shape_of(N, BITS));
    ts_quantize(&ts_spherical_kind, r.scope, &o, z, &q);
    ts_value decoded = ts_dequantize(&ts_spherical_kind, r.scope, &o, q.ids);
    ts_output(q.codes, "codes");
    ts_output(q.ids, "ids");
    ts_output(decoded, "decoded");
    quant_rig_plan(&r);
    for (int i = 0; i < N * BITS; i++)
        host[i] = draw(4, i) * powf(10, (float)(i / BITS % 9 - 4));
    host[5 * BITS + 7] = NAN;
    ts_program_set(r.program, z, host);
    quant_rig_run(&r);
    float *codes = quant_rig_read(&r, q.codes), *back = quant_rig_read(&r, decoded);
    int32_t *ids = quant_rig_read(&r, q.ids);
    for (int n = 0; n < N; n++) {
        double length = 0;
        for (int i = 0; i < BITS; i++) {
            float x = codes[n * BITS + i], sign = sign_of(ids[n * GROUPS + i / GROUP], GROUP, i % GROUP);
            length += (double)x * (double)x;
            cr_assert(n == 5 ? isnan(x) && isnan(back[n * BITS + i]) && ids[n * GROUPS] == -1
                             : x == back[n * BITS + i] && x * sign > 0 && host[n * BITS + i] * sign > 0);
        }
        cr_assert(n == 5 || fabs(length - 1) < 1e-6);
    }
    ts_free(codes);
    ts_free(back);
    ts_free(ids);
    quant_rig_close(&r);
}

Test(quant_sign_code, spherical_options_and_operands)
{
    ts_error err = {0};
    ts_quantizer_info info;
    ts_spherical_options o = {.bits = 18, .group = 7};
    cr_assert_eq(ts_quantizer_describe(&ts_spherical_kind, &o, &info, &err), TS_ERR_USAGE);
    cr_assert(strstr(err.text, "bits is 18, which groups of 7 do not divide"), "%s", err.text);
    o.group = 9;
    o.stack.dim = 64;
    cr_assert_eq(ts_quantizer_describe(&ts_spherical_kind, &o, &info, &err), TS_OK, "%s", err.text);
    cr_assert(info.codes == 512 && info.groups == 2 && info.width == 64);
    quant_rig r;
    ts_quantized q;
    quant_rig_open(&r, TS_TRAIN);
    ts_quantize(&ts_spherical_kind, ts_sub(r.scope, "quantizer"), &o, ts_input(r.graph, "z", TS_F32, ts_shape_of(2, 5)),
                &q);
    cr_assert_not(ts_present(q.codes) || ts_present(q.ids));
    quant_rig_expect_error(&r, "quantizer: spherical: z is [2, 5], expected 64 channels");
    cr_assert_not(ts_present(ts_dequantize(&ts_spherical_kind, r.scope, &o, q.ids)));
    quant_rig_close(&r);
    quant_rig_open(&r, TS_TRAIN);
    ts_dequantize(&ts_spherical_kind, r.scope, &o, ts_input(r.graph, "ids", TS_I32, ts_shape_of(4, 3)));
    quant_rig_expect_error(&r, "spherical: ids are [4, 3], expected a last axis of 2");
    quant_rig_close(&r);
}

/* ---- options and operands ---- */

static void expect_refused(const ts_lookup_free_options *o, const char *text)
{
    ts_error err = {0};
    ts_quantizer_info info;
    cr_assert_eq(ts_quantizer_describe(&ts_lookup_free_kind, o, &info, &err), TS_ERR_USAGE, "accepted: %s", text);
    cr_assert(strstr(err.text, text), "expected \"%s\" in: %s", text, err.text);
}

Test(quant_sign_code, options_that_cannot_be)
{
    expect_refused(&(ts_lookup_free_options){.bits = 3, .codebooks = 1, .scale = 1, .soft_clamp = 0.5},
                   "soft_clamp is 0.5, below scale 1");
    expect_refused(&(ts_lookup_free_options){.bits = 3, .codebooks = 1, .scale = 1, .softplus = true},
                   "softplus shapes the entropy penalty");
    ts_error err = {0};
    ts_arena arena = {0};
    ts_lookup_free_options o;
    const ts_option *bits = ts_option_find(ts_lookup_free_kind.table, "bits");
    cr_assert_eq(ts_option_parse(bits, "25", &o, &arena, &err), TS_ERR_USAGE);
    cr_assert(strstr(err.text, "1 to 24"), "%s", err.text);
    ts_arena_clear(&arena);
}

Test(quant_sign_code, info)
{
    ts_error err = {0};
    ts_quantizer_info info;
    ts_lookup_free_options o = {.bits = 18, .codebooks = 2, .scale = 1};
    cr_assert_eq(ts_quantizer_describe(&ts_lookup_free_kind, &o, &info, &err), TS_OK, "%s", err.text);
    cr_assert(info.codes == 1 << 18 && info.groups == 2 && info.width == 36);
    o.stack.dim = 64;
    cr_assert_eq(ts_quantizer_describe(&ts_lookup_free_kind, &o, &info, &err), TS_OK, "%s", err.text);
    cr_assert_eq(info.width, 64);
}

Test(quant_sign_code, operands_that_do_not_fit)
{
    quant_rig r;
    ts_quantized q;
    quant_rig_open(&r, TS_TRAIN);
    ts_lookup_free_options *o = quant_rig_defaults(&r, &ts_lookup_free_kind);
    ts_quantize(&ts_lookup_free_kind, ts_sub(r.scope, "quantizer"), o,
                ts_input(r.graph, "z", TS_F32, ts_shape_of(2, 7, 5)), &q);
    cr_assert_not(ts_present(q.codes) || ts_present(q.ids));
    quant_rig_expect_error(&r, "quantizer: lookup_free: z is [2, 7, 5], expected 10 channels");
    cr_assert_not(ts_present(ts_dequantize(&ts_lookup_free_kind, r.scope, o, q.ids)));
    quant_rig_close(&r);
    quant_rig_open(&r, TS_TRAIN);
    o = quant_rig_defaults(&r, &ts_lookup_free_kind);
    ts_dequantize(&ts_lookup_free_kind, r.scope, o, ts_input(r.graph, "ids", TS_I32, ts_shape_of(4, 2)));
    quant_rig_expect_error(&r, "lookup_free: ids are [4, 2], expected a last axis of 1");
    quant_rig_close(&r);
    quant_rig_open(&r, TS_TRAIN);
    ts_sign_ids(ts_input(r.graph, "z", TS_F32, ts_shape_of(4, 25)));
    quant_rig_expect_error(&r, "sign_ids: z is [4, 25], expected a last axis of 1 to 24 bits");
    quant_rig_close(&r);
    quant_rig_open(&r, TS_TRAIN);
    ts_sign_batch_entropy(ts_input(r.graph, "odds", TS_F32, ts_shape_of(4, 3)), TS_ABSENT, 1e-5);
    quant_rig_expect_error(&r, "entropy: the odds are [4, 3], expected [tokens, codebooks, bits]");
    quant_rig_close(&r);
}
