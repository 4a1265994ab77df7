/* Vector quantization: the nearest row of a learned codebook. Three kinds, by what moves the codebook:
 *   vector        gradient of the codebook loss (van den Oord et al. 2017; zalando's and T2M-GPT's Quantizer)
 *   vector_ema    moving averages of counts and sums with Laplace smoothing (zalando, sonnet, lucidrains)
 *   vector_reset  T2M-GPT's family: moving averages without smoothing and / or dead codes replaced by rows of the batch
 * The nearest code is a tiled product with a running argmin (autograd/nearest.h): no N x K matrix exists. */
#ifndef TS_QUANT_VECTOR_H
#define TS_QUANT_VECTOR_H

#include "quant/quantizer.h"

extern const ts_quantizer_kind ts_vector_kind, ts_vector_ema_kind, ts_vector_reset_kind;

/* How the codebook of vector starts. */
typedef enum { TS_CODEBOOK_UNIFORM, TS_CODEBOOK_NORMAL, TS_CODEBOOK_KMEANS } ts_codebook_init;

/* A token as several codes. All 0: one, of the token's width. */
typedef struct {
    int64_t count; /* H: ids of a token; 0 counts as 1 */
    bool separate; /* each head has a codebook of its own; else all have one */
    int64_t width; /* of a code; 0: dim / H. Where H codes are not as wide as a token, linear layers lead in and out */
} ts_heads_options;

/* First codes from data. */
typedef struct {
    int64_t rounds;  /* of Lloyd */
    int64_t batches; /* whose tokens are looked at; 0 counts as 1 */
} ts_kmeans_options;

/* Codes drawn in training, in place of the nearest: p(k) = softmax(logits / temperature). */
typedef struct {
    bool draw;
    double temperature;
    bool through; /* the gradient is that of the mean code under p; else straight-through */
} ts_sampling_options;

/* Losses beside commitment and codebook; code_losses.h has the formulas. */
typedef struct {
    bool cross_entropy; /* what commitment is: the cross-entropy of the chosen code; else a squared distance */
    double diversity;   /* weight of minus the entropy of the codes of a batch; 0: none */
    double diversity_temperature;
    double orthogonal;       /* weight of the mean squared cosine between codes; 0: none */
    bool orthogonal_active;  /* of the codes that the batch has met */
    int64_t orthogonal_most; /* of so many of them, drawn; 0: of all */
} ts_code_losses_options;

/* Which term `commitment` weighs: its own, or, as some peers have it, the codebook's, and then `codebook` weighs
 * commitment. */
typedef enum { TS_BETA_ON_COMMIT, TS_BETA_ON_CODEBOOK } ts_beta_on;

typedef struct {
    ts_stack_options stack;
    int64_t codes, dim; /* K, channels of a token */
    double commitment;  /* weight of mean((z - sg(e))^2) */
    double codebook;    /* weight of mean((e - sg(z))^2) */
    int beta_on;        /* ts_beta_on */
    int init;           /* ts_codebook_init: uniform in +-1/K, or N(0, 1), or k-means */
    bool rotation;      /* the gradient to z is turned as the code is (rotation.h), else straight-through */
    bool cosine;        /* z and codes have length 1, the nearest is the one with the largest cosine */
    ts_heads_options heads;
    ts_sampling_options sampling;
    ts_code_losses_options losses;
    ts_kmeans_options kmeans;
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
    bool cosine;    /* z and codes have length 1, the nearest is the one with the largest cosine */
    double expire;  /* a code with a count below this share of the tokens per code takes a row of the batch; 0: none */
    bool learnable; /* the codebook is a parameter, too: the gradient of the losses moves it beside the averages */
    int init;       /* ts_first_codes */
    ts_heads_options heads;
    ts_sampling_options sampling;
    ts_code_losses_options losses;
    ts_kmeans_options kmeans;
} ts_vector_ema_options;

typedef struct {
    ts_stack_options stack;
    int64_t codes, dim;
    double commitment, decay;
    bool ema;   /* codebook = moving sums over moving counts; else only resets change it */
    bool reset; /* a code with a count below `threshold` takes a row of the batch */
    double threshold;
    double expire;       /* above 0: the threshold as a share of the tokens per code, in the place of `threshold` */
    bool reset_averages; /* the averages of a replaced code start again at its row */
    bool rotation, cosine;
    int init; /* ts_first_codes */
    ts_heads_options heads;
    ts_kmeans_options kmeans;
} ts_vector_reset_options;

#endif
