/* Finite scalar quantization (Mentzer et al. 2023): each of a few numbers is bounded and rounded to one of its levels;
 * the codebook is the grid of all of them and is never stored. Arithmetic: core/fsq.h.
 *
 * Layers (after lucidrains' ResidualFSQ) are grids that are finer by the number of levels each. Together n layers are
 * one even grid of L^n levels a dim, read digit by digit, the coarsest first. */
#ifndef TS_QUANT_FINITE_SCALAR_H
#define TS_QUANT_FINITE_SCALAR_H

#include "autograd/fsq.h"
#include "quant/quantizer.h"

extern const ts_quantizer_kind ts_finite_scalar_kind;

/* The grid of so many levels a dim, as an option lists them: for every kind whose ids are its digits. */
ts_fsq_opts ts_grid_of(const ts_int_list *levels, ts_fsq_bound bound);

typedef struct {
    ts_stack_options stack;
    ts_int_list levels;      /* of each dim of a code */
    int64_t codebooks;       /* c: independent groups of dims with the same levels */
    int bound;               /* ts_fsq_bound */
    bool hard_clamp;         /* clamp instead of tanh */
    bool rotation;           /* z R before and codes R^T after, R a fixed random orthogonal matrix */
    double noise_dropout;    /* in training, the probability that a number of a code has noise added; 0: none has */
    bool indices;            /* false: no ids are computed */
    bool keep_codebooks_dim; /* ids keep their last axis even where codebooks is 1 (ts_finite_scalar_* only) */
    bool channel_first;      /* z is [B, dim, ...] instead of [B, ..., dim] (ts_finite_scalar_* only) */
    bool force_f32;          /* reals of another width are quantized in f32 */
} ts_finite_scalar_options;

/* The module as the peers have it, with their layouts (the registry's kind is channels last, ids [.., codebooks]).
 *   z      [B, ..., dim], or [B, dim, ...] where channel_first
 *   codes  as z
 *   ids    [B, ..., c]; without the last axis where c is 1 and keep_codebooks_dim is false; absent without `indices` */
typedef struct {
    ts_value codes, ids;
} ts_finite_scalar_result;
ts_finite_scalar_result ts_finite_scalar(ts_scope s, ts_value z, const ts_finite_scalar_options *options);

/* ids -> codes [B, ..., dim] projected out, or [B, dim, ...] where channel_first: what ts_finite_scalar gave for them.
 */
ts_value ts_finite_scalar_codes(ts_scope s, ts_value ids, const ts_finite_scalar_options *options);

/* ids [..] -> level indices [.., levels.count] i32; codes [.., levels.count] -> ids [..]; ids [..] -> grid codes
 * [.., levels.count] without a projection (the implicit codebook is that of all ids). */
ts_value ts_finite_scalar_levels(ts_value ids, const ts_finite_scalar_options *options);
ts_value ts_finite_scalar_ids(ts_value codes, const ts_finite_scalar_options *options);
ts_value ts_finite_scalar_grid(ts_value ids, const ts_finite_scalar_options *options);

#endif
