/* Every case of the golden files of sign codes, the project's own and the shared ones, on the reference loops and on
 * the CPU kernels: lookup-free quantization in both conventions, and binary spherical quantization. */
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "autograd/differentiate.h"
#include "autograd/ops.h"
#include "quant/lookup_free.h"
#include "quant/spherical.h"
#include "tests/golden/bench.h"
#include "tests/golden/walk.h"

typedef struct {
    golden_case *c;
    ts_device *device;
    const ts_quantizer_kind *kind;
    const void *options;
    bool channel_first;
} sign_case;

static ts_quantizer_info info_of(const sign_case *s)
{
    ts_quantizer_info info = {0};
    ts_error err = {0};
    if (ts_quantizer_describe(s->kind, s->options, &info, &err) != TS_OK)
        golden_fail(s->c, "%s", err.text);
    return info;
}

static void expect_int(golden_case *c, const char *name, int64_t found)
{
    int64_t expected = golden_int_or(c, name, found);
    if (found != expected)
        golden_fail(c, "%s is %lld, expected %lld", name, (long long)found, (long long)expected);
}

/* A loss by name; absent where the quantizer has none. */
static ts_value loss_of(const ts_quantized *q, const char *name)
{
    for (int i = 0; i < q->loss_count; i++)
        if (strcmp(q->losses[i].name, name) == 0)
            return q->losses[i].value;
    return TS_ABSENT;
}

/* Where the quantizer computes nothing, the file has a 0 or no tensor. */
static void expect_loss(golden_graph *g, ts_value loss, const char *name)
{
    float none = 0;
    golden_case *c = g->bench->c;
    if (loss.graph)
        golden_graph_expect(g, loss, name);
    else if (golden_find(c, name))
        golden_compare(c, name, &(ts_tensor){TS_F32, {0}, &none}, golden_tensor(c, name), 0, 0);
}

/* ---- gradients of total + sum(codes * r), and the parameters of the projections ---- */

static const struct {
    const char *variable, *tensor, *gradient;
} parameters[] = {
    {"project_in.weight", "param/project_in.weight", "grad/param/project_in.weight"},
    {"project_in.bias", "param/project_in.bias", "grad/param/project_in.bias"},
    {"project_out.weight", "param/project_out.weight", "grad/param/project_out.weight"},
    {"project_out.bias", "param/project_out.bias", "grad/param/project_out.bias"},
    {"rotation", "param/orthogonal_rot", NULL},
};
enum { PARAMETERS = sizeof parameters / sizeof *parameters };

static void differentiate(golden_graph *g, ts_value x, const ts_quantized *q)
{
    ts_value wrt[1 + PARAMETERS] = {x}, gradient[1 + PARAMETERS];
    const char *name[1 + PARAMETERS] = {"grad/x"};
    int count = 1;
    for (int i = 0; i < PARAMETERS; i++) {
        ts_value v = golden_graph_variable(g, parameters[i].variable);
        if (!ts_present(v) || !parameters[i].gradient)
            continue;
        wrt[count] = v;
        name[count++] = parameters[i].gradient;
    }
    ts_value weighted = ts_mul(q->codes, golden_graph_input(g, "", "in/r"));
    ts_differentiate(ts_add(ts_quantized_total(q), ts_sum_all(weighted)), count, wrt, gradient);
    for (int i = 0; i < count; i++)
        golden_graph_expect(g, gradient[i], name[i]);
}

static void load(golden_graph *g)
{
    golden_bench_seal(g->bench);
    for (int i = 0; i < PARAMETERS; i++)
        if (ts_present(golden_graph_variable(g, parameters[i].variable)))
            golden_bench_load(g->bench, parameters[i].variable, parameters[i].tensor);
}

static void run(golden_graph *g)
{
    if (golden_graph_plan(g))
        golden_graph_run(g, "");
    golden_graph_close(g);
}

/* ---- lookup_free ---- */

static void lookup_free_training(golden_bench *b, const sign_case *s)
{
    golden_graph g;
    ts_quantized q;
    golden_graph_open(&g, b, TS_TRAIN);
    g.channels_last = s->channel_first;
    ts_value x = golden_graph_input(&g, "", "in/x");
    ts_quantize(s->kind, g.scope, s->options, x, &q);
    golden_graph_expect(&g, q.codes, "out/out");
    golden_graph_expect(&g, q.ids, "out/indices");
    golden_graph_expect(&g, ts_quantized_total(&q), "out/aux_loss");
    ts_value sample = loss_of(&q, "sample_entropy"), batch = loss_of(&q, "batch_entropy");
    expect_loss(&g, sample, "out/per_sample_entropy");
    expect_loss(&g, batch, "out/batch_entropy");
    expect_loss(&g, loss_of(&q, "commitment"), "out/commitment");
    if (golden_find(s->c, "out/entropy_aux_loss")) {
        double gamma = ((const ts_lookup_free_options *)s->options)->diversity;
        golden_graph_expect(&g, ts_subtract(sample, ts_scale(batch, gamma)), "out/entropy_aux_loss");
    }
    if (golden_find(s->c, "out/activate"))
        golden_graph_expect_usage(&g, q.ids, info_of(s).codes, 0, NULL, "out/activate");
    differentiate(&g, x, &q);
    load(&g);
    run(&g);
}

static void lookup_free_evaluation(golden_bench *b, const sign_case *s)
{
    golden_graph g;
    ts_quantized q;
    golden_graph_open(&g, b, TS_EVAL);
    g.channels_last = s->channel_first;
    ts_quantize(s->kind, g.scope, s->options, golden_graph_input(&g, "", "in/x"), &q);
    golden_graph_expect(&g, q.codes, "eval/out");
    golden_graph_expect(&g, q.ids, "eval/indices");
    expect_loss(&g, ts_quantized_total(&q), "eval/aux_loss");
    run(&g);
}

/* Tokens come out channels last in both conventions. */
static void lookup_free_decoding(golden_bench *b, const sign_case *s)
{
    golden_graph g;
    golden_graph_open(&g, b, TS_INFER);
    ts_tensor t = golden_graph_tensor(&g, "out/indices");
    int64_t groups = info_of(s).groups;
    ts_value ids =
        ts_reshape(golden_graph_input(&g, "", "out/indices"), ts_shape_of(t.shape.dim[0], t.shape.dim[1], groups));
    golden_graph_expect(&g, ts_dequantize(s->kind, g.scope, s->options, ids), "probe/indices_to_codes");
    run(&g);
}

/* Upstream's buffer of what the bits are worth: the order of bits. */
static void check_bit_values(golden_case *c, int64_t bits)
{
    int32_t value[32];
    if (!golden_find(c, "param/mask"))
        return;
    for (int64_t i = 0; i < bits; i++)
        value[i] = 1 << (bits - 1 - i);
    golden_compare(c, "param/mask", &(ts_tensor){TS_I32, ts_shape_of(bits), value}, golden_tensor(c, "param/mask"), 0,
                   0);
}

static ts_lookup_free_options lookup_free_options(golden_case *c, double commitment)
{
    ts_lookup_free_options o = {
        .bits = golden_int(c, "codebook_dim"),
        .codebooks = golden_int_or(c, "num_codebooks", 1),
        .stack = {.dim = golden_int_or(c, "dim", 0), .projection_bias = golden_int_or(c, "projection_has_bias", 1)},
        .scale = golden_real_or(c, "codebook_scale", 1),
        .spherical = golden_int_or(c, "spherical", 0),
        .rotation = golden_int_or(c, "orthogonal_rotation", 0),
        .soft_clamp = golden_real_or(c, "soft_clamp_input_value", 0),
        .inv_temperature = golden_real(c, "inv_temperature"),
        .entropy = golden_real_or(c, "entropy_loss_weight", 0.1),
        .diversity = golden_real_or(c, "diversity_gamma", 1),
        .softplus = golden_int_or(c, "experimental_softplus_entropy_loss", 0),
        .softplus_offset = golden_real_or(c, "entropy_loss_offset", 5),
        .commitment = golden_real_or(c, "commitment_loss_weight", commitment)};
    return o;
}

static void lookup_free(golden_case *c, ts_device *device, bool channel_first, double commitment)
{
    golden_bench b;
    ts_lookup_free_options o = lookup_free_options(c, commitment);
    sign_case s = {c, device, &ts_lookup_free_kind, &o, channel_first};
    ts_quantizer_info info = info_of(&s);
    expect_int(c, "codebook_size", info.codes);
    expect_int(c, "has_projections", info.width != o.codebooks * o.bits);
    if (ts_h5_attribute_find(&c->attributes, "shape"))
        golden_attribute(c, "shape");
    check_bit_values(c, o.bits);
    golden_bench_open(&b, c, device);
    lookup_free_training(&b, &s);
    lookup_free_evaluation(&b, &s);
    lookup_free_decoding(&b, &s);
    golden_bench_close(&b);
}

static void lucidrains(golden_case *c, ts_device *device)
{
    lookup_free(c, device, false, 0);
}

static void motionmillion(golden_case *c, ts_device *device)
{
    lookup_free(c, device, true, 0.25);
}

/* ---- spherical ---- */

static void spherical(golden_case *c, ts_device *device)
{
    golden_bench b;
    golden_graph g;
    ts_quantized q;
    ts_spherical_options o = {.bits = golden_int(c, "embed_dim"),
                              .group = golden_int(c, "group_size"),
                              .inv_temperature = golden_real(c, "inv_temperature"),
                              .entropy = golden_real(c, "zeta"),
                              .per_sample = golden_real(c, "gamma0"),
                              .diversity = golden_real(c, "gamma"),
                              .commitment = golden_real(c, "beta")};
    golden_bench_open(&b, c, device);
    golden_graph_open(&g, &b, TS_TRAIN);
    ts_value x = golden_graph_input(&g, "", "in/x");
    ts_quantize(&ts_spherical_kind, g.scope, &o, x, &q);
    golden_graph_expect(&g, q.codes, "out/out");
    golden_graph_expect(&g, q.ids, "out/group_indices");
    golden_graph_expect(&g, ts_quantized_total(&q), "out/loss");
    golden_graph_expect(&g, loss_of(&q, "sample_entropy"), "out/sample_entropy");
    golden_graph_expect(&g, loss_of(&q, "batch_entropy"), "out/batch_entropy");
    golden_graph_expect(&g, loss_of(&q, "commitment"), "out/commitment");
    differentiate(&g, x, &q);
    load(&g);
    run(&g);
    golden_bench_close(&b);
}

/* ---- the files ---- */

Test(golden_sign_code, own_lucidrains)
{
    golden_expect_own("lfq_lucidrains.h5", "ref", 9, lucidrains);
    golden_expect_own("lfq_lucidrains.h5", "cpu", 9, lucidrains);
}

Test(golden_sign_code, own_motionmillion)
{
    golden_expect_own("lfq_motionmillion.h5", "ref", 3, motionmillion);
    golden_expect_own("lfq_motionmillion.h5", "cpu", 3, motionmillion);
}

Test(golden_sign_code, own_spherical)
{
    golden_expect_own("bsq.h5", "ref", 3, spherical);
    golden_expect_own("bsq.h5", "cpu", 3, spherical);
}

Test(golden_sign_code, shared_lucidrains)
{
    golden_expect_shared("lfq_lucidrains.h5", "ref", 4, lucidrains);
    golden_expect_shared("lfq_lucidrains.h5", "cpu", 4, lucidrains);
}

Test(golden_sign_code, shared_motionmillion)
{
    golden_expect_shared("lfq_motionmillion.h5", "ref", 4, motionmillion);
    golden_expect_shared("lfq_motionmillion.h5", "cpu", 4, motionmillion);
}

static bool is_result(const golden_case *c, const char *path)
{
    (void)c;
    return strncmp(path, "in/", 3) != 0 && strncmp(path, "param/", 6) != 0;
}

Test(golden_sign_code, every_number_is_compared)
{
    golden_expect_no_blind_spot("lfq_lucidrains.h5", 100, is_result, lucidrains);
    golden_expect_no_blind_spot("lfq_motionmillion.h5", 40, is_result, motionmillion);
    golden_expect_no_blind_spot("bsq.h5", 21, is_result, spherical);
}

Test(golden_sign_code, what_is_not_understood_fails_by_name)
{
    golden_expect_failure(GOLDEN_WALK_OF(lucidrains, GOLDEN_NUMBER("odd/in/x", 1)),
                          "odd: attribute codebook_dim is missing");
}

Test(golden_sign_code, own_on_cuda)
{
    golden_expect_own("lfq_lucidrains.h5", "cuda", 9, lucidrains);
    golden_expect_own("lfq_motionmillion.h5", "cuda", 3, motionmillion);
    golden_expect_own("bsq.h5", "cuda", 3, spherical);
}

Test(golden_sign_code, shared_on_cuda)
{
    golden_expect_shared("lfq_lucidrains.h5", "cuda", 4, lucidrains);
    golden_expect_shared("lfq_motionmillion.h5", "cuda", 4, motionmillion);
}
