/* The ops that NVIDIA's libraries compute, and our own kernels for what they refuse and for builds without them. */
#ifndef TS_CORE_CUDA_LIBRARY_H
#define TS_CORE_CUDA_LIBRARY_H

#include "core/cuda/cuda.h"

extern "C" const ts_kernel ts_cuda_cast, ts_cuda_matmul, ts_cuda_conv, ts_cuda_conv_transpose, ts_cuda_conv_dw;

/* NULL: not one for this desc, or the build has no such library (the emulation). What only `prepare` finds out, that a
 * library has nothing for the shapes, makes the kernel run our own instead, and leaves a note (ts_device_note). */
const ts_kernel *ts_cublas_kernel(const ts_desc *desc);
const ts_kernel *ts_cudnn_kernel(const ts_desc *desc);
void ts_cublas_close(ts_cuda *cuda);
void ts_cudnn_close(ts_cuda *cuda);

/* What a library's kernel needs to fall back: our own kernel of the op, prepared. */
struct ts_own {
    const ts_kernel *kernel; /* NULL: the library's is used */
    void *prepared;
};

static inline ts_status ts_own_prepare(ts_own *own, const ts_kernel *kernel, const ts_desc *desc, ts_device *device,
                                       size_t *scratch_bytes, ts_error *err)
{
    own->kernel = kernel;
    *scratch_bytes = 0;
    return kernel->prepare ? kernel->prepare(desc, device, &own->prepared, scratch_bytes, err) : TS_OK;
}

static inline void ts_own_run(const ts_own *own, const ts_call *call)
{
    ts_call mine = *call;
    mine.prepared = own->prepared;
    own->kernel->run(&mine);
}

static inline void ts_own_release(const ts_own *own)
{
    if (own->kernel && own->kernel->release)
        own->kernel->release(own->prepared);
}

#endif
