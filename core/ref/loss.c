/* Losses that are ops of their own; the others are compositions (autograd/loss.h). */
#include <math.h>

#include "core/op.h"
#include "core/ref/ref.h"

/* mean((x - y)^2) over n elements */
static double mse(const real *x, const real *y, int64_t n)
{
    double sum = 0;
    for (int64_t i = 0; i < n; i++) {
        double d = (double)x[i] - y[i];
        sum += d * d;
    }
    return sum / (double)n;
}

void REF(mse)(const ts_call *call)
{
    *(real *)call->out[0] = (real)mse(call->in[0], call->in[1], ts_shape_count(call->desc->in[0].shape));
}

/* dx = dloss * 2/n * (x - y) */
static void mse_dx(real *dx, double dloss, const real *x, const real *y, int64_t n)
{
    double scale = dloss * 2 / (double)n;
    for (int64_t i = 0; i < n; i++)
        dx[i] = (real)(scale * ((double)x[i] - y[i]));
}

void REF(mse_dx)(const ts_call *call)
{
    mse_dx(call->out[0], *(const real *)call->in[0], call->in[1], call->in[2], ts_shape_count(call->desc->in[1].shape));
}

/* What cross_entropy and its gradient share: logits [N, C], target [N]. */
typedef struct {
    const real *logits;
    const int32_t *target;
    int64_t N, C;
    bool ignore;
    int64_t ignore_index;
    double smoothing;
} problem;

static problem problem_of(const ts_attr *attr, const ts_shape *shape, const real *logits, const int32_t *target)
{
    return (problem){.logits = logits,
                     .target = target,
                     .N = shape->dim[0],
                     .C = shape->dim[1],
                     .ignore = attr->loss.ignore,
                     .ignore_index = attr->loss.ignore_index,
                     .smoothing = attr->loss.smoothing};
}

static bool counts(const problem *p, int64_t n)
{
    return !(p->ignore && p->target[n] == p->ignore_index);
}

static bool in_range(const problem *p, int64_t n)
{
    return p->target[n] >= 0 && p->target[n] < p->C;
}

static int64_t counted(const problem *p)
{
    int64_t count = 0;
    for (int64_t n = 0; n < p->N; n++)
        count += counts(p, n);
    return count;
}

static double log_sum_exp(const real *x, int64_t C)
{
    double max = -INFINITY, sum = 0;
    for (int64_t c = 0; c < C; c++)
        max = x[c] > max ? x[c] : max;
    for (int64_t c = 0; c < C; c++)
        sum += exp(x[c] - max);
    return max + log(sum);
}

/* (1-s) * -log p[target] + s * mean(-log p); NaN for a target that is no class */
static double row_loss(const problem *p, int64_t n)
{
    if (!in_range(p, n))
        return NAN;
    const real *x = p->logits + n * p->C;
    double lse = log_sum_exp(x, p->C), all = 0;
    for (int64_t c = 0; c < p->C; c++)
        all += lse - x[c];
    double own = lse - x[p->target[n]];
    return p->smoothing > 0 ? (1 - p->smoothing) * own + p->smoothing * all / (double)p->C : own;
}

void REF(cross_entropy)(const ts_call *call)
{
    const ts_desc *d = call->desc;
    problem p = problem_of(&d->attr, &d->in[0].shape, call->in[0], call->in[1]);
    double sum = 0;
    for (int64_t n = 0; n < p.N; n++)
        sum += counts(&p, n) ? row_loss(&p, n) : 0;
    *(real *)call->out[0] = (real)(sum / (double)counted(&p));
}

/* dx [C] = scale * (softmax(x) - (1-s) * onehot(target) - s/C) */
static void row_dx(real *dx, const problem *p, int64_t n, double scale)
{
    const real *x = p->logits + n * p->C;
    double lse = log_sum_exp(x, p->C), each = p->smoothing / (double)p->C;
    for (int64_t c = 0; c < p->C; c++) {
        double own = c == p->target[n] ? 1 - p->smoothing : 0;
        dx[c] = (real)(in_range(p, n) ? scale * (exp(x[c] - lse) - own - each) : NAN);
    }
}

void REF(cross_entropy_dx)(const ts_call *call)
{
    const ts_desc *d = call->desc;
    problem p = problem_of(&d->attr, &d->in[1].shape, call->in[1], call->in[2]);
    double scale = *(const real *)call->in[0] / (double)counted(&p);
    real *dx = call->out[0];
    for (int64_t n = 0; n < p.N; n++) {
        if (counts(&p, n))
            row_dx(dx + n * p.C, &p, n, scale);
        else
            for (int64_t c = 0; c < p.C; c++)
                dx[n * p.C + c] = 0;
    }
}
