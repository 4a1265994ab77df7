/* What the kernels of this folder share: the device's state, grids, the places where errors go. The folder is built
 * into a module of its own (libtessera-cuda.so) that core/device.c opens at run time; it exports one symbol,
 * ts_cuda_module.
 *
 * A kernel of an op is ts_cuda_<op>, of type ts_kernel. `run` only enqueues work on the device's stream: it does not
 * wait, allocate, or read device memory from the host, so that a whole program can be recorded and replayed. Every
 * result depends on the operands alone: sums go in a fixed order, never by float atomics. */
#ifndef TS_CORE_CUDA_CUDA_H
#define TS_CORE_CUDA_CUDA_H

#include "core/cuda/launch.h"

extern "C" {
#include "core/device.h"
#include "core/memory.h"
}

enum { TS_CUDA_SLOTS = 8 };

/* One upload on its way: from pinned memory by the stream of copies into a buffer on the device, and from there, on the
 * stream of kernels, to its place. So neither host nor kernels wait for a copy, unless all slots are under way. */
struct ts_cuda_slot {
    void *host, *device;
    size_t bytes;                /* of both */
    cudaEvent_t arrived, placed; /* on the device; at its place: the slot is free again */
};

struct ts_cuda {
    cudaStream_t stream, copies;
    cudaDeviceProp properties;
    ts_cuda_slot slot[TS_CUDA_SLOTS];
    int next_slot;
    void *matmul; /* of cublas.cu; NULL: not opened yet */
    void *conv;   /* of cudnn.cu */
    bool tf32,
        fastest; /* switches: TF32 for f32 products; the fastest algorithms though they may not be deterministic */
};

static inline ts_cuda *ts_cuda_of(const ts_call *call)
{
    return static_cast<ts_cuda *>(call->device->state);
}

static inline cudaStream_t ts_cuda_stream(const ts_call *call)
{
    return ts_cuda_of(call)->stream;
}

/* Operand or result i as floats; NULL: absent. */
static inline const float *ts_cuda_in(const ts_call *call, int i)
{
    return i < call->desc->in_count ? static_cast<const float *>(call->in[i]) : nullptr;
}

static inline float *ts_cuda_out(const ts_call *call, int i)
{
    return static_cast<float *>(call->out[i]);
}

enum { TS_CUDA_BLOCK = 256 };

/* Blocks of TS_CUDA_BLOCK threads for n elements, each thread walking on by the whole grid: at most 8 blocks a
 * multiprocessor, at least one. */
static inline unsigned ts_cuda_grid(const ts_call *call, int64_t n)
{
    int64_t blocks = (n + TS_CUDA_BLOCK - 1) / TS_CUDA_BLOCK;
    int64_t most = 8 * (int64_t)ts_cuda_of(call)->properties.multiProcessorCount;
    return (unsigned)(blocks < 1 ? 1 : blocks < most ? blocks : most);
}

/* for (TS_CUDA_EACH(i, n)): the elements of this thread in such a grid. */
#define TS_CUDA_EACH(i, n)                                                                                             \
    int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x;                                                        \
    i < (n);                                                                                                           \
    i += (int64_t)gridDim.x * blockDim.x

/* After a launch: a refused one is the device's error, with the op's name. */
static inline void ts_cuda_launched(const ts_call *call)
{
    cudaError_t error = cudaGetLastError();
    if (error != cudaSuccess)
        ts_device_fail(call->device, "CUDA: launch of %s: %s (%s)", ts_ops[call->desc->op].name,
                       cudaGetErrorString(error), cudaGetErrorName(error));
}

/* Zeroes memory on the device, in the stream's order. */
static inline void ts_cuda_zero(const ts_call *call, void *memory, size_t bytes)
{
    cudaError_t error = bytes ? cudaMemsetAsync(memory, 0, bytes, ts_cuda_stream(call)) : cudaSuccess;
    if (error != cudaSuccess)
        ts_device_fail(call->device, "CUDA: cudaMemsetAsync for %s: %s (%s)", ts_ops[call->desc->op].name,
                       cudaGetErrorString(error), cudaGetErrorName(error));
}

/* Kernels that only need f32 (and integers). */
static inline bool ts_cuda_narrow(const ts_desc *desc)
{
    for (int i = 0; i < desc->in_count; i++)
        if (ts_type_present(&desc->in[i]) && desc->in[i].dtype == TS_F64)
            return false;
    for (int i = 0; i < desc->out_count; i++)
        if (desc->out[i].dtype == TS_F64)
            return false;
    return true;
}

/* The kernel of an op; NULL where there is none for this desc. */
const ts_kernel *ts_cuda_kernel_of(ts_device *device, const ts_desc *desc);

#endif
