/* IEEE half-precision numbers, which only files have. */
#ifndef TS_CORE_FILES_HALF_H
#define TS_CORE_FILES_HALF_H

#include <stdint.h>
#include <string.h>

/* Exact. */
static inline float ts_f32_from_f16(uint16_t h)
{
    uint32_t sign = (uint32_t)h >> 15 << 31, exponent = h >> 10 & 31, fraction = h & 1023;
    float value = (float)fraction * 0x1p-24f; /* zeros and subnormals */
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    if (exponent)
        bits = (exponent == 31 ? 0x7f800000u : (exponent + 112) << 23) | fraction << 13;
    bits |= sign;
    memcpy(&value, &bits, sizeof value);
    return value;
}

#endif
