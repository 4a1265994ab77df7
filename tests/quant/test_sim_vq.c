/* SimVQ: codes there and back, what moves, the gradient where a rotation has no direction, NaN, options. Recorded
 * values of lucidrains' module: tests/golden. */
#include "quant/sim_vq.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "autograd/differentiate.h"
#include "autograd/node.h"
#include "autograd/ops.h"
#include "core/random.h"
#include "quant/rotation.h"
#include "tests/quant/quant_rig.h"

static void expect_round_trip(const ts_sim_vq_options *o)
{
    enum { N = 30 };
    float host[N * 16];
    quant_rig r;
    ts_quantized q;
    quant_rig_open(&r, TS_EVAL);
    ts_value z = ts_input(r.graph, "z", TS_F32, ts_shape_of(2, N / 2, o->dim));
    ts_quantize(&ts_sim_vq_kind, r.scope, o, z, &q);
    ts_output(q.codes, "codes");
    ts_output(q.ids, "ids");
    quant_rig_plan(&r);
    for (int i = 0; i < N * (int)o->dim; i++)
        host[i] = ts_random_normal((ts_random_key){9, 1}, 0, (uint64_t)i);
    host[3 * o->dim] = NAN;
    ts_program_set(r.program, z, host);
    quant_rig_run(&r);
    float *codes = quant_rig_read(&r, q.codes);
    int32_t *ids = quant_rig_read(&r, q.ids);
    quant_rig_next(&r, TS_INFER);
    ts_value in = ts_input(r.graph, "ids", TS_I32, ts_shape_of(2, N / 2, 1));
    ts_value decoded = ts_dequantize(&ts_sim_vq_kind, r.scope, o, in);
    ts_output(decoded, "decoded");
    quant_rig_plan(&r);
    ts_program_set(r.program, in, ids);
    quant_rig_run(&r);
    float *back = quant_rig_read(&r, decoded);
    for (int n = 0; n < N; n++) {
        cr_assert(n == 3 ? ids[n] == -1 : ids[n] >= 0 && ids[n] < o->codes);
        for (int64_t d = 0; d < o->dim; d++) {
            float a = codes[n * o->dim + d], b = back[n * o->dim + d];
            cr_assert(n == 3 ? isnan(a) && isnan(b) : a == b, "token %d: %g and %g", n, (double)a, (double)b);
        }
    }
    ts_free(codes);
    ts_free(ids);
    ts_free(back);
    quant_rig_close(&r);
}

Test(quant_sim_vq, ids_give_back_the_codes)
{
    expect_round_trip(&(ts_sim_vq_options){.codes = 20, .dim = 6, .rotation = true, .codebook = 1, .commitment = 0.25});
    expect_round_trip(&(ts_sim_vq_options){.codes = 9, .dim = 5, .frozen_dim = 3, .bias = true, .codebook = 1});
}

/* The gradient to z of sum(codes * g) for one z and one code. */
static void gradient_of(const float z[2], const float code[2], const float g[2], float dz[2])
{
    quant_rig r;
    quant_rig_open(&r, TS_TRAIN);
    ts_value in = ts_input(r.graph, "z", TS_F32, ts_shape_of(1, 2)),
             to = ts_input(r.graph, "code", TS_F32, ts_shape_of(1, 2));
    ts_value weights = ts_input(r.graph, "g", TS_F32, ts_shape_of(1, 2)), gradient;
    ts_value out = ts_rotate_to(in, to);
    ts_differentiate(ts_sum_all(ts_mul(out, weights)), 1, &in, &gradient);
    ts_output(gradient, "gradient");
    ts_output(out, "out");
    quant_rig_plan(&r);
    ts_program_set(r.program, in, z);
    ts_program_set(r.program, to, code);
    ts_program_set(r.program, weights, g);
    quant_rig_run(&r);
    float *found = quant_rig_read(&r, gradient), *value = quant_rig_read(&r, out);
    cr_assert(value[0] == code[0] && value[1] == code[1], "the value is the code's, to the last bit");
    memcpy(dz, found, 2 * sizeof *dz);
    ts_free(found);
    ts_free(value);
    quant_rig_close(&r);
}

/* A quarter turn and three times the length: the gradient is turned back by it and stretched. */
Test(quant_sim_vq, the_gradient_turns_with_the_code)
{
    float dz[2];
    gradient_of((float[]){2, 0}, (float[]){0, 6}, (float[]){5, 1}, dz);
    cr_expect(fabsf(dz[0] - 3) < 1e-5f && fabsf(dz[1] + 15) < 1e-5f, "%g %g", (double)dz[0], (double)dz[1]);
}

Test(quant_sim_vq, opposite_codes_are_straight_through)
{
    float dz[2];
    gradient_of((float[]){2, 0}, (float[]){-6, 0}, (float[]){5, 1}, dz);
    cr_expect(dz[0] == 5 && dz[1] == 1, "%g %g", (double)dz[0], (double)dz[1]);
    gradient_of((float[]){1, 0.05f}, (float[]){-1, 0.05f}, (float[]){5, 1}, dz); /* cos is -0.995 */
    cr_expect(dz[0] == 5 && dz[1] == 1, "%g %g", (double)dz[0], (double)dz[1]);
}

Test(quant_sim_vq, options_and_operands)
{
    ts_error err = {0};
    ts_quantizer_info info;
    quant_rig r;
    ts_quantized q;
    quant_rig_open(&r, TS_TRAIN);
    ts_sim_vq_options *o = quant_rig_defaults(&r, &ts_sim_vq_kind);
    cr_assert_eq(ts_quantizer_describe(&ts_sim_vq_kind, o, &info, &err), TS_OK, "%s", err.text);
    cr_assert(info.codes == 512 && info.width == 64 && info.groups == 1);
    ts_quantize(&ts_sim_vq_kind, ts_sub(r.scope, "quantizer"), o, ts_input(r.graph, "z", TS_F32, ts_shape_of(2, 5)),
                &q);
    cr_assert_not(ts_present(q.codes) || ts_present(q.ids));
    quant_rig_expect_error(&r, "quantizer: sim_vq: z is [2, 5], expected 64 channels");
    cr_assert_not(ts_present(ts_dequantize(&ts_sim_vq_kind, r.scope, o, q.ids)));
    o->codebook = 0;
    cr_assert_eq(ts_quantizer_describe(&ts_sim_vq_kind, o, &info, &err), TS_ERR_USAGE);
    cr_assert(strstr(err.text, "nothing would ever move the codes"), "%s", err.text);
    quant_rig_close(&r);
    quant_rig_open(&r, TS_TRAIN);
    o = quant_rig_defaults(&r, &ts_sim_vq_kind);
    ts_dequantize(&ts_sim_vq_kind, r.scope, o, ts_input(r.graph, "ids", TS_I32, ts_shape_of(4, 2)));
    quant_rig_expect_error(&r, "sim_vq: ids are [4, 2], expected a last axis of 1");
    quant_rig_close(&r);
    quant_rig_open(&r, TS_TRAIN);
    ts_rotate_to(ts_input(r.graph, "z", TS_F32, ts_shape_of(4, 2)), ts_input(r.graph, "e", TS_F32, ts_shape_of(4, 3)));
    quant_rig_expect_error(&r, "rotate_to: z is [4, 2] and the code [4, 3], expected both [N, D]");
    quant_rig_close(&r);
}
