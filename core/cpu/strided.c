#include "core/cpu/strided.h"

#include <string.h>

#include "core/cpu/policy.h"
#include "core/cpu/simd.h"
#include "core/memory.h"

/* Floats of a block, that it stays in a second-level cache; but pixels of y that it should have all the same, since
 * fewer spend their time on adding to the sums; channels worth it, below which oneDNN's own pass is as fast. */
enum { ROOM = 1 << 17, LEAST_PIXELS = 256, LEAST_CHANNELS = 64 };

struct ts_strided {
    ts_dnnl_conv shape;
    int64_t residues;      /* rows of x that a row of y steps over, if a tap reads them */
    int64_t extra;         /* such steps beyond the last row of y */
    int64_t images, band;  /* a block: so many images, so many rows of y of each */
    int64_t bands, blocks; /* of an image; of all */
    int shares;            /* threads that have something to do */
};

static bool pays(const ts_dnnl_conv *s)
{
    return (s->stride[0] > 1 || s->stride[1] > 1) && s->C >= LEAST_CHANNELS && s->O >= LEAST_CHANNELS &&
           s->B * s->P * s->Q >= LEAST_PIXELS;
}

bool ts_strided_fits(const ts_dnnl_conv *s, ts_dnnl_pass pass)
{
    const ts_policy p = ts_policy_of("TESSERA_STRIDED");
    const bool kind = pass == TS_DNNL_BACKWARD_WEIGHTS && s->groups == 1 && s->x_type == TS_F32 &&
                      s->w_type == TS_F32 && s->y_type == TS_F32 && s->dilation[0] == 1 && s->dilation[1] == 1;
    return kind && p != TS_NEVER && (p == TS_ALWAYS || pays(s));
}

static int64_t at_most(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int64_t parts(int64_t n, int64_t each)
{
    return (n + each - 1) / each;
}

/* Rows of y at a time: whole images, or a band of one. */
static void choose_block(ts_strided *s)
{
    const ts_dnnl_conv *g = &s->shape;
    int64_t rows = ROOM / (g->Q * (s->residues * g->S * g->C + g->O));
    const int64_t least = parts(LEAST_PIXELS, g->Q);
    rows = rows < least ? least : rows;
    s->band = at_most(rows, g->P);
    s->images = at_most(rows / s->band, g->B);
    s->bands = parts(g->P, s->band);
    s->blocks = s->bands * parts(g->B, s->images);
}

ts_status ts_strided_new(ts_strided **result, const ts_dnnl_conv *shape, int threads, ts_error *err)
{
    ts_strided *s = *result = ts_calloc(1, sizeof *s);
    if (!s)
        return ts_out_of_memory(err, sizeof *s);
    s->shape = *shape;
    s->residues = at_most(shape->R, shape->stride[0]);
    s->extra = (shape->R - 1) / shape->stride[0];
    choose_block(s);
    s->shares = (int)at_most(s->blocks, threads);
    return TS_OK;
}

void ts_strided_free(ts_strided *s)
{
    ts_free(s);
}

/* ---- memory: each thread's block, then the sums of all threads but the first, which has the result's ---- */

static size_t x_floats(const ts_strided *s)
{
    const ts_dnnl_conv *g = &s->shape;
    return (size_t)(s->residues * (s->band + s->extra) * s->images * g->Q * g->S * g->C);
}

/* Rows of one image, or images of one row, lie in y as a block wants them: one behind the other. */
static bool is_y_moved(const ts_strided *s)
{
    return s->images > 1 && s->shape.P > 1;
}

static size_t block_floats(const ts_strided *s)
{
    const size_t y = is_y_moved(s) ? (size_t)(s->band * s->images * s->shape.Q * s->shape.O) : 0;
    return x_floats(s) + y;
}

static int64_t weight_count(const ts_strided *s)
{
    return s->shape.O * s->shape.R * s->shape.S * s->shape.C;
}

size_t ts_strided_scratch_bytes(const ts_strided *s)
{
    return ((size_t)s->shares * block_floats(s) + (size_t)(s->shares - 1) * (size_t)weight_count(s)) * sizeof(float);
}

/* ---- a block ---- */

/* Images and rows of y: [first, first + count). */
typedef struct {
    int64_t image, images, row, rows;
} block;

static block block_at(const ts_strided *s, int64_t i)
{
    block b = {.image = i / s->bands * s->images, .row = i % s->bands * s->band};
    b.images = at_most(s->images, s->shape.B - b.image);
    b.rows = at_most(s->band, s->shape.P - b.row);
    return b;
}

/* What a row of taps reads of a row of x [W, C] (NULL: of the padding): [Q, S*C], `step` apart. */
static void lay_row(const ts_dnnl_conv *g, float *to, int64_t step, const float *x)
{
    for (int64_t q = 0; q < g->Q; q++, to += step) {
        const int64_t j = q * g->stride[1] - g->pad[1]; /* the column of the first tap */
        const int64_t first = !x ? g->S : j < 0 ? at_most(-j, g->S) : 0;
        const int64_t inside = at_most(g->S, g->W - j) - first, count = inside < 0 ? 0 : inside;
        memset(to, 0, (size_t)(first * g->C) * sizeof *to);
        if (count)
            memcpy(to + first * g->C, x + (j + first) * g->C, (size_t)(count * g->C) * sizeof *to);
        memset(to + (first + count) * g->C, 0, (size_t)((g->S - first - count) * g->C) * sizeof *to);
    }
}

/* to [rows + extra, images, Q, residues, S*C]: row r of taps reads, as [Q, S*C], from row r / stride, residue
 * r % stride. */
static void lay_x(const ts_strided *s, float *to, const float *x, block b)
{
    const ts_dnnl_conv *g = &s->shape;
    const int64_t taps = g->S * g->C;
    for (int64_t p = b.row; p < b.row + b.rows + s->extra; p++)
        for (int64_t k = b.image; k < b.image + b.images; k++, to += g->Q * s->residues * taps)
            for (int64_t e = 0; e < s->residues; e++) {
                const int64_t i = p * g->stride[0] + e - g->pad[0];
                lay_row(g, to + e * taps, s->residues * taps,
                        i >= 0 && i < g->H ? x + (k * g->H + i) * g->W * g->C : NULL);
            }
}

/* [rows, images, Q, O], in `room` where y does not have it like that. */
static const float *lay_y(const ts_strided *s, float *room, const float *y, block b)
{
    const ts_dnnl_conv *g = &s->shape;
    const int64_t row = g->Q * g->O;
    if (!is_y_moved(s))
        return y + (b.image * g->P + b.row) * row;
    float *to = room;
    for (int64_t p = b.row; p < b.row + b.rows; p++)
        for (int64_t k = b.image; k < b.image + b.images; k++, to += row)
            memcpy(to, y + (k * g->P + p) * row, (size_t)row * sizeof *to);
    return room;
}

/* sums [O, R, S*C] += what a block gives, or = */
static bool multiply_block(const ts_strided *s, float *sums, float *own, const ts_dnnl_operands *o, block b, bool add)
{
    const ts_dnnl_conv *g = &s->shape;
    const int64_t taps = g->S * g->C, row = b.images * g->Q, ld = s->residues * taps;
    const float *y = lay_y(s, own + x_floats(s), o->y, b);
    bool good = true;
    lay_x(s, own, o->x, b);
    for (int64_t r = 0; r < g->R; r += g->stride[0]) {
        const ts_dnnl_gemm_shape shape = {.M = g->O,
                                          .N = at_most(g->R - r, s->residues) * taps,
                                          .K = b.rows * row,
                                          .trans_a = true,
                                          .lda = g->O,
                                          .ldb = ld,
                                          .ldc = g->R * taps,
                                          .add = add};
        good = good && ts_dnnl_gemm(&shape, y, own + r / g->stride[0] * row * ld, sums + r * taps);
    }
    return good;
}

TS_SIMD static void join(float *restrict sums, const float *restrict other, int64_t count)
{
    for (int64_t i = 0; i < count; i++)
        sums[i] += other[i];
}

bool ts_strided_run(const ts_strided *s, const ts_dnnl_operands *o, void *scratch)
{
    const int64_t count = weight_count(s);
    float *w = (float *)(uintptr_t)o->w, *others = (float *)scratch + (size_t)s->shares * block_floats(s);
    bool good = true;
#pragma omp parallel for schedule(static) num_threads(s->shares) reduction(&& : good)
    for (int i = 0; i < s->shares; i++) {
        const int64_t first = s->blocks * i / s->shares, end = s->blocks * (i + 1) / s->shares;
        for (int64_t k = first; k < end; k++)
            good = good && multiply_block(s, i ? others + (i - 1) * count : w,
                                          (float *)scratch + (size_t)i * block_floats(s), o, block_at(s, k), k > first);
    }
    const int64_t each = count / s->shape.O;
#pragma omp parallel for schedule(static) num_threads(s->shares)
    for (int64_t row = 0; row < count; row += each)
        for (int i = 1; i < s->shares; i++)
            join(w + row, others + (i - 1) * count + row, each);
    return good;
}
