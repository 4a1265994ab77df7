/* How a codebook is used, from exact counts. Plain C on host arrays. */
#ifndef TS_QUANT_STATS_H
#define TS_QUANT_STATS_H

#include <stdint.h>

typedef struct {
    int64_t codes;     /* K */
    int64_t tokens;    /* sum of the counts */
    int64_t used;      /* codes with a count above 0 */
    double usage;      /* used / K; MotionMillion's "activate" */
    double perplexity; /* exp(-sum p log p), 0 log 0 = 0; between 1 and min(K, tokens). 0 without tokens */
    double entropy;    /* bits */
    double ceiling;    /* min(K, tokens): what no quantizer can exceed on so many tokens */
} ts_usage;

/* epsilon: 0 is exact; the peers add 1e-7 (T2M-GPT, MotionMillion) or 1e-10 (zalando) inside the logarithm. */
ts_usage ts_usage_of(const int64_t *counts, int64_t codes, double epsilon);

#endif
