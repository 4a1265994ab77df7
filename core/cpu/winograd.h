/* Convolutions of 3 taps and stride 1 by fewer multiplications: Winograd's minimal filtering F(4, 3) along each axis
 * that has 3 taps (Winograd 1980; Lavin and Gray 2015, arXiv 1509.09308), 6 products for 4 results in place of 12, or
 * 36 for 16 in place of 144. The weight gradient is the exact adjoint. A dilated axis is as many interleaved ones as
 * its dilation.
 *
 * Transforms run over channels; the products of all tiles with one transformed weight are a matrix product of oneDNN's.
 *
 * Sums go through numbers up to 8 times their operands, so that rounding errors are larger than those of a direct sum:
 * by a factor of 2 to 4 for 3 taps, 10 for 3 x 3 (tests/core/test_cpu_winograd.c bounds it). A value that is not finite
 * spoils its whole tile. The result of a pass over images does not depend on the number of threads; a weight gradient
 * does, in its last bits.
 *
 * $TESSERA_WINOGRAD: 0, never; always, wherever it can be (for tests); else where it pays. */
#ifndef TS_CORE_CPU_WINOGRAD_H
#define TS_CORE_CPU_WINOGRAD_H

#include "core/cpu/dnnl.h"

typedef struct ts_winograd ts_winograd;

/* Whether the pass over this shape should be one of these: stride 1, one group, 1 or 3 taps an axis, f32, channels in
 * multiples of 16, and, unless always is asked for, so many channels and results that it is faster than a direct one.
 */
bool ts_winograd_fits(const ts_dnnl_conv *shape, ts_dnnl_pass pass);

/* Owner: ts_winograd_free. Errors: out of memory. */
ts_status ts_winograd_new(ts_winograd **w, const ts_dnnl_conv *shape, ts_dnnl_pass pass, int threads, ts_error *err);
void ts_winograd_free(ts_winograd *w); /* NULL is fine */
size_t ts_winograd_scratch_bytes(const ts_winograd *w);

/* As ts_dnnl_run; a bias and relu (shape->relu) are for passes over images. */
bool ts_winograd_run(const ts_winograd *w, const ts_dnnl_operands *operands, void *scratch);

#endif
