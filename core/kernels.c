/* The kernel tables, expanded from the one list: an op whose kernel is missing does not link. */
#include "core/device.h"

#define KERNEL_DIFF(name)      RUN(name)
#define KERNEL_SURROGATE(name) RUN(name)
#define KERNEL_GRAD(name)      RUN(name)
#define KERNEL_INT(name)       RUN(name)
#define KERNEL_STATE(name)     RUN(name)
#define KERNEL_RANDOM(name)    RUN(name)
#define KERNEL_ALIAS(name)
#define TS_OP(name, family, class, inputs, outputs, in_place, cpu) KERNEL_##class(name)

#define RUN(op_)                                                                                                       \
    void ts_ref32_##op_(const ts_call *call);                                                                          \
    void ts_ref64_##op_(const ts_call *call);
#include "core/ops.def"
#undef RUN

#define RUN(op_) [TS_OP_##op_] = {{.name = "ref", .run = ts_ref32_##op_}, {.name = "ref", .run = ts_ref64_##op_}},
static const ts_kernel ref_kernels[TS_OP_COUNT][2] = {
#include "core/ops.def"
};
#undef RUN
#undef TS_OP

#define FAST(name) extern const ts_kernel ts_cpu_##name;
#define REF(name)
#define TS_OP(name, family, class, inputs, outputs, in_place, cpu) cpu(name)
#include "core/ops.def"
#undef FAST

#define FAST(name) [TS_OP_##name] = &ts_cpu_##name,
static const ts_kernel *const cpu_kernels[TS_OP_COUNT] = {
#include "core/ops.def"
};

const ts_kernel *ts_ref_kernel(ts_op op, bool wide)
{
    const ts_kernel *kernel = &ref_kernels[op][wide];
    return kernel->run ? kernel : NULL;
}

const ts_kernel *ts_cpu_kernel(ts_op op)
{
    return cpu_kernels[op];
}
