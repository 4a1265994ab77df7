// A stand-in for NVIDIA's header of this name: enough of CUDA's launch model and runtime for core/cuda to be built by a
// C++ compiler and run on a machine without a GPU, so that the kernels' arithmetic and their use of memory are tested.
//
// One OS thread runs everything. A launch by TS_LAUNCH runs the threads of a block one after the other to their ends; a
// launch by TS_LAUNCH_BLOCK gives each thread of a block a fiber, and a barrier or a shuffle is a rendezvous of fibers:
// one that cannot complete (a divergent barrier, a shuffle with a lane that has left) stops the program and says so.
// Static __shared__ memory keeps what the block before left in it, as on the device. What is recorded between
// cudaStreamBeginCapture and cudaStreamEndCapture is kept and run by cudaGraphLaunch.
//
// "Device" memory is the host's. Under AddressSanitizer it is poisoned except while a kernel or a copy runs, so that
// host code that touches it is found, and so is a kernel that leaves an allocation.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>

#define TS_CUDA_EMULATED 1

#define __global__
#define __device__
#define __host__
#define __shared__      static
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __restrict__ __restrict
#define __grid_constant__

struct dim3 {
    unsigned x, y, z;
    constexpr dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_)
    {
    }
};
extern dim3 threadIdx, blockIdx, blockDim, gridDim;
enum { warpSize = 32 };
#define __expf expf // glibc declares the name

// --- launching
// --------------------------------------------------------------------------------------------------------

typedef struct ts_emulated_stream *cudaStream_t;

void ts_emulated_launch(dim3 grid, dim3 block, size_t shared_bytes, bool cooperating, std::function<void()> thread,
                        const char *kernel);
void *ts_emulated_shared(); // the launch's dynamic shared memory

// --- what threads of a block say to each other
// ------------------------------------------------------------------------

void __syncthreads();
void __syncwarp(unsigned mask = 0xffffffffu);
uint64_t ts_emulated_exchange(unsigned mask, uint64_t mine, int from_lane); // the value of another lane of the warp
unsigned __ballot_sync(unsigned mask, int predicate);
unsigned ts_emulated_match(unsigned mask, uint64_t mine); // the lanes with this value

template <class T> static inline uint64_t ts_emulated_bits(T value)
{
    static_assert(sizeof(T) <= 8, "shuffles move up to 8 bytes");
    uint64_t bits = 0;
    memcpy(&bits, &value, sizeof value);
    return bits;
}

template <class T> static inline T ts_emulated_value(uint64_t bits)
{
    T value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

int ts_emulated_lane();

template <class T> static inline T __shfl_sync(unsigned mask, T value, int lane, int width = warpSize)
{
    int base = ts_emulated_lane() / width * width;
    return ts_emulated_value<T>(ts_emulated_exchange(mask, ts_emulated_bits(value), base + lane % width));
}

template <class T> static inline T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = warpSize)
{
    int lane = ts_emulated_lane(), from = lane % width + (int)delta < width ? lane + (int)delta : lane;
    return ts_emulated_value<T>(ts_emulated_exchange(mask, ts_emulated_bits(value), from));
}

template <class T> static inline T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = warpSize)
{
    int lane = ts_emulated_lane(), from = lane % width >= (int)delta ? lane - (int)delta : lane;
    return ts_emulated_value<T>(ts_emulated_exchange(mask, ts_emulated_bits(value), from));
}

template <class T> static inline T __shfl_xor_sync(unsigned mask, T value, int with, int width = warpSize)
{
    int lane = ts_emulated_lane(), from = (lane ^ with) / width == lane / width ? lane ^ with : lane;
    return ts_emulated_value<T>(ts_emulated_exchange(mask, ts_emulated_bits(value), from));
}

template <class T> static inline unsigned __match_any_sync(unsigned mask, T value)
{
    return ts_emulated_match(mask, ts_emulated_bits(value));
}

static inline int __any_sync(unsigned mask, int predicate)
{
    return __ballot_sync(mask, predicate) != 0;
}

static inline int __all_sync(unsigned mask, int predicate)
{
    return __ballot_sync(mask, !predicate) == 0;
}

int __syncthreads_or(int predicate);

// --- atomics: one OS thread, so plain arithmetic
// ----------------------------------------------------------------------

template <class T, class U> static inline T atomicAdd(T *to, U value)
{
    T old = *to;
    *to = old + (T)value;
    return old;
}

template <class T> static inline T atomicMax(T *to, T value)
{
    T old = *to;
    *to = old > value ? old : value;
    return old;
}

template <class T> static inline T atomicMin(T *to, T value)
{
    T old = *to;
    *to = old < value ? old : value;
    return old;
}

template <class T> static inline T atomicOr(T *to, T value)
{
    T old = *to;
    *to = old | value;
    return old;
}

template <class T> static inline T atomicExch(T *to, T value)
{
    T old = *to;
    *to = value;
    return old;
}

template <class T> static inline T atomicCAS(T *to, T compare, T value)
{
    T old = *to;
    if (old == compare)
        *to = value;
    return old;
}

static inline void __threadfence()
{
}
static inline void __threadfence_block()
{
}

// --- vector types and intrinsics
// --------------------------------------------------------------------------------------

struct alignas(8) float2 {
    float x, y;
};
struct alignas(16) float4 {
    float x, y, z, w;
};
struct alignas(8) int2 {
    int x, y;
};
struct alignas(16) int4 {
    int x, y, z, w;
};
struct alignas(16) uint4 {
    unsigned x, y, z, w;
};
static inline float2 make_float2(float x, float y)
{
    return {x, y};
}
static inline float4 make_float4(float x, float y, float z, float w)
{
    return {x, y, z, w};
}
static inline int2 make_int2(int x, int y)
{
    return {x, y};
}
static inline int4 make_int4(int x, int y, int z, int w)
{
    return {x, y, z, w};
}
static inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w)
{
    return {x, y, z, w};
}

template <class T> static inline T __ldg(const T *p)
{
    return *p;
}
static inline float __uint_as_float(unsigned x)
{
    return ts_emulated_value<float>(x);
}
static inline unsigned __float_as_uint(float x)
{
    return (unsigned)ts_emulated_bits(x);
}
static inline int __float_as_int(float x)
{
    return (int)ts_emulated_bits(x);
}
static inline float __int_as_float(int x)
{
    return ts_emulated_value<float>((unsigned)x);
}
static inline unsigned __umulhi(unsigned a, unsigned b)
{
    return (unsigned)((uint64_t)a * b >> 32);
}
static inline unsigned long long __umul64hi(unsigned long long a, unsigned long long b)
{
    return (unsigned long long)((unsigned __int128)a * b >> 64);
}
static inline int __popc(unsigned x)
{
    return __builtin_popcount(x);
}
static inline int __ffs(int x)
{
    return __builtin_ffs(x);
}
static inline int __clz(int x)
{
    return x ? __builtin_clz((unsigned)x) : 32;
}
static inline float rsqrtf(float x)
{
    return 1 / sqrtf(x);
}
static inline double rsqrt(double x)
{
    return 1 / sqrt(x);
}
static inline float __fdividef(float a, float b)
{
    return a / b;
}
static inline float __fmul_rn(float a, float b)
{
    return a * b;
}
static inline float __fadd_rn(float a, float b)
{
    return a + b;
}
static inline void sincospif(float x, float *s, float *c)
{
    *s = (float)sin(3.14159265358979323846 * (double)x);
    *c = (float)cos(3.14159265358979323846 * (double)x);
}
static inline void sincospi(double x, double *s, double *c)
{
    *s = sin(3.14159265358979323846 * x);
    *c = cos(3.14159265358979323846 * x);
}
template <class T> static inline T min(T a, T b)
{
    return b < a ? b : a;
}
template <class T> static inline T max(T a, T b)
{
    return a < b ? b : a;
}

// --- the runtime
// ------------------------------------------------------------------------------------------------------

typedef enum {
    cudaSuccess = 0,
    cudaErrorInvalidValue = 1,
    cudaErrorMemoryAllocation = 2,
    cudaErrorInvalidDevice = 101,
    cudaErrorLaunchFailure = 719,
    cudaErrorStreamCaptureUnsupported = 900,
} cudaError_t;
typedef enum {
    cudaMemcpyHostToDevice = 1,
    cudaMemcpyDeviceToHost = 2,
    cudaMemcpyDeviceToDevice = 3,
} cudaMemcpyKind;
typedef enum { cudaStreamCaptureModeThreadLocal = 1 } cudaStreamCaptureMode;
enum { cudaStreamNonBlocking = 1, cudaEventDisableTiming = 2 };
typedef struct ts_emulated_graph *cudaGraph_t;
typedef struct ts_emulated_graph *cudaGraphExec_t;
typedef struct ts_emulated_event *cudaEvent_t;
struct cudaDeviceProp {
    char name[256];
    int major, minor, multiProcessorCount;
    size_t totalGlobalMem, sharedMemPerBlockOptin;
};

const char *cudaGetErrorString(cudaError_t error);
const char *cudaGetErrorName(cudaError_t error);
cudaError_t cudaGetLastError();
cudaError_t cudaGetDeviceCount(int *count);
cudaError_t cudaGetDeviceProperties(cudaDeviceProp *properties, int device);
cudaError_t cudaSetDevice(int device);
cudaError_t cudaDriverGetVersion(int *version);
cudaError_t cudaRuntimeGetVersion(int *version);
cudaError_t cudaStreamCreateWithFlags(cudaStream_t *stream, unsigned flags);
cudaError_t cudaStreamDestroy(cudaStream_t stream);
cudaError_t cudaStreamSynchronize(cudaStream_t stream);
cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode mode);
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t *graph);
cudaError_t cudaGraphInstantiate(cudaGraphExec_t *exec, cudaGraph_t graph, unsigned long long flags);
cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t stream);
cudaError_t cudaGraphDestroy(cudaGraph_t graph);
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec);
cudaError_t cudaMalloc(void **memory, size_t bytes);
cudaError_t cudaFree(void *memory);
cudaError_t cudaMallocHost(void **memory, size_t bytes);
cudaError_t cudaFreeHost(void *memory);
cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t bytes, cudaMemcpyKind kind, cudaStream_t stream);
cudaError_t cudaMemsetAsync(void *memory, int value, size_t bytes, cudaStream_t stream);
cudaError_t cudaMemGetInfo(size_t *free_bytes, size_t *total_bytes);
cudaError_t cudaEventCreateWithFlags(cudaEvent_t *event, unsigned flags);
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream);
cudaError_t cudaEventSynchronize(cudaEvent_t event);
cudaError_t cudaEventDestroy(cudaEvent_t event);
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned flags);
template <class F> static inline cudaError_t cudaFuncSetAttribute(F, int, int)
{
    return cudaSuccess;
}
enum { cudaFuncAttributeMaxDynamicSharedMemorySize = 8 };
