/* Every convolution of the published model has a length-keeping or length-dividing form and a causal one. Where the
 * published code only works for stride 2, this one does for all: it upsamples by `stride`, and an odd stride gets one
 * zero more at the end. */
#include "models/motion_conv.h"

#include "autograd/elementwise.h"
#include "autograd/resample.h"
#include "layers/attention.h"
#include "layers/causal.h"
#include "layers/patch.h"

static const char *const activations[] = {"relu", "silu", "gelu", NULL};

#define FIELD(member) offsetof(ts_motion_conv_options, member)
static const ts_option options_list[] = {
    {.name = "width",
     .type = TS_OPTION_INT,
     .offset = FIELD(width),
     .fallback = "512",
     .min = 1,
     .max = 8192,
     .help = "channels of every hidden layer"},
    {.name = "depth",
     .type = TS_OPTION_INT,
     .offset = FIELD(depth),
     .fallback = "3",
     .min = 0,
     .max = 16,
     .help = "residual blocks in each stack"},
    {.name = "dilation_growth",
     .type = TS_OPTION_INT,
     .offset = FIELD(dilation_growth),
     .fallback = "3",
     .min = 1,
     .max = 16,
     .help = "factor between the dilations of neighbouring residual blocks",
     .alias = "dilation_growth_rate"},
    {.name = "down_t",
     .type = TS_OPTION_INT,
     .offset = FIELD(down_t),
     .fallback = "2",
     .min = 0,
     .max = 8,
     .help = "how often the length is divided by stride"},
    {.name = "stride",
     .type = TS_OPTION_INT,
     .offset = FIELD(stride),
     .fallback = "2",
     .min = 1,
     .max = 16,
     .help = "factor of each division of the length",
     .alias = "stride_t"},
    {.name = "kernel",
     .type = TS_OPTION_INT,
     .offset = FIELD(kernel),
     .fallback = "3",
     .min = 3,
     .max = 63,
     .help = "taps of the outer convolutions and of the residual blocks, an odd number",
     .alias = "kernel_size"},
    {.name = "activation",
     .type = TS_OPTION_CHOICE,
     .offset = FIELD(activation),
     .fallback = "relu",
     .choices = activations,
     .help = "of the residual blocks",
     .alias = "vq_act"},
    {.name = "norm",
     .type = TS_OPTION_CHOICE,
     .offset = FIELD(norm),
     .fallback = "none",
     .choices = ts_norm_names,
     .help = "of the residual blocks: none, layer, group (32 groups; sees all frames), batch",
     .alias = "vq_norm"},
    {.name = "causal",
     .type = TS_OPTION_BOOL,
     .offset = FIELD(causal),
     .fallback = "false",
     .help = "a token depends on no frame behind its own (but for norm GN, and BN in training)"},
    {.name = "attention",
     .type = TS_OPTION_BOOL,
     .offset = FIELD(attention),
     .fallback = "false",
     .help = "attention over time behind every stack, and a middle of two stacks around one more",
     .alias = "use_attn"},
    {.name = "patch",
     .type = TS_OPTION_CHOICE,
     .offset = FIELD(patch),
     .fallback = "haar",
     .choices = ts_patch_names,
     .help = "how patch_size frames become one: Haar wavelets, or side by side",
     .alias = "patch_method"},
    {.name = "patch_size",
     .type = TS_OPTION_INT,
     .offset = FIELD(patch_size),
     .fallback = "1",
     .min = 1,
     .max = 64,
     .help = "frames in a patch, folded into channels before the first convolution; 1: no patches"},
    {0},
};

static const ts_option_table table = {.kind = "motion_conv",
                                      .help = "1-D convolutional autoencoder of T2M-GPT and MotionMillion",
                                      .options = options_list,
                                      .struct_bytes = sizeof(ts_motion_conv_options)};

/* ---- do the options fit each other, and the items? ---- */

enum { NORM_GROUPS = 32, MAX_DILATION = 1 << 16 };

static ts_status check_options(const ts_motion_conv_options *o, ts_error *err)
{
    int64_t dilation = 1;
    for (int64_t i = 1; i < o->depth && dilation <= MAX_DILATION; i++)
        dilation *= o->dilation_growth;
    if (o->kernel % 2 == 0)
        return ts_fail(err, TS_ERR_USAGE, "motion_conv: kernel is %lld, expected an odd number", (long long)o->kernel);
    if (o->norm == TS_NORM_GROUP && o->width % NORM_GROUPS)
        return ts_fail(err, TS_ERR_USAGE, "motion_conv: width is %lld, expected a multiple of 32 for norm GN",
                       (long long)o->width);
    if (dilation > MAX_DILATION)
        return ts_fail(err, TS_ERR_USAGE,
                       "motion_conv: dilation_growth %lld to the power of depth - 1 = %lld is a dilation above %d",
                       (long long)o->dilation_growth, (long long)o->depth - 1, MAX_DILATION);
    if (o->patch == TS_PATCH_HAAR && o->patch_size & (o->patch_size - 1))
        return ts_fail(err, TS_ERR_USAGE, "motion_conv: patch_size is %lld, expected a power of two for patch haar",
                       (long long)o->patch_size);
    return TS_OK;
}

/* Frames of one token. */
static int64_t frames_per_token(const ts_motion_conv_options *o)
{
    int64_t frames = o->patch_size;
    for (int64_t i = 0; i < o->down_t; i++)
        frames *= o->stride;
    return frames;
}

static ts_status check(const void *options, ts_shape item, ts_shape *tokens, ts_error *err)
{
    const ts_motion_conv_options *o = options;
    TS_TRY(check_options(o, err));
    if (item.rank != 2)
        return ts_fail(err, TS_ERR_USAGE, "motion_conv: items are %s, expected frames and columns, [T, C]",
                       ts_shape_print(item).text);
    int64_t frames = frames_per_token(o);
    if (item.dim[0] < frames || item.dim[0] % frames)
        return ts_fail(err, TS_ERR_USAGE,
                       "motion_conv: items have %lld frames, expected a multiple of %lld, the frames of a token "
                       "(patch_size * stride^down_t); set data.window",
                       (long long)item.dim[0], (long long)frames);
    *tokens = ts_shape_of(item.dim[0] / frames);
    return TS_OK;
}

/* ---- layers ---- */

/* [B, T, C] -> [B, T, out]. The published causal code passes its padding where a dilation is expected, so that the
 * taps of a kernel of 5 lie two frames apart; its weights are trained that way. */
static ts_value outer_conv(ts_scope s, const ts_motion_conv_options *o, ts_value x, int64_t out)
{
    int64_t half = (o->kernel - 1) / 2;
    if (o->causal)
        return ts_causal_conv1d_layer(s, x, out, (ts_conv_layer){.kernel = o->kernel, .dilation = half});
    return ts_conv1d_layer(s, x, out, (ts_conv_layer){.kernel = o->kernel, .pad = half});
}

/* [B, T, w] -> [B, T/stride, w]; the same confusion of padding and dilation. */
static ts_value down_conv(ts_scope s, const ts_motion_conv_options *o, ts_value x)
{
    int64_t kernel = 2 * o->stride, half = o->stride / 2;
    if (o->causal)
        return ts_causal_conv1d_layer(
            s, x, o->width, (ts_conv_layer){.kernel = kernel, .stride = o->stride, .dilation = half > 1 ? half : 1});
    return ts_conv1d_layer(
        s, x, o->width,
        (ts_conv_layer){
            .kernel = kernel, .stride = o->stride, .asymmetric = true, .pad = half, .pad_after = o->stride - half});
}

/* [B, T, w] -> [B, T*stride, w] */
static ts_value up_conv(ts_scope s, const ts_motion_conv_options *o, ts_value x)
{
    x = ts_upsample_nearest1d(x, o->stride);
    if (o->causal)
        return ts_causal_conv1d_layer(s, x, o->width, (ts_conv_layer){.kernel = 3});
    return ts_conv1d_layer(s, x, o->width, (ts_conv_layer){.kernel = 3, .pad = 1});
}

static ts_value activation(const ts_motion_conv_options *o, ts_value x)
{
    switch (o->activation) {
    case TS_MOTION_SILU:
        return ts_silu(x);
    case TS_MOTION_GELU:
        return ts_gelu(x);
    default:
        return ts_relu(x);
    }
}

static ts_norm_layer_opts norm_of(const ts_motion_conv_options *o)
{
    return (ts_norm_layer_opts){.kind = (ts_norm_kind)o->norm,
                                .groups = NORM_GROUPS,
                                .eps = o->norm == TS_NORM_LAYER ? 1e-5 : 1e-6,
                                .momentum = 0.1};
}

/* x + conv1(act(norm(conv(act(norm(x)))))); the causal form has three taps whatever `kernel` says. */
static ts_value block(ts_scope s, const ts_motion_conv_options *o, ts_value x, int64_t dilation)
{
    ts_value h = activation(o, ts_norm_layer(ts_sub(s, "norm1"), x, norm_of(o)));
    ts_conv_layer spread = {.kernel = o->kernel, .dilation = dilation, .pad = dilation * (o->kernel - 1) / 2};
    h = o->causal ? ts_causal_conv1d_layer(ts_sub(s, "conv1"), h, o->width,
                                           (ts_conv_layer){.kernel = 3, .dilation = dilation})
                  : ts_conv1d_layer(ts_sub(s, "conv1"), h, o->width, spread);
    h = activation(o, ts_norm_layer(ts_sub(s, "norm2"), h, norm_of(o)));
    h = ts_conv1d_layer(ts_sub(s, "conv2"), h, o->width, (ts_conv_layer){.kernel = 1});
    ts_enter(s);
    return ts_add(h, x);
}

/* The largest dilation first, in the encoder too. */
static ts_value stack(ts_scope s, const ts_motion_conv_options *o, ts_value x)
{
    int64_t dilation = 1;
    for (int64_t i = 1; i < o->depth; i++)
        dilation *= o->dilation_growth;
    for (int i = 0; i < o->depth; i++, dilation /= o->dilation_growth)
        x = block(ts_sub_index(s, "block", i), o, x, dilation);
    return x;
}

static ts_value attend(ts_scope s, const ts_motion_conv_options *o, ts_value x)
{
    return o->attention ? ts_attention_layer(ts_sub(s, "attention"), x, norm_of(o), o->causal) : x;
}

/* Only with attention. */
static ts_value middle(ts_scope s, const ts_motion_conv_options *o, ts_value x)
{
    x = attend(s, o, stack(ts_sub(s, "before"), o, x));
    return stack(ts_sub(s, "after"), o, x);
}

/* ---- the model ---- */

static ts_value encode(ts_scope s, const void *options, ts_value x, int64_t width)
{
    const ts_motion_conv_options *o = options;
    ts_value h = ts_patch(x, (ts_patch_method)o->patch, o->patch_size); /* [B, T/p, C p]    */
    h = ts_relu(outer_conv(ts_sub(s, "first"), o, h, o->width));        /* [B, T/p, w]      */
    for (int i = 0; i < o->down_t; i++) {
        ts_scope level = ts_sub_index(s, "down", i);
        h = down_conv(ts_sub(level, "conv"), o, h); /* [B, T/stride, w] */
        h = attend(level, o, stack(level, o, h));
    }
    if (o->attention) {
        h = middle(ts_sub(s, "middle"), o, h);
        h = ts_relu(ts_norm_layer(ts_sub(s, "norm"), h, norm_of(o)));
    }
    return outer_conv(ts_sub(s, "last"), o, h, width); /* [B, t, D]        */
}

static ts_value decode(ts_scope s, const void *options, ts_value codes, int64_t channels)
{
    const ts_motion_conv_options *o = options;
    ts_value h = outer_conv(ts_sub(s, "first"), o, codes, o->width); /* [B, t, w]        */
    h = o->attention ? middle(ts_sub(s, "middle"), o, h) : ts_relu(h);
    for (int i = 0; i < o->down_t; i++) {
        ts_scope level = ts_sub_index(s, "up", i);
        h = up_conv(ts_sub(level, "conv"), o, stack(level, o, h)); /* [B, t stride, w] */
        h = attend(level, o, h);
    }
    h = ts_relu(outer_conv(ts_sub(s, "body"), o, h, o->width));        /* [B, T/p, w]      */
    h = outer_conv(ts_sub(s, "last"), o, h, channels * o->patch_size); /* [B, T/p, C p]    */
    return ts_unpatch(h, (ts_patch_method)o->patch, o->patch_size);    /* [B, T, C]        */
}

/* Attention would have to keep every frame of the clip. */
static ts_status streams(const void *options, ts_error *err)
{
    const ts_motion_conv_options *o = options;
    if (!o->causal)
        return ts_fail(
            err, TS_ERR_USAGE,
            "motion_conv: a token depends on frames that have not come yet; block by block goes a model that "
            "was trained with model.causal=true");
    if (o->norm == TS_NORM_GROUP)
        return ts_fail(err, TS_ERR_USAGE,
                       "motion_conv: norm GN mixes all frames of a clip; block by block goes one with none, LN or BN");
    if (o->attention)
        return ts_fail(err, TS_ERR_USAGE,
                       "motion_conv: attention sees all frames of a clip; block by block goes one without");
    return TS_OK;
}

const ts_model_kind ts_motion_conv_kind = {
    .name = "motion_conv", .table = &table, .check = check, .encode = encode, .decode = decode, .streams = streams};
