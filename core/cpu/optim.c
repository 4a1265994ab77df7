/* Optimizer steps: passes over memory, bound by bandwidth. */
#include <math.h>

#include "core/cpu/simd.h"

enum { CHUNK = 8192 };

/* Operand i, a scalar; 1 where absent. */
static float scalar(const ts_call *call, int i)
{
    return i < call->desc->in_count && call->in[i] ? *(const float *)call->in[i] : 1.0f;
}

/* How many elements to write: none where operand `ok` is 0 or NaN. */
static int64_t size_if(const ts_call *call, int ok)
{
    return scalar(call, ok) > 0 ? ts_shape_count(call->desc->in[0].shape) : 0;
}

static inline int64_t length_at(int64_t first, int64_t n)
{
    return n - first < CHUNK ? n - first : CHUNK;
}

/* What one step of Adam multiplies with. */
typedef struct {
    float beta1, beta2, eps, keep, decay; /* keep: of the value, 1 - lr * decay; decay: into the gradient */
    float lr, scale, correction1, correction2;
} adam;

TS_SIMD static void adamw(float *restrict p, float *restrict m, float *restrict v, const float *restrict grad,
                          const adam *restrict a, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        float g = grad[i] * a->scale + a->decay * p[i];
        m[i] = a->beta1 * m[i] + (1.0f - a->beta1) * g;
        v[i] = a->beta2 * v[i] + (1.0f - a->beta2) * g * g;
        p[i] = a->keep * p[i] - a->lr * (m[i] / a->correction1) / (sqrtf(v[i] / a->correction2) + a->eps);
    }
}

static void run_adamw(const ts_call *call)
{
    float *p = call->in[0], *m = call->in[1], *v = call->in[2];
    const float *g = call->in[3], *correction = call->in[5];
    double decay = call->desc->attr.optim.weight_decay, lr = (double)scalar(call, 4);
    bool coupled = call->desc->attr.optim.coupled;
    adam a = {.beta1 = (float)call->desc->attr.optim.beta1,
              .beta2 = (float)call->desc->attr.optim.beta2,
              .eps = (float)call->desc->attr.optim.eps,
              .keep = coupled ? 1 : (float)(1 - lr * decay),
              .decay = coupled ? (float)decay : 0,
              .lr = (float)lr,
              .scale = scalar(call, 6),
              .correction1 = correction[0],
              .correction2 = correction[1]};
    int64_t n = size_if(call, 7);
#pragma omp parallel for schedule(static) num_threads(ts_cpu_threads(call, n))
    for (int64_t first = 0; first < n; first += CHUNK)
        adamw(p + first, m + first, v + first, g + first, &a, length_at(first, n));
}

TS_SIMD static void ema(float *restrict e, const float *restrict x, float decay, float rest, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        e[i] = decay * e[i] + rest * x[i];
}

static void run_ema(const ts_call *call)
{
    float *e = call->in[0];
    const float *x = call->in[1];
    double decay = call->desc->attr.optim.decay;
    int64_t n = size_if(call, 2);
#pragma omp parallel for schedule(static) num_threads(ts_cpu_threads(call, n))
    for (int64_t first = 0; first < n; first += CHUNK)
        ema(e + first, x + first, (float)decay, (float)(1 - decay), length_at(first, n));
}

TS_SIMD static double sum_of_squares(const float *x, int64_t n)
{
    double sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < n; i++)
        sum += (double)x[i] * (double)x[i];
    return sum;
}

static ts_status prepare_norm(const ts_desc *d, ts_device *device, void **prepared, size_t *scratch, ts_error *err)
{
    (void)device, (void)prepared, (void)err;
    *scratch = (size_t)(ts_shape_count(d->in[0].shape) / CHUNK + 1) * sizeof(double);
    return TS_OK;
}

/* The sums of chunks are added in order: the same on any number of threads. */
static void run_norm(const ts_call *call)
{
    const float *x = call->in[0];
    double *part = call->scratch, sum = 0;
    int64_t n = ts_shape_count(call->desc->in[0].shape);
#pragma omp parallel for schedule(static) num_threads(ts_cpu_threads(call, n))
    for (int64_t first = 0; first < n; first += CHUNK)
        part[first / CHUNK] = sum_of_squares(x + first, length_at(first, n));
    for (int64_t first = 0; first < n; first += CHUNK)
        sum += part[first / CHUNK];
    *(float *)call->out[0] = (float)sqrt(sum);
}

const ts_kernel ts_cpu_adamw = {.name = "simd", .run = run_adamw};
const ts_kernel ts_cpu_ema = {.name = "simd", .run = run_ema};
const ts_kernel ts_cpu_global_norm = {.name = "simd", .prepare = prepare_norm, .run = run_norm};
