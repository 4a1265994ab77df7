/* The kinds of quantizers: one line each. */
#include <string.h>

#include "autograd/elementwise.h"
#include "autograd/index.h"
#include "quant/finite_scalar.h"
#include "quant/latent.h"
#include "quant/lookup_free.h"
#include "quant/quantizer.h"
#include "quant/random_projection.h"
#include "quant/scalar_perturbation.h"
#include "quant/sim_vq.h"
#include "quant/spherical.h"
#include "quant/vector.h"

const ts_quantizer_kind *const ts_quantizer_kinds[] = {
    &ts_finite_scalar_kind,
    &ts_vector_kind,
    &ts_vector_ema_kind,
    &ts_vector_reset_kind,
    &ts_lookup_free_kind,
    &ts_spherical_kind,
    &ts_sim_vq_kind,
    &ts_latent_kind,
    &ts_random_projection_kind,
    &ts_scalar_perturbation_kind,
    NULL,
};

const ts_quantizer_kind *ts_quantizer_find(const char *name)
{
    for (int i = 0; ts_quantizer_kinds[i]; i++)
        if (strcmp(ts_quantizer_kinds[i]->name, name) == 0)
            return ts_quantizer_kinds[i];
    return NULL;
}

void ts_quantized_loss(ts_quantized *q, const char *name, ts_value value, double weight)
{
    if (!TS_ASSERT(q->loss_count < TS_MAX_LOSSES))
        return;
    q->losses[q->loss_count].name = name;
    q->losses[q->loss_count].value = value;
    q->losses[q->loss_count++].weight = weight;
}

void ts_quantized_statistic(ts_quantized *q, const char *name, ts_value value, bool sum)
{
    if (!TS_ASSERT(q->statistic_count < TS_MAX_STATISTICS))
        return;
    q->statistics[q->statistic_count].name = name;
    q->statistics[q->statistic_count].value = value;
    q->statistics[q->statistic_count++].sum = sum;
}

ts_value ts_quantizer_join(const ts_value *x, int count, int axis)
{
    ts_value part[TS_MAX_IN] = {x[0]};
    for (int next = 1, n = 1; next < count && x[0].graph; part[0] = ts_concat(part, n, axis))
        for (n = 1; n < TS_MAX_IN && next < count; n++)
            part[n] = x[next++];
    return part[0];
}

ts_value ts_quantized_total(const ts_quantized *q)
{
    ts_value total = TS_ABSENT;
    for (int i = 0; i < q->loss_count; i++) {
        ts_value term = ts_scale(q->losses[i].value, q->losses[i].weight);
        total = total.graph ? ts_add(total, term) : term;
    }
    return total;
}
