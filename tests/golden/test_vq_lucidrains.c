/* lucidrains' VectorQuantize, those of its recorded variants that the vector kinds have, on the reference loops and on
 * the CPU kernels: three forward and backward passes with the state's update after each, and an evaluation. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "autograd/differentiate.h"
#include "autograd/node.h"
#include "autograd/ops.h"
#include "quant/vector.h"
#include "tests/golden/bench.h"
#include "tests/golden/walk.h"

typedef struct {
    const ts_quantizer_kind *kind;
    const void *options;
    double loss; /* upstream's loss is so many times ours */
} subject;

/* A variable from the tensor [1, ..] of one codebook. */
static void load(golden_bench *b, const char *variable, const char *path)
{
    const ts_variable *v = ts_store_find(b->store, variable);
    const ts_tensor *t = golden_tensor(b->c, path);
    if (!v || ts_shape_count(t->shape) != ts_shape_count(v->type.shape))
        golden_fail(b->c, "%s does not fit %s", path, variable);
    else
        ts_store_set(b->store, v, TS_BLOCK_VALUE, t->data);
}

/* Looked at, and nothing of ours: the switch of upstream's k-means, losses of other variants. */
static void pass_over(golden_case *c)
{
    static const char *const remarks[] = {"initted", "after/initted", "codebook_diversity", "orthogonal_reg"};
    static const char *const places[] = {"init/", "step0/", "step1/", "step2/"};
    for (size_t p = 0; p < sizeof places / sizeof *places; p++) {
        for (size_t i = 0; i < sizeof remarks / sizeof *remarks; i++) {
            char path[64];
            snprintf(path, sizeof path, "%s%s", places[p], remarks[i]);
            golden_find(c, path);
        }
    }
    golden_int_or(c, "seed", 0);
    golden_real_or(c, "commitment_weight", 1);
    golden_attribute(c, "shape");
}

static ts_quantized expect_pass(golden_graph *g, const subject *v, const char *prefix, ts_value *x)
{
    ts_quantized q;
    *x = golden_graph_input(g, prefix, "in_x");
    v->kind->build(g->scope, v->options, *x, &q);
    golden_graph_expect(g, q.codes, "quantized");
    golden_graph_expect(g, q.ids, "indices");
    return q;
}

static void expect_gradients(golden_graph *g, const subject *v, const ts_quantized *q, ts_value x)
{
    ts_value r = golden_graph_input(g, "step0/", "in_r"), wrt[2] = {x, TS_ABSENT}, gradient[2];
    ts_value loss = ts_scale(ts_quantized_total(q), v->loss);
    bool learnt = golden_find(g->bench->c, "step0/grad/_codebook.embed") != NULL;
    golden_graph_expect(g, loss, "loss");
    if (learnt)
        wrt[1] = golden_graph_variable(g, "codebook");
    ts_value total = ts_add(ts_quantized_total(q), ts_sum_all(ts_mul(q->codes, r)));
    ts_differentiate(total, learnt ? 2 : 1, wrt, gradient);
    golden_graph_expect(g, gradient[0], "grad_x");
    if (learnt)
        golden_graph_expect(g, gradient[1], "grad/_codebook.embed");
}

static void expect_state(golden_graph *g, const subject *v)
{
    golden_graph_expect_state(g, "codebook", "after/embed");
    if (v->kind->update) {
        golden_graph_expect_state(g, "count", "after/cluster_size");
        golden_graph_expect_state(g, "sum", "after/embed_avg");
        return;
    }
    for (int step = 0; step < 3; step++) { /* averages that nothing moves */
        char path[64];
        snprintf(path, sizeof path, "step%d/after/cluster_size", step);
        golden_find(g->bench->c, path);
        snprintf(path, sizeof path, "step%d/after/embed_avg", step);
        golden_find(g->bench->c, path);
    }
}

/* Returns the input for the rows that dead codes take, absent where none die. */
static ts_value build_step(golden_graph *g, const subject *v)
{
    ts_value x, statistics[TS_MAX_STATISTICS];
    if (golden_find(g->bench->c, "step0/in_mask"))
        g->scope.mask = ts_cast(golden_graph_input(g, "step0/", "in_mask"), TS_F32);
    ts_quantized q = expect_pass(g, v, "step0/", &x);
    golden_graph_expect(g, q.losses[q.loss_count - 1].value, "commitment");
    expect_gradients(g, v, &q, x);
    golden_bench_seal(g->bench);
    for (int i = 0; i < q.statistic_count; i++)
        statistics[i] = q.statistics[i].value;
    ts_value rows = TS_ABSENT;
    if (q.statistic_count == 3) /* in the place of our draw: fed with upstream's */
        rows = statistics[2] = ts_input(g->scope.graph, "rows", TS_F32, ts_value_shape(statistics[2]));
    if (v->kind->update)
        v->kind->update(g->scope, v->options, statistics, TS_ABSENT);
    expect_state(g, v);
    return rows;
}

static void evaluate(golden_bench *b, const subject *v)
{
    golden_graph g;
    ts_value x;
    golden_graph_open(&g, b, TS_EVAL);
    ts_quantized q = expect_pass(&g, v, "eval/", &x);
    golden_graph_expect(&g, v->kind->decode(g.scope, v->options, q.ids), "codes_from_indices");
    if (golden_graph_plan(&g))
        golden_graph_run(&g, "eval/");
    golden_graph_close(&g);
}

enum { MOST_CODES = 64 };

/* Upstream's rows for dead codes: the j-th of them takes row perm[j] of the batch. Which are dead follows from the
 * counts, which are moved here as the quantizer moves them. */
static void feed_rows(golden_graph *g, const char *prefix, ts_value rows, double counts[MOST_CODES])
{
    golden_case *c = g->bench->c;
    char path[3][64];
    const char *names[3] = {"indices", "in_x", "sampled_rows/randperm_0"};
    for (int i = 0; i < 3; i++)
        snprintf(path[i], sizeof path[i], "%s%s", prefix, names[i]);
    const ts_tensor *ids = golden_tensor(c, path[0]), *x = golden_tensor(c, path[1]), *perm = golden_tensor(c, path[2]);
    double decay = golden_real(c, "decay"), threshold = golden_real(c, "threshold_ema_dead_code");
    int64_t n = ts_shape_count(ids->shape), codes = ts_dim(rows, 0), dim = ts_dim(rows, 1), dead = 0;
    float *host = ts_arena_alloc(&c->arena, (size_t)(codes * dim) * sizeof *host);
    cr_assert(host && codes <= MOST_CODES && ts_shape_count(perm->shape) == n);
    memset(host, 0, (size_t)(codes * dim) * sizeof *host);
    for (int64_t k = 0; k < codes; k++)
        counts[k] *= decay;
    for (int64_t i = 0; i < n; i++)
        counts[((const int32_t *)ids->data)[i]] += 1 - decay;
    for (int64_t k = 0; k < codes; k++) {
        if (counts[k] >= threshold - 1e-5)
            continue;
        counts[k] = threshold;
        cr_assert_lt(dead, n);
        const float *row = (const float *)x->data + ((const int32_t *)perm->data)[dead++] * dim;
        memcpy(host + k * dim, row, (size_t)dim * sizeof *host);
    }
    ts_program_set(g->program, rows, host);
}

static void check_steps(golden_case *c, ts_device *device, const subject *v)
{
    golden_bench b;
    golden_graph g;
    double counts[MOST_CODES];
    for (int k = 0; k < MOST_CODES; k++)
        counts[k] = 1;
    golden_bench_open(&b, c, device);
    golden_graph_open(&g, &b, TS_TRAIN);
    ts_value rows = build_step(&g, v);
    if (golden_graph_plan(&g)) {
        load(&b, "codebook", "init/embed");
        if (v->kind->update) {
            load(&b, "count", "init/cluster_size");
            load(&b, "sum", "init/embed_avg");
        }
        for (int step = 0; step < 3; step++) {
            char prefix[16];
            snprintf(prefix, sizeof prefix, "step%d/", step);
            if (rows.graph)
                feed_rows(&g, prefix, rows, counts);
            golden_graph_run(&g, prefix);
        }
        evaluate(&b, v);
    }
    golden_graph_close(&g);
    golden_bench_close(&b);
}

/* Upstream's threshold is in tokens per step. A millionth less, so that a count that rounds to the threshold is not
 * below it on one side alone. */
static double share_of_tokens(golden_case *c, int64_t codes)
{
    double tokens = (double)ts_shape_count(golden_tensor(c, "step0/indices")->shape);
    return golden_real_or(c, "threshold_ema_dead_code", 0) * (1 - 1e-6) * (double)codes / tokens;
}

static void moving(golden_case *c, ts_device *device)
{
    ts_vector_ema_options o = {.codes = golden_int(c, "codebook_size"),
                               .dim = golden_int(c, "dim"),
                               .commitment = golden_real_or(c, "commitment_weight", 1),
                               .decay = golden_real(c, "decay"),
                               .epsilon = golden_real(c, "eps"),
                               .averages = TS_AVERAGES_LUCIDRAINS,
                               .rotation = golden_int(c, "rotation_trick"),
                               .cosine = golden_int_or(c, "use_cosine_sim", 0)};
    o.expire = share_of_tokens(c, o.codes);
    check_steps(c, device, &(subject){&ts_vector_ema_kind, &o, 1});
}

/* Upstream has one loss, mse(x, e) times its weight, with both gradients. */
static void learnt(golden_case *c, ts_device *device)
{
    double weight = golden_real(c, "commitment_weight");
    ts_vector_options o = {.codes = golden_int(c, "codebook_size"),
                           .dim = golden_int(c, "dim"),
                           .commitment = weight,
                           .codebook = weight,
                           .rotation = golden_int(c, "rotation_trick")};
    golden_real_or(c, "decay", 0);
    golden_real_or(c, "eps", 0);
    golden_find(c, "init/cluster_size");
    golden_find(c, "init/embed_avg");
    check_steps(c, device, &(subject){&ts_vector_kind, &o, 0.5});
}

static void check(golden_case *c, ts_device *device)
{
    bool gradient = golden_int(c, "learnable_codebook"), averages = golden_int(c, "ema_update");
    if (gradient == averages)
        golden_fail(c, "a codebook that moves by both or by neither");
    else if (gradient)
        learnt(c, device);
    else
        moving(c, device);
    pass_over(c);
}

static const char *const shared_cases[] = {"ema_rot", "ema_ste",    "masked",    "learnable",
                                           "cosine",  "cosine_ste", "dead_code", NULL};

Test(golden_vq_lucidrains, shared)
{
    golden_expect_shared_cases("vq_lucidrains.h5", "ref", shared_cases, check);
    golden_expect_shared_cases("vq_lucidrains.h5", "cpu", shared_cases, check);
}

Test(golden_vq_lucidrains, shared_on_cuda)
{
    golden_expect_shared_cases("vq_lucidrains.h5", "cuda", shared_cases, check);
}
