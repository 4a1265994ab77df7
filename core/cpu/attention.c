/* Attention, one block of queries or one head at a time; the weights of a query's keys stay in the first-level cache.
 * [128, 1, 64, 512] causal on one thread against the reference: 18 : 428 ms, gradient 50 : 429. */
#include <math.h>
#include <string.h>

#include "core/cpu/simd.h"
#include "core/cpu/vmath.h"

enum { BLOCK = 16 }; /* queries that are done one after the other, in one piece of scratch */

/* heads = B * h; q [heads, Tq, d], k [heads, Tk, d], v [heads, Tk, dv] */
typedef struct {
    int64_t heads, Tq, Tk, d, dv, blocks;
    float scale;
    bool causal;
} sizes;

static sizes sizes_of(const ts_attr *attr, const ts_shape *q, const ts_shape *v)
{
    return (sizes){.heads = q->dim[0] * q->dim[1],
                   .Tq = q->dim[2],
                   .Tk = v->dim[2],
                   .d = q->dim[3],
                   .dv = v->dim[3],
                   .blocks = (q->dim[2] + BLOCK - 1) / BLOCK,
                   .scale = (float)attr->attention.scale,
                   .causal = attr->attention.causal};
}

/* Multiply-adds: what decides whether threads pay. */
static int64_t work_of(const sizes *s)
{
    return s->heads * s->Tq * s->Tk * (s->d + s->dv);
}

static inline int64_t seen(const sizes *s, int64_t i)
{
    return s->causal ? i + 1 + s->Tk - s->Tq : s->Tk;
}

static inline float dot(const float *a, const float *b, int64_t n)
{
    float sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < n; i++)
        sum += a[i] * b[i];
    return sum;
}

static inline void add_scaled(float *restrict to, const float *x, float a, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        to[i] += a * x[i];
}

/* One query against `count` keys: out [dv], and the logsumexp is returned; p [count] is scratch. */
TS_SIMD static float attend(float *out, float *p, const float *q, const float *k, const float *v, int64_t count,
                            const sizes *s)
{
    float max = -INFINITY, sum = 0;
    for (int64_t j = 0; j < count; j++)
        p[j] = s->scale * dot(q, k + j * s->d, s->d);
#pragma omp simd reduction(max : max)
    for (int64_t j = 0; j < count; j++)
        max = p[j] > max ? p[j] : max;
#pragma omp simd reduction(+ : sum)
    for (int64_t j = 0; j < count; j++) {
        p[j] = ts_vexp(p[j] - max);
        sum += p[j];
    }
    float scale = 1 / sum;
    memset(out, 0, (size_t)s->dv * sizeof *out);
    for (int64_t j = 0; j < count; j++)
        add_scaled(out, v + j * s->dv, p[j] * scale, s->dv);
    return max + logf(sum);
}

static ts_status attention_prepare(const ts_desc *d, ts_device *device, void **prepared, size_t *scratch_bytes,
                                   ts_error *err)
{
    (void)device, (void)prepared, (void)err;
    sizes s = sizes_of(&d->attr, &d->in[0].shape, &d->in[2].shape);
    *scratch_bytes = (size_t)(s.heads * s.blocks * s.Tk) * sizeof(float);
    return TS_OK;
}

static void attention(const ts_call *call)
{
    sizes s = sizes_of(&call->desc->attr, &call->desc->in[0].shape, &call->desc->in[2].shape);
    float *out = call->out[0], *lse = call->out[1], *p = call->scratch; /* [heads, blocks, Tk] */
    const float *q = call->in[0], *k = call->in[1], *v = call->in[2];
#pragma omp parallel for schedule(static) num_threads(ts_cpu_threads(call, work_of(&s)))
    for (int64_t b = 0; b < s.heads * s.blocks; b++) {
        int64_t h = b / s.blocks, first = b % s.blocks * BLOCK;
        for (int64_t i = first; i < s.Tq && i < first + BLOCK; i++) {
            int64_t row = h * s.Tq + i;
            lse[row] = attend(out + row * s.dv, p + b * s.Tk, q + row * s.d, k + h * s.Tk * s.d, v + h * s.Tk * s.dv,
                              seen(&s, i), &s);
        }
    }
}

const ts_kernel ts_cpu_attention = {.name = "simd", .prepare = attention_prepare, .run = attention};

/* One query: dq [d] is written, dk [count, d] and dv [count, dv] are added to. */
TS_SIMD static void attend_dx(float *dq, float *dk, float *dv, const float *dout, const float *q, const float *k,
                              const float *v, const float *out, float lse, int64_t count, const sizes *s)
{
    float row = dot(dout, out, s->dv);
    memset(dq, 0, (size_t)s->d * sizeof *dq);
    for (int64_t j = 0; j < count; j++) {
        const float *kj = k + j * s->d, *vj = v + j * s->dv;
        float p = ts_vexp(s->scale * dot(q, kj, s->d) - lse);
        float ds = s->scale * p * (dot(dout, vj, s->dv) - row);
        add_scaled(dq, kj, ds, s->d);
        add_scaled(dk + j * s->d, q, ds, s->d);
        add_scaled(dv + j * s->dv, dout, p, s->dv);
    }
}

static void attention_dx(const ts_call *call)
{
    const ts_desc *d = call->desc;
    sizes s = sizes_of(&d->attr, &d->in[1].shape, &d->in[3].shape);
    const float *dout = call->in[0], *q = call->in[1], *k = call->in[2], *v = call->in[3], *out = call->in[4],
                *lse = call->in[5];
    float *dq = call->out[0], *dk = call->out[1], *dv = call->out[2];
    int64_t nk = s.Tk * s.d, nv = s.Tk * s.dv;
#pragma omp parallel for schedule(static) num_threads(ts_cpu_threads(call, work_of(&s)))
    for (int64_t h = 0; h < s.heads; h++) {
        memset(dk + h * nk, 0, (size_t)nk * sizeof *dk);
        memset(dv + h * nv, 0, (size_t)nv * sizeof *dv);
        for (int64_t i = 0; i < s.Tq; i++) {
            int64_t row = h * s.Tq + i;
            attend_dx(dq + row * s.d, dk + h * nk, dv + h * nv, dout + row * s.dv, q + row * s.d, k + h * nk,
                      v + h * nv, out + row * s.dv, lse[row], seen(&s, i), &s);
        }
    }
}

const ts_kernel ts_cpu_attention_dx = {.name = "simd", .run = attention_dx};
