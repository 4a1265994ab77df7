/* The weight gradient of a strided convolution as matrix products of oneDNN's, whose own pass reaches 30 to 75 % of the
 * rate of such products. What the taps read of x is laid out side by side for a block of rows of y, of some images,
 * that stays in the cache: the taps of a row, and of as many rows as the stride, become one wide matrix. Measured, one
 * thread of a Xeon at 2.50 GHz whose cores were shared, processor time, lowest of 20, beside oneDNN 2.6.3: 64 to 128
 * channels, 4 x 4 stride 2, 16 x 16, 64 images 9.2 for 11.4 ms; 512 to 512, 4 taps stride 2, 64 frames, 16 clips 10.8
 * for 24.9 ms; 32 frames 6.3 for 19.3 ms.
 *
 * Images are shared out: a sum depends on the number of threads in its last bits, not on the run.
 *
 * $TESSERA_STRIDED: 0, never; always, wherever it can be (for tests); else where it pays. */
#ifndef TS_CORE_CPU_STRIDED_H
#define TS_CORE_CPU_STRIDED_H

#include "core/cpu/dnnl.h"

typedef struct ts_strided ts_strided;

/* Whether this pass should be one of these: weights, f32, one group, no dilation, and, unless always is asked for,
 * strided and with enough channels. */
bool ts_strided_fits(const ts_dnnl_conv *shape, ts_dnnl_pass pass);

/* Owner: ts_strided_free. Errors: out of memory. */
ts_status ts_strided_new(ts_strided **s, const ts_dnnl_conv *shape, int threads, ts_error *err);
void ts_strided_free(ts_strided *s); /* NULL is fine */
size_t ts_strided_scratch_bytes(const ts_strided *s);

/* w from x and y. False where the library failed. */
bool ts_strided_run(const ts_strided *s, const ts_dnnl_operands *operands, void *scratch);

#endif
