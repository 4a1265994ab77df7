#include "quant/stats.h"

#include <math.h>

ts_usage ts_usage_of(const int64_t *counts, int64_t codes, double epsilon)
{
    ts_usage u = {.codes = codes};
    for (int64_t k = 0; k < codes; k++) {
        u.tokens += counts[k];
        u.used += counts[k] > 0;
    }
    if (u.tokens == 0)
        return u;
    double nats = 0;
    for (int64_t k = 0; k < codes; k++) {
        double p = (double)counts[k] / (double)u.tokens;
        if (p > 0)
            nats -= p * log(p + epsilon);
    }
    u.usage = (double)u.used / (double)codes;
    u.perplexity = exp(nats);
    u.entropy = nats / log(2);
    u.ceiling = (double)(codes < u.tokens ? codes : u.tokens);
    return u;
}
