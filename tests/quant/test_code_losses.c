/* Losses over the codes and codes that are drawn, against the formulas in double on the host; more rows times codes
 * than are done at a time. */
#include "quant/code_losses.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "autograd/differentiate.h"
#include "autograd/node.h"
#include "autograd/ops.h"
#include "core/random.h"
#include "quant/code_sample.h"
#include "tests/quant/quant_rig.h"

enum { ITEMS = 3, D = 4, MOST = 1 << 13 };

/* A batch of ITEMS items with `places` tokens, and a codebook; every fifth token is padding where there is a mask. */
typedef struct {
    int places, rows, codes;
    bool masked, cosine;
    float x[MOST * D], e[1024 * D], mask[MOST];
} sample;

static void draw_sample(sample *s, int places, int codes, bool masked, bool cosine)
{
    *s = (sample){.places = places, .rows = ITEMS * places, .codes = codes, .masked = masked, .cosine = cosine};
    cr_assert(s->rows <= MOST && codes <= 1024);
    for (int i = 0; i < s->rows * D; i++)
        s->x[i] = ts_random_normal((ts_random_key){5, 1}, 0, (uint64_t)i);
    for (int i = 0; i < codes * D; i++)
        s->e[i] = ts_random_normal((ts_random_key){5, 2}, 0, (uint64_t)i);
    for (int n = 0; n < s->rows; n++)
        s->mask[n] = masked && n % 5 == 3 ? 0 : 1;
    if (places > 1 && masked)
        for (int b = 0; b < ITEMS; b++)
            s->mask[b * places + 1] = 0; /* a place that counts in no item */
}

static double length(const float *v)
{
    double sum = 0;
    for (int d = 0; d < D; d++)
        sum += (double)v[d] * (double)v[d];
    return sqrt(sum);
}

static double logit(const sample *s, int n, int k)
{
    const float *x = s->x + n * D, *e = s->e + k * D;
    double distance = 0, dot = 0;
    for (int d = 0; d < D; d++) {
        distance += ((double)x[d] - (double)e[d]) * ((double)x[d] - (double)e[d]);
        dot += (double)x[d] * (double)e[d];
    }
    return s->cosine ? dot / length(x) / length(e) : -sqrt(distance);
}

/* p = softmax(t * logits) of row n; returns log(sum(exp)) */
static double probabilities(const sample *s, int n, double t, double *p)
{
    double most = -INFINITY, sum = 0;
    for (int k = 0; k < s->codes; k++)
        most = fmax(most, p[k] = t * logit(s, n, k));
    for (int k = 0; k < s->codes; k++)
        sum += exp(p[k] - most);
    for (int k = 0; k < s->codes; k++)
        p[k] = exp(p[k] - most) / sum;
    return most + log(sum);
}

typedef double (*loss_fn)(const sample *s, const int32_t *ids);

static double cross_entropy(const sample *s, const int32_t *ids)
{
    static double p[1024];
    double sum = 0, count = 0;
    for (int n = 0; n < s->rows; n++) {
        if (s->mask[n] == 0)
            continue;
        sum += probabilities(s, n, 1, p) - logit(s, n, ids[n]);
        count++;
    }
    return sum / count;
}

enum { TEMPERATURE = 3 };

static double diversity(const sample *s, const int32_t *ids)
{
    static double p[1024], mean[1024];
    double sum = 0;
    int places = 0;
    (void)ids;
    for (int at = 0; at < s->places; at++) {
        double count = 0;
        memset(mean, 0, sizeof mean);
        for (int b = 0; b < ITEMS; b++) {
            int n = b * s->places + at;
            if (s->mask[n] == 0)
                continue;
            probabilities(s, n, TEMPERATURE, p);
            for (int k = 0; k < s->codes; k++)
                mean[k] += p[k];
            count++;
        }
        for (int k = 0; k < s->codes && count > 0; k++)
            sum += mean[k] / count * log(fmax(mean[k] / count, 1e-5));
        places += count > 0;
    }
    return sum / places;
}

static double orthogonal(const sample *s, const int32_t *ids)
{
    static bool met[1024];
    double sum = 0, n = 0;
    memset(met, 0, sizeof met);
    for (int i = 0; i < s->rows; i++)
        if (s->mask[i] != 0)
            met[ids[i]] = true;
    for (int i = 0; i < s->codes; i++) {
        if (!met[i])
            continue;
        n++;
        for (int j = 0; j < s->codes; j++) {
            if (!met[j])
                continue;
            double dot = 0;
            for (int d = 0; d < D; d++)
                dot += (double)s->e[i * D + d] * (double)s->e[j * D + d];
            dot /= length(s->e + i * D) * length(s->e + j * D);
            sum += dot * dot;
        }
    }
    return sum / n / n - 1 / n;
}

static const struct {
    const char *name;
    loss_fn loss;
    bool to_z, to_codebook;
} losses[] = {{"commitment", cross_entropy, true, false},
              {"diversity", diversity, true, true},
              {"orthogonal", orthogonal, false, true}};
enum { LOSSES = sizeof losses / sizeof *losses };

static void set_options(ts_vector_options *o, const sample *s)
{
    o->codes = s->codes;
    o->dim = D;
    o->cosine = s->cosine;
    o->init = TS_CODEBOOK_NORMAL;
    o->losses = (ts_code_losses_options){.cross_entropy = true,
                                         .diversity = 0.5,
                                         .diversity_temperature = TEMPERATURE,
                                         .orthogonal = 2,
                                         .orthogonal_active = true};
}

/* Central differences of the host's loss at a few numbers of `at`, which lies in the sample. */
static void expect_gradient(sample *s, int l, const int32_t *ids, float *at, int count, const float *found)
{
    for (int i = 0; i < count; i += count / 7) {
        float keep = at[i], high = keep + 1e-3f, low = keep - 1e-3f;
        at[i] = high;
        double up = losses[l].loss(s, ids);
        at[i] = low;
        double down = losses[l].loss(s, ids);
        at[i] = keep;
        double wanted = (up - down) / ((double)high - (double)low);
        cr_expect(fabs(wanted - (double)found[i]) < 2e-5 + 2e-3 * fabs(wanted),
                  "%s, %d rows, cosine %d, element %d: gradient %g, wanted %g", losses[l].name, s->rows, s->cosine, i,
                  (double)found[i], wanted);
    }
}

static void check_losses(int places, int codes, bool masked, bool cosine)
{
    static sample s;
    quant_rig r;
    ts_quantized q;
    ts_value gradient[LOSSES][2];
    draw_sample(&s, places, codes, masked, cosine);
    quant_rig_open(&r, TS_TRAIN);
    ts_vector_options *o = quant_rig_defaults(&r, &ts_vector_kind);
    set_options(o, &s);
    ts_value z = ts_input(r.graph, "z", TS_F32, ts_shape_of(ITEMS, places, D)), codebook = TS_ABSENT;
    r.scope.mask = masked ? ts_input(r.graph, "mask", TS_F32, ts_shape_of(ITEMS, places)) : TS_ABSENT;
    ts_vector_kind.build(r.scope, o, z, &q);
    for (int32_t v = 0; v < r.graph->value_count && !codebook.graph; v++)
        if (r.graph->values[v].variable)
            codebook = ts_value_at(r.graph, v);
    ts_output(q.ids, "ids");
    for (int l = 0; l < LOSSES; l++) {
        cr_assert_str_eq(q.losses[1 + l].name, losses[l].name);
        ts_output(q.losses[1 + l].value, losses[l].name);
        ts_differentiate(q.losses[1 + l].value, 2, (ts_value[]){z, codebook}, gradient[l]);
        for (int i = 0; i < 2; i++)
            if (gradient[l][i].graph)
                ts_output(gradient[l][i], "gradient");
    }
    quant_rig_plan(&r);
    ts_store_set(r.store, ts_store_find(r.store, "codebook"), TS_BLOCK_VALUE, s.e);
    ts_program_set(r.program, z, s.x);
    if (masked)
        ts_program_set(r.program, r.scope.mask, s.mask);
    quant_rig_run(&r);
    int32_t *ids = quant_rig_read(&r, q.ids);
    for (int l = 0; l < LOSSES; l++) {
        float *value = quant_rig_read(&r, q.losses[1 + l].value);
        double wanted = losses[l].loss(&s, ids);
        cr_expect(fabs((double)*value - wanted) < 1e-5 * fmax(1, fabs(wanted)), "%s of %d rows is %g, wanted %g",
                  losses[l].name, s.rows, (double)*value, wanted);
        ts_free(value);
        for (int i = 0; i < 2; i++) {
            cr_expect_eq(gradient[l][i].graph != NULL, i ? losses[l].to_codebook : losses[l].to_z, "%s",
                         losses[l].name);
            if (!gradient[l][i].graph)
                continue;
            float *found = quant_rig_read(&r, gradient[l][i]);
            expect_gradient(&s, l, ids, i ? s.e : s.x, (i ? codes : s.rows) * D, found);
            ts_free(found);
        }
    }
    ts_free(ids);
    quant_rig_close(&r);
}

Test(quant_code_losses, values_and_gradients)
{
    check_losses(1, 5, false, false);
    check_losses(7, 11, true, false);
    check_losses(7, 11, true, true);
    check_losses(700, 1000, false, false); /* in several parts */
    check_losses(700, 1000, true, true);
}
