/* A product as a grid of tiles. What is multiplied is a job, a small struct passed to the kernel by value:
 *
 *   A, B                              its sources (tile.cuh)
 *   A a(copy, row), B b(copy, col)    those of a thread whose first element is in that row or column
 *   ts_span span(copy, row, col, edge)  the k that count for the tile that begins there
 *   float *row(out, copy, row)        where a row of results begins; NULL: there is none
 *   blocks                            of 256 threads that a multiprocessor shall hold: 1 where registers do not suffice
 *                                     for 2
 *   cols, bias, relu                  columns that a row has; a bias, or NULL; whether relu follows
 *
 * Where the tiles are few and k is long, k is cut into parts whose sums are added afterwards, in order. How many parts
 * is said by the shapes alone: the same product has the same bits on every GPU. */
#ifndef TS_CORE_CUDA_PRODUCT_CUH
#define TS_CORE_CUDA_PRODUCT_CUH

#include "core/cuda/tile.cuh"

struct ts_cut {
    int edge;                      /* of a tile: 128, 64 or 32 */
    unsigned row_tiles, col_tiles; /* of a copy */
    int64_t copies;
    unsigned parts;
    int part_depth; /* of k; a multiple of a slice */
    int64_t total;  /* elements of the whole result, over all copies */
};

#ifdef TS_CUDA_EMULATED /* large tiles in a small test */
constexpr int64_t ts_blocks_wanted = 24;
#else
constexpr int64_t ts_blocks_wanted = 192;
#endif
constexpr int64_t ts_most_parts = 64, ts_least_part = 256;

struct ts_span {
    int first, end;
};

static inline int64_t ts_div_up(int64_t a, int64_t b)
{
    return (a + b - 1) / b;
}

static inline int64_t ts_cut_tiles(const ts_cut *c)
{
    return (int64_t)c->row_tiles * c->col_tiles * c->copies;
}

static inline bool ts_cut_edge(ts_cut *c, int edge, int64_t rows, int64_t cols, int64_t parts)
{
    c->edge = edge;
    c->row_tiles = (unsigned)ts_div_up(rows, edge);
    c->col_tiles = (unsigned)ts_div_up(cols, edge);
    return rows > edge / 2 && cols > edge / 2 && ts_cut_tiles(c) * parts >= ts_blocks_wanted;
}

/* The largest tiles that keep a large GPU busy; then parts of k. */
static inline ts_cut ts_cut_of(int64_t copies, int64_t rows, int64_t cols, int64_t depth, int64_t total)
{
    ts_cut c = {};
    c.copies = copies;
    c.total = total;
    int64_t most = depth / ts_least_part;
    most = most < 1 ? 1 : most > ts_most_parts ? ts_most_parts : most;
    if (!ts_cut_edge(&c, 128, rows, cols, 1) && !ts_cut_edge(&c, 64, rows, cols, 1) &&
        !ts_cut_edge(&c, 64, rows, cols, most))
        ts_cut_edge(&c, 32, rows, cols, most);
    const int64_t tiles = ts_cut_tiles(&c);
    int64_t parts = tiles ? ts_div_up(ts_blocks_wanted, tiles) : 1;
    parts = parts < most ? parts : most;
    c.part_depth = (int)(ts_div_up(ts_div_up(depth, parts), 8) * 8);
    c.parts = c.part_depth ? (unsigned)ts_div_up(depth, c.part_depth) : 1;
    return c;
}

static inline size_t ts_cut_scratch(const ts_cut *c)
{
    return c->parts > 1 ? (size_t)c->parts * (size_t)c->total * sizeof(float) : 0;
}

/* What a result goes through on its way to memory. */
struct ts_ending {
    const float *bias; /* NULL: none */
    bool add, relu;    /* to what is there; then what is below 0 becomes 0 */
};

static __device__ inline float ts_relu_where(bool relu, float x)
{
    return relu && x < 0 ? 0 : x;
}

/* Columns col ... of a row, ended. vec: to + col is aligned to 16. */
template <int N>
__device__ void ts_product_store(float *to, ts_ending end, const float (&sum)[N], int first, int64_t col, int64_t cols,
                                 bool vec)
{
    float y[4];
    TS_UNROLL
    for (int j = 0; j < 4; j++) {
        y[j] = sum[first + j];
        if (col + j < cols)
            y[j] += (end.bias ? end.bias[col + j] : 0) + (end.add ? to[col + j] : 0);
        y[j] = ts_relu_where(end.relu, y[j]);
    }
    if (vec && col + 4 <= cols) {
        *reinterpret_cast<float4 *>(to + col) = make_float4(y[0], y[1], y[2], y[3]);
        return;
    }
    TS_UNROLL
    for (int j = 0; j < 4; j++)
        if (col + j < cols)
            to[col + j] = y[j];
}

/* The job of matrices that exist: out [copies, M, N] = a b + bias, then relu where asked for. A step leads from a
 * copy's matrix to the next one's.
 */
template <bool A_ALONG_K, bool B_ALONG_K> struct ts_dense_job {
    typedef ts_dense<A_ALONG_K> A;
    typedef ts_dense<B_ALONG_K> B;
    static constexpr int blocks = A_ALONG_K || B_ALONG_K ? 2 : 1;
    int64_t M, cols;
    int K;
    const float *first, *second, *bias;
    int64_t first_step, second_step;
    bool first_vec, second_vec, relu;

    /* Each matrix has no gaps: a is [M, K] or [K, M], b [N, K] or [K, N]. */
    __device__ A a(int64_t copy, int64_t row) const
    {
        return A(first + copy * first_step, A_ALONG_K ? K : (int)M, row, M, K, first_vec);
    }
    __device__ B b(int64_t copy, int64_t col) const
    {
        return B(second + copy * second_step, B_ALONG_K ? K : (int)cols, col, cols, K, second_vec);
    }
    __device__ ts_span span(int64_t, int64_t, int64_t, int) const
    {
        return {0, K};
    }
    __device__ float *row(float *out, int64_t copy, int64_t row) const
    {
        return row < M ? out + (copy * M + row) * cols : nullptr;
    }
    __device__ const float *bias_of(int64_t) const
    {
        return bias;
    }
};

template <bool A_ALONG_K, bool B_ALONG_K>
ts_dense_job<A_ALONG_K, B_ALONG_K> ts_dense_job_of(int64_t M, int64_t N, int64_t K, const float *a, int64_t a_step,
                                                   const float *b, int64_t b_step, const float *bias, bool relu)
{
    return {M,
            N,
            (int)K,
            a,
            b,
            bias,
            a_step,
            b_step,
            ts_aligned(a, A_ALONG_K ? K : M) && a_step % 4 == 0,
            ts_aligned(b, B_ALONG_K ? K : N) && b_step % 4 == 0,
            relu};
}

template <int EDGE, class Job>
__global__ __launch_bounds__(2 * EDGE, EDGE == 128 ? Job::blocks : 4) void ts_product_tile(Job job, ts_cut cut,
                                                                                           float *out, bool add,
                                                                                           bool vec)
{
    typedef ts_tile<EDGE> tile;
    __shared__ typename tile::memory memory;
    unsigned at = blockIdx.x; /* in 32 bits: these live as long as the sums do */
    const unsigned col_tile = at % cut.col_tiles;
    at /= cut.col_tiles;
    const unsigned row_tile = at % cut.row_tiles;
    at /= cut.row_tiles;
    const unsigned part = at % cut.parts, copy = at / cut.parts;
    const int64_t row = (int64_t)row_tile * EDGE, col = (int64_t)col_tile * EDGE;
    const ts_span span = job.span(copy, row, col, EDGE);
    const int64_t from = (int64_t)part * cut.part_depth, to = from + cut.part_depth;
    const int first = (int)(span.first > from ? span.first / tile::slice * tile::slice : from);
    const int last = (int)(span.end < to ? span.end : to);

    typename tile::sums sum = {};
    tile::product(sum, memory, job.a(copy, row + tile::place(Job::A::along_k)),
                  job.b(copy, col + tile::place(Job::B::along_k)), first, last);
    const bool whole = cut.parts == 1;
    const ts_ending end = {job.bias && whole ? job.bias_of(copy) : nullptr, add, job.relu && whole};
    TS_UNROLL
    for (int i = 0; i < tile::rows; i++) {
        float *line = job.row(out + part * cut.total, copy, row + tile::row(i));
        TS_UNROLL
        for (int j = 0; line && j < tile::cols; j += 4)
            ts_product_store(line, end, sum[i], j, col + tile::col(j), job.cols, vec);
    }
}

/* out [total], rows of `cols`: the parts in order, ended by a bias [cols] and so on */
static __global__ void ts_product_add_parts(float *out, const float *parts, unsigned count, int64_t total, int64_t cols,
                                            ts_ending end)
{
    for (TS_CUDA_EACH(i, total)) {
        float sum = end.add ? out[i] : 0;
        for (unsigned part = 0; part < count; part++)
            sum += parts[part * total + i];
        out[i] = ts_relu_where(end.relu, sum + (end.bias ? end.bias[i % cols] : 0));
    }
}

/* Runs a job. `width`: the last dim of out, over which the bias goes; `parts`: scratch, as ts_cut_scratch says. */
template <class Job>
void ts_product_run(const ts_call *call, const Job &job, const ts_cut &cut, float *out, int64_t width, bool add,
                    float *parts)
{
    const int64_t tiles = ts_cut_tiles(&cut) * cut.parts;
    const bool split = cut.parts > 1, vec = ts_aligned(out, width) && job.cols % 4 == 0 && cut.total % 4 == 0;
    float *to = split ? parts : out;
    cudaStream_t stream = ts_cuda_stream(call);
    if (tiles == 0)
        return;
    if (cut.edge == 128)
        TS_LAUNCH_BLOCK((ts_product_tile<128, Job>), (unsigned)tiles, 256, 0, stream, job, cut, to, add && !split, vec);
    else if (cut.edge == 64)
        TS_LAUNCH_BLOCK((ts_product_tile<64, Job>), (unsigned)tiles, 128, 0, stream, job, cut, to, add && !split, vec);
    else
        TS_LAUNCH_BLOCK((ts_product_tile<32, Job>), (unsigned)tiles, 64, 0, stream, job, cut, to, add && !split, vec);
    if (split)
        TS_LAUNCH(ts_product_add_parts, ts_cuda_grid(call, cut.total), TS_CUDA_BLOCK, stream, out, parts, cut.parts,
                  cut.total, width, ts_ending{job.bias, add, job.relu});
    ts_cuda_launched(call);
}

#endif
