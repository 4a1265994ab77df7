/* What follows the sums of a product, where its kernel does not see to it: one pass over the result, in place. oneDNN
 * could do it itself, but its relu makes 0 of NaN, and a training that diverges must not look healthy. */
#ifndef TS_CORE_CPU_ENDING_H
#define TS_CORE_CPU_ENDING_H

#include "core/device.h"

/* y [rows, C], the first result of the call, f32 or bf16: bias [C] is added (NULL: none; f32 only), then what is below
 * 0 becomes 0 where `relu`. Does nothing where there is neither. */
void ts_cpu_end(const ts_call *call, const float *bias, bool relu);

#endif
