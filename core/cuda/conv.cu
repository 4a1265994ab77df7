/* Convolution, channels last, and its two adjoints as products of tiles (product.cuh) over matrices that are never
 * made: a row is a pixel, k runs over taps and, fastest, channels. For what cuDNN refuses and for builds without it.
 * The relation of the large image x [B, H, W, C], the small one y [B, P, Q, O] and w [O, R, S, C/groups] is in
 * core/ref/conv.c. */
#include "core/cuda/divide.cuh"
#include "core/cuda/library.h"
#include "core/cuda/product.cuh"

namespace
{

struct geometry {
    int B, H, W, C, P, Q, O, R, S, groups;
    int c_group, o_group; /* channels of x and of y in a group */
    int stride[2], pad[2], dilation[2];
};

struct shapes {
    ts_shape x, y, w;
};

shapes shapes_of(const ts_desc *d)
{
    const ts_shape in0 = d->in[0].shape, in1 = d->in[1].shape, out = d->out[0].shape;
    if (d->op == TS_OP_conv)
        return {in0, out, in1};
    return d->op == TS_OP_conv_transpose ? shapes{out, in0, in1} : shapes{in0, in1, out};
}

geometry geometry_of(const ts_desc *d)
{
    const shapes s = shapes_of(d);
    geometry g = {};
    g.B = (int)s.x.dim[0];
    g.H = (int)s.x.dim[1];
    g.W = (int)s.x.dim[2];
    g.C = (int)s.x.dim[3];
    g.P = (int)s.y.dim[1];
    g.Q = (int)s.y.dim[2];
    g.O = (int)s.y.dim[3];
    g.R = (int)s.w.dim[1];
    g.S = (int)s.w.dim[2];
    g.groups = (int)d->attr.conv.groups;
    g.c_group = g.C / g.groups;
    g.o_group = g.O / g.groups;
    for (int i = 0; i < 2; i++) {
        g.stride[i] = (int)d->attr.conv.stride[i];
        g.pad[i] = (int)d->attr.conv.pad[i];
        g.dilation[i] = (int)d->attr.conv.dilation[i];
    }
    return g;
}

/* Pixels, taps times channels and positions are counted in 32 bits here. */
bool accepts(const ts_desc *d)
{
    const shapes s = shapes_of(d);
    const int64_t most = INT32_MAX - 8, *x = s.x.dim, *y = s.y.dim, *w = s.w.dim;
    bool fits = x[3] <= most && y[3] <= most && w[1] * w[2] <= most / (x[3] > y[3] ? x[3] : y[3]);
    for (int i = 0; i < 2; i++)
        fits &=
            x[1 + i] + y[1 + i] * d->attr.conv.stride[i] + d->attr.conv.pad[i] + w[1 + i] * d->attr.conv.dilation[i] <=
            most;
    return fits && x[0] * x[1] <= most / x[2] && y[0] * y[1] <= most / y[2];
}

/* The pixels [H, W, C] that a row's taps meet: tap (0, 0) at (i, j), the next ones a step on. */
struct pixels {
    static constexpr bool along_k = true;
    const float *image; /* at the group's first channel */
    int i, j, i_step, j_step, H, W, C;
    ts_divider channels, taps; /* of the group; of a row of taps */
    int depth;
    bool vec;

    /* 0 where the tap meets padding */
    __device__ const float *pixel(int tap) const
    {
        const int s = taps.split(&tap), row = i + tap * i_step, col = j + s * j_step;
        const bool inside = (unsigned)row < (unsigned)H && (unsigned)col < (unsigned)W;
        return inside ? image + ((int64_t)row * W + col) * C : nullptr;
    }
    __device__ float4 quad(int k) const
    {
        float x[4] = {0, 0, 0, 0};
        int tap = k, c = channels.split(&tap);
        const float *from = k < depth ? pixel(tap) : nullptr;
        if (vec)
            return from ? *reinterpret_cast<const float4 *>(from + c) : make_float4(0, 0, 0, 0);
        TS_UNROLL
        for (int e = 0; e < 4; e++) {
            if (from)
                x[e] = from[c];
            if (++c == channels.d) {
                c = 0;
                from = k + e + 1 < depth ? pixel(++tap) : nullptr;
            }
        }
        return make_float4(x[0], x[1], x[2], x[3]);
    }
};

struct conv_job {
    typedef pixels A;
    typedef ts_dense<true> B;
    static constexpr int blocks = 2;
    geometry g;
    int64_t cols;
    const float *x, *w, *bias;
    ts_divider P, Q, channels, taps;
    int K;
    bool vec_x, vec_w;

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
    __device__ int depth(int64_t) const
    {
        return K;
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

const float *operand(const ts_call *call, int i)
{
    return i < call->desc->in_count ? static_cast<const float *>(call->in[i]) : nullptr;
}

void conv(const ts_call *call)
{
    const geometry g = geometry_of(call->desc);
    const float *x = operand(call, 0), *w = operand(call, 1);
    const int K = g.R * g.S * g.c_group;
    const bool vec_x = ts_aligned(x, g.C) && g.c_group % 4 == 0, vec_w = ts_aligned(w, K);
    const conv_job job = {g,
                          g.o_group,
                          x,
                          w,
                          operand(call, 2),
                          ts_divider(g.P),
                          ts_divider(g.Q),
                          ts_divider(g.c_group),
                          ts_divider(g.S),
                          K,
                          vec_x,
                          vec_w};
    ts_product_run(call, job, conv_cut(g), static_cast<float *>(call->out[0]), g.O, false,
                   static_cast<float *>(call->scratch));
}

/* The transposed relation: pixels of x whose distance is a multiple of the stride, a phase, meet the same taps, and
 * each of these another pixel of y. So a copy of the product is a phase of a group; other taps are not looked at. */
struct phase {
    int first, count, step; /* the taps of one axis */
    int at, back;           /* where in y the first pixel's first tap lies; each further tap lies `back` before */
};

int common_divisor(int a, int b)
{
    return b ? common_divisor(b, a % b) : a;
}

/* From a tap of a phase to the next one. */
int tap_step(const geometry &g, int axis)
{
    return g.stride[axis] / common_divisor(g.stride[axis], g.dilation[axis]);
}

struct up_weights {
    static constexpr bool along_k = false;
    const float *from; /* w at the group's first output channel and this column */
    int64_t pitch;     /* of an output channel */
    ts_divider channels, taps;
    int row_first, row_step, col_first, col_step, S, c_group; /* taps */
    int depth, cols;
    bool vec;

    __device__ float4 quad(int k) const
    {
        int r = k;
        const int o = channels.split(&r), s = taps.split(&r);
        const int tap = (row_first + r * row_step) * S + col_first + s * col_step;
        return ts_quad(from + o * pitch + (int64_t)tap * c_group, k < depth ? cols : 0, vec);
    }
};

struct up_job {
    typedef pixels A;
    typedef up_weights B;
    static constexpr int blocks = 1;
    geometry g;
    int64_t cols;
    const float *y, *w, *bias;
    ts_divider H, W, channels; /* rows and columns of a phase; channels of y in a group */
    int phases[2], step[2], back[2];
    bool vec_y, vec_w;

    __device__ phase phase_of(int64_t copy, int axis) const
    {
        const int at = (int)(axis ? copy % phases[1] : copy / phases[1] % phases[0]) + g.pad[axis];
        const int taps = axis ? g.S : g.R, stride = g.stride[axis];
        int first = 0;
        while (first < taps && first < step[axis] && (at - first * g.dilation[axis]) % stride != 0)
            first++;
        const bool any = first < taps && first < step[axis];
        return {first, any ? (taps - first + step[axis] - 1) / step[axis] : 0, step[axis],
                (at - first * g.dilation[axis]) / stride, back[axis]};
    }
    __device__ int group(int64_t copy) const
    {
        return (int)(copy / ((int64_t)phases[0] * phases[1]));
    }
    __device__ int depth(int64_t copy) const
    {
        return phase_of(copy, 0).count * phase_of(copy, 1).count * g.o_group;
    }
    __device__ A a(int64_t copy, int64_t row) const
    {
        const phase v = phase_of(copy, 0), h = phase_of(copy, 1);
        int b = (int)row;
        const int j = W.split(&b), i = H.split(&b);
        const float *image = y + (int64_t)b * g.P * g.Q * g.O + group(copy) * g.o_group;
        return {image,
                v.at + i,
                h.at + j,
                -v.back,
                -h.back,
                g.P,
                g.Q,
                g.O,
                channels,
                ts_divider(h.count ? h.count : 1),
                b < g.B ? depth(copy) : 0,
                vec_y};
    }
    __device__ B b(int64_t copy, int64_t col) const
    {
        const phase v = phase_of(copy, 0), h = phase_of(copy, 1);
        const int64_t pitch = (int64_t)g.R * g.S * g.c_group, left = g.c_group - col;
        return {w + group(copy) * g.o_group * pitch + col,
                pitch,
                channels,
                ts_divider(h.count ? h.count : 1),
                v.first,
                v.step,
                h.first,
                h.step,
                g.S,
                g.c_group,
                depth(copy),
                left < 4 ? (int)left : 4,
                vec_w};
    }
    __device__ float *row(float *out, int64_t copy, int64_t row) const
    {
        int b = (int)row;
        const int j = W.split(&b) * g.stride[1] + (int)(copy % phases[1]);
        const int i = H.split(&b) * g.stride[0] + (int)(copy / phases[1] % phases[0]);
        const bool there = b < g.B && i < g.H && j < g.W;
        return there ? out + (((int64_t)b * g.H + i) * g.W + j) * g.C + group(copy) * g.c_group : nullptr;
    }
    __device__ const float *bias_of(int64_t copy) const
    {
        return bias + group(copy) * g.c_group;
    }
};

int least(int a, int b)
{
    return a < b ? a : b;
}

ts_cut up_cut(const geometry &g)
{
    const int64_t phases = (int64_t)least(g.stride[0], g.H) * least(g.stride[1], g.W);
    const int64_t pixels_of_phase = g.B * ts_div_up(g.H, g.stride[0]) * ts_div_up(g.W, g.stride[1]);
    const int64_t taps = ts_div_up(g.R, tap_step(g, 0)) * ts_div_up(g.S, tap_step(g, 1)); /* a phase has at most */
    return ts_cut_of(g.groups * phases, pixels_of_phase, g.c_group, taps * g.o_group, (int64_t)g.B * g.H * g.W * g.C);
}

void conv_transpose(const ts_call *call)
{
    const geometry g = geometry_of(call->desc);
    const float *y = operand(call, 0), *w = operand(call, 1);
    up_job job = {g,
                  g.c_group,
                  y,
                  w,
                  operand(call, 2),
                  ts_divider(ts_div_up(g.H, g.stride[0])),
                  ts_divider(ts_div_up(g.W, g.stride[1])),
                  ts_divider(g.o_group),
                  {},
                  {},
                  {},
                  ts_aligned(y, g.O) && g.o_group % 4 == 0,
                  ts_aligned(w, g.c_group)};
    for (int i = 0; i < 2; i++) {
        job.phases[i] = least(g.stride[i], i ? g.W : g.H);
        job.step[i] = tap_step(g, i);
        job.back[i] = g.dilation[i] / common_divisor(g.stride[i], g.dilation[i]);
    }
    ts_product_run(call, job, up_cut(g), static_cast<float *>(call->out[0]), g.C, false,
                   static_cast<float *>(call->scratch));
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
    __device__ int depth(int64_t) const
    {
        return pixels;
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
    const float *x = operand(call, 0), *y = operand(call, 1);
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
    ts_product_run(call, job, weights_cut(g), static_cast<float *>(call->out[0]), cols, false,
                   static_cast<float *>(call->scratch));
}

template <ts_cut cut_of(const geometry &)>
ts_status prepare(const ts_desc *d, ts_device *, void **, size_t *scratch_bytes, ts_error *)
{
    const ts_cut cut = cut_of(geometry_of(d));
    *scratch_bytes = ts_cut_scratch(&cut);
    return TS_OK;
}

} // namespace

#define KERNEL(op, cut)                                                                                                \
    extern "C" const ts_kernel ts_cuda_##op = {.name = "cuda", .accepts = accepts, .prepare = prepare<cut>, .run = op};
KERNEL(conv, conv_cut)
KERNEL(conv_transpose, up_cut)
KERNEL(conv_dw, weights_cut)
