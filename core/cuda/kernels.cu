/* The table of kernels, expanded from the one list: an op whose kernel is missing does not link. */
#include "core/cuda/library.h"

extern "C" {
#include "core/widen.h"
}

#define KERNEL_DIFF(name)      RUN(name)
#define KERNEL_SURROGATE(name) RUN(name)
#define KERNEL_GRAD(name)      RUN(name)
#define KERNEL_INT(name)       RUN(name)
#define KERNEL_STATE(name)     RUN(name)
#define KERNEL_RANDOM(name)    RUN(name)
#define KERNEL_ALIAS(name)
#define TS_OP(name, family, class, inputs, outputs, in_place, cpu) KERNEL_##class(name)

#define RUN(op_) extern "C" const ts_kernel ts_cuda_##op_;
#include "core/ops.def"
#undef RUN

/* Products and convolutions are the libraries', where there are libraries. */
static const ts_kernel *library_kernel(const ts_desc *desc)
{
#ifndef TS_CUDA_EMULATED
    if (desc->op == TS_OP_matmul)
        return ts_cublas_kernel(desc);
    if (desc->op == TS_OP_conv || desc->op == TS_OP_conv_transpose || desc->op == TS_OP_conv_dw)
        return ts_cudnn_kernel(desc);
#endif
    (void)desc;
    return nullptr;
}

static const ts_kernel *own_kernel(const ts_desc *desc)
{
    const ts_kernel *kernel = nullptr; /* of an alias */
    switch (desc->op) {
#define RUN(op_)                                                                                                       \
    case TS_OP_##op_:                                                                                                  \
        kernel = &ts_cuda_##op_;                                                                                       \
        break;
#include "core/ops.def"
    default:
        break;
    }
    return kernel && (!kernel->accepts || kernel->accepts(desc)) ? kernel : nullptr;
}

const ts_kernel *ts_cuda_kernel_of(ts_device *device, const ts_desc *desc)
{
    (void)device;
    if (!ts_cuda_narrow(desc))
        return nullptr;
    const ts_kernel *kernel = library_kernel(desc);
    if (!kernel)
        kernel = own_kernel(desc);
    const bool widen = ts_needs_widening(desc) && !(kernel && kernel->bf16);
    return widen ? &ts_widened : kernel;
}
