/* Convolution's adjoint in the pixels, for what cuDNN refuses and for builds without it. Pixels of x whose distance is
 * a multiple of the stride, a phase, meet the same taps, and each of these meets another pixel of y. So a copy of the
 * product is a phase of a group; other taps are not looked at. */
#include "core/cuda/conv.cuh"

namespace
{

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
    bool vec_y, vec_w, relu;

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
    __device__ ts_span span(int64_t copy, int64_t, int64_t, int) const
    {
        return {0, depth(copy)};
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
    const float *y = ts_cuda_in(call, 0), *w = ts_cuda_in(call, 1);
    up_job job = {g,
                  g.c_group,
                  y,
                  w,
                  ts_cuda_in(call, 2),
                  ts_divider(ts_div_up(g.H, g.stride[0])),
                  ts_divider(ts_div_up(g.W, g.stride[1])),
                  ts_divider(g.o_group),
                  {},
                  {},
                  {},
                  ts_aligned(y, g.O) && g.o_group % 4 == 0,
                  ts_aligned(w, g.c_group),
                  call->desc->attr.conv.relu};
    for (int i = 0; i < 2; i++) {
        job.phases[i] = least(g.stride[i], i ? g.W : g.H);
        job.step[i] = tap_step(g, i);
        job.back[i] = g.dilation[i] / common_divisor(g.stride[i], g.dilation[i]);
    }
    ts_product_run(call, job, up_cut(g), ts_cuda_out(call, 0), g.C, false, static_cast<float *>(call->scratch));
}

} // namespace

extern "C" const ts_kernel ts_cuda_conv_transpose = {
    .name = "cuda", .accepts = accepts, .prepare = prepare<up_cut>, .run = conv_transpose};
