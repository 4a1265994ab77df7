/* Draws in chunks: each number depends on its place alone, so threads share them out as they like. */
#include "core/random.h"

#include "core/cpu/simd.h"

enum { CHUNK = 4096 };

static void draw(const ts_call *call,
                 void (*fill)(ts_random_key key, uint64_t step, uint64_t first, uint64_t n, float *out))
{
    const int64_t *in = call->in[0], n = ts_shape_count(call->desc->out[0].shape);
    ts_random_key key = {.seed = (uint64_t)in[0], .stream = call->desc->attr.random.stream};
    float *out = call->out[0];
#pragma omp parallel for schedule(static) num_threads(ts_cpu_threads(call, n * 8)) /* one costs as much as 8 others */
    for (int64_t first = 0; first < n; first += CHUNK)
        fill(key, (uint64_t)in[1], (uint64_t)first, (uint64_t)(n - first < CHUNK ? n - first : CHUNK), out + first);
}

static void run_uniform(const ts_call *call)
{
    draw(call, ts_random_uniforms);
}

static void run_normal(const ts_call *call)
{
    draw(call, ts_random_normals);
}

static bool narrow(const ts_desc *d)
{
    return d->out[0].dtype == TS_F32;
}

const ts_kernel ts_cpu_random_uniform = {.name = "threads", .accepts = narrow, .run = run_uniform};
const ts_kernel ts_cpu_random_normal = {.name = "threads", .accepts = narrow, .run = run_normal};
