/* Vector quantization: the nearest row of a learned codebook. Three kinds, by what moves the codebook:
 *   vector        gradient of the codebook loss (van den Oord et al. 2017; zalando's and T2M-GPT's Quantizer)
 *   vector_ema    moving averages of counts and sums with Laplace smoothing (zalando, sonnet, lucidrains)
 *   vector_reset  T2M-GPT's family: moving averages without smoothing and / or dead codes replaced by rows of the batch
 * The nearest code is a tiled product with a running argmin (autograd/nearest.h): no N x K matrix exists. */
#ifndef TS_QUANT_VECTOR_H
#define TS_QUANT_VECTOR_H

#include "quant/quantizer.h"

extern const ts_quantizer_kind ts_vector_kind, ts_vector_ema_kind, ts_vector_reset_kind;

/* How a codebook starts. */
typedef enum { TS_CODEBOOK_UNIFORM, TS_CODEBOOK_NORMAL } ts_codebook_init;

typedef struct {
    ts_stack_options stack;
    int64_t codes, dim; /* K, D */
    double commitment;  /* weight of mean((z - sg(e))^2) */
    double codebook;    /* weight of mean((e - sg(z))^2) */
    int init;           /* ts_codebook_init: uniform in +-1/K, or N(0, 1) */
    bool rotation;      /* the gradient to z is turned as the code is (rotation.h), else straight-through */
} ts_vector_options;

/* How the codebook of vector_ema (NORMAL, KMEANS) and of vector_reset (ROWS, KMEANS) starts. */
typedef enum { TS_FIRST_NORMAL = 0, TS_FIRST_ROWS = 0, TS_FIRST_KMEANS = 1 } ts_first_codes;

/* Two published conventions of the same averages. ZALANDO: counts start at 0, sums at a draw of their own, smoothed
 * counts are stored back. LUCIDRAINS: counts start at 1, sums at the codebook; smoothing is only what sums are divided
 * by. */
typedef enum { TS_AVERAGES_ZALANDO, TS_AVERAGES_LUCIDRAINS } ts_averages;

typedef struct {
    ts_stack_options stack;
    int64_t codes, dim;
    double commitment, decay, epsilon;
    int averages; /* ts_averages */
    bool rotation;
    bool cosine;   /* z and codes have length 1, the nearest is the one with the largest cosine */
    double expire; /* a code with a count below this share of the tokens per code takes a row of the batch; 0: none */
    int init;      /* ts_first_codes */
    int64_t kmeans_rounds;
} ts_vector_ema_options;

typedef struct {
    ts_stack_options stack;
    int64_t codes, dim;
    double commitment, decay;
    bool ema;   /* codebook = moving sums over moving counts; else only resets change it */
    bool reset; /* a code with a count below `threshold` takes a row of the batch */
    double threshold;
    bool rotation;
    int init; /* ts_first_codes */
    int64_t kmeans_rounds;
} ts_vector_reset_options;

#endif
