/* Tokens that do not count: every kind of quantizer gives, from a batch with padding in it, what it gives from the
 * valid tokens alone, whatever stands in the padding; and where no token counts, nothing moves. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "autograd/differentiate.h"
#include "autograd/node.h"
#include "autograd/ops.h"
#include "core/random.h"
#include "tests/quant/quant_rig.h"

enum {
    ITEMS = 3,
    TOKENS = 7,
    ROWS = ITEMS * TOKENS,
    MAX_WIDTH = 64,
    MAX_STATE = 1 << 16,
    MAX_VARIABLES = 12,
    STEPS = 3
};

/* "key=value ..." over the kind's defaults. Few codes and more codes than rows, every way to move a codebook. */
static const struct {
    const char *kind, *options;
} cases[] = {
    {"finite_scalar", ""},
    {"finite_scalar", "levels=[4,3] codebooks=2 dim=5 rotation=true"},
    {"finite_scalar", "levels=[5,5,5] bound=symmetric indices=false"},
    {"vector", "codes=6 dim=4"},
    {"vector", "codes=300 dim=4 init=normal"},
    {"vector", "codes=6 dim=4 init=normal rotation=true"},
    {"vector_ema", "codes=6 dim=4 decay=0.8"},
    {"vector_ema", "codes=6 dim=4 decay=0.8 averages=lucidrains rotation=true"},
    {"vector_ema", "codes=6 dim=4 decay=0.8 init=kmeans kmeans_rounds=4"},
    {"vector_ema", "codes=6 dim=4 decay=0.8 averages=lucidrains cosine=true init=kmeans"},
    {"vector_ema", "codes=6 dim=4 decay=0.8 averages=lucidrains cosine=true rotation=true expire=0.9"},
    {"vector_ema", "codes=40 dim=4 decay=0.5 averages=lucidrains expire=0.8 init=kmeans kmeans_rounds=2"},
    {"vector_ema", "codes=300 dim=4"},
    {"vector_reset", "codes=6 dim=4 decay=0.8"},
    {"vector_reset", "codes=6 dim=4 decay=0.8 threshold=2"},
    {"vector_reset", "codes=13 dim=4"},
    {"vector_reset", "codes=13 dim=4 rotation=true"},
    {"vector_reset", "codes=6 dim=4 decay=0.8 init=kmeans"},
    {"vector_reset", "codes=300 dim=4"},
    {"vector_reset", "codes=6 dim=4 ema=false"},
    {"vector_reset", "codes=16 dim=4 reset=false"},
    {"vector", "codes=6 dim=6 heads=2 init=normal"},
    {"vector", "codes=6 dim=6 heads=3 separate_codebooks=true rotation=true init=normal"},
    {"vector", "codes=6 dim=6 heads=2 codebook_dim=4 cross_entropy=true init=normal beta_on=commit"},
    {"vector", "codes=6 dim=4 cosine=true orthogonal=2 init=kmeans beta_on=codebook"},
    {"vector_ema", "codes=6 dim=6 heads=2 separate_codebooks=true averages=lucidrains init=kmeans expire=0.5"},
    {"vector_ema", "codes=6 dim=5 codebook_dim=3 cross_entropy=true averages=lucidrains"},
    {"vector_ema", "codes=6 dim=4 orthogonal=3 orthogonal_active=true learnable=true decay=0.8"},
    {"vector_reset", "codes=6 dim=6 heads=2 separate_codebooks=true cosine=true"},
    {"vector_reset", "codes=20 dim=6 heads=3 expire=0.5 reset_averages=true"},
    {"lookup_free", "bits=5 inv_temperature=2"},
    {"lookup_free", "bits=3 codebooks=2 dim=5 inv_temperature=3 commitment=0.5 spherical=true"},
    {"lookup_free", "bits=4 softplus=true soft_clamp=2 inv_temperature=1 rotation=true"},
    {"lookup_free", "bits=2 entropy=0 commitment=1"},
    {"spherical", "bits=6 group=3 inv_temperature=5"},
    {"spherical", "bits=8 group=2 dim=5 commitment=0.5"},
    {"sim_vq", "codes=12 dim=4"},
    {"sim_vq", "codes=300 dim=5 frozen_dim=3 rotation=false bias=true"},
    {"finite_scalar", "levels=[5,4] bound=symmetric hard_clamp=true layers=3"},
    {"finite_scalar", "levels=[3,3,3] bound=symmetric hard_clamp=true layers=4 dim=6 dropout=2"},
    {"finite_scalar", "levels=[5,4] bound=symmetric layers=2 groups=3 dim=9"},
    {"vector_ema", "codes=6 dim=4 layers=2 decay=0.8"},
    {"vector_ema", "codes=6 dim=4 layers=2 averages=lucidrains rotation=true expire=0.3"},
    {"vector_ema", "codes=6 dim=4 layers=2 averages=lucidrains init=kmeans kmeans_rounds=3 dropout=1"},
    {"vector_ema", "codes=6 dim=4 layers=3 shared=true decay=0.8"},
    {"vector_ema", "codes=6 dim=8 groups=2 decay=0.8"},
    {"vector_reset", "codes=6 dim=4 layers=2 decay=0.8"},
    {"vector_reset", "codes=300 dim=4 layers=2 dropout=1"},
    {"vector_reset", "codes=6 dim=4 layers=2 shared=true decay=0.8 groups=2"},
    {"vector", "codes=6 dim=4 layers=3 shared=true"},
    {"lookup_free", "bits=3 layers=2 groups=2 inv_temperature=2"},
    {"sim_vq", "codes=12 dim=4 layers=2"},
    {"latent", "levels=[5,4,2]"},
    {"latent", "levels=[3,3] codebooks=2 groups=2 dim=6 codebook=1"},
    {"random_projection", "codes=12 dim=5 code_dim=3 codebooks=2"},
    {"random_projection", "codes=9 dim=6 code_dim=8 groups=2 norm=false"},
    {"scalar_perturbation", "levels=[5,4] quantize_rate=1"},
    {"scalar_perturbation", "levels=[5,4] quantize_rate=1 activation=laplace norm=var_laplace groups=2"},
    {"scalar_perturbation", "levels=[3,3,3] quantize_rate=1 norm=kurt activation=normal dim=5"},
};
enum { CASES = sizeof cases / sizeof *cases };

Test(quant_mask, every_kind_has_a_case)
{
    int kinds = 0;
    for (; ts_quantizer_kinds[kinds]; kinds++) {
        int found = 0;
        for (int i = 0; i < CASES; i++)
            found += strcmp(cases[i].kind, ts_quantizer_kinds[kinds]->name) == 0;
        cr_expect_gt(found, 0, "no case for %s", ts_quantizer_kinds[kinds]->name);
    }
    cr_assert_geq(kinds, 4);
}

/* By the lengths of the items, and one that no lengths make. */
static const float masks[][ROWS] = {
    {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 0},
    {0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0},
    {0, 1, 0, 1, 1, 0, 1, 0, 0, 1, 1, 1, 0, 1, 0, 1, 1, 1, 0, 1, 1},
    {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1},
};
enum { MASKS = sizeof masks / sizeof *masks };

static void *options_of(quant_rig *r, const ts_quantizer_kind *kind, const char *text)
{
    return quant_rig_options(r, kind, text, "");
}

/* What some steps of training come to. Losses and gradients are of sum(losses) + sum(codes * weights). */
typedef struct {
    int64_t rows, width, groups;
    int loss_count, statistic_count;
    float codes[ROWS * MAX_WIDTH], dz[ROWS * MAX_WIDTH], losses[TS_MAX_LOSSES], gradient[MAX_STATE];
    int32_t ids[ROWS * 8];
    bool has_ids;
    int variables;
    struct {
        char path[64];
        int64_t count;
        float *value;
    } state[MAX_VARIABLES];
} outcome;

static void clear(outcome *o)
{
    for (int i = 0; i < o->variables; i++)
        ts_free(o->state[i].value);
    ts_free(o);
}

typedef struct {
    ts_value z, weights, mask;
} operands;

static operands make_operands(quant_rig *r, int64_t items, int64_t tokens, int64_t width, bool masked)
{
    operands in = {.z = ts_input(r->graph, "z", TS_F32, ts_shape_of(items, tokens, width)), .mask = TS_ABSENT};
    in.weights = ts_input(r->graph, "weights", TS_F32, ts_shape_of(items, tokens, width));
    if (masked)
        in.mask = r->scope.mask = ts_input(r->graph, "mask", TS_F32, ts_shape_of(items, tokens));
    return in;
}

static void set_operands(quant_rig *r, const operands *in, const float *z, const float *weights, const float *mask)
{
    ts_program_set(r->program, in->z, z);
    if (weights)
        ts_program_set(r->program, in->weights, weights);
    if (in->mask.graph)
        ts_program_set(r->program, in->mask, mask);
}

/* The first batch's part, where the kind has one. */
static void initialise(quant_rig *r, int c, const ts_quantizer_kind *kind, ts_shape shape, const float *z,
                       const float *mask)
{
    int stages = ts_quantizer_stages(kind, options_of(r, kind, cases[c].options));
    for (int stage = 0; stage < stages; stage++) {
        quant_rig_next(r, TS_TRAIN);
        operands in = make_operands(r, shape.dim[0], shape.dim[1], shape.dim[2], mask != NULL);
        ts_quantizer_init(kind, r->scope, options_of(r, kind, cases[c].options), in.z, stage);
        quant_rig_plan(r);
        set_operands(r, &in, z, NULL, mask);
        quant_rig_run(r);
    }
}

static void read_state(quant_rig *r, outcome *o)
{
    o->variables = ts_store_count(r->store);
    cr_assert_leq(o->variables, MAX_VARIABLES);
    for (int i = 0; i < o->variables; i++) {
        const ts_variable *v = ts_store_at(r->store, i);
        snprintf(o->state[i].path, sizeof o->state[i].path, "%s", v->path);
        o->state[i].count = ts_shape_count(v->type.shape);
        o->state[i].value = quant_rig_state(r, v->path);
    }
}

/* Adds the step to the rig's graph: forward, the gradient to z and to the parameters, update. */
static ts_quantized build_step(quant_rig *r, const ts_quantizer_kind *kind, const void *options, const operands *in,
                               ts_value gradient[2])
{
    ts_quantized q;
    ts_error err = {0};
    ts_value statistics[TS_MAX_STATISTICS], wrt[2] = {in->z, TS_ABSENT};
    ts_quantize(kind, r->scope, options, in->z, &q);
    ts_value total = ts_sum_all(ts_mul(q.codes, in->weights));
    if (q.loss_count)
        total = ts_add(total, ts_quantized_total(&q));
    cr_assert_eq(ts_graph_check(r->graph, &err), TS_OK, "%s: %s", kind->name, err.text);
    if (!ts_store_sealed(r->store))
        cr_assert_eq(ts_store_seal(r->store, r->device, 7, &err), TS_OK, "%s", err.text);
    for (int32_t v = 0; v < r->graph->value_count; v++)
        if (r->graph->values[v].variable && r->graph->values[v].variable->role != TS_ROLE_STATE)
            wrt[1] = ts_value_at(r->graph, v);
    ts_differentiate(total, wrt[1].graph ? 2 : 1, wrt, gradient);
    for (int i = 0; i < q.statistic_count; i++)
        statistics[i] = q.statistics[i].value;
    ts_quantizer_update(kind, r->scope, options, statistics, q.statistic_count, TS_ABSENT);
    ts_output(q.codes, "codes");
    ts_output(gradient[0], "dz");
    if (wrt[1].graph)
        ts_output(gradient[1], "gradient");
    if (q.ids.graph)
        ts_output(q.ids, "ids");
    for (int i = 0; i < q.loss_count; i++)
        ts_output(q.losses[i].value, q.losses[i].name);
    return q;
}

static void read_results(quant_rig *r, const ts_quantized *q, const ts_value gradient[2], outcome *o)
{
    ts_program_get(r->program, q->codes, o->codes);
    ts_program_get(r->program, gradient[0], o->dz);
    if (gradient[1].graph)
        ts_program_get(r->program, gradient[1], o->gradient);
    o->has_ids = q->ids.graph;
    if (o->has_ids) {
        o->groups = ts_dim(q->ids, -1);
        ts_program_get(r->program, q->ids, o->ids);
    }
    for (int i = 0; i < q->loss_count; i++)
        ts_program_get(r->program, q->losses[i].value, &o->losses[i]);
}

static outcome *run(int c, ts_shape shape, const float *z, const float *weights, const float *mask, int steps)
{
    const ts_quantizer_kind *kind = ts_quantizer_find(cases[c].kind);
    outcome *o = ts_calloc(1, sizeof *o);
    quant_rig r;
    ts_value gradient[2] = {TS_ABSENT, TS_ABSENT};
    quant_rig_open(&r, TS_TRAIN);
    cr_assert_not_null(o);
    operands in = make_operands(&r, shape.dim[0], shape.dim[1], shape.dim[2], mask != NULL);
    build_step(&r, kind, options_of(&r, kind, cases[c].options), &in, gradient); /* makes the store */
    initialise(&r, c, kind, shape, z, mask);
    quant_rig_next(&r, TS_TRAIN);
    in = make_operands(&r, shape.dim[0], shape.dim[1], shape.dim[2], mask != NULL);
    ts_quantized q = build_step(&r, kind, options_of(&r, kind, cases[c].options), &in, gradient);
    quant_rig_plan(&r);
    for (int step = 0; step < steps; step++) {
        set_operands(&r, &in, z, weights, mask);
        ts_program_set(r.program, r.scope.random, (int64_t[]){3, step});
        quant_rig_run(&r);
    }
    o->rows = shape.dim[0] * shape.dim[1];
    o->width = shape.dim[2];
    o->loss_count = q.loss_count;
    read_state(&r, o);
    if (steps)
        read_results(&r, &q, gradient, o);
    quant_rig_close(&r);
    return o;
}
static float draw(uint64_t stream, int64_t i)
{
    return ts_random_normal((ts_random_key){11, stream}, 0, (uint64_t)i);
}

static void expect_near(const float *found, const float *wanted, int64_t count, const char *what, const char *label)
{
    double largest = 1e-3;
    for (int64_t i = 0; i < count; i++)
        largest = fmax(largest, fabs((double)wanted[i]));
    for (int64_t i = 0; i < count; i++)
        cr_assert(fabs((double)found[i] - (double)wanted[i]) <= 1e-5 * largest, "%s of %s: element %d is %g, wanted %g",
                  what, label, (int)i, (double)found[i], (double)wanted[i]);
}

/* Row n of the padded batch against the next row of the valid ones, or against nothing. */
static void expect_rows(const outcome *padded, const outcome *valid, const float *mask, const char *label)
{
    const int64_t width = padded->width, groups = padded->groups;
    int64_t at = 0;
    for (int64_t n = 0; n < padded->rows; n++) {
        bool counts = mask[n] != 0;
        for (int64_t d = 0; d < width; d++) {
            cr_expect_eq(padded->codes[n * width + d], counts ? valid->codes[at * width + d] : 0, "%s: code %d", label,
                         (int)n);
            if (!counts)
                cr_expect_eq(padded->dz[n * width + d], 0, "%s: gradient of row %d", label, (int)n);
        }
        for (int64_t g = 0; g < groups; g++)
            cr_expect_eq(padded->ids[n * groups + g], counts ? valid->ids[at * groups + g] : -1, "%s: id %d", label,
                         (int)n);
        if (counts)
            expect_near(padded->dz + n * width, valid->dz + at * width, width, "the gradient to z", label);
        at += counts;
    }
    cr_assert_eq(at, valid->rows);
}

static void expect_same(const outcome *padded, const outcome *valid, const float *mask, const char *label)
{
    expect_rows(padded, valid, mask, label);
    cr_assert(padded->loss_count == valid->loss_count && padded->has_ids == valid->has_ids);
    expect_near(padded->losses, valid->losses, valid->loss_count, "losses", label);
    expect_near(padded->gradient, valid->gradient, MAX_STATE, "the gradient of the parameters", label);
    cr_assert_eq(padded->variables, valid->variables);
    for (int i = 0; i < valid->variables; i++) {
        cr_assert_str_eq(padded->state[i].path, valid->state[i].path);
        expect_near(padded->state[i].value, valid->state[i].value, valid->state[i].count, valid->state[i].path, label);
    }
}

static void check(int c, const float *mask)
{
    static float z[ROWS * MAX_WIDTH], weights[ROWS * MAX_WIDTH], valid_z[ROWS * MAX_WIDTH],
        valid_weights[ROWS * MAX_WIDTH];
    const ts_quantizer_kind *kind = ts_quantizer_find(cases[c].kind);
    quant_rig r;
    ts_error err = {0};
    ts_quantizer_info info;
    char label[160];
    quant_rig_open(&r, TS_TRAIN);
    cr_assert_eq(ts_quantizer_describe(kind, options_of(&r, kind, cases[c].options), &info, &err), TS_OK, "%s",
                 err.text);
    quant_rig_close(&r);
    cr_assert_leq(info.width, MAX_WIDTH);
    snprintf(label, sizeof label, "%s %s", cases[c].kind, cases[c].options);
    int64_t valid = 0;
    for (int64_t n = 0; n < ROWS; n++) {
        for (int64_t d = 0; d < info.width; d++) {
            int64_t i = n * info.width + d;
            z[i] = mask[n] != 0 ? draw(1, i) : 1000 + 7 * draw(2, i);
            weights[i] = draw(3, i);
            valid_z[valid * info.width + d] = z[i];
            valid_weights[valid * info.width + d] = weights[i];
        }
        valid += mask[n] != 0;
    }
    outcome *padded = run(c, ts_shape_of(ITEMS, TOKENS, info.width), z, weights, mask, STEPS);
    outcome *alone = run(c, ts_shape_of(1, valid, info.width), valid_z, valid_weights, NULL, STEPS);
    expect_same(padded, alone, mask, label);
    clear(padded);
    clear(alone);
}

Test(quant_mask, a_padded_batch_is_its_valid_tokens)
{
    int checked = 0;
    for (int c = 0; c < CASES; c++)
        for (int m = 0; m < MASKS; m++, checked++)
            check(c, masks[m]);
    cr_assert_geq(checked, 52);
}

/* Losses and gradients are 0, and no state moves. */
Test(quant_mask, no_token_counts)
{
    static const float none[ROWS] = {0}, z[ROWS * MAX_WIDTH] = {[3] = 5, [20] = -4};
    int with_state = 0;
    for (int c = 0; c < CASES; c++) {
        const ts_quantizer_kind *kind = ts_quantizer_find(cases[c].kind);
        quant_rig r;
        ts_quantizer_info info;
        ts_error err = {0};
        quant_rig_open(&r, TS_TRAIN);
        cr_assert_eq(ts_quantizer_describe(kind, options_of(&r, kind, cases[c].options), &info, &err), TS_OK, "%s",
                     err.text);
        quant_rig_close(&r);
        outcome *o = run(c, ts_shape_of(ITEMS, TOKENS, info.width), z, z, none, STEPS);
        for (int64_t i = 0; i < ROWS * info.width; i++)
            cr_assert(o->codes[i] == 0 && o->dz[i] == 0);
        for (int64_t i = 0; i < ROWS * o->groups; i++)
            cr_assert_eq(o->ids[i], -1);
        for (int i = 0; i < o->loss_count; i++)
            cr_assert_eq(o->losses[i], 0);
        for (int i = 0; i < MAX_STATE; i++)
            cr_assert_eq(o->gradient[i], 0);
        outcome *again = run(c, ts_shape_of(ITEMS, TOKENS, info.width), z, z, none, 0);
        for (int i = 0; i < o->variables; i++)
            cr_assert_arr_eq(o->state[i].value, again->state[i].value,
                             (size_t)o->state[i].count * sizeof *o->state[i].value, "%s of %s", o->state[i].path,
                             cases[c].kind);
        with_state += o->variables > 0;
        clear(o);
        clear(again);
    }
    cr_assert_geq(with_state, 10);
}

/* A dead code waits for a row: it is not taken to the origin by a batch without tokens. */
Test(quant_mask, dead_codes_stay_where_no_token_counts)
{
    enum { K = 4, D = 2, N = 3 };
    const ts_quantizer_kind *kind = ts_quantizer_find("vector_reset");
    quant_rig r;
    ts_quantized q;
    ts_value statistics[TS_MAX_STATISTICS];
    quant_rig_open(&r, TS_TRAIN);
    operands in = make_operands(&r, 1, N, D, true);
    void *options = options_of(&r, kind, "codes=4 dim=2 decay=0.5 threshold=2");
    ts_quantize(kind, r.scope, options, in.z, &q);
    for (int i = 0; i < q.statistic_count; i++)
        statistics[i] = q.statistics[i].value;
    ts_error err = {0};
    cr_assert_eq(ts_store_seal(r.store, r.device, 7, &err), TS_OK, "%s", err.text);
    ts_quantizer_update(kind, r.scope, options, statistics, q.statistic_count, TS_ABSENT);
    ts_output(statistics[2], "rows");
    quant_rig_plan(&r);
    const float codebook[K * D] = {1, 2, 3, 4, 5, 6, 7, 8};
    ts_store_set(r.store, ts_store_find(r.store, "codebook"), TS_BLOCK_VALUE, codebook);
    set_operands(&r, &in, (float[N * D]){9, 9, 9, 9, 9, 9}, NULL, (float[N]){0, 0, 0});
    quant_rig_run(&r); /* the counts are 1: every code is dead */
    float *after = quant_rig_state(&r, "codebook"), *rows = quant_rig_read(&r, statistics[2]);
    cr_assert_arr_eq(after, codebook, sizeof codebook);
    cr_assert_arr_eq(rows, codebook, sizeof codebook, "of the last micro-batch of several");
    ts_free(rows);
    ts_free(after);
    set_operands(&r, &in, (float[N * D]){9, 9, 8, 7, 9, 9}, NULL, (float[N]){0, 1, 0});
    quant_rig_run(&r);
    after = quant_rig_state(&r, "codebook");
    for (int k = 0; k < K; k++)
        cr_expect(fabsf(after[k * D] - 8) < 0.1f && fabsf(after[k * D + 1] - 7) < 0.1f, "code %d: %g %g", k,
                  (double)after[k * D], (double)after[k * D + 1]);
    ts_free(after);
    quant_rig_close(&r);
}

Test(quant_mask, a_mask_of_another_shape_is_refused)
{
    for (int c = 0; c < CASES; c++) {
        const ts_quantizer_kind *kind = ts_quantizer_find(cases[c].kind);
        quant_rig r;
        ts_quantized q;
        ts_quantizer_info info;
        ts_error err = {0};
        quant_rig_open(&r, TS_TRAIN);
        const void *options = options_of(&r, kind, cases[c].options);
        cr_assert_eq(ts_quantizer_describe(kind, options, &info, &err), TS_OK, "%s", err.text);
        r.scope.mask = ts_input(r.graph, "mask", TS_F32, ts_shape_of(TOKENS, ITEMS));
        ts_quantize(kind, r.scope, options, ts_input(r.graph, "z", TS_F32, ts_shape_of(ITEMS, TOKENS, info.width)), &q);
        quant_rig_expect_error(&r, "mask: is f32 [7, 3] for");
        quant_rig_close(&r);
    }
}
