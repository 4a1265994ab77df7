/* A kernel of the CUDA backend called by itself, beside the reference's: on memory that begins at any byte, with guards
 * around every operand, on devices of different sizes, and from a recording. */
#ifndef TS_TESTS_CUDA_DIRECT_H
#define TS_TESTS_CUDA_DIRECT_H

#include "core/device.h"

typedef struct {
    const char *label;
    ts_desc desc;
    int64_t below[TS_MAX_IN]; /* of integer operands: from `from` to below - 1 */
    int64_t from;
    void (*spoil)(int k, void *x); /* changes operand k before it is used; NULL: as drawn */
    double tolerance;              /* of the largest magnitude; 0: equal */
} direct_case;

/* DIRECT("bias", add, 1e-6, F(5, 3), F(5, 3), F(3)): result [5, 3] of operands [5, 3] and [3]; attributes are set in
 * .desc.attr afterwards. DIRECT_STATE has no result. */
#define F(...)         ((ts_type){TS_F32, ts_shape_of(__VA_ARGS__)})
#define I32(...)       ((ts_type){TS_I32, ts_shape_of(__VA_ARGS__)})
#define I64(...)       ((ts_type){TS_I64, ts_shape_of(__VA_ARGS__)})
#define OF(dtype, ...) ((ts_type){dtype, ts_shape_of(__VA_ARGS__)})
#define DIRECT(label_, op_, tolerance_, out_, ...)                                                                     \
    {                                                                                                                  \
        .label = label_, .tolerance = tolerance_, .desc = {                                                            \
            .op = TS_OP_##op_,                                                                                         \
            .in_count = sizeof((ts_type[]){__VA_ARGS__}) / sizeof(ts_type),                                            \
            .out_count = 1,                                                                                            \
            .in = {__VA_ARGS__},                                                                                       \
            .out = {out_}                                                                                              \
        }                                                                                                              \
    }

/* Chooses the emulation where TESSERA_CUDA_MODULE names no module. Returns whether it is the emulation, where large
 * cases take long and some limits are lower. */
bool direct_emulated(void);

/* What the operands and results hold after a run; free with direct_free. */
typedef struct {
    void *in[TS_MAX_IN], *out[TS_MAX_OUT];
} direct_result;

/* The operands as they are before a run; free with free(). */
void *direct_operand(const direct_case *c, int k);

/* Runs the case on `spec` ("ref", "cuda"), every operand `shift` elements behind an address that 64 divides, from a
 * recording where `recorded`. The device is one of `multiprocessors` where it is emulated. Asserts that the kernel
 * exists and that the memory around the operands stays as it was. */
direct_result direct_run(const direct_case *c, const char *spec, int shift, int multiprocessors, bool recorded);
void direct_free(const direct_case *c, direct_result *r);

/* Each case on "cuda" in all these ways: equal to the reference within the tolerance, and to itself in every bit. */
void direct_check(const direct_case *cases, int count);
#define DIRECT_CHECK(cases) direct_check(cases, sizeof(cases) / sizeof *(cases))

#endif
