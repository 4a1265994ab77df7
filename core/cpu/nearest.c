/* Nearest codes as a tiled product with a running maximum of x.e - |e|^2/2, so that no N x K matrix exists. A panel of
 * 48 codes is packed with its norms, [1 + D, 48]; a tile of rows goes through it with all its sums in registers, then
 * each lane keeps the best sum that it has seen and whose it was. Lanes meet at the end. Where it pays a screen of
 * 8-bit products goes before (core/cpu/screen.h), and this is for what it cannot do. */
#include <math.h>
#include <string.h>

#include "core/cpu/screen.h"
#include "core/cpu/simd.h"
#include "core/memory.h"

enum { LANES = 16, VECTORS = 3, PANEL = LANES * VECTORS, BLOCK = 2048, MOST_ROWS = 8 };

typedef float lanes __attribute__((vector_size(LANES * sizeof(float)), aligned(64)));
typedef int32_t lanes_i __attribute__((vector_size(LANES * sizeof(int32_t)), aligned(64)));

/* The best of each lane for each row of a block: sum and code; code -1: none yet. */
typedef struct {
    lanes best[BLOCK];
    lanes_i code[BLOCK];
} block_state;

/* Codes first ... first + 47 of e [K, D] -> panel [1 + D, 48]; row 0 is -|e|^2/2, minus infinity where there is no code
 */
static void pack(float *panel, const float *e, int64_t K, int64_t D, int64_t first)
{
    float *norm = panel, *to = panel + PANEL;
    int64_t codes = K - first < PANEL ? K - first : PANEL;
    memset(panel, 0, (size_t)PANEL * sizeof *panel);
    for (int64_t d = 0; d < D; d++) {
        for (int64_t j = 0; j < PANEL; j++)
            to[d * PANEL + j] = j < codes ? e[(first + j) * D + d] : 0;
        for (int64_t j = 0; j < PANEL; j++)
            norm[j] += to[d * PANEL + j] * to[d * PANEL + j];
    }
    for (int64_t j = 0; j < PANEL; j++)
        norm[j] = j < codes ? -0.5f * norm[j] : -INFINITY;
}

/* Keeps the larger of `sum` and the best so far, and whose it is; the earlier one on ties, and against NaN. (Vectors go
 * by address: by value they would be part of an ABI.) */
static inline __attribute__((always_inline)) void keep(lanes *best, lanes_i *code, const lanes *sum,
                                                       const lanes_i *whose)
{
    lanes_i better = *sum > *best;
    *best = (lanes)((better & (lanes_i)*sum) | (~better & (lanes_i)*best));
    *code = (better & *whose) | (~better & *code);
}

/* `rows` rows of x [.., D], a constant where this is inlined, through the panel whose first code is `first`. */
static inline __attribute__((always_inline)) void tile(const int rows, lanes *best, lanes_i *code, const float *x,
                                                       const float *panel, int64_t D, int32_t first)
{
    lanes sum[MOST_ROWS][VECTORS];
    const lanes *p = (const lanes *)panel;
#pragma GCC unroll 8
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 3
        for (int v = 0; v < VECTORS; v++)
            sum[r][v] = p[v];
    for (int64_t d = 0; d < D; d++) {
        p += VECTORS;
#pragma GCC unroll 8
        for (int r = 0; r < rows; r++)
#pragma GCC unroll 3
            for (int v = 0; v < VECTORS; v++)
                sum[r][v] += p[v] * x[r * D + d];
    }
    const lanes_i lane = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
#pragma GCC unroll 8
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 3
        for (int v = 0; v < VECTORS; v++) {
            lanes_i whose = lane + (first + v * LANES);
            keep(&best[r], &code[r], &sum[r][v], &whose);
        }
}

/* All N rows of a block through one panel, in tiles of `rows`, then one by one. */
static inline __attribute__((always_inline)) void sweep(const int rows, block_state *s, const float *x,
                                                        const float *panel, int64_t N, int64_t D, int32_t first)
{
    int64_t n = 0;
    for (; n + rows <= N; n += rows)
        tile(rows, s->best + n, s->code + n, x + n * D, panel, D, first);
    for (; n < N; n++)
        tile(1, s->best + n, s->code + n, x + n * D, panel, D, first);
}

typedef void sweep_fn(block_state *s, const float *x, const float *panel, int64_t N, int64_t D, int32_t first);

static void sweep_baseline(block_state *s, const float *x, const float *panel, int64_t N, int64_t D, int32_t first)
{
    sweep(1, s, x, panel, N, D, first);
}

#if defined(__x86_64__)
/* As many rows as the registers hold: 2 rows of 48 sums are 12 of AVX2's 16, 8 rows 24 of AVX-512's 32. */
__attribute__((target("avx2,fma"))) static void sweep_avx2(block_state *s, const float *x, const float *panel,
                                                           int64_t N, int64_t D, int32_t first)
{
    sweep(2, s, x, panel, N, D, first);
}

__attribute__((target("avx512f,avx512dq,avx512vl,avx512bw"))) static void
sweep_avx512(block_state *s, const float *x, const float *panel, int64_t N, int64_t D, int32_t first)
{
    sweep(MOST_ROWS, s, x, panel, N, D, first);
}

static sweep_fn *pick_sweep(void)
{
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
        __builtin_cpu_supports("avx512bw"))
        return sweep_avx512;
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") ? sweep_avx2 : sweep_baseline;
}
#else
static sweep_fn *pick_sweep(void)
{
    return sweep_baseline;
}
#endif

/* The best over the lanes; the lowest code on ties; -1 where no sum was a number. */
static int32_t meet(const lanes *best, const lanes_i *code)
{
    float most = -INFINITY;
    int32_t id = -1;
    for (int i = 0; i < LANES; i++) {
        bool better = (*best)[i] > most || ((*best)[i] == most && (*code)[i] < id);
        if ((*code)[i] >= 0 && (id < 0 || better)) {
            most = (*best)[i];
            id = (*code)[i];
        }
    }
    return id;
}

/* x [N, D] with N at most BLOCK, codebook [K, D] -> ids [N] */
static void search(int32_t *ids, const float *x, const float *codebook, int64_t N, int64_t K, int64_t D, void *scratch)
{
    sweep_fn *through = pick_sweep();
    block_state *s = scratch;
    float *panel = (float *)(s + 1);
    for (int64_t n = 0; n < N; n++) {
        s->best[n] = (lanes){0} - INFINITY;
        s->code[n] = (lanes_i){0} - 1;
    }
    for (int64_t first = 0; first < K; first += PANEL) {
        pack(panel, codebook, K, D, first);
        through(s, x, panel, N, D, (int32_t)first);
    }
    for (int64_t n = 0; n < N; n++)
        ids[n] = meet(&s->best[n], &s->code[n]);
}

static size_t scratch_of_thread(int64_t D)
{
    return sizeof(block_state) + (size_t)(D + 1) * PANEL * sizeof(float);
}

/* Prepared. */
typedef struct {
    int threads; /* that there is scratch for */
    bool screened;
    size_t shared, own; /* bytes of scratch: of the screen, of a thread */
} plan;

static ts_status prepare(const ts_desc *d, ts_device *device, void **prepared, size_t *scratch, ts_error *err)
{
    const int64_t N = ts_shape_count(d->out[0].shape), K = d->in[1].shape.dim[0], D = d->in[1].shape.dim[1];
    plan *p = ts_alloc(sizeof *p);
    if (!p)
        return ts_out_of_memory(err, sizeof *p);
    *p = (plan){device->threads, ts_screen_fits(N, K, D), 0, scratch_of_thread(D)};
    if (p->screened) {
        p->shared = ts_screen_bytes(K, D);
        p->own = p->own > ts_screen_block_bytes(D) ? p->own : ts_screen_block_bytes(D);
    }
    *prepared = p;
    *scratch = p->shared + (size_t)p->threads * p->own;
    return TS_OK;
}

/* A block goes through the screen where there is one; a block that the screen cannot do is searched whole. */
static void search_block(const ts_call *call, const ts_screen *screen, int64_t first, int64_t N, void *room)
{
    const ts_shape e = call->desc->in[1].shape;
    int32_t *ids = (int32_t *)call->out[0] + first;
    const float *x = (const float *)call->in[0] + first * e.dim[1], *codebook = call->in[1];
    if (!screen || !ts_screen_search(screen, ids, x, codebook, N, room))
        search(ids, x, codebook, N, e.dim[0], e.dim[1], room);
}

/* Each thread takes an equal share of the blocks: without a screen, of at most BLOCK rows, of which it has equal ones.
 */
static void run(const ts_call *call)
{
    const ts_shape e = call->desc->in[1].shape;
    const plan *p = call->prepared;
    const int64_t N = ts_shape_count(call->desc->out[0].shape), K = e.dim[0];
    int threads = ts_cpu_threads(call, N * K);
    threads = threads < p->threads ? threads : p->threads;
    ts_screen screen;
    const bool screened =
        p->screened && ts_screen_codes(&screen, call->in[1], K, e.dim[1], call->in[0], N, call->scratch, threads);
    const int64_t share = (N + threads - 1) / threads, parts = (share + BLOCK - 1) / BLOCK;
    const int64_t rows = screened ? TS_SCREEN_ROWS : parts ? (share + parts - 1) / parts : 1;
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int t = 0; t < threads; t++) {
        const int64_t blocks = (N + rows - 1) / rows;
        for (int64_t i = blocks * t / threads; i < blocks * (t + 1) / threads; i++)
            search_block(call, screened ? &screen : NULL, i * rows, N - i * rows < rows ? N - i * rows : rows,
                         (char *)call->scratch + p->shared + (size_t)t * p->own);
    }
}

const ts_kernel ts_cpu_nearest = {.name = "simd", .prepare = prepare, .release = ts_free, .run = run};
