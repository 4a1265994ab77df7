#include "models/image_classic.h"

#include "autograd/elementwise.h"
#include "layers/conv.h"
#include "layers/residual.h"

#define FIELD(member) offsetof(ts_image_classic_options, member)
static const ts_option options_list[] = {
    {.name = "hidden",
     .type = TS_OPTION_INT,
     .offset = FIELD(hidden),
     .fallback = "128",
     .min = 2,
     .max = 8192,
     .help = "channels of the residual stacks",
     .alias = "num_hiddens"},
    {.name = "residual_hidden",
     .type = TS_OPTION_INT,
     .offset = FIELD(residual_hidden),
     .fallback = "32",
     .min = 1,
     .max = 8192,
     .help = "channels inside a residual block",
     .alias = "num_residual_hiddens"},
    {.name = "residual_layers",
     .type = TS_OPTION_INT,
     .offset = FIELD(residual_layers),
     .fallback = "2",
     .min = 0,
     .max = 64,
     .help = "residual blocks in each stack",
     .alias = "num_residual_layers"},
    {0},
};

static const ts_option_table table = {
    .kind = "image_classic",
    .help = "the VQ-VAE paper's convolutional model (zalando, sonnet), tokens at a quarter of the size",
    .options = options_list,
    .struct_bytes = sizeof(ts_image_classic_options)};

static ts_status check(const void *options, ts_shape item, ts_shape *tokens, ts_error *err)
{
    const ts_image_classic_options *o = options;
    if (item.rank != 3 || item.dim[0] < 4 || item.dim[1] < 4 || item.dim[0] % 4 || item.dim[1] % 4)
        return ts_fail(err, TS_ERR_USAGE,
                       "image_classic: items are %s, expected images whose height and width are "
                       "multiples of 4; set data.size",
                       ts_shape_print(item).text);
    if (o->hidden % 2)
        return ts_fail(err, TS_ERR_USAGE, "image_classic: hidden is %lld, expected an even number",
                       (long long)o->hidden);
    *tokens = ts_shape_of(item.dim[0] / 4, item.dim[1] / 4);
    return TS_OK;
}

static const ts_conv_layer halving = {.kernel = 4, .stride = 2, .pad = 1}; /* or doubling, transposed */
static const ts_conv_layer same = {.kernel = 3, .pad = 1};

static ts_value encode(ts_scope s, const void *options, ts_value x, int64_t width)
{
    const ts_image_classic_options *o = options;
    ts_value h = ts_relu(ts_conv2d_layer(ts_sub(s, "conv1"), x, o->hidden / 2, halving)); /* [B, H/2, W/2, h/2] */
    h = ts_relu(ts_conv2d_layer(ts_sub(s, "conv2"), h, o->hidden, halving));              /* [B, H/4, W/4, h]   */
    h = ts_conv2d_layer(ts_sub(s, "conv3"), h, o->hidden, same);
    h = ts_relu_residual_stack(ts_sub(s, "residual"), h, (int)o->residual_layers, o->residual_hidden);
    return ts_conv2d_layer(ts_sub(s, "pre_vq"), h, width, (ts_conv_layer){.kernel = 1}); /* [B, H/4, W/4, D]   */
}

static ts_value decode(ts_scope s, const void *options, ts_value codes, int64_t channels)
{
    const ts_image_classic_options *o = options;
    ts_value h = ts_conv2d_layer(ts_sub(s, "conv1"), codes, o->hidden, same);
    h = ts_relu_residual_stack(ts_sub(s, "residual"), h, (int)o->residual_layers, o->residual_hidden);
    h = ts_relu(ts_conv2d_transpose_layer(ts_sub(s, "up1"), h, o->hidden / 2, halving)); /* [B, H/2, W/2, h/2] */
    return ts_conv2d_transpose_layer(ts_sub(s, "up2"), h, channels, halving);            /* [B, H, W, C]       */
}

const ts_model_kind ts_image_classic_kind = {
    .name = "image_classic", .table = &table, .check = check, .encode = encode, .decode = decode};
