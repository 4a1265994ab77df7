/* Our own products and convolutions on shapes that reach each way through core/cuda/product.cuh: tiles of 32, 64 and
 * 128 with edges that they do not fill, k in parts, quads that are aligned and that are not. Large tiles are taken
 * where there are 192 blocks of them, in the emulation 24: sizes with `n` in them are for that. */
#include <criterion/criterion.h>

#include "autograd/conv.h"
#include "autograd/matmul.h"
#include "autograd/node.h"
#include "tests/cuda/direct.h"
#include "tests/support/op_check.h"

static ts_value plain(const ts_value *in)
{
    return ts_matmul(in[0], in[1], false, false);
}

static ts_value first_transposed(const ts_value *in)
{
    return ts_matmul(in[0], in[1], true, false);
}

static ts_value second_transposed(const ts_value *in)
{
    return ts_matmul(in[0], in[1], false, true);
}

static ts_value both_transposed(const ts_value *in)
{
    return ts_matmul(in[0], in[1], true, true);
}

static ts_value linear(const ts_value *in)
{
    return ts_linear(in[0], in[1], in[2]);
}

static double worst_of(const ts_op_case *c)
{
    direct_emulated();
    return compare_value_with_double(c, "cuda");
}

/* batch 0: one matrix */
static ts_op_case product_case(bool ta, bool tb, int64_t batch, int64_t M, int64_t N, int64_t K)
{
    ts_value (*builds[])(const ts_value *) = {plain, second_transposed, first_transposed, both_transposed};
    ts_shape a = {3, {batch, ta ? K : M, ta ? M : K}}, b = {3, {batch, tb ? N : K, tb ? K : N}};
    if (!batch) {
        a = ts_shape_of(a.dim[1], a.dim[2]);
        b = ts_shape_of(b.dim[1], b.dim[2]);
    }
    return (ts_op_case){.label = "product",
                        .in_count = 2,
                        .in = {{.dtype = TS_F32, .shape = a}, {.dtype = TS_F32, .shape = b}},
                        .build = builds[2 * ta + tb]};
}

static int check_products(const int64_t (*products)[4], size_t count, int from, int to)
{
    for (size_t i = 0; i < count; i++)
        for (int trans = from; trans < to; trans++) {
            const int64_t *p = products[i];
            ts_op_case c = product_case(trans & 2, trans & 1, p[0], p[1], p[2], p[3]);
            double worst = worst_of(&c);
            cr_expect_leq(worst, 1e-5, "%ld times %ld x %ld x %ld, trans %d: off by %g of the maximum", (long)p[0],
                          (long)p[1], (long)p[2], (long)p[3], trans, worst);
        }
    return (int)count * (to - from);
}

Test(cuda_product, matmul_agrees_on_every_path)
{
    const int64_t n = direct_emulated() ? 3 : 24;
    /* batch, M, N, K; the last two in tiles of 64 and 128 */
    const int64_t all_ways[][4] = {{0, 1, 1, 1},  {0, 33, 31, 9}, {0, 32, 32, 8},      {0, 31, 36, 16},
                                   {0, 65, 4, 7}, {0, 5, 7, 519}, {8 * n, 33, 40, 12}, {8 * n, 67, 69, 13}};
    /* aligned, in parts, in tiles of 64 and 128 */
    const int64_t one_way[][4] = {{0, 8, 132, 1024}, {4 * n, 33, 36, 516}, {0, 517, 212 * n, 4}};
    int compared = check_products(all_ways, sizeof all_ways / sizeof *all_ways, 0, 4);
    compared += check_products(one_way, sizeof one_way / sizeof *one_way, 1, 2);
    cr_assert_geq(compared, 35);
}

Test(cuda_product, parts_give_the_same_bits_again)
{
    direct_emulated();
    ts_op_case c = product_case(false, false, 2, 35, 33, 1031);
    expect_repeatable(&c, "cuda", false);
}

Test(cuda_product, bias_is_added_once)
{
    const ts_op_case cases[] = {
        TS_CASE("one part", linear, TS_NORMAL(37, 12), TS_NORMAL(41, 12), TS_NORMAL(41)),
        TS_CASE("parts", linear, TS_NORMAL(37, 771), TS_NORMAL(41, 771), TS_NORMAL(41)),
        TS_CASE("batch", linear, TS_NORMAL(5, 7, 8), TS_NORMAL(8, 8), TS_NORMAL(8)),
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        cr_expect_leq(worst_of(&cases[i]), 1e-5, "%s", cases[i].label);
}

#define CONV(name, builder, ...)                                                                                       \
    static ts_value name(const ts_value *in)                                                                           \
    {                                                                                                                  \
        return builder(in[0], in[1], in[2], (ts_conv_opts){__VA_ARGS__});                                              \
    }
CONV(same3, ts_conv2d, .pad = {1, 1})
CONV(half4, ts_conv2d, .stride = {2, 2}, .pad = {1, 1})
CONV(uneven, ts_conv2d, .stride = {3, 1}, .pad = {0, 4}, .dilation = {1, 2})
CONV(four_groups, ts_conv2d, .pad = {1, 1}, .groups = 4)
CONV(depthwise, ts_conv2d, .stride = {2, 1}, .pad = {1, 1}, .groups = 8)
CONV(patches, ts_conv2d, .stride = {5, 4})
CONV(up4, ts_conv2d_transpose, .stride = {2, 2}, .pad = {1, 1})
CONV(up_over, ts_conv2d_transpose, .stride = {4, 5}, .output_pad = {2, 0})
CONV(up_common, ts_conv2d_transpose, .stride = {4, 2}, .dilation = {2, 2}, .pad = {1, 0})
CONV(up_coprime, ts_conv2d_transpose, .stride = {2, 3}, .dilation = {3, 2}, .pad = {2, 1})
CONV(up_groups, ts_conv2d_transpose, .stride = {2, 1}, .pad = {1, 0}, .groups = 4)

/* w [O, R, S, C/groups] of a 3x3 convolution with padding 1, or a 4x4 one with stride 2, from x and y. */
static ts_value weights(const ts_value *in, int64_t stride, int64_t taps, int64_t groups)
{
    ts_node_spec spec = {.op = TS_OP_conv_dw, .in_count = 2, .in = {in[0], in[1]}};
    for (int i = 0; i < 2; i++) {
        spec.attr.conv.stride[i] = stride;
        spec.attr.conv.pad[i] = spec.attr.conv.dilation[i] = 1;
    }
    spec.attr.conv.groups = groups;
    spec.out[0] =
        (ts_type){ts_type_of(in[0]).dtype, ts_shape_of(ts_dim(in[1], -1), taps, taps, ts_dim(in[0], -1) / groups)};
    return ts_node_add(in[0].graph, &spec, NULL);
}

static ts_value weights_same3(const ts_value *in)
{
    return weights(in, 1, 3, 1);
}

static ts_value weights_half4(const ts_value *in)
{
    return weights(in, 2, 4, 1);
}

static ts_value weights_groups(const ts_value *in)
{
    return weights(in, 1, 3, 4);
}

Test(cuda_product, convolutions_agree_on_every_path)
{
    const int n = direct_emulated() ? 1 : 8;
    const ts_op_case cases[] = {
        TS_CASE("aligned", same3, TS_NORMAL(2, 5, 7, 8), TS_NORMAL(12, 3, 3, 8), TS_NORMAL(12)),
        TS_CASE("odd channels", same3, TS_NORMAL(2, 5, 7, 7), TS_NORMAL(35, 3, 3, 7), TS_NORMAL(35)),
        TS_CASE("parts", same3, TS_NORMAL(1, 3, 2, 60), TS_NORMAL(9, 3, 3, 60), TS_NORMAL(9)),
        TS_CASE("tiles of 64", same3, TS_NORMAL(3, 8 * n, 64, 4), TS_NORMAL(34, 3, 3, 4), TS_NORMAL(34)),
        TS_CASE("tiles of 128", same3, TS_NORMAL(6, 8 * n, 64, 1), TS_NORMAL(66, 3, 3, 1), TS_NORMAL(66)),
        TS_CASE("stride", half4, TS_NORMAL(2, 9, 8, 4), TS_NORMAL(33, 4, 4, 4), TS_NORMAL(33)),
        TS_CASE("all axes differ", uneven, TS_NORMAL(2, 8, 9, 5), TS_NORMAL(6, 4, 3, 5), TS_NORMAL(6)),
        TS_CASE("groups", four_groups, TS_NORMAL(2, 4, 5, 16), TS_NORMAL(12, 3, 3, 4), TS_NORMAL(12)),
        TS_CASE("depthwise", depthwise, TS_NORMAL(2, 5, 4, 8), TS_NORMAL(16, 3, 3, 1), TS_NORMAL(16)),
        TS_CASE("patches", patches, TS_NORMAL(1, 11, 13, 3), TS_NORMAL(7, 5, 4, 3), TS_NORMAL(7)),
        TS_CASE("up", up4, TS_NORMAL(2, 5, 3, 8), TS_NORMAL(8, 4, 4, 12), TS_NORMAL(12)),
        TS_CASE("up, odd channels", up4, TS_NORMAL(2, 3, 4, 7), TS_NORMAL(7, 4, 4, 5), TS_NORMAL(5)),
        TS_CASE("up, parts", up4, TS_NORMAL(1, 2, 2, 130), TS_NORMAL(130, 4, 4, 3), TS_NORMAL(3)),
        TS_CASE("up, tiles of 64", up4, TS_NORMAL(3, 4 * n, 33, 4), TS_NORMAL(4, 4, 4, 34), TS_NORMAL(34)),
        TS_CASE("up, tiles of 128", up4, TS_NORMAL(6, 4 * n, 33, 1), TS_NORMAL(1, 4, 4, 66), TS_NORMAL(66)),
        TS_CASE("up, pixels without taps", up_over, TS_NORMAL(1, 3, 3, 2), TS_NORMAL(2, 3, 3, 3), TS_NORMAL(3)),
        TS_CASE("up, 2 divides both", up_common, TS_NORMAL(2, 3, 4, 3), TS_NORMAL(3, 3, 3, 2), TS_NORMAL(2)),
        TS_CASE("up, coprime", up_coprime, TS_NORMAL(1, 4, 3, 4), TS_NORMAL(4, 3, 4, 4), TS_NORMAL(4)),
        TS_CASE("up, groups", up_groups, TS_NORMAL(2, 3, 4, 16), TS_NORMAL(16, 3, 2, 4), TS_NORMAL(16)),
        TS_CASE("weights", weights_same3, TS_NORMAL(2, 5, 7, 8), TS_NORMAL(2, 5, 7, 12)),
        TS_CASE("weights, odd channels", weights_same3, TS_NORMAL(2, 5, 7, 5), TS_NORMAL(2, 5, 7, 7)),
        TS_CASE("weights, parts", weights_same3, TS_NORMAL(3, 17, 16, 3), TS_NORMAL(3, 17, 16, 4)),
        TS_CASE("weights, tiles of 64", weights_same3, TS_NORMAL(1, 3, 4, 50), TS_NORMAL(1, 3, 4, 212 * n)),
        TS_CASE("weights, tiles of 128", weights_same3, TS_NORMAL(1, 3, 4, 256), TS_NORMAL(1, 3, 4, 175 * n)),
        TS_CASE("weights, stride", weights_half4, TS_NORMAL(2, 8, 6, 3), TS_NORMAL(2, 4, 3, 5)),
        TS_CASE("weights, groups", weights_groups, TS_NORMAL(2, 3, 4, 16), TS_NORMAL(2, 3, 4, 8)),
    };
    int compared = 0;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        double worst = worst_of(&cases[i]);
        cr_expect_leq(worst, 1e-5, "%s: off by %g of the maximum", cases[i].label, worst);
        compared++;
    }
    cr_assert_geq(compared, 26);
}
