/* Ops of bf16 by kernels of f32. Where a device has no kernel that reads and writes bf16 itself, its operands are
 * widened into scratch memory, which loses nothing, the device's own f32 kernel runs, and what the op gives as bf16 is
 * rounded once, at the end. So bf16 means the same for every op, on every device: f32 arithmetic between rounded
 * numbers.
 *
 * Large operands go through in slices of their first axis, so that the f32 forms stay in the caches and scratch stays
 * small; a sum over that axis (a weight's gradient) is added up slice by slice, in order. */
#ifndef TS_CORE_WIDEN_H
#define TS_CORE_WIDEN_H

#include "core/op.h"

/* Whether an operand or a result is bf16 and the op does arithmetic with it. Ops that only move elements (slice, pad,
 * concat, permute) and cast take bf16 as it is. */
bool ts_needs_widening(const ts_desc *desc);

/* The kernel that does so, by what the device has for the same desc in f32 and for casts. Its `prepare` fails where
 * there is no such kernel. */
extern const ts_kernel ts_widened;

#endif
