/* Products of matrices in square tiles, f32 multiply-adds on the ordinary units: a block computes EDGE x EDGE sums with
 * 2 EDGE threads, each of them up to 8 x 8 in registers, from slices of 8 columns that pass through shared memory, two
 * at a time. Every sum goes over k in ascending order, in one register, so that the choice of EDGE does not show.
 *
 * The operands need not exist as matrices. A source gives four neighbouring elements of one:
 *
 *   along_k          the four are (row, k) ... (row, k + 3), or (row, k) ... (row + 3, k)
 *   float4 quad(k)   of the row that it was made for, see ts_tile::place; 0 where k is beyond the end
 *
 * Memory is read best when the four lie side by side there. */
#ifndef TS_CORE_CUDA_TILE_CUH
#define TS_CORE_CUDA_TILE_CUH

#include "core/cuda/cuda.h"

/* Whether quads of a matrix at p may be read in one piece. */
static inline bool ts_aligned(const void *p, int64_t pitch)
{
    return reinterpret_cast<uintptr_t>(p) % 16 == 0 && pitch % 4 == 0;
}

/* The four floats at p of which `count` exist; vec: p is aligned to 16. */
__device__ static inline float4 ts_quad(const float *p, int count, bool vec)
{
    if (vec && count >= 4)
        return *reinterpret_cast<const float4 *>(p);
    return make_float4(count > 0 ? p[0] : 0, count > 1 ? p[1] : 0, count > 2 ? p[2] : 0, count > 3 ? p[3] : 0);
}

/* A matrix in memory: (row, k) is p[row * pitch + k] (ALONG_K) or p[k * pitch + row]. In the first kind a row beyond
 * the last one is the last one again, so that all threads agree on where k ends; what comes of it is for the job to
 * drop. */
template <bool ALONG_K> struct ts_dense {
    static constexpr bool along_k = ALONG_K;
    const float *from; /* the row */
    int pitch, depth;
    int rows; /* up to 4 of them exist from this one on */
    bool vec; /* p is aligned to 16, and pitch is a multiple of 4 */

    __device__ ts_dense(const float *p, int pitch_, int64_t row, int64_t row_count, int depth_, bool vec_)
        : from(p + (!ALONG_K          ? row
                    : row < row_count ? row * pitch_
                                      : (row_count - 1) * pitch_)),
          pitch(pitch_), depth(depth_), rows(row_count - row < 4 ? (int)(row_count - row) : 4), vec(vec_)
    {
    }
    __device__ float4 quad(int k) const
    {
        if constexpr (ALONG_K)
            return ts_quad(from + k, depth - k, vec);
        else
            return ts_quad(from + (int64_t)k * pitch, k < depth ? rows : 0, vec);
    }
};

template <int EDGE> struct ts_tile {
    static constexpr int threads = 2 * EDGE, slice = 8, pitch = EDGE + 4;
    static constexpr int rows = EDGE >= 64 ? 8 : 4, cols = EDGE >= 128 ? 8 : 4; /* of a thread */
    typedef float sums[rows][cols];
    typedef float half[slice][pitch];
    struct alignas(16) memory {
        half a[2], b[2];
    };

    /* Which row of the tile, and which k of a slice, this thread fetches a quad of. */
    __device__ static int place(bool along_k)
    {
        return along_k ? (int)threadIdx.x / 2 : (int)threadIdx.x % (EDGE / 4) * 4;
    }
    __device__ static int place_k(bool along_k)
    {
        return along_k ? (int)threadIdx.x % 2 * 4 : (int)threadIdx.x / (EDGE / 4);
    }

    /* Row i, column j of a thread's sums in the tile. A warp has 4 x 8 threads; runs of 4 belong to one thread. */
    __device__ static int row(int i)
    {
        const int warp = (int)threadIdx.x / 32 / (EDGE / cols / 8);
        return i / 4 * (EDGE / 2) + (warp * 4 + (int)threadIdx.x % 32 / 8) * 4 + i % 4;
    }
    __device__ static int col(int j)
    {
        const int warp = (int)threadIdx.x / 32 % (EDGE / cols / 8);
        return j / 4 * (EDGE / 2) + (warp * 8 + (int)threadIdx.x % 8) * 4 + j % 4;
    }

    template <class Source> __device__ static float4 fetch(const Source &source, int k)
    {
        return source.quad(k + place_k(Source::along_k));
    }

    template <class Source> __device__ static void put(half &to, float4 q)
    {
        const int row = place(Source::along_k), k = place_k(Source::along_k);
        if constexpr (Source::along_k) {
            to[k][row] = q.x;
            to[k + 1][row] = q.y;
            to[k + 2][row] = q.z;
            to[k + 3][row] = q.w;
        } else {
            *reinterpret_cast<float4 *>(&to[k][row]) = q;
        }
    }

    template <int N> __device__ static void take(float (&x)[N], const float *from)
    {
        TS_UNROLL
        for (int i = 0; i < N; i += 4) {
            const float4 q = *reinterpret_cast<const float4 *>(from + i / 4 * (EDGE / 2));
            x[i] = q.x;
            x[i + 1] = q.y;
            x[i + 2] = q.z;
            x[i + 3] = q.w;
        }
    }

    /* sum += a b over a slice */
    __device__ static void multiply(sums &sum, const half &a, const half &b)
    {
        const int first_row = row(0), first_col = col(0);
        TS_UNROLL
        for (int k = 0; k < slice; k++) {
            float x[rows], y[cols];
            take(x, &a[k][first_row]);
            take(y, &b[k][first_col]);
            TS_UNROLL
            for (int i = 0; i < rows; i++)
                TS_UNROLL
            for (int j = 0; j < cols; j++)
                sum[i][j] += x[i] * y[j];
        }
    }

    /* sum += a b for k in [first, end), which only ends within a slice where the operands end. */
    template <class A, class B>
    __device__ static void product(sums &sum, memory &m, const A &a, const B &b, int first, int end)
    {
        if (first < end) {
            put<A>(m.a[0], fetch(a, first));
            put<B>(m.b[0], fetch(b, first));
        }
        __syncthreads();
        int now = 0;
        for (int k = first; k < end; k += slice, now ^= 1) {
            const bool more = k + slice < end;
            float4 next_a, next_b;
            if (more) {
                next_a = fetch(a, k + slice);
                next_b = fetch(b, k + slice);
            }
            multiply(sum, m.a[now], m.b[now]);
            if (more) {
                put<A>(m.a[now ^ 1], next_a);
                put<B>(m.b[now ^ 1], next_b);
            }
            __syncthreads();
        }
    }
};

#endif
