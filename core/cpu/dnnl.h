/* oneDNN, behind a few functions: nothing else in the project sees its types. Built and tested with 2.6. The calls of
 * 3.x, which creates descriptors in another way, stand behind DNNL_VERSION_MAJOR in dnnl.c: they compile against the
 * headers of 3.8, and were never linked or run.
 *
 * A ts_dnnl is one operation of fixed shapes: the library's primitive, and the reorder of the weights between our
 * layout and the one that the primitive likes. It is made when a program is prepared, and run many times.
 *
 * Owner: who creates it frees it. Thread: one at a time; making and running one sets the number of OpenMP threads of
 * the calling thread to what the operation was made for. */
#ifndef TS_CORE_CPU_DNNL_H
#define TS_CORE_CPU_DNNL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/tensor.h"

typedef struct ts_dnnl ts_dnnl;

/* "2.6.3" of the library that runs. */
const char *ts_dnnl_version(void);

/* Whether the processor multiplies matrices of bf16 faster than of f32: it has AMX. The bf16 instructions of AVX-512
 * alone do half the arithmetic of f32 in the same time (measured on an Emerald Rapids without AMX: 170 of 350 GFLOP/s).
 */
bool ts_dnnl_multiplies_bf16(void);

/* The relation of core/ref/conv.c: x [B, H, W, C], y [B, P, Q, O], w [O, R, S, C/groups]. What a pass reads is all f32
 * or all bf16; what it writes may also be f32 where it reads bf16. A bias is of y's type. */
typedef struct {
    ts_dtype x_type, w_type, y_type;
    int64_t B, H, W, C, P, Q, O, R, S, groups;
    int64_t stride[2], pad[2], dilation[2]; /* [0] over H, [1] over W; pad is what stands before */
    bool bias;                              /* forward only: y has bias [O] added */
    bool relu;                              /* what follows; not oneDNN's business (core/cpu/ending.h) */
} ts_dnnl_conv;

typedef enum {
    TS_DNNL_FORWARD,         /* x, w, bias -> y */
    TS_DNNL_BACKWARD_DATA,   /* y, w -> x */
    TS_DNNL_BACKWARD_WEIGHTS /* x, y -> w */
} ts_dnnl_pass;

/* c [batch, M, N] = a [batch, M, K] b [batch or 1, K, N] + bias [N], row-major, a and b with their last two axes
 * swapped where told. */
typedef struct {
    ts_dtype in, out; /* of a and b, both f32 or both bf16; of c and bias */
    int64_t batch, M, N, K;
    bool trans_a, trans_b, one_b, bias;
} ts_dnnl_product;

/* *op is NULL, with TS_OK, where the library has nothing better than its reference loops for the shape and types.
 * `threads` is baked into the operation. Errors: out of memory; the library cannot be used. */
ts_status ts_dnnl_conv_new(ts_dnnl **op, const ts_dnnl_conv *shape, ts_dnnl_pass pass, int threads, ts_error *err);
ts_status ts_dnnl_matmul_new(ts_dnnl **op, const ts_dnnl_product *shape, int threads, ts_error *err);
void ts_dnnl_free(ts_dnnl *op);

/* Bytes that a run needs, aligned to 64: packed weights and the library's own. */
size_t ts_dnnl_scratch_bytes(const ts_dnnl *op);

/* The library's name of what it does: "brgconv:avx512_core". */
const char *ts_dnnl_implementation(const ts_dnnl *op);

/* Of a product: x is a, w is b, y is c. Those that the pass does not write are only read; bias may be NULL. */
typedef struct {
    const void *x, *w, *bias, *y;
} ts_dnnl_operands;

/* False where the library failed. */
bool ts_dnnl_run(const ts_dnnl *op, const ts_dnnl_operands *operands, void *scratch);

/* c [M, N] = op(a) op(b), or += where `add`, of f32, row-major with rows ld apart. In a parallel region: on the calling
 * thread alone. False where the library failed. Thread: any. */
typedef struct {
    int64_t M, N, K, lda, ldb, ldc;
    bool trans_a, trans_b, add;
} ts_dnnl_gemm_shape;
bool ts_dnnl_gemm(const ts_dnnl_gemm_shape *shape, const float *a, const float *b, float *c);

#endif
