/* Codes that are drawn: how often, by which seed, and what has none. */
#include "quant/code_sample.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "autograd/differentiate.h"
#include "autograd/node.h"
#include "autograd/ops.h"
#include "quant/vector.h"
#include "tests/quant/quant_rig.h"

enum { N = 6000, K = 5, D = 2 };
static const float codebook[K * D] = {0, 0, 1, 0, 0, 2, -3, 0, 4, 4};

/* Ids of N times the row (0.4, 0.3), at a temperature. The caller frees. */
static int32_t *ids_of(ts_mode mode, int64_t seed, int64_t step, double temperature, bool cosine)
{
    static float z[N * D];
    quant_rig r;
    ts_quantized q;
    quant_rig_open(&r, mode);
    ts_vector_options *o = quant_rig_defaults(&r, &ts_vector_kind);
    o->codes = K;
    o->dim = D;
    o->cosine = cosine;
    o->sampling = (ts_sampling_options){.draw = true, .temperature = temperature};
    ts_value in = ts_input(r.graph, "z", TS_F32, ts_shape_of(N, D));
    ts_vector_kind.build(r.scope, o, in, &q);
    ts_output(q.ids, "ids");
    quant_rig_plan(&r);
    ts_store_set(r.store, ts_store_find(r.store, "codebook"), TS_BLOCK_VALUE, codebook);
    for (int n = 0; n < N; n++) {
        z[n * D] = 0.4f;
        z[n * D + 1] = 0.3f;
    }
    z[7 * D] = NAN;
    z[9 * D + 1] = INFINITY;
    ts_program_set(r.program, in, z);
    ts_program_set(r.program, r.scope.random, (int64_t[]){seed, step});
    quant_rig_run(&r);
    int32_t *ids = quant_rig_read(&r, q.ids);
    quant_rig_close(&r);
    return ids;
}

static void expect_frequencies(double temperature)
{
    double p[K], sum = 0;
    int met[K] = {0};
    int32_t *ids = ids_of(TS_TRAIN, 3, 0, temperature, false);
    for (int k = 0; k < K; k++)
        sum += p[k] = exp(-hypot(0.4 - (double)codebook[k * D], 0.3 - (double)codebook[k * D + 1]) / temperature);
    cr_assert_eq(ids[7], -1, "a NaN has the id %d", ids[7]);
    for (int n = 0; n < N; n++) {
        cr_assert(ids[n] < K && (ids[n] >= 0 || n == 7 || n == 9));
        if (ids[n] >= 0)
            met[ids[n]]++;
    }
    for (int k = 0; k < K; k++) {
        double wanted = N * p[k] / sum;
        cr_expect(fabs(met[k] - wanted) < 5 * sqrt(wanted) + 3, "temperature %g: code %d %d times, expected %g",
                  temperature, k, met[k], wanted);
    }
    ts_free(ids);
}

Test(quant_code_sample, frequencies_are_a_softmax_of_distances)
{
    expect_frequencies(1);
    expect_frequencies(0.3);
    expect_frequencies(5);
}

/* The nearest is always the same; draws are those of the seed and the step. */
Test(quant_code_sample, in_training_alone_and_by_the_seed)
{
    int32_t *nearest = ids_of(TS_EVAL, 3, 0, 1, false), *a = ids_of(TS_TRAIN, 3, 4, 1, true),
            *b = ids_of(TS_TRAIN, 3, 4, 1, true), *c = ids_of(TS_TRAIN, 3, 5, 1, true);
    for (int n = 0; n < N; n++)
        cr_assert_eq(nearest[n], n == 7 || n == 9 ? nearest[n] : 0);
    cr_assert_eq(nearest[7], -1);
    cr_assert_arr_eq(a, b, N * sizeof *a);
    int differ = 0;
    for (int n = 0; n < N; n++)
        differ += a[n] != c[n];
    cr_assert_gt(differ, N / 10);
    ts_free(nearest);
    ts_free(a);
    ts_free(b);
    ts_free(c);
}

/* The value is the drawn code, the gradient that of sum_k p_k e_k. */
Test(quant_code_sample, through_softmax)
{
    const double temperature = 0.7;
    const float z[D] = {0.4f, 0.3f}, weight[D] = {1.5f, -0.5f};
    quant_rig r;
    ts_quantized q;
    ts_value gradient;
    quant_rig_open(&r, TS_TRAIN);
    ts_vector_options *o = quant_rig_defaults(&r, &ts_vector_kind);
    o->codes = K;
    o->dim = D;
    o->sampling = (ts_sampling_options){.draw = true, .temperature = temperature, .through = true};
    ts_value in = ts_input(r.graph, "z", TS_F32, ts_shape_of(1, D)),
             w = ts_input(r.graph, "w", TS_F32, ts_shape_of(1, D));
    ts_vector_kind.build(r.scope, o, in, &q);
    ts_differentiate(ts_sum_all(ts_mul(q.codes, w)), 1, &in, &gradient);
    ts_output(gradient, "gradient");
    ts_output(q.codes, "codes");
    ts_output(q.ids, "ids");
    quant_rig_plan(&r);
    ts_store_set(r.store, ts_store_find(r.store, "codebook"), TS_BLOCK_VALUE, codebook);
    ts_program_set(r.program, in, z);
    ts_program_set(r.program, w, weight);
    ts_program_set(r.program, r.scope.random, (int64_t[]){1, 1});
    quant_rig_run(&r);
    float *code = quant_rig_read(&r, q.codes), *found = quant_rig_read(&r, gradient);
    int32_t *id = quant_rig_read(&r, q.ids);
    cr_assert(code[0] == codebook[id[0] * D] && code[1] == codebook[id[0] * D + 1]);
    for (int d = 0; d < D; d++) {
        double value[2];
        for (int side = 0; side < 2; side++) {
            double x[D] = {(double)z[0], (double)z[1]}, sum = 0, mean = 0;
            x[d] += side ? 1e-5 : -1e-5;
            for (int k = 0; k < K; k++) {
                const float *e = codebook + k * D;
                double p = exp(-hypot(x[0] - (double)e[0], x[1] - (double)e[1]) / temperature);
                sum += p;
                mean += p * ((double)weight[0] * (double)e[0] + (double)weight[1] * (double)e[1]);
            }
            value[side] = mean / sum;
        }
        double wanted = (value[1] - value[0]) / 2e-5;
        cr_expect(fabs(wanted - (double)found[d]) < 1e-4, "%g, wanted %g", (double)found[d], wanted);
    }
    ts_free(code);
    ts_free(found);
    ts_free(id);
    quant_rig_close(&r);
}

Test(quant_code_sample, drawing_needs_random_numbers)
{
    quant_rig r;
    quant_rig_open(&r, TS_TRAIN);
    r.scope.random = TS_ABSENT;
    ts_drawn_codes(r.scope, ts_input(r.graph, "z", TS_F32, ts_shape_of(4, D)),
                   ts_input(r.graph, "e", TS_F32, ts_shape_of(3, D)), false, 1);
    quant_rig_expect_error(&r, "drawn codes: drawing codes needs random numbers");
    quant_rig_close(&r);
}
