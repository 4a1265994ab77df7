/* Rows picked by id, ids counted, and parts of tensors moved; scatter_add is in index_scatter.cu. What only moves
 * elements works on units of 1 to 16 bytes: the largest that divides all sizes, steps and addresses. */
#include "core/cuda/walk.cuh"

#include <string.h>

namespace
{

#define FOR_UNIT(bytes, call_)                                                                                         \
    switch (bytes) {                                                                                                   \
    case 16:                                                                                                           \
        return call_<uint4>;                                                                                           \
    case 8:                                                                                                            \
        return call_<uint64_t>;                                                                                        \
    case 4:                                                                                                            \
        return call_<uint32_t>;                                                                                        \
    case 2:                                                                                                            \
        return call_<uint16_t>;                                                                                        \
    default:                                                                                                           \
        return call_<uint8_t>;                                                                                         \
    }

/* The largest power of two up to 16 that divides all numbers whose bits are in `numbers`. */
int unit_of(uint64_t numbers)
{
    int unit = 16;
    while (numbers % (uint64_t)unit)
        unit /= 2;
    return unit;
}

uint64_t address(const void *p)
{
    return (uint64_t)(uintptr_t)p;
}

/* ---- gather, tile_rows ---- */

/* table [K, width], ids [N] -> out [N, width] = n elements; an id outside 0 ... K-1 gives `fill` */
template <class T, class I>
__global__ void pick_rows(T *out, const T *table, const int32_t *ids, ts_divisor<I> width, int64_t K, T fill, int64_t n)
{
    for (TS_CUDA_EACH(e, n)) {
        const I row = width.quotient((I)e), column = (I)e - row * width.by;
        const int32_t id = ids[row];
        out[e] = id >= 0 && id < K ? table[(int64_t)id * width.by + column] : fill;
    }
}

template <class T, class I> void gather(const ts_call *call, T fill)
{
    const ts_desc *d = call->desc;
    const int64_t unit = sizeof(T) / sizeof(float), n = ts_shape_count(d->out[0].shape) / unit;
    TS_LAUNCH((pick_rows<T, I>), ts_cuda_grid(call, n), TS_CUDA_BLOCK, ts_cuda_stream(call),
              static_cast<T *>(call->out[0]), static_cast<const T *>(call->in[0]),
              static_cast<const int32_t *>(call->in[1]), ts_divisor<I>::of(d->in[0].shape.dim[1] / unit),
              d->in[0].shape.dim[0], fill, n);
    ts_cuda_launched(call);
}

void run_gather(const ts_call *call)
{
    const ts_desc *d = call->desc;
    const float fill = (float)d->attr.axis.value;
    const int64_t n = ts_shape_count(d->out[0].shape);
    if (n == 0)
        return;
    if (!ts_walk_narrow(n))
        return gather<float, uint64_t>(call, fill);
    if (d->in[0].shape.dim[1] % 4 == 0 && ts_aligned16(call->out[0]) && ts_aligned16(call->in[0]))
        return gather<float4, uint32_t>(call, make_float4(fill, fill, fill, fill));
    gather<float, uint32_t>(call, fill);
}

/* to [n] = from [m], again and again */
template <class T, class I> __global__ void repeat(T *to, const T *from, ts_divisor<I> m, int64_t n)
{
    for (TS_CUDA_EACH(e, n))
        to[e] = from[(I)e - m.quotient((I)e) * m.by];
}

template <class T, class I> void tile(const ts_call *call)
{
    const int64_t unit = sizeof(T) / sizeof(float), n = ts_shape_count(call->desc->out[0].shape) / unit;
    TS_LAUNCH((repeat<T, I>), ts_cuda_grid(call, n), TS_CUDA_BLOCK, ts_cuda_stream(call),
              static_cast<T *>(call->out[0]), static_cast<const T *>(call->in[0]),
              ts_divisor<I>::of(ts_shape_count(call->desc->in[0].shape) / unit), n);
    ts_cuda_launched(call);
}

enum { FINDERS = 1024 };

/* The first K numbers n with mask[n] != 0, and behind them how many there are, K or more if it stopped at K. One block:
 * K rows are seldom more than the first few thousand. */
__global__ void find_rows(int32_t *rows, const float *mask, int64_t N, int64_t K)
{
    __shared__ int of_warp[FINDERS / 32];
    const int lane = (int)threadIdx.x % 32, warp = (int)threadIdx.x / 32;
    int64_t found = 0;
    for (int64_t first = 0; first < N && found < K; first += FINDERS) {
        const int64_t n = first + threadIdx.x;
        const bool here = n < N && mask[n] != 0;
        const unsigned all = __ballot_sync(0xffffffffu, here);
        if (lane == 0)
            of_warp[warp] = __popc(all);
        __syncthreads();
        int64_t place = found + __popc(all & ((1u << lane) - 1));
        for (int w = 0; w < FINDERS / 32; w++) {
            place += w < warp ? of_warp[w] : 0;
            found += of_warp[w];
        }
        if (here && place < K)
            rows[place] = (int32_t)n;
        __syncthreads();
    }
    if (threadIdx.x == 0)
        rows[K] = (int32_t)(found < INT32_MAX ? found : INT32_MAX);
}

/* x [N, width] -> to [K, width] = n elements: the rows that were found, again and again; 0 where there are none */
template <class T>
__global__ void repeat_found(T *to, const T *x, const int32_t *rows, int64_t K, ts_divisor<uint64_t> width, int64_t n)
{
    const int32_t found = rows[K];
    for (TS_CUDA_EACH(e, n)) {
        const uint64_t i = width.quotient((uint64_t)e), column = (uint64_t)e - i * width.by;
        to[e] = found ? x[(uint64_t)rows[i % (uint32_t)found] * width.by + column] : T{};
    }
}

template <class T> void tile_found(const ts_call *call)
{
    const ts_shape &y = call->desc->out[0].shape;
    const int64_t unit = sizeof(T) / sizeof(float), n = ts_shape_count(y) / unit;
    int32_t *rows = static_cast<int32_t *>(call->scratch);
    TS_LAUNCH_BLOCK(find_rows, 1, FINDERS, 0, ts_cuda_stream(call), rows, static_cast<const float *>(call->in[1]),
                    call->desc->in[0].shape.dim[0], y.dim[0]);
    TS_LAUNCH(repeat_found<T>, ts_cuda_grid(call, n), TS_CUDA_BLOCK, ts_cuda_stream(call),
              static_cast<T *>(call->out[0]), static_cast<const T *>(call->in[0]), rows, y.dim[0],
              ts_divisor<uint64_t>::of(y.dim[1] / unit), n);
    ts_cuda_launched(call);
}

bool has_mask(const ts_desc *d)
{
    return d->in_count > 1 && ts_type_present(&d->in[1]);
}

ts_status prepare_tile_rows(const ts_desc *d, ts_device *, void **, size_t *scratch, ts_error *)
{
    *scratch = has_mask(d) ? (size_t)(d->out[0].shape.dim[0] + 1) * sizeof(int32_t) : 0;
    return TS_OK;
}

void run_tile_rows(const ts_call *call)
{
    const ts_desc *d = call->desc;
    const int64_t n = ts_shape_count(d->out[0].shape), m = ts_shape_count(d->in[0].shape), D = d->in[0].shape.dim[1];
    const bool aligned = ts_aligned16(call->out[0]) && ts_aligned16(call->in[0]);
    if (n == 0)
        return;
    if (has_mask(d))
        return aligned && D % 4 == 0 ? tile_found<float4>(call) : tile_found<float>(call);
    if (!ts_walk_narrow(n) || !ts_walk_narrow(m))
        return tile<float, uint64_t>(call);
    aligned &&n % 4 == 0 && m % 4 == 0 ? tile<float4, uint32_t>(call) : tile<float, uint32_t>(call);
}

bool accepts_tile_rows(const ts_desc *d)
{
    return d->in[0].dtype == TS_F32 && d->out[0].dtype == TS_F32 &&
           (!has_mask(d) || (d->in[1].dtype == TS_F32 && d->in[0].shape.dim[0] <= INT32_MAX));
}

/* ---- count: integers, so that atomics leave nothing to chance ---- */

typedef unsigned long long total;

enum {
    MOST_SHARED = 8192,
    COUNT_EACH = 32
}; /* counters in shared memory; ids of a thread, that it pays to flush them */

__device__ bool counts(int32_t id, int64_t K)
{
    return id >= 0 && id < K;
}

/* Few codes: a block counts for itself. */
__global__ void count_shared(total *count, const int32_t *ids, int64_t K, int64_t N)
{
    TS_DYNAMIC_SHARED(unsigned, own);
    for (int k = (int)threadIdx.x; k < K; k += (int)blockDim.x)
        own[k] = 0;
    __syncthreads();
    for (TS_CUDA_EACH(n, N))
        if (counts(ids[n], K))
            atomicAdd(&own[ids[n]], 1u);
    __syncthreads();
    for (int k = (int)threadIdx.x; k < K; k += (int)blockDim.x)
        if (own[k])
            atomicAdd(&count[k], (total)own[k]);
}

/* Many: equal ids of a warp are added at once, so that a popular code does not hold up the others. */
__global__ void count_global(total *count, const int32_t *ids, int64_t K, int64_t N)
{
    const int lane = (int)threadIdx.x % 32;
    for (int64_t first = (int64_t)blockIdx.x * blockDim.x; first < N; first += (int64_t)gridDim.x * blockDim.x) {
        const int64_t n = first + threadIdx.x;
        const int32_t id = n < N ? ids[n] : -1;
        const unsigned equal = __match_any_sync(0xffffffffu, id);
        if (counts(id, K) && __ffs((int)equal) - 1 == lane)
            atomicAdd(&count[id], (total)__popc(equal));
    }
}

void run_count(const ts_call *call)
{
    const int64_t N = ts_shape_count(call->desc->in[0].shape), K = call->desc->out[0].shape.dim[0];
    total *count = static_cast<total *>(call->out[0]);
    const int32_t *ids = static_cast<const int32_t *>(call->in[0]);
    ts_cuda_zero(call, count, (size_t)K * sizeof *count);
    if (N == 0 || K == 0)
        return;
    if (K <= MOST_SHARED)
        TS_LAUNCH_BLOCK(count_shared, ts_cuda_grid(call, (N + COUNT_EACH - 1) / COUNT_EACH), TS_CUDA_BLOCK,
                        (size_t)K * sizeof(unsigned), ts_cuda_stream(call), count, ids, K, N);
    else
        TS_LAUNCH_BLOCK(count_global, ts_cuda_grid(call, N), TS_CUDA_BLOCK, 0, ts_cuda_stream(call), count, ids, K, N);
    ts_cuda_launched(call);
}

/* ---- slice, concat, pad: a tensor seen along one axis, [outer, dim * inner] ---- */

struct lanes {
    int64_t outer, dim, inner; /* inner in bytes */
};

lanes lanes_of(const ts_type *t, int axis)
{
    lanes l = {1, t->shape.dim[axis], (int64_t)ts_dtype_bytes(t->dtype)};
    for (int i = 0; i < axis; i++)
        l.outer *= t->shape.dim[i];
    for (int i = axis + 1; i < t->shape.rank; i++)
        l.inner *= t->shape.dim[i];
    return l;
}

/* Parts of lanes to be copied; bytes here, units in the kernel. */
struct part {
    const char *from;
    int64_t pitch, at, to_at, width;
};
struct parts {
    part of[TS_MAX_IN];
    int count;
    char *to;
    int64_t pitch, outer;
};

template <class I> struct copy_part {
    ts_divisor<I> width;
    int64_t pitch, at, to_at, n;
    const void *from;
};
template <class I> struct copy_parts {
    copy_part<I> of[TS_MAX_IN];
};

template <class T, class I> __global__ void copy(T *to, int64_t pitch, copy_parts<I> all)
{
    const copy_part<I> &p = all.of[blockIdx.y];
    const T *from = static_cast<const T *>(p.from) + p.at;
    for (TS_CUDA_EACH(e, p.n)) {
        const I lane = p.width.quotient((I)e), c = (I)e - lane * p.width.by;
        to[(int64_t)lane * pitch + p.to_at + c] = from[(int64_t)lane * p.pitch + c];
    }
}

template <class T, class I> void copy_as(const ts_call *call, const parts &p)
{
    copy_parts<I> all = {};
    int64_t largest = 0;
    for (int k = 0; k < p.count; k++) {
        const part &o = p.of[k];
        const int64_t width = o.width / (int64_t)sizeof(T), n = p.outer * width, unit = sizeof(T);
        all.of[k] = {ts_divisor<I>::of(width ? width : 1), o.pitch / unit, o.at / unit, o.to_at / unit, n, o.from};
        largest = n > largest ? n : largest;
    }
    if (largest == 0)
        return;
    TS_LAUNCH((copy<T, I>), dim3(ts_cuda_grid(call, largest), (unsigned)p.count), TS_CUDA_BLOCK, ts_cuda_stream(call),
              reinterpret_cast<T *>(p.to), p.pitch / (int64_t)sizeof(T), all);
    ts_cuda_launched(call);
}

template <class T> void copy_units(const ts_call *call, const parts &p)
{
    bool narrow = true;
    for (int k = 0; k < p.count; k++)
        narrow = narrow && ts_walk_narrow(p.outer * p.of[k].width / (int64_t)sizeof(T));
    narrow ? copy_as<T, uint32_t>(call, p) : copy_as<T, uint64_t>(call, p);
}

void (*copier(int unit))(const ts_call *, const parts &)
{
    FOR_UNIT(unit, copy_units)
}

void copy_parts_of(const ts_call *call, const parts &p)
{
    uint64_t numbers = address(p.to) | (uint64_t)p.pitch;
    for (int k = 0; k < p.count; k++) {
        const part &o = p.of[k];
        numbers |= address(o.from) | (uint64_t)o.pitch | (uint64_t)o.at | (uint64_t)o.to_at | (uint64_t)o.width;
    }
    copier(unit_of(numbers))(call, p);
}

void run_concat(const ts_call *call)
{
    const ts_desc *d = call->desc;
    const lanes to = lanes_of(&d->out[0], d->attr.axis.axis);
    parts p = {{}, d->in_count, static_cast<char *>(call->out[0]), to.dim * to.inner, to.outer};
    int64_t at = 0;
    for (int k = 0; k < d->in_count; k++) {
        const int64_t width = lanes_of(&d->in[k], d->attr.axis.axis).dim * to.inner;
        p.of[k] = {static_cast<const char *>(call->in[k]), width, 0, at, width};
        at += width;
    }
    copy_parts_of(call, p);
}

void run_slice(const ts_call *call)
{
    const ts_desc *d = call->desc;
    const lanes from = lanes_of(&d->in[0], d->attr.axis.axis), to = lanes_of(&d->out[0], d->attr.axis.axis);
    const int64_t width = to.dim * to.inner;
    const parts p = {
        {{static_cast<const char *>(call->in[0]), from.dim * from.inner, d->attr.axis.start * from.inner, 0, width}},
        1,
        static_cast<char *>(call->out[0]),
        width,
        to.outer};
    copy_parts_of(call, p);
}

/* Sixteen bytes of one value, whatever its type. */
struct pattern {
    alignas(16) char bytes[16];
};

pattern pattern_of(ts_dtype dtype, double value)
{
    const float real = (float)value;
    const int64_t whole = dtype == TS_I32 || dtype == TS_I64 || dtype == TS_U8 ? (int64_t)value : 0;
    const uint16_t half = ts_bf16_from_f32(real);
    const void *from = dtype == TS_F32 ? (const void *)&real : dtype == TS_BF16 ? (const void *)&half : &whole;
    const size_t size = ts_dtype_bytes(dtype); /* integers: the low bytes, which come first */
    pattern p;
    for (size_t i = 0; i < sizeof p.bytes; i++)
        p.bytes[i] = static_cast<const char *>(from)[i % size];
    return p;
}

/* to [outer, pitch] = from [outer, width] from `at` on, else `fill` */
template <class T, class I>
__global__ void copy_padded(T *to, const T *from, ts_divisor<I> pitch, I at, I width, T fill, int64_t n)
{
    for (TS_CUDA_EACH(e, n)) {
        const I lane = pitch.quotient((I)e), c = (I)e - lane * pitch.by;
        to[e] = c >= at && c - at < width ? from[lane * width + (c - at)] : fill;
    }
}

struct padding {
    int64_t pitch, at, width, bytes;
    pattern fill;
};

template <class T, class I> void pad_as(const ts_call *call, const padding &p)
{
    const int64_t unit = sizeof(T), n = p.bytes / unit;
    T fill;
    memcpy(&fill, p.fill.bytes, sizeof fill);
    TS_LAUNCH((copy_padded<T, I>), ts_cuda_grid(call, n), TS_CUDA_BLOCK, ts_cuda_stream(call),
              static_cast<T *>(call->out[0]), static_cast<const T *>(call->in[0]), ts_divisor<I>::of(p.pitch / unit),
              (I)(p.at / unit), (I)(p.width / unit), fill, n);
    ts_cuda_launched(call);
}

template <class T> void pad_units(const ts_call *call, const padding &p)
{
    ts_walk_narrow(p.bytes / (int64_t)sizeof(T)) ? pad_as<T, uint32_t>(call, p) : pad_as<T, uint64_t>(call, p);
}

void (*padder(int unit))(const ts_call *, const padding &)
{
    FOR_UNIT(unit, pad_units)
}

void run_pad(const ts_call *call)
{
    const ts_desc *d = call->desc;
    const lanes from = lanes_of(&d->in[0], d->attr.axis.axis), to = lanes_of(&d->out[0], d->attr.axis.axis);
    const padding p = {to.dim * to.inner, d->attr.axis.start * to.inner, from.dim * from.inner,
                       to.outer * to.dim * to.inner, pattern_of(d->out[0].dtype, d->attr.axis.value)};
    if (p.bytes)
        padder(unit_of((uint64_t)p.pitch | (uint64_t)p.at | (uint64_t)p.width | address(call->out[0]) |
                       address(call->in[0])))(call, p);
}

/* ---- permute ---- */

/* Neighbours of the result are neighbours of the operand, or one of the axes is short: in the result's order. */
template <class T, class I> __global__ void move(T *to, const T *from, ts_walk<I> walk, int64_t n)
{
    for (TS_CUDA_EACH(e, n))
        to[e] = from[walk.at((I)e)];
}

/* Rows are the axis along which the operand is contiguous, columns the one of the result. */
template <class I> struct turn {
    int64_t rows, columns, row_pitch, column_pitch; /* row_pitch: of the result; column_pitch: of the operand */
    int64_t row_tiles, column_tiles;
    ts_walk<I> from_other, to_other; /* the axes beside, in both */
};

enum { TILE = 32, TILE_ROWS = 8, SHORT = 16 };

/* A square through shared memory, so that reads and writes are whole lines. */
template <class T, class I> __global__ void transpose(T *to, const T *from, turn<I> t)
{
    __shared__ T square[TILE][TILE + 1];
    const int x = (int)threadIdx.x % TILE, y = (int)threadIdx.x / TILE;
    const int64_t other = blockIdx.x / (t.row_tiles * t.column_tiles);
    const int64_t r0 = blockIdx.x % t.row_tiles * TILE, c0 = blockIdx.x / t.row_tiles % t.column_tiles * TILE;
    from += t.from_other.at((I)other);
    to += t.to_other.at((I)other);
    for (int j = y; j < TILE; j += TILE_ROWS)
        if (c0 + j < t.columns && r0 + x < t.rows)
            square[j][x] = from[(c0 + j) * t.column_pitch + r0 + x];
    __syncthreads();
    for (int j = y; j < TILE; j += TILE_ROWS)
        if (r0 + j < t.rows && c0 + x < t.columns)
            to[(r0 + j) * t.row_pitch + c0 + x] = square[x][j];
}

/* The result's axes, innermost first, with the operand's steps. */
ts_axes permuted_axes(const ts_desc *d)
{
    const ts_shape &x = d->in[0].shape;
    int64_t stride[TS_MAX_RANK + 1];
    stride[x.rank] = 1;
    for (int i = x.rank - 1; i >= 0; i--)
        stride[i] = stride[i + 1] * x.dim[i];
    ts_axes axes;
    for (int i = x.rank - 1; i >= 0; i--)
        axes.add(x.dim[d->attr.permute.order[i]], stride[d->attr.permute.order[i] + 1]);
    return axes;
}

template <class T, class I> void transpose_as(const ts_call *call, const ts_axes &axes, int contiguous)
{
    turn<I> t = {axes.dim[contiguous], axes.dim[0], 0, axes.stride[0], 0, 0, {}, {}};
    ts_axes from, to;
    int64_t step = 1;
    for (int i = 0; i < axes.rank; i++) {
        if (i == contiguous) {
            t.row_pitch = step;
        } else if (i > 0) { /* no merging: both walks must have the same axes */
            from.dim[from.rank] = to.dim[to.rank] = axes.dim[i];
            from.stride[from.rank++] = axes.stride[i];
            to.stride[to.rank++] = step;
        }
        step *= axes.dim[i];
    }
    t.row_tiles = (t.rows + TILE - 1) / TILE;
    t.column_tiles = (t.columns + TILE - 1) / TILE;
    t.from_other = ts_walk<I>::of(from);
    t.to_other = ts_walk<I>::of(to);
    TS_LAUNCH_BLOCK((transpose<T, I>), (unsigned)(t.row_tiles * t.column_tiles * from.count()), TILE * TILE_ROWS, 0,
                    ts_cuda_stream(call), static_cast<T *>(call->out[0]), static_cast<const T *>(call->in[0]), t);
    ts_cuda_launched(call);
}

template <class T, class I> void move_as(const ts_call *call, const ts_axes &axes)
{
    const int64_t n = axes.count();
    TS_LAUNCH((move<T, I>), ts_cuda_grid(call, n), TS_CUDA_BLOCK, ts_cuda_stream(call), static_cast<T *>(call->out[0]),
              static_cast<const T *>(call->in[0]), ts_walk<I>::of(axes), n);
    ts_cuda_launched(call);
}

/* Of elements of T. */
template <class T> void permute_units(const ts_call *call, const ts_axes &axes)
{
    const bool narrow = ts_walk_narrow(axes.count());
    int contiguous = 0;
    for (int i = 1; i < axes.rank; i++)
        if (axes.stride[i] == 1)
            contiguous = i;
    if constexpr (sizeof(T) <= sizeof(uint64_t))
        if (contiguous && axes.dim[0] >= SHORT && axes.dim[contiguous] >= SHORT)
            return narrow ? transpose_as<T, uint32_t>(call, axes, contiguous)
                          : transpose_as<T, uint64_t>(call, axes, contiguous);
    narrow ? move_as<T, uint32_t>(call, axes) : move_as<T, uint64_t>(call, axes);
}

void (*permuter(int unit))(const ts_call *, const ts_axes &)
{
    FOR_UNIT(unit, permute_units)
}

/* Runs of elements that stay together, as runs of the largest unit, which it gives. */
int in_runs(const ts_call *call, ts_axes *axes, int64_t size)
{
    uint64_t numbers = address(call->out[0]) | address(call->in[0]) | (uint64_t)(axes->dim[0] * size);
    for (int i = 1; i < axes->rank; i++)
        numbers |= (uint64_t)(axes->stride[i] * size);
    const int unit = unit_of(numbers);
    for (int i = 1; i < axes->rank; i++)
        axes->stride[i] = axes->stride[i] * size / unit;
    axes->dim[0] = axes->dim[0] * size / unit;
    return unit;
}

void run_permute(const ts_call *call)
{
    ts_axes axes = permuted_axes(call->desc);
    const int64_t size = (int64_t)ts_dtype_bytes(call->desc->in[0].dtype);
    if (axes.count() == 0)
        return;
    if (axes.rank == 0) /* one element */
        axes.rank = 1, axes.dim[0] = axes.stride[0] = 1;
    permuter(axes.stride[0] == 1 ? in_runs(call, &axes, size) : (int)size)(call, axes);
}

bool narrow_table(const ts_desc *d)
{
    return d->in[0].dtype == TS_F32 && d->out[0].dtype == TS_F32;
}

} // namespace

extern "C" const ts_kernel ts_cuda_gather = {.name = "cuda", .accepts = narrow_table, .run = run_gather};
extern "C" const ts_kernel ts_cuda_count = {.name = "cuda", .run = run_count};
extern "C" const ts_kernel ts_cuda_tile_rows = {
    .name = "cuda", .accepts = accepts_tile_rows, .prepare = prepare_tile_rows, .run = run_tile_rows};
extern "C" const ts_kernel ts_cuda_slice = {.name = "cuda", .run = run_slice};
extern "C" const ts_kernel ts_cuda_pad = {.name = "cuda", .run = run_pad};
extern "C" const ts_kernel ts_cuda_concat = {.name = "cuda", .run = run_concat};
extern "C" const ts_kernel ts_cuda_permute = {.name = "cuda", .run = run_permute};
