#include "quant/code_options.h"

#include <inttypes.h>

const char *const ts_beta_places[] = {"commit", "codebook", NULL};

enum { MOST_CODES = 1 << 24 }; /* of all codebooks: counts and places are exact in f32 */

static ts_status check_heads(const char *kind, const ts_code_shape *shape, const ts_heads_options *o, ts_error *err)
{
    if (o->separate && shape->heads == 1)
        return ts_fail(
            err, TS_ERR_USAGE,
            "%s: separate_codebooks is true, and heads is 1, so that there is one codebook; set heads above 1, "
            "or leave separate_codebooks out",
            kind);
    if (o->width == 0 && shape->dim % shape->heads)
        return ts_fail(err, TS_ERR_USAGE,
                       "%s: heads is %" PRId64 ", which does not divide dim %" PRId64
                       "; take one that does, or give the width of a head's code as codebook_dim",
                       kind, shape->heads, shape->dim);
    if (shape->books * shape->codes > MOST_CODES)
        return ts_fail(err, TS_ERR_USAGE,
                       "%s: %" PRId64 " codebooks of %" PRId64 " codes are more than 2^24 codes; lower heads or codes",
                       kind, shape->books, shape->codes);
    return TS_OK;
}

static ts_status check_sampling(const char *kind, const ts_search *how, ts_error *err)
{
    const ts_sampling_options *o = &how->sampling;
    if (o->draw && how->rotation)
        return ts_fail(
            err, TS_ERR_USAGE,
            "%s: rotation turns the gradient as z turns to its code, and stochastic draws codes that may lie "
            "on the other side, where that has no direction; set one of them to false",
            kind);
    if (o->through && !o->draw)
        return ts_fail(err, TS_ERR_USAGE,
                       "%s: through_softmax is the gradient of drawn codes, and stochastic is false; set stochastic to "
                       "true, or leave through_softmax out",
                       kind);
    if (!o->draw && o->temperature != 1 && o->temperature != 0)
        return ts_fail(err, TS_ERR_USAGE,
                       "%s: temperature is %g, and stochastic is false, so that no code is drawn; set stochastic to "
                       "true, or leave temperature out",
                       kind, o->temperature);
    return TS_OK;
}

ts_status ts_search_check(const char *kind, const ts_search *how, const ts_heads_options *heads, ts_error *err)
{
    if (how->cosine && how->shape.width == 1)
        return ts_fail(err, TS_ERR_USAGE,
                       "%s: cosine brings codes to length 1, and codes of width 1 are then 1 and -1 alone; make them "
                       "wider, or set cosine to false",
                       kind);
    TS_TRY(check_heads(kind, &how->shape, heads, err));
    return check_sampling(kind, how, err);
}

ts_quantizer_info ts_info_of(const ts_search *how)
{
    return (ts_quantizer_info){.codes = how->shape.codes, .width = how->shape.dim, .groups = how->shape.heads};
}
