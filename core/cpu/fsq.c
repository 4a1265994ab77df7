/* Finite scalar quantization in one pass over memory. A number's level grows with it, so that few levels are counted:
 * the level is the number of bounds, found once where the reference's level changes (core/fsq.h), that z does not fall
 * short of; there is no tanh to compute, and no level differs from the reference's. With more levels the steps are
 * those of core/fsq.h in the same order; tanh is our own, so that a number within two units in the last place of a
 * decision boundary may fall on its other side. What a dim needs is laid out over a block of 16 rows, so that the
 * loops run along the memory whatever D is; with 10^6 rows of 4 it is bound by bandwidth. */
#include "core/fsq.h"

#include <string.h>

#include "core/cpu/simd.h"
#include "core/cpu/vmath.h"
#include "core/memory.h"

enum { ROWS = 16, BLOCK = ROWS * TS_MAX_LEVELS, CHUNK = 4096, STEPS = 15 };

typedef float lanes __attribute__((vector_size(ROWS * sizeof(float)), aligned(4)));
typedef int32_t lanes_i __attribute__((vector_size(ROWS * sizeof(int32_t)), aligned(4)));
typedef uint32_t lanes_u __attribute__((vector_size(ROWS * sizeof(uint32_t)), aligned(4))); /* sums that wrap */

/* ROWS neighbouring numbers of a block of rows: the least z of each level but the first, NaN for what is no level of a
 * dim; the bits of the first code, and what has to be added to them from level to level. */
typedef struct {
    lanes least[STEPS];
    lanes_u more[STEPS], first;
    lanes_i basis;
} stairs;

/* Prepared. */
typedef struct {
    int D, steps; /* steps: the most levels of a dim less one; 0: too many to count */
    bool symmetric, hard_clamp;
    float width[BLOCK], offset[BLOCK], shift[BLOCK], slope[BLOCK];
    int32_t top[BLOCK];                                 /* L - 1 */
    int32_t half[BLOCK], basis[BLOCK];                  /* half: 0 if symmetric */
    float numerator[BLOCK], low[BLOCK], divisor[BLOCK]; /* code = (numerator * k - low) / divisor */
    stairs stairs[TS_MAX_LEVELS];
} pattern;

/* Floats in their order as integers: minus infinity is the least, infinity its negative. */
static float float_at(int32_t place)
{
    const uint32_t magnitude = place < 0 ? (uint32_t)-place - 1 : (uint32_t)place;
    return ts_float_of(magnitude | (place < 0 ? 0x80000000u : 0));
}

/* The least number of dim i whose level is k or more; NaN: there is none. */
static float least_of(const ts_fsq_table *f, int i, int32_t k)
{
    const int32_t infinite = 0x7f800000;
    int32_t below = -infinite - 2, at = infinite;
    if (ts_fsq_level(f, i, ts_fsq_squash(f, i, float_at(at))) < k)
        return NAN;
    while ((int64_t)at - below > 1) {
        const int32_t middle = (int32_t)(((int64_t)at + below) / 2);
        const bool reached = ts_fsq_level(f, i, ts_fsq_squash(f, i, float_at(middle))) >= k;
        at = reached ? middle : at;
        below = reached ? below : middle;
    }
    return float_at(at);
}

/* What level j of dim i is, wherever that dim lies in a block of rows. */
static void make_step(pattern *p, const ts_fsq_table *f, int i, int j)
{
    const bool is_level = j < f->level[i];
    const float least = is_level ? least_of(f, i, j) : NAN;
    const uint32_t code = is_level ? ts_bits_of(ts_fsq_code(f, i, j)) : 0,
                   before = is_level ? ts_bits_of(ts_fsq_code(f, i, j - 1)) : 0;
    for (int at = i; at < ROWS * f->count; at += f->count) {
        p->stairs[at / ROWS].least[j - 1][at % ROWS] = least;
        p->stairs[at / ROWS].more[j - 1][at % ROWS] = code - before;
    }
}

static void make_stairs(pattern *p, const ts_fsq_table *f)
{
    for (int i = 0; i < f->count; i++)
        p->steps = f->level[i] - 1 > p->steps ? f->level[i] - 1 : p->steps;
    if (p->steps > STEPS)
        p->steps = 0;
    for (int at = 0; at < ROWS * f->count; at++) {
        p->stairs[at / ROWS].first[at % ROWS] = ts_bits_of(ts_fsq_code(f, at % f->count, 0));
        p->stairs[at / ROWS].basis[at % ROWS] = f->basis[at % f->count];
    }
    for (int i = 0; i < f->count; i++)
        for (int j = 1; j <= p->steps; j++)
            make_step(p, f, i, j);
}

static void make_pattern(pattern *p, const ts_desc *d)
{
    ts_fsq_table f;
    ts_fsq_table_init(&f, &d->attr.fsq, NULL); /* was checked when the graph was built */
    p->D = f.count;
    p->steps = 0;
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
    if (d->op == TS_OP_fsq)
        make_stairs(p, &f);
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

/* The codes of z, 16 numbers, and their parts of the ids; `bad` where one is NaN: its code is NaN too. */
static inline __attribute__((always_inline)) void climb(lanes *codes, lanes_i *parts, lanes_i *bad, const lanes *z,
                                                        const stairs *s, int steps)
{
    lanes_u code = s->first;
    lanes_i part = {0};
    for (int j = 0; j < steps; j++) {
        const lanes_i reached = *z >= s->least[j];
        code += (lanes_u)reached & s->more[j];
        part += reached & s->basis;
    }
    const lanes_i none = ((lanes_i)*z & 0x7fffffff) > 0x7f800000; /* NaN */
    *codes = (lanes)((lanes_u)(none & (lanes_i)*z) | code);
    *parts = part;
    *bad |= none;
}

static inline bool is_any(const lanes_i *bad)
{
    uint64_t two[ROWS / 2], any = 0;
    memcpy(two, bad, sizeof two);
    for (int i = 0; i < ROWS / 2; i++)
        any |= two[i];
    return any;
}

/* parts [ROWS, D] -> ids [ROWS], D a constant where this is inlined */
static inline __attribute__((always_inline)) void add_parts(int32_t *ids, const int32_t *parts, const int D)
{
    for (int r = 0; r < ROWS; r++) {
        int32_t id = 0;
        for (int i = 0; i < D; i++)
            id += parts[r * D + i];
        ids[r] = id;
    }
}

/* A block of ROWS rows. */
static inline __attribute__((always_inline)) void climb_rows(float *codes, int32_t *ids, const float *z,
                                                             const pattern *p)
{
    int32_t parts[BLOCK];
    lanes_i bad = {0};
    for (int v = 0; v < p->D; v++)
        climb((lanes *)codes + v, (lanes_i *)parts + v, &bad, (const lanes *)z + v, &p->stairs[v], p->steps);
    switch (p->D) {
    case 3:
        add_parts(ids, parts, 3);
        break;
    case 4:
        add_parts(ids, parts, 4);
        break;
    case 5:
        add_parts(ids, parts, 5);
        break;
    default:
        add_parts(ids, parts, p->D);
    }
    if (is_any(&bad))
        mark_bad_rows(ids, codes, ROWS, p->D);
}

/* z [N, D] -> codes [N, D], ids [N] */
TS_SIMD static void count_levels(float *codes, int32_t *ids, const float *z, const pattern *p, int64_t N)
{
    const int D = p->D;
    int64_t n = 0;
    for (; n + ROWS <= N; n += ROWS)
        climb_rows(codes + n * D, ids + n, z + n * D, p);
    if (n == N)
        return;
    float last[BLOCK] = {0}, last_codes[BLOCK];
    int32_t last_ids[ROWS];
    memcpy(last, z + n * D, (size_t)((N - n) * D) * sizeof *z);
    climb_rows(last_codes, last_ids, last, p);
    memcpy(codes + n * D, last_codes, (size_t)((N - n) * D) * sizeof *codes);
    memcpy(ids + n, last_ids, (size_t)(N - n) * sizeof *ids);
}

/* z [N, D] -> codes [N, D], ids [N] */
TS_SIMD static void compute_levels(float *restrict codes, int32_t *restrict ids, const float *restrict z,
                                   const pattern *p, int64_t N)
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
            for (int i = 0; i < n; i++)
                to[i] = g[i] * (p->slope[i] * ts_vsech2(x[i] + p->shift[i]));
        }
    }
}

static ts_status prepare(const ts_desc *d, ts_device *device, void **prepared, size_t *scratch, ts_error *err)
{
    (void)device, (void)scratch;
    pattern *p = ts_alloc(sizeof *p);
    if (!p)
        return ts_out_of_memory(err, sizeof *p);
    make_pattern(p, d);
    *prepared = p;
    return TS_OK;
}

static int64_t rows_of(const ts_call *call)
{
    return ts_shape_count(call->desc->in[0].shape) / call->desc->attr.fsq.count;
}

static void run_quantize(const ts_call *call)
{
    const pattern *p = call->prepared;
    const int64_t N = rows_of(call), D = p->D;
#pragma omp parallel for schedule(static) num_threads(ts_cpu_threads(call, N *D))
    for (int64_t first = 0; first < N; first += CHUNK)
        (p->steps ? count_levels : compute_levels)((float *)call->out[0] + first * D, (int32_t *)call->out[1] + first,
                                                   (const float *)call->in[0] + first * D, p,
                                                   N - first < CHUNK ? N - first : CHUNK);
}

static void run_quantize_dx(const ts_call *call)
{
    const pattern *p = call->prepared;
    const int64_t N = rows_of(call), D = p->D;
#pragma omp parallel for schedule(static) num_threads(ts_cpu_threads(call, N *D))
    for (int64_t first = 0; first < N; first += CHUNK)
        quantize_dx((float *)call->out[0] + first * D, (const float *)call->in[0] + first * D,
                    (const float *)call->in[1] + first * D, p, N - first < CHUNK ? N - first : CHUNK);
}

const ts_kernel ts_cpu_fsq = {.name = "simd", .prepare = prepare, .release = ts_free, .run = run_quantize};
const ts_kernel ts_cpu_fsq_dx = {.name = "simd", .prepare = prepare, .release = ts_free, .run = run_quantize_dx};
