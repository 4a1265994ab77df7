/* Convolution and its adjoint in the weights, for what cuDNN refuses and for builds without it. */
#include "core/cuda/conv.cuh"

namespace
{

struct conv_job {
    typedef pixels A;
    typedef ts_dense<true> B;
    static constexpr int blocks = 2;
    geometry g;
    int64_t cols;
    const float *x, *w, *bias;
    ts_divider P, Q, channels, taps;
    int K;
    bool vec_x, vec_w, relu;

    __device__ A a(int64_t group, int64_t row) const
    {
        int b = (int)row;
        const int q = Q.split(&b), p = P.split(&b);
        const float *image = x + (int64_t)b * g.H * g.W * g.C + group * g.c_group;
        return {image,
                p * g.stride[0] - g.pad[0],
                q * g.stride[1] - g.pad[1],
                g.dilation[0],
                g.dilation[1],
                g.H,
                g.W,
                g.C,
                channels,
                taps,
                b < g.B ? K : 0,
                vec_x};
    }
    __device__ B b(int64_t group, int64_t col) const
    {
        return B(w + group * g.o_group * K, K, col, g.o_group, K, vec_w);
    }
    __device__ ts_span span(int64_t, int64_t, int64_t, int) const
    {
        return {0, K};
    }
    __device__ float *row(float *out, int64_t group, int64_t row) const
    {
        return row < (int64_t)g.B * g.P * g.Q ? out + row * g.O + group * g.o_group : nullptr;
    }
    __device__ const float *bias_of(int64_t group) const
    {
        return bias + group * g.o_group;
    }
};

ts_cut conv_cut(const geometry &g)
{
    return ts_cut_of(g.groups, (int64_t)g.B * g.P * g.Q, g.o_group, (int64_t)g.R * g.S * g.c_group,
                     (int64_t)g.B * g.P * g.Q * g.O);
}

void conv(const ts_call *call)
{
    const geometry g = geometry_of(call->desc);
    const float *x = ts_cuda_in(call, 0), *w = ts_cuda_in(call, 1);
    const int K = g.R * g.S * g.c_group;
    const bool vec_x = ts_aligned(x, g.C) && g.c_group % 4 == 0, vec_w = ts_aligned(w, K);
    const conv_job job = {g,
                          g.o_group,
                          x,
                          w,
                          ts_cuda_in(call, 2),
                          ts_divider(g.P),
                          ts_divider(g.Q),
                          ts_divider(g.c_group),
                          ts_divider(g.S),
                          K,
                          vec_x,
                          vec_w,
                          call->desc->attr.conv.relu};
    ts_product_run(call, job, conv_cut(g), ts_cuda_out(call, 0), g.O, false, static_cast<float *>(call->scratch));
}

/* Four neighbours (tap, channel) of w, as pixels of x where k is a pixel of y. */
struct met {
    static constexpr bool along_k = false;
    const float *x; /* at the group's first channel */
    int H, W, C, pixels, stride_h, stride_w;
    ts_divider P, Q;
    int i[4], j[4], c[4]; /* from the first pixel of x that a pixel of y sees; c -1: there is no such one */
    bool vec;

    __device__ const float *at(int b, int p, int q, int e) const
    {
        const int row = p * stride_h + i[e], col = q * stride_w + j[e];
        const bool inside = c[e] >= 0 && (unsigned)row < (unsigned)H && (unsigned)col < (unsigned)W;
        return inside ? x + (((int64_t)b * H + row) * W + col) * C + c[e] : nullptr;
    }
    __device__ float4 quad(int k) const
    {
        float v[4] = {0, 0, 0, 0};
        int b = k;
        const int q = Q.split(&b), p = P.split(&b);
        if (k >= pixels)
            return make_float4(0, 0, 0, 0);
        if (vec) {
            const float *from = at(b, p, q, 0);
            return from ? *reinterpret_cast<const float4 *>(from) : make_float4(0, 0, 0, 0);
        }
        TS_UNROLL
        for (int e = 0; e < 4; e++) {
            const float *from = at(b, p, q, e);
            v[e] = from ? *from : 0;
        }
        return make_float4(v[0], v[1], v[2], v[3]);
    }
};

struct weights_job {
    typedef ts_dense<false> A;
    typedef met B;
    static constexpr int blocks = 1;
    geometry g;
    int64_t cols;
    const float *x, *y, *bias;
    ts_divider P, Q, channels, taps;
    int pixels;
    bool vec_x, vec_y;
    static constexpr bool relu = false;

    __device__ A a(int64_t group, int64_t row) const
    {
        return A(y + group * g.o_group, g.O, row, g.o_group, pixels, vec_y);
    }
    __device__ B b(int64_t group, int64_t col) const
    {
        B m = {x + group * g.c_group, g.H, g.W, g.C, pixels, g.stride[0], g.stride[1], P, Q, {}, {}, {}, vec_x};
        TS_UNROLL
        for (int e = 0; e < 4; e++) {
            int r = (int)col + e;
            const int c = channels.split(&r), s = taps.split(&r);
            m.i[e] = r * g.dilation[0] - g.pad[0];
            m.j[e] = s * g.dilation[1] - g.pad[1];
            m.c[e] = col + e < cols ? c : -1;
        }
        return m;
    }
    __device__ ts_span span(int64_t, int64_t, int64_t, int) const
    {
        return {0, pixels};
    }
    __device__ float *row(float *out, int64_t group, int64_t row) const
    {
        return row < g.o_group ? out + (group * g.o_group + row) * cols : nullptr;
    }
    __device__ const float *bias_of(int64_t) const
    {
        return bias;
    }
};

ts_cut weights_cut(const geometry &g)
{
    const int64_t cols = (int64_t)g.R * g.S * g.c_group;
    return ts_cut_of(g.groups, g.o_group, cols, (int64_t)g.B * g.P * g.Q, g.O * cols);
}

void conv_dw(const ts_call *call)
{
    const geometry g = geometry_of(call->desc);
    const float *x = ts_cuda_in(call, 0), *y = ts_cuda_in(call, 1);
    const int64_t cols = (int64_t)g.R * g.S * g.c_group;
    const weights_job job = {g,
                             cols,
                             x,
                             y,
                             nullptr,
                             ts_divider(g.P),
                             ts_divider(g.Q),
                             ts_divider(g.c_group),
                             ts_divider(g.S),
                             g.B * g.P * g.Q,
                             ts_aligned(x, g.C) && g.c_group % 4 == 0,
                             ts_aligned(y, g.O) && g.o_group % 4 == 0};
    ts_product_run(call, job, weights_cut(g), ts_cuda_out(call, 0), cols, false, static_cast<float *>(call->scratch));
}

} // namespace

extern "C" const ts_kernel ts_cuda_conv = {
    .name = "cuda", .accepts = accepts, .prepare = prepare<conv_cut>, .run = conv};
extern "C" const ts_kernel ts_cuda_conv_dw = {
    .name = "cuda", .accepts = accepts, .prepare = prepare<weights_cut>, .run = conv_dw};
