/* Scaled dot-product attention without the [Tq, Tk] matrix: the weight of a pair is computed again from the row's
 * logsumexp where it is needed, p = exp(scale * q.k - lse). */
#include <math.h>
#include <string.h>

#include "core/op.h"
#include "core/ref/ref.h"

/* heads = B * h; q [heads, Tq, d], k [heads, Tk, d], v [heads, Tk, dv] */
typedef struct {
    int64_t heads, Tq, Tk, d, dv;
    double scale;
    bool causal;
} sizes;

static sizes sizes_of(const ts_attr *attr, const ts_shape *q, const ts_shape *v)
{
    return (sizes){q->dim[0] * q->dim[1], q->dim[2], v->dim[2], q->dim[3], v->dim[3], attr->attention.scale,
                   attr->attention.causal};
}

/* How many keys query i sees. Causal: the last query sees all of them. */
static int64_t seen(const sizes *s, int64_t i)
{
    return s->causal ? i + 1 + s->Tk - s->Tq : s->Tk;
}

static double dot(const real *a, const real *b, int64_t n)
{
    double sum = 0;
    for (int64_t i = 0; i < n; i++)
        sum += (double)a[i] * b[i];
    return sum;
}

/* log(sum(exp(scale * q.k))) over the first `count` keys; q [d] */
static double row_lse(const real *q, const real *k, int64_t count, const sizes *s)
{
    double max = -INFINITY, sum = 0;
    for (int64_t j = 0; j < count; j++)
        max = fmax(max, s->scale * dot(q, k + j * s->d, s->d));
    for (int64_t j = 0; j < count; j++)
        sum += exp(s->scale * dot(q, k + j * s->d, s->d) - max);
    return max + log(sum);
}

static void attention_head(real *out, real *lse, const real *q, const real *k, const real *v, const sizes *s)
{
    for (int64_t i = 0; i < s->Tq; i++) {
        const real *qi = q + i * s->d;
        real *oi = out + i * s->dv;
        double l = row_lse(qi, k, seen(s, i), s);
        memset(oi, 0, (size_t)s->dv * sizeof *oi);
        for (int64_t j = 0; j < seen(s, i); j++) {
            double p = exp(s->scale * dot(qi, k + j * s->d, s->d) - l);
            for (int64_t c = 0; c < s->dv; c++)
                oi[c] += (real)(p * v[j * s->dv + c]);
        }
        lse[i] = (real)l;
    }
}

void REF(attention)(const ts_call *call)
{
    const ts_desc *d = call->desc;
    sizes s = sizes_of(&d->attr, &d->in[0].shape, &d->in[2].shape);
    real *out = call->out[0], *lse = call->out[1];
    const real *q = call->in[0], *k = call->in[1], *v = call->in[2];
    for (int64_t h = 0; h < s.heads; h++)
        attention_head(out + h * s.Tq * s.dv, lse + h * s.Tq, q + h * s.Tq * s.d, k + h * s.Tk * s.d,
                       v + h * s.Tk * s.dv, &s);
}

/* One head; dq, dk, dv are zero before. With ds = p * (dout.v - dout.out):
 *   dq += scale * ds * k,  dk += scale * ds * q,  dv += p * dout */
static void attention_head_dx(real *dq, real *dk, real *dv, const real *dout, const real *q, const real *k,
                              const real *v, const real *out, const real *lse, const sizes *s)
{
    for (int64_t i = 0; i < s->Tq; i++) {
        const real *qi = q + i * s->d, *doi = dout + i * s->dv;
        double row = dot(doi, out + i * s->dv, s->dv);
        for (int64_t j = 0; j < seen(s, i); j++) {
            const real *kj = k + j * s->d, *vj = v + j * s->dv;
            double p = exp(s->scale * dot(qi, kj, s->d) - lse[i]);
            double ds = s->scale * p * (dot(doi, vj, s->dv) - row);
            for (int64_t c = 0; c < s->d; c++) {
                dq[i * s->d + c] += (real)(ds * kj[c]);
                dk[j * s->d + c] += (real)(ds * qi[c]);
            }
            for (int64_t c = 0; c < s->dv; c++)
                dv[j * s->dv + c] += (real)(p * doi[c]);
        }
    }
}

void REF(attention_dx)(const ts_call *call)
{
    const ts_desc *d = call->desc;
    sizes s = sizes_of(&d->attr, &d->in[1].shape, &d->in[3].shape);
    const real *dout = call->in[0], *q = call->in[1], *k = call->in[2], *v = call->in[3], *out = call->in[4],
               *lse = call->in[5];
    real *dq = call->out[0], *dk = call->out[1], *dv = call->out[2];
    int64_t nq = s.Tq * s.d, nk = s.Tk * s.d, nv = s.Tk * s.dv, no = s.Tq * s.dv;
    memset(dq, 0, (size_t)(s.heads * nq) * sizeof *dq);
    memset(dk, 0, (size_t)(s.heads * nk) * sizeof *dk);
    memset(dv, 0, (size_t)(s.heads * nv) * sizeof *dv);
    for (int64_t h = 0; h < s.heads; h++)
        attention_head_dx(dq + h * nq, dk + h * nk, dv + h * nv, dout + h * no, q + h * nq, k + h * nk, v + h * nv,
                          out + h * no, lse + h * s.Tq, &s);
}
