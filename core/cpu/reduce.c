/* Sums over one run of axes: [outer, length, inner] -> [outer, inner]. The length is cut into chunks of a fixed size,
 * whose partial sums are added in order: the result does not depend on the number of threads. */
#include <math.h>
#include <stdint.h>
#include <string.h>

#include "core/cpu/simd.h"

typedef struct {
    int64_t outer, length, inner;
} run;

enum { CHUNK = 1024 };

/* The reduced axes as one run, axes of size 1 aside. False where other axes lie between them. */
static bool find_run(const ts_desc *d, run *r)
{
    ts_shape shape = d->in[0].shape;
    *r = (run){1, 1, 1};
    int state = 0; /* before, in, after the run */
    for (int i = 0; i < shape.rank; i++) {
        if (shape.dim[i] == 1)
            continue;
        bool reduced = d->attr.axis.axes >> i & 1;
        if (reduced && state == 2)
            return false;
        state = reduced ? 1 : state == 1 ? 2 : state;
        *(state == 0 ? &r->outer : state == 1 ? &r->length : &r->inner) *= shape.dim[i];
    }
    return true;
}

static bool sum_accepts(const ts_desc *d)
{
    run r;
    return d->in[0].dtype == TS_F32 && find_run(d, &r);
}

static int64_t chunks_of(const run *r)
{
    return (r->length + CHUNK - 1) / CHUNK;
}

static ts_status sum_prepare(const ts_desc *d, ts_device *device, void **prepared, size_t *scratch, ts_error *err)
{
    (void)device, (void)prepared, (void)err;
    run r;
    find_run(d, &r);
    *scratch = (size_t)(r.outer * chunks_of(&r) * r.inner) * sizeof(float);
    return TS_OK;
}

TS_SIMD static float sum_row(const float *x, int64_t n)
{
    float total = 0;
#pragma omp simd reduction(+ : total)
    for (int64_t i = 0; i < n; i++)
        total += x[i];
    return total;
}

/* total [inner] = sum of the rows of x [rows, inner] */
TS_SIMD static void sum_columns(float *restrict total, const float *restrict x, int64_t rows, int64_t inner)
{
    memset(total, 0, (size_t)inner * sizeof *total);
    for (int64_t r = 0; r < rows; r++)
        for (int64_t c = 0; c < inner; c++)
            total[c] += x[r * inner + c];
}

static void sum_run(const ts_call *call)
{
    run r;
    find_run(call->desc, &r);
    const float *x = call->in[0];
    float *y = call->out[0], *partial = call->scratch;
    int64_t chunks = chunks_of(&r);
#pragma omp parallel for schedule(static) num_threads(ts_cpu_threads(call, r.outer *r.length *r.inner))
    for (int64_t i = 0; i < r.outer * chunks; i++) {
        int64_t first = i % chunks * CHUNK, rows = r.length - first < CHUNK ? r.length - first : CHUNK;
        const float *from = x + (i / chunks * r.length + first) * r.inner;
        if (r.inner == 1)
            partial[i] = sum_row(from, rows);
        else
            sum_columns(partial + i * r.inner, from, rows, r.inner);
    }
    for (int64_t o = 0; o < r.outer; o++)
        for (int64_t c = 0; c < r.inner; c++) {
            double total = 0;
            for (int64_t k = 0; k < chunks; k++)
                total += (double)partial[(o * chunks + k) * r.inner + c];
            y[o * r.inner + c] = (float)total;
        }
}

const ts_kernel ts_cpu_sum = {.name = "simd", .accepts = sum_accepts, .prepare = sum_prepare, .run = sum_run};

/* broadcast: a scalar, or a row repeated: [C] or [1, .., 1, C] to [.., C]. */
static bool broadcast_accepts(const ts_desc *d)
{
    ts_shape from = d->in[0].shape, to = d->out[0].shape;
    int64_t n = ts_shape_count(from);
    return d->in[0].dtype == TS_F32 &&
           (n == 1 || (to.rank > 0 && n == to.dim[to.rank - 1] && from.rank > 0 && from.dim[from.rank - 1] == n));
}

static void broadcast_run(const ts_call *call)
{
    int64_t n = ts_shape_count(call->desc->in[0].shape), total = ts_shape_count(call->desc->out[0].shape);
    const float *x = call->in[0];
    float *y = call->out[0];
    if (n == 1) {
        const float value = *x;
#pragma omp parallel for simd schedule(static) num_threads(ts_cpu_threads(call, total))
        for (int64_t i = 0; i < total; i++)
            y[i] = value;
        return;
    }
#pragma omp parallel for schedule(static) num_threads(ts_cpu_threads(call, total))
    for (int64_t r = 0; r < total / n; r++)
        memcpy(y + r * n, x, (size_t)n * sizeof *x);
}

const ts_kernel ts_cpu_broadcast = {.name = "simd", .accepts = broadcast_accepts, .run = broadcast_run};

/* x - x is 0 for a finite x, else NaN; the sum of such terms tells in one vectorised pass. */
TS_SIMD static bool finite_row(const float *x, int64_t n)
{
    float spoiled = 0;
#pragma omp simd reduction(+ : spoiled)
    for (int64_t i = 0; i < n; i++)
        spoiled += x[i] - x[i];
    return spoiled == 0;
}

static void all_finite_run(const ts_call *call)
{
    int finite = 1;
    for (int k = 0; k < call->desc->in_count; k++) {
        const float *x = call->in[k];
        int64_t n = ts_shape_count(call->desc->in[k].shape);
#pragma omp parallel for schedule(static) reduction(& : finite) num_threads(ts_cpu_threads(call, n))
        for (int64_t first = 0; first < n; first += CHUNK)
            finite &= finite_row(x + first, n - first < CHUNK ? n - first : CHUNK);
    }
    *(float *)call->out[0] = (float)finite;
}

const ts_kernel ts_cpu_all_finite = {.name = "simd", .run = all_finite_run};
