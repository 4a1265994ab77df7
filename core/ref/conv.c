/* Convolution over [B, H, W, C], and its two adjoints. All three are the same relation between a large image
 * x [B, H, W, C], a small one y [B, P, Q, O] and weights w [O, R, S, C/groups]:
 *
 *     y[b, p, q, o] = sum over r, s, c of  x[b, p*stride - pad + r*dilation, q*stride - pad + s*dilation, c] w[o, r, s,
 * c]
 *
 * where x is zero outside of its bounds, and o and c belong to the same group. */
#include <stddef.h>

#include "core/op.h"
#include "core/ref/ref.h"

typedef struct {
    int64_t B, H, W, C, P, Q, O, R, S;
    int64_t c_group, o_group; /* channels of x and of y in a group */
    int64_t stride[2], pad[2], dilation[2];
} geometry;

static geometry geometry_of(const ts_desc *d, ts_shape x, ts_shape y, ts_shape w)
{
    geometry g = {.B = x.dim[0],
                  .H = x.dim[1],
                  .W = x.dim[2],
                  .C = x.dim[3],
                  .P = y.dim[1],
                  .Q = y.dim[2],
                  .O = y.dim[3],
                  .R = w.dim[1],
                  .S = w.dim[2]};
    g.c_group = g.C / d->attr.conv.groups;
    g.o_group = g.O / d->attr.conv.groups;
    for (int i = 0; i < 2; i++) {
        g.stride[i] = d->attr.conv.stride[i];
        g.pad[i] = d->attr.conv.pad[i];
        g.dilation[i] = d->attr.conv.dilation[i];
    }
    return g;
}

/* Row or column of x that tap k of output position p reads, or -1 where that is padding. */
static int64_t source(const geometry *g, int axis, int64_t p, int64_t k)
{
    int64_t i = p * g->stride[axis] - g->pad[axis] + k * g->dilation[axis];
    return i < (axis ? g->W : g->H) ? (i < 0 ? -1 : i) : -1;
}

/* The inverse: the output position whose tap k reads row or column i of x, or -1 where none does. */
static int64_t target(const geometry *g, int axis, int64_t i, int64_t k)
{
    int64_t t = i + g->pad[axis] - k * g->dilation[axis];
    if (t < 0 || t % g->stride[axis] != 0 || t / g->stride[axis] >= (axis ? g->Q : g->P))
        return -1;
    return t / g->stride[axis];
}

/* y[b, p, q, o] without the bias. */
static double conv_at(const geometry *g, const real *x, const real *w, int64_t b, int64_t p, int64_t q, int64_t o)
{
    const int64_t first = o / g->o_group * g->c_group;
    double sum = 0;
    for (int64_t r = 0; r < g->R; r++)
        for (int64_t s = 0; s < g->S; s++) {
            int64_t i = source(g, 0, p, r), j = source(g, 1, q, s);
            if (i < 0 || j < 0)
                continue;
            const real *pixel = x + ((b * g->H + i) * g->W + j) * g->C + first;
            const real *tap = w + ((o * g->R + r) * g->S + s) * g->c_group;
            for (int64_t c = 0; c < g->c_group; c++)
                sum += (double)pixel[c] * (double)tap[c];
        }
    return sum;
}

/* x[b, i, j, c] from y: the transposed relation. */
static double transpose_at(const geometry *g, const real *y, const real *w, int64_t b, int64_t i, int64_t j, int64_t c)
{
    const int64_t first = c / g->c_group * g->o_group;
    double sum = 0;
    for (int64_t r = 0; r < g->R; r++)
        for (int64_t s = 0; s < g->S; s++) {
            int64_t p = target(g, 0, i, r), q = target(g, 1, j, s);
            if (p < 0 || q < 0)
                continue;
            const real *pixel = y + ((b * g->P + p) * g->Q + q) * g->O;
            for (int64_t o = first; o < first + g->o_group; o++)
                sum += (double)pixel[o] * (double)w[((o * g->R + r) * g->S + s) * g->c_group + c % g->c_group];
        }
    return sum;
}

/* w[o, r, s, c] from x and y: c counts within the group of o. */
static double weight_at(const geometry *g, const real *x, const real *y, int64_t o, int64_t r, int64_t s, int64_t c)
{
    const int64_t channel = o / g->o_group * g->c_group + c;
    double sum = 0;
    for (int64_t b = 0; b < g->B; b++)
        for (int64_t p = 0; p < g->P; p++)
            for (int64_t q = 0; q < g->Q; q++) {
                int64_t i = source(g, 0, p, r), j = source(g, 1, q, s);
                if (i >= 0 && j >= 0)
                    sum += (double)x[((b * g->H + i) * g->W + j) * g->C + channel] *
                           (double)y[((b * g->P + p) * g->Q + q) * g->O + o];
            }
    return sum;
}

static real ended(const ts_desc *d, double sum)
{
    const real y = (real)sum;
    return d->attr.conv.relu && y < 0 ? 0 : y;
}

/* x [B, H, W, C], w [O, R, S, C/groups], bias [O] or absent -> y [B, P, Q, O]. */
void REF(conv)(const ts_call *call)
{
    const ts_desc *d = call->desc;
    const geometry g = geometry_of(d, d->in[0].shape, d->out[0].shape, d->in[1].shape);
    const real *x = call->in[0], *w = call->in[1], *bias = d->in_count > 2 ? call->in[2] : NULL;
    real *y = call->out[0];
    for (int64_t b = 0; b < g.B; b++)
        for (int64_t p = 0; p < g.P; p++)
            for (int64_t q = 0; q < g.Q; q++)
                for (int64_t o = 0; o < g.O; o++)
                    *y++ = ended(d, conv_at(&g, x, w, b, p, q, o) + (bias ? (double)bias[o] : 0));
}

/* y [B, P, Q, O], w [O, R, S, C/groups], bias [C] or absent -> x [B, H, W, C]. */
void REF(conv_transpose)(const ts_call *call)
{
    const ts_desc *d = call->desc;
    const geometry g = geometry_of(d, d->out[0].shape, d->in[0].shape, d->in[1].shape);
    const real *y = call->in[0], *w = call->in[1], *bias = d->in_count > 2 ? call->in[2] : NULL;
    real *x = call->out[0];
    for (int64_t b = 0; b < g.B; b++)
        for (int64_t i = 0; i < g.H; i++)
            for (int64_t j = 0; j < g.W; j++)
                for (int64_t c = 0; c < g.C; c++)
                    *x++ = ended(d, transpose_at(&g, y, w, b, i, j, c) + (bias ? (double)bias[c] : 0));
}

/* x [B, H, W, C], y [B, P, Q, O] -> w [O, R, S, C/groups]. */
void REF(conv_dw)(const ts_call *call)
{
    const ts_desc *d = call->desc;
    const geometry g = geometry_of(d, d->in[0].shape, d->in[1].shape, d->out[0].shape);
    real *w = call->out[0];
    for (int64_t o = 0; o < g.O; o++)
        for (int64_t r = 0; r < g.R; r++)
            for (int64_t s = 0; s < g.S; s++)
                for (int64_t c = 0; c < g.c_group; c++)
                    *w++ = (real)weight_at(&g, call->in[0], call->in[1], o, r, s, c);
}
