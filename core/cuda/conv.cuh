/* What the three convolutions share. They are products of tiles (product.cuh) over matrices that are never made: a row
 * is a pixel, k runs over taps and, fastest, channels. The relation of the large image x [B, H, W, C], the small one y
 * [B, P, Q, O] and w [O, R, S, C/groups] is in core/ref/conv.c. */
#ifndef TS_CORE_CUDA_CONV_CUH
#define TS_CORE_CUDA_CONV_CUH

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

inline shapes shapes_of(const ts_desc *d)
{
    const ts_shape in0 = d->in[0].shape, in1 = d->in[1].shape, out = d->out[0].shape;
    if (d->op == TS_OP_conv)
        return {in0, out, in1};
    return d->op == TS_OP_conv_transpose ? shapes{out, in0, in1} : shapes{in0, in1, out};
}

inline geometry geometry_of(const ts_desc *d)
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
inline bool accepts(const ts_desc *d)
{
    const shapes s = shapes_of(d);
    const int64_t most = INT32_MAX - 128, *x = s.x.dim, *y = s.y.dim, *w = s.w.dim;
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

template <ts_cut cut_of(const geometry &)>
ts_status prepare(const ts_desc *d, ts_device *, void **, size_t *scratch_bytes, ts_error *)
{
    const ts_cut cut = cut_of(geometry_of(d));
    *scratch_bytes = ts_cut_scratch(&cut);
    return TS_OK;
}

} // namespace

#endif
