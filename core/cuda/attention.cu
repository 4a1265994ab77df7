/* Scaled dot-product attention by products of tiles (product.cuh), for heads of any width. The weights of all pairs
 * never exist at once: they are made for a slab, some heads or some queries of one, that the second-level cache holds,
 * and used up. In the gradient the weight of a pair is computed again from the row's logsumexp. */
#include "core/cuda/product.cuh"
#include "core/cuda/rows.cuh"

namespace
{

/* heads = B * h; q [heads, Tq, d], k [heads, Tk, d], v [heads, Tk, dv] */
struct sizes {
    int64_t heads, Tq, Tk, d, dv;
    float scale;
    bool causal;
};

sizes sizes_of(const ts_attr &attr, const ts_shape &q, const ts_shape &v)
{
    return {q.dim[0] * q.dim[1],  q.dim[2], v.dim[2], q.dim[3], v.dim[3], (float)attr.attention.scale,
            attr.attention.causal};
}

/* Queries first ... of heads head ...: their weights lie in a slab [heads, rows, Tk]. Several heads: all of their
 * queries.
 */
struct slab {
    int64_t head, heads, first, rows;
    int64_t ahead; /* row r sees keys 0 ... r + ahead */
};

#ifdef TS_CUDA_EMULATED /* several slabs in a small test */
constexpr int64_t slab_weights = 64 << 10;
#else
constexpr int64_t slab_weights = 4 << 20;
#endif

/* The slab that begins at a query of a head. */
slab slab_at(const sizes &s, int64_t head, int64_t first)
{
    const int64_t whole = slab_weights / (s.Tq * s.Tk), rows = slab_weights / s.Tk / 128 * 128, left = s.Tq - first;
    const int64_t most = rows < 128 ? 128 : rows, heads = whole < s.heads - head ? whole : s.heads - head;
    const int64_t ahead = s.causal ? s.Tk - s.Tq + first : s.Tk;
    return whole ? slab{head, heads, 0, s.Tq, ahead} : slab{head, 1, first, left < most ? left : most, ahead};
}

template <class F> void each_slab(const sizes &s, F f)
{
    for (int64_t head = 0, first = 0; s.Tq > 0 && head < s.heads;) {
        const slab b = slab_at(s, head, first);
        f(b);
        first += b.rows;
        if (first == s.Tq) {
            head += b.heads;
            first = 0;
        }
    }
}

/* What a causal product need not look at: pairs of a query and a key that it does not see, which weigh nothing. */
enum skips { KEYS_BY_COLUMN, KEYS_BY_K, QUERIES_BY_K };

template <skips SKIPS, bool A_ALONG_K, bool B_ALONG_K> struct pairs_job : ts_dense_job<A_ALONG_K, B_ALONG_K> {
    int64_t ahead;

    __device__ ts_span span(int64_t, int64_t row, int64_t col, int edge) const
    {
        const int64_t seen = row + edge + ahead; /* by the last query of a tile whose rows are queries */
        const int depth = this->K;
        if (SKIPS == KEYS_BY_COLUMN)
            return {0, col < seen ? depth : 0};
        if (SKIPS == KEYS_BY_K)
            return {0, seen < depth ? (int)seen : depth};
        const int64_t unseen = row - ahead; /* queries that do not see the first key of the tile */
        return {unseen <= 0 ? 0 : unseen < depth ? (int)unseen : depth, depth};
    }
};

/* out [heads, M, N] (+)= a b, for the heads of a slab; counts scratch alone where `call` is NULL. */
struct products {
    const ts_call *call;
    const slab *b;
    float *parts;
    size_t parts_bytes; /* what is needed of it */

    template <skips SKIPS, bool A_ALONG_K, bool B_ALONG_K>
    void multiply(float *out, const float *x, const float *y, int64_t M, int64_t N, int64_t K, bool add)
    {
        const ts_cut cut = ts_cut_of(b->heads, M, N, K, b->heads * M * N);
        const size_t bytes = ts_cut_scratch(&cut);
        parts_bytes = parts_bytes < bytes ? bytes : parts_bytes;
        if (!call)
            return;
        const pairs_job<SKIPS, A_ALONG_K, B_ALONG_K> job = {
            ts_dense_job_of<A_ALONG_K, B_ALONG_K>(M, N, K, x, M * K, y, K * N, nullptr, false), b->ahead};
        ts_product_run(call, job, cut, out, N, add, parts);
    }
};

/* rows [heads * rows] of a slab: x = scale * q.k becomes exp(x - lse), 0 for keys that are not seen; lse too. */
template <int GROUP> __global__ void weights(float *slab_of, float *lse, slab b, float scale, ts_rows r)
{
    const int64_t row = ts_row<GROUP>(r), left = row % b.rows + 1 + b.ahead;
    const int seen = left < r.C ? (int)left : r.C;
    float *x = slab_of + row * r.C, max = -INFINITY, sum = 0;
    for (TS_ROW_EACH(GROUP, j, seen))
        max = scale * x[j] > max ? scale * x[j] : max;
    max = ts_group_max<GROUP>(max);
    for (TS_ROW_EACH(GROUP, j, seen))
        sum += expf(scale * x[j] - max);
    sum = ts_group_sum<GROUP>(sum);
    const float inverse = 1 / sum;
    if (!ts_row_mine<GROUP>(r))
        return;
    for (TS_ROW_EACH(GROUP, j, r.C))
        x[j] = j < seen ? expf(scale * x[j] - max) * inverse : 0;
    if (threadIdx.x % GROUP == 0)
        lse[row] = max + logf(sum);
}

/* p: q.k becomes p = exp(scale * q.k - lse); ds: dout.v becomes scale * p * (dout.v - dout.out). dout, out [rows, dv]
 */
template <int GROUP>
__global__ void weight_gradients(float *p, float *ds, const float *dout, const float *out, const float *lse, slab b,
                                 float scale, int dv, ts_rows r)
{
    const int64_t row = ts_row<GROUP>(r), left = row % b.rows + 1 + b.ahead, at = row * r.C;
    const int seen = left < r.C ? (int)left : r.C;
    float own = 0;
    for (TS_ROW_EACH(GROUP, c, dv))
        own += dout[row * dv + c] * out[row * dv + c];
    own = ts_group_sum<GROUP>(own);
    if (!ts_row_mine<GROUP>(r))
        return;
    for (TS_ROW_EACH(GROUP, j, r.C)) {
        const float weight = j < seen ? expf(scale * p[at + j] - lse[row]) : 0;
        ds[at + j] = j < seen ? scale * weight * (ds[at + j] - own) : 0;
        p[at + j] = weight;
    }
}

struct forward_operands {
    const float *q, *k, *v;
    float *out, *lse;

    forward_operands of(const sizes &s, const slab &b) const
    {
        const int64_t row = b.head * s.Tq + b.first, key = b.head * s.Tk;
        return {q + row * s.d, k + key * s.d, v + key * s.dv, out + row * s.dv, lse + row};
    }
};

/* o: of the slab */
void forward_slab(products &p, const sizes &s, const slab &b, const forward_operands &o, float *w)
{
    const ts_rows r = {b.heads * b.rows, (int)s.Tk};
    p.multiply<KEYS_BY_COLUMN, true, true>(w, o.q, o.k, b.rows, s.Tk, s.d, false);
    if (p.call)
        TS_LAUNCH_ROWS(p.call, r, weights, w, o.lse, b, s.scale, r);
    p.multiply<KEYS_BY_K, true, false>(o.out, w, o.v, b.rows, s.dv, s.Tk, false);
}

struct backward_operands {
    const float *dout, *q, *k, *v, *out, *lse;
    float *dq, *dk, *dv;

    backward_operands of(const sizes &s, const slab &b) const
    {
        const int64_t row = b.head * s.Tq + b.first, key = b.head * s.Tk;
        return {dout + row * s.dv, q + row * s.d,  k + key * s.d,  v + key * s.dv, out + row * s.dv,
                lse + row,         dq + row * s.d, dk + key * s.d, dv + key * s.dv};
    }
};

/* o: of the slab */
void backward_slab(products &p, const sizes &s, const slab &b, const backward_operands &o, float *w, float *ds)
{
    const ts_rows r = {b.heads * b.rows, (int)s.Tk};
    const bool add = b.first > 0;
    p.multiply<KEYS_BY_COLUMN, true, true>(w, o.q, o.k, b.rows, s.Tk, s.d, false);
    p.multiply<KEYS_BY_COLUMN, true, true>(ds, o.dout, o.v, b.rows, s.Tk, s.dv, false);
    if (p.call)
        TS_LAUNCH_ROWS(p.call, r, weight_gradients, w, ds, o.dout, o.out, o.lse, b, s.scale, (int)s.dv, r);
    p.multiply<KEYS_BY_K, true, false>(o.dq, ds, o.k, b.rows, s.d, s.Tk, false);
    p.multiply<QUERIES_BY_K, false, false>(o.dk, ds, o.q, s.Tk, s.d, b.rows, add);
    p.multiply<QUERIES_BY_K, false, false>(o.dv, w, o.dout, s.Tk, s.dv, b.rows, add);
}

/* Scratch: one slab of so many weights, or two, then parts of products. */
int64_t largest_slab(const sizes &s)
{
    int64_t most = 0;
    each_slab(s, [&](const slab &b) {
        const int64_t weights = b.heads * b.rows * s.Tk;
        most = most < weights ? weights : most;
    });
    return (most + 3) / 4 * 4; /* what follows is aligned */
}

ts_status attention_prepare(const ts_desc *d, ts_device *, void **, size_t *scratch_bytes, ts_error *)
{
    const sizes s = sizes_of(d->attr, d->in[0].shape, d->in[2].shape);
    products p = {};
    each_slab(s, [&](const slab &b) {
        p.b = &b;
        forward_slab(p, s, b, {}, nullptr);
    });
    *scratch_bytes = (size_t)largest_slab(s) * sizeof(float) + p.parts_bytes;
    return TS_OK;
}

void attention(const ts_call *call)
{
    const sizes s = sizes_of(call->desc->attr, call->desc->in[0].shape, call->desc->in[2].shape);
    const forward_operands o = {ts_cuda_in(call, 0), ts_cuda_in(call, 1), ts_cuda_in(call, 2), ts_cuda_out(call, 0),
                                ts_cuda_out(call, 1)};
    float *w = static_cast<float *>(call->scratch);
    products p = {call, nullptr, w + largest_slab(s), 0};
    each_slab(s, [&](const slab &b) {
        p.b = &b;
        forward_slab(p, s, b, o.of(s, b), w);
    });
}

ts_status attention_dx_prepare(const ts_desc *d, ts_device *, void **, size_t *scratch_bytes, ts_error *)
{
    const sizes s = sizes_of(d->attr, d->in[1].shape, d->in[3].shape);
    products p = {};
    each_slab(s, [&](const slab &b) {
        p.b = &b;
        backward_slab(p, s, b, {}, nullptr, nullptr);
    });
    *scratch_bytes = (size_t)largest_slab(s) * 2 * sizeof(float) + p.parts_bytes;
    return TS_OK;
}

void attention_dx(const ts_call *call)
{
    const sizes s = sizes_of(call->desc->attr, call->desc->in[1].shape, call->desc->in[3].shape);
    const backward_operands o = {ts_cuda_in(call, 0),  ts_cuda_in(call, 1),  ts_cuda_in(call, 2),
                                 ts_cuda_in(call, 3),  ts_cuda_in(call, 4),  ts_cuda_in(call, 5),
                                 ts_cuda_out(call, 0), ts_cuda_out(call, 1), ts_cuda_out(call, 2)};
    float *w = static_cast<float *>(call->scratch), *ds = w + largest_slab(s);
    products p = {call, nullptr, ds + largest_slab(s), 0};
    if (s.Tq == 0) { /* nobody looks at the keys */
        cudaMemsetAsync(o.dk, 0, (size_t)(s.heads * s.Tk * s.d) * sizeof(float), ts_cuda_stream(call));
        cudaMemsetAsync(o.dv, 0, (size_t)(s.heads * s.Tk * s.dv) * sizeof(float), ts_cuda_stream(call));
    }
    each_slab(s, [&](const slab &b) {
        p.b = &b;
        backward_slab(p, s, b, o.of(s, b), w, ds);
    });
}

/* Keys and widths are counted in 32 bits. */
bool accepts(const ts_desc *d)
{
    bool fits = true;
    for (int i = 0; i < d->in_count; i++)
        for (int axis = 2; axis < d->in[i].shape.rank; axis++)
            fits &= d->in[i].shape.dim[axis] <= INT32_MAX - TS_CUDA_BLOCK;
    return fits;
}

} // namespace

extern "C" const ts_kernel ts_cuda_attention = {
    .name = "cuda", .accepts = accepts, .prepare = attention_prepare, .run = attention};
extern "C" const ts_kernel ts_cuda_attention_dx = {
    .name = "cuda", .accepts = accepts, .prepare = attention_dx_prepare, .run = attention_dx};
