/* Losses over the codes beside the squared distances (lucidrains' VectorQuantize); the formulas are in
 * docs/quantizers.md#losses-over-the-codes. Of tokens that count.
 *
 * Logits of a token: -|z - e_k|, with cosine z.e_k (quant/code_sample.h). What has a number for every token and code is
 * made in parts, and each part's gradient along with it, so that no table of all tokens is ever in memory. */
#ifndef TS_QUANT_CODE_LOSSES_H
#define TS_QUANT_CODE_LOSSES_H

#include "quant/codebook.h"

/* "commitment": mean of -log p(chosen code), p = softmax(logits). The gradient goes to z, and to e where `both`. */
void ts_cross_entropy_commitment(ts_quantized *q, const ts_lookup *l, double weight, bool both);

/* "diversity": minus the entropy of p = softmax(temperature * logits), averaged over the items (and heads) that share a
 * codebook, mean over the places in an item. Where the item's place counts in no item, it has no part.
 * The gradient goes to z, and to e where `both`. */
void ts_diversity_loss(ts_quantized *q, const ts_lookup *l, double weight, double temperature, bool both);

/* "orthogonal": sum of cos(e_i, e_j)^2 over all pairs / n^2 - 1/n, of the n codes that are chosen by o; mean over
 * codebooks; 0 where no token counts. Without K x K numbers: the sum is that of the squares of E^T E, of unit rows.
 * `codebook` [books K, W] is the one that is meant; the gradient goes to it.
 * Errors: codes are drawn, and the scope has no random numbers. */
void ts_orthogonal_loss(ts_scope s, ts_quantized *q, const ts_lookup *l, ts_value codebook,
                        const ts_code_losses_options *o);

/* Errors: usage, options that contradict each other. */
ts_status ts_code_losses_check(const char *kind, const ts_code_losses_options *o, double commitment, ts_error *err);

/* Rows of the option tables. */
#define TS_LOSS_OPTION(struct_, name_, member, type_, value, most, help_, alias_)                                      \
    {                                                                                                                  \
        .name = name_, .type = type_, .offset = offsetof(struct_, losses.member), .fallback = value, .min = 0,         \
        .max = most, .help = help_, .alias = alias_                                                                    \
    }
#define TS_CODE_LOSSES(struct_)                                                                                        \
    TS_LOSS_OPTION(struct_, "cross_entropy", cross_entropy, TS_OPTION_BOOL, "false", 0,                                \
                   "commitment is the cross-entropy of the chosen code, not a squared distance",                       \
                   "commitment_use_cross_entropy_loss"),                                                               \
        TS_LOSS_OPTION(struct_, "diversity", diversity, TS_OPTION_REAL, "0", 1e6,                                      \
                       "weight of minus the entropy of the codes of a batch; 0: none (lucidrains)",                    \
                       "codebook_diversity_loss_weight"),                                                              \
        TS_LOSS_OPTION(struct_, "diversity_temperature", diversity_temperature, TS_OPTION_REAL, "100", 1e6,            \
                       "what logits are multiplied by for diversity (lucidrains: 100)",                                \
                       "codebook_diversity_temperature"),                                                              \
        TS_LOSS_OPTION(struct_, "orthogonal", orthogonal, TS_OPTION_REAL, "0", 1e6,                                    \
                       "weight of the mean squared cosine between codes; 0: none (lucidrains)",                        \
                       "orthogonal_reg_weight"),                                                                       \
        TS_LOSS_OPTION(struct_, "orthogonal_active", orthogonal_active, TS_OPTION_BOOL, "false", 0,                    \
                       "of the codes that the batch has met alone", "orthogonal_reg_active_codes_only"),               \
        TS_LOSS_OPTION(struct_, "orthogonal_most", orthogonal_most, TS_OPTION_INT, "0", 1 << 24,                       \
                       "of about so many of them, drawn anew in each step; 0: of all", "orthogonal_reg_max_codes")

enum { TS_DIVERSITY_TEMPERATURE = 100 }; /* the default */

#endif
