/* f32 to bf16 and back, by vectors. */
#include <stdint.h>

#include "core/cpu/simd.h"

enum { BLOCK = 16384 };

TS_SIMD static void widen_block(float *restrict to, const uint16_t *restrict from, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        to[i] = ts_f32_from_bf16(from[i]);
}

TS_SIMD static void round_block(uint16_t *restrict to, const float *restrict from, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        to[i] = ts_bf16_from_f32(from[i]);
}

static bool accepts(const ts_desc *d)
{
    const ts_dtype from = d->in[0].dtype, to = d->out[0].dtype;
    return (from == TS_F32 && to == TS_BF16) || (from == TS_BF16 && to == TS_F32);
}

static void run(const ts_call *call)
{
    const int64_t total = ts_shape_count(call->desc->out[0].shape);
    const bool narrows = call->desc->out[0].dtype == TS_BF16;
#pragma omp parallel for schedule(static) num_threads(ts_cpu_threads(call, total))
    for (int64_t i = 0; i < total; i += BLOCK) {
        const int64_t n = total - i < BLOCK ? total - i : BLOCK;
        if (narrows)
            round_block((uint16_t *)call->out[0] + i, (const float *)call->in[0] + i, n);
        else
            widen_block((float *)call->out[0] + i, (const uint16_t *)call->in[0] + i, n);
    }
}

const ts_kernel ts_cpu_cast = {.name = "simd", .accepts = accepts, .run = run};
