#include "core/files/hash.h"

#include <stdio.h>
#include <xxhash.h>

#include "core/memory.h"

static ts_hash canonical(XXH128_hash_t value)
{
    XXH128_canonical_t big_endian;
    ts_hash hash;
    XXH128_canonicalFromHash(&big_endian, value);
    for (int i = 0; i < 16; i++)
        hash.byte[i] = big_endian.digest[i];
    return hash;
}

ts_hash ts_hash_bytes(const void *bytes, size_t count)
{
    return canonical(XXH3_128bits(bytes, count));
}

ts_hash_text ts_hash_print(ts_hash hash)
{
    ts_hash_text t;
    for (int i = 0; i < 16; i++)
        snprintf(t.text + 2 * i, 3, "%02x", hash.byte[i]);
    return t;
}

ts_status ts_hasher_init(ts_hasher *hasher, ts_error *err)
{
    hasher->state = XXH3_createState();
    if (!hasher->state)
        return ts_out_of_memory(err, 576);
    XXH3_128bits_reset(hasher->state);
    return TS_OK;
}

void ts_hasher_add(ts_hasher *hasher, const void *bytes, size_t count)
{
    XXH3_128bits_update(hasher->state, bytes, count);
}

ts_hash ts_hasher_result(const ts_hasher *hasher)
{
    return canonical(XXH3_128bits_digest(hasher->state));
}

void ts_hasher_clear(ts_hasher *hasher)
{
    XXH3_freeState(hasher->state);
    hasher->state = NULL;
}
