/* scatter_add: rows [N, D] of ids [N] -> out [K, D], without float atomics. The ids are sorted, each with the number of
 * its row (a stable radix sort, so that the rows of a code stay in order); the sorted rows are cut into pieces; a
 * thread sums a column of a piece and writes the codes that lie in it whole; what codes have in several pieces is left
 * as partial sums, which are added in order at last. The time does not depend on how many rows share a code. */
#include "core/cuda/walk.cuh"

namespace
{

enum {
    BITS = 8, /* of the key that a pass sorts by */
    BINS = 1 << BITS,
    SORTED = TS_CUDA_BLOCK, /* items that a block places at once */
    SORT_BLOCKS = 256,      /* at most */
    WARPS = SORTED / 32,
    PIECE = 32,   /* sorted rows of a piece, at least */
    PIECES = 8192 /* of them, at most */
};
static_assert((int)SORTED == (int)BINS, "a thread for each item is one for each bin");

/* A code, or K where the id is outside 0 ... K-1, and a row. */
struct item {
    uint32_t key, row;
};

/* ---- the sort ---- */

/* What a pass reads: ids at first, then what the pass before has left. */
struct items {
    const int32_t *ids; /* NULL: `from` */
    const item *from;
    uint32_t K;

    __device__ item operator()(int64_t n) const
    {
        if (!ids)
            return from[n];
        const int32_t id = ids[n];
        return {id >= 0 && (uint32_t)id < K ? (uint32_t)id : K, (uint32_t)n};
    }
};

struct pass {
    int shift;
    int64_t N, each; /* each: items of a block, a multiple of SORTED */

    __device__ int bin(uint32_t key) const
    {
        return (int)(key >> shift) & (BINS - 1);
    }
};

/* found [blocks, BINS]: how many items of a block fall into a bin */
__global__ void count_bins(uint32_t *found, items in, pass p)
{
    __shared__ uint32_t own[BINS];
    own[threadIdx.x] = 0;
    __syncthreads();
    const int64_t first = blockIdx.x * p.each, end = first + p.each < p.N ? first + p.each : p.N;
    for (int64_t n = first + threadIdx.x; n < end; n += SORTED)
        atomicAdd(&own[p.bin(in(n).key)], 1u);
    __syncthreads();
    found[(int64_t)blockIdx.x * BINS + threadIdx.x] = own[threadIdx.x];
}

/* The sum of x over the threads before this one. */
__device__ uint32_t sum_before(uint32_t x)
{
    __shared__ uint32_t of_warp[WARPS];
    const int lane = (int)threadIdx.x % 32, warp = (int)threadIdx.x / 32;
    uint32_t sum = x;
    for (int reach = 1; reach < 32; reach *= 2) {
        const uint32_t other = __shfl_up_sync(0xffffffffu, sum, reach);
        sum += lane >= reach ? other : 0;
    }
    if (lane == 31)
        of_warp[warp] = sum;
    __syncthreads();
    for (int w = 0; w < warp; w++)
        sum += of_warp[w];
    return sum - x;
}

/* Where this block's first item of bin threadIdx.x goes: after all items of smaller bins, and after those of its bin in
 * the blocks before. */
__device__ uint32_t first_place(const uint32_t *found)
{
    uint32_t all = 0, before = 0;
#pragma unroll 8
    for (unsigned b = 0; b < gridDim.x; b++) {
        const uint32_t count = found[(int64_t)b * BINS + threadIdx.x];
        all += count;
        before += b < blockIdx.x ? count : 0;
    }
    return sum_before(all) + before;
}

/* Items in the order of their bins, those of a bin in the order they had. */
__global__ void place_items(item *to, const uint32_t *found, items in, pass p)
{
    __shared__ uint32_t of_warp[WARPS][BINS]; /* items of a bin in a warp, then the place of the first of them */
    uint32_t place = first_place(found);      /* of bin threadIdx.x */
    const int warp = (int)threadIdx.x / 32;
    const unsigned below = (1u << threadIdx.x % 32) - 1;
    for (int64_t first = blockIdx.x * p.each; first < (blockIdx.x + 1) * p.each && first < p.N; first += SORTED) {
        const bool present = first + threadIdx.x < p.N;
        const item x = present ? in(first + threadIdx.x) : item{0, 0};
        const int bin = present ? p.bin(x.key) : -1;
        const unsigned equal = __match_any_sync(0xffffffffu, bin);
        for (int w = 0; w < WARPS; w++)
            of_warp[w][threadIdx.x] = 0;
        __syncthreads();
        if (present && (equal & below) == 0)
            of_warp[warp][bin] = (uint32_t)__popc(equal);
        __syncthreads();
        for (int w = 0; w < WARPS; w++) {
            const uint32_t count = of_warp[w][threadIdx.x];
            of_warp[w][threadIdx.x] = place;
            place += count;
        }
        __syncthreads();
        if (present)
            to[of_warp[warp][bin] + (uint32_t)__popc(equal & below)] = x;
        __syncthreads();
    }
}

/* ---- the sums ---- */

struct pieces {
    const item *sorted;
    int64_t N, length, count; /* length: sorted rows of a piece */
    uint32_t K;

    __device__ int64_t first(int64_t piece) const
    {
        return piece * length;
    }
    __device__ int64_t end(int64_t piece) const
    {
        return first(piece) + length < N ? first(piece) + length : N;
    }
    /* Do sorted rows n - 1 and n have one code? */
    __device__ bool joined(int64_t n) const
    {
        return n > 0 && n < N && sorted[n - 1].key == sorted[n].key;
    }
};

/* The sums of W neighbouring columns over the rows of one code. */
template <int W> struct columns {
    double sum[W] = {};

    __device__ void add(const float (&x)[W])
    {
        for (int j = 0; j < W; j++)
            sum[j] += (double)x[j];
    }
    template <class T> __device__ void put(T *to) const
    {
        for (int j = 0; j < W; j++)
            to[j] = (T)sum[j];
    }
};

template <int W> struct alignas(4 * W) neighbours {
    float x[W];
};

/* Where sums go: of codes that lie in one piece to out [K, D]; else to partial [count, 2, D], by piece those of the
 * code that began before it, and those of the code that goes on behind it. */
enum { HEAD, TAIL };

struct sums {
    float *out;
    double *partial;
    int64_t D;

    template <int W>
    __device__ void put(const columns<W> &c, int64_t column, uint32_t key, int64_t piece, bool begun,
                        bool goes_on) const
    {
        if (begun)
            c.put(partial + (2 * piece + HEAD) * D + column);
        else if (goes_on)
            c.put(partial + (2 * piece + TAIL) * D + column);
        else
            c.put(out + (int64_t)key * D + column);
    }
};

enum { AHEAD = 8 }; /* rows under way */

/* A thread has W columns of a piece. */
template <int W> __global__ void sum_pieces(sums to, const float *rows, pieces p, int64_t groups)
{
    for (TS_CUDA_EACH(e, p.count * groups)) {
        const int64_t piece = e / groups, column = e % groups * W, end = p.end(piece);
        bool begun = p.joined(p.first(piece));
        uint32_t key = p.sorted[p.first(piece)].key;
        columns<W> total;
        for (int64_t n = p.first(piece); n < end; n += AHEAD) {
            item at[AHEAD];
            neighbours<W> x[AHEAD];
#pragma unroll
            for (int j = 0; j < AHEAD; j++)
                at[j] = p.sorted[n + j < end ? n + j : end - 1];
#pragma unroll
            for (int j = 0; j < AHEAD; j++)
                x[j] = *reinterpret_cast<const neighbours<W> *>(rows + (int64_t)at[j].row * to.D + column);
#pragma unroll
            for (int j = 0; j < AHEAD; j++) {
                if (at[j].key != key) {
                    to.put(total, column, key, piece, begun, false);
                    total = {};
                    key = at[j].key;
                    begun = false;
                }
                if (n + j < end)
                    total.add(x[j].x);
            }
        }
        if (key < p.K)
            to.put(total, column, key, piece, begun, p.joined(end));
    }
}

/* The last piece that has rows of this code, which are in sorted row n. */
__device__ int64_t last_piece(const pieces &p, uint32_t key, int64_t n)
{
    int64_t known = n, beyond = p.N; /* row `known` has the code; `beyond` has not */
    while (known + 1 < beyond) {
        const int64_t middle = known + (beyond - known) / 2;
        if (p.sorted[middle].key == key)
            known = middle;
        else
            beyond = middle;
    }
    return known / p.length;
}

/* A block adds what the code that goes on behind its piece has in all pieces: by `width` columns at a time. */
__global__ void join_pieces(sums to, pieces p, int width)
{
    __shared__ double part[TS_CUDA_BLOCK];
    const int64_t piece = blockIdx.x, first = p.first(piece), end = p.end(piece);
    if (!p.joined(end))
        return;
    const uint32_t key = p.sorted[end - 1].key;
    if (key == p.K || (p.sorted[first].key == key && p.joined(first))) /* left out; or it began before this piece */
        return;
    const int64_t last = last_piece(p, key, end);
    const int lane = (int)threadIdx.x / width, lanes = (int)blockDim.x / width;
    for (int64_t c = threadIdx.x % width; c - threadIdx.x % width < to.D; c += width) {
        double sum = 0;
#pragma unroll 4
        for (int64_t q = piece + 1 + lane; q <= last; q += lanes)
            sum += c < to.D ? to.partial[(2 * q + HEAD) * to.D + c] : 0;
        part[threadIdx.x] = sum;
        __syncthreads();
        if (lane == 0 && c < to.D) {
            double total = to.partial[(2 * piece + TAIL) * to.D + c];
            for (int k = 0; k < lanes; k++)
                total += part[k * width + (int)threadIdx.x];
            to.out[(int64_t)key * to.D + c] = (float)total;
        }
        __syncthreads();
    }
}

/* ---- launches ---- */

struct layout {
    int64_t N, K, D, each, blocks, piece, pieces;
    size_t second, found, partial, bytes; /* where they begin in the scratch memory; the first items at 0 */
};

layout layout_of(const ts_desc *d)
{
    layout l = {};
    l.N = ts_shape_count(d->in[1].shape);
    l.K = d->out[0].shape.dim[0];
    l.D = d->out[0].shape.dim[1];
    const int64_t fair = (l.N + SORT_BLOCKS - 1) / SORT_BLOCKS, least = 4 * SORTED;
    l.each = fair <= least ? least : (fair + SORTED - 1) / SORTED * SORTED;
    l.blocks = (l.N + l.each - 1) / l.each;
    l.piece = l.N / PIECES < PIECE ? (int64_t)PIECE : l.N / PIECES + 1;
    l.pieces = (l.N + l.piece - 1) / l.piece;
    l.second = (size_t)l.N * sizeof(item);
    l.found = 2 * l.second;
    l.partial = l.found + (size_t)(l.blocks * BINS) * sizeof(uint32_t);
    l.bytes = l.partial + (size_t)(l.pieces * 2 * l.D) * sizeof(double);
    return l;
}

/* Gives the sorted items. */
const item *sort(const ts_call *call, const layout &l)
{
    char *scratch = static_cast<char *>(call->scratch);
    uint32_t *found = reinterpret_cast<uint32_t *>(scratch + l.found);
    items in = {static_cast<const int32_t *>(call->in[1]), nullptr, (uint32_t)l.K};
    pass p = {0, l.N, l.each};
    int to = 0;
    do {
        item *out = reinterpret_cast<item *>(scratch + (to ? l.second : 0));
        TS_LAUNCH_BLOCK(count_bins, (unsigned)l.blocks, SORTED, 0, ts_cuda_stream(call), found, in, p);
        TS_LAUNCH_BLOCK(place_items, (unsigned)l.blocks, SORTED, 0, ts_cuda_stream(call), out, found, in, p);
        in = {nullptr, out, (uint32_t)l.K};
        to = !to;
        p.shift += BITS;
    } while (l.K >> p.shift);
    return in.from;
}

template <int W> void sum_all(const ts_call *call, const sums &to, const pieces &p)
{
    TS_LAUNCH(sum_pieces<W>, ts_cuda_grid(call, p.count * (to.D / W)), TS_CUDA_BLOCK, ts_cuda_stream(call), to,
              static_cast<const float *>(call->in[0]), p, to.D / W);
}

ts_status prepare_scatter_add(const ts_desc *d, ts_device *, void **, size_t *scratch, ts_error *)
{
    *scratch = layout_of(d).bytes;
    return TS_OK;
}

void run_scatter_add(const ts_call *call)
{
    const layout l = layout_of(call->desc);
    const sums to = {static_cast<float *>(call->out[0]),
                     reinterpret_cast<double *>(static_cast<char *>(call->scratch) + l.partial), l.D};
    ts_cuda_zero(call, to.out, (size_t)(l.K * l.D) * sizeof(float));
    if (l.N == 0 || l.K == 0 || l.D == 0)
        return;
    const pieces p = {sort(call, l), l.N, l.piece, l.pieces, (uint32_t)l.K};
    if (l.D % 4 == 0 && ts_aligned16(call->in[0]))
        sum_all<4>(call, to, p);
    else
        sum_all<1>(call, to, p);
    int width = TS_CUDA_BLOCK;
    while (width / 2 >= l.D)
        width /= 2;
    TS_LAUNCH_BLOCK(join_pieces, (unsigned)l.pieces, TS_CUDA_BLOCK, 0, ts_cuda_stream(call), to, p, width);
    ts_cuda_launched(call);
}

/* Rows are numbered in 32 bits. */
bool accepts_scatter_add(const ts_desc *d)
{
    return d->in[0].dtype == TS_F32 && ts_shape_count(d->in[1].shape) <= INT32_MAX &&
           d->out[0].shape.dim[0] < INT32_MAX;
}

} // namespace

extern "C" const ts_kernel ts_cuda_scatter_add = {
    .name = "cuda", .accepts = accepts_scatter_add, .prepare = prepare_scatter_add, .run = run_scatter_add};
