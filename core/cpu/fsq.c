/* Finite scalar quantization in one pass over memory. The constants of a dim are laid out over a block of 16 rows, so
 * that the loops run along the memory whatever D is; with 10^6 rows of 4 it is bound by bandwidth. The steps are those
 * of core/fsq.h in the same order; tanh is our own, so that a number within two units in the last place of a decision
 * boundary may fall on its other side. */
#include "core/fsq.h"

#include "core/cpu/simd.h"
#include "core/cpu/vmath.h"

enum { ROWS = 16, BLOCK = ROWS * TS_MAX_LEVELS, CHUNK = 4096 };

typedef struct {
    int D;
    bool symmetric, hard_clamp;
    float width[BLOCK], offset[BLOCK], shift[BLOCK], slope[BLOCK];
    int32_t top[BLOCK];                                 /* L - 1 */
    int32_t half[BLOCK], basis[BLOCK];                  /* half: 0 if symmetric */
    float numerator[BLOCK], low[BLOCK], divisor[BLOCK]; /* code = (numerator * k - low) / divisor */
} pattern;

static void make_pattern(pattern *p, const ts_desc *d)
{
    ts_fsq_table f;
    ts_fsq_table_init(&f, &d->attr.fsq, NULL); /* was checked when the graph was built */
    p->D = f.count;
    p->symmetric = f.symmetric;
    p->hard_clamp = f.hard_clamp;
    for (int at = 0; at < ROWS * f.count; at++) {
        int i = at % f.count, top = f.level[i] - 1;
        p->width[at] = f.width[i];
        p->offset[at] = f.offset[i];
        p->shift[at] = f.shift[i];
        p->slope[at] = f.slope[i];
        p->top[at] = top;
        p->half[at] = f.symmetric ? 0 : f.half[i];
        p->basis[at] = f.basis[i];
        p->numerator[at] = f.symmetric ? 2 : 1;
        p->low[at] = (float)(f.symmetric ? top : f.half[i]);
        p->divisor[at] = (float)(f.symmetric ? top : f.half[i]);
    }
}

static inline float clamp(float x)
{
    x = x < -1.0f ? -1.0f : x;
    return x > 1.0f ? 1.0f : x;
}

/* z [n] -> t [n] */
static inline void squash(float *t, const float *z, const pattern *p, int n)
{
    if (p->hard_clamp)
        for (int i = 0; i < n; i++)
            t[i] = clamp(z[i] + p->shift[i]);
    else
        for (int i = 0; i < n; i++)
            t[i] = ts_vtanh(z[i] + p->shift[i]);
}

/* t [n] -> level indices k [n]; a NaN counts as 0 here. Adding and taking away 1.5 * 2^23 rounds half to even. */
static inline void find_levels(int32_t *k, const float *t, const pattern *p, int n)
{
    const float round = 0x1.8p23f;
    for (int i = 0; i < n; i++) {
        float x = t[i] == t[i] ? t[i] : 0.0f;
        float r = p->symmetric ? p->width[i] * (x + 1.0f) + 0.5f : (p->width[i] * x - p->offset[i] + round) - round;
        int32_t level = (int32_t)r + p->half[i];
        level = level < 0 ? 0 : level;
        k[i] = level > p->top[i] ? p->top[i] : level;
    }
}

/* The codes of k [n], and k * basis into k; true where one of t is NaN: its code is NaN too. */
static inline bool find_codes(float *codes, int32_t *k, const float *t, const pattern *p, int n)
{
    int bad = 0;
    for (int i = 0; i < n; i++) {
        float code = (p->numerator[i] * (float)k[i] - p->low[i]) / p->divisor[i];
        codes[i] = t[i] == t[i] ? code : t[i];
        bad |= t[i] != t[i];
        k[i] *= p->basis[i];
    }
    return bad;
}

static void mark_bad_rows(int32_t *ids, const float *codes, int rows, int D)
{
    for (int r = 0; r < rows; r++)
        for (int i = 0; i < D; i++)
            if (codes[r * D + i] != codes[r * D + i])
                ids[r] = -1;
}

/* z [N, D] -> codes [N, D], ids [N] */
TS_SIMD static void quantize(float *restrict codes, int32_t *restrict ids, const float *restrict z, const pattern *p,
                             int64_t N)
{
    int D = p->D;
    int32_t k[BLOCK];
    float t[BLOCK];
    for (int64_t first = 0; first < N; first += ROWS) {
        int rows = N - first < ROWS ? (int)(N - first) : ROWS, n = rows * D;
        squash(t, z + first * D, p, n);
        find_levels(k, t, p, n);
        bool bad = find_codes(codes + first * D, k, t, p, n);
        for (int r = 0; r < rows; r++)
            ids[first + r] = k[r * D];
        for (int i = 1; i < D; i++)
            for (int r = 0; r < rows; r++)
                ids[first + r] += k[r * D + i];
        if (bad)
            mark_bad_rows(ids + first, codes + first * D, rows, D);
    }
}

/* dz may be dcodes: the loops say that they carry nothing from one element to the next. */
TS_SIMD static void quantize_dx(float *dz, const float *dcodes, const float *z, const pattern *p, int64_t N)
{
    for (int64_t first = 0; first < N; first += ROWS) {
        int n = (int)(N - first < ROWS ? N - first : ROWS) * p->D;
        float *to = dz + first * p->D;
        const float *g = dcodes + first * p->D, *x = z + first * p->D;
        if (p->hard_clamp) {
#pragma omp simd
            for (int i = 0; i < n; i++) {
                float at = x[i] + p->shift[i];
                to[i] = g[i] * (clamp(at) == at ? p->slope[i] : 0.0f);
            }
        } else {
#pragma omp simd
            for (int i = 0; i < n; i++) {
                float t = ts_vtanh(x[i] + p->shift[i]);
                to[i] = g[i] * (p->slope[i] * (1.0f - t * t));
            }
        }
    }
}

static int64_t rows_of(const ts_call *call)
{
    return ts_shape_count(call->desc->in[0].shape) / call->desc->attr.fsq.count;
}

static void run_quantize(const ts_call *call)
{
    pattern p;
    int64_t N = rows_of(call), D = call->desc->attr.fsq.count;
    make_pattern(&p, call->desc);
#pragma omp parallel for schedule(static) num_threads(ts_cpu_threads(call, N *D))
    for (int64_t first = 0; first < N; first += CHUNK)
        quantize((float *)call->out[0] + first * D, (int32_t *)call->out[1] + first,
                 (const float *)call->in[0] + first * D, &p, N - first < CHUNK ? N - first : CHUNK);
}

static void run_quantize_dx(const ts_call *call)
{
    pattern p;
    int64_t N = rows_of(call), D = call->desc->attr.fsq.count;
    make_pattern(&p, call->desc);
#pragma omp parallel for schedule(static) num_threads(ts_cpu_threads(call, N *D))
    for (int64_t first = 0; first < N; first += CHUNK)
        quantize_dx((float *)call->out[0] + first * D, (const float *)call->in[0] + first * D,
                    (const float *)call->in[1] + first * D, &p, N - first < CHUNK ? N - first : CHUNK);
}

const ts_kernel ts_cpu_fsq = {.name = "simd", .run = run_quantize};
const ts_kernel ts_cpu_fsq_dx = {.name = "simd", .run = run_quantize_dx};
