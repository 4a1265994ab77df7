/* Random numbers that depend on what they are for, never on when or where they are drawn: Philox4x32-10 (Salmon et al.
 * 2011), keyed by (seed, stream), counted by (step, element). The same bits on every device and thread count. */
#ifndef TS_CORE_RANDOM_H
#define TS_CORE_RANDOM_H

#include <stddef.h>

#include "core/philox.h"

uint64_t ts_random_stream(const char *path); /* FNV-1a, 64 bits */

/* Element i of the draw at `step`. */
uint32_t ts_random_bits(ts_random_key key, uint64_t step, uint64_t i);
float ts_random_uniform(ts_random_key key, uint64_t step, uint64_t i);              /* [0, 1), 24 bits */
float ts_random_normal(ts_random_key key, uint64_t step, uint64_t i);               /* N(0, 1), Box-Muller */
uint64_t ts_random_below(ts_random_key key, uint64_t step, uint64_t i, uint64_t n); /* [0, n); n >= 1 */

/* Elements first ... first + n - 1, the same numbers in less time. */
void ts_random_uniforms(ts_random_key key, uint64_t step, uint64_t first, uint64_t n, float *out);
void ts_random_normals(ts_random_key key, uint64_t step, uint64_t first, uint64_t n, float *out);

/* A permutation of 0..n-1 (Fisher-Yates), the same for the same key and step. Thread: pure. */
void ts_random_permutation(ts_random_key key, uint64_t step, int64_t n, int64_t *order);

#endif
