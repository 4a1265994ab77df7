/* Nearest codes as tiles of a product (tile.cuh) with a running maximum of x.e - |e|^2/2, so that no N x K matrix
 * exists. A block takes EDGE rows through a share of the codes, EDGE at a time: a thread keeps the best sum of each of
 * its rows and whose it was; threads, then shares, meet at the end. The best does not depend on how codes are shared
 * out. Sums are f32 multiply-adds in the order of d, starting from -|e|^2/2, as on a CPU that has fused ones. */
#include "core/cuda/tile.cuh"

namespace
{

struct sizes {
    int64_t N;
    int K, D;
};

sizes sizes_of(const ts_desc *d)
{
    const ts_shape e = d->in[1].shape;
    return {ts_shape_count(d->out[0].shape), (int)e.dim[0], (int)e.dim[1]};
}

/* How the work is shared out: `shares` blocks for each tile of rows, each with `codes` codes, the last maybe with
 * fewer. */
struct layout {
    int edge;
    int64_t row_tiles;
    int shares, codes;
};

/* The largest tiles that fill a large GPU; then several rounds of blocks, so that the last is a small part of the time.
 */
layout layout_of(const sizes &s)
{
    enum { FILLED = 192, WANTED = 1024, LEAST_TILES = 4 };
    layout l = {128, 0, 0, 0};
    int64_t most = 0;
    for (;; l.edge /= 2) {
        l.row_tiles = (s.N + l.edge - 1) / l.edge;
        most = s.K / l.edge / LEAST_TILES;
        most = most < 1 ? 1 : most;
        if (l.edge == 32 || (s.N > l.edge / 2 && l.row_tiles * most >= FILLED))
            break;
    }
    const int64_t wanted = l.row_tiles ? (WANTED + l.row_tiles - 1) / l.row_tiles : 1;
    const int64_t tiles = (s.K + l.edge - 1) / l.edge, shares = wanted < most ? wanted : most;
    l.codes = (int)((tiles + shares - 1) / shares) * l.edge;
    l.shares = (int)(((int64_t)s.K + l.codes - 1) / l.codes);
    return l;
}

/* start [K] = -|e|^2 / 2, summed in the order of d. A warp reads 32 codes side by side and sums one with each lane. */
__global__ void norms(float *start, const float *codebook, int K, int D)
{
    enum { WARPS = TS_CUDA_BLOCK / 32 };
    __shared__ float tile[WARPS][32][33];
    const int warp = (int)threadIdx.x / 32, lane = (int)threadIdx.x % 32;
    const int64_t first = ((int64_t)blockIdx.x * WARPS + warp) * 32;
    float sum = 0;
    for (int d = 0; d < D; d += 32) {
        const int width = D - d < 32 ? D - d : 32;
        for (int code = 0; code < 32 && first + code < K; code++)
            tile[warp][code][lane] = lane < width ? codebook[(first + code) * D + d + lane] : 0;
        __syncwarp();
        for (int i = 0; i < width && first + lane < K; i++)
            sum = __fadd_rn(sum, __fmul_rn(tile[warp][lane][i], tile[warp][lane][i]));
        __syncwarp();
    }
    if (first + lane < K)
        start[first + lane] = -0.5f * sum;
}

/* The best code so far and its sum; -1: none yet. */
struct found {
    float sum;
    int32_t code;
};

/* The larger sum; the lower code on ties; NaN is never better. */
__device__ found better(found a, found b)
{
    const bool second = b.code >= 0 && (a.code < 0 || b.sum > a.sum || (b.sum == a.sum && b.code < a.code));
    return second ? b : a;
}

template <int EDGE> struct search {
    typedef ts_tile<EDGE> tile;
    typedef ts_dense<true> source;
    static constexpr int across = EDGE / tile::cols; /* threads that share a row */
    /* best: by row of a thread, then thread. In registers they would not fit beside the sums. */
    struct memory {
        found best[tile::rows][tile::threads];
        union {
            typename tile::memory slices;
            found of[EDGE][across];
        };
    };

    /* The sums of codes col ... before their products; minus infinity where there is no code. */
    __device__ static void begin(typename tile::sums &sum, const float *start, int col, int K)
    {
        TS_UNROLL
        for (int j = 0; j < tile::cols; j++) {
            const int code = col + tile::col(j);
            const float s = code < K ? start[code] : -INFINITY;
            TS_UNROLL
            for (int i = 0; i < tile::rows; i++)
                sum[i][j] = s;
        }
    }

    /* Keeps the earlier one on ties: a thread's codes come in ascending order. */
    __device__ static void keep(memory &m, const typename tile::sums &sum, int col)
    {
        TS_UNROLL
        for (int i = 0; i < tile::rows; i++) {
            float most = sum[i][0];
            TS_UNROLL
            for (int j = 1; j < tile::cols; j++)
                most = fmaxf(most, sum[i][j]); /* drops NaN */
            found best = m.best[i][threadIdx.x];
            if (!(most > best.sum))
                continue;
            TS_UNROLL
            for (int j = 0; j < tile::cols; j++)
                if (sum[i][j] > best.sum)
                    best = {sum[i][j], col + tile::col(j)};
            m.best[i][threadIdx.x] = best;
        }
    }

    /* The block's rows through codes [first, end). */
    __device__ static void walk(memory &all, const source &x, const float *codebook, const float *start, const sizes &s,
                                bool vec, int first, int end)
    {
        typename tile::sums sum;
        typename tile::memory &m = all.slices;
        const int place = tile::place(true);
        int k = 0, col = first;
        source e(codebook, s.D, col + place, s.K, s.D, vec);
        tile::template put<source>(m.a[0], tile::fetch(x, 0));
        tile::template put<source>(m.b[0], tile::fetch(e, 0));
        __syncthreads();
        begin(sum, start, col, s.K);
        for (int now = 0;; now ^= 1) {
            const bool last = k + tile::slice >= s.D; /* of these codes */
            const int next_k = last ? 0 : k + tile::slice, next_col = last ? col + EDGE : col;
            const bool more = next_col < end;
            float4 next_x, next_e;
            if (more) {
                if (last)
                    e = source(codebook, s.D, next_col + place, s.K, s.D, vec);
                next_x = tile::fetch(x, next_k);
                next_e = tile::fetch(e, next_k);
            }
            tile::multiply(sum, m.a[now], m.b[now]);
            if (last) {
                keep(all, sum, col);
                if (!more)
                    break;
                begin(sum, start, next_col, s.K);
            }
            tile::template put<source>(m.a[now ^ 1], next_x);
            tile::template put<source>(m.b[now ^ 1], next_e);
            __syncthreads();
            k = next_k;
            col = next_col;
        }
    }
};

/* of [shares, N]; the tiles of rows vary fastest, so that blocks that run together read the same codes. */
template <int EDGE>
__global__ __launch_bounds__(2 * EDGE, EDGE == 128 ? 2 : 4) void search_codes(found *of, const float *x,
                                                                              const float *codebook, const float *start,
                                                                              sizes s, layout l, bool vec)
{
    typedef search<EDGE> search_of;
    typedef ts_tile<EDGE> tile;
    __shared__ typename search_of::memory memory;
    const int64_t share = blockIdx.x / l.row_tiles, row = (blockIdx.x - share * l.row_tiles) * EDGE;
    const int first = (int)share * l.codes, end = s.K - first < l.codes ? s.K : first + l.codes;
    TS_UNROLL
    for (int i = 0; i < tile::rows; i++)
        memory.best[i][threadIdx.x] = {-INFINITY, -1};
    const ts_dense<true> rows(x, s.D, row + tile::place(true), s.N, s.D, vec);
    search_of::walk(memory, rows, codebook, start, s, vec, first, end);

    __syncthreads(); /* the slices have been read */
    TS_UNROLL
    for (int i = 0; i < tile::rows; i++)
        memory.of[tile::row(i)][tile::col(0) / 4] = memory.best[i][threadIdx.x];
    __syncthreads();
    if ((int)threadIdx.x < EDGE && row + threadIdx.x < s.N) {
        found b = memory.of[threadIdx.x][0];
        for (int t = 1; t < search_of::across; t++)
            b = better(b, memory.of[threadIdx.x][t]);
        of[share * s.N + row + threadIdx.x] = b;
    }
}

__global__ void meet(int32_t *ids, const found *of, int64_t N, int shares)
{
    for (TS_CUDA_EACH(n, N)) {
        found b = of[n];
        for (int share = 1; share < shares; share++)
            b = better(b, of[share * N + n]);
        ids[n] = b.code;
    }
}

bool accepts(const ts_desc *d)
{
    const ts_shape e = d->in[1].shape;
    return e.dim[0] <= INT32_MAX - 256 && e.dim[1] <= INT32_MAX - 256;
}

/* Scratch: what each share has found, then start. */
ts_status prepare(const ts_desc *d, ts_device *, void **, size_t *scratch_bytes, ts_error *)
{
    const sizes s = sizes_of(d);
    *scratch_bytes = (size_t)(layout_of(s).shares * s.N) * sizeof(found) + (size_t)s.K * sizeof(float);
    return TS_OK;
}

void run(const ts_call *call)
{
    const sizes s = sizes_of(call->desc);
    const layout l = layout_of(s);
    const float *x = ts_cuda_in(call, 0), *codebook = ts_cuda_in(call, 1);
    const bool vec = ts_aligned(x, s.D) && ts_aligned(codebook, s.D);
    found *of = static_cast<found *>(call->scratch);
    float *start = reinterpret_cast<float *>(of + l.shares * s.N);
    const unsigned blocks = (unsigned)(l.row_tiles * l.shares);
    cudaStream_t stream = ts_cuda_stream(call);
    if (s.N == 0)
        return;
    TS_LAUNCH_BLOCK(norms, (unsigned)((s.K + TS_CUDA_BLOCK - 1) / TS_CUDA_BLOCK), TS_CUDA_BLOCK, 0, stream, start,
                    codebook, s.K, s.D);
    if (l.edge == 128)
        TS_LAUNCH_BLOCK(search_codes<128>, blocks, 256, 0, stream, of, x, codebook, start, s, l, vec);
    else if (l.edge == 64)
        TS_LAUNCH_BLOCK(search_codes<64>, blocks, 128, 0, stream, of, x, codebook, start, s, l, vec);
    else
        TS_LAUNCH_BLOCK(search_codes<32>, blocks, 64, 0, stream, of, x, codebook, start, s, l, vec);
    TS_LAUNCH(meet, ts_cuda_grid(call, s.N), TS_CUDA_BLOCK, stream, static_cast<int32_t *>(call->out[0]), of, s.N,
              l.shares);
    ts_cuda_launched(call);
}

} // namespace

extern "C" const ts_kernel ts_cuda_nearest = {.name = "cuda", .accepts = accepts, .prepare = prepare, .run = run};
