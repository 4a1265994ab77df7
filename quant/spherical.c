#include "quant/spherical.h"

#include <math.h>

#include "autograd/elementwise.h"
#include "autograd/loss.h"
#include "autograd/mask.h"
#include "autograd/node.h"
#include "autograd/shape.h"
#include "autograd/softmax.h"
#include "autograd/surrogate.h"
#include "quant/sign_code.h"

#define FIELD(member) offsetof(ts_spherical_options, member)
#define WEIGHT(name_, fallback_, help_)                                                                                \
    {                                                                                                                  \
        .name = #name_, .type = TS_OPTION_REAL, .offset = FIELD(name_), .fallback = fallback_, .min = 0, .max = 1e6,   \
        .help = help_                                                                                                  \
    }
static const ts_option options_list[] = {
    {.name = "bits",
     .type = TS_OPTION_INT,
     .offset = FIELD(bits),
     .fallback = "18",
     .min = 1,
     .max = 4096,
     .help = "bits of a token, a multiple of group (the paper has 18 and 36)",
     .alias = "embed_dim"},
    {.name = "group",
     .type = TS_OPTION_INT,
     .offset = FIELD(group),
     .fallback = "9",
     .min = 1,
     .max = TS_MAX_BITS,
     .help = "bits of an id: a token has bits/group ids of 2^group codes; the batch's entropy is their sum",
     .alias = "group_size"},
    TS_PROJECTION_OPTIONS,
    {.name = "inv_temperature",
     .type = TS_OPTION_REAL,
     .offset = FIELD(inv_temperature),
     .fallback = "1",
     .min = 1e-6,
     .max = 1e6,
     .help = "1/temperature of the probabilities that the entropies are of (bsq-vit 1, lucidrains 100)"},
    WEIGHT(entropy, "0.1",
           "weight of the entropy penalty over inv_temperature (bsq-vit: zeta 1 in a loss weighted 0.1)"),
    WEIGHT(per_sample, "1", "weight of a token's entropy within the penalty, gamma0"),
    WEIGHT(diversity, "1", "weight of the batch's entropy within the penalty, gamma"),
    WEIGHT(commitment, "0", "weight of the mean over tokens of |z - sg(q)|^2, beta (bsq-vit 0)"),
    {0},
};
#undef WEIGHT
#undef FIELD

static const ts_option_table table = {
    .kind = "spherical",
    .help = "binary spherical quantization (BSQ): the signs of a vector of length 1, in groups of bits",
    .options = options_list,
    .struct_bytes = sizeof(ts_spherical_options)};

static double magnitude(const ts_spherical_options *o)
{
    return 1 / sqrt((double)o->bits);
}

static ts_status info(const void *options, ts_quantizer_info *out, ts_error *err)
{
    const ts_spherical_options *o = options;
    if (o->bits % o->group != 0)
        return ts_fail(err, TS_ERR_USAGE,
                       "spherical: bits is %lld, which groups of %lld do not divide; an id is a whole group, so choose "
                       "bits as a multiple of group",
                       (long long)o->bits, (long long)o->group);
    *out = (ts_quantizer_info){.codes = (int64_t)1 << o->group, .width = o->bits, .groups = o->bits / o->group};
    return TS_OK;
}

/* x [.., bits] -> [N, groups, group] */
static ts_value by_groups(const ts_spherical_options *o, ts_value x)
{
    return ts_reshape(x, ts_shape_of(-1, o->bits / o->group, o->group));
}

/* Of training alone: the batch's entropy is a number of a batch, not of tokens. */
static void losses(ts_scope s, const ts_spherical_options *o, ts_value z, ts_value hard, ts_quantized *out)
{
    ts_value mask = s.mask.graph ? ts_reshape(s.mask, ts_shape_of(-1)) : TS_ABSENT;
    if (s.mode != TS_TRAIN)
        return;
    if (o->entropy > 0) {
        ts_value odds = by_groups(o, ts_scale(z, 4 * o->inv_temperature * magnitude(o)));
        double weight = o->entropy / o->inv_temperature;
        ts_quantized_loss(out, "sample_entropy", ts_sign_sample_entropy(odds, mask), weight * o->per_sample);
        ts_quantized_loss(out, "batch_entropy", ts_sign_batch_entropy(odds, mask, 1e-8), -weight * o->diversity);
    }
    if (o->commitment > 0)
        ts_quantized_loss(out, "commitment", ts_scale(ts_mse_masked(ts_rows(z), ts_rows(hard), mask), (double)o->bits),
                          o->commitment);
}

static void build(ts_scope s, const void *options, ts_value z, ts_quantized *out)
{
    const ts_spherical_options *o = options;
    ts_shape shape = ts_value_shape(z);
    *out = (ts_quantized){.codes = ts_poison(s.graph), .ids = ts_poison(s.graph)};
    ts_enter(s);
    z = ts_l2_normalize(z, 1e-12);
    ts_value hard = ts_sign_codes(z, magnitude(o)), ids = ts_sign_ids(by_groups(o, z));
    out->ids = ts_mask_ids(ts_reshape(ids, ts_shape_with_last(shape, o->bits / o->group)), s.mask);
    losses(s, o, z, hard, out);
    out->codes = ts_mask_rows(ts_straight_through(hard, z), s.mask);
}

static ts_value decode(ts_scope s, const void *options, ts_value ids)
{
    const ts_spherical_options *o = options;
    ts_enter(s);
    ts_value codes = ts_sign_decode(ts_reshape(ids, ts_shape_of(-1)), (int)o->group, magnitude(o));
    return ts_reshape(codes, ts_shape_with_last(ts_value_shape(ids), o->bits));
}

const ts_quantizer_kind ts_spherical_kind = {
    .name = "spherical",
    .table = &table,
    .info = info,
    .build = build,
    .decode = decode,
    .formulas =
        "@forward\n"
        "z = z / |z|;  q = sign(z) / sqrt({bits}), sign(0) = -1\n"
        "out = q\n"
        "id of each group of {group} bits = sum_i [z_i > 0] * 2^({group}-1-i): the first bit is the most significant\n"
        "@loss\n"
        "[entropy]p(code of a group) = softmax over its 2^{group} codes of 2 * {inv_temperature} * z.code;  H is "
        "summed over groups\n"
        "[entropy]sample_entropy = mean of H(p),  batch_entropy = H(mean of p)\n"
        "[entropy]total += {entropy} / {inv_temperature} * ({per_sample} * sample_entropy - {diversity} * "
        "batch_entropy)\n"
        "[commitment]total += {commitment} * commitment,  commitment = mean over tokens of |z - sg(q)|^2\n"
        "these are of training alone\n"
        "@gradient\n"
        "d q / d z = 1, z of length 1: straight-through\n",
};
