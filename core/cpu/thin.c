#include "core/cpu/thin.h"

#include <string.h>

#include "core/cpu/simd.h"

/* Products are added to sums in one rounding here: the rest of the project is built without. */
#if defined(__clang__)
#pragma clang fp contract(fast)
#elif defined(__GNUC__)
#pragma GCC optimize("fp-contract=fast")
#endif
#pragma GCC diagnostic ignored "-Wpsabi" /* no vector is passed to a function that is not inlined */

enum { LANES = 16, MAX_FEW = 4, MAX_TAPS = 8, MAX_DW_TAPS = 4, DW_CHUNKS = 16 };
typedef float vector __attribute__((vector_size(LANES * sizeof(float)), aligned(sizeof(float)), may_alias));

#define INLINE static inline __attribute__((always_inline))

INLINE vector load(const float *p)
{
    return *(const vector *)p;
}

bool ts_thin_fits(const ts_dnnl_conv *g, ts_dnnl_pass pass)
{
    const int64_t few = pass == TS_DNNL_BACKWARD_DATA ? g->C : g->O, many = pass == TS_DNNL_BACKWARD_DATA ? g->O : g->C;
    const int64_t taps = pass == TS_DNNL_BACKWARD_WEIGHTS ? MAX_DW_TAPS : MAX_TAPS;
    return g->groups == 1 && few <= MAX_FEW && many % LANES == 0 && g->R <= MAX_TAPS && g->S <= taps;
}

size_t ts_thin_scratch_bytes(const ts_dnnl_conv *g, ts_dnnl_pass pass)
{
    const size_t weights = (size_t)(g->O * g->R * g->S * g->C) * sizeof(float);
    return pass == TS_DNNL_FORWARD ? 0 : pass == TS_DNNL_BACKWARD_DATA ? weights : DW_CHUNKS * weights;
}

/* One line of outputs, `few` channels each, from the same rows of the input: output t reads for each pair of a row and
 * a column tap the pixel first[s] + t*step of that row, where it is inside. */
typedef struct {
    int rows, columns;
    const float *x[MAX_TAPS], *w[MAX_TAPS]; /* a row of the input, and the weights of its taps for channel 0 */
    int64_t first[MAX_TAPS], tap[MAX_TAPS]; /* of a column: where output 0 reads, and its offset in the weights */
    int64_t step, width, channels;          /* of the input */
    int64_t w_step;                         /* from the weights of one output channel to the next */
    int64_t count, y_step;
    float *y;
    const float *bias;
} line;

/* Lane k of the result is the sum of a[k]: four rounds, each adding pairs of vectors into one. */
INLINE vector sums_of(vector a[LANES])
{
#pragma GCC unroll 8
    for (int i = 0; i < 8; i++)
        a[i] =
            __builtin_shufflevector(a[2 * i], a[2 * i + 1], 0, 16, 2, 18, 4, 20, 6, 22, 8, 24, 10, 26, 12, 28, 14, 30) +
            __builtin_shufflevector(a[2 * i], a[2 * i + 1], 1, 17, 3, 19, 5, 21, 7, 23, 9, 25, 11, 27, 13, 29, 15, 31);
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++)
        a[i] =
            __builtin_shufflevector(a[2 * i], a[2 * i + 1], 0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29) +
            __builtin_shufflevector(a[2 * i], a[2 * i + 1], 2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31);
#pragma GCC unroll 2
    for (int i = 0; i < 2; i++)
        a[i] =
            __builtin_shufflevector(a[2 * i], a[2 * i + 1], 0, 1, 2, 3, 16, 17, 18, 19, 8, 9, 10, 11, 24, 25, 26, 27) +
            __builtin_shufflevector(a[2 * i], a[2 * i + 1], 4, 5, 6, 7, 20, 21, 22, 23, 12, 13, 14, 15, 28, 29, 30, 31);
    return __builtin_shufflevector(a[0], a[1], 0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23) +
           __builtin_shufflevector(a[0], a[1], 8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31);
}

/* sum[n*few + f] += x[n] * w[f] for one tap and 16 channels; the pixels are `step` floats apart. */
INLINE void add_tap(vector *sum, const float *x, int64_t step, const vector *w, int few, int outputs)
{
#pragma GCC unroll 16
    for (int n = 0; n < outputs; n++, x += step) {
        const vector v = load(x);
#pragma GCC unroll 4
        for (int f = 0; f < few; f++)
            sum[n * few + f] += v * w[f];
    }
}

/* Outputs t .. t + outputs - 1 of the line, in registers. */
INLINE void dot_block(const line *l, int64_t t, int few, int outputs)
{
    vector sum[LANES];
#pragma GCC unroll 16
    for (int k = 0; k < LANES; k++)
        sum[k] = (vector){0};
    const int64_t pixel = l->step * l->channels;
    for (int64_t c = 0; c < l->channels; c += LANES)
        for (int r = 0; r < l->rows; r++)
            for (int s = 0; s < l->columns; s++) {
                const int64_t j = l->first[s] + t * l->step;
                vector w[MAX_FEW];
#pragma GCC unroll 4
                for (int f = 0; f < few; f++)
                    w[f] = load(l->w[r] + l->tap[s] + f * l->w_step + c);
                if (j >= 0 && j + (outputs - 1) * l->step < l->width) {
                    add_tap(sum, l->x[r] + j * l->channels + c, pixel, w, few, outputs);
                    continue;
                }
#pragma GCC unroll 16
                for (int n = 0; n < outputs; n++)
                    if (j + n * l->step >= 0 && j + n * l->step < l->width)
                        add_tap(sum + n * few, l->x[r] + (j + n * l->step) * l->channels + c, 0, w, few, 1);
            }
    const vector total = sums_of(sum);
    for (int n = 0; n < outputs && t + n < l->count; n++)
        for (int f = 0; f < few; f++)
            l->y[(t + n) * l->y_step + f] = total[n * few + f] + (l->bias ? l->bias[f] : 0);
}

/* The outputs whose taps are all inside: from *first to before *end. */
static void find_inner(const line *l, int64_t *first, int64_t *end)
{
    *first = 0;
    *end = l->count;
    for (int s = 0; s < l->columns; s++) {
        while (*first < l->count && l->first[s] + *first * l->step < 0)
            ++*first;
        while (*end > 0 && l->first[s] + (*end - 1) * l->step >= l->width)
            --*end;
    }
}

/* In blocks that fill the lanes; the last block moves back rather than beyond the end. Outputs at an edge come one by
 * one, so that no block has to ask of each tap of each output whether it is inside. */
INLINE void dot_blocks(const line *l, int few)
{
    const int outputs = LANES / few;
    int64_t first, end;
    find_inner(l, &first, &end);
    if (end - first < outputs) {
        first = 0;
        end = l->count;
    }
    for (int64_t t = first; t < end; t += outputs)
        dot_block(l, t + outputs > end && end - first >= outputs ? end - outputs : t, few, outputs);
    for (int64_t t = first ? 0 : end; t < l->count; t = t + 1 == first ? end : t + 1)
        dot_block(l, t, few, 1);
}

TS_SIMD static void dot_line(const line *l, int64_t few)
{
    switch (few) {
    case 1:
        dot_blocks(l, 1);
        break;
    case 2:
        dot_blocks(l, 2);
        break;
    case 3:
        dot_blocks(l, 3);
        break;
    default:
        dot_blocks(l, 4);
    }
}

/* Row p of y, of image b. */
static void forward_line(const ts_dnnl_conv *g, float *y, const float *x, const float *w, const float *bias, int64_t b,
                         int64_t p)
{
    line l = {.columns = (int)g->S, .step = g->stride[1], .width = g->W, .channels = g->C, .count = g->Q};
    l.w_step = g->R * g->S * g->C;
    l.y_step = g->O;
    l.y = y + (b * g->P + p) * g->Q * g->O;
    l.bias = bias;
    for (int64_t r = 0; r < g->R; r++) {
        const int64_t i = p * g->stride[0] - g->pad[0] + r * g->dilation[0];
        if (i < 0 || i >= g->H)
            continue;
        l.x[l.rows] = x + (b * g->H + i) * g->W * g->C;
        l.w[l.rows++] = w + r * g->S * g->C;
    }
    for (int64_t s = 0; s < g->S; s++) {
        l.first[s] = s * g->dilation[1] - g->pad[1];
        l.tap[s] = s * g->C;
    }
    dot_line(&l, g->O);
}

void ts_thin_forward(const ts_dnnl_conv *g, float *y, const float *x, const float *w, const float *bias, int threads)
{
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t k = 0; k < g->B * g->P; k++)
        forward_line(g, y, x, w, bias, k / g->P, k % g->P);
}

/* Row i of x, of image b: every stride-th column reads the same taps, so each of these phases is a line. w is packed
 * [C, R, S, O]. */
static void data_line(const ts_dnnl_conv *g, float *x, const float *y, const float *w, const float *bias, int64_t b,
                      int64_t i)
{
    line l = {.step = 1, .width = g->Q, .channels = g->O, .bias = bias};
    l.w_step = g->R * g->S * g->O;
    l.y_step = g->stride[1] * g->C;
    for (int64_t r = 0; r < g->R; r++) {
        const int64_t p = i + g->pad[0] - r * g->dilation[0];
        if (p < 0 || p % g->stride[0] != 0 || p / g->stride[0] >= g->P)
            continue;
        l.x[l.rows] = y + (b * g->P + p / g->stride[0]) * g->Q * g->O;
        l.w[l.rows++] = w + r * g->S * g->O;
    }
    for (int64_t phase = 0; phase < g->stride[1] && phase < g->W; phase++) {
        l.columns = 0;
        for (int64_t s = 0; s < g->S; s++) {
            const int64_t q = phase + g->pad[1] - s * g->dilation[1];
            if (q % g->stride[1] != 0)
                continue;
            l.first[l.columns] = q / g->stride[1];
            l.tap[l.columns++] = s * g->O;
        }
        l.count = (g->W - phase + g->stride[1] - 1) / g->stride[1];
        l.y = x + ((b * g->H + i) * g->W + phase) * g->C;
        dot_line(&l, g->C);
    }
}

void ts_thin_data(const ts_dnnl_conv *g, float *x, const float *y, const float *w, const float *bias, float *scratch,
                  int threads)
{
    const int64_t taps = g->R * g->S;
    for (int64_t o = 0; o < g->O; o++)
        for (int64_t k = 0; k < taps; k++)
            for (int64_t c = 0; c < g->C; c++)
                scratch[(c * taps + k) * g->O + o] = w[(o * taps + k) * g->C + c];
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t k = 0; k < g->B * g->H; k++)
        data_line(g, x, y, scratch, bias, k / g->H, k % g->H);
}

/* One row of x against one of y, for one row of taps and 16 channels: sum[f*taps + s] += x[q*stride - pad + s*d]
 * y[q][f].
 */
INLINE void correlate(vector *sum, const ts_dnnl_conv *g, const float *x, const float *y, int few, int taps)
{
    const int64_t reach = (taps - 1) * g->dilation[1];
    for (int64_t q = 0; q < g->Q; q++, y += few) {
        const int64_t j = q * g->stride[1] - g->pad[1];
        const bool inside = j >= 0 && j + reach < g->W;
#pragma GCC unroll 4
        for (int s = 0; s < taps; s++) {
            const int64_t column = j + s * g->dilation[1];
            if (!inside && (column < 0 || column >= g->W))
                continue;
            const vector v = load(x + column * g->C);
#pragma GCC unroll 4
            for (int f = 0; f < few; f++)
                sum[f * taps + s] += v * y[f];
        }
    }
}

/* dw [few, R, taps, C] += from one image, for tap row r and the 16 channels at c. */
INLINE void add_image(float *dw, const ts_dnnl_conv *g, const float *x, const float *y, int64_t r, int64_t c, int few,
                      int taps)
{
    vector sum[MAX_FEW * MAX_DW_TAPS];
#pragma GCC unroll 16
    for (int k = 0; k < few * taps; k++)
        sum[k] = (vector){0};
    for (int64_t p = 0; p < g->P; p++) {
        const int64_t i = p * g->stride[0] - g->pad[0] + r * g->dilation[0];
        if (i >= 0 && i < g->H)
            correlate(sum, g, x + i * g->W * g->C + c, y + p * g->Q * few, few, taps);
    }
#pragma GCC unroll 4
    for (int f = 0; f < few; f++)
#pragma GCC unroll 4
        for (int s = 0; s < taps; s++)
            *(vector *)(dw + ((f * g->R + r) * taps + s) * g->C + c) += sum[f * taps + s];
}

INLINE void add_image_of(float *dw, const ts_dnnl_conv *g, const float *x, const float *y, int few, int taps)
{
    for (int64_t r = 0; r < g->R; r++)
        for (int64_t c = 0; c < g->C; c += LANES)
            add_image(dw, g, x, y, r, c, few, taps);
}

#define TAPS(few, taps)                                                                                                \
    case few * 8 + taps:                                                                                               \
        add_image_of(dw, g, x, y, few, taps);                                                                          \
        break;
#define FEW(few) TAPS(few, 1) TAPS(few, 2) TAPS(few, 3) TAPS(few, 4)

TS_SIMD static void weights_of_image(float *dw, const ts_dnnl_conv *g, const float *x, const float *y)
{
    switch (g->O * 8 + g->S) {
        FEW(1)
        FEW(2)
        FEW(3)
        FEW(4)
    }
}

/* The images are cut into a fixed number of chunks, each with a sum of its own, added in order. */
void ts_thin_weights(const ts_dnnl_conv *g, float *w, const float *x, const float *y, float *scratch, int threads)
{
    const int64_t n = g->O * g->R * g->S * g->C;
    memset(scratch, 0, DW_CHUNKS * (size_t)n * sizeof *scratch);
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t k = 0; k < DW_CHUNKS; k++)
        for (int64_t b = g->B * k / DW_CHUNKS; b < g->B * (k + 1) / DW_CHUNKS; b++)
            weights_of_image(scratch + k * n, g, x + b * g->H * g->W * g->C, y + b * g->P * g->Q * g->O);
    memset(w, 0, (size_t)n * sizeof *w);
    for (int64_t k = 0; k < DW_CHUNKS; k++)
        for (int64_t i = 0; i < n; i++)
            w[i] += scratch[k * n + i];
}
