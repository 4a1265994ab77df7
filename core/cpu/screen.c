#include "core/cpu/screen.h"

#include <math.h>
#include <string.h>

#include "core/cpu/policy.h"
#include "core/cpu/simd.h"
#include "core/cpu/vmath.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

/* TILE tokens go through a panel of codes with all their sums in registers: 24 of AVX-512's 32. */
enum { LANES = 16, VECTORS = 3, PANEL = LANES * VECTORS, TILE = 8, MOST = 80, ROOM = MOST + PANEL, GAPS = 16 };

typedef float lanes __attribute__((vector_size(LANES * sizeof(float)), aligned(4)));
typedef int32_t lanes_i __attribute__((vector_size(LANES * sizeof(int32_t)), aligned(4)));
typedef int8_t lanes_b __attribute__((vector_size(LANES), aligned(1)));

/* Squares of what is smaller are finite, and so are their sums. */
enum { MOST_DIMS = 16384 };
static const float largest_number = 1e16f;

/* For the rounding of lengths, which are sums of at most MOST_DIMS squares, and of the bound itself. */
static const float outward = 1 + 0x1p-8f;

/* PANEL codes of about the same length. (Whole lines of the cache: what lies behind them begins at one.) */
struct __attribute__((aligned(64))) ts_screen_panel {
    float half[PANEL];   /* |f|^2 / 2, infinity where there is no code */
    int32_t code[PANEL]; /* whose */
    float unit;          /* b */
    float norm, error;   /* the largest |f| and |df| */
};

/* A token: x - c in bytes, and the codes that may be its nearest so far. */
typedef struct {
    float unit;        /* a */
    float norm, error; /* |u| + |du| and |du| */
    float best;        /* what some code surely reaches */
    int32_t start;     /* what its sums begin with, since the codes' bytes are 128 too large */
    int32_t count;
    int32_t code[ROOM];
    float most[ROOM]; /* what the code can reach */
} token;

typedef struct {
    token tokens[TS_SCREEN_ROWS];
    int8_t bytes[]; /* [TS_SCREEN_ROWS, words, 4] */
} block;

static int64_t round_up(int64_t n, int64_t to)
{
    return (n + to - 1) / to * to;
}

static int64_t panels_of(int64_t K)
{
    return (K + PANEL - 1) / PANEL;
}

/* With what gaps between codes of very different lengths add. */
static int64_t most_panels(int64_t K)
{
    return panels_of(K) + GAPS;
}

size_t ts_screen_bytes(int64_t K, int64_t D)
{
    const int64_t panel = (int64_t)sizeof(ts_screen_panel) + PANEL * round_up(D, 4);
    const int64_t floats = 2 * (round_up(D, LANES) + round_up(K, LANES));
    return (size_t)round_up(most_panels(K) * panel + floats * (int64_t)sizeof(float), 64);
}

size_t ts_screen_block_bytes(int64_t D)
{
    return (size_t)round_up((int64_t)sizeof(block) + TS_SCREEN_ROWS * round_up(D, 4), 64);
}

/* The largest magnitude of x - c, and its square |x - c|^2; infinity where one is larger than largest_number, or no
 * number. */
TS_SIMD static float measure(const float *x, const float *c, int64_t D, float *square)
{
    float most = 0, sum = 0;
    int bad = 0;
#pragma omp simd reduction(max : most) reduction(| : bad) reduction(+ : sum)
    for (int64_t d = 0; d < D; d++) {
        const float u = fabsf(x[d] - c[d]);
        most = u > most ? u : most;
        sum += u * u;
        bad |= !(u < largest_number);
    }
    *square = sum;
    return bad ? INFINITY : most;
}

/* Every so many of a number of rows, at most 1024 of them. */
static int64_t stride_of(int64_t rows)
{
    return (rows + 1023) / 1024;
}

TS_SIMD static void add_row(float *sum, const float *row, float weight, int64_t D)
{
    for (int64_t d = 0; d < D; d++)
        sum[d] += weight * row[d];
}

/* Of the codes among the tokens: their mean with weights that fall with the fourth power of the distance from the
 * tokens' mean, so that codes far out do not move it. `mean` is for that one. */
static void find_centre(ts_screen *s, const float *codebook, const float *x, int64_t N, float *mean)
{
    const int64_t D = s->D, tokens = stride_of(N), codes = stride_of(s->K), summed = (N + tokens - 1) / tokens;
    float least = INFINITY, all = 0;
    memset(mean, 0, (size_t)D * sizeof *mean);
    memset(s->centre, 0, (size_t)D * sizeof *s->centre);
    for (int64_t n = 0; n < N; n += tokens)
        add_row(mean, x + n * D, 1 / (float)summed, D);
    for (int64_t k = 0; k < s->K; k += codes) {
        measure(codebook + k * D, mean, D, &s->norm[k]);
        least = fminf(least, s->norm[k]);
    }
    for (int64_t k = 0; k < s->K; k += codes) {
        const float near = (least + 1e-20f) / (s->norm[k] + 1e-20f);
        add_row(s->centre, codebook + k * D, near * near, D);
        all += near * near;
    }
    for (int64_t d = 0; d < D; d++)
        s->centre[d] /= all;
}

/* What is left of x - c after rounding to bytes. */
typedef struct {
    float error; /* the square of its length */
    int32_t sum; /* of the bytes */
} rounded;

static inline float add_lanes(const lanes *sum)
{
    float part[LANES];
    memcpy(part, sum, sizeof part);
    for (int half = LANES / 2; half; half /= 2)
        for (int i = 0; i < half; i++)
            part[i] += part[i + half];
    return part[0];
}

/* (By vectors: beside bytes the compiler would take short ones for the floats, too.) */
TS_SIMD static rounded round_row(int8_t *bytes, const float *x, const float *c, float unit, int64_t D)
{
    const float inverse = unit > 0 ? 1 / unit : 0, whole = 0x1.8p23f;
    lanes error = {0};
    lanes_i sum = {0};
    int64_t d = 0;
    for (; d + LANES <= D; d += LANES) {
        const lanes u = *(const lanes *)(x + d) - *(const lanes *)(c + d), p = (u * inverse + whole) - whole;
        const lanes rest = u - unit * p;
        const lanes_i integer = __builtin_convertvector(p, lanes_i);
        *(lanes_b *)(bytes + d) = __builtin_convertvector(integer, lanes_b);
        error += rest * rest;
        sum += integer;
    }
    rounded r = {add_lanes(&error), 0};
    for (int i = 0; i < LANES; i++)
        r.sum += sum[i];
    for (; d < D; d++) {
        const float u = x[d] - c[d], p = (u * inverse + whole) - whole, rest = u - unit * p;
        bytes[d] = (int8_t)(int32_t)p;
        r.error += rest * rest;
        r.sum += bytes[d];
    }
    return r;
}

/* A unit whose inverse is a float; 0: everything counts as 0. */
static float unit_of(float largest)
{
    return largest > 1e-15f ? largest / 127 : 0;
}

/* A bound, relative to what is added, of the rounding of a sum of D products and of a few operations more. */
static float rounding_of(int64_t D)
{
    return (float)(D + 64) * 0x1p-23f;
}

/* |du|, where u of this length was rounded itself before. */
static float error_of(rounded r, float length)
{
    return sqrtf(r.error) + 0x1p-21f * length;
}

/* A square's exponent and three bits behind it. */
enum { KEYS = 1 << 11, FOUR_TIMES = 4 << 3 };

static int32_t key_of(float square)
{
    return (int32_t)(ts_bits_of(square) >> 20);
}

/* Where the codes of each key begin: one key behind the other, but in a panel of their own where they are four times as
 * long as the first of the panel that they would share. (Not more often than there is room for.) */
static int32_t place_keys(int32_t *begin, const int32_t *count)
{
    int32_t at = 0, first = 0, gaps = GAPS;
    for (int32_t key = 0; key < KEYS; key++) {
        if (count[key] && at % PANEL && key - first >= FOUR_TIMES && gaps) {
            at = (int32_t)round_up(at, PANEL);
            gaps--;
        }
        if (at % PANEL == 0 || (at + count[key]) / PANEL > at / PANEL)
            first = key;
        begin[key] = at;
        at += count[key];
    }
    return (int32_t)panels_of(at);
}

/* The order of the codes by |f|^2, up to an eighth: the same lengths keep their order. */
static void sort_codes(ts_screen *s)
{
    int32_t count[KEYS] = {0}, begin[KEYS];
    for (int64_t k = 0; k < s->K; k++)
        count[key_of(s->norm[k])]++;
    s->count = place_keys(begin, count);
    for (int32_t i = 0; i < s->count; i++)
        for (int j = 0; j < PANEL; j++)
            s->panels[i].code[j] = -1;
    for (int64_t k = 0; k < s->K; k++) {
        const int32_t at = begin[key_of(s->norm[k])]++;
        s->panels[at / PANEL].code[at % PANEL] = (int32_t)k;
    }
}

/* A code's bytes are words in memory, PANEL words apart. */
static void lay(uint8_t *to, const int8_t *bytes, int64_t words)
{
    for (int64_t w = 0; w < words; w++)
        for (int i = 0; i < 4; i++)
            to[w * PANEL * 4 + i] = (uint8_t)(bytes[4 * w + i] + 128);
}

static void pack(const ts_screen *s, const float *codebook, int64_t i)
{
    ts_screen_panel *p = &s->panels[i];
    uint8_t *to = s->codes + i * PANEL * s->words * 4;
    int8_t bytes[MOST_DIMS];
    float largest = 0;
    memset(bytes, 0, (size_t)s->words * 4);
    for (int j = 0; j < PANEL; j++)
        largest = p->code[j] >= 0 ? fmaxf(largest, s->largest[p->code[j]]) : largest;
    p->unit = unit_of(largest);
    p->norm = p->error = 0;
    for (int j = 0; j < PANEL; j++) {
        const int32_t k = p->code[j];
        p->half[j] = INFINITY;
        if (k < 0)
            continue;
        const rounded r = round_row(bytes, codebook + k * s->D, s->centre, p->unit, s->D);
        const float length = sqrtf(s->norm[k]);
        p->half[j] = s->norm[k] / 2;
        p->norm = fmaxf(p->norm, length);
        p->error = fmaxf(p->error, error_of(r, length));
        lay(to + 4 * j, bytes, s->words);
    }
}

bool ts_screen_codes(ts_screen *s, const float *codebook, int64_t K, int64_t D, const float *x, int64_t N,
                     void *scratch, int threads)
{
    const int64_t panels = most_panels(K);
    bool good = true;
    *s = (ts_screen){.K = K, .D = D, .words = round_up(D, 4) / 4, .panels = scratch};
    s->codes = (uint8_t *)(s->panels + panels);
    s->centre = (float *)(void *)(s->codes + panels * PANEL * s->words * 4);
    s->norm = s->centre + round_up(D, LANES);
    s->largest = s->norm + round_up(K, LANES);
    find_centre(s, codebook, x, N, s->largest + round_up(K, LANES));
#pragma omp parallel for schedule(static) num_threads(threads) reduction(&& : good)
    for (int64_t k = 0; k < K; k++) {
        s->largest[k] = measure(codebook + k * D, s->centre, D, &s->norm[k]);
        good = good && s->largest[k] < largest_number;
    }
    if (!good)
        return false;
    sort_codes(s);
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t i = 0; i < s->count; i++)
        pack(s, codebook, i);
    return true;
}

/* false: a number is not finite, or too large. */
static bool admit(const ts_screen *s, token *t, int8_t *bytes, const float *x)
{
    float square;
    const float largest = measure(x, s->centre, s->D, &square);
    if (!(largest < largest_number))
        return false;
    t->unit = unit_of(largest);
    const rounded r = round_row(bytes, x, s->centre, t->unit, s->D);
    memset(bytes + s->D, 0, (size_t)(4 * s->words - s->D));
    t->error = error_of(r, sqrtf(square));
    t->norm = sqrtf(square) + t->error;
    t->best = -INFINITY;
    t->start = -128 * r.sum;
    t->count = 0;
    return true;
}

/* How far a value of a panel may be from what it stands for. */
static inline float doubt(const token *t, const ts_screen_panel *p, float rounding)
{
    const float longest = p->norm + p->error;
    return outward * (t->error * p->norm + t->norm * p->error + rounding * longest * (longest + t->norm));
}

/* Rows beyond the block's, which fill its last tile: nothing is noted of them. */
static void leave_out(token *t, int8_t *bytes, int64_t words)
{
    memset(bytes, 0, (size_t)words * 4);
    *t = (token){.best = INFINITY};
}

/* Forgets the codes that the best has left behind. false: there are too many all the same. */
static bool forget(token *t)
{
    int32_t count = 0;
    for (int32_t i = 0; i < t->count; i++) {
        t->code[count] = t->code[i];
        t->most[count] = t->most[i];
        count += t->most[i] >= t->best;
    }
    t->count = count;
    return count <= MOST;
}

/* Values of a panel, some of which are worth noting. false: there are too many. */
static bool note(token *t, const float *value, float doubt, const ts_screen_panel *p)
{
    for (int j = 0; j < PANEL; j++)
        t->best = value[j] - doubt > t->best ? value[j] - doubt : t->best;
    for (int j = 0; j < PANEL; j++) {
        t->code[t->count] = p->code[j];
        t->most[t->count] = value[j] + doubt;
        t->count += value[j] + doubt >= t->best;
    }
    return t->count <= MOST || forget(t);
}

/* All tokens of a block, in whole tiles, through a panel and its bytes. false: one has too many codes. */
typedef bool sweep_fn(block *b, int64_t N, const ts_screen *s, const ts_screen_panel *p, const uint8_t *codes);

static bool sweep_plain(block *b, int64_t N, const ts_screen *s, const ts_screen_panel *p, const uint8_t *codes)
{
    const int64_t width = 4 * s->words;
    for (int64_t n = 0; n < N; n++) {
        token *t = &b->tokens[n];
        float value[PANEL], far = doubt(t, p, rounding_of(s->D));
        bool any = false;
        for (int j = 0; j < PANEL; j++) {
            int32_t sum = t->start;
            for (int64_t d = 0; d < width; d++)
                sum += b->bytes[n * width + d] * codes[(d / 4 * PANEL + j) * 4 + d % 4];
            value[j] = (float)sum * (t->unit * p->unit) - p->half[j];
            any |= value[j] + far >= t->best;
        }
        if (any && !note(t, value, far, p))
            return false;
    }
    return true;
}

#if defined(__x86_64__)
#define VNNI "avx512f,avx512dq,avx512vl,avx512bw,avx512vnni"

/* As note. */
__attribute__((target(VNNI))) static bool note_vnni(token *t, const __m512 *value, float doubt,
                                                    const ts_screen_panel *p)
{
    const float most = _mm512_reduce_max_ps(_mm512_max_ps(_mm512_max_ps(value[0], value[1]), value[2])) - doubt;
    t->best = most > t->best ? most : t->best;
    const __m512 best = _mm512_set1_ps(t->best);
#pragma GCC unroll 3
    for (int v = 0; v < VECTORS; v++) {
        const __m512 reach = _mm512_add_ps(value[v], _mm512_set1_ps(doubt));
        const __mmask16 hits = _mm512_cmp_ps_mask(reach, best, _CMP_GE_OQ);
        _mm512_mask_compressstoreu_epi32(t->code + t->count, hits, _mm512_loadu_si512(p->code + v * LANES));
        _mm512_mask_compressstoreu_ps(t->most + t->count, hits, reach);
        t->count += __builtin_popcount(hits);
    }
    return t->count <= MOST || forget(t);
}

/* The sums of a token over a panel. */
__attribute__((target(VNNI))) static inline bool look(token *t, const __m512i *sum, float doubt,
                                                      const ts_screen_panel *p)
{
    const __m512 unit = _mm512_set1_ps(t->unit * p->unit), least = _mm512_set1_ps(t->best - doubt);
    __m512 value[VECTORS];
    unsigned hits = 0;
#pragma GCC unroll 3
    for (int v = 0; v < VECTORS; v++) {
        value[v] = _mm512_fmsub_ps(_mm512_cvtepi32_ps(sum[v]), unit, _mm512_loadu_ps(p->half + v * LANES));
        hits |= _mm512_cmp_ps_mask(value[v], least, _CMP_GE_OQ);
    }
    return !hits || note_vnni(t, value, doubt, p);
}

/* The sums of a tile of rows over a panel. (The compiler copies registers back and forth around the intrinsic.) */
__attribute__((target(VNNI))) static inline void multiply(__m512i (*sum)[VECTORS], const int32_t *rows,
                                                          const uint8_t *codes, int64_t words)
{
    for (int64_t w = 0; w < words; w++, codes += PANEL * 4) {
        __m512i code[VECTORS];
#pragma GCC unroll 3
        for (int v = 0; v < VECTORS; v++)
            code[v] = _mm512_loadu_si512(codes + v * 64);
#pragma GCC unroll 8
        for (int r = 0; r < TILE; r++) {
            const __m512i four = _mm512_set1_epi32(rows[r * words + w]);
#pragma GCC unroll 3
            for (int v = 0; v < VECTORS; v++)
                __asm__("vpdpbusd %2, %1, %0" : "+v"(sum[r][v]) : "v"(code[v]), "v"(four));
        }
    }
}

__attribute__((target(VNNI))) static bool sweep_vnni(block *b, int64_t N, const ts_screen *s, const ts_screen_panel *p,
                                                     const uint8_t *codes)
{
    const float rounding = rounding_of(s->D);
    for (int64_t n = 0; n < N; n += TILE) {
        __m512i sum[TILE][VECTORS];
#pragma GCC unroll 8
        for (int r = 0; r < TILE; r++)
#pragma GCC unroll 3
            for (int v = 0; v < VECTORS; v++)
                sum[r][v] = _mm512_set1_epi32(b->tokens[n + r].start);
        multiply(sum, (const int32_t *)(const void *)b->bytes + n * s->words, codes, s->words);
#pragma GCC unroll 8
        for (int r = 0; r < TILE; r++)
            if (!look(&b->tokens[n + r], sum[r], doubt(&b->tokens[n + r], p, rounding), p))
                return false;
    }
    return true;
}

static bool has_vnni(void)
{
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512vnni");
}

static sweep_fn *pick_sweep(void)
{
    return has_vnni() ? sweep_vnni : sweep_plain;
}
#else
static bool has_vnni(void)
{
    return false;
}

static sweep_fn *pick_sweep(void)
{
    return sweep_plain;
}
#endif

/* Rounding the codebook takes about as long as half a thousand tokens through it; short rows are lost in what follows
 * the products. */
bool ts_screen_fits(int64_t N, int64_t K, int64_t D)
{
    const ts_policy p = ts_policy_of("TESSERA_SCREEN");
    const bool can = N > 0 && K > 0 && D > 0 && D <= MOST_DIMS && K < INT32_MAX - PANEL;
    return can && p != TS_NEVER && (p == TS_ALWAYS || (has_vnni() && N >= 1024 && K >= 256 && D >= 32));
}

/* Four sums of vectors, since one would wait for itself. */
TS_SIMD static float distance(const float *x, const float *e, int64_t D)
{
    lanes sum[4] = {{0}};
    int64_t d = 0;
    for (; d + 4 * LANES <= D; d += 4 * LANES)
#pragma GCC unroll 4
        for (int v = 0; v < 4; v++) {
            const lanes rest = *(const lanes *)(x + d + v * LANES) - *(const lanes *)(e + d + v * LANES);
            sum[v] += rest * rest;
        }
    float rest = 0;
    for (; d < D; d++)
        rest += (x[d] - e[d]) * (x[d] - e[d]);
    sum[0] = (sum[0] + sum[1]) + (sum[2] + sum[3]);
    return add_lanes(&sum[0]) + rest;
}

static int32_t choose(token *t, const float *x, const float *codebook, int64_t D)
{
    forget(t);
    int32_t id = t->code[0];
    float least = INFINITY;
    for (int32_t i = 0; i < t->count && t->count > 1; i++) {
        const float d = distance(x, codebook + t->code[i] * D, D);
        if (d < least || (d == least && t->code[i] < id)) {
            id = t->code[i];
            least = d;
        }
    }
    return id;
}

static bool search_with(sweep_fn *through, const ts_screen *s, int32_t *ids, const float *x, const float *codebook,
                        int64_t N, block *b)
{
    const int64_t rows = round_up(N, TILE), width = 4 * s->words;
    for (int64_t n = 0; n < N; n++)
        if (!admit(s, &b->tokens[n], b->bytes + n * width, x + n * s->D))
            return false;
    for (int64_t n = N; n < rows; n++)
        leave_out(&b->tokens[n], b->bytes + n * width, s->words);
    for (int64_t i = 0; i < s->count; i++)
        if (!through(b, rows, s, &s->panels[i], s->codes + i * PANEL * width))
            return false;
    for (int64_t n = 0; n < N; n++)
        ids[n] = choose(&b->tokens[n], x + n * s->D, codebook, s->D);
    return true;
}

bool ts_screen_search(const ts_screen *s, int32_t *ids, const float *x, const float *codebook, int64_t N, void *room)
{
    return search_with(pick_sweep(), s, ids, x, codebook, N, room);
}
