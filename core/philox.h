/* The arithmetic below core/random.h, which a GPU's kernels share: the counters and keys of Philox4x32-10, and what is
 * made of its words. */
#ifndef TS_CORE_PHILOX_H
#define TS_CORE_PHILOX_H

#include <stdint.h>

#include "core/status.h"

typedef struct {
    uint32_t word[4];
} ts_philox_block;

typedef struct {
    uint32_t word[2];
} ts_philox_key;

/* A stream of numbers: seed of the run, and what it is for (a hash of a scope path, say). */
typedef struct {
    uint64_t seed;
    uint64_t stream;
} ts_random_key;

/* The bijection itself: counter and key to 128 random bits. */
TS_BOTH_SIDES static inline ts_philox_block ts_philox(ts_philox_block c, ts_philox_key key)
{
    for (int round = 0; round < 10; round++) {
        uint64_t a = (uint64_t)0xD2511F53u * c.word[0];
        uint64_t b = (uint64_t)0xCD9E8D57u * c.word[2];
        c = (ts_philox_block){{(uint32_t)(b >> 32) ^ c.word[1] ^ key.word[0], (uint32_t)b,
                               (uint32_t)(a >> 32) ^ c.word[3] ^ key.word[1], (uint32_t)a}};
        key.word[0] += 0x9E3779B9u;
        key.word[1] += 0xBB67AE85u;
    }
    return c;
}

TS_BOTH_SIDES static inline uint64_t ts_philox_mix(uint64_t x)
{
    x = (x ^ (x >> 33)) * 0xff51afd7ed558ccdu;
    x = (x ^ (x >> 33)) * 0xc4ceb9fe1a85ec53u;
    return x ^ (x >> 33);
}

/* Seed and stream are 128 bits, a Philox key 64: they are mixed (the finaliser of MurmurHash3), so that no pair of
 * streams of one seed, or of seeds of one stream, shares a key by arithmetic accident. */
TS_BOTH_SIDES static inline ts_philox_key ts_philox_key_of(ts_random_key key)
{
    uint64_t k = ts_philox_mix(ts_philox_mix(key.seed) ^ key.stream);
    return (ts_philox_key){{(uint32_t)k, (uint32_t)(k >> 32)}};
}

/* Block `index` of the draw at `step`: words 4 index ... 4 index + 3, or bounded numbers 2 index and 2 index + 1. */
TS_BOTH_SIDES static inline ts_philox_block ts_philox_draw(ts_philox_key key, uint64_t step, uint64_t index)
{
    ts_philox_block counter = {{(uint32_t)index, (uint32_t)(index >> 32), (uint32_t)step, (uint32_t)(step >> 32)}};
    return ts_philox(counter, key);
}

/* [0, 1), 24 bits. */
TS_BOTH_SIDES static inline float ts_philox_unit(uint32_t word)
{
    return (float)(word >> 8) * 0x1p-24f;
}

/* [0, n), from two words: 64 random bits times n, high word; the bias is below n / 2^64. */
TS_BOTH_SIDES static inline uint64_t ts_philox_below(const uint32_t word[2], uint64_t n)
{
    uint64_t bits = (uint64_t)word[0] << 32 | word[1];
    return (uint64_t)(((unsigned __int128)bits * n) >> 64);
}

#endif
