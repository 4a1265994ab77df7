#include "models/image_small.h"

#include "autograd/elementwise.h"
#include "autograd/resample.h"
#include "layers/conv.h"

static const ts_option options_list[] = {
    {.name = "width",
     .type = TS_OPTION_INT,
     .offset = offsetof(ts_image_small_options, width),
     .fallback = "16",
     .min = 1,
     .max = 4096,
     .help = "channels of the first convolution; the second has twice as many"},
    {0},
};

static const ts_option_table table = {
    .kind = "image_small",
    .help = "lucidrains' small convolutional autoencoder, tokens at a quarter of the size",
    .options = options_list,
    .struct_bytes = sizeof(ts_image_small_options)};

static ts_status check(const void *options, ts_shape item, ts_shape *tokens, ts_error *err)
{
    (void)options;
    if (item.rank != 3 || item.dim[0] < 4 || item.dim[1] < 4 || item.dim[0] % 4 || item.dim[1] % 4)
        return ts_fail(err, TS_ERR_USAGE,
                       "image_small: items are %s, expected images whose height and width are multiples "
                       "of 4; set data.size",
                       ts_shape_print(item).text);
    *tokens = ts_shape_of(item.dim[0] / 4, item.dim[1] / 4);
    return TS_OK;
}

static ts_value conv3(ts_scope s, const char *name, ts_value x, int64_t out)
{
    return ts_conv2d_layer(ts_sub(s, name), x, out, (ts_conv_layer){.kernel = 3, .pad = 1});
}

static ts_value halve(ts_value x)
{
    return ts_max_pool2d(x, (int64_t[2]){2, 2}, (int64_t[2]){2, 2}, (int64_t[2]){0, 0});
}

static ts_value encode(ts_scope s, const void *options, ts_value x, int64_t width)
{
    const ts_image_small_options *o = options;
    ts_value h = ts_gelu(halve(conv3(s, "conv1", x, o->width)));                        /* [B, H/2, W/2, w]  */
    h = halve(conv3(s, "conv2", h, 2 * o->width));                                      /* [B, H/4, W/4, 2w] */
    return ts_conv2d_layer(ts_sub(s, "conv3"), h, width, (ts_conv_layer){.kernel = 1}); /* [B, H/4, W/4, D]  */
}

static ts_value decode(ts_scope s, const void *options, ts_value codes, int64_t channels)
{
    const ts_image_small_options *o = options;
    ts_value h = ts_upsample_nearest2d(conv3(s, "conv1", codes, 2 * o->width), 2, 2); /* [B, H/2, W/2, 2w] */
    h = ts_upsample_nearest2d(ts_gelu(conv3(s, "conv2", h, o->width)), 2, 2);         /* [B, H, W, w]      */
    return conv3(s, "conv3", h, channels);                                            /* [B, H, W, C]      */
}

const ts_model_kind ts_image_small_kind = {
    .name = "image_small", .table = &table, .check = check, .encode = encode, .decode = decode};
