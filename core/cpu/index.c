/* Rows picked and put by id, ids counted, and axes exchanged. */
#include <string.h>

#include "core/cpu/simd.h"
#include "core/memory.h"

/* table [K, D], ids [N] -> out [N, D] */
static void gather(float *out, const float *table, const int32_t *ids, int64_t N, int64_t K, int64_t D, float fill)
{
    for (int64_t n = 0; n < N; n++) {
        if (ids[n] >= 0 && ids[n] < K) {
            memcpy(out + n * D, table + ids[n] * D, (size_t)D * sizeof *out);
            continue;
        }
        for (int64_t d = 0; d < D; d++)
            out[n * D + d] = fill;
    }
}

enum { ROWS = 256 };

static void run_gather(const ts_call *call)
{
    const ts_desc *d = call->desc;
    int64_t N = ts_shape_count(d->in[1].shape), K = d->in[0].shape.dim[0], D = d->in[0].shape.dim[1];
    const int32_t *ids = call->in[1];
#pragma omp parallel for schedule(static) num_threads(ts_cpu_threads(call, N *D))
    for (int64_t n = 0; n < N; n += ROWS)
        gather((float *)call->out[0] + n * D, call->in[0], ids + n, N - n < ROWS ? N - n : ROWS, K, D,
               (float)d->attr.axis.value);
}

/* A part of the table that one thread owns: codes from k0 to k1, columns from d0 to d1. */
typedef struct {
    int64_t k0, k1, d0, d1;
} part;

/* rows [N, D], ids [N] -> out [K, D]; the rows of an id are added in their order, whoever owns it */
TS_SIMD static void scatter_add(float *restrict out, const float *restrict rows, const int32_t *restrict ids, int64_t N,
                                int64_t D, part own)
{
    for (int64_t k = own.k0; k < own.k1; k++)
        for (int64_t d = own.d0; d < own.d1; d++)
            out[k * D + d] = 0;
    for (int64_t n = 0; n < N; n++) {
        if (ids[n] < own.k0 || ids[n] >= own.k1)
            continue;
        float *to = out + ids[n] * D;
        const float *from = rows + n * D;
        for (int64_t d = own.d0; d < own.d1; d++)
            to[d] += from[d];
    }
}

/* Wide rows are shared out by columns (whole cache lines), which is fair whatever the ids are; narrow ones by codes. */
static void run_scatter_add(const ts_call *call)
{
    const ts_desc *desc = call->desc;
    int64_t N = ts_shape_count(desc->in[1].shape), K = desc->out[0].shape.dim[0], D = desc->out[0].shape.dim[1];
    int threads = ts_cpu_threads(call, N * D);
    bool columns = D >= 16 * threads;
    int64_t step = columns ? (D / 16 + threads - 1) / threads * 16 : (K + threads - 1) / threads;
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int t = 0; t < threads; t++) {
        int64_t size = columns ? D : K, from = t * step, to = t + 1 == threads ? size : from + step;
        from = from < size ? from : size;
        to = to < size ? to : size;
        part own = columns ? (part){0, K, from, to} : (part){from, to, 0, D};
        scatter_add(call->out[0], call->in[0], call->in[1], N, D, own);
    }
}

enum { MOST_COUNTERS = 1 << 14 }; /* beyond, a table of counts for each thread is no cheap thing */

/* Prepared: threads, of which the first counts into the result and the others into scratch. */
static ts_status prepare_count(const ts_desc *d, ts_device *device, void **prepared, size_t *scratch, ts_error *err)
{
    const int64_t N = ts_shape_count(d->in[0].shape), K = d->out[0].shape.dim[0];
    int *threads = ts_alloc(sizeof *threads);
    if (!threads)
        return ts_out_of_memory(err, sizeof *threads);
    *threads = K <= MOST_COUNTERS && N >= 2 * K ? device->threads : 1;
    *prepared = threads;
    *scratch = (size_t)(*threads - 1) * (size_t)K * sizeof(int64_t);
    return TS_OK;
}

static void count_ids(int64_t *restrict count, const int32_t *restrict ids, int64_t N, int64_t K)
{
    memset(count, 0, (size_t)K * sizeof *count);
    for (int64_t n = 0; n < N; n++)
        if (ids[n] >= 0 && ids[n] < K)
            count[ids[n]]++;
}

static void run_count(const ts_call *call)
{
    const int64_t N = ts_shape_count(call->desc->in[0].shape), K = call->desc->out[0].shape.dim[0];
    const int most = *(const int *)call->prepared, some = ts_cpu_threads(call, N), threads = some < most ? some : most;
    int64_t *count = call->out[0], *others = call->scratch;
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int t = 0; t < threads; t++) {
        const int64_t first = N * t / threads, end = N * (t + 1) / threads;
        count_ids(t ? others + (t - 1) * K : count, (const int32_t *)call->in[0] + first, end - first, K);
    }
    for (int t = 1; t < threads; t++)
        for (int64_t k = 0; k < K; k++)
            count[k] += others[(t - 1) * K + k];
}

/* A permutation with axes of size 1 left out and axes that stay neighbours merged. Sizes and strides are those of the
 * output's axes, outermost first; stride: step in the input for one step along the axis. */
typedef struct {
    int rank;
    int64_t size[TS_MAX_RANK], stride[TS_MAX_RANK];
} walk;

static walk make_walk(const ts_desc *d)
{
    ts_shape x = d->in[0].shape;
    int64_t stride[TS_MAX_RANK + 1];
    walk w = {0};
    stride[x.rank] = 1;
    for (int i = x.rank - 1; i >= 0; i--)
        stride[i] = stride[i + 1] * x.dim[i];
    for (int i = 0; i < x.rank; i++) {
        int from = d->attr.permute.order[i];
        if (x.dim[from] == 1)
            continue;
        if (w.rank && w.stride[w.rank - 1] == stride[from + 1] * x.dim[from]) {
            w.size[w.rank - 1] *= x.dim[from];
            w.stride[w.rank - 1] = stride[from + 1];
        } else {
            w.size[w.rank] = x.dim[from];
            w.stride[w.rank++] = stride[from + 1];
        }
    }
    return w;
}

enum { TILE = 16 };

/* to[r, c] = from[c, r] for at most TILE rows r and `cols` columns c. Each line of the input is read once, whole, into
 * a small square: with strides of a power of two it would not survive in the cache until the next row needs it. */
TS_SIMD static void transpose(uint32_t *restrict to, int64_t to_stride, const uint32_t *restrict from,
                              int64_t from_stride, int64_t rows, int64_t cols)
{
    uint32_t square[TILE][TILE];
    for (int64_t c0 = 0; c0 < cols; c0 += TILE) {
        int64_t width = cols - c0 < TILE ? cols - c0 : TILE;
        for (int64_t c = 0; c < width; c++)
            for (int64_t r = 0; r < rows; r++)
                square[c][r] = from[(c0 + c) * from_stride + r];
        for (int64_t r = 0; r < rows; r++)
            for (int64_t c = 0; c < width; c++)
                to[r * to_stride + c0 + c] = square[c][r];
    }
}

/* The innermost axis of the output, the axis along which the input is contiguous (perhaps the same), and the others. */
typedef struct {
    walk axes;
    int last, inner;
    int64_t to_stride[TS_MAX_RANK], others; /* others: product of their sizes */
} permutation;

static permutation make_permutation(const ts_desc *d)
{
    permutation p = {.axes = make_walk(d), .others = 1};
    if (p.axes.rank == 0)
        p.axes = (walk){.rank = 1, .size = {1}, .stride = {1}};
    p.last = p.axes.rank - 1;
    int64_t stride = 1;
    for (int i = p.last; i >= 0; i--) {
        p.to_stride[i] = stride;
        stride *= p.axes.size[i];
        if (p.axes.stride[i] == 1)
            p.inner = i;
    }
    for (int i = 0; i < p.last; i++)
        p.others *= i == p.inner ? 1 : p.axes.size[i];
    return p;
}

/* Part `item` of the work: a run of the others' positions, and of a transpose a strip of TILE rows. */
static void permute_item(uint32_t *to, const uint32_t *from, const permutation *p, int64_t strips, int64_t item)
{
    const walk *w = &p->axes;
    int64_t rest = item / strips, row = item % strips * TILE;
    for (int i = p->last - 1; i >= 0; i--) {
        if (i == p->inner)
            continue;
        to += rest % w->size[i] * p->to_stride[i];
        from += rest % w->size[i] * w->stride[i];
        rest /= w->size[i];
    }
    if (p->inner == p->last) {
        memcpy(to, from, (size_t)w->size[p->last] * sizeof *to);
        return;
    }
    int64_t rows = w->size[p->inner] - row;
    transpose(to + row * p->to_stride[p->inner], p->to_stride[p->inner], from + row, w->stride[p->last],
              rows < TILE ? rows : TILE, w->size[p->last]);
}

static void run_permute(const ts_call *call)
{
    int64_t n = ts_shape_count(call->desc->out[0].shape);
    if (n == 0)
        return;
    permutation p = make_permutation(call->desc);
    int64_t strips = p.inner == p.last ? 1 : (p.axes.size[p.inner] + TILE - 1) / TILE, items = p.others * strips;
#pragma omp parallel for schedule(static) num_threads(ts_cpu_threads(call, n))
    for (int64_t item = 0; item < items; item++)
        permute_item(call->out[0], call->in[0], &p, strips, item);
}

static bool four_bytes(const ts_desc *d)
{
    return ts_dtype_bytes(d->in[0].dtype) == 4;
}

const ts_kernel ts_cpu_gather = {.name = "simd", .run = run_gather};
const ts_kernel ts_cpu_scatter_add = {.name = "simd", .run = run_scatter_add};
const ts_kernel ts_cpu_count = {.name = "simd", .prepare = prepare_count, .release = ts_free, .run = run_count};
const ts_kernel ts_cpu_permute = {.name = "simd", .accepts = four_bytes, .run = run_permute};
