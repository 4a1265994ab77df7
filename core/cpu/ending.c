#include "core/cpu/ending.h"

#include "core/cpu/simd.h"

enum { CHUNK = 256 };

TS_SIMD static void add_rows(float *restrict y, const float *restrict bias, int64_t rows, int64_t C)
{
    for (int64_t i = 0; i < rows; i++)
        for (int64_t c = 0; c < C; c++)
            y[i * C + c] += bias[c];
}

TS_SIMD static void cut(float *y, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        y[i] = y[i] < 0 ? 0 : y[i];
}

static void cut_half(uint16_t *y, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        y[i] = ts_f32_from_bf16(y[i]) < 0 ? 0 : y[i];
}

void ts_cpu_end(const ts_call *call, const float *bias, bool relu)
{
    const ts_type *type = &call->desc->out[0];
    const int64_t n = ts_shape_count(type->shape), C = type->shape.dim[type->shape.rank - 1], rows = C ? n / C : 0;
    if (!bias && !relu)
        return;
#pragma omp parallel for schedule(static) num_threads(ts_cpu_threads(call, n))
    for (int64_t i = 0; i < rows; i += CHUNK) {
        const int64_t count = rows - i < CHUNK ? rows - i : CHUNK;
        if (type->dtype == TS_BF16) {
            cut_half((uint16_t *)call->out[0] + i * C, count * C);
            continue;
        }
        float *y = (float *)call->out[0] + i * C;
        if (bias)
            add_rows(y, bias, count, C);
        if (relu)
            cut(y, count * C);
    }
}
