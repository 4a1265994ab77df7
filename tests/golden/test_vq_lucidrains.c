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

/* Looked at, and nothing of ours: the switch of upstream's k-means, how the case was drawn. */
static void pass_over(golden_case *c)
{
    static const char *const remarks[] = {"initted", "after/initted"};
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

/* Upstream's loss: where the codebook is learnt, one squared distance with both gradients is what we have two of. */
static ts_value upstream_loss(const ts_quantized *q)
{
    ts_quantized all = *q;
    all.loss_count = 0;
    for (int i = 0; i < q->loss_count; i++)
        if (strcmp(q->losses[i].name, "codebook") != 0)
            ts_quantized_loss(&all, q->losses[i].name, q->losses[i].value, q->losses[i].weight);
    return ts_quantized_total(&all);
}

/* Its parts, 0 where there is no such loss. */
static void expect_losses(golden_graph *g, const ts_quantized *q)
{
    static const char *const names[][2] = {
        {"commitment", "commitment"}, {"diversity", "codebook_diversity"}, {"orthogonal", "orthogonal_reg"}};
    golden_graph_expect(g, upstream_loss(q), "loss");
    for (size_t n = 0; n < sizeof names / sizeof *names; n++) {
        ts_value loss = ts_scalar(g->scope.graph, 0);
        for (int i = 0; i < q->loss_count; i++)
            loss = strcmp(q->losses[i].name, names[n][0]) == 0 ? q->losses[i].value : loss;
        golden_graph_expect(g, loss, names[n][1]);
    }
}

static const char *const learnt_names[][2] = {{"codebook", "grad/_codebook.embed"},
                                              {"project_in.weight", "grad/project_in.weight"},
                                              {"project_in.bias", "grad/project_in.bias"},
                                              {"project_out.weight", "grad/project_out.weight"},
                                              {"project_out.bias", "grad/project_out.bias"}};
enum { LEARNT = sizeof learnt_names / sizeof *learnt_names };

static void expect_gradients(golden_graph *g, const ts_quantized *q, ts_value x)
{
    ts_value r = golden_graph_input(g, "step0/", "in_r"), wrt[1 + LEARNT] = {x}, gradient[1 + LEARNT];
    const char *name[1 + LEARNT] = {"grad_x"};
    int count = 1;
    for (int i = 0; i < LEARNT; i++) {
        char path[64];
        snprintf(path, sizeof path, "step0/%s", learnt_names[i][1]);
        if (!golden_find(g->bench->c, path))
            continue;
        name[count] = learnt_names[i][1];
        wrt[count++] = golden_graph_variable(g, learnt_names[i][0]);
    }
    expect_losses(g, q);
    ts_value total = ts_add(ts_quantized_total(q), ts_sum_all(ts_mul(q->codes, r)));
    ts_differentiate(total, count, wrt, gradient);
    for (int i = 0; i < count; i++)
        golden_graph_expect(g, gradient[i], name[i]);
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
    expect_gradients(g, &q, x);
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
    ts_value decoded = v->kind->decode(g.scope, v->options, q.ids);
    golden_graph_expect(&g, decoded, "quantized");
    if (golden_find(b->c, "init/project_out.weight")) /* upstream's are those before it */
        decoded = ts_gather(golden_graph_variable(&g, "codebook"), q.ids);
    golden_graph_expect(&g, decoded, "codes_from_indices");
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

/* What the case starts with. */
static void load_all(golden_bench *b, const subject *v)
{
    load(b, "codebook", "init/embed");
    if (v->kind->update) {
        load(b, "count", "init/cluster_size");
        load(b, "sum", "init/embed_avg");
    }
    for (int i = 1; i < LEARNT; i++) {
        char path[64];
        snprintf(path, sizeof path, "init/%s", learnt_names[i][0]);
        if (golden_find(b->c, path))
            load(b, learnt_names[i][0], path);
    }
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
        load_all(&b, v);
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

static ts_heads_options heads_of(golden_case *c)
{
    return (ts_heads_options){.count = golden_int_or(c, "heads", 1),
                              .separate = golden_int_or(c, "separate_codebook_per_head", 0),
                              .width = golden_int_or(c, "codebook_dim", 0)};
}

static ts_code_losses_options losses_of(golden_case *c)
{
    return (ts_code_losses_options){.cross_entropy = golden_int_or(c, "commitment_use_cross_entropy_loss", 0),
                                    .diversity = golden_real_or(c, "codebook_diversity_loss_weight", 0),
                                    .diversity_temperature = golden_real_or(c, "codebook_diversity_temperature", 100),
                                    .orthogonal = golden_real_or(c, "orthogonal_reg_weight", 0)};
}

/* learnable_codebook and moving averages at once are upstream's way to say that the orthogonal loss has a gradient. */
static void moving(golden_case *c, ts_device *device)
{
    ts_vector_ema_options o = {.codes = golden_int(c, "codebook_size"),
                               .dim = golden_int(c, "dim"),
                               .commitment = golden_real_or(c, "commitment_weight", 1),
                               .decay = golden_real(c, "decay"),
                               .epsilon = golden_real(c, "eps"),
                               .averages = TS_AVERAGES_LUCIDRAINS,
                               .rotation = golden_int(c, "rotation_trick"),
                               .cosine = golden_int_or(c, "use_cosine_sim", 0),
                               .heads = heads_of(c),
                               .losses = losses_of(c)};
    o.expire = share_of_tokens(c, o.codes);
    check_steps(c, device, &(subject){&ts_vector_ema_kind, &o});
}

static void learnt(golden_case *c, ts_device *device)
{
    double weight = golden_real_or(c, "commitment_weight", 1);
    ts_vector_options o = {.codes = golden_int(c, "codebook_size"),
                           .dim = golden_int(c, "dim"),
                           .commitment = weight,
                           .codebook = weight,
                           .rotation = golden_int(c, "rotation_trick"),
                           .heads = heads_of(c),
                           .losses = losses_of(c)};
    golden_real_or(c, "decay", 0);
    golden_real_or(c, "eps", 0);
    golden_find(c, "init/cluster_size");
    golden_find(c, "init/embed_avg");
    check_steps(c, device, &(subject){&ts_vector_kind, &o});
}

static void check(golden_case *c, ts_device *device)
{
    bool gradient = golden_int(c, "learnable_codebook"), averages = golden_int(c, "ema_update");
    if (!gradient && !averages)
        golden_fail(c, "a codebook that nothing moves");
    else if (averages && gradient && golden_real_or(c, "orthogonal_reg_weight", 0) == 0)
        golden_fail(c, "a codebook that moves by both, and no orthogonal loss");
    else
        (averages ? moving : learnt)(c, device);
    pass_over(c);
}

static const char *const cases[] = {"ema_rot",           "ema_ste",    "masked",     "learnable", "cosine",
                                    "dead_code",         "cosine_ste", "ce_commit",  "diversity", "ortho",
                                    "ortho_ema_default", "heads2_sep", "proj_cdim4", NULL};

Test(golden_vq_lucidrains, shared)
{
    golden_expect_shared_cases("vq_lucidrains.h5", "ref", cases, check);
    golden_expect_shared_cases("vq_lucidrains.h5", "cpu", cases, check);
}

Test(golden_vq_lucidrains, shared_on_cuda)
{
    golden_expect_shared_cases("vq_lucidrains.h5", "cuda", cases, check);
}
