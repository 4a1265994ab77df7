/* Rows of the option tables of the kinds whose codes are rows of a codebook, and what in them contradicts. */
#ifndef TS_QUANT_CODE_OPTIONS_H
#define TS_QUANT_CODE_OPTIONS_H

#include "quant/codebook.h"
#include "quant/rotation.h"

/* Errors: usage, naming the option: heads that do not divide dim, too many codes, rotation of drawn codes ... */
ts_status ts_search_check(const char *kind, const ts_search *how, const ts_heads_options *heads, ts_error *err);

/* codes, width and groups. */
ts_quantizer_info ts_info_of(const ts_search *how);

#define TS_CODES_AND_DIM(struct_)                                                                                      \
    {.name = "codes",                                                                                                  \
     .type = TS_OPTION_INT,                                                                                            \
     .offset = offsetof(struct_, codes),                                                                               \
     .fallback = "512",                                                                                                \
     .min = 1,                                                                                                         \
     .max = 1 << 24,                                                                                                   \
     .help = "codes in the codebook, K (up to 2^24: counts are exact)",                                                \
     .alias = "nb_code, codebook_size"},                                                                               \
    {                                                                                                                  \
        .name = "dim", .type = TS_OPTION_INT, .offset = offsetof(struct_, dim), .fallback = "64", .min = 1,            \
        .max = 65536, .help = "channels of a token, D; with one head, and nothing else said, the width of a code",     \
        .alias = "code_dim"                                                                                            \
    }
#define TS_HEADS(struct_)                                                                                              \
    {.name = "heads",                                                                                                  \
     .type = TS_OPTION_INT,                                                                                            \
     .offset = offsetof(struct_, heads.count),                                                                         \
     .fallback = "1",                                                                                                  \
     .min = 1,                                                                                                         \
     .max = TS_MAX_HEADS,                                                                                              \
     .help = "parts of a token with a code, and an id, each"},                                                         \
        {.name = "separate_codebooks",                                                                                 \
         .type = TS_OPTION_BOOL,                                                                                       \
         .offset = offsetof(struct_, heads.separate),                                                                  \
         .fallback = "false",                                                                                          \
         .help = "every head has a codebook of its own; else all have one",                                            \
         .alias = "separate_codebook_per_head"},                                                                       \
    {                                                                                                                  \
        .name = "codebook_dim", .type = TS_OPTION_INT, .offset = offsetof(struct_, heads.width), .fallback = "0",      \
        .min = 0, .max = 65536,                                                                                        \
        .help = "width of a head's code; 0: dim / heads; where heads of it are not dim wide, linear layers lead in "   \
                "and out"                                                                                              \
    }
#define TS_COMMITMENT(struct_, value)                                                                                  \
    {                                                                                                                  \
        .name = "commitment", .type = TS_OPTION_REAL, .offset = offsetof(struct_, commitment), .fallback = value,      \
        .min = 0, .max = 1e6, .help = "weight of the commitment loss mean((z - sg(e))^2)",                             \
        .alias = "commitment_cost, commitment_weight"                                                                  \
    }
#define TS_ROTATION(struct_)                                                                                           \
    {                                                                                                                  \
        .name = "rotation", .type = TS_OPTION_BOOL, .offset = offsetof(struct_, rotation), .fallback = "false",        \
        .help =                                                                                                        \
            "rotation trick: the gradient to z is turned as the code is (lucidrains: true); else straight-through",    \
        .alias = "rotation_trick"                                                                                      \
    }
#define TS_COSINE(struct_)                                                                                             \
    {                                                                                                                  \
        .name = "cosine", .type = TS_OPTION_BOOL, .offset = offsetof(struct_, cosine), .fallback = "false",            \
        .help = "z and codes are brought to length 1 (lucidrains' use_cosine_sim)", .alias = "use_cosine_sim"          \
    }
#define TS_BETA_ON(struct_)                                                                                            \
    {                                                                                                                  \
        .name = "beta_on", .type = TS_OPTION_CHOICE, .offset = offsetof(struct_, beta_on), .fallback = "commit",       \
        .choices = ts_beta_places,                                                                                     \
        .help = "codebook: `commitment` weighs the codebook loss and `codebook` the commitment loss, as in "           \
                "taming-transformers and what follows it"                                                              \
    }
#define TS_SAMPLING(struct_)                                                                                           \
    {.name = "stochastic",                                                                                             \
     .type = TS_OPTION_BOOL,                                                                                           \
     .offset = offsetof(struct_, sampling.draw),                                                                       \
     .fallback = "false",                                                                                              \
     .help = "in training codes are drawn, the nearer the likelier; else the nearest is taken",                        \
     .alias = "stochastic_sample_codes"},                                                                              \
        {.name = "temperature",                                                                                        \
         .type = TS_OPTION_REAL,                                                                                       \
         .offset = offsetof(struct_, sampling.temperature),                                                            \
         .fallback = "1",                                                                                              \
         .min = 1e-6,                                                                                                  \
         .max = 1e6,                                                                                                   \
         .help = "of stochastic: codes are drawn by softmax(-distance / temperature) (lucidrains: 1)",                 \
         .alias = "sample_codebook_temp"},                                                                             \
    {                                                                                                                  \
        .name = "through_softmax", .type = TS_OPTION_BOOL, .offset = offsetof(struct_, sampling.through),              \
        .fallback = "false",                                                                                           \
        .help = "of stochastic: the gradient is that of the mean code (Gumbel-softmax); else straight-through"         \
    }

extern const char *const ts_beta_places[]; /* by ts_beta_on */

/* What the rows above put in force (core/formula.h). */
#define TS_FORMULA_TOKENS                                                                                              \
    "[codebook_dim]z = W_in z + b_in, {heads} x {codebook_dim} channels, where z has not that many\n"                  \
    "[!heads=1][!separate_codebooks]z in {heads} parts, with a k and an id each; they share the codebook\n"            \
    "[!heads=1][separate_codebooks]z in {heads} parts, with a k, an id and a codebook each\n"                          \
    "[cosine]z and e are brought to length 1 first\n"
#define TS_FORMULA_OUT                                                                                                 \
    "[!codebook_dim]out = e_k\n"                                                                                       \
    "[codebook_dim]out = W_out e_k + b_out\n"
#define TS_FORMULA_CODES                                                                                               \
    "[!stochastic]k = argmin_k |z - e_k|^2, the lowest id on ties\n"                                                   \
    "[stochastic]k drawn in training by p = softmax(-|z - e_k| / {temperature}), else argmin_k |z - e_k|^2\n"
#define TS_FORMULA_LOSSES                                                                                              \
    "[diversity]total += {diversity} * diversity,  diversity = -mean over places of H(q),\n"                           \
    "[diversity]     q = mean over items of softmax(-{diversity_temperature} |z - e|)\n"                               \
    "[orthogonal]total += {orthogonal} * orthogonal,  orthogonal = sum_ij cos(e_i, e_j)^2 / K^2 - 1/K\n"               \
    "[orthogonal_active]     of the K codes that the batch has met\n"                                                  \
    "[orthogonal_most]     of about {orthogonal_most} codes, drawn\n"
#define TS_FORMULA_GRADIENT TS_FORMULA_ROTATION "[through_softmax]but in training d out = d sum_k p_k e_k\n"

#endif
