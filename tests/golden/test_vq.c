/* Every case of the vector quantizers' golden files, the project's own and the shared ones, on the reference loops and
 * on the CPU kernels: one differentiated pass for the codebooks that are parameters, three steps for those that are
 * state. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "autograd/differentiate.h"
#include "autograd/node.h"
#include "autograd/ops.h"
#include "quant/vector.h"
#include "tests/golden/bench.h"
#include "tests/golden/walk.h"

/* A quantizer, and what the file calls its numbers. Names are behind "out/", "step0/" ...; NULL: there is none. */
typedef struct {
    const ts_quantizer_kind *kind;
    const void *options;
    double epsilon; /* of the perplexity */
    const char *x, *r, *out, *loss, *grad_x;
    const char *codebook, *count, *sum; /* after a step */
} vq_case;

static int64_t codes_of(const vq_case *v)
{
    ts_quantizer_info info = {0};
    ts_error err = {0};
    cr_assert_eq(v->kind->info(v->options, &info, &err), TS_OK, "%s", err.text);
    return info.codes;
}

/* Builds the quantizer on the case's input and expects what a pass gives; *r is NULL in evaluation. */
static ts_quantized expect_pass(golden_graph *g, const vq_case *v, const char *prefix, const char *indices,
                                const char *perplexity, ts_value *x)
{
    ts_quantized q;
    g->channels_last = true;
    *x = golden_graph_input(g, prefix, v->x);
    v->kind->build(g->scope, v->options, *x, &q);
    golden_graph_expect(g, q.codes, v->out);
    golden_graph_expect(g, q.ids, indices);
    golden_graph_expect(g, ts_quantized_total(&q), v->loss);
    golden_graph_expect_usage(g, q.ids, codes_of(v), v->epsilon, perplexity, NULL);
    return q;
}

/* loss + sum(codes * r) */
static ts_value differentiated(golden_graph *g, const vq_case *v, const char *prefix, const ts_quantized *q)
{
    ts_value r = golden_graph_input(g, prefix, v->r);
    return ts_add(ts_quantized_total(q), ts_sum_all(ts_mul(q->codes, r)));
}

/* ---- the codebook is a parameter: one pass ---- */

static void check_pass(golden_case *c, ts_device *device, const vq_case *v)
{
    golden_bench b;
    golden_graph g;
    ts_value x, gradient[2];
    golden_bench_open(&b, c, device);
    golden_graph_open(&g, &b, TS_TRAIN);
    ts_quantized q = expect_pass(&g, v, "", "out/indices", "out/perplexity", &x);
    ts_value wrt[2] = {x, golden_graph_variable(&g, "codebook")};
    ts_differentiate(differentiated(&g, v, "", &q), 2, wrt, gradient);
    golden_graph_expect(&g, gradient[0], v->grad_x);
    golden_graph_expect(&g, gradient[1], "grad/embedding");
    golden_bench_seal(&b);
    golden_bench_load(&b, "codebook", "param/embedding");
    if (golden_graph_plan(&g))
        golden_graph_run(&g, "");
    golden_graph_close(&g);
    golden_bench_close(&b);
}

static void classic_vector(golden_case *c, ts_device *device)
{
    ts_vector_options o = {.codes = golden_int(c, "num_embeddings"),
                           .dim = golden_int(c, "embedding_dim"),
                           .commitment = golden_real(c, "commitment_cost"),
                           .codebook = 1};
    check_pass(c, device,
               &(vq_case){.kind = &ts_vector_kind,
                          .options = &o,
                          .epsilon = 1e-10,
                          .x = "in/z",
                          .r = "in/r",
                          .out = "out/quantized",
                          .loss = "out/loss",
                          .grad_x = "grad/z"});
}

static void t2mgpt_vector(golden_case *c, ts_device *device)
{
    ts_vector_options o = {.codes = golden_int(c, "n_e"),
                           .dim = golden_int(c, "e_dim"),
                           .commitment = golden_real(c, "beta"),
                           .codebook = 1};
    check_pass(c, device,
               &(vq_case){.kind = &ts_vector_kind,
                          .options = &o,
                          .epsilon = 1e-10,
                          .x = "in/x",
                          .r = "in/r",
                          .out = "out/out",
                          .loss = "out/loss",
                          .grad_x = "grad/x"});
}

/* ---- the codebook is state: three steps ---- */

static void expect_state(golden_graph *g, const vq_case *v)
{
    golden_graph_expect_state(g, "codebook", v->codebook);
    if (ts_store_find(g->bench->store, "count"))
        golden_graph_expect_state(g, "count", v->count);
    if (ts_store_find(g->bench->store, "sum"))
        golden_graph_expect_state(g, "sum", v->sum);
}

/* Builds the step and, with it, the variables. */
static golden_draws build_step(golden_graph *g, const vq_case *v)
{
    ts_value x, gradient, statistics[TS_MAX_STATISTICS];
    ts_quantized q = expect_pass(g, v, "step0/", "indices", "perplexity", &x);
    golden_draws draws = golden_graph_draws(g, "step0/update_noise", "update_noise");
    ts_differentiate(differentiated(g, v, "step0/", &q), 1, &x, &gradient);
    golden_graph_expect(g, gradient, v->grad_x);
    golden_bench_seal(g->bench);
    for (int i = 0; i < q.statistic_count; i++)
        statistics[i] = q.statistics[i].value;
    if (!ts_store_find(g->bench->store, "count")) /* then the file's is that of the batch */
        golden_graph_expect(g, statistics[0], v->count);
    v->kind->update(g->scope, v->options, statistics, TS_ABSENT);
    expect_state(g, v);
    return draws;
}

static void evaluate(golden_bench *b, const vq_case *v)
{
    golden_graph g;
    ts_value x;
    golden_graph_open(&g, b, TS_EVAL);
    expect_pass(&g, v, "eval/", "indices", "perplexity", &x);
    if (golden_graph_plan(&g))
        golden_graph_run(&g, "eval/");
    golden_graph_close(&g);
}

/* The state before the first step, by the quantizer's own init from the first batch. */
static void initialise(golden_bench *b, const vq_case *v)
{
    golden_graph g;
    golden_graph_open(&g, b, TS_TRAIN);
    g.channels_last = true;
    ts_tensor x = golden_graph_tensor(&g, "step0/in_x");
    ts_value input = ts_input(g.scope.graph, "x", TS_F32, x.shape);
    v->kind->init(g.scope, v->options, input);
    golden_draws draws = golden_graph_draws(&g, "init/tile_noise", "tile_noise");
    expect_state(&g, v);
    if (golden_graph_plan(&g)) {
        ts_program_set(g.program, input, x.data);
        golden_graph_feed(&g, "init/", &draws);
        golden_graph_run(&g, "init/");
    }
    golden_graph_close(&g);
}

static void run_steps(golden_graph *g, const golden_draws *draws)
{
    for (int step = 0; step < 3; step++) {
        char prefix[16];
        snprintf(prefix, sizeof prefix, "step%d/", step);
        golden_graph_feed(g, prefix, draws);
        golden_graph_run(g, prefix);
    }
}

static void check_steps(golden_case *c, ts_device *device, const vq_case *v)
{
    golden_bench b;
    golden_graph g;
    golden_bench_open(&b, c, device);
    golden_graph_open(&g, &b, TS_TRAIN);
    golden_draws draws = build_step(&g, v);
    if (golden_graph_plan(&g)) {
        if (v->kind == &ts_vector_reset_kind) {
            initialise(&b, v);
        } else {
            golden_bench_load(&b, "codebook", "init/_embedding.weight");
            golden_bench_load(&b, "count", "init/_ema_cluster_size");
            golden_bench_load(&b, "sum", "init/_ema_w");
        }
        run_steps(&g, &draws);
        if (golden_find(c, "eval/in_x"))
            evaluate(&b, v);
    }
    golden_graph_close(&g);
    golden_bench_close(&b);
}

static void classic_ema(golden_case *c, ts_device *device)
{
    ts_vector_ema_options o = {.codes = golden_int(c, "num_embeddings"),
                               .dim = golden_int(c, "embedding_dim"),
                               .commitment = golden_real(c, "commitment_cost"),
                               .decay = golden_real(c, "decay"),
                               .epsilon = golden_real(c, "epsilon")};
    check_steps(c, device,
                &(vq_case){.kind = &ts_vector_ema_kind,
                           .options = &o,
                           .epsilon = 1e-10,
                           .x = "in_z",
                           .r = "in_r",
                           .out = "quantized",
                           .loss = "loss",
                           .grad_x = "grad_z",
                           .codebook = "after/_embedding.weight",
                           .count = "after/_ema_cluster_size",
                           .sum = "after/_ema_w"});
}

static void t2mgpt_steps(golden_case *c, ts_device *device, bool ema, bool reset)
{
    ts_vector_reset_options o = {.codes = golden_int(c, "nb_code"),
                                 .dim = golden_int(c, "code_dim"),
                                 .commitment = 1,
                                 .decay = golden_real(c, "mu"),
                                 .ema = ema,
                                 .reset = reset,
                                 .threshold = 1};
    check_steps(c, device,
                &(vq_case){.kind = &ts_vector_reset_kind,
                           .options = &o,
                           .epsilon = 1e-7,
                           .x = "in_x",
                           .r = "in_r",
                           .out = "out",
                           .loss = "commit_loss",
                           .grad_x = "grad_x",
                           .codebook = "codebook",
                           .count = "code_count",
                           .sum = "code_sum"});
    if (!ema)
        golden_find(c, "init/code_count"); /* ones, which nothing reads */
    double deviation = golden_real(c, "noise_std"), ours = 0.01 / sqrt((double)o.dim);
    if (fabs(deviation - ours) > 1e-9)
        golden_fail(c, "noise_std is %g, expected %g", deviation, ours);
    golden_real_or(c, "eval_min_gap", 0);
    golden_attribute(c, "shape");
}

/* ---- the files ---- */

static void classic(golden_case *c, ts_device *device)
{
    golden_int_or(c, "seed", 0);
    if (golden_find(c, "init/_ema_w"))
        classic_ema(c, device);
    else
        classic_vector(c, device);
}

static void t2mgpt(golden_case *c, ts_device *device)
{
    const char *class_name = golden_text_or(c, "klass", "");
    golden_int_or(c, "seed", 0);
    if (strcmp(class_name, "Quantizer") == 0)
        t2mgpt_vector(c, device);
    else if (strcmp(class_name, "QuantizeEMAReset") == 0)
        t2mgpt_steps(c, device, true, true);
    else if (strcmp(class_name, "QuantizeEMA") == 0)
        t2mgpt_steps(c, device, true, false);
    else if (strcmp(class_name, "QuantizeReset") == 0)
        t2mgpt_steps(c, device, false, true);
    else
        golden_fail(c, "the class '%s' is not understood", class_name);
}

Test(golden_vq, own_classic)
{
    golden_expect_own("vq_classic.h5", "ref", 5, classic);
    golden_expect_own("vq_classic.h5", "cpu", 5, classic);
}

Test(golden_vq, own_t2mgpt)
{
    golden_expect_own("vq_t2mgpt.h5", "ref", 8, t2mgpt);
    golden_expect_own("vq_t2mgpt.h5", "cpu", 8, t2mgpt);
}

Test(golden_vq, shared_classic)
{
    golden_expect_shared("vq_classic.h5", "ref", 5, classic);
    golden_expect_shared("vq_classic.h5", "cpu", 5, classic);
}

Test(golden_vq, shared_t2mgpt)
{
    golden_expect_shared("vq_t2mgpt.h5", "ref", 8, t2mgpt);
    golden_expect_shared("vq_t2mgpt.h5", "cpu", 8, t2mgpt);
}

/* Of QuantizeReset's count before the first step nothing depends: it counts each batch by itself. */
static bool is_result(const golden_case *c, const char *path)
{
    bool unread = strcmp(c->name, "reset") == 0 && strcmp(path, "init/code_count") == 0;
    bool given = strncmp(path, "in/", 3) == 0 || strncmp(path, "param/", 6) == 0 || strstr(path, "/in_") ||
                 strstr(path, "_noise");
    bool state_given = strncmp(path, "init/_e", 7) == 0;
    return !unread && !given && !state_given;
}

Test(golden_vq, every_number_is_compared)
{
    golden_expect_no_blind_spot("vq_classic.h5", 60, is_result, classic);
    golden_expect_no_blind_spot("vq_t2mgpt.h5", 180, is_result, t2mgpt);
}

Test(golden_vq, what_is_not_understood_fails_by_name)
{
    golden_expect_failure(GOLDEN_WALK_OF(t2mgpt, GOLDEN_NUMBER("new/in/x", 1), GOLDEN_TEXT("new", "klass", "Frob")),
                          "new: the class 'Frob' is not understood");
    golden_expect_failure(GOLDEN_WALK_OF(classic, GOLDEN_NUMBER("odd/in/x", 1)),
                          "odd: attribute num_embeddings is missing");
}

Test(golden_vq, own_on_cuda)
{
    golden_expect_own("vq_classic.h5", "cuda", 5, classic);
    golden_expect_own("vq_t2mgpt.h5", "cuda", 8, t2mgpt);
}

Test(golden_vq, shared_on_cuda)
{
    golden_expect_shared("vq_classic.h5", "cuda", 5, classic);
    golden_expect_shared("vq_t2mgpt.h5", "cuda", 8, t2mgpt);
}
