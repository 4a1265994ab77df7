#include "quant/lookup_free.h"

#include <math.h>

#include "autograd/elementwise.h"
#include "autograd/loss.h"
#include "autograd/mask.h"
#include "autograd/matmul.h"
#include "autograd/node.h"
#include "autograd/reduce.h"
#include "autograd/shape.h"
#include "autograd/softmax.h"
#include "autograd/surrogate.h"
#include "quant/sign_code.h"

/* The alias codebook_size, as the peers have it: a power of two. */
static const char *const codebook_sizes[] = {"2",       "4",       "8",        "16",     "32",     "64",      "128",
                                             "256",     "512",     "1024",     "2048",   "4096",   "8192",    "16384",
                                             "32768",   "65536",   "131072",   "262144", "524288", "1048576", "2097152",
                                             "4194304", "8388608", "16777216", NULL};
static const char *const codebook_bits[] = {"1",  "2",  "3",  "4",  "5",  "6",  "7",  "8",  "9",
                                            "10", "11", "12", "13", "14", "15", "16", "17", "18",
                                            "19", "20", "21", "22", "23", "24", NULL};

#define FIELD(member) offsetof(ts_lookup_free_options, member)
static const ts_option options_list[] = {
    {.name = "bits",
     .type = TS_OPTION_INT,
     .offset = FIELD(bits),
     .fallback = "10",
     .min = 1,
     .max = TS_MAX_BITS,
     .help = "bits of a code: the codebook has 2^bits codes (lucidrains' codebook_size is 2^bits)",
     .alias = "codebook_size, nb_code",
     .alias_choices = codebook_sizes,
     .alias_values = codebook_bits},
    {.name = "codebooks",
     .type = TS_OPTION_INT,
     .offset = FIELD(codebooks),
     .fallback = "1",
     .min = 1,
     .max = 1024,
     .help = "independent groups of bits; each gives an id",
     .alias = "num_codebooks"},
    TS_PROJECTION_OPTIONS,
    {.name = "scale",
     .type = TS_OPTION_REAL,
     .offset = FIELD(scale),
     .fallback = "1",
     .min = 1e-6,
     .max = 1e6,
     .help = "codes are +-scale; with spherical their length",
     .alias = "codebook_scale"},
    {.name = "spherical",
     .type = TS_OPTION_BOOL,
     .offset = FIELD(spherical),
     .fallback = "false",
     .help = "z and codes of each codebook lie on a sphere (kind spherical is the paper's BSQ, one sphere for all)"},
    {.name = "rotation",
     .type = TS_OPTION_BOOL,
     .offset = FIELD(rotation),
     .fallback = "false",
     .help = "rotate z by a fixed random orthogonal matrix before the signs, and the codes back after them",
     .alias = "orthogonal_rotation"},
    {.name = "soft_clamp",
     .type = TS_OPTION_REAL,
     .offset = FIELD(soft_clamp),
     .fallback = "0",
     .min = 0,
     .max = 1e6,
     .help = "z = a tanh(z/a) with this a, at least scale; 0: z as it is",
     .alias = "soft_clamp_input_value"},
    {.name = "inv_temperature",
     .type = TS_OPTION_REAL,
     .offset = FIELD(inv_temperature),
     .fallback = "100",
     .min = 1e-6,
     .max = 1e6,
     .help = "1/temperature of the probabilities that the entropies are of (lucidrains 100; Open-MAGVIT2 100)"},
    {.name = "entropy",
     .type = TS_OPTION_REAL,
     .offset = FIELD(entropy),
     .fallback = "0.1",
     .min = 0,
     .max = 1e6,
     .help = "weight of the entropy penalty (lucidrains, MotionMillion 0.1); 0: none",
     .alias = "entropy_loss_weight"},
    {.name = "diversity",
     .type = TS_OPTION_REAL,
     .offset = FIELD(diversity),
     .fallback = "1",
     .min = 0,
     .max = 1e6,
     .help = "weight of the batch's entropy within the penalty, gamma",
     .alias = "diversity_gamma"},
    {.name = "softplus",
     .type = TS_OPTION_BOOL,
     .offset = FIELD(softplus),
     .fallback = "false",
     .help = "the penalty is softplus(penalty + softplus_offset), never negative (experimental upstream)",
     .alias = "experimental_softplus_entropy_loss"},
    {.name = "softplus_offset",
     .type = TS_OPTION_REAL,
     .offset = FIELD(softplus_offset),
     .fallback = "5",
     .min = -1e6,
     .max = 1e6,
     .help = "added to the penalty before softplus",
     .alias = "entropy_loss_offset"},
    {.name = "commitment",
     .type = TS_OPTION_REAL,
     .offset = FIELD(commitment),
     .fallback = "0.25",
     .min = 0,
     .max = 1e6,
     .help = "weight of the commitment loss mean((z - sg(q))^2) (MotionMillion 0.25; with lucidrains' 0 z may grow "
             "without end)",
     .alias = "commitment_loss_weight"},
    TS_GROUPS_OPTION,
    TS_LAYERS_OPTIONS,
    {0},
};
#undef FIELD

static const ts_option_table table = {
    .kind = "lookup_free",
    .help = "lookup-free quantization (LFQ): the signs of a few numbers; an entropy penalty keeps all codes in use",
    .options = options_list,
    .struct_bytes = sizeof(ts_lookup_free_options)};

static int64_t inner_width(const ts_lookup_free_options *o)
{
    return o->codebooks * o->bits;
}

/* A layer's share of a length. */
static double of_layer(const ts_lookup_free_options *o, double length)
{
    return ldexp(length, -o->stack.layer);
}

/* Of each number of a code. */
static double magnitude(const ts_lookup_free_options *o)
{
    return of_layer(o, o->spherical ? o->scale / sqrt((double)o->bits) : o->scale);
}

static ts_status info(const void *options, ts_quantizer_info *out, ts_error *err)
{
    const ts_lookup_free_options *o = options;
    if (o->soft_clamp > 0 && o->soft_clamp < o->scale)
        return ts_fail(err, TS_ERR_USAGE,
                       "lookup_free: soft_clamp is %g, below scale %g: z could not reach its codes; raise it to %g or "
                       "more, or set it to 0",
                       o->soft_clamp, o->scale, o->scale);
    if (o->softplus && o->entropy == 0)
        return ts_fail(err, TS_ERR_USAGE,
                       "lookup_free: softplus shapes the entropy penalty, and entropy 0 switches that off; set "
                       "entropy above 0, or softplus to false");
    *out = (ts_quantizer_info){.codes = (int64_t)1 << o->bits, .width = inner_width(o), .groups = o->codebooks};
    return TS_OK;
}

/* R [bits, bits], drawn once and never moved; absent where nothing is rotated. */
static ts_value rotation_of(ts_scope s, const ts_lookup_free_options *o)
{
    ts_shape shape = ts_shape_of(o->bits, o->bits);
    return o->rotation ? ts_state(s, "rotation", ts_graph_real(s.graph), shape, TS_ORTHOGONAL) : TS_ABSENT;
}

/* z [.., c * bits] -> what the signs are taken of, [N, c, bits] */
static ts_value to_bits(const ts_lookup_free_options *o, ts_value z, ts_value rotation)
{
    double most = of_layer(o, o->soft_clamp);
    if (most > 0)
        z = ts_scale(ts_tanh(ts_scale(z, 1 / most)), most);
    z = ts_reshape(z, ts_shape_of(-1, o->codebooks, o->bits));
    if (rotation.graph)
        z = ts_matmul(z, rotation, false, false);
    return o->spherical ? ts_scale(ts_l2_normalize(z, 1e-12), of_layer(o, o->scale)) : z;
}

/* codes [N, c, bits] -> [.., c * bits], in the shape of z or of the ids but for the last axis */
static ts_value from_bits(const ts_lookup_free_options *o, ts_value codes, ts_value rotation, ts_shape shape)
{
    if (rotation.graph)
        codes = ts_matmul(codes, rotation, false, true);
    return ts_reshape(codes, ts_shape_with_last(shape, inner_width(o)));
}

/* Of the probabilities in the batch's logarithm: upstream's 1e-5 up to 12 bits. Beyond, less than a code has where all
 * are used alike, for below the floor there is no gradient that would spread them. */
static double floor_of(const ts_lookup_free_options *o)
{
    return fmin(1e-5, ldexp(1. / 16, -(int)o->bits));
}

/* weight * (sample - diversity * batch), both means over codebooks; in parts, or through the softplus and then with the
 * parts beside it for the record. 0 where no token counts. */
static void entropy_losses(const ts_lookup_free_options *o, ts_value z, ts_value mask, ts_quantized *out)
{
    ts_value odds = ts_scale(z, 4 * o->inv_temperature * magnitude(o));
    double each = 1 / (double)o->codebooks;
    ts_value sample = ts_scale(ts_sign_sample_entropy(odds, mask), each);
    ts_value batch = ts_scale(ts_sign_batch_entropy(odds, mask, floor_of(o)), each);
    if (!o->softplus) {
        ts_quantized_loss(out, "sample_entropy", sample, o->entropy);
        ts_quantized_loss(out, "batch_entropy", batch, -o->entropy * o->diversity);
        return;
    }
    ts_value penalty = ts_subtract(sample, ts_scale(batch, o->diversity));
    penalty = ts_softplus(ts_affine(penalty, 1, o->softplus_offset));
    if (mask.graph)
        penalty = ts_mul(penalty, ts_greater(ts_sum_all(mask), ts_scalar(mask.graph, 0)));
    ts_quantized_loss(out, "entropy", penalty, o->entropy);
    ts_quantized_loss(out, "sample_entropy", ts_stop_gradient(sample), 0);
    ts_quantized_loss(out, "batch_entropy", ts_stop_gradient(batch), 0);
}

/* The losses are of training alone, as upstream: the batch's entropy is a number of a batch, not of tokens. */
static void losses(ts_scope s, const ts_lookup_free_options *o, ts_value z, ts_value hard, ts_quantized *out)
{
    ts_value mask = s.mask.graph ? ts_reshape(s.mask, ts_shape_of(-1)) : TS_ABSENT;
    if (s.mode != TS_TRAIN)
        return;
    if (o->entropy > 0)
        entropy_losses(o, z, mask, out);
    ts_shape rows = ts_shape_of(-1, inner_width(o));
    if (o->commitment > 0)
        ts_quantized_loss(out, "commitment", ts_mse_masked(ts_reshape(z, rows), ts_reshape(hard, rows), mask),
                          o->commitment);
}

static void build(ts_scope s, const void *options, ts_value z, ts_quantized *out)
{
    const ts_lookup_free_options *o = options;
    ts_shape shape = ts_value_shape(z);
    *out = (ts_quantized){.codes = ts_poison(s.graph), .ids = ts_poison(s.graph)};
    ts_enter(s);
    ts_value rotation = rotation_of(s, o);
    z = to_bits(o, z, rotation);
    ts_value hard = ts_sign_codes(z, magnitude(o));
    out->ids = ts_mask_ids(ts_reshape(ts_sign_ids(z), ts_shape_with_last(shape, o->codebooks)), s.mask);
    losses(s, o, z, hard, out);
    out->codes = ts_mask_rows(from_bits(o, ts_straight_through(hard, z), rotation, shape), s.mask);
}

static ts_value decode(ts_scope s, const void *options, ts_value ids)
{
    const ts_lookup_free_options *o = options;
    ts_enter(s);
    ts_value codes = ts_sign_decode(ts_reshape(ids, ts_shape_of(-1, o->codebooks)), (int)o->bits, magnitude(o));
    return from_bits(o, codes, rotation_of(s, o), ts_value_shape(ids));
}

const ts_quantizer_kind ts_lookup_free_kind = {
    .name = "lookup_free",
    .table = &table,
    .info = info,
    .build = build,
    .decode = decode,
    .formulas = TS_FORMULA_STACK
    "@forward\n"
    "[soft_clamp]z = {soft_clamp} tanh(z / {soft_clamp})\n"
    "[rotation]z = z R, R a fixed random orthogonal matrix\n"
    "[spherical]z = {scale} z / |z|\n"
    "[!spherical]q = {scale} sign(z), sign(0) = -1\n"
    "[spherical]q = {scale} sign(z) / sqrt({bits}), sign(0) = -1\n"
    "id = sum_i [z_i > 0] * 2^({bits}-1-i): the first bit is the most significant\n"
    "[!layers=1]layer i has {scale} * 2^-i in the place of {scale}\n"
    "[!layers=1][soft_clamp]and {soft_clamp} * 2^-i in the place of {soft_clamp}\n"
    "[!rotation]out = q\n"
    "[rotation]out = q R^T\n"
    "@loss\n"
    "[entropy]p(code) = softmax over all 2^{bits} codes of 2 * {inv_temperature} * z.code\n"
    "[entropy]sample_entropy = mean of H(p),  batch_entropy = H(mean of p)\n"
    "[entropy][!softplus]total += {entropy} * (sample_entropy - {diversity} * batch_entropy)\n"
    "[entropy][softplus]total += {entropy} * softplus(sample_entropy - {diversity} * batch_entropy + "
    "{softplus_offset})\n"
    "[commitment]total += {commitment} * commitment,  commitment = mean((z - sg(q))^2)\n"
    "these are of training alone\n"
    "@gradient\n"
    "d out / d z = 1: straight-through\n",
};
