#include "core/cpu/winograd.h"

#include <omp.h>
#include <string.h>

#include "core/cpu/policy.h"
#include "core/cpu/simd.h"
#include "core/memory.h"

/* A tile: 4 results of 3 taps read 6 numbers. */
enum { TAPS = 3, RESULTS = 4, READS = 6, MOST = READS * READS, LANES = 16, MOST_TILES = 256, LEAST_TILES = 48 };

/* Channels worth it: below, the transforms take what the products save. */
enum { LEAST_CHANNELS = 64 };

typedef float lanes __attribute__((vector_size(LANES * sizeof(float)), aligned(4)));
typedef int32_t lane_bits __attribute__((vector_size(LANES * sizeof(float)), aligned(4)));

/* The points are 0, 1, -1, 2, -2 and infinity: results = LATER ((WEIGHTS w) * (EARLIER x)). */
static const float EARLIER[READS * READS] = {4, 0,  -5, 0, 1, 0, 0, -4, -4, 1,  1, 0, 0, 4, -4, -1, 1, 0,
                                             0, -2, -1, 2, 1, 0, 0, 2,  -1, -2, 1, 0, 0, 4, 0,  -5, 0, 1};
static const float WEIGHTS[READS * TAPS] = {1.0F / 4,  0,          0,         -1.0F / 6, -1.0F / 6, -1.0F / 6,
                                            -1.0F / 6, 1.0F / 6,   -1.0F / 6, 1.0F / 24, 1.0F / 12, 1.0F / 6,
                                            1.0F / 24, -1.0F / 12, 1.0F / 6,  0,         0,         1};
static const float LATER[RESULTS * READS] = {1, 1, 1, 1, 1, 0, 0, 1, -1, 2, -2, 0,
                                             0, 1, 1, 4, 4, 0, 0, 1, -1, 8, -8, 1};

/* Their adjoints, for the weight gradient: dw = WEIGHTS' ((LATER' dy) * (EARLIER x)). */
static const float LATER_ADJOINT[READS * RESULTS] = {1, 0, 0, 0, 1, 1,  1, 1,  1, -1, 1, -1,
                                                     1, 2, 4, 8, 1, -2, 4, -8, 0, 0,  0, 1};
static const float WEIGHTS_ADJOINT[TAPS * READS] = {1.0F / 4, -1.0F / 6, -1.0F / 6, 1.0F / 24, 1.0F / 24,  0,
                                                    0,        -1.0F / 6, 1.0F / 6,  1.0F / 12, -1.0F / 12, 0,
                                                    0,        -1.0F / 6, -1.0F / 6, 1.0F / 6,  1.0F / 6,   1};

/* An axis of the images: with 3 taps in tiles of 4 results, each `step` from the other; with 1 tap as it is. */
typedef struct {
    int64_t in, out; /* sizes of what is read and of the results */
    int64_t pad, step;
    int taps, results, reads;
    int64_t tiles;
    int32_t *first; /* [tiles] the first result of each */
} axis;

struct ts_winograd {
    ts_dnnl_pass pass;
    axis axes[2];                      /* over H, over W */
    int64_t B, C, O;                   /* O: channels of results forward; C and O are the weights' */
    int64_t in_channels, out_channels; /* of what is read and of the results; weights: of x and of y */
    int64_t tiles, block;              /* all; at a time */
    int products, threads;
    bool relu; /* behind a pass over images */
};

/* ---- transforms ---- */

/* out [h_out, w_out] = along_h in [h_in, w_in] along_w', of vectors; sizes and matrices are constants where this is
 * inlined. An axis without taps to it has sizes of 1 and is left as it is. */
static inline __attribute__((always_inline)) void transform(lanes *out, const lanes *in, const int h_out,
                                                            const int h_in, const float *along_h, const int w_out,
                                                            const int w_in, const float *along_w)
{
    lanes half[MOST];
#pragma GCC unroll 6
    for (int i = 0; i < h_in; i++)
#pragma GCC unroll 6
        for (int j = 0; j < w_out; j++) {
            lanes sum = along_w[j * w_in] * in[i * w_in];
#pragma GCC unroll 6
            for (int k = 1; k < w_in; k++)
                if (along_w[j * w_in + k] != 0)
                    sum += along_w[j * w_in + k] * in[i * w_in + k];
            half[i * w_out + j] = sum;
        }
#pragma GCC unroll 6
    for (int i = 0; i < h_out; i++)
#pragma GCC unroll 6
        for (int j = 0; j < w_out; j++) {
            lanes sum = along_h[i * h_in] * half[j];
#pragma GCC unroll 6
            for (int k = 1; k < h_in; k++)
                if (along_h[i * h_in + k] != 0)
                    sum += along_h[i * h_in + k] * half[k * w_out + j];
            out[i * w_out + j] = sum;
        }
}

/* What follows the sums of a result. */
typedef struct {
    const float *bias; /* added; NULL: none */
    bool relu;         /* then what is below 0 is 0 */
} ending;

static const ending as_it_is = {NULL, false};

/* A tile of `channels`: read from `from` (NULL: zeros), transformed, ended, written to `to` (NULL: nowhere). */
static inline __attribute__((always_inline)) void move(float *const *to, const float *const *from, const ending *end,
                                                       int64_t channels, const int h_out, const int h_in,
                                                       const float *along_h, const int w_out, const int w_in,
                                                       const float *along_w)
{
    for (int64_t c = 0; c < channels; c += LANES) {
        lanes in[MOST], out[MOST], base = {0};
        const lanes zero = {0};
        for (int i = 0; i < h_in * w_in; i++)
            in[i] = from[i] ? *(const lanes *)(from[i] + c) : zero;
        transform(out, in, h_out, h_in, along_h, w_out, w_in, along_w);
        if (end->bias)
            base = *(const lanes *)(end->bias + c);
        for (int i = 0; i < h_out * w_out; i++) {
            out[i] += base;
            if (end->relu)
                out[i] = (lanes)((lane_bits)out[i] & ~(out[i] < zero));
            if (to[i])
                *(lanes *)(to[i] + c) = out[i];
        }
    }
}

typedef void move_fn(float *const *to, const float *const *from, const ending *end, int64_t channels);

static const float ONE[1] = {1};
#define MOVES(name, out, in, matrix)                                                                                   \
    TS_SIMD static void name##_1(float *const *to, const float *const *from, const ending *end, int64_t channels)      \
    {                                                                                                                  \
        move(to, from, end, channels, 1, 1, ONE, out, in, matrix);                                                     \
    }                                                                                                                  \
    TS_SIMD static void name##_2(float *const *to, const float *const *from, const ending *end, int64_t channels)      \
    {                                                                                                                  \
        move(to, from, end, channels, out, in, matrix, out, in, matrix);                                               \
    }
MOVES(read_tile, READS, READS, EARLIER)
MOVES(make_results, RESULTS, READS, LATER)
MOVES(read_results, READS, RESULTS, LATER_ADJOINT)
MOVES(read_weights, READS, TAPS, WEIGHTS)
MOVES(make_weights, TAPS, READS, WEIGHTS_ADJOINT)

/* ---- geometry ---- */

static bool is_winograd_axis(int64_t taps)
{
    return taps == TAPS;
}

/* Tiles of an axis with `out` results: of each of the `step` interleaved ones, every 4 of its own. first: NULL to
 * count. */
static int64_t lay_tiles(int64_t out, int64_t step, int results, int32_t *first)
{
    int64_t tiles = 0;
    if (results == 1)
        step = 1;
    for (int64_t r = 0; r < step && r < out; r++)
        for (int64_t at = r; at < out; at += results * step) {
            if (first)
                first[tiles] = (int32_t)at;
            tiles++;
        }
    return tiles;
}

/* Pairs of a result and a tap that meets data along an axis: what a direct sum has to multiply. */
static int64_t direct_products(int64_t in, int64_t out, int64_t taps, int64_t pad, int64_t step)
{
    int64_t n = 0;
    for (int64_t i = 0; i < out; i++)
        for (int64_t k = 0; k < taps; k++)
            n += i - pad + k * step >= 0 && i - pad + k * step < in;
    return n;
}

static int64_t tile_products(int64_t out, int64_t taps, int64_t step)
{
    return is_winograd_axis(taps) ? READS * lay_tiles(out, step, RESULTS, NULL) : out;
}

/* Products of the tiles against those of a direct sum: the transforms and smaller matrices take about a quarter. */
static bool pays(const ts_dnnl_conv *s)
{
    double direct = (double)direct_products(s->H, s->P, s->R, s->pad[0], s->dilation[0]) *
                    (double)direct_products(s->W, s->Q, s->S, s->pad[1], s->dilation[1]);
    double tiles =
        (double)tile_products(s->P, s->R, s->dilation[0]) * (double)tile_products(s->Q, s->S, s->dilation[1]);
    return s->C >= LEAST_CHANNELS && s->O >= LEAST_CHANNELS && tiles <= 0.7 * direct && s->B * s->P * s->Q >= 1024;
}

bool ts_winograd_fits(const ts_dnnl_conv *s, ts_dnnl_pass pass)
{
    (void)pass;
    ts_policy p = ts_policy_of("TESSERA_WINOGRAD");
    bool kind = s->x_type == TS_F32 && s->w_type == TS_F32 && s->y_type == TS_F32 && s->groups == 1;
    bool axes = s->stride[0] == 1 && s->stride[1] == 1 && (s->R == 1 || s->R == TAPS) && (s->S == 1 || s->S == TAPS) &&
                s->R * s->S > 1;
    /* a block of tiles has room for LANES rows of weights */
    bool sizes = s->C % LANES == 0 && s->O % LANES == 0 && s->B * s->P * s->Q >= RESULTS * RESULTS * LANES;
    return p != TS_NEVER && kind && axes && sizes && (p == TS_ALWAYS || pays(s));
}

static ts_status make_axis(axis *a, const ts_dnnl_conv *s, int i, bool back, ts_error *err)
{
    const int64_t large = i ? s->W : s->H, small = i ? s->Q : s->P, taps = i ? s->S : s->R;
    const bool three = is_winograd_axis(taps);
    *a = (axis){.in = back ? small : large,
                .out = back ? large : small,
                .pad = back ? s->dilation[i] * (taps - 1) - s->pad[i] : s->pad[i],
                .step = s->dilation[i],
                .taps = (int)taps,
                .results = three ? RESULTS : 1,
                .reads = three ? READS : 1};
    a->tiles = lay_tiles(a->out, a->step, a->results, NULL);
    a->first = ts_calloc((size_t)a->tiles, sizeof *a->first);
    if (!a->first)
        return ts_out_of_memory(err, (size_t)a->tiles * sizeof *a->first);
    lay_tiles(a->out, a->step, a->results, a->first);
    return TS_OK;
}

/* Tiles at a time: as many as keep a thread's transformed numbers near 1 MiB, in multiples of 16. */
static int64_t block_of(const ts_winograd *w)
{
    const int64_t widest = w->C > w->O ? w->C : w->O, room = (1 << 20) / (int64_t)sizeof(float);
    int64_t block = room / (w->products * widest) / 16 * 16;
    block = block < LEAST_TILES ? LEAST_TILES : block < MOST_TILES ? block : MOST_TILES;
    return block < w->tiles ? block : w->tiles;
}

ts_status ts_winograd_new(ts_winograd **result, const ts_dnnl_conv *s, ts_dnnl_pass pass, int threads, ts_error *err)
{
    const bool back = pass == TS_DNNL_BACKWARD_DATA;
    ts_winograd *w = *result = ts_calloc(1, sizeof *w);
    if (!w)
        return ts_out_of_memory(err, sizeof *w);
    *w = (ts_winograd){.pass = pass,
                       .B = s->B,
                       .C = s->C,
                       .O = s->O,
                       .in_channels = back ? s->O : s->C,
                       .out_channels = back ? s->C : s->O,
                       .threads = threads,
                       .relu = s->relu};
    ts_status status = make_axis(&w->axes[0], s, 0, back, err);
    if (status == TS_OK)
        status = make_axis(&w->axes[1], s, 1, back, err);
    if (status != TS_OK) {
        ts_winograd_free(w);
        *result = NULL;
        return status;
    }
    w->products = w->axes[0].reads * w->axes[1].reads;
    w->tiles = w->B * w->axes[0].tiles * w->axes[1].tiles;
    w->block = block_of(w);
    return TS_OK;
}

void ts_winograd_free(ts_winograd *w)
{
    if (!w)
        return;
    ts_free(w->axes[0].first);
    ts_free(w->axes[1].first);
    ts_free(w);
}

/* ---- memory: transformed weights once (of a weight gradient once a thread), then each thread's two blocks ---- */

static size_t weight_floats(const ts_winograd *w)
{
    return (size_t)w->products * (size_t)(w->C * w->O);
}

static size_t block_floats(const ts_winograd *w)
{
    return (size_t)w->products * (size_t)(w->block * (w->C + w->O));
}

size_t ts_winograd_scratch_bytes(const ts_winograd *w)
{
    const size_t weights = w->pass == TS_DNNL_BACKWARD_WEIGHTS ? (size_t)w->threads : 1;
    return (weights * weight_floats(w) + (size_t)w->threads * block_floats(w)) * sizeof(float);
}

/* ---- runs ---- */

static bool is_square(const ts_winograd *w)
{
    return w->axes[0].reads == READS && w->axes[1].reads == READS;
}

/* Where the numbers lie that a tile reads, or its results, in an image of so many channels; NULL outside of it. */
static void find_places(const ts_winograd *w, int64_t tile, bool results, const float *image, int64_t channels,
                        float **at)
{
    const axis *h = &w->axes[0], *v = &w->axes[1];
    const int64_t b = tile / (h->tiles * v->tiles), rest = tile % (h->tiles * v->tiles);
    const int64_t h0 = h->first[rest / v->tiles] - (results ? 0 : h->pad);
    const int64_t w0 = v->first[rest % v->tiles] - (results ? 0 : v->pad);
    const int64_t rows = results ? h->out : h->in, columns = results ? v->out : v->in;
    const int tall = results ? h->results : h->reads, wide = results ? v->results : v->reads;
    for (int i = 0; i < tall; i++)
        for (int j = 0; j < wide; j++) {
            const int64_t y = h0 + i * h->step, x = w0 + j * v->step;
            const bool inside = y >= 0 && y < rows && x >= 0 && x < columns;
            at[i * wide + j] = inside ? (float *)(uintptr_t)image + ((b * rows + y) * columns + x) * channels : NULL;
        }
}

/* The places of row `row` in `count` matrices [rows, channels], one behind the other. */
static void find_rows(float **at, const float *matrices, int count, int64_t rows, int64_t row, int64_t channels)
{
    for (int i = 0; i < count; i++)
        at[i] = (float *)(uintptr_t)matrices + (i * rows + row) * channels;
}

/* Weights [O, R, S, C] of output channel o, the other way round for a pass back to the data. */
static void find_weights(const ts_winograd *w, const float *weights, int64_t o, float **at)
{
    const int taps = w->axes[0].taps * w->axes[1].taps;
    for (int i = 0; i < taps; i++)
        at[i] = (float *)(uintptr_t)weights + (o * taps + (w->pass == TS_DNNL_BACKWARD_DATA ? taps - 1 - i : i)) * w->C;
}

/* LANES rows of `columns` become as many columns of [columns, out]; through a small square, since rows that lie a power
 * of two apart push each other out of the cache. */
TS_SIMD static void turn(float *restrict to, const float *restrict from, int64_t columns, int64_t out)
{
    float square[LANES][LANES];
    for (int64_t c = 0; c < columns; c += LANES) {
        for (int i = 0; i < LANES; i++)
            for (int j = 0; j < LANES; j++)
                square[j][i] = from[i * columns + c + j];
        for (int j = 0; j < LANES; j++)
            memcpy(to + (c + j) * out, square[j], sizeof square[j]);
    }
}

/* Of LANES output channels from `o` on: transformed into [products, LANES, C], and turned for a forward pass, whose
 * products want [products, C, O]. */
static void transform_some(const ts_winograd *w, float *to, const float *weights, float *own, int64_t o)
{
    const bool turned = w->pass == TS_DNNL_FORWARD;
    move_fn *read = is_square(w) ? read_weights_2 : read_weights_1;
    for (int64_t i = 0; i < LANES; i++) {
        float *from[MOST] = {NULL}, *at[MOST] = {NULL};
        find_weights(w, weights, o + i, from);
        find_rows(at, turned ? own : to, w->products, turned ? LANES : w->O, turned ? i : o + i, w->C);
        read(at, (const float *const *)from, &as_it_is, w->C);
    }
    for (int i = 0; turned && i < w->products; i++)
        turn(to + i * w->C * w->O + o, own + i * LANES * w->C, w->C, w->O);
}

static void transform_weights(const ts_winograd *w, float *to, const float *weights, float *blocks)
{
#pragma omp parallel for schedule(static) num_threads(w->threads)
    for (int64_t o = 0; o < w->O; o += LANES)
        transform_some(w, to, weights, blocks + (size_t)omp_get_thread_num() * block_floats(w), o);
}

/* Tiles first ... first + count - 1 of an image, transformed: [products, block, channels]. */
static void transform_tiles(const ts_winograd *w, float *to, const float *image, int64_t channels, bool results,
                            int64_t first, int64_t count)
{
    move_fn *read =
        results ? (is_square(w) ? read_results_2 : read_results_1) : (is_square(w) ? read_tile_2 : read_tile_1);
    for (int64_t t = 0; t < count; t++) {
        float *from[MOST] = {NULL}, *at[MOST] = {NULL};
        find_places(w, first + t, results, image, channels, from);
        find_rows(at, to, w->products, w->block, t, channels);
        read(at, (const float *const *)from, &as_it_is, channels);
    }
}

static bool multiply_tiles(const ts_winograd *w, float *results, const float *tiles, const float *weights,
                           int64_t count)
{
    const int64_t in = w->in_channels, out = w->out_channels;
    bool good = true;
    for (int i = 0; i < w->products; i++)
        good &= ts_dnnl_gemm(&(ts_dnnl_gemm_shape){.M = count, .N = out, .K = in, .lda = in, .ldb = out, .ldc = out},
                             tiles + i * w->block * in, weights + i * w->O * w->C, results + i * w->block * out);
    return good;
}

/* One block of tiles of a pass over images, with the thread's own memory. */
static bool pass_block(const ts_winograd *w, const float *weights, float *own, const float *from, float *to,
                       const ending *end, int64_t first)
{
    const int64_t count = w->tiles - first < w->block ? w->tiles - first : w->block;
    move_fn *make = is_square(w) ? make_results_2 : make_results_1;
    float *results = own + w->products * w->block * w->in_channels;
    transform_tiles(w, own, from, w->in_channels, false, first, count);
    if (!multiply_tiles(w, results, own, weights, count))
        return false;
    for (int64_t t = 0; t < count; t++) {
        float *rows[MOST] = {NULL}, *at[MOST] = {NULL};
        find_rows(rows, results, w->products, w->block, t, w->out_channels);
        find_places(w, first + t, true, to, w->out_channels, at);
        make(at, (const float *const *)rows, end, w->out_channels);
    }
    return true;
}

static bool run_images(const ts_winograd *w, const ts_dnnl_operands *o, float *scratch)
{
    const bool back = w->pass == TS_DNNL_BACKWARD_DATA;
    float *own = scratch + weight_floats(w), *to = (float *)(uintptr_t)(back ? o->x : o->y);
    const ending end = {o->bias, w->relu};
    bool good = true;
    transform_weights(w, scratch, o->w, scratch + weight_floats(w));
#pragma omp parallel for schedule(static) num_threads(w->threads) reduction(&& : good)
    for (int64_t first = 0; first < w->tiles; first += w->block)
        good = good && pass_block(w, scratch, own + (size_t)omp_get_thread_num() * block_floats(w), back ? o->y : o->x,
                                  to, &end, first);
    return good;
}

/* A thread's share of the tiles, added up in its own products [products, O, C]. */
static bool sum_share(const ts_winograd *w, float *sums, float *own, const ts_dnnl_operands *o, int64_t from,
                      int64_t to)
{
    float *results = own + w->products * w->block * w->C;
    bool good = true;
    for (int64_t first = from; first < to; first += w->block) {
        const int64_t count = to - first < w->block ? to - first : w->block;
        transform_tiles(w, own, o->x, w->C, false, first, count);
        transform_tiles(w, results, o->y, w->O, true, first, count);
        for (int i = 0; i < w->products; i++)
            good &= ts_dnnl_gemm(&(ts_dnnl_gemm_shape){.M = w->O,
                                                       .N = w->C,
                                                       .K = count,
                                                       .trans_a = true,
                                                       .lda = w->O,
                                                       .ldb = w->C,
                                                       .ldc = w->C,
                                                       .add = first > from},
                                 results + i * w->block * w->O, own + i * w->block * w->C, sums + i * w->O * w->C);
    }
    return good;
}

/* sums[0] += the others, for output channel o */
TS_SIMD static void join(float *restrict sums, int64_t step, int others, int64_t count)
{
    for (int k = 1; k <= others; k++)
        for (int64_t i = 0; i < count; i++)
            sums[i] += sums[k * step + i];
}

static void finish_weights(const ts_winograd *w, float *weights, float *sums, int shares)
{
    move_fn *make = is_square(w) ? make_weights_2 : make_weights_1;
#pragma omp parallel for schedule(static) num_threads(w->threads)
    for (int64_t o = 0; o < w->O; o++) {
        float *from[MOST] = {NULL}, *at[MOST] = {NULL};
        find_rows(from, sums, w->products, w->O, o, w->C);
        find_weights(w, weights, o, at);
        for (int i = 0; i < w->products; i++)
            join(from[i], (int64_t)weight_floats(w), shares - 1, w->C);
        make(at, (const float *const *)from, &as_it_is, w->C);
    }
}

static bool run_weights(const ts_winograd *w, const ts_dnnl_operands *o, float *scratch)
{
    const int64_t blocks = (w->tiles + w->block - 1) / w->block;
    const int shares = blocks < w->threads ? (int)blocks : w->threads;
    const int64_t share = (blocks + shares - 1) / shares * w->block;
    float *own = scratch + (size_t)w->threads * weight_floats(w);
    bool good = true;
#pragma omp parallel for schedule(static) num_threads(shares) reduction(&& : good)
    for (int i = 0; i < shares; i++) {
        const int64_t end = (i + 1) * share < w->tiles ? (i + 1) * share : w->tiles;
        good = good && sum_share(w, scratch + (size_t)i * weight_floats(w), own + (size_t)i * block_floats(w), o,
                                 i * share, end);
    }
    finish_weights(w, (float *)(uintptr_t)o->w, scratch, shares);
    return good;
}

bool ts_winograd_run(const ts_winograd *w, const ts_dnnl_operands *operands, void *scratch)
{
    return w->pass == TS_DNNL_BACKWARD_WEIGHTS ? run_weights(w, operands, scratch) : run_images(w, operands, scratch);
}
