/* Where elements lie: from the number of an element of a result to its place in an operand, for operands that are
 * repeated, turned or cut. Divisions are by numbers that are known at the launch, so that they are multiplications. */
#ifndef TS_CORE_CUDA_WALK_CUH
#define TS_CORE_CUDA_WALK_CUH

#include "core/cuda/cuda.h"

/* Division of 0 ... 2^31 - 1 by a constant d >= 1 (Granlund and Montgomery 1994): with s = ceil(log2 d),
 * n / d = (floor(n m / 2^32) + n) / 2^s for m = floor(2^32 (2^s - d) / d) + 1. Of 64 bits: the ordinary one. */
template <class I> struct ts_divisor {
    I by;

    static ts_divisor of(int64_t d)
    {
        return {(I)d};
    }
    __device__ I quotient(I n) const
    {
        return n / by;
    }
};

template <> struct ts_divisor<uint32_t> {
    uint32_t by, magic, shift;

    static ts_divisor of(int64_t d)
    {
        uint32_t shift = 0;
        while (((int64_t)1 << shift) < d)
            shift++;
        uint64_t rest = ((uint64_t)1 << shift) - (uint64_t)d;
        return {(uint32_t)d, (uint32_t)((rest << 32) / (uint64_t)d + 1), shift};
    }
    __device__ uint32_t quotient(uint32_t n) const
    {
        return (__umulhi(n, magic) + n) >> shift;
    }
};

/* May numbers of elements of this operand or result be 32 bits wide? */
static inline bool ts_walk_narrow(int64_t count)
{
    return count <= INT32_MAX;
}

/* Axes with a step in memory for each, innermost first; neighbours that are one run are one axis. */
struct ts_axes {
    int rank = 0;
    int64_t dim[TS_MAX_RANK] = {}, stride[TS_MAX_RANK] = {};

    /* The next axis outwards. */
    void add(int64_t size, int64_t step)
    {
        if (size == 1)
            return;
        if (rank && step == stride[rank - 1] * dim[rank - 1]) {
            dim[rank - 1] *= size;
            return;
        }
        dim[rank] = size;
        stride[rank++] = step;
    }
    int64_t count() const
    {
        int64_t n = 1;
        for (int i = 0; i < rank; i++)
            n *= dim[i];
        return n;
    }
};

/* x as it is read where it is repeated to the shape of y, as in NumPy. */
static inline ts_axes ts_axes_repeated(const ts_shape &x, const ts_shape &y)
{
    ts_axes axes;
    int64_t stride = 1;
    for (int i = 1; i <= y.rank; i++) {
        int64_t own = i <= x.rank ? x.dim[x.rank - i] : 1;
        axes.add(y.dim[y.rank - i], own == 1 ? 0 : stride);
        stride *= own;
    }
    return axes;
}

/* The same for a kernel: I is uint32_t or uint64_t. */
template <class I> struct ts_walk {
    int rank;
    ts_divisor<I> dim[TS_MAX_RANK];
    I stride[TS_MAX_RANK];

    static ts_walk of(const ts_axes &axes)
    {
        ts_walk w = {};
        w.rank = axes.rank ? axes.rank : 1; /* without axes: one element, a step of 0 */
        for (int i = 0; i < axes.rank; i++) {
            w.dim[i] = ts_divisor<I>::of(axes.dim[i] ? axes.dim[i] : 1);
            w.stride[i] = (I)axes.stride[i];
        }
        return w;
    }

    /* The place of element i. */
    __device__ I at(I i) const
    {
        I place = 0;
#pragma unroll
        for (int axis = 0; axis < TS_MAX_RANK; axis++) {
            if (axis == rank - 1)
                return place + i * stride[axis];
            I next = dim[axis].quotient(i);
            place += (i - next * dim[axis].by) * stride[axis];
            i = next;
        }
        return place;
    }
};

static inline bool ts_aligned16(const void *p)
{
    return (uintptr_t)p % 16 == 0;
}

#endif
