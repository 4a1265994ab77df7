/* Convolutions and products in the words of cuDNN and cuBLAS: pure functions of a desc, so that what the libraries are
 * told can be tested without them (tests/cuda/test_geometry.c). */
#ifndef TS_CORE_CUDA_GEOMETRY_H
#define TS_CORE_CUDA_GEOMETRY_H

#include "core/op.h"

/* A tensor in cuDNN's order of dims, N C H W; strides in elements say that the channels lie last. */
typedef struct {
    int64_t dim[4], stride[4];
    ts_dtype dtype;
} ts_image_layout;

/* x [B, C, H, W] is the large image, y [B, O, P, Q] the small one, w [O, C/groups, R, S]; which of them an op reads and
 * which it writes is the op's business (core/ref/conv.c has the relation). cuDNN finds the groups by x's and w's C. */
typedef struct {
    ts_image_layout x, w, y;
    int64_t stride[2], dilation[2], pad_before[2], pad_after[2]; /* [0] over H, [1] over W */
} ts_conv_layout;

/* Of conv (x, w -> y), conv_transpose (y, w -> x) or conv_dw (x, y -> w). */
ts_conv_layout ts_conv_layout_of(const ts_desc *desc);

/* out = op(first) op(second) + bias, then relu where asked for, all column-major as in BLAS, `batch` times with steps
 * between the matrices (in elements; 0: the same one). out is m x n, bias has m. A row-major matrix is the column-major
 * transposed one, so `first` is the op's b, `second` its a, m the op's N and n its M. Both operands are of `in`, f32 or
 * bf16, out and bias of `out`; sums are f32. */
typedef struct {
    ts_dtype in, out;
    int64_t m, n, k, batch;
    bool trans_first, trans_second, bias, relu;
    int64_t ld_first, ld_second, ld_out;
    int64_t step_first, step_second, step_out;
} ts_product_layout;

ts_product_layout ts_product_layout_of(const ts_desc *desc); /* of matmul */

/* Whether the libraries have the op's dtypes: f32 throughout; or two bf16 operands and a result, with its bias, of bf16
 * or f32. And nothing is empty. Of matmul and the convolutions. */
bool ts_library_dtypes(const ts_desc *desc);

#endif
