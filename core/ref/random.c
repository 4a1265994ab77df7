/* Draws: the bits of core/random.h. Operand 0 is {seed, step}. */
#include "core/random.h"
#include "core/op.h"
#include "core/ref/ref.h"

typedef struct {
    ts_random_key key;
    uint64_t step, count;
} draw;

static draw unpack(const ts_call *call)
{
    const int64_t *in = call->in[0];
    return (draw){.key = {.seed = (uint64_t)in[0], .stream = call->desc->attr.random.stream},
                  .step = (uint64_t)in[1],
                  .count = (uint64_t)ts_shape_count(call->desc->out[0].shape)};
}

void REF(random_uniform)(const ts_call *call)
{
    draw d = unpack(call);
    real *out = call->out[0];
    for (uint64_t i = 0; i < d.count; i++)
        out[i] = ts_random_uniform(d.key, d.step, i);
}

void REF(random_normal)(const ts_call *call)
{
    draw d = unpack(call);
    real *out = call->out[0];
    for (uint64_t i = 0; i < d.count; i++)
        out[i] = ts_random_normal(d.key, d.step, i);
}

void REF(random_index)(const ts_call *call)
{
    draw d = unpack(call);
    int32_t *out = call->out[0];
    uint64_t below = (uint64_t)call->desc->attr.random.below;
    for (uint64_t i = 0; i < d.count; i++)
        out[i] = (int32_t)ts_random_below(d.key, d.step, i, below);
}
