/* How kernels are started, for two compilers: nvcc, and any C++ compiler with the emulation of tests/cuda, where
 * <cuda_runtime.h> is another file.
 *
 *   TS_LAUNCH(kernel, grid, block, stream, arguments...)                       threads that do not talk to each other
 *   TS_LAUNCH_BLOCK(kernel, grid, block, shared_bytes, stream, arguments...)   barriers, shuffles, shared memory
 *   TS_DYNAMIC_SHARED(type, name)   in a kernel: the shared_bytes of the launch
 *   TS_UNROLL                       before a loop that must not remain one, because it indexes registers
 *
 * A template's name with a comma in it goes in parentheses. A refused launch goes to ts_device_fail by
 * ts_cuda_launched. */
#ifndef TS_CORE_CUDA_LAUNCH_H
#define TS_CORE_CUDA_LAUNCH_H

#include <cuda_runtime.h>

#ifdef __CUDACC__
#define TS_LAUNCH(kernel, grid, block, stream, ...)               kernel<<<grid, block, 0, stream>>>(__VA_ARGS__)
#define TS_LAUNCH_BLOCK(kernel, grid, block, shared, stream, ...) kernel<<<grid, block, shared, stream>>>(__VA_ARGS__)
#define TS_DYNAMIC_SHARED(type, name)                                                                                  \
    extern __shared__ __align__(16) unsigned char ts_dynamic_shared[];                                                 \
    type *name = reinterpret_cast<type *>(ts_dynamic_shared)
#define TS_UNROLL _Pragma("unroll")
#else
#define TS_LAUNCH(kernel, grid, block, stream, ...)                                                                    \
    ((void)(stream), ts_emulated_launch(grid, block, 0, false, std::bind(kernel, __VA_ARGS__), #kernel))
#define TS_LAUNCH_BLOCK(kernel, grid, block, shared, stream, ...)                                                      \
    ((void)(stream), ts_emulated_launch(grid, block, shared, true, std::bind(kernel, __VA_ARGS__), #kernel))
#define TS_DYNAMIC_SHARED(type, name) type *name = static_cast<type *>(ts_emulated_shared())
#define TS_UNROLL
#endif

#endif
